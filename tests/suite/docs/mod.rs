//! The pages' links lead somewhere, and every command on them exists. Those that print something on the page do so.

mod backup;
mod commands;
mod gateway;
mod pages;
mod production;
mod sql;
mod tour;
