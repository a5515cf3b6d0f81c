//! Where commands print: results to stdout, everything else to stderr.

use std::{
    env,
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    sync::OnceLock,
};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use super::{
    arguments::Color,
    style::{self, Paint},
};

/// Why a result could not be printed: a command that lost its result has not done what it was asked for, and is told so once,
/// when it ends.
static LOST: OnceLock<io::Error> = OnceLock::new();

/// How this process prints.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// For stdout.
    pub(super) paint: Paint,
    /// For stderr.
    pub(super) paint_errors: Paint,
    /// Whether stderr is a terminal that lines can be redrawn on.
    pub(super) live: bool,
}

impl Output {
    pub(super) fn new(color: Color) -> Self {
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let allowed = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let on = |terminal: bool| match color {
            Color::Auto => terminal && allowed && !dumb,
            Color::Always => true,
            Color::Never => false,
        };
        Self {
            paint: Paint { on: on(out) },
            paint_errors: Paint { on: on(err) },
            live: err && !dumb,
        }
    }

    /// Prints a result. That nobody reads it any more (`| head`) is no error.
    #[allow(clippy::unused_self, reason = "only who has an output prints")]
    pub(super) fn print(self, text: &str) {
        let mut out = io::stdout().lock();
        let end: &[u8] = if text.ends_with('\n') { b"" } else { b"\n" };
        let written = out
            .write_all(text.as_bytes())
            .and_then(|()| out.write_all(end))
            .and_then(|()| out.flush());
        if let Some(error) = lost(written) {
            // The first reason is the one that is told.
            let _ = LOST.set(error);
        }
    }

    /// The exit code of a command that ended with this one: what it printed must have been written.
    pub(super) fn exit_code(self, code: u8) -> u8 {
        let Some(error) = LOST.get() else {
            return code;
        };
        let head = self.paint_errors.with(style::BAD, "error:");
        self.tell(&format!("{head} the output cannot be written: {error}"));
        // Whatever else went wrong is the better reason.
        if matches!(code, 0 | 3) { 1 } else { code }
    }

    /// Prints one JSON document.
    pub(super) fn print_json(self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.print(&text),
            Err(error) => self.tell(&format!("the result cannot be shown as JSON: {error}")),
        }
    }

    /// Tells people something that is no result.
    #[allow(clippy::unused_self, reason = "only who has an output prints")]
    pub(super) fn tell(self, text: &str) {
        let mut err = io::stderr().lock();
        let _ = writeln!(err, "{}", text.trim_end_matches('\n'));
    }
}

/// What is wrong with a write, unless only its reader has gone.
fn lost(written: io::Result<()>) -> Option<io::Error> {
    written
        .err()
        .filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
}

/// An aligned table without borders: the first `left` columns are texts, the others numbers.
pub(super) fn table(header: &[&str], left: usize, rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    table.add_rows(rows);
    for (position, column) in table.column_iter_mut().enumerate() {
        column.set_padding((1, 1));
        if position >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    for line in table.lines() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, " {}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let rows = [
            vec!["products".to_owned(), "1,000".to_owned()],
            vec!["a".to_owned(), "1".to_owned()],
        ];
        insta::assert_snapshot!(table(&["stream", "read"], 1, &rows));
    }
}
