//! The record that rules work on: lazily, as the bytes it came in with a list of changes, or as a tree.

use bumpalo::Bump;
use crossdock_sdk::bytes::{same, text};
use crossdock_sdk::json::{Object, ToJson};
use std::borrow::Cow;
use std::cell::RefCell;

use crate::access::{self, Hop};
use crate::node::{Kind, Malformed, Node, last_named};
use crate::syntax::Step;

/// A record while its rules run.
#[derive(Debug)]
pub(crate) enum Doc<'a> {
    /// No rule changes anything below the top level.
    Lazy(Lazy<'a>),
    Tree(Option<Node<'a>>),
}

/// The SDK's object, and the lists and objects in it that were looked into, so that they are read once.
#[derive(Debug)]
pub(crate) struct Lazy<'a> {
    object: Object<'a>,
    opened: RefCell<Vec<(&'a str, Node<'a>)>>,
}

struct Json<'n, 'a>(&'n Node<'a>);

impl ToJson for Json<'_, '_> {
    fn write_json(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }
}

impl<'a> Doc<'a> {
    /// Reads a payload. Brackets must match and strings must end everywhere; what else is in lists and objects that
    /// no rule opens is not checked.
    pub(crate) fn parse(payload: &'a [u8], lazy: bool, bump: &'a Bump) -> Result<Self, String> {
        if lazy {
            let object = Object::parse(payload).map_err(|error| error.to_string())?;
            return Ok(Self::Lazy(Lazy {
                object,
                opened: RefCell::default(),
            }));
        }
        let json = text(payload).ok_or_else(not_utf8)?;
        let mut node = Node::parse(json, bump).map_err(|error| error.to_string())?;
        if node.kind() != Kind::Object {
            return Err(format!(
                "a record must be an object, found {}",
                node.kind().name()
            ));
        }
        node.open().map_err(|error| error.to_string())?;
        Ok(Self::Tree(Some(node)))
    }

    /// What a straight path leads to.
    #[inline]
    pub(crate) fn straight(
        &self,
        steps: &[Step],
        bump: &'a Bump,
    ) -> Result<Option<Cow<'_, Node<'a>>>, String> {
        let (node, rest) = match (self, steps) {
            (Self::Tree(None), _) => return Ok(None),
            (Self::Tree(Some(node)), _) => {
                return Ok(access::straight(node, steps)?.map(Cow::Borrowed));
            }
            (Self::Lazy(lazy), [Step::Field(name), rest @ ..]) => match lazy.field(name, bump)? {
                Some(node) if rest.is_empty() => return Ok(Some(Cow::Owned(node))),
                Some(node) => (node, rest),
                None => return Ok(None),
            },
            (Self::Lazy(_), _) => (self.to_node(bump)?, steps),
        };
        let found = access::straight(&node, rest)?;
        Ok(found.cloned().map(Cow::Owned))
    }

    /// Reads a place.
    pub(crate) fn read(
        &self,
        hops: &[Hop<'a>],
        bump: &'a Bump,
        found: &mut dyn FnMut(&Node<'a>),
    ) -> Result<(), String> {
        match (self, hops) {
            (Self::Tree(node), _) => node
                .as_ref()
                .map_or(Ok(()), |node| access::read(node, hops, bump, found)),
            (Self::Lazy(lazy), [Hop::Field(name), rest @ ..]) => match lazy.field(name, bump)? {
                Some(node) => access::read(&node, rest, bump, found),
                None => Ok(()),
            },
            (Self::Lazy(_), _) => access::read(&self.to_node(bump)?, hops, bump, found),
        }
    }

    /// The whole record.
    #[inline(never)]
    pub(crate) fn to_node(&self, bump: &'a Bump) -> Result<Node<'a>, String> {
        match self {
            Self::Tree(node) => Ok(node.clone().unwrap_or(Node::Null)),
            Self::Lazy(lazy) => {
                let bytes = bump.alloc_slice_copy(&lazy.object.to_vec());
                let json = text(bytes).ok_or_else(not_utf8)?;
                Node::parse(json, bump).map_err(|error: Malformed| error.to_string())
            }
        }
    }

    /// Puts a value into a field at the top.
    #[inline(never)]
    pub(crate) fn set_field(
        &mut self,
        name: &'a str,
        value: Node<'a>,
        bump: &'a Bump,
    ) -> Result<(), String> {
        match self {
            Self::Lazy(lazy) => {
                lazy.forget(name);
                lazy.object.set(name, Json(&value));
                Ok(())
            }
            Self::Tree(node) => {
                let mut value = Some(value);
                access::change(node, &[Hop::Field(name)], true, bump, &mut |place| {
                    *place = value.take();
                    Ok(())
                })
            }
        }
    }

    /// Changes a place, see [`access::change`].
    pub(crate) fn change(
        &mut self,
        hops: &[Hop<'a>],
        create: bool,
        bump: &'a Bump,
        change: &mut dyn FnMut(&mut Option<Node<'a>>) -> Result<(), String>,
    ) -> Result<(), String> {
        match (&mut *self, hops) {
            (Self::Tree(node), _) => access::change(node, hops, create, bump, change),
            (Self::Lazy(lazy), [Hop::Field(name)]) => {
                let mut place = lazy.field(name, bump)?;
                let was = place.is_some();
                if !was && !create {
                    return Ok(());
                }
                change(&mut place)?;
                lazy.forget(name);
                match place {
                    Some(value) => lazy.object.set(name, Json(&value)),
                    None if was => {
                        lazy.object.remove(name);
                    }
                    None => {}
                }
                Ok(())
            }
            (Self::Lazy(_), _) => {
                let mut node = Some(self.to_node(bump)?);
                access::change(&mut node, hops, create, bump, change)?;
                *self = Self::Tree(node);
                Ok(())
            }
        }
    }

    /// Removes a field at the top. Says whether it was there.
    #[inline(never)]
    pub(crate) fn remove_field(&mut self, name: &'a str) -> bool {
        match self {
            Self::Lazy(lazy) => {
                lazy.forget(name);
                lazy.object.remove(name)
            }
            Self::Tree(Some(Node::Object(entries))) => {
                let before = entries.len();
                entries.retain(|(key, _)| *key != name);
                entries.len() < before
            }
            Self::Tree(_) => false,
        }
    }

    /// Renames a field at the top; a field that has the new name already gives way.
    #[inline(never)]
    pub(crate) fn rename_field(&mut self, from: &'a str, to: &'a str) {
        match self {
            Self::Lazy(lazy) => {
                lazy.forget(from);
                lazy.forget(to);
                lazy.object.rename(from, to);
            }
            Self::Tree(Some(Node::Object(entries))) => rename(entries, from, to),
            Self::Tree(_) => {}
        }
    }

    /// Keeps only these fields.
    #[inline(never)]
    pub(crate) fn keep(&mut self, fields: &'a [String]) {
        let is = |field: &String, name: &str| same(field.as_bytes(), name.as_bytes());
        let keeps = |name: &str| fields.iter().any(|field| is(field, name));
        match self {
            Self::Lazy(lazy) => {
                let gone: Vec<String> = lazy
                    .object
                    .iter()
                    .map(|(name, _)| name.into_owned())
                    .filter(|name| !keeps(name))
                    .collect();
                for name in gone {
                    lazy.object.remove(&name);
                }
                lazy.opened.get_mut().clear();
            }
            Self::Tree(Some(Node::Object(entries))) => entries.retain(|(key, _)| keeps(key)),
            Self::Tree(_) => {}
        }
    }

    /// Writes the payload.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Lazy(lazy) => lazy.object.write(out),
            Self::Tree(Some(node)) => node.write(out),
            Self::Tree(None) => out.extend_from_slice(b"null"),
        }
    }
}

/// Renames a field where it stands.
pub(crate) fn rename<'a>(entries: &mut Vec<(&'a str, Node<'a>)>, from: &str, to: &'a str) {
    if from == to {
        return;
    }
    let Some(at) = last_named(entries, from) else {
        return;
    };
    if let Some(entry) = entries.get_mut(at) {
        entry.0 = to;
    }
    let mut index = 0;
    entries.retain(|(key, _)| {
        index += 1;
        index == at + 1 || (*key != from && *key != to)
    });
}

fn not_utf8() -> String {
    "the record is not UTF-8".to_owned()
}

impl<'a> Lazy<'a> {
    fn field(&self, name: &str, bump: &'a Bump) -> Result<Option<Node<'a>>, String> {
        if let Some((_, node)) = self
            .opened
            .borrow()
            .iter()
            .find(|(known, _)| same(known.as_bytes(), name.as_bytes()))
        {
            return Ok(Some(node.clone()));
        }
        let raw: &'a [u8] = match (self.object.original(name), self.object.get(name)) {
            (Some(value), _) => value.raw(),
            (None, Some(value)) => bump.alloc_slice_copy(value.raw()),
            (None, None) => return Ok(None),
        };
        let json = text(raw).ok_or_else(not_utf8)?;
        let node = Node::parse(json, bump).map_err(|error| format!("field `{name}`: {error}"))?;
        if matches!(node, Node::Raw(_)) {
            self.opened
                .borrow_mut()
                .push((bump.alloc_str(name), node.clone()));
        }
        Ok(Some(node))
    }

    fn forget(&mut self, name: &str) {
        self.opened.get_mut().retain(|(known, _)| *known != name);
    }
}
