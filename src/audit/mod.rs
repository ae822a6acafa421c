//! Records calls that wrote nothing.

pub mod recorder;
