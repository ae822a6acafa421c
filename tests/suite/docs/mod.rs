//! Pages whose links lead somewhere, whose commands are run, and which print what the page shows.

mod pages;
mod production;
mod tour;
