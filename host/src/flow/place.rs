//! Where each value of a YAML file stands, by JSON pointer.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use super::finding::Location;

/// A stretch of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) line: u32,
    pub(super) column: u32,
    pub(super) offset: usize,
    pub(super) length: usize,
}

/// Where a value stands, and the key that names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) key: Option<Mark>,
    pub(super) value: Mark,
}

/// The places of all values of one file.
#[derive(Debug, Clone, Default)]
pub struct Places {
    file: PathBuf,
    by_pointer: HashMap<String, Place>,
    /// Values that a variable is part of.
    varied: HashSet<String>,
}

impl Places {
    pub(super) fn new(file: PathBuf) -> Self {
        Self {
            file,
            by_pointer: HashMap::new(),
            varied: HashSet::new(),
        }
    }

    pub(super) fn insert(&mut self, pointer: String, place: Place) {
        self.by_pointer.insert(pointer, place);
    }

    pub(super) fn vary(&mut self, pointer: &str) {
        self.varied.insert(pointer.to_owned());
    }

    /// Whether a variable is part of the value.
    pub(super) fn is_varied(&self, pointer: &str) -> bool {
        self.varied.contains(pointer)
    }

    /// Where a value stands, else the nearest value around it that is in the file.
    pub fn locate(&self, pointer: &str) -> Option<Location> {
        self.nearest(pointer)
            .map(|place| self.location(place.value))
    }

    /// Where the key of a value stands: what to point at when a whole object is meant. The value when it has no key.
    pub fn locate_key(&self, pointer: &str) -> Option<Location> {
        self.nearest(pointer)
            .map(|place| self.location(place.key.unwrap_or(place.value)))
    }

    /// Whether the value is written in the file.
    pub fn holds(&self, pointer: &str) -> bool {
        self.by_pointer.contains_key(pointer)
    }

    pub(super) fn mark(&self, pointer: &str) -> Option<Mark> {
        self.nearest(pointer).map(|place| place.value)
    }

    pub(super) fn location(&self, mark: Mark) -> Location {
        Location {
            file: self.file.clone(),
            line: mark.line,
            column: mark.column,
            offset: mark.offset,
            length: mark.length,
        }
    }

    fn nearest(&self, pointer: &str) -> Option<&Place> {
        let mut at = pointer;
        loop {
            if let Some(place) = self.by_pointer.get(at) {
                return Some(place);
            }
            (at, _) = at.rsplit_once('/')?;
        }
    }
}

/// A pointer to a field of the value at `parent`.
pub(super) fn child(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A pointer as people write it: `sinks[0].config.files`.
pub(super) fn spoken(pointer: &str) -> String {
    let mut text = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            text.push('[');
            text.push_str(&part);
            text.push(']');
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_are_spoken_and_escaped() {
        assert_eq!(spoken("/sinks/0/config/a~1b"), "sinks[0].config.a/b");
        assert_eq!(spoken(""), "");
        assert_eq!(child("/a", "b/c~d"), "/a/b~1c~0d");
    }
}
