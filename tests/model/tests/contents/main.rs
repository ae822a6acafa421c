//! The model of contents, checked in every state.

mod every_state;
