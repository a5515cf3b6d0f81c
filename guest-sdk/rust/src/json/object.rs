//! A lazy JSON object that can be changed.

use std::borrow::Cow;
use std::collections::HashMap;

use super::error::{Error, Problem};
use super::text;
use super::to_json::ToJson;
use super::value::{Value, member};
use super::walk;
use crate::short::{append, same};

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
    names: Names,
}

/// Where one member is. 32 bits are enough: larger texts are refused.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: Span,
    value: Span,
    /// Whether the key has escapes.
    escaped: bool,
    /// Whether key, colon and value are next to each other: as they came in the text, or set as a whole in the extra.
    whole: bool,
    /// Of a whole member: where, in the same place, the value ends that it follows with nothing but a comma and white
    /// space between.
    follows: u32,
    /// What tells most names apart without looking at them.
    tag: Tag,
}

/// The length of a name and its first and last byte: equal for equal names, and seldom for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag(u32);

/// Which names an object may have: told without looking at its members, and never wrong about one that it has.
#[derive(Debug, Clone, Copy, Default)]
struct Names {
    bits: u64,
    /// Whether two members may have the same name.
    twice: bool,
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
    // Its loop keeps more in registers when it is not a part of the caller's.
    #[inline(never)]
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
        let (mut names, mut before) = (Names::default(), 0);
        let mut at = walk::skip_space(text, start + 1);
        if text.get(at) == Some(&b'}') {
            at += 1;
        } else {
            loop {
                let found = member(text, at)?;
                let value = Span::new(found.value_start, found.value_end, Place::Text);
                let inner = &text[at + 1..found.key_end - 1];
                let tag = if found.escaped {
                    text::decode(inner).map_or(Tag(0), |name| Tag::of(name.as_bytes()))
                } else {
                    Tag::of(inner)
                };
                names.add(tag);
                members.push(Entry {
                    key: Span::new(at, found.key_end, Place::Text),
                    value,
                    escaped: found.escaped,
                    whole: true,
                    follows: before,
                    tag,
                });
                before = value.end;
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
            names,
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
        self.write_member(name, |extra| value.write_json(extra));
    }

    /// Sets a member to this JSON text, which is taken as it is: it must be exactly one JSON value.
    pub fn set_raw<'r>(&mut self, name: &str, raw_json: impl Into<Cow<'r, [u8]>>) {
        self.write_member(name, |extra| append(extra, &raw_json.into()));
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
        if same(from.as_bytes(), to.as_bytes()) {
            return true;
        }
        let mut last = self.remove_before(from, last);
        while let Some(old) = self.find(to) {
            self.members.remove(old);
            last -= usize::from(old < last);
        }
        let (key, escaped) = self.new_key(to);
        let tag = Tag::of(to.as_bytes());
        self.names.add(tag);
        let entry = &mut self.members[last];
        (entry.key, entry.escaped, entry.whole, entry.tag) = (key, escaped, false, tag);
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
        if !first.whole {
            append(out, self.bytes(first.key));
            out.push(b':');
            append(out, self.bytes(first.value));
            return at + 1;
        }
        let (place, mut end, mut next) = (first.key.place, first.value.end, at + 1);
        while let Some(entry) = self.members.get(next)
            && entry.whole
            && entry.follows == end
            && entry.key.place == place
        {
            end = entry.value.end;
            next += 1;
        }
        append(
            out,
            &self.place(place)[first.key.start as usize..end as usize],
        );
        next
    }

    /// Sets a member to what `write` appends. A new one is written as a whole with a comma behind it, so that several
    /// in a row are copied in one go later.
    fn write_member(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(last) = self.find(name) {
            let start = self.extra_end();
            write(&mut self.extra);
            let value = Span::new(start, self.extra.len(), Place::Extra);
            self.put_at(name, last, value);
            return;
        }
        let (key, escaped) = self.new_key(name);
        self.extra.push(b':');
        let start = self.extra.len();
        write(&mut self.extra);
        let value = Span::new(start, self.extra.len(), Place::Extra);
        self.extra.push(b',');
        self.add(Entry {
            key,
            value,
            escaped,
            whole: true,
            // Nothing but a whole member ends with a comma, and its value one byte before that. The first one follows
            // nothing: no value ends at 0.
            follows: key.start.saturating_sub(1),
            tag: Tag::of(name.as_bytes()),
        });
    }

    fn put(&mut self, name: &str, value: Span) {
        if let Some(last) = self.find(name) {
            self.put_at(name, last, value);
        } else {
            let (key, escaped) = self.new_key(name);
            self.add(Entry {
                key,
                value,
                escaped,
                whole: false,
                follows: 0,
                tag: Tag::of(name.as_bytes()),
            });
        }
    }

    /// Gives the last member with this name another value.
    fn put_at(&mut self, name: &str, last: usize, value: Span) {
        let last = self.remove_before(name, last);
        self.members[last].value = value;
        self.members[last].whole = false;
    }

    fn add(&mut self, entry: Entry) {
        self.names.add(entry.tag);
        self.members.push(entry);
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
        if !self.names.twice {
            return last;
        }
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
        let tag = Tag::of(name.as_bytes());
        if !self.names.may_have(tag) {
            return None;
        }
        let found = |entry: &Entry| entry.tag == tag && self.is_named(entry, name);
        let mut before = &self.members[..end];
        // By fours: every turn of a loop is a check for an interruption.
        while let Some((rest, [one, two, three, four])) = before.split_last_chunk() {
            let at = rest.len();
            if found(four) {
                return Some(at + 3);
            }
            if found(three) {
                return Some(at + 2);
            }
            if found(two) {
                return Some(at + 1);
            }
            if found(one) {
                return Some(at);
            }
            before = rest;
        }
        before.iter().rposition(found)
    }

    #[inline]
    fn is_named(&self, entry: &Entry, name: &str) -> bool {
        if entry.escaped {
            return self.name(*entry).is_some_and(|found| found == name);
        }
        match self.bytes(entry.key) {
            [b'"', inner @ .., b'"'] => same(inner, name.as_bytes()),
            _ => false,
        }
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
        &self.place(span.place)[span.range()]
    }

    fn place(&self, place: Place) -> &[u8] {
        match place {
            Place::Text => self.text,
            Place::Extra => &self.extra,
        }
    }
}

impl Tag {
    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "any part of the length will do"
    )]
    fn of(name: &[u8]) -> Self {
        match name {
            [first, .., last] => {
                Self((name.len() as u32) << 16 | u32::from(*first) << 8 | u32::from(*last))
            }
            [only] => Self(1 << 16 | u32::from(*only)),
            [] => Self(0),
        }
    }

    /// One of 64 bits.
    #[inline]
    fn bit(self) -> u64 {
        1 << (self.0.wrapping_mul(0x9E37_79B1) >> 26)
    }
}

impl Names {
    #[inline]
    fn add(&mut self, tag: Tag) {
        self.twice |= self.may_have(tag);
        self.bits |= tag.bit();
    }

    #[inline]
    fn may_have(&self, tag: Tag) -> bool {
        self.bits & tag.bit() != 0
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
