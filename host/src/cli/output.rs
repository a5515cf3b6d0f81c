//! Where commands print: results to stdout, everything else to stderr.

use std::{
    borrow::Cow,
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
use crate::flow::{steers, visible, visible_but};

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
    pub(super) fn print(self, text: &str) {
        self.write(&harmless(text, self.paint));
    }

    #[allow(clippy::unused_self, reason = "only who has an output prints")]
    fn write(self, text: &str) {
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
            Ok(text) => self.write(&escaped(&text)),
            Err(error) => self.tell(&format!("the result cannot be shown as JSON: {error}")),
        }
    }

    /// Tells people something that is no result.
    pub(super) fn tell(self, text: &str) {
        let mut err = io::stderr().lock();
        let text = harmless(text.trim_end_matches('\n'), self.paint_errors);
        let _ = writeln!(err, "{text}");
    }
}

/// What is written for people, whoever the words are of: lines, our own colours where there are some, and nothing else
/// that moves anything on a terminal. Words of strangers lose colours as well where they are put together, by [`visible`].
pub(super) fn harmless(text: &str, paint: Paint) -> Cow<'_, str> {
    if !text.contains(|c| steers(c) && c != '\n') {
        return Cow::Borrowed(text);
    }
    let stays = |c: char| matches!(c, '\n' | '\t');
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        let (before, code) = rest.split_at(at);
        shown.push_str(&visible_but(before, stays));
        let length = if paint.on { color(code) } else { None };
        let (code, after) = code.split_at(length.unwrap_or(1));
        match length {
            Some(_) => shown.push_str(code),
            None => shown.push_str(&visible(code)),
        }
        rest = after;
    }
    shown.push_str(&visible_but(rest, stays));
    Cow::Owned(shown)
}

/// The length of the code for a color or a weight that a text begins with: `ESC [ 1;31 m`.
fn color(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then_some(end + 3)
}

/// JSON says the same with these letters written out. They are in its texts only.
fn escaped(json: &str) -> Cow<'_, str> {
    if !json.contains(|c| steers(c) && c != '\n') {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for letter in json.chars() {
        if steers(letter) && letter != '\n' {
            // Writing to a String cannot fail. None of them is beyond U+FFFF.
            let _ = write!(shown, "\\u{:04x}", u32::from(letter));
        } else {
            shown.push(letter);
        }
    }
    Cow::Owned(shown)
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
    // A cell may be painted, but it is one line.
    let cell = |cell: &String| visible_but(cell, |c| c == '\u{1b}').into_owned();
    table.add_rows(rows.iter().map(|row| row.iter().map(cell)));
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

    #[test]
    fn nothing_but_lines_and_our_colors_reaches_a_terminal() {
        let (on, off) = (Paint { on: true }, Paint { on: false });
        let attack = "a\u{1b}[1A\u{1b}[2K\u{1b}]0;t\u{7}\r\u{9b}31m\u{202e}b\n\tc";
        let shown = r"a\u{1b}[1A\u{1b}[2K\u{1b}]0;t\u{7}\u{d}\u{9b}31m\u{202e}b";
        assert_eq!(harmless(attack, on), format!("{shown}\n\tc"));
        assert_eq!(harmless(attack, off), format!("{shown}\n\tc"));
        let painted = on.with(super::super::style::BAD, "x");
        assert_eq!(harmless(&painted, on), painted);
        assert_eq!(harmless(&painted, off), r"\u{1b}[31mx\u{1b}[0m");
        assert_eq!(harmless("\u{1b}", on), r"\u{1b}");
        assert_eq!(harmless("\u{1b}[1", on), r"\u{1b}[1");
    }

    #[test]
    fn json_says_the_same_without_them() {
        let value = serde_json::json!({ "\u{202e}k": "a\u{9b}\u{2028}\u{1b}\u{7f}" });
        let text = serde_json::to_string_pretty(&value).unwrap();
        let shown = escaped(&text);
        assert!(!shown.contains(|c| steers(c) && c != '\n'), "{shown}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
    }

    #[test]
    fn a_cell_of_a_table_is_one_line() {
        let rows = [vec!["a\nb\u{2028}".to_owned(), "1".to_owned()]];
        let text = table(&["stream", "read"], 1, &rows);
        assert!(text.contains(r"a\u{a}b\u{2028}"), "{text}");
        assert_eq!(text.lines().count(), 2);
    }
}
