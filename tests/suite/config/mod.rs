//! Flags, environment variables, and their defaults.

mod refused;
mod settings;
