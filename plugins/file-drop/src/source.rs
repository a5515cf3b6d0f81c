//! Reading the records of many files in order, page by page, resumable behind every record.

use std::time::Duration;

use crossdock_sdk::prelude::{BatchBuilder, Budget, Fault, Page, Read, Result};

use crate::error::DropError;
use crate::layout::Layout;
use crate::page::{Current, Draft, skip, take};
use crate::progress::{Fingerprint, Position, Progress, State};
use crate::settings::{OnChange, ReadSettings};
use crate::window::Window;

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
