//! The files of the audit log: lines are appended and made durable, files that are full are put aside.

use std::{
    collections::VecDeque,
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::{AuditEntry, AuditFilter, AuditPage, StorageError};
use crate::storage::{blob::sync_dir, create_private_dir};

/// A file of this size is full.
const FULL: u64 = 4 << 20;
/// No line is longer, so what is longer was not written by this program.
const MAX_LINE: u64 = 64 << 10;

/// One row of files: the newest has no number, the oldest has the highest.
#[derive(Debug, Clone, Copy)]
struct Series {
    name: &'static str,
    files: usize,
}

const ACTIONS: Series = Series {
    name: "actions",
    files: 8,
};
const DENIED: Series = Series {
    name: "denied",
    files: 4,
};

impl Series {
    fn file(self, dir: &Path, number: usize) -> PathBuf {
        let name = self.name;
        dir.join(match number {
            0 => format!("{name}.jsonl"),
            number => format!("{name}.{number}.jsonl"),
        })
    }
}

/// The folder of the log, for writing.
pub(super) struct Files {
    dir: PathBuf,
    full: u64,
}

impl Files {
    pub(super) fn open(dir: PathBuf) -> Result<Self, StorageError> {
        create_private_dir(&dir)?;
        Ok(Self { dir, full: FULL })
    }

    #[cfg(test)]
    pub(super) fn with_size(dir: PathBuf, full: u64) -> Result<Self, StorageError> {
        Ok(Self {
            full,
            ..Self::open(dir)?
        })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes entries durable. When it fails, those of a series that were not written whole are not there at all, and
    /// the entries that are left to write are in `entries`.
    pub(super) fn append(&self, entries: &mut VecDeque<AuditEntry>) -> io::Result<()> {
        let lock = self.lock()?;
        for series in [ACTIONS, DENIED] {
            let is_mine =
                |entry: &&AuditEntry| entry.action.may_flood() == (series.name == DENIED.name);
            let mut lines = Vec::new();
            for entry in entries.iter().filter(is_mine) {
                serde_json::to_writer(&mut lines, entry)?;
                lines.push(b'\n');
            }
            if !lines.is_empty() {
                self.write(series, &lines)?;
                entries.retain(|entry| !is_mine(&entry));
            }
        }
        drop(lock);
        Ok(())
    }

    /// Only one process at a time appends or puts files aside. The lock goes with the file.
    fn lock(&self) -> io::Result<File> {
        let lock = private(OpenOptions::new().read(true).write(true).create(true))
            .truncate(false)
            .open(self.dir.join("lock"))?;
        lock.lock()?;
        Ok(lock)
    }

    fn write(&self, series: Series, lines: &[u8]) -> io::Result<()> {
        let path = series.file(&self.dir, 0);
        // Opened anew for each write: another process may have put the file aside.
        if fs::metadata(&path).is_ok_and(|found| found.len() >= self.full) {
            self.put_aside(series)?;
        }
        let mut file =
            private(OpenOptions::new().read(true).append(true).create(true)).open(&path)?;
        let before = file.metadata()?.len();
        let written = end_line(&mut file, before)
            .and_then(|()| file.write_all(lines))
            .and_then(|()| file.sync_data());
        if written.is_err() {
            // Half a line would be damage; the rest of it is written again later.
            let _ = file.set_len(before);
        } else if before == 0 {
            sync_dir(&self.dir)?;
        }
        written
    }

    fn put_aside(&self, series: Series) -> io::Result<()> {
        for number in (1..series.files).rev() {
            let (from, to) = (
                series.file(&self.dir, number - 1),
                series.file(&self.dir, number),
            );
            match fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        sync_dir(&self.dir)
    }
}

/// Ends a line that a crash cut, so that the next one is whole.
fn end_line(file: &mut File, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    if last == *b"\n" {
        Ok(())
    } else {
        file.write_all(b"\n")
    }
}

/// What is denied and to whom is nobody else's business.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Reads the log of a folder.
pub(super) fn read(dir: &Path, filter: &AuditFilter) -> Result<AuditPage, StorageError> {
    let failed = |path: &Path, error| StorageError::io("read", path, error);
    let lock = dir.join("lock");
    let lock = match File::open(&lock) {
        Ok(file) => file.lock_shared().map(|()| file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(AuditPage::default()),
        Err(error) => Err(error),
    }
    .map_err(|error| failed(&lock, error))?;
    let (mut found, mut damaged) = (Vec::new(), 0);
    for series in [ACTIONS, DENIED] {
        let mut last = VecDeque::new();
        for number in (0..series.files).rev() {
            let path = series.file(dir, number);
            read_file(&path, filter, &mut last, &mut damaged)
                .map_err(|error| failed(&path, error))?;
        }
        found.extend(last);
    }
    drop(lock);
    // Stable: entries of the same millisecond stay in the order of their file.
    found.sort_by_key(|entry: &AuditEntry| entry.at_ms);
    let surplus = found.len().saturating_sub(filter.limit);
    Ok(AuditPage {
        entries: found.split_off(surplus),
        damaged,
    })
}

fn read_file(
    path: &Path,
    filter: &AuditFilter,
    last: &mut VecDeque<AuditEntry>,
    damaged: &mut u64,
) -> io::Result<()> {
    let mut file = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        if file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match serde_json::from_slice::<AuditEntry>(&line) {
            Ok(entry) if filter.matches(&entry) => {
                last.push_back(entry);
                if last.len() > filter.limit {
                    last.pop_front();
                }
            }
            Ok(_) => {}
            Err(_) => *damaged += 1,
        }
    }
}
