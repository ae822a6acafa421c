//! What only PostgreSQL needs: an address, TLS, a schema, and to survive its outages.

mod address;
mod database_defaults;
mod outage;
mod schema;
mod tls;
