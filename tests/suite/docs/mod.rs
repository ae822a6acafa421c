//! The pages' links lead somewhere, and the commands on them print what the pages show.

mod gateway;
mod pages;
mod production;
mod sql;
mod tour;
