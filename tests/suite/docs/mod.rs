//! Pages whose commands are run, and print what the page shows.

mod production;
mod tour;
