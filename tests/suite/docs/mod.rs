//! The commands on documentation pages print what the pages show.

mod production;
mod tour;
