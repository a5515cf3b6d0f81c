//! Reading the records of many files in order, page by page, resumable behind every record.

use std::time::Duration;

use crossdock_sdk::prelude::{BatchBuilder, Budget, Fault, Page, Read, Result, Unreadable};
use serde::Deserialize;

use crate::error::DropError;
use crate::find;
use crate::progress::{Fingerprint, Position, Progress, State};
use crate::text::Encoding;
use crate::window::Window;

/// How much of an oversized record goes into its dead letter.
const SHOWN: usize = 64 * 1024;

/// One pattern or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// `files: data/*.csv`
    One(String),
    /// `files: [a.csv, b/*.csv]`
    Many(Vec<String>),
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl OneOrMany {
    /// All of them, in order.
    pub fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

/// What happens to a file that is not what it was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnChange {
    /// The run stops and says which file it is.
    #[default]
    Reject,
    /// It is a new file: it is read from its start.
    ReadAgain,
}

/// What the config of a file source says about files.
#[derive(Debug, Clone)]
pub struct ReadSettings {
    /// Patterns, see [`crate::find::find`].
    pub files: Vec<String>,
    /// Whether a pattern may match nothing.
    pub allow_empty: bool,
    /// What happens to a file that has been replaced or shortened since it was read.
    pub changed: OnChange,
    /// The stream of all records; by default each file's stem.
    pub stream: Option<String>,
    /// Encoding of files without byte order mark.
    pub encoding: Encoding,
    /// A record longer than this is unreadable.
    pub max_record_bytes: usize,
}

/// The default of [`ReadSettings::max_record_bytes`]: 8 MiB.
pub const MAX_RECORD_BYTES: usize = 8 << 20;

impl ReadSettings {
    /// Refuses limits that make no sense.
    pub fn check(&self) -> Result<()> {
        if (64..=(256 << 20)).contains(&self.max_record_bytes) {
            return Ok(());
        }
        Err(
            Fault::config("`max-record-bytes` must be between 64 and 268435456")
                .field("/max-record-bytes"),
        )
    }

    /// The streams that the files there are now belong to, in order, each once.
    pub fn streams(&self) -> Result<Vec<String>> {
        let mut streams: Vec<String> = Vec::new();
        for path in self.find()? {
            let stream = self.stream_of(&path);
            if !streams.contains(&stream) {
                streams.push(stream);
            }
        }
        Ok(streams)
    }

    /// The files that are there now.
    pub fn find(&self) -> Result<Vec<String>> {
        Ok(find::find(&self.files, self.allow_empty)?)
    }

    /// The stream that the records of this file belong to.
    pub fn stream_of(&self, path: &str) -> String {
        self.stream
            .clone()
            .unwrap_or_else(|| find::stem(path).to_owned())
    }
}

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

/// The source part of a file connector.
pub struct DropSource<L: Layout> {
    settings: ReadSettings,
    layout: L,
    files: Vec<String>,
    next: usize,
    progress: Progress,
    current: Option<Current<L>>,
    held: Option<Fault>,
}

struct Current<L: Layout> {
    window: Window,
    stream: String,
    lines: u64,
    note: String,
    skipping: Option<Skipping<L>>,
}

struct Skipping<L: Layout> {
    skipper: L::Skipper,
    offset: u64,
    lines: u64,
    start: Vec<u8>,
}

/// A page in the making.
struct Draft {
    records: Option<BatchBuilder>,
    unreadable: Vec<Unreadable>,
    unreadable_bytes: usize,
    budget: Budget,
    deadline: u64,
    /// The next record belongs to another stream.
    turned: bool,
}

impl Draft {
    fn is_empty(&self) -> bool {
        self.records.as_ref().is_none_or(BatchBuilder::is_empty) && self.unreadable.is_empty()
    }

    fn is_full(&self) -> bool {
        let (records, bytes) = self
            .records
            .as_ref()
            .map_or((0, 0), |records| (records.len(), records.bytes()));
        records + self.unreadable.len() >= self.budget.records
            || bytes + self.unreadable_bytes >= self.budget.bytes
    }

    fn is_late(&self) -> bool {
        crossdock_sdk::clock::now_ms() >= self.deadline
    }

    fn builder(&self, stream: &str) -> BatchBuilder {
        let (records, bytes) = (
            self.budget.records.min(65_536),
            self.budget.bytes.min(4 << 20),
        );
        BatchBuilder::json(stream).with_capacity(records, bytes)
    }

    fn unreadable(&mut self, data: Vec<u8>, fault: Fault) {
        self.unreadable_bytes += data.len();
        self.unreadable.push(Unreadable { data, fault });
    }
}

impl<L: Layout> DropSource<L> {
    /// Lists the files and checks those that were read before against the snapshot.
    pub fn open(settings: ReadSettings, layout: L, snapshot: Option<&[u8]>) -> Result<Self> {
        let files = settings.find()?;
        let mut progress = match snapshot {
            Some(bytes) => Progress::decode(bytes, settings.encoding)?,
            None => Progress::new(settings.encoding),
        };
        let again = settings.changed == OnChange::ReadAgain;
        for path in &files {
            let Some(position) = progress.files.get(path) else {
                continue;
            };
            if let State::Changed(what) = position.print.compare(path)? {
                if !again {
                    return Err(DropError::Changed {
                        path: path.clone(),
                        what,
                    }
                    .into());
                }
                crossdock_sdk::info!(
                    "`{path}` has changed since it was read ({what}): reading it from its start"
                );
                progress.files.remove(path);
            }
        }
        let gone = progress
            .files
            .iter()
            .find(|(path, position)| !position.ended && !files.contains(path));
        if let (Some((path, position)), false) = (gone, again) {
            let what = format!(
                "it is gone, and only {} lines had been read",
                position.lines
            );
            return Err(DropError::Changed {
                path: path.clone(),
                what,
            }
            .into());
        }
        Ok(Self {
            settings,
            layout,
            files,
            next: 0,
            progress,
            current: None,
            held: None,
        })
    }

    /// The next page, see the contract.
    pub fn read(&mut self, budget: Budget) -> Result<Read> {
        if let Some(fault) = self.held.take() {
            return Err(fault);
        }
        let millis = u64::try_from(budget.time.as_millis()).unwrap_or(u64::MAX);
        let deadline = crossdock_sdk::clock::now_ms().saturating_add(millis.max(1));
        let mut draft = Draft {
            records: None,
            unreadable: Vec::new(),
            unreadable_bytes: 0,
            budget,
            deadline,
            turned: false,
        };
        match self.read_into(&mut draft) {
            Err(fault) if draft.is_empty() => return Err(fault),
            // What was read before the fault is good: it goes out first.
            Err(fault) => self.held = Some(fault),
            Ok(()) => {}
        }
        if draft.is_empty() {
            let more = self.current.is_some() || self.next < self.files.len();
            return Ok(if more {
                Read::Idle(Duration::ZERO)
            } else {
                Read::End
            });
        }
        let stream = || {
            self.current
                .as_ref()
                .map_or_else(String::new, |current| current.stream.clone())
        };
        let records = draft
            .records
            .unwrap_or_else(|| BatchBuilder::json(stream()));
        Ok(Read::Page(Page {
            records: records.finish(),
            unreadable: draft.unreadable,
        }))
    }

    fn read_into(&mut self, draft: &mut Draft) -> Result<()> {
        while !draft.is_full() && !draft.turned {
            if self.current.is_none() && !self.open_next(draft)? {
                return Ok(());
            }
            let Some(current) = &mut self.current else {
                return Ok(());
            };
            let progressed = if current.skipping.is_some() {
                skip(current, &mut self.layout, draft)
            } else {
                let records = draft
                    .records
                    .take()
                    .unwrap_or_else(|| draft.builder(&current.stream));
                take(
                    current,
                    &mut self.layout,
                    draft,
                    records,
                    self.settings.max_record_bytes,
                )
            };
            if progressed {
                continue;
            }
            if current.window.ended() {
                if let Some((data, fault)) = self.layout.end(current.window.path(), current.lines) {
                    draft.unreadable(data, fault);
                }
                self.end_file()?;
            } else {
                current.window.fill()?;
                if draft.is_late() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Opens the next file that has something to read. `false`: there is none, or its stream is another one than that
    /// of the page so far.
    fn open_next(&mut self, draft: &mut Draft) -> Result<bool> {
        while let Some(path) = self.files.get(self.next).cloned() {
            let position = self.progress.files.get(&path);
            if let Some(position) = position.filter(|position| position.ended)
                && position.print.compare(&path)? == State::Same
            {
                self.next += 1;
                continue;
            }
            let stream = self.settings.stream_of(&path);
            match &draft.records {
                Some(records) if records.stream() == stream => {}
                Some(_) if !draft.is_empty() => return Ok(false),
                _ => draft.records = Some(draft.builder(&stream)),
            }
            self.current = Some(self.begin(&path, stream)?);
            self.next += 1;
            return Ok(true);
        }
        Ok(false)
    }

    fn begin(&mut self, path: &str, stream: String) -> Result<Current<L>> {
        let mut window = Window::open(path, self.settings.encoding)?;
        let position = self.progress.files.get(path);
        let (mut lines, note) = self
            .layout
            .begin(&mut window, position.map(|position| position.note.as_str()))?;
        if let Some(position) = position {
            if !window.seek(position.offset)? {
                let what = format!("it ends before byte {} of its text", position.offset);
                return Err(DropError::Changed {
                    path: path.to_owned(),
                    what,
                }
                .into());
            }
            lines = position.lines;
        }
        Ok(Current {
            window,
            stream,
            lines,
            note,
            skipping: None,
        })
    }

    fn end_file(&mut self) -> Result<()> {
        let Some(current) = &self.current else {
            return Ok(());
        };
        let path = current.window.path().to_owned();
        let whole = current.window.raw_read();
        let position = Position {
            offset: current.window.offset(),
            lines: current.lines,
            ended: true,
            note: self.note_of(current),
            print: Fingerprint::take(&path, None, Some(whole))?,
        };
        self.progress.files.insert(path, position);
        self.current = None;
        Ok(())
    }

    fn note_of(&self, current: &Current<L>) -> String {
        self.layout.note().unwrap_or_else(|| current.note.clone())
    }

    /// The position behind the last record given out.
    pub fn snapshot(&mut self) -> Result<Vec<u8>> {
        if let Some(current) = &self.current {
            let path = current.window.path();
            let (offset, lines) = match &current.skipping {
                Some(skipping) => (skipping.offset, skipping.lines),
                None => (current.window.offset(), current.lines),
            };
            let print = Fingerprint::take(path, current.window.raw_offset(), None)?;
            let position = Position {
                offset,
                lines,
                ended: false,
                note: self.note_of(current),
                print,
            };
            self.progress.files.insert(path.to_owned(), position);
        }
        Ok(self.progress.encode(&self.files)?)
    }
}

/// Takes records until the page is full or the text runs out. `false`: more text is needed.
fn take<L: Layout>(
    current: &mut Current<L>,
    layout: &mut L,
    draft: &mut Draft,
    mut records: BatchBuilder,
    longest: usize,
) -> bool {
    // A line end may follow the longest record. Cutting the text here makes what is too long independent of how the
    // file happens to arrive.
    let limit = longest.saturating_add(2);
    let progressed = loop {
        let window = &current.window;
        let whole = window.text();
        if whole.is_empty() {
            break false;
        }
        let text = whole.get(..limit).unwrap_or(whole);
        let ended = window.ended() && text.len() == whole.len();
        let view = View {
            text,
            valid: window.valid(),
            ended,
            path: window.path(),
            line: current.lines + 1,
        };
        let (used, lines, full) = match layout.step(view, &mut records) {
            Step::More if text.len() < whole.len() => {
                let start = text.get(..text.len().min(SHOWN)).unwrap_or(text).to_vec();
                let (offset, lines) = (window.offset(), current.lines);
                current.skipping = Some(Skipping {
                    skipper: layout.skipper(),
                    offset,
                    lines,
                    start,
                });
                break true;
            }
            Step::More => break false,
            Step::Turn(stream) => {
                let fresh = records.is_empty() && draft.unreadable.is_empty();
                current.stream = stream;
                if !fresh {
                    draft.turned = true;
                    break true;
                }
                records = draft.builder(&current.stream);
                continue;
            }
            Step::Skip { used, lines } => (used, lines, false),
            Step::Record { used, lines } => {
                let full = records.len() + draft.unreadable.len() >= draft.budget.records
                    || records.bytes() + draft.unreadable_bytes >= draft.budget.bytes;
                (used, lines, full)
            }
            Step::Unreadable { used, lines, fault } => {
                draft.unreadable(text.get(..used).unwrap_or(text).to_vec(), fault);
                (used, lines, true)
            }
        };
        current.window.consume(used);
        current.lines += lines;
        if full {
            break true;
        }
    };
    draft.records = Some(records);
    progressed
}

/// Runs on over a record that is too long. `false`: more text is needed.
fn skip<L: Layout>(current: &mut Current<L>, layout: &mut L, draft: &mut Draft) -> bool {
    let Some(skipping) = &mut current.skipping else {
        return true;
    };
    let ended = current.window.ended();
    let step = skipping.skipper.skip(current.window.text(), ended);
    current.window.consume(step.used);
    current.lines += step.lines;
    if !step.done && !ended {
        return false;
    }
    let length = current.window.offset() - skipping.offset;
    let mut message =
        format!("a record of {length} bytes is longer than `max-record-bytes` allows");
    if let Some(reason) = skipping.skipper.fault_at_end().filter(|_| !step.done) {
        message = format!("{message}; {reason}");
    }
    if length > SHOWN as u64 {
        message = format!("{message} (its first {SHOWN} bytes are kept)");
    }
    let fault =
        Fault::permanent(message).at(format!("{}:{}", current.window.path(), skipping.lines + 1));
    let start = std::mem::take(&mut skipping.start);
    current.skipping = None;
    layout.skipped();
    draft.unreadable(start, fault);
    true
}
