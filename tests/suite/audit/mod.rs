//! The audit log: which calls are recorded, and what `keyservice audit` prints.

mod command;
mod recorder;
mod records;
