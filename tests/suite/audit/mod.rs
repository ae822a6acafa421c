//! The audit log: which calls are recorded, and what `keyservice audit` prints.

mod command;
mod lines;
mod recorder;
mod records;
