//! Connections: TLS, limits, and hostile clients.

mod flood;
mod health_port;
mod limits;
mod tls;
mod unauthenticated;
