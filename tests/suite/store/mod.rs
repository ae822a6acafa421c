//! The stores, with real files and real databases.

mod absent;
mod conformance;
mod crash;
mod postgres;
mod refused;
mod sqlite_copies;
mod sqlite_file;
mod sqlite_lost;
mod sqlite_origin;
mod sqlite_restore;
