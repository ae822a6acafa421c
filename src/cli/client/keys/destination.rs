//! Where a new token goes: to standard output, or into a new file that only its owner can read.

use crate::cli::{
    client::{arguments::new_file_path, failure::Failure},
    new_file::NewFile,
    output::to_stdout,
};
use crate::model::token::Token;
use clap::Args;
use std::{
    io::{self, Write},
    path::PathBuf,
};

/// Where the token goes.
#[derive(Debug, Args)]
pub(super) struct Destination {
    /// Write the token into this new file, which only you can read, and nothing to standard output.
    #[arg(long, value_name = "FILE", value_parser = new_file_path)]
    token_out: Option<PathBuf>,
}

impl Destination {
    /// Makes the file, before there is a token that could be lost. A file that is there is not overwritten.
    pub(super) fn open(&self) -> Result<OpenDestination, Failure> {
        let Some(path) = &self.token_out else {
            return Ok(OpenDestination::Stdout);
        };
        let file = NewFile::create(path).map_err(|error| {
            let path = path.display();
            Failure::Misused(format!("--token-out: {path} cannot be made: {error}"))
        })?;
        Ok(OpenDestination::File(file))
    }
}

pub(super) enum OpenDestination {
    Stdout,
    File(NewFile),
}

impl OpenDestination {
    /// Writes the token, which cannot be shown again. A reader that has gone is an error here.
    pub(super) fn write(&mut self, token: &Token) -> io::Result<()> {
        let token = token.expose();
        match self {
            Self::Stdout => to_stdout(|output| writeln!(output, "{token}"), |_: &io::Error| false),
            Self::File(new) => new.write(token),
        }
    }

    /// Where the token is now, in a sentence for people.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::Stdout => "The token went to standard output.".to_owned(),
            Self::File(new) => format!(
                "The token is in {}, which only you can read.",
                new.path().display()
            ),
        }
    }
}
