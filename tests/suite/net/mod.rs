//! Sockets: TLS, limits, and clients that mean harm.

mod flood;
mod health_port;
mod limits;
mod tls;
mod unauthenticated;
