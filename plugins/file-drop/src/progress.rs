//! How far every file has been read, and whether it is still the same file.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use crate::error::{DropError, Result};
use crate::text::Encoding;

/// The contract's limit for a snapshot.
const LIMIT: usize = 1 << 20;
/// From here on a snapshot is packed.
const PACKED_FROM: usize = 128 * 1024;
const VERSION: u8 = 1;

/// What a source knows about the files of earlier reads: its snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    version: u8,
    encoding: String,
    pub(crate) files: BTreeMap<String, Position>,
}

/// How far one file has been read.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Bytes of text before the next record.
    #[serde(rename = "o")]
    pub(crate) offset: u64,
    /// Lines before the next record.
    #[serde(rename = "l")]
    pub(crate) lines: u64,
    /// Everything that was there has been read.
    #[serde(rename = "e")]
    pub(crate) ended: bool,
    /// What the layout wants to remember about the file.
    #[serde(rename = "n", default, skip_serializing_if = "String::is_empty")]
    pub(crate) note: String,
    #[serde(rename = "f")]
    pub(crate) print: Fingerprint,
}

impl Progress {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self {
            version: VERSION,
            encoding: encoding.name().to_owned(),
            files: BTreeMap::new(),
        }
    }

    /// Reads a snapshot.
    pub(crate) fn decode(bytes: &[u8], encoding: Encoding) -> Result<Self> {
        let bad = |error: &dyn std::fmt::Display| {
            DropError::Snapshot(format!("it cannot be read: {error}"))
        };
        let mut unpacked = Vec::new();
        let json = if bytes.starts_with(&[0x1F, 0x8B]) {
            flate2::read::GzDecoder::new(bytes)
                .read_to_end(&mut unpacked)
                .map_err(|error| bad(&error))?;
            &unpacked
        } else {
            bytes
        };
        let progress: Self = serde_json::from_slice(json).map_err(|error| bad(&error))?;
        if progress.version != VERSION {
            let found = progress.version;
            return Err(DropError::Snapshot(format!(
                "its version is {found}, this plugin knows {VERSION}"
            )));
        }
        if progress.encoding != encoding.name() {
            return Err(DropError::Setting {
                field: "/encoding".to_owned(),
                message: format!(
                    "the files were read as {} so far, not as {}",
                    progress.encoding,
                    encoding.name()
                ),
                advice: "keep the encoding, or run with --from-start".to_owned(),
            });
        }
        Ok(progress)
    }

    /// The snapshot. Files that no pattern matches any more are forgotten only when there is no room for them.
    pub(crate) fn encode(&self, listed: &[String]) -> Result<Vec<u8>> {
        let bytes = self.pack()?;
        if bytes.len() <= LIMIT {
            return Ok(bytes);
        }
        let mut fewer = self.clone();
        fewer.files.retain(|path, _| listed.contains(path));
        let bytes = fewer.pack()?;
        if bytes.len() <= LIMIT {
            return Ok(bytes);
        }
        Err(DropError::Setting {
            field: "/files".to_owned(),
            message: format!(
                "the positions of {} files do not fit into one snapshot",
                fewer.files.len()
            ),
            advice:
                "split the patterns between several flows, or move files away that have been read"
                    .to_owned(),
        })
    }

    fn pack(&self) -> Result<Vec<u8>> {
        let bad = |error: &dyn std::fmt::Display| DropError::Snapshot(error.to_string());
        let json = serde_json::to_vec(self).map_err(|error| bad(&error))?;
        if json.len() < PACKED_FROM {
            return Ok(json);
        }
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder
            .write_all(&json)
            .and_then(|()| encoder.finish())
            .map_err(|error| bad(&error))
    }
}

/// What tells a file that has grown from one that has been replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Fingerprint {
    #[serde(rename = "s")]
    size: u64,
    /// Milliseconds since 1970, where the file system says so.
    #[serde(rename = "m")]
    modified: Option<u64>,
    /// The first bytes: how many, their hash.
    #[serde(rename = "h")]
    head: (u64, u64),
    /// The bytes before a point in the file: the point, their hash.
    #[serde(rename = "t")]
    tail: (u64, u64),
}

const HEAD: u64 = 4096;
const TAIL: u64 = 1024;

/// A file in comparison to its fingerprint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing has been written to it.
    Same,
    /// It got longer at its end.
    Grown,
    /// Anything else; the text says what was seen.
    Changed(String),
}

impl Fingerprint {
    /// Of a file that has been read up to byte `upto` (in the file itself; its end when that cannot be said).
    /// `whole` is the length at which reading found the end.
    pub(crate) fn take(path: &str, upto: Option<u64>, whole: Option<u64>) -> Result<Self> {
        let (mut file, size, mut modified) = look(path)?;
        if whole.is_some_and(|whole| whole != size) {
            // Written to since the end was read: that will be seen as growth.
            modified = None;
        }
        let size = whole.map_or(size, |whole| whole.min(size));
        let head = size.min(HEAD);
        let point = upto.unwrap_or(size).min(size);
        let head = (head, hash(&mut file, 0, head, path)?);
        let tail = (
            point,
            hash(&mut file, point.saturating_sub(TAIL), point.min(TAIL), path)?,
        );
        Ok(Self {
            size,
            modified,
            head,
            tail,
        })
    }

    pub(crate) fn compare(&self, path: &str) -> Result<State> {
        let (mut file, size, modified) = look(path)?;
        if size < self.size {
            return Ok(State::Changed(format!(
                "it has {size} bytes and had {}",
                self.size
            )));
        }
        if hash(&mut file, 0, self.head.0, path)? != self.head.1 {
            return Ok(State::Changed("it begins differently".to_owned()));
        }
        let point = self.tail.0;
        if hash(&mut file, point.saturating_sub(TAIL), point.min(TAIL), path)? != self.tail.1 {
            return Ok(State::Changed(format!(
                "what is in front of byte {point} differs"
            )));
        }
        if size > self.size {
            return Ok(State::Grown);
        }
        match (self.modified, modified) {
            (Some(then), Some(now)) if then != now => Ok(State::Changed(
                "it was written to and has the same length".to_owned(),
            )),
            _ => Ok(State::Same),
        }
    }
}

fn look(path: &str) -> Result<(File, u64, Option<u64>)> {
    let file = File::open(path).map_err(DropError::io("open", path))?;
    let meta = fs::metadata(path).map_err(DropError::io("read", path))?;
    let modified = meta
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok((
        file,
        meta.len(),
        modified.and_then(|since| u64::try_from(since.as_millis()).ok()),
    ))
}

/// FNV-1a of a part of a file. It only has to notice changes, not to withstand an attacker.
fn hash(file: &mut File, from: u64, length: u64, path: &str) -> Result<u64> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))
        .and_then(|_| file.take(length).read_to_end(&mut bytes))
        .map_err(DropError::io("read", path))?;
    Ok(bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_from_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        let path = path.to_str().unwrap();
        let text = "0123456789\n".repeat(1000);
        fs::write(path, &text).unwrap();
        let print = Fingerprint::take(path, Some(5500), None).unwrap();
        assert_eq!(print.compare(path).unwrap(), State::Same);
        fs::write(path, format!("{text}more")).unwrap();
        assert_eq!(print.compare(path).unwrap(), State::Grown);
        for changed in [
            text[1..].to_owned(),
            format!("x{text}"),
            text.replacen('9', "x", 500) + "more",
        ] {
            fs::write(path, changed).unwrap();
            assert!(matches!(print.compare(path).unwrap(), State::Changed(_)));
        }
        // Far behind the point nothing but the time of the last write tells.
        let mut late = text.clone();
        late.replace_range(9000..9001, "x");
        fs::write(path, late).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(UNIX_EPOCH + std::time::Duration::from_secs(5))
            .unwrap();
        assert!(matches!(print.compare(path).unwrap(), State::Changed(_)));
    }

    #[test]
    fn many_files_fit_and_too_many_are_refused() {
        let mut progress = Progress::new(Encoding::Utf8);
        let position = |n: u64| Position {
            offset: n.wrapping_mul(0x9E37_79B9_7F4A_7C15),
            print: Fingerprint {
                head: (1, n.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
                ..Fingerprint::default()
            },
            ..Position::default()
        };
        for n in 0..60_000_u64 {
            progress
                .files
                .insert(format!("data/orders-{n}.csv"), position(n));
        }
        let listed: Vec<String> = progress.files.keys().take(1000).cloned().collect();
        let bytes = progress.encode(&listed).unwrap();
        let read = Progress::decode(&bytes, Encoding::Utf8).unwrap();
        assert!(
            read.files.len() == 1000,
            "only listed ones are kept: {}",
            read.files.len()
        );
        let all: Vec<String> = progress.files.keys().cloned().collect();
        let listed_all = Progress {
            files: progress.files.clone(),
            ..Progress::new(Encoding::Utf8)
        };
        assert!(matches!(
            listed_all.encode(&all),
            Err(DropError::Setting { .. })
        ));
        progress.files.retain(|path, _| listed.contains(path));
        assert_eq!(
            Progress::decode(&progress.encode(&[]).unwrap(), Encoding::Utf8).unwrap(),
            progress
        );
        assert!(Progress::decode(b"{}", Encoding::Utf8).is_err());
        assert!(Progress::decode(&progress.encode(&[]).unwrap(), Encoding::Utf16).is_err());
    }
}
