//! How a command prints: text for people on a terminal, JSON for programs elsewhere.
//!
//! Promises that a reader of standard output who has seen enough is no error.

use crate::model::printable::printable;
use clap::{Args, ValueEnum};
use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};
use unicode_width::UnicodeWidthStr;

/// The choice between text and JSON.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct OutputFormat {
    /// How to print: `auto` is `table` on a terminal and `json` elsewhere.
    #[arg(
        id = "output",
        short = 'o',
        long = "output",
        alias = "format",
        value_name = "FORMAT",
        default_value = "auto",
        global = true
    )]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `table` on a terminal, `json` elsewhere.
    Auto,
    /// Columns and sentences for people.
    Table,
    /// A JSON object a line.
    Json,
}

impl OutputFormat {
    pub(super) fn is_table(self) -> bool {
        self.is_table_on(&io::stdout())
    }

    /// What is printed elsewhere than on standard output.
    pub(super) fn is_table_on(self, output: &impl IsTerminal) -> bool {
        match self.format {
            Format::Auto => output.is_terminal(),
            Format::Table => true,
            Format::Json => false,
        }
    }
}

/// Has `print` write to standard output, and flushes it. It is no error that the reader has gone.
pub(super) fn to_stdout<E: From<io::Error>>(
    print: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> Result<(), E>,
    is_broken_pipe: impl FnOnce(&E) -> bool,
) -> Result<(), E> {
    let mut output = BufWriter::new(io::stdout().lock());
    let printed = print(&mut output).and_then(|()| Ok(output.flush()?));
    match printed {
        Err(error) if is_broken_pipe(&error) => {
            // Dropped whole, the buffer would try to write its rest and report the same error.
            drop(output.into_parts());
            Ok(())
        }
        printed => printed,
    }
}

/// Whether the reader of the output has seen enough.
pub(super) fn is_broken_pipe(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

/// A word of a command line as a shell reads it.
pub(super) fn shell_word(text: &str) -> String {
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "_-./:=,@%+".contains(it);
    if text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A table. Its headings are printed with its first row. A column is as wide as its widest cell up to then.
pub(super) struct Table<const COLUMNS: usize> {
    /// Those that are not printed yet. The first of all are the headings.
    rows: Vec<[String; COLUMNS]>,
    is_empty: bool,
    widths: [usize; COLUMNS],
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(super) fn new(headings: [&str; COLUMNS]) -> Self {
        Self {
            rows: vec![headings.map(str::to_owned)],
            is_empty: true,
            widths: [0; COLUMNS],
        }
    }

    /// Adds a row. What a terminal would obey in a cell is written out.
    pub(super) fn add(&mut self, row: [String; COLUMNS]) {
        self.rows
            .push(row.map(|cell| printable(&cell).into_owned()));
        self.is_empty = false;
    }

    /// Whether it never had a row.
    pub(super) fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Prints what was added since it was last printed, the first time below the headings.
    pub(super) fn print(&mut self, output: &mut impl Write) -> io::Result<()> {
        if self.is_empty {
            return Ok(());
        }
        for (column, width) in self.widths.iter_mut().enumerate() {
            let widths = self.rows.iter().map(|row| row[column].width());
            *width = widths.fold(*width, usize::max);
        }
        for row in self.rows.drain(..) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(self.widths) {
                line.push_str(cell);
                let padding = width + 2 - cell.width();
                line.extend(std::iter::repeat_n(' ', padding));
            }
            writeln!(output, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_is_on_a_terminal() {
        let mut table = Table::new(["NAME", "STATUS"]);
        table.add(["語語語".to_owned(), "active".to_owned()]);
        table.add(["a\u{1b}".to_owned(), String::new()]);
        let mut printed = Vec::new();
        let mut empty = Table::new(["NAME"]);
        empty.print(&mut printed).expect("a vector");
        assert!(printed.is_empty(), "no headings without a row");
        table.print(&mut printed).expect("a vector");
        table.add(["b".to_owned(), "revoked".to_owned()]);
        table.print(&mut printed).expect("a vector");
        assert_eq!(
            String::from_utf8(printed).expect("text"),
            "NAME     STATUS\n語語語   active\na\\u{1b}\nb        revoked\n"
        );
    }
}
