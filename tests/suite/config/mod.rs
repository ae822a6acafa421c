//! Flags, environment variables, and their defaults.

mod refused;
mod secrets;
mod settings;
