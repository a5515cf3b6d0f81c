//! What a snapshot of an output holds, and how it is put in place: so that it can be done again.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use crate::error::DropError;
use crate::segment::{self, Pen};

pub(crate) const VERSION: u8 = 1;

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// The records of each run take its place, at the end of the run.
    #[default]
    Replace,
    /// Records are added to it, at every checkpoint.
    Append,
}

/// Rows that are not in the file yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) number: u64,
    pub(crate) length: u64,
    /// By which its bytes are known when they are in the file. Snapshots of older versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seal: Option<u32>,
}

/// All files of a sink at a checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) version: u8,
    pub(crate) mode: Mode,
    pub(crate) finished: bool,
    pub(crate) next: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) token: String,
    pub(crate) targets: BTreeMap<String, Kept>,
}

/// One file at a checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Bytes of the file that lie before the parts.
    pub(crate) base: u64,
    pub(crate) parts: Vec<Part>,
    #[serde(default)]
    pub(crate) note: String,
}

/// Reads a snapshot.
pub(crate) fn decode(bytes: &[u8]) -> Result<Snapshot, DropError> {
    let snapshot: Snapshot = serde_json::from_slice(bytes)
        .map_err(|error| DropError::Snapshot(format!("it cannot be read: {error}")))?;
    if snapshot.version != VERSION {
        let found = snapshot.version;
        return Err(DropError::Snapshot(format!(
            "its version is {found}, this plugin knows {VERSION}"
        )));
    }
    Ok(snapshot)
}

/// Cuts the parts of a target back to their recorded lengths and removes later ones.
pub(crate) fn restore(path: &str, kept: &Kept, snapshot: &Snapshot) -> Result<(), DropError> {
    let numbers: Vec<u64> = kept.parts.iter().map(|part| part.number).collect();
    segment::remove_own(path, &snapshot.token, &numbers)?;
    for part in &kept.parts {
        let part_path = segment::part_path(path, &snapshot.token, part.number);
        match segment::length(&part_path)? {
            Some(length) if length < part.length => {
                let what = format!("its part has {length} bytes and had {}", part.length);
                return Err(DropError::Output {
                    path: part_path,
                    what,
                });
            }
            Some(_) => drop(Pen::open(part_path, part.length, false)?),
            // Committed already; whether that is so is checked when it is committed again.
            None if snapshot.finished || snapshot.mode == Mode::Append => {}
            None => {
                return Err(DropError::Output {
                    path: part_path,
                    what: "it is gone".to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// The file is not only this sink's.
pub(crate) fn shared(path: &str, what: String) -> DropError {
    DropError::Shared {
        path: path.to_owned(),
        what,
    }
}

/// Commits one target. The new length of a file that was appended to. `first_try`: it cannot have been committed yet.
pub(crate) fn put_in_place(
    path: &str,
    kept: &Kept,
    snapshot: &Snapshot,
    first_try: bool,
) -> Result<Option<u64>, DropError> {
    match snapshot.mode {
        Mode::Replace if snapshot.finished => {
            for part in &kept.parts {
                let part_path = segment::part_path(path, &snapshot.token, part.number);
                if segment::length(&part_path)?.is_none() {
                    if first_try {
                        return Err(shared(
                            path,
                            format!("its finished part {part_path} is gone"),
                        ));
                    }
                } else {
                    fs::rename(&part_path, path).map_err(DropError::io("put in place", path))?;
                    segment::sync_folder(path);
                }
            }
            Ok(None)
        }
        Mode::Replace => Ok(None),
        Mode::Append => append_parts(path, kept, &snapshot.token, first_try).map(Some),
    }
}

fn append_parts(path: &str, kept: &Kept, token: &str, first_try: bool) -> Result<u64, DropError> {
    let end = kept.base + kept.parts.iter().map(|part| part.length).sum::<u64>();
    let mut at = kept.base;
    let mut left: Vec<(String, u64)> = Vec::new();
    for part in &kept.parts {
        let part_path = segment::part_path(path, token, part.number);
        if left.is_empty() && segment::length(&part_path)?.is_none() {
            at += part.length;
        } else {
            left.push((part_path, part.length));
        }
    }
    let there = segment::length(path)?.unwrap_or(0);
    let differs = |what: String| DropError::Output {
        path: path.to_owned(),
        what,
    };
    if there < at {
        return Err(differs(format!(
            "it has {there} bytes and should have {at}"
        )));
    }
    if left.is_empty() {
        if let Some(part) = kept.parts.last()
            && part.seal.is_some()
            && part.seal != segment::seal(path, end, part.length)?
        {
            let what = format!("what was appended up to byte {end} is not there");
            return Err(shared(path, what));
        }
        return Ok(end.max(there));
    }
    // A commit that was interrupted may have left a beginning of the parts there. Anything else is not ours to cut.
    if there > at && (first_try || !segment::holds_start_of(path, at, &left)?) {
        let what = format!("it has {there} bytes, and this sink has written {at}");
        return Err(shared(path, what));
    }
    for (part, length) in &left {
        segment::append(part, *length, path, at)?;
        at += length;
    }
    segment::sync_folder(path);
    for (part, _) in &left {
        segment::remove(part)?;
    }
    Ok(end)
}
