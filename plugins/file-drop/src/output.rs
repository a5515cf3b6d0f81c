//! Files that appear whole or not at all, exactly once.
//!
//! Rows go to a *part* beside the target. `replace`: one part per target, renamed over it by the commit that follows
//! `finish`. `append`: a snapshot seals the part, its commit appends it to the target and removes it. So nothing that
//! is not committed is ever seen under the final name, and a commit can be repeated: a part that is still there has
//! not been put in place for certain, one that is gone has.
//!
//! That holds as long as nobody else writes the same file. The host lets no two stages name one file, but it does not see
//! all: links, other hosts. So parts bear the token of their sink, a snapshot is only given while they are there, and a
//! commit is only good when the file holds what the parts held. Two sinks on one file end in a fault of at least one.

use std::collections::BTreeMap;
use std::fs;

use crossdock_sdk::prelude::{Fault, Result};

use crate::commit::{Kept, Part, Snapshot, VERSION, decode, put_in_place, restore, shared};
use crate::error::DropError;
use crate::find;
use crate::segment::{self, Pen};
use crate::window::has_gz_name;

pub use crate::commit::Mode;

/// Rows are collected up to here before they are written.
const BUFFER: usize = 128 * 1024;

/// What the config of a file sink says about files.
#[derive(Debug, Clone)]
pub struct WriteSettings {
    /// Path; `{stream}` in it stands for the stream of a record.
    pub file: String,
    /// What becomes of a file that is there already.
    pub mode: Mode,
    /// Whether to compress; by default when the name ends in `.gz`.
    pub gzip: Option<bool>,
}

impl WriteSettings {
    /// The file for the records of a stream. Permanent fault when the stream's name cannot be part of a file name.
    pub fn path_of(&self, stream: &str) -> Result<String> {
        if self.is_single() {
            return Ok(self.file.clone());
        }
        if stream.is_empty() || stream.starts_with('.') || stream.contains(['/', '\\', '\0']) {
            return Err(Fault::permanent(format!(
                "the stream `{stream}` cannot be part of a file name"
            )));
        }
        Ok(self.file.replace("{stream}", stream))
    }

    /// All streams go to the same file.
    pub fn is_single(&self) -> bool {
        !self.file.contains("{stream}")
    }

    /// Looks, without touching anything, whether files can be written as the config says.
    pub fn check(&self) -> Result<()> {
        let name = self.file.rsplit('/').next().unwrap_or_default();
        if name.is_empty() || name == "." || name == ".." {
            return Err(Fault::config(format!("`{}` names no file", self.file)).field("/file"));
        }
        let folder = segment::folder(&self.file);
        if folder.contains("{stream}") {
            return Err(Fault::config(
                "`{stream}` can only be in the name of the file, not in its folder",
            )
            .field("/file"));
        }
        let meta = match fs::metadata(folder) {
            Ok(meta) => meta,
            Err(source) => {
                let fault = Fault::from(DropError::io("write to the folder", folder)(source));
                return Err(fault.field("/file"));
            }
        };
        if !meta.is_dir() {
            return Err(Fault::config(format!("`{folder}` is not a folder")).field("/file"));
        }
        if self.is_single() {
            segment::length(&self.file)?;
        }
        Ok(())
    }

    fn gzip(&self) -> bool {
        self.gzip.unwrap_or_else(|| has_gz_name(&self.file))
    }
}

/// All files of a sink.
#[derive(Debug)]
pub struct Output {
    settings: WriteSettings,
    targets: BTreeMap<String, Target>,
    /// Whose the parts are.
    token: String,
    /// Number of the next part. It is never used twice, so a part says for certain which checkpoint it belongs to.
    next: u64,
    finished: bool,
    /// Opened from a checkpoint whose run had finished: it has to be put in place before anything else is written.
    unsettled: Option<Snapshot>,
    /// The run that is being written began with this instance's `open`, not with a snapshot.
    fresh: bool,
    /// Why a write failed.
    failed: Option<Fault>,
}

/// One file: rows go to [`Target::buffer`].
#[derive(Debug)]
pub struct Target {
    base: u64,
    parts: Vec<Part>,
    pen: Option<Pen>,
    buffer: Vec<u8>,
    note: String,
    touched: bool,
    /// The last part of which this instance knows for certain that no commit of it was tried.
    untried: Option<u64>,
}

impl Target {
    /// Where rows are written to. Call [`Output::pass_on`] afterwards.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.touched = true;
        &mut self.buffer
    }

    /// Nothing is in the file yet, neither from this run nor from earlier ones it is appended to.
    pub fn is_blank(&self) -> bool {
        self.is_untouched() && self.base == 0
    }

    /// Nothing of this run is in the file yet.
    pub fn is_untouched(&self) -> bool {
        !self.touched && self.parts.is_empty()
    }

    /// What the format remembers about the file, part of every snapshot.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Sets the [`note`](Self::note).
    pub fn set_note(&mut self, note: String) {
        self.note = note;
    }
}

impl Output {
    /// Starts, or goes back to where a snapshot was taken: whatever was written later is discarded.
    pub fn open(settings: WriteSettings, snapshot: Option<&[u8]>) -> Result<Self> {
        settings.check()?;
        let mut output = Self {
            settings,
            targets: BTreeMap::new(),
            token: segment::token(),
            next: 1,
            finished: false,
            unsettled: None,
            fresh: snapshot.is_none(),
            failed: None,
        };
        if let Some(bytes) = snapshot {
            let snapshot = decode(bytes)?;
            if snapshot.mode != output.settings.mode
                && !snapshot.finished
                && !snapshot.targets.is_empty()
            {
                return Err(
                    Fault::config("the mode cannot change while a run is unfinished")
                        .field("/mode")
                        .advice("set it back until the run has finished, or run with --from-start"),
                );
            }
            for (path, kept) in &snapshot.targets {
                restore(path, kept, &snapshot)?;
            }
            output.next = snapshot.next;
            output.token.clone_from(&snapshot.token);
            if snapshot.finished {
                output.unsettled = Some(snapshot);
            } else {
                output.targets = snapshot
                    .targets
                    .into_iter()
                    .map(|(path, kept)| (path, Target::restored(kept, snapshot.mode)))
                    .collect();
            }
        }
        Ok(output)
    }

    /// The settings it was opened with.
    pub fn settings(&self) -> &WriteSettings {
        &self.settings
    }

    /// The file of a stream, made on first use.
    pub fn target(&mut self, path: &str) -> Result<&mut Target> {
        self.guard()?;
        self.settle()?;
        if !self.targets.contains_key(path) {
            let target = self.start(path)?;
            self.targets.insert(path.to_owned(), target);
        }
        self.targets
            .get_mut(path)
            .ok_or_else(|| Fault::permanent("the file is not open").at(path))
    }

    fn start(&self, path: &str) -> Result<Target, DropError> {
        segment::remove_all(path)?;
        let there = segment::length(path)?;
        let base = if self.settings.mode == Mode::Append {
            there.unwrap_or(0)
        } else {
            0
        };
        Ok(Target {
            base,
            parts: Vec::new(),
            pen: None,
            buffer: Vec::new(),
            note: String::new(),
            touched: false,
            untried: None,
        })
    }

    /// Writes out the rows of a target once there are enough of them.
    pub fn pass_on(&mut self, path: &str) -> Result<()> {
        if self
            .targets
            .get(path)
            .is_some_and(|target| target.buffer.len() >= BUFFER)
        {
            let written = self.write_out(path);
            self.remember(written)?;
        }
        Ok(())
    }

    fn write_out(&mut self, path: &str) -> Result<(), DropError> {
        let (gzip, replace) = (self.settings.gzip(), self.settings.mode == Mode::Replace);
        let Some(target) = self.targets.get_mut(path) else {
            return Ok(());
        };
        if target.pen.is_none() {
            match target.parts.last() {
                Some(part) if replace => {
                    let part_path = segment::part_path(path, &self.token, part.number);
                    target.pen = Some(Pen::open(part_path, part.length, gzip)?);
                }
                _ => {
                    let part = Part {
                        number: self.next,
                        length: 0,
                        seal: None,
                    };
                    let part_path = segment::part_path(path, &self.token, part.number);
                    target.pen = Some(Pen::open(part_path, 0, gzip)?);
                    target.untried = Some(part.number);
                    segment::sync_folder(path);
                    target.parts.push(part);
                    self.next += 1;
                }
            }
        }
        if let Some(pen) = &mut target.pen
            && !target.buffer.is_empty()
        {
            pen.write(&target.buffer)?;
        }
        target.buffer.clear();
        Ok(())
    }

    /// Whether a file of this run is at this path.
    pub fn is_open(&self, path: &str) -> bool {
        self.targets.contains_key(path)
    }

    /// Whether this run has written no file and is not the continuation of one that has finished: its result is an
    /// empty file, if all records go to one.
    pub fn is_empty_run(&self) -> bool {
        self.fresh && self.targets.is_empty() && self.settings.is_single()
    }

    /// The input has ended.
    pub fn finish(&mut self) -> Result<()> {
        self.guard()?;
        self.settle()?;
        self.finished = true;
        Ok(())
    }

    /// Makes everything durable.
    pub fn snapshot(&mut self) -> Result<Vec<u8>> {
        self.guard()?;
        if let Some(unsettled) = &self.unsettled {
            return Ok(serde_json::to_vec(unsettled)?);
        }
        let made = self.make_durable();
        self.remember(made)?;
        let kept = |target: &Target| Kept {
            base: target.base,
            parts: target.parts.clone(),
            note: target.note.clone(),
        };
        let targets = self
            .targets
            .iter()
            .map(|(path, target)| (path.clone(), kept(target)))
            .collect();
        let snapshot = Snapshot {
            version: VERSION,
            mode: self.settings.mode,
            finished: self.finished,
            next: self.next,
            token: self.token.clone(),
            targets,
        };
        Ok(serde_json::to_vec(&snapshot)?)
    }

    fn make_durable(&mut self) -> Result<(), DropError> {
        let paths: Vec<String> = self.targets.keys().cloned().collect();
        for path in paths {
            let unwritten = self.targets.get(&path).is_some_and(|target| {
                // A file that stays empty is made, too, once the run has finished.
                !target.buffer.is_empty()
                    || (self.finished && target.touched && target.parts.is_empty())
            });
            if unwritten {
                self.write_out(&path)?;
            }
            let Some(target) = self.targets.get_mut(&path) else {
                continue;
            };
            if let Some(pen) = &mut target.pen {
                let length = pen.sync()?;
                if let Some(part) = target.parts.last_mut() {
                    part.length = length;
                }
                if self.settings.mode == Mode::Append {
                    target.pen = None;
                }
            }
            seal(&path, target, &self.token)?;
            if self.finished && self.settings.mode == Mode::Replace {
                alone(&path, &self.token)?;
            }
        }
        Ok(())
    }

    /// Puts in place what a snapshot covers.
    pub fn commit(&mut self, snapshot: &[u8]) -> Result<()> {
        let snapshot = decode(snapshot)?;
        for (path, kept) in &snapshot.targets {
            let last = kept.parts.last().map(|part| part.number);
            let tries = snapshot.finished || snapshot.mode == Mode::Append;
            let mut target = self.targets.get_mut(path);
            let first_try = target.as_mut().is_some_and(|target| {
                let untried = target.untried.take_if(|own| tries && Some(*own) == last);
                untried.is_some()
            });
            let done = put_in_place(path, kept, &snapshot, first_try)?;
            let Some(target) = target else { continue };
            if let Some(base) = done {
                target.base = base;
                target.parts.retain(|part| !kept.parts.contains(part));
            }
        }
        if snapshot.finished {
            self.unsettled = None;
            if self.finished {
                self.targets.clear();
                (self.finished, self.fresh) = (false, false);
            }
        }
        Ok(())
    }

    /// Finishes the commit of the checkpoint it was opened from, if the host has not asked for that.
    fn settle(&mut self) -> Result<()> {
        if let Some(snapshot) = self.unsettled.take() {
            for (path, kept) in &snapshot.targets {
                put_in_place(path, kept, &snapshot, false)?;
            }
        }
        Ok(())
    }

    fn remember(&mut self, done: Result<(), DropError>) -> Result<()> {
        done.map_err(|error| {
            let fault = Fault::from(error);
            self.failed = Some(fault.clone());
            fault
        })
    }

    /// After a failed write nobody knows what is in the part: only opening from a snapshot helps. Until then the answer
    /// is the same, so that the cause is what people see.
    fn guard(&self) -> Result<()> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}

impl Target {
    fn restored(kept: Kept, mode: Mode) -> Self {
        // A file that is replaced is committed at the end only. Of one that is appended to, nobody knows.
        let last = kept.parts.last().map(|part| part.number);
        Self {
            untried: last.filter(|_| mode == Mode::Replace),
            base: kept.base,
            parts: kept.parts,
            pen: None,
            buffer: Vec::new(),
            note: kept.note,
            touched: true,
        }
    }
}

/// Looks whether the parts are there, and notes by what they are known. One that this instance was opened with may have been
/// put in place meanwhile, by the instance before it.
fn seal(path: &str, target: &mut Target, token: &str) -> Result<(), DropError> {
    for part in &mut target.parts {
        let part_path = segment::part_path(path, token, part.number);
        match segment::seal(&part_path, part.length, part.length)? {
            Some(seal) => part.seal = Some(seal),
            None if target.untried != Some(part.number) => {}
            None => {
                return Err(shared(
                    path,
                    format!("its unfinished part {part_path} is gone"),
                ));
            }
        }
    }
    Ok(())
}

/// Of two sinks that replace one file, the records of one would be gone.
fn alone(path: &str, token: &str) -> Result<(), DropError> {
    match segment::foreign(path, token)? {
        None => Ok(()),
        Some(part) => Err(shared(
            path,
            format!("{part} is beside it and not of this sink"),
        )),
    }
}

/// What a file that is appended to ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The last byte is a line feed (or cannot be seen, in a compressed file).
    Whole,
    /// The last line is not ended.
    Open,
}

/// Looks how an existing text file ends. `wide`: it is UTF-16.
pub fn ending(path: &str, wide: bool) -> Result<Ending, DropError> {
    use std::io::{Read, Seek, SeekFrom};
    let mut tail = Vec::new();
    let mut file = fs::File::open(path).map_err(DropError::io("open", path))?;
    let length = file.metadata().map_err(DropError::io("read", path))?.len();
    if find::is_gzip(&mut file).map_err(DropError::io("read", path))? {
        return Ok(Ending::Whole);
    }
    file.seek(SeekFrom::Start(length.saturating_sub(2)))
        .and_then(|_| file.read_to_end(&mut tail))
        .map_err(DropError::io("read", path))?;
    let whole = match tail.as_slice() {
        [] => true,
        tail if wide => tail == b"\n\0" || tail == b"\0\n",
        tail => matches!(tail.last(), Some(b'\n' | b'\r')),
    };
    Ok(if whole { Ending::Whole } else { Ending::Open })
}
