//! The audit log: what is recorded, and what `keyservice audit` prints of it.

mod command;
mod recorder;
mod records;
