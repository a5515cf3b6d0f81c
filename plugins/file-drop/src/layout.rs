//! How records lie in a file: what a connector adds to read its format.

use crossdock_sdk::prelude::{BatchBuilder, Fault, Result};

use crate::window::Window;

/// The text in front of a layout: it begins with a record.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The text as far as it is in memory, at most a little more than the longest record that is allowed.
    pub text: &'a [u8],
    /// So many of its bytes are known to be valid UTF-8.
    pub valid: usize,
    /// The file ends with `text`.
    pub ended: bool,
    /// The file.
    pub path: &'a str,
    /// Number of the line that `text` begins with, from 1.
    pub line: u64,
}

impl View<'_> {
    /// `file:line`, `lines` further down.
    pub fn location(&self, lines: u64) -> String {
        format!("{}:{}", self.path, self.line + lines)
    }

    /// Why the first `length` bytes are not text, if they are not.
    pub fn text_fault(&self, length: usize) -> Option<Fault> {
        if length <= self.valid {
            return None;
        }
        let bytes = self.text.get(..length).unwrap_or(self.text);
        let at = std::str::from_utf8(bytes).err()?.valid_up_to();
        let before = bytes.get(..at).unwrap_or_default();
        let lines = memchr::memchr_iter(b'\n', before).count();
        let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |end| end + 1) + 1;
        let byte = bytes.get(at).copied().unwrap_or_default();
        let message =
            format!("invalid UTF-8: byte 0x{byte:02X}; if the file is no UTF-8, set `encoding`");
        Some(Fault::permanent(message).at(format!("{}:{column}", self.location(lines as u64))))
    }
}

/// What a layout found at the start of a [`View`]. `used` counts bytes including the line end, `lines` the line ends.
#[derive(Debug)]
pub enum Step {
    /// More text is needed. Never when the file has ended.
    More,
    /// Nothing that matters: a blank line, a comment.
    Skip {
        /// Bytes.
        used: usize,
        /// Line ends.
        lines: u64,
    },
    /// A record; it is in the batch.
    Record {
        /// Bytes.
        used: usize,
        /// Line ends.
        lines: u64,
    },
    /// What comes next belongs to this stream, not to that of the batch: the batch ends here, the same text comes again
    /// with one of that stream. Every file begins with the stream of the settings.
    Turn(String),
    /// Something that is no record.
    Unreadable {
        /// Bytes.
        used: usize,
        /// Line ends.
        lines: u64,
        /// Why.
        fault: Fault,
    },
}

/// How records lie in a file.
pub trait Layout: 'static {
    /// Finds the end of a record that is too long to keep.
    type Skipper: Skipper;

    /// Gets ready for a file whose start is in front: reads the header, say, and consumes it. Gives the lines consumed
    /// and a note for the snapshot; when the file is opened again that note comes back.
    fn begin(&mut self, window: &mut Window, note: Option<&str>) -> Result<(u64, String)>;

    /// Takes one record. The text is never empty.
    fn step(&mut self, view: View<'_>, out: &mut BatchBuilder) -> Step;

    /// For a record at whose start reading stands.
    fn skipper(&self) -> Self::Skipper;

    /// That record has been run over.
    fn skipped(&mut self) {}

    /// What is to be remembered at this place of the file; `begin` gets it when the file is opened again. `None`: still
    /// what `begin` gave.
    fn note(&self) -> Option<String> {
        None
    }

    /// The file ends here. What is missing, and the input that shows it best.
    fn end(&mut self, _path: &str, _lines: u64) -> Option<(Vec<u8>, Fault)> {
        None
    }
}

/// Runs over a record piece by piece without keeping it.
pub trait Skipper {
    /// Takes the next piece of text. `ended`: there is no more after it.
    fn skip(&mut self, text: &[u8], ended: bool) -> Skipped;
    /// Why the record cannot be read, when the file ended inside it.
    fn fault_at_end(&self) -> Option<&'static str>;
}

/// What a [`Skipper`] did with a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Bytes of the piece that belong to the record. With `done` false all but at most one.
    pub used: usize,
    /// Line ends among them.
    pub lines: u64,
    /// The record ends there.
    pub done: bool,
}
