//! A view of one JSON value.

use std::borrow::Cow;

use serde::de::DeserializeOwned;

use super::error::{Error, Problem};
use super::object::Object;
use super::text;
use super::walk;
use crate::utf8;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// `[...]`
    Array,
    /// `{...}`
    Object,
}

/// A view of one JSON value: free to copy, reads nothing until asked.
///
/// Only the outside of a value has been checked: its brackets match, a scalar is well-formed. Readers of nested values
/// answer `None` where the inside is malformed.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    raw: &'a [u8],
    kind: Kind,
}

impl<'a> Value<'a> {
    /// A value from its text. White space around it is left out.
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        let start = walk::skip_space(text, 0);
        let end = walk::skip_value(text, start)?;
        let rest = walk::skip_space(text, end);
        if rest != text.len() {
            return Err(Error::new(Problem::Trailing, rest));
        }
        Self::of(&text[start..end]).ok_or(Error::new(Problem::ExpectedValue, start))
    }

    /// A value from bytes that `walk::skip_value` has measured or [`super::ToJson`] has written. `None` when they do
    /// not start like a value.
    pub(super) fn of(raw: &'a [u8]) -> Option<Self> {
        raw.first()
            .and_then(|byte| walk::kind_of(*byte))
            .map(|kind| Self { raw, kind })
    }

    /// Its bytes, as written.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    /// The text of a string. `None` when it is no string, or one with malformed escapes or invalid UTF-8.
    pub fn as_str(&self) -> Option<Cow<'a, str>> {
        match (self.kind, self.raw) {
            (Kind::String, [b'"', inner @ .., b'"']) => text::decode(inner),
            _ => None,
        }
    }

    /// The number exactly as written: `9.90` stays `9.90`.
    pub fn as_number_text(&self) -> Option<&'a str> {
        if self.kind == Kind::Number {
            utf8::text(self.raw)
        } else {
            None
        }
    }

    /// The number, when it is written as an integer that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self.kind {
            Kind::Number => text::integer(self.raw),
            _ => None,
        }
    }

    /// The number, when it is written as an integer that fits.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_number_text()?.parse().ok()
    }

    /// The number as the nearest `f64`. `None` when it is too large for one.
    pub fn as_f64(&self) -> Option<f64> {
        self.as_number_text()?
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
    }

    /// `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        (self.kind == Kind::Bool).then(|| self.raw == b"true")
    }

    /// A member of an object. Of duplicates the last one.
    pub fn get(&self, name: &str) -> Option<Value<'a>> {
        let mut found = None;
        for (key, value) in self.entries() {
            if key == name {
                found = Some(value);
            }
        }
        found
    }

    /// An item of an array.
    pub fn index(&self, position: usize) -> Option<Value<'a>> {
        self.items().nth(position)
    }

    /// The items of an array. None for other kinds. Ends early where the array is malformed.
    pub fn items(&self) -> Items<'a> {
        let at = if self.kind == Kind::Array {
            1
        } else {
            self.raw.len()
        };
        Items {
            text: self.raw,
            at,
            first: true,
        }
    }

    /// The members of an object as they are written, duplicates too. None for other kinds. Ends early where the object
    /// is malformed.
    pub fn entries(&self) -> Entries<'a> {
        let at = if self.kind == Kind::Object {
            1
        } else {
            self.raw.len()
        };
        Entries {
            text: self.raw,
            at,
            first: true,
        }
    }

    /// The value as a lazy object. `None` for other kinds and malformed ones.
    pub fn object(&self) -> Option<Object<'a>> {
        if self.kind == Kind::Object {
            Object::parse(self.raw).ok()
        } else {
            None
        }
    }

    /// The value at a JSON pointer (RFC 6901): `/a/0/b`. The empty pointer is the value itself.
    pub fn pointer(&self, pointer: &str) -> Option<Value<'a>> {
        let mut value = *self;
        if pointer.is_empty() {
            return Some(value);
        }
        for step in pointer.strip_prefix('/')?.split('/') {
            value = match value.kind {
                Kind::Object if step.contains('~') => {
                    value.get(&step.replace("~1", "/").replace("~0", "~"))?
                }
                Kind::Object => value.get(step)?,
                Kind::Array if step == "0" || !step.starts_with(['0', '+']) => {
                    value.index(step.parse().ok()?)?
                }
                _ => return None,
            };
        }
        Some(value)
    }

    /// The value as a tree. An error where it is malformed inside, or a number is too large for `serde_json`.
    pub fn into_value(self) -> Result<serde_json::Value, Error> {
        self.to()
    }

    /// The value as a type of yours.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(self.raw).map_err(|error| {
            // The text may have lines; `column` then counts from the last line break.
            let lines = self.raw.split_inclusive(|byte| *byte == b'\n');
            let before: usize = lines
                .take(error.line().saturating_sub(1))
                .map(<[u8]>::len)
                .sum();
            Error::new(Problem::Unfit, before + error.column().saturating_sub(1))
        })
    }
}

/// By the bytes as written: `1.0` and `1` differ.
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl Eq for Value<'_> {}

impl std::fmt::Debug for Value<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&String::from_utf8_lossy(self.raw))
    }
}

impl std::fmt::Display for Value<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&String::from_utf8_lossy(self.raw))
    }
}

/// The items of an array.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    text: &'a [u8],
    at: usize,
    first: bool,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let at = next_item(self.text, self.at, self.first)?;
        let end = walk::skip_value(self.text, at).ok();
        // A malformed item ends the iteration for good.
        self.at = end.unwrap_or(self.text.len());
        self.first = false;
        Value::of(&self.text[at..end?])
    }
}

/// The members of an object as they are written.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    text: &'a [u8],
    at: usize,
    first: bool,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (Cow<'a, str>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let start = next_item(self.text, self.at, self.first)?;
        self.at = self.text.len();
        self.first = false;
        let member = member(self.text, start).ok()?;
        let inner = &self.text[start + 1..member.key_end - 1];
        let key = if member.escaped {
            text::decode(inner)?
        } else {
            Cow::Borrowed(utf8::text(inner)?)
        };
        self.at = member.value_end;
        Value::of(&self.text[member.value_start..member.value_end]).map(|value| (key, value))
    }
}

/// Where the next item of a container starts. `None` at its end or where there is no comma.
fn next_item(text: &[u8], at: usize, first: bool) -> Option<usize> {
    let at = walk::skip_space(text, at);
    if first {
        return (!matches!(text.get(at)?, b']' | b'}')).then_some(at);
    }
    (*text.get(at)? == b',').then(|| walk::skip_space(text, at + 1))
}

/// Where the parts of a member are: `"key" : value`.
pub(super) struct Member {
    /// Behind the closing quote of the key.
    pub(super) key_end: usize,
    /// Whether the key has escapes.
    pub(super) escaped: bool,
    pub(super) value_start: usize,
    pub(super) value_end: usize,
}

/// The member that starts at `at`.
#[inline]
pub(super) fn member(text: &[u8], at: usize) -> Result<Member, Error> {
    match text.get(at) {
        Some(b'"') => {}
        Some(_) => return Err(Error::new(Problem::ExpectedKey, at)),
        None => return Err(Error::new(Problem::Truncated, at)),
    }
    let (key_end, escaped) = walk::skip_string(text, at)?;
    let colon = walk::skip_space(text, key_end);
    match text.get(colon) {
        Some(b':') => {}
        Some(_) => return Err(Error::new(Problem::ExpectedColon, colon)),
        None => return Err(Error::new(Problem::Truncated, colon)),
    }
    let value_start = walk::skip_space(text, colon + 1);
    let value_end = walk::skip_value(text, value_start)?;
    Ok(Member {
        key_end,
        escaped,
        value_start,
        value_end,
    })
}
