//! The life of the process: its start, its shutdown, and one restart after another.

mod rolling_restart;
mod shutdown;
mod start;
