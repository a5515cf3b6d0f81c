//! Where the parts of an answer are. Nearly all of it lies in one list, so it is scanned once for all of them, not once
//! more for every level down to that list.

use std::borrow::Cow;
use std::ops::Range;

use crossdock_sdk::json::tree::{self, Container};
use crossdock_sdk::json::{Error, Value};

/// A text that [`crossdock_sdk::json::validate`] has passed, and the ends of all lists and objects in it.
pub(crate) struct Outline<'a> {
    text: &'a [u8],
    containers: Vec<Container>,
}

/// A list or object in it.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    start: usize,
    /// Which container it is.
    number: usize,
}

/// What stands in a list or object.
struct Child {
    /// With its quotes; empty in a list.
    key: Range<usize>,
    value: Range<usize>,
    part: Option<Part>,
}

impl<'a> Outline<'a> {
    /// The outline and its root. An error when the text is no list or object, or has too many of them.
    pub(crate) fn read(text: &'a [u8]) -> Result<(Self, Part), Error> {
        let start = tree::skip_space(text, 0);
        let containers = tree::containers(text, start)?;
        Ok((Self { text, containers }, Part { start, number: 0 }))
    }

    pub(crate) fn is_list(&self, part: Part) -> bool {
        self.text.get(part.start) == Some(&b'[')
    }

    /// The list or object in this field of an object. Of doubled fields the last one counts.
    pub(crate) fn field(&self, of: Part, name: &str) -> Option<Part> {
        let named = |child: &Child| self.key(child).is_some_and(|key| key == name);
        self.children(of).filter(named).last()?.part
    }

    /// The text of a list or object.
    pub(crate) fn value(&self, part: Part) -> Option<Value<'a>> {
        let end = self.containers.get(part.number)?.end as usize;
        Value::parse(self.text.get(part.start..end)?).ok()
    }

    /// Where the items of a list are.
    pub(crate) fn items(&self, of: Part) -> Vec<Range<usize>> {
        self.children(of).map(|child| child.value).collect()
    }

    fn key(&self, child: &Child) -> Option<Cow<'a, str>> {
        Value::parse(self.text.get(child.key.clone())?)
            .ok()?
            .as_str()
    }

    fn children(&self, of: Part) -> impl Iterator<Item = Child> {
        let (mut at, mut number) = (of.start + 1, of.number + 1);
        let is_list = self.is_list(of);
        std::iter::from_fn(move || {
            at = tree::skip_space(self.text, at);
            if self.text.get(at) == Some(&b',') {
                at = tree::skip_space(self.text, at + 1);
            }
            let mut key = at..at;
            if !is_list && self.text.get(at) == Some(&b'"') {
                key.end = tree::skip_string(self.text, at).ok()?.0;
                at = tree::skip_space(self.text, key.end);
                at = tree::skip_space(self.text, at + 1);
            }
            let start = at;
            let part = match self.text.get(start)? {
                b'}' | b']' => return None,
                b'{' | b'[' => {
                    let container = self.containers.get(number)?;
                    let part = Part { start, number };
                    at = container.end as usize;
                    number = container.next as usize;
                    Some(part)
                }
                _ => {
                    at = tree::skip_value(self.text, start).ok()?;
                    None
                }
            };
            let value = start..at;
            Some(Child { key, value, part })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found() {
        let text = br#" { "a" : [ ] , "a\"b": {"x":[1, "]" ,{"y":[[]]}, [] ]}, "n": 1, "a": {"z":{}}, "b" : [2]} "#;
        let (outline, root) = Outline::read(text).unwrap();
        let shown = |part| outline.value(part).map(|value| value.raw().to_vec());
        let field = |name| outline.field(root, name);
        assert!(!outline.is_list(root));
        assert_eq!(shown(field("a").unwrap()).unwrap(), br#"{"z":{}}"#);
        assert_eq!(shown(field("b").unwrap()).unwrap(), b"[2]");
        assert!(field("n").is_none() && field("z").is_none());
        let list = outline.field(field("a\"b").unwrap(), "x").unwrap();
        assert!(outline.is_list(list));
        let items: Vec<&[u8]> = outline
            .items(list)
            .into_iter()
            .map(|item| &text[item])
            .collect();
        assert_eq!(items, [&b"1"[..], br#""]""#, br#"{"y":[[]]}"#, b"[]"]);
        assert!(outline.items(field("a").unwrap()).len() == 1);
    }

    #[test]
    fn what_is_neither_list_nor_object_has_none() {
        for text in ["", " ", "1", "\"[]\""] {
            assert!(Outline::read(text.as_bytes()).is_err(), "{text}");
        }
        let (outline, root) = Outline::read(b"[]").unwrap();
        assert!(outline.is_list(root) && outline.items(root).is_empty());
    }
}
