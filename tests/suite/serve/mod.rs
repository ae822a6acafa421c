//! The life of the process: start, shutdown and rolling restart.

mod named_files;
mod rolling_restart;
mod shutdown;
mod signals;
mod start;
