//! Lists and objects as they came: closed until somebody looks, and then opened one level.

use bumpalo::{Bump, collections::Vec};
use crossdock_sdk::json::Problem;
use crossdock_sdk::json::tree::{self, Container};
use std::cell::OnceCell;

use crate::node::{Flag, Malformed, Node};
use crate::scan;

/// An unchanged list or object, and its children once somebody has looked.
pub(crate) struct Raw<'a> {
    source: &'a Source<'a>,
    /// Where it starts.
    start: u32,
    /// Which container of the source it is.
    number: u32,
    /// Behind one pointer: three words that were just written cannot be read at once without waiting for them.
    children: OnceCell<Option<&'a Children<'a>>>,
}

/// A whole text, with the ends of all that can be opened in it: they are looked for once, not at every level.
struct Source<'a> {
    text: &'a str,
    containers: &'a [Container],
    bump: &'a Bump,
}

impl std::fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// Its children, read.
pub(super) enum Children<'a> {
    List(&'a [Node<'a>]),
    Object(&'a [(&'a str, Node<'a>)]),
}

/// Reads one JSON value; lists and objects stay closed.
pub(super) fn parse<'a>(text: &'a str, bump: &'a Bump) -> Result<Node<'a>, Malformed> {
    let text = text.trim_matches([' ', '\n', '\r', '\t']);
    let bytes = text.as_bytes();
    let containers = match bytes.first() {
        Some(b'{' | b'[') => tree::containers(bytes, 0).map_err(|error| match error.problem() {
            excess @ (Problem::TooDeep | Problem::TooMany) => Malformed::Excess(excess),
            _ => Malformed::Syntax,
        })?,
        _ => std::vec::Vec::new(),
    };
    let source = Source {
        text,
        containers: bump.alloc_slice_copy(&containers),
        bump,
    };
    let (node, end) = if containers.is_empty() {
        source.scalar(0)
    } else {
        bump.alloc(source).container(0, 0)
    }
    .ok_or(Malformed::Syntax)?;
    if end == text.len() {
        Ok(node)
    } else {
        Err(Malformed::Syntax)
    }
}

impl<'a> Source<'a> {
    /// The text, number or word that starts at a place, and where it ends.
    #[inline]
    fn scalar(&self, at: usize) -> Option<(Node<'a>, usize)> {
        let bytes = self.text.as_bytes();
        if bytes.get(at) == Some(&b'"') {
            let (end, escaped) = tree::skip_string(bytes, at).ok()?;
            let node = if escaped {
                Node::Quoted(self.text.get(at..end)?)
            } else {
                Node::Text(self.text.get(at + 1..end - 1)?)
            };
            return Some((node, end));
        }
        let end = tree::skip_value(bytes, at).ok()?;
        let node = match bytes.get(at)? {
            b't' => Node::Bool(Flag::True),
            b'f' => Node::Bool(Flag::False),
            b'n' => Node::Null,
            _ => Node::Number(self.text.get(at..end)?),
        };
        Some((node, end))
    }

    /// The container of this number, which starts at a place, and where it ends.
    #[inline]
    fn container(&'a self, at: usize, number: u32) -> Option<(Node<'a>, usize)> {
        let node = Node::Raw(self.bump.alloc(Raw {
            source: self,
            start: u32::try_from(at).ok()?,
            number,
            children: OnceCell::new(),
        }));
        Some((node, self.containers.get(number as usize)?.end as usize))
    }

    /// The key that starts at a place, and where it ends.
    #[inline]
    fn key(&self, at: usize) -> Option<(&'a str, usize)> {
        let bytes = self.text.as_bytes();
        if bytes.get(at) != Some(&b'"') {
            return None;
        }
        let (end, escaped) = tree::skip_string(bytes, at).ok()?;
        if !escaped {
            return Some((self.text.get(at + 1..end - 1)?, end));
        }
        let key = match scan::unescape(self.text.get(at..end)?)? {
            std::borrow::Cow::Borrowed(key) => key,
            std::borrow::Cow::Owned(key) => self.bump.alloc_str(&key),
        };
        Some((key, end))
    }
}

impl<'a> Raw<'a> {
    pub(super) fn text(&self) -> &'a str {
        let end = self.source.containers.get(self.number as usize);
        end.and_then(|found| {
            let range = self.start as usize..found.end as usize;
            self.source.text.get(range)
        })
        .unwrap_or_default()
    }

    pub(super) fn is_list(&self) -> bool {
        self.source.text.as_bytes().get(self.start as usize) == Some(&b'[')
    }

    #[inline]
    pub(super) fn children(&self) -> Option<&'a Children<'a>> {
        match self.children.get() {
            Some(children) => *children,
            None => self.open(),
        }
    }

    #[inline(never)]
    fn open(&self) -> Option<&'a Children<'a>> {
        let mut reader = Reader {
            source: self.source,
            at: self.start as usize + 1,
            number: self.number + 1,
        };
        let children = if self.is_list() {
            reader.items().map(Children::List)
        } else {
            reader.entries().map(Children::Object)
        };
        let children = children.map(|children| &*self.source.bump.alloc(children));
        *self.children.get_or_init(|| children)
    }
}

/// How many children there is room for at first.
const ROOM: usize = 4;

/// Reads the children of one container.
struct Reader<'a> {
    source: &'a Source<'a>,
    at: usize,
    /// Which container of the source is the next one.
    number: u32,
}

impl<'a> Reader<'a> {
    fn items(&mut self) -> Option<&'a [Node<'a>]> {
        if self.ends_at_once(b']') {
            return Some(&[]);
        }
        let mut items = Vec::with_capacity_in(ROOM, self.source.bump);
        let mut more = true;
        while more {
            items.push(self.value()?);
            more = self.goes_on(b']')?;
        }
        Some(items.into_bump_slice())
    }

    fn entries(&mut self) -> Option<&'a [(&'a str, Node<'a>)]> {
        if self.ends_at_once(b'}') {
            return Some(&[]);
        }
        let bytes = self.source.text.as_bytes();
        let mut entries = Vec::with_capacity_in(ROOM, self.source.bump);
        let mut more = true;
        while more {
            let (key, end) = self.source.key(self.at)?;
            let colon = tree::skip_space(bytes, end);
            if bytes.get(colon) != Some(&b':') {
                return None;
            }
            self.at = tree::skip_space(bytes, colon + 1);
            entries.push((key, self.value()?));
            more = self.goes_on(b'}')?;
        }
        Some(entries.into_bump_slice())
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "a call for each value costs more")]
    fn value(&mut self) -> Option<Node<'a>> {
        let (node, end) = match self.source.text.as_bytes().get(self.at)? {
            b'{' | b'[' => {
                let found = self.source.container(self.at, self.number)?;
                self.number = self.source.containers.get(self.number as usize)?.next;
                found
            }
            _ => self.source.scalar(self.at)?,
        };
        self.at = end;
        Some(node)
    }

    /// Whether there is no child. Goes to the first one otherwise.
    fn ends_at_once(&mut self, close: u8) -> bool {
        let bytes = self.source.text.as_bytes();
        self.at = tree::skip_space(bytes, self.at);
        bytes.get(self.at) == Some(&close)
    }

    /// Goes to the next child. Whether there is one; `None` where the text is malformed.
    #[inline]
    fn goes_on(&mut self, close: u8) -> Option<bool> {
        let bytes = self.source.text.as_bytes();
        self.at = tree::skip_space(bytes, self.at);
        match bytes.get(self.at)? {
            b',' => {
                self.at = tree::skip_space(bytes, self.at + 1);
                Some(true)
            }
            other => (*other == close).then_some(false),
        }
    }
}
