//! A restored store, and `keyservice replay` with what the service told before that. The service, the stores and the
//! log are real.

mod again;
pub mod calls;
mod lines;
mod repeats;
mod restored;
mod store_ids;
mod two_restores;
mod window;
