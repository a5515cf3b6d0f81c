//! The tree that rules work on: it opens one level at a time, where a rule looks, and writes everything else back
//! byte for byte. Numbers are texts, so they stay as written.

use bumpalo::Bump;
use std::cell::OnceCell;
use std::cmp::Ordering;

use crate::number::Decimal;
use crate::scan;

/// JSON that a rule may change. What is borrowed lives as long as the batch.
#[derive(Clone, Debug)]
pub(crate) enum Node<'a> {
    Null,
    Bool(bool),
    /// A number as written.
    Number(&'a str),
    /// A text, decoded.
    Text(&'a str),
    /// A text as in the record, with its quotes and escapes.
    Quoted(&'a str),
    /// A list or object that nobody has changed.
    Raw(&'a Raw<'a>),
    List(Vec<Node<'a>>),
    Object(Vec<(&'a str, Node<'a>)>),
}

/// An unchanged list or object: its text, and its children once somebody has looked.
pub(crate) struct Raw<'a> {
    text: &'a str,
    bump: &'a Bump,
    children: OnceCell<Option<Children<'a>>>,
}

impl std::fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)
    }
}

#[derive(Clone, Copy)]
enum Children<'a> {
    List(&'a [Node<'a>]),
    Object(&'a [(&'a str, Node<'a>)]),
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

/// The text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not valid JSON")]
pub(crate) struct Malformed;

impl<'a> Node<'a> {
    /// Reads one JSON value; lists and objects stay closed.
    pub(crate) fn parse(text: &'a str, bump: &'a Bump) -> Result<Self, Malformed> {
        let text = text.trim_matches([' ', '\n', '\r', '\t']);
        if scan::value(text.as_bytes(), 0) != Some(text.len()) {
            return Err(Malformed);
        }
        Self::scalar_or_raw(text, bump).ok_or(Malformed)
    }

    fn scalar_or_raw(text: &'a str, bump: &'a Bump) -> Option<Self> {
        Some(match text.as_bytes().first()? {
            b'"' => match memchr::memchr(b'\\', text.as_bytes()) {
                None => Self::Text(text.get(1..text.len().checked_sub(1)?)?),
                Some(_) => Self::Quoted(text),
            },
            b'{' | b'[' => Self::Raw(bump.alloc(Raw {
                text,
                bump,
                children: OnceCell::new(),
            })),
            b't' if text == "true" => Self::Bool(true),
            b'f' if text == "false" => Self::Bool(false),
            b'n' if text == "null" => Self::Null,
            _ if scan::is_number(text) => Self::Number(text),
            _ => return None,
        })
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
                if raw.text.starts_with('[') {
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
    pub(crate) fn view(&self) -> Result<View<'_, 'a>, Malformed> {
        Ok(match self {
            Self::List(items) => View::List(items),
            Self::Object(entries) => View::Object(entries),
            Self::Raw(raw) => match raw.children().ok_or(Malformed)? {
                Children::List(items) => View::List(items),
                Children::Object(entries) => View::Object(entries),
            },
            _ => View::Scalar,
        })
    }

    /// A field of an object. Of doubled keys the last one counts, as with every JSON parser.
    pub(crate) fn field(&self, name: &str) -> Result<Option<&Node<'a>>, Malformed> {
        Ok(match self.view()? {
            View::Object(entries) => entries
                .iter()
                .rev()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value),
            _ => None,
        })
    }

    /// Turns a closed list or object into one that can be changed; children stay closed.
    pub(crate) fn open(&mut self) -> Result<(), Malformed> {
        if let Self::Raw(raw) = self {
            *self = match raw.children().ok_or(Malformed)? {
                Children::List(items) => Self::List(items.to_vec()),
                Children::Object(entries) => Self::Object(entries.to_vec()),
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
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(text) | Self::Quoted(text) => out.extend_from_slice(text.as_bytes()),
            Self::Raw(raw) => out.extend_from_slice(raw.text.as_bytes()),
            Self::Text(text) => scan::quote(text, out),
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(entries) => {
                out.push(b'{');
                for (at, (key, value)) in entries.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    scan::quote(key, out);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
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
                    b.iter()
                        .all(|(key, _)| a.iter().any(|(other, _)| other == key))
                }
                _ => false,
            },
        })
    }
}

/// Compares two JSON numbers by value.
pub(crate) fn compare_numbers(a: &str, b: &str) -> Option<Ordering> {
    match (Decimal::parse(a), Decimal::parse(b)) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.parse::<f64>().ok()?.partial_cmp(&b.parse::<f64>().ok()?),
    }
}

impl<'a> Raw<'a> {
    fn children(&self) -> Option<Children<'a>> {
        *self.children.get_or_init(|| self.read())
    }

    fn read(&self) -> Option<Children<'a>> {
        let bytes = self.text.as_bytes();
        let list = bytes.first() == Some(&b'[');
        let close = if list { b']' } else { b'}' };
        let (mut items, mut entries) = (Vec::new(), Vec::new());
        let mut at = scan::blank(bytes, 1);
        while bytes.get(at) != Some(&close) {
            if list {
                let (node, end) = self.child(at)?;
                items.push(node);
                at = end;
            } else {
                if bytes.get(at) != Some(&b'"') {
                    return None;
                }
                let (end, _) = scan::string(bytes, at)?;
                let key: &'a str = match scan::unescape(self.text.get(at..end)?)? {
                    std::borrow::Cow::Borrowed(key) => key,
                    std::borrow::Cow::Owned(key) => self.bump.alloc_str(&key),
                };
                at = scan::blank(bytes, end);
                if bytes.get(at) != Some(&b':') {
                    return None;
                }
                let (node, end) = self.child(scan::blank(bytes, at + 1))?;
                entries.push((key, node));
                at = end;
            }
            at = scan::blank(bytes, at);
            match bytes.get(at)? {
                b',' => {
                    at = scan::blank(bytes, at + 1);
                    if bytes.get(at) == Some(&close) {
                        return None;
                    }
                }
                other if *other == close => {}
                _ => return None,
            }
        }
        if at + 1 != bytes.len() {
            return None;
        }
        Some(if list {
            Children::List(self.bump.alloc_slice_fill_iter(items))
        } else {
            Children::Object(self.bump.alloc_slice_fill_iter(entries))
        })
    }

    fn child(&self, at: usize) -> Option<(Node<'a>, usize)> {
        let end = scan::value(self.text.as_bytes(), at)?;
        Some((
            Node::scalar_or_raw(self.text.get(at..end)?, self.bump)?,
            end,
        ))
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
