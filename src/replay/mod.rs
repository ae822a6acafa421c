//! Writes again, from the log or from exported audit records, what a restored store has lost and what took rights
//! away.
//!
//! Owns the way from lines to writes:
//!
//! - `lines` unwraps the lines. `other_forms` recognises the forms that it cannot read, and says how to get a readable one.
//! - `fields` reads the fields of a line, and `content` the `event` that the line tells of.
//! - `input` collects the writes, each once although a call may be `repeated`, and the malformed lines.
//! - `stored_writes` finds the writes that the store has.
//! - `histories` knows which history goes on from which other one, `order` which of two writes is the later, and `loss`
//!   what the store has lost of each history.
//! - `plan` finds how the lost writes leave each key (`key_plan`), account and domain (`standing`), and `gaps` those that
//!   no line tells of.
//! - `action` says what to do where they deny and the store grants, and `replayer` does it.
//!
//! Promises that a denial which the input tells of and nothing later took back is in the store at the end, and that
//! nothing is written that the store has. Must never give a right back, or write what the input does not say.

mod action;
mod content;
mod event;
mod fields;
pub mod gaps;
pub mod histories;
pub mod input;
pub mod key_plan;
mod lines;
pub mod loss;
#[cfg(test)]
mod made_up;
mod order;
mod other_forms;
pub mod plan;
mod repeated;
pub mod replayer;
mod standing;
pub mod stored_writes;

pub use action::Action;
pub use event::{Event, Original, Subject};
