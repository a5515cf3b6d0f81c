//! A lazy JSON object that can be changed.

use std::borrow::Cow;
use std::collections::HashMap;

use super::error::{Error, Problem};
use super::members::{Entry, Names, Place, Positions, Span, Tag};
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
    /// In order, with those that were removed: these keep their position, and nothing else.
    members: Vec<Entry>,
    names: Names,
    /// Members that do not lie directly behind the one before them.
    starts: Positions,
    removed: Positions,
    /// Members that were not removed.
    live: usize,
}

/// Up to so many members are compared with each other.
const FEW: usize = 32;

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
        let mut names = Names::default();
        let mut members = Vec::with_capacity(16);
        let first = walk::skip_space(text, start + 1);
        let end = match text.get(first) {
            Some(b'}') => first + 1,
            _ => find_members(text, first, &mut names, &mut members)?,
        };
        let rest = walk::skip_space(text, end);
        if rest != text.len() {
            return Err(Error::new(Problem::Trailing, rest));
        }
        Ok(Self {
            text,
            extra: Vec::new(),
            names,
            live: members.len(),
            members,
            starts: Positions::default(),
            removed: Positions::default(),
        })
    }

    /// The value of a member.
    #[inline]
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        self.find(name)
            .and_then(|at| Value::of(self.bytes(self.members[at].value)))
    }

    /// The value of a member as it came: with the lifetime of the text, so it can be kept while the object changes.
    /// `None` also when the value was set since.
    #[inline]
    pub fn original(&self, name: &str) -> Option<Value<'a>> {
        let span = self.members[self.find(name)?].value;
        if span.place == Place::Extra {
            None
        } else {
            Value::of(&self.text[span.range()])
        }
    }

    /// Whether there is such a member.
    #[inline]
    pub fn contains(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// Sets a member: in its place when there is one, at the end otherwise.
    #[inline]
    pub fn set(&mut self, name: &str, value: impl ToJson) {
        self.write_member(name, |extra| value.write_json(extra));
    }

    /// Sets a member to this JSON text, which is taken as it is: it must be exactly one JSON value.
    #[inline]
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
        self.drop_at(last);
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
        self.remove_before(from, last);
        if self.names.may_have(Tag::of(to.as_bytes())) {
            self.remove_all(to);
        }
        let start = self.extra_end();
        let escaped = text::write_key(to, &mut self.extra);
        let tag = Tag::of(to.as_bytes());
        self.names.add(tag);
        self.touch(last);
        let entry = &mut self.members[last];
        entry.key = Span::new(start, self.extra.len() - 1, Place::Extra);
        (entry.escaped, entry.whole, entry.tag) = (escaped, false, tag);
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
        self.live
            - self
                .hidden()
                .map_or(0, |hidden| hidden.iter().filter(|hide| **hide).count())
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Appends the object as JSON: neighbours that nobody touched are copied in one go, white space included.
    #[inline(never)]
    pub fn write(&self, out: &mut Vec<u8>) {
        out.reserve(self.text.len() + self.extra.len() + 2);
        out.push(b'{');
        let (mut at, end) = (0, self.members.len());
        let mut comma = false;
        while at < end {
            let next = self.starts.next(at + 1, end);
            if !self.removed.has(at) {
                if comma {
                    out.push(b',');
                }
                comma = true;
                self.write_run(at, next - 1, out);
            }
            at = next;
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

    /// Writes the members from one to another that lie together.
    #[inline(never)]
    fn write_run(&self, first: usize, last: usize, out: &mut Vec<u8>) {
        let first = self.members[first];
        if !first.whole {
            return self.write_parts(first, out);
        }
        let range = first.key.start as usize..self.members[last].value.end as usize;
        append(out, &self.place(first.key.place)[range]);
    }

    /// Writes a member whose key and value are not in one place.
    #[inline(never)]
    fn write_parts(&self, member: Entry, out: &mut Vec<u8>) {
        append(out, self.bytes(member.key));
        out.push(b':');
        append(out, self.bytes(member.value));
    }

    /// Sets a member to what `write` appends. A new one is written as a whole with a comma behind it, so that several
    /// in a row are copied in one go later.
    #[inline]
    fn write_member(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        let known = self.find(name);
        let start = self.extra_end();
        let escaped = known.is_none() && text::write_key(name, &mut self.extra);
        let value = self.extra.len();
        write(&mut self.extra);
        let value = Span::new(value, self.extra.len(), Place::Extra);
        if let Some(last) = known {
            return self.put_at(name, last, value);
        }
        self.extra.push(b',');
        self.add(Entry {
            key: Span::new(start, value.start as usize - 1, Place::Extra),
            value,
            escaped,
            whole: true,
            tag: Tag::of(name.as_bytes()),
        });
    }

    fn put(&mut self, name: &str, value: Span) {
        if let Some(last) = self.find(name) {
            return self.put_at(name, last, value);
        }
        let start = self.extra_end();
        let escaped = text::write_key(name, &mut self.extra);
        self.add(Entry {
            key: Span::new(start, self.extra.len() - 1, Place::Extra),
            value,
            escaped,
            whole: false,
            tag: Tag::of(name.as_bytes()),
        });
    }

    /// Gives the last member with this name another value.
    #[inline(never)]
    fn put_at(&mut self, name: &str, last: usize, value: Span) {
        self.remove_before(name, last);
        self.touch(last);
        self.members[last].value = value;
        self.members[last].whole = false;
    }

    #[inline]
    fn add(&mut self, entry: Entry) {
        let at = self.members.len();
        self.names.add(entry.tag);
        let behind = |before: &Entry| entry.is_set_behind(before);
        if !self.members.last().is_some_and(behind) {
            self.starts.add(at);
        }
        self.members.push(entry);
        self.live += 1;
    }

    /// This member lies no longer together with its neighbours.
    #[inline]
    fn touch(&mut self, at: usize) {
        self.starts.add(at);
        self.starts.add(at + 1);
    }

    #[inline]
    fn drop_at(&mut self, at: usize) {
        self.touch(at);
        self.removed.add(at);
        // No name is found there any more.
        self.members[at].key = Span::NOTHING;
        self.live -= 1;
    }

    /// Where the next thing that is set will start. The first one makes room for a few.
    #[inline]
    fn extra_end(&mut self) -> usize {
        if self.extra.capacity() == 0 {
            self.extra = Vec::with_capacity(EXTRA_ROOM);
        }
        self.extra.len()
    }

    /// Removes duplicates in front of the last member with this name.
    #[inline]
    fn remove_before(&mut self, name: &str, last: usize) {
        if self.names.twice() {
            self.remove_all_before(name, last);
        }
    }

    #[inline(never)]
    fn remove_all(&mut self, name: &str) {
        self.remove_all_before(name, self.members.len());
    }

    #[inline(never)]
    fn remove_all_before(&mut self, name: &str, mut end: usize) {
        while let Some(at) = self.find_before(name, end) {
            self.drop_at(at);
            end = at;
        }
    }

    /// The last member with this name.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "most names are literals: what is done with them is done by the compiler"
    )]
    fn find(&self, name: &str) -> Option<usize> {
        let tag = Tag::of(name.as_bytes());
        if !self.names.may_have(tag) {
            return None;
        }
        match self.position(name, tag) {
            usize::MAX => None,
            at => Some(at),
        }
    }

    /// The same for a name with this tag, `usize::MAX` for none: four words go into a function in registers and one comes
    /// back in one. An `Option` would be a fifth one, and two that come back. There is no loop in it, for which all else
    /// would have to make way, and nothing rare.
    #[inline(never)]
    fn position(&self, name: &str, tag: Tag) -> usize {
        match Entry::last_of_few(&self.members, tag) {
            Some(at) if self.is_named(&self.members[at], name) => at,
            None if self.members.len() <= 16 => usize::MAX,
            _ => self.position_before(name, self.members.len()),
        }
    }

    /// The last member with this name that is before `end`.
    fn find_before(&self, name: &str, end: usize) -> Option<usize> {
        match self.position_before(name, end) {
            usize::MAX => None,
            at => Some(at),
        }
    }

    /// The same, `usize::MAX` for none.
    #[inline(never)]
    fn position_before(&self, name: &str, mut end: usize) -> usize {
        let tag = Tag::of(name.as_bytes());
        while let Some(at) = Entry::last_tagged(&self.members[..end], tag) {
            if self.is_named(&self.members[at], name) {
                return at;
            }
            end = at;
        }
        usize::MAX
    }

    #[inline]
    fn is_named(&self, entry: &Entry, name: &str) -> bool {
        match self.bytes(entry.key) {
            [b'"', inner @ .., b'"'] if !entry.escaped => same(inner, name.as_bytes()),
            _ => self.is_named_with_escapes(*entry, name),
        }
    }

    #[inline(never)]
    fn is_named_with_escapes(&self, entry: Entry, name: &str) -> bool {
        entry.escaped && self.name(entry).is_some_and(|found| found == name)
    }

    fn name(&self, entry: Entry) -> Option<Cow<'_, str>> {
        match self.bytes(entry.key) {
            [b'"', inner @ .., b'"'] => text::decode(inner),
            _ => None,
        }
    }

    /// Which members a later one with the same name hides, when there is any.
    fn hidden(&self) -> Option<Vec<bool>> {
        if !self.names.twice() {
            return None;
        }
        if self.members.len() <= FEW {
            return self.hidden_of_few();
        }
        let mut last: HashMap<Cow<'_, str>, usize> = HashMap::with_capacity(self.live);
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

    /// The same, by a look at all later ones: for a few that takes less than a map of their names.
    fn hidden_of_few(&self) -> Option<Vec<bool>> {
        let mut hidden = None;
        for (at, entry) in self.members.iter().enumerate() {
            let later = &self.members[at + 1..];
            if Entry::last_tagged(later, entry.tag).is_none() {
                continue;
            }
            let Some(name) = self.name(*entry) else {
                continue;
            };
            if self.find_before(&name, self.members.len()) > Some(at) {
                hidden.get_or_insert_with(|| vec![false; self.members.len()])[at] = true;
            }
        }
        hidden
    }

    #[inline]
    fn bytes(&self, span: Span) -> &[u8] {
        &self.place(span.place)[span.range()]
    }

    #[inline]
    fn place(&self, place: Place) -> &[u8] {
        match place {
            Place::Text => self.text,
            Place::Extra => &self.extra,
        }
    }
}

/// Finds the members of an object, the first of which starts at `at`. Answers where the object ends.
// On its own, and with no more at hand than it must have: what lives through the loop is saved and loaded around each
// check for an interruption.
#[inline(never)]
fn find_members(
    text: &[u8],
    mut at: usize,
    names: &mut Names,
    members: &mut Vec<Entry>,
) -> Result<usize, Error> {
    loop {
        let found = member(text, at)?;
        let inner = &text[at + 1..found.key_end - 1];
        let tag = if found.escaped {
            text::decode(inner).map_or(Tag::of(b""), |name| Tag::of(name.as_bytes()))
        } else {
            Tag::of(inner)
        };
        names.add(tag);
        members.push(Entry {
            key: Span::new(at, found.key_end, Place::Text),
            value: Span::new(found.value_start, found.value_end, Place::Text),
            escaped: found.escaped,
            whole: true,
            tag,
        });
        let behind = walk::skip_space(text, found.value_end);
        match text.get(behind) {
            Some(b',') => at = walk::skip_space(text, behind + 1),
            Some(b'}') => return Ok(behind + 1),
            Some(_) => return Err(Error::new(Problem::ExpectedComma, behind)),
            None => return Err(Error::new(Problem::Truncated, behind)),
        }
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
