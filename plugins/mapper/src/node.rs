//! The tree that rules work on: it opens one level at a time, where a rule looks, and writes everything else back
//! byte for byte. Numbers are texts, so they stay as written.

mod kept;
mod raw;

use bumpalo::Bump;
use crossdock_sdk::bytes::{append, same};
use crossdock_sdk::json::{Problem, write_string};
use std::cmp::Ordering;

use self::kept::Kept;
use self::raw::{Children, Raw};
use crate::number::Decimal;
use crate::scan;

/// JSON that a rule may change. What is borrowed lives as long as the batch.
#[derive(Clone, Debug)]
pub(crate) enum Node<'a> {
    Null,
    Bool(Flag),
    /// A number as written.
    Number(&'a str),
    /// A text, decoded.
    Text(&'a str),
    /// A text as in the record, with its quotes and escapes.
    Quoted(&'a str),
    /// A list or object that nobody has changed.
    Raw(&'a Raw<'a>),
    List(Kept<Node<'a>>),
    Object(Kept<(&'a str, Node<'a>)>),
}

/// True or false, in a whole word. Were it a byte, all nodes would be moved with what is behind their first byte apart
/// from it, in words that lie across those written before: the processor waits for each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Flag {
    False,
    True,
}

impl Flag {
    /// As JSON writes it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::False => "false",
            Self::True => "true",
        }
    }
}

impl From<bool> for Flag {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// The children of a node, looked at.
#[derive(Clone, Copy)]
pub(crate) enum View<'n, 'a> {
    List(&'n [Node<'a>]),
    Object(&'n [(&'a str, Node<'a>)]),
    Scalar,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    List,
    Object,
}

impl Kind {
    /// With its article, for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Object => "an object",
        }
    }
}

/// The text is no JSON that can be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("this is not valid JSON")]
    Syntax,
    /// Well-formed perhaps, but too deep or too much.
    #[error("this JSON cannot be worked on: {0}")]
    Excess(Problem),
}

impl<'a> Node<'a> {
    /// Reads one JSON value; lists and objects stay closed.
    pub(crate) fn parse(text: &'a str, bump: &'a Bump) -> Result<Self, Malformed> {
        raw::parse(text, bump)
    }

    /// A text that was made, kept as long as the batch.
    pub(crate) fn text(text: &str, bump: &'a Bump) -> Self {
        Self::Text(bump.alloc_str(text))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Number(_) => Kind::Number,
            Self::Text(_) | Self::Quoted(_) => Kind::Text,
            Self::List(_) => Kind::List,
            Self::Object(_) => Kind::Object,
            Self::Raw(raw) => {
                if raw.is_list() {
                    Kind::List
                } else {
                    Kind::Object
                }
            }
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The children, opened if need be.
    #[inline]
    pub(crate) fn view(&self) -> Result<View<'_, 'a>, Malformed> {
        Ok(match self {
            Self::List(items) => View::List(items),
            Self::Object(entries) => View::Object(entries),
            Self::Raw(raw) => match *raw.children().ok_or(Malformed::Syntax)? {
                Children::List(items) => View::List(items),
                Children::Object(entries) => View::Object(entries),
            },
            _ => View::Scalar,
        })
    }

    /// A field of an object. Of doubled keys the last one counts, as with every JSON parser.
    #[inline]
    pub(crate) fn field(&self, name: &str) -> Result<Option<&Node<'a>>, Malformed> {
        Ok(match self.view()? {
            View::Object(entries) => last_named(entries, name)
                .and_then(|at| entries.get(at))
                .map(|(_, value)| value),
            _ => None,
        })
    }

    /// Turns a closed list or object into one that can be changed; children stay closed.
    pub(crate) fn open(&mut self) -> Result<(), Malformed> {
        if let Self::Raw(raw) = self {
            *self = match *raw.children().ok_or(Malformed::Syntax)? {
                Children::List(items) => Self::List(items.to_vec().into()),
                Children::Object(entries) => Self::Object(entries.to_vec().into()),
            };
        }
        Ok(())
    }

    /// The decoded text of a text.
    pub(crate) fn as_text(&self, bump: &'a Bump) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Quoted(quoted) => match scan::unescape(quoted)? {
                std::borrow::Cow::Borrowed(text) => Some(text),
                std::borrow::Cow::Owned(text) => Some(bump.alloc_str(&text)),
            },
            _ => None,
        }
    }

    /// Missing-like: null, an empty text, list or object.
    pub(crate) fn is_empty(&self) -> Result<bool, Malformed> {
        Ok(match self {
            Self::Null => true,
            Self::Text(text) => text.is_empty(),
            _ => match self.view()? {
                View::List(items) => items.is_empty(),
                View::Object(entries) => entries.is_empty(),
                View::Scalar => false,
            },
        })
    }

    /// Writes JSON. What was not touched is copied.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(flag) => append(out, flag.text().as_bytes()),
            Self::Number(text) | Self::Quoted(text) => append(out, text.as_bytes()),
            Self::Raw(raw) => append(out, raw.text().as_bytes()),
            Self::Text(text) => write_string(text, out),
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write_child(out);
                }
                out.push(b']');
            }
            Self::Object(entries) => {
                out.push(b'{');
                for (at, (key, value)) in entries.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    write_string(key, out);
                    out.push(b':');
                    value.write_child(out);
                }
                out.push(b'}');
            }
        }
    }

    /// The same, without a call for what most children are.
    #[inline]
    fn write_child(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_string(text, out),
            Self::Raw(raw) => append(out, raw.text().as_bytes()),
            _ => self.write(out),
        }
    }

    /// The JSON text.
    pub(crate) fn to_json(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// Equal as JSON: numbers by value, objects regardless of order.
    pub(crate) fn equals(&self, other: &Node<'a>, bump: &'a Bump) -> Result<bool, Malformed> {
        if let (Self::Text(a), Self::Text(b)) = (self, other) {
            return Ok(same(a.as_bytes(), b.as_bytes()));
        }
        if self.kind() != other.kind() {
            return Ok(false);
        }
        Ok(match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Number(a), Self::Number(b)) => {
                a == b || compare_numbers(a, b) == Some(Ordering::Equal)
            }
            (Self::Null, _) => true,
            _ if self.kind() == Kind::Text => self.as_text(bump) == other.as_text(bump),
            _ => match (self.view()?, other.view()?) {
                (View::List(a), View::List(b)) => {
                    if a.len() != b.len() {
                        return Ok(false);
                    }
                    for (a, b) in a.iter().zip(b) {
                        if !a.equals(b, bump)? {
                            return Ok(false);
                        }
                    }
                    true
                }
                (View::Object(a), View::Object(b)) => {
                    for (key, value) in a {
                        match other.field(key)? {
                            Some(other) if value.equals(other, bump)? => {}
                            _ => return Ok(false),
                        }
                    }
                    b.iter().all(|(key, _)| last_named(a, key).is_some())
                }
                _ => false,
            },
        })
    }
}

/// Where the last entry of this name is.
#[inline]
pub(crate) fn last_named(entries: &[(&str, Node<'_>)], name: &str) -> Option<usize> {
    match find_last(entries, name) {
        usize::MAX => None,
        at => Some(at),
    }
}

/// The same, `usize::MAX` for none: four words go into a function in registers and one comes back in one. An `Option`
/// would be a fifth one, and two that come back.
#[inline(never)]
fn find_last(entries: &[(&str, Node<'_>)], name: &str) -> usize {
    let (start, candidates) = window(entries, name);
    // One candidate is what there is mostly, or none.
    let Some(bit) = candidates.checked_ilog2() else {
        return if start == 0 {
            usize::MAX
        } else {
            find_further(entries, name)
        };
    };
    let at = start + bit as usize;
    if is_named(entries, at, name) {
        return at;
    }
    // And two, with the names of fields as they are.
    let others = candidates ^ 1 << bit;
    if let Some(bit) = others.checked_ilog2() {
        let at = start + bit as usize;
        if is_named(entries, at, name) {
            return at;
        }
    }
    if start == 0 && others & others.wrapping_sub(1) == 0 {
        usize::MAX
    } else {
        find_further(entries, name)
    }
}

/// The same with a loop, which each function is the dearer for that has one.
#[inline(never)]
fn find_further(entries: &[(&str, Node<'_>)], name: &str) -> usize {
    let mut rest = entries;
    while !rest.is_empty() {
        let (start, mut candidates) = window(rest, name);
        while let Some(bit) = candidates.checked_ilog2() {
            let at = start + bit as usize;
            if is_named(rest, at, name) {
                return at;
            }
            candidates ^= 1 << bit;
        }
        rest = rest.get(..start).unwrap_or_default();
    }
    usize::MAX
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
fn is_named(entries: &[(&str, Node<'_>)], at: usize, name: &str) -> bool {
    let key = entries.get(at).map(|(key, _)| key.as_bytes());
    key.is_some_and(|key| same(key, name.as_bytes()))
}

/// The last entries, up to eight: where they start, and a bit for each whose name is as long as this one.
#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
fn window(entries: &[(&str, Node<'_>)], name: &str) -> (usize, u32) {
    let start = entries.len().saturating_sub(8);
    let candidates = if let Some(eight) = entries.last_chunk::<8>() {
        as_long(eight, name)
    } else if let (Some(first), Some(last)) = (entries.first_chunk(), entries.last_chunk::<4>()) {
        as_long::<4>(first, name) | as_long(last, name) << (entries.len() - 4)
    } else {
        let bit = |at: usize| {
            let found = entries.get(at);
            u32::from(found.is_some_and(|(key, _)| key.len() == name.len())) << at
        };
        bit(0) | bit(1) | bit(2)
    };
    (start, candidates)
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
fn as_long<const N: usize>(entries: &[(&str, Node<'_>); N], name: &str) -> u32 {
    let bits = entries.iter().enumerate();
    bits.fold(0, |bits, (at, (key, _))| {
        bits | u32::from(key.len() == name.len()) << at
    })
}

/// Compares two JSON numbers by value.
pub(crate) fn compare_numbers(a: &str, b: &str) -> Option<Ordering> {
    match (Decimal::parse(a), Decimal::parse(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.parse::<f64>().ok()?.partial_cmp(&b.parse::<f64>().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// Opens everything, so that the whole text is read and written again.
    fn open_all(node: &mut Node<'_>) -> Result<(), Malformed> {
        node.open()?;
        match node {
            Node::List(items) => items.iter_mut().try_for_each(open_all),
            Node::Object(entries) => entries
                .iter_mut()
                .try_for_each(|(_, value)| open_all(value)),
            _ => Ok(()),
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<f64>()
                .prop_filter("finite", |f| f.is_finite())
                .prop_map(Value::from),
            ".{0,8}".prop_map(Value::String),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((".{0,4}", inner), 0..6)
                    .prop_map(|e| Value::Object(e.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_and_writes_what_serde_json_does(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let bump = Bump::new();
            let mut node = Node::parse(&text, &bump).unwrap();
            let untouched = node.to_json();
            prop_assert_eq!(untouched, text.trim());
            open_all(&mut node).unwrap();
            let back: Value = serde_json::from_str(&node.to_json()).unwrap();
            prop_assert_eq!(back, serde_json::from_str::<Value>(&text).unwrap());
            let again = Node::parse(&text, &bump).unwrap();
            prop_assert!(again.equals(&node, &bump).unwrap());
        }

        #[test]
        fn hostile_text_never_panics(text in "[\\[\\]{}\",:\\\\u0-9a-f truefalsn.eE+-]{0,40}") {
            let bump = Bump::new();
            if let Ok(mut node) = Node::parse(&text, &bump)
                && open_all(&mut node).is_ok() {
                let _ = node.to_json();
                // Whatever serde_json takes is read the same; what it refuses inside scalars is refused here too.
                if let Ok(value) = serde_json::from_str::<Value>(&text) {
                    prop_assert_eq!(serde_json::from_str::<Value>(&node.to_json()).unwrap(), value);
                }
            } else {
                prop_assert!(serde_json::from_str::<Value>(&text).is_err(), "{}", text);
            }
        }
    }

    proptest! {
        #[test]
        fn the_last_of_a_name_is_found(keys in prop::collection::vec("[ab]{0,2}", 0..30), name in "[ab]{0,2}") {
            let entries: Vec<(&str, Node<'_>)> = keys.iter().map(|key| (key.as_str(), Node::Null)).collect();
            prop_assert_eq!(last_named(&entries, &name), keys.iter().rposition(|key| *key == name));
        }
    }

    #[test]
    fn numbers_stay_as_written_and_compare_by_value() {
        let bump = Bump::new();
        let mut node =
            Node::parse(r#"{"a":1.50,"b":12345678901234567890123,"c":1E2}"#, &bump).unwrap();
        open_all(&mut node).unwrap();
        assert_eq!(
            node.to_json(),
            r#"{"a":1.50,"b":12345678901234567890123,"c":1E2}"#
        );
        assert_eq!(compare_numbers("1E2", "100.0"), Some(Ordering::Equal));
        assert_eq!(compare_numbers("1e400", "2"), Some(Ordering::Greater));
    }

    #[test]
    fn doubled_keys_mean_the_last_one() {
        let bump = Bump::new();
        let node = Node::parse(r#"{"a":1,"a":2}"#, &bump).unwrap();
        assert!(matches!(node.field("a"), Ok(Some(Node::Number("2")))));
    }
}
