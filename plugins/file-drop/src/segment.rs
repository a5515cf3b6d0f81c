//! An unfinished file beside its target: written to, cut back to a recorded length, put in place.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::error::{DropError, Result, WRITE};

/// `out/prices.csv` number 3 is `out/.crossdock-prices.csv.3.part`. The leading dot keeps it out of patterns.
pub(crate) fn part_path(target: &str, number: u64) -> String {
    let (folder, name) = split(target);
    format!("{folder}.crossdock-{name}.{number}.part")
}

/// Folder with its `/` (or empty), and name.
fn split(path: &str) -> (&str, &str) {
    path.rfind('/')
        .map_or(("", path), |slash| path.split_at(slash + 1))
}

/// The folder of a path, as a path.
pub(crate) fn folder(path: &str) -> &str {
    match split(path).0 {
        "" => ".",
        "/" => "/",
        folder => folder.trim_end_matches('/'),
    }
}

/// Removes the parts of a target that are not among `keep`: leftovers of a run that crashed.
pub(crate) fn remove_others(target: &str, keep: &[u64]) -> Result<()> {
    let (prefix, folder) = (format!(".crossdock-{}.", split(target).1), folder(target));
    for entry in crate::find::entries(folder)? {
        let name = entry.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(&prefix)?.strip_suffix(".part"))
            .and_then(|number| number.parse::<u64>().ok());
        if let Some(number) = number.filter(|number| !keep.contains(number)) {
            remove(&part_path(target, number))?;
        }
    }
    Ok(())
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &str) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(DropError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// The length of a file, `None` when it does not exist.
pub(crate) fn length(path: &str) -> Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {
            Err(DropError::io(WRITE, path)(ErrorKind::IsADirectory.into()))
        }
        Ok(meta) => Ok(Some(meta.len())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DropError::io("look at", path)(error)),
    }
}

/// Makes a rename or a new name durable. Not every system can do that for a folder; where it cannot, the rename is
/// still atomic.
pub(crate) fn sync_folder(path: &str) {
    if let Ok(folder) = File::open(folder(path)) {
        let _ = folder.sync_all();
    }
}

/// Appends the first `length` bytes of `part` to `target` at `at`, cutting what is behind, and makes it durable.
pub(crate) fn append(part: &str, length: u64, target: &str, at: u64) -> Result<()> {
    let from = File::open(part).map_err(DropError::io("open", part))?;
    let mut to = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(target)
        .map_err(DropError::io(WRITE, target))?;
    to.set_len(at)
        .and_then(|()| to.seek(SeekFrom::Start(at)))
        .and_then(|_| std::io::copy(&mut from.take(length), &mut to))
        .and_then(|_| to.sync_all())
        .map_err(DropError::io(WRITE, target))
}

/// Whether `target` from `at` on holds a beginning of what the parts hold together.
pub(crate) fn holds_start_of(target: &str, at: u64, parts: &[(String, u64)]) -> Result<bool> {
    let mut there = File::open(target).map_err(DropError::io("open", target))?;
    there
        .seek(SeekFrom::Start(at))
        .map_err(DropError::io("read", target))?;
    let (mut mine, mut theirs) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    for (part, length) in parts {
        let mut from = File::open(part)
            .map_err(DropError::io("open", part))?
            .take(*length);
        loop {
            let wanted = fill(&mut from, &mut mine).map_err(DropError::io("read", part))?;
            if wanted == 0 {
                break;
            }
            let room = theirs.get_mut(..wanted).unwrap_or_default();
            let found = fill(&mut there, room).map_err(DropError::io("read", target))?;
            if mine.get(..found) != theirs.get(..found) {
                return Ok(false);
            }
            if found < wanted {
                return Ok(true);
            }
        }
    }
    // More than all parts together would be somebody else's.
    Ok(fill(&mut there, &mut theirs).map_err(DropError::io("read", target))? == 0)
}

fn fill(from: &mut impl Read, room: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < room.len() {
        match from.read(room.get_mut(filled..).unwrap_or_default())? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// A part that is being written.
#[derive(Debug)]
pub(crate) struct Pen {
    path: String,
    gzip: bool,
    state: Option<State>,
}

#[derive(Debug)]
enum State {
    Plain(File),
    /// Inside a gzip member.
    Gzip(Box<GzEncoder<File>>),
}

impl Pen {
    /// Opens a part to be written from byte `at` on; what is behind is cut off.
    pub(crate) fn open(path: String, at: u64, gzip: bool) -> Result<Self> {
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(DropError::io(WRITE, &path))?;
        let cut = |file: &mut File| {
            if file.metadata()?.len() != at {
                file.set_len(at)?;
            }
            file.seek(SeekFrom::Start(at))
        };
        cut(&mut file).map_err(DropError::io(WRITE, &path))?;
        Ok(Self {
            path,
            gzip,
            state: Some(State::Plain(file)),
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let state = match self.state.take() {
            Some(State::Plain(file)) if self.gzip => {
                State::Gzip(Box::new(GzEncoder::new(file, Compression::default())))
            }
            Some(state) => state,
            None => return Err(self.closed()),
        };
        let written = match self.state.insert(state) {
            State::Plain(file) => file.write_all(bytes),
            State::Gzip(encoder) => encoder.write_all(bytes),
        };
        written.map_err(DropError::io(WRITE, &self.path))
    }

    /// Makes all of it durable and says how long it is. A gzip member ends here, so that the file can be cut here.
    pub(crate) fn sync(&mut self) -> Result<u64> {
        let finished = match self.state.take() {
            Some(State::Plain(file)) => Ok(file),
            Some(State::Gzip(encoder)) => encoder.finish(),
            None => return Err(self.closed()),
        };
        let synced = finished.and_then(|mut file| {
            file.sync_all()?;
            let length = file.stream_position()?;
            self.state = Some(State::Plain(file));
            Ok(length)
        });
        synced.map_err(DropError::io(WRITE, &self.path))
    }

    fn closed(&self) -> DropError {
        DropError::io(WRITE, &self.path)(std::io::Error::other("an earlier write failed"))
    }
}
