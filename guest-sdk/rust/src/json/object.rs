//! A lazy JSON object that can be changed.

use std::borrow::Cow;
use std::collections::HashMap;

use super::error::{Error, Problem};
use super::text;
use super::to_json::ToJson;
use super::value::{Value, member};
use super::walk;

/// A JSON object whose members have been found but not read.
///
/// ```
/// use crossdock_sdk::json::Object;
/// let mut price = Object::parse(br#"{"sku": "A-1", "net": 9.90, "tax": 1.90}"#)?;
/// assert_eq!(price.get("net").unwrap().as_number_text(), Some("9.90"));
/// price.rename("net", "amount");
/// price.remove("tax");
/// price.set("currency", "EUR");
/// assert_eq!(price.to_vec(), br#"{"sku": "A-1","amount":9.90,"currency":"EUR"}"#);
/// # Ok::<(), crossdock_sdk::json::Error>(())
/// ```
///
/// Of duplicate keys the last one wins. Untouched duplicates are copied as they are; setting, renaming or removing a
/// key works on all of them.
#[derive(Clone, Default)]
pub struct Object<'a> {
    text: &'a [u8],
    /// What was set or renamed: keys with their quotes, values as JSON.
    extra: Vec<u8>,
    members: Vec<Entry>,
}

/// Where one member is. 32 bits are enough: larger texts are refused.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: Span,
    value: Span,
    /// Whether the key has escapes.
    escaped: bool,
    /// Whether key and value are as they came, next to each other in the text.
    original: bool,
}

#[derive(Debug, Clone, Copy)]
struct Span {
    start: u32,
    end: u32,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Text,
    Extra,
}

/// Bytes that the first change makes room for: most records get a few short fields.
const EXTRA_ROOM: usize = 192;

impl<'a> Object<'a> {
    /// An object without members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Finds the members of the object that is this text. Cost: one scan, no copy, one allocation.
    pub fn parse(text: &'a [u8]) -> Result<Self, Error> {
        if u32::try_from(text.len()).is_err() {
            return Err(Error::new(Problem::TooLarge, 0));
        }
        let start = walk::skip_space(text, 0);
        match text.get(start) {
            Some(b'{') => {}
            Some(_) => return Err(Error::new(Problem::ExpectedObject, start)),
            None => return Err(Error::new(Problem::Truncated, start)),
        }
        let mut members = Vec::with_capacity(16);
        let mut at = walk::skip_space(text, start + 1);
        if text.get(at) == Some(&b'}') {
            at += 1;
        } else {
            loop {
                let found = member(text, at)?;
                members.push(Entry {
                    key: Span::new(at, found.key_end, Place::Text),
                    value: Span::new(found.value_start, found.value_end, Place::Text),
                    escaped: found.escaped,
                    original: true,
                });
                at = walk::skip_space(text, found.value_end);
                match text.get(at) {
                    Some(b',') => at = walk::skip_space(text, at + 1),
                    Some(b'}') => break,
                    Some(_) => return Err(Error::new(Problem::ExpectedComma, at)),
                    None => return Err(Error::new(Problem::Truncated, at)),
                }
            }
            at += 1;
        }
        let rest = walk::skip_space(text, at);
        if rest != text.len() {
            return Err(Error::new(Problem::Trailing, rest));
        }
        Ok(Self {
            text,
            extra: Vec::new(),
            members,
        })
    }

    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        self.find(name)
            .and_then(|at| Value::of(self.bytes(self.members[at].value)))
    }

    /// The value of a member as it came: with the lifetime of the text, so it can be kept while the object changes.
    /// `None` also when the value was set since.
    pub fn original(&self, name: &str) -> Option<Value<'a>> {
        let span = self.members[self.find(name)?].value;
        if span.place == Place::Extra {
            None
        } else {
            Value::of(&self.text[span.range()])
        }
    }

    /// Whether there is such a member.
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Sets a member: in its place when there is one, at the end otherwise.
    pub fn set(&mut self, name: &str, value: impl ToJson) {
        let start = self.extra_end();
        value.write_json(&mut self.extra);
        let value = Span::new(start, self.extra.len(), Place::Extra);
        self.put(name, value);
    }

    /// Sets a member to this JSON text, which is taken as it is: it must be exactly one JSON value.
    pub fn set_raw<'r>(&mut self, name: &str, raw_json: impl Into<Cow<'r, [u8]>>) {
        let start = self.extra_end();
        self.extra.extend_from_slice(&raw_json.into());
        let value = Span::new(start, self.extra.len(), Place::Extra);
        self.put(name, value);
    }

    /// Sets a member to the value of another one, without copying it. `false` when there is no such other one.
    pub fn copy(&mut self, from: &str, to: &str) -> bool {
        let Some(at) = self.find(from) else {
            return false;
        };
        let value = self.members[at].value;
        self.put(to, value);
        true
    }

    /// Removes a member. `false` when there is none.
    pub fn remove(&mut self, name: &str) -> bool {
        let Some(last) = self.find(name) else {
            return false;
        };
        self.members.remove(last);
        self.remove_before(name, last);
        true
    }

    /// Gives a member another name, in its place. A member that has that name already is removed. `false` when there
    /// is no such member.
    pub fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(last) = self.find(from) else {
            return false;
        };
        if from == to {
            return true;
        }
        let mut last = self.remove_before(from, last);
        while let Some(old) = self.find(to) {
            self.members.remove(old);
            last -= usize::from(old < last);
        }
        let (key, escaped) = self.new_key(to);
        let entry = &mut self.members[last];
        (entry.key, entry.escaped, entry.original) = (key, escaped, false);
        true
    }

    /// The members in order, of duplicates the last one. A member whose key is no valid text is left out.
    pub fn iter(&self) -> Members<'_> {
        Members {
            object: self,
            at: 0,
            hidden: self.hidden(),
        }
    }

    /// The number of members, duplicates counted once.
    pub fn len(&self) -> usize {
        self.members.len()
            - self
                .hidden()
                .map_or(0, |hidden| hidden.iter().filter(|hide| **hide).count())
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Appends the object as JSON: neighbours that nobody touched are copied in one go, white space included.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.text.len() + self.extra.len() + 2);
        out.push(b'{');
        let mut at = 0;
        while at < self.members.len() {
            if at > 0 {
                out.push(b',');
            }
            at = self.write_run(at, out);
        }
        out.push(b'}');
    }

    /// The object as JSON.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    /// The object as a tree. An error where a nested value is malformed, or a number is too large for `serde_json`.
    pub fn into_value(self) -> Result<serde_json::Value, Error> {
        let text = self.to_vec();
        Value::parse(&text)?.into_value()
    }

    /// Writes the member at `at`, and those behind it that follow it in the text too. Answers the first one left.
    fn write_run(&self, at: usize, out: &mut Vec<u8>) -> usize {
        let first = self.members[at];
        if !first.original {
            out.extend_from_slice(self.bytes(first.key));
            out.push(b':');
            out.extend_from_slice(self.bytes(first.value));
            return at + 1;
        }
        let (mut end, mut next) = (first.value.end, at + 1);
        while let Some(entry) = self.members.get(next)
            && entry.original
            && self.follows(end, entry.key.start)
        {
            end = entry.value.end;
            next += 1;
        }
        out.extend_from_slice(&self.text[first.key.start as usize..end as usize]);
        next
    }

    /// Whether only a comma and white space lie between two positions of the text.
    fn follows(&self, end: u32, start: u32) -> bool {
        let comma = walk::skip_space(self.text, end as usize);
        self.text.get(comma) == Some(&b',')
            && walk::skip_space(self.text, comma + 1) == start as usize
    }

    fn put(&mut self, name: &str, value: Span) {
        if let Some(last) = self.find(name) {
            let last = self.remove_before(name, last);
            self.members[last].value = value;
            self.members[last].original = false;
        } else {
            let (key, escaped) = self.new_key(name);
            self.members.push(Entry {
                key,
                value,
                escaped,
                original: false,
            });
        }
    }

    /// Where the next thing that is set will start. The first one makes room for a few.
    fn extra_end(&mut self) -> usize {
        if self.extra.capacity() == 0 {
            self.extra.reserve(EXTRA_ROOM);
        }
        self.extra.len()
    }

    /// A new key, and whether it has escapes.
    fn new_key(&mut self, name: &str) -> (Span, bool) {
        let start = self.extra_end();
        text::write_string(name, &mut self.extra);
        let key = Span::new(start, self.extra.len(), Place::Extra);
        (key, key.range().len() > name.len() + 2)
    }

    /// Removes duplicates in front of the last member with this name, and answers where that one is then.
    fn remove_before(&mut self, name: &str, last: usize) -> usize {
        let mut removed = 0;
        while let Some(at) = self.find_before(name, last - removed) {
            self.members.remove(at);
            removed += 1;
        }
        last - removed
    }

    /// The last member with this name.
    fn find(&self, name: &str) -> Option<usize> {
        self.find_before(name, self.members.len())
    }

    fn find_before(&self, name: &str, end: usize) -> Option<usize> {
        let length = name.len() + 2;
        self.members[..end].iter().rposition(|entry| {
            if entry.escaped {
                return self.name(*entry).is_some_and(|found| found == name);
            }
            entry.key.range().len() == length
                && self.bytes(entry.key).get(1..length - 1) == Some(name.as_bytes())
        })
    }

    fn name(&self, entry: Entry) -> Option<Cow<'_, str>> {
        match self.bytes(entry.key) {
            [b'"', inner @ .., b'"'] => text::decode(inner),
            _ => None,
        }
    }

    /// Which members a later one with the same name hides, when there is any.
    fn hidden(&self) -> Option<Vec<bool>> {
        let mut last: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(self.members.len());
        let mut hidden = None;
        for (at, entry) in self.members.iter().enumerate() {
            let Some(name) = self.name(*entry) else {
                continue;
            };
            if let Some(before) = last.insert(name, at) {
                hidden.get_or_insert_with(|| vec![false; self.members.len()])[before] = true;
            }
        }
        hidden
    }

    fn bytes(&self, span: Span) -> &[u8] {
        match span.place {
            Place::Text => &self.text[span.range()],
            Place::Extra => &self.extra[span.range()],
        }
    }
}

impl Span {
    /// Positions fit: `parse` refuses larger texts, and what is set would have to be 4 GiB.
    #[allow(clippy::cast_possible_truncation, reason = "see above")]
    fn new(start: usize, end: usize, place: Place) -> Self {
        Self {
            start: start as u32,
            end: end as u32,
            place,
        }
    }

    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl std::fmt::Debug for Object<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&String::from_utf8_lossy(&self.to_vec()))
    }
}

impl<'o> IntoIterator for &'o Object<'_> {
    type Item = (Cow<'o, str>, Value<'o>);
    type IntoIter = Members<'o>;

    fn into_iter(self) -> Members<'o> {
        self.iter()
    }
}

/// The members of an object in order.
#[derive(Debug, Clone)]
pub struct Members<'o> {
    object: &'o Object<'o>,
    at: usize,
    hidden: Option<Vec<bool>>,
}

impl<'o> Iterator for Members<'o> {
    type Item = (Cow<'o, str>, Value<'o>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let at = self.at;
            let entry = *self.object.members.get(at)?;
            self.at += 1;
            if self.hidden.as_ref().is_some_and(|hidden| hidden[at]) {
                continue;
            }
            if let Some(name) = self.object.name(entry)
                && let Some(value) = Value::of(self.object.bytes(entry.value))
            {
                return Some((name, value));
            }
        }
    }
}
