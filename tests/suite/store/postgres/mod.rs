//! Tests for PostgreSQL alone: addresses, TLS, the schema, and outages.

mod address;
mod database_defaults;
mod outage;
mod schema;
mod tls;
