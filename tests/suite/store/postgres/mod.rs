//! Tests for PostgreSQL alone: addresses, TLS, the schema, and outages.

mod address;
mod database_defaults;
mod other_roles;
mod outage;
mod planted_objects;
mod poolers;
mod requirements;
mod schema;
mod tls;
mod too_few_connections;
mod upgrade;
