//! Writes again, from the log or from exported audit records, what a restored store has lost and what took rights
//! away.
//!
//! Owns the way from lines to writes:
//!
//! - `lines` unwraps the lines. `other_forms` recognises the forms that it cannot read, and says how to get a readable one.
//! - `fields` reads the fields of a line, and `event` the write that the line lists.
//! - `input` collects the writes and the malformed lines.
//! - `stored_writes` finds the writes that the store has.
//! - `plan` finds how the missing writes leave each key, account and domain.
//! - `action` says what to do where they deny and the store grants, and `replayer` does it.
//!
//! Promises that a denial which the input tells of and nothing later took back is in the store at the end, and that
//! nothing is written that the store has. Must never give a right back, or write what the input does not say.

mod action;
mod event;
mod fields;
pub mod input;
mod lines;
mod other_forms;
pub mod plan;
pub mod replayer;
pub mod stored_writes;

pub use action::Action;
pub use event::{Event, Original, Subject};
