//! Tests for PostgreSQL alone: addresses, TLS, the schema, and outages.

mod address;
mod another_database;
mod clocks;
mod counted_keys;
mod database_defaults;
mod lost_standby;
mod old_replica;
mod other_databases;
mod other_roles;
mod outage;
mod own_role;
mod parts;
mod planted_objects;
mod planted_rows;
mod poolers;
mod requirements;
mod schema;
mod several_hosts;
mod tls;
mod tls_like_libpq;
mod tls_messages;
mod too_few_connections;
mod upgrade;
mod upgrade_from_keys;
mod upgrade_to_key_life;
mod write_groups;
