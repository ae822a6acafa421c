//! The life of the process: start, shutdown and rolling restart.

mod rolling_restart;
mod shutdown;
mod start;
