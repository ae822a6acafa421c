//! The model of leases, checked in every state.

mod every_state;
