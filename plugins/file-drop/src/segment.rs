//! An unfinished file beside its target: written to, cut back to a recorded length, put in place.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, Crc};

use crossdock_sdk::prelude::random;

use crate::error::{DropError, Result, WRITE};

/// The end of a file by which it is known again, at most.
const SEALED: u64 = 64 * 1024;

/// Whose a part is: drawn when a sink starts from nothing, kept in its snapshots. The empty one is that of snapshots
/// from before there were tokens.
pub(crate) fn token() -> String {
    format!("{:016x}", random::u64())
}

/// `out/prices.csv` number 3 of the sink `T` is `out/.crossdock-prices.csv.T.3.part`. The leading dot keeps it out of
/// patterns.
pub(crate) fn part_path(target: &str, token: &str, number: u64) -> String {
    let (folder, name) = split(target);
    match token {
        "" => format!("{folder}.crossdock-{name}.{number}.part"),
        token => format!("{folder}.crossdock-{name}.{token}.{number}.part"),
    }
}

/// Token and number of a part, from what is between the name of its target and `.part`.
fn owner(middle: &str) -> Option<(&str, u64)> {
    let (token, number) = middle.rsplit_once('.').unwrap_or(("", middle));
    let is_token = |token: &str| token.len() == 16 && token.bytes().all(|b| b.is_ascii_hexdigit());
    let number = number.parse().ok()?;
    (token.is_empty() || is_token(token)).then_some((token, number))
}

/// All parts of a target: path, token and number.
fn parts(target: &str) -> Result<Vec<(String, String, u64)>> {
    let (folder, name) = split(target);
    let prefix = format!(".crossdock-{name}.");
    let mut found = Vec::new();
    for entry in crate::find::entries(self::folder(target))? {
        let entry = entry.file_name();
        let part = entry.to_str();
        let middle = part.and_then(|part| part.strip_prefix(&prefix)?.strip_suffix(".part"));
        if let (Some(part), Some((token, number))) = (part, middle.and_then(owner)) {
            found.push((format!("{folder}{part}"), token.to_owned(), number));
        }
    }
    Ok(found)
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

/// Removes the parts of a target that are this sink's and not among `keep`: what came behind its checkpoint.
pub(crate) fn remove_own(target: &str, token: &str, keep: &[u64]) -> Result<()> {
    for (path, owner, number) in parts(target)? {
        if owner == token && !keep.contains(&number) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Removes all parts of a target, for a sink that begins with it: leftovers of runs that crashed before they had a
/// checkpoint, which nobody comes back for. A sink that is at work on the same file sees that they are gone when it is
/// asked for its next snapshot, and fails before any of it is committed.
pub(crate) fn remove_all(target: &str) -> Result<()> {
    for (path, ..) in parts(target)? {
        remove(&path)?;
    }
    Ok(())
}

/// A part of somebody else's beside the target.
pub(crate) fn foreign(target: &str, token: &str) -> Result<Option<String>> {
    let mut parts = parts(target)?.into_iter();
    Ok(parts.find_map(|(path, owner, _)| (owner != token).then_some(path)))
}

/// A checksum of the end of the `length` bytes before `end`. `None` when they are not there.
pub(crate) fn seal(path: &str, end: u64, length: u64) -> Result<Option<u32>> {
    if self::length(path)?.is_none_or(|there| there < end) {
        return Ok(None);
    }
    let sealed = length.min(SEALED).min(end);
    let mut sum = Crc::new();
    let mut bytes = Vec::new();
    let mut file = File::open(path).map_err(DropError::io("open", path))?;
    file.seek(SeekFrom::Start(end - sealed))
        .and_then(|_| file.take(sealed).read_to_end(&mut bytes))
        .map_err(DropError::io("read", path))?;
    sum.update(&bytes);
    Ok(Some(sum.sum()))
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
        .map_err(DropError::io(WRITE, target))?;
    match self::length(target)? {
        Some(there) if there == at + length => Ok(()),
        there => Err(DropError::Shared {
            path: target.to_owned(),
            what: format!(
                "it has {} bytes and should have {} now",
                there.unwrap_or(0),
                at + length
            ),
        }),
    }
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
