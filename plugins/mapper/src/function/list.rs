//! Functions on lists and objects.

use bumpalo::Bump;
use std::cmp::Ordering;

use super::{Outcome, describe, items_of, malformed, size_of, text_of, whole_of};
use crate::node::{Kind, Node, View, compare_numbers};

fn number(value: usize, bump: &Bump) -> Node<'_> {
    Node::Number(bump.alloc_str(&value.to_string()))
}

fn entries_of<'n, 'a>(node: &'n Node<'a>) -> Result<&'n [(&'a str, Node<'a>)], String> {
    match node.view().map_err(malformed)? {
        View::Object(entries) => Ok(entries),
        _ => Err(format!("needs an object, found {}", describe(node))),
    }
}

#[allow(clippy::unnecessary_wraps, reason = "all functions have one signature")]
pub(super) fn list<'a>(_: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    Ok(Some(if input.kind() == Kind::List {
        input.clone()
    } else {
        Node::List(vec![input.clone()].into())
    }))
}

pub(super) fn first<'a>(_: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    Ok(items_of(input)?.first().cloned())
}

pub(super) fn last<'a>(_: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    Ok(items_of(input)?.last().cloned())
}

pub(super) fn count<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    match input.view().map_err(malformed)? {
        View::List(items) => Ok(Some(number(items.len(), bump))),
        View::Object(entries) => Ok(Some(number(entries.len(), bump))),
        View::Scalar => Err(format!(
            "needs a list or an object, found {}",
            describe(input)
        )),
    }
}

/// The characters of a text.
pub(super) fn length<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    Ok(Some(number(text_of(input, bump)?.chars().count(), bump)))
}

/// Part of a text or of a list.
pub(super) fn slice<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let bounds = |total: usize| {
        let start = whole_of(args, 0).unwrap_or(0);
        let back = usize::try_from(start.unsigned_abs()).unwrap_or(usize::MAX);
        let from = if start < 0 {
            total.saturating_sub(back)
        } else {
            back.min(total)
        };
        (
            from,
            size_of(args, 1).map_or(total, |length| from.saturating_add(length).min(total)),
        )
    };
    if input.kind() == Kind::List {
        let items = items_of(input)?;
        let (from, to) = bounds(items.len());
        return Ok(Some(Node::List(
            items.get(from..to).unwrap_or_default().to_vec().into(),
        )));
    }
    let text = text_of(input, bump)?;
    let (from, to) = bounds(text.chars().count());
    let byte = |index: usize| {
        text.char_indices()
            .nth(index)
            .map_or(text.len(), |(at, _)| at)
    };
    Ok(Some(Node::Text(
        text.get(byte(from)..byte(to)).unwrap_or_default(),
    )))
}

/// Texts and numbers in one text; what is null or empty is left out.
pub(super) fn join<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let separator = args.first().map_or(Ok(""), |node| text_of(node, bump))?;
    let mut out = String::new();
    let mut any = false;
    for item in items_of(input)? {
        let part = match item {
            Node::Null => continue,
            Node::Bool(flag) => flag.text(),
            item => text_of(item, bump)?,
        };
        if part.is_empty() {
            continue;
        }
        if any {
            out.push_str(separator);
        }
        any = true;
        out.push_str(part);
    }
    Ok(Some(Node::text(&out, bump)))
}

pub(super) fn unique<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    let mut out: Vec<Node<'a>> = Vec::new();
    'items: for item in items_of(input)? {
        for seen in &out {
            if seen.equals(item, bump).map_err(malformed)? {
                continue 'items;
            }
        }
        out.push(item.clone());
    }
    Ok(Some(Node::List(out.into())))
}

/// Numbers by value, then texts by code point, then the rest as it was.
pub(super) fn sort<'a>(bump: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    let mut items = items_of(input)?.to_vec();
    let rank = |node: &Node<'a>| match node.kind() {
        Kind::Number => 0,
        Kind::Text => 1,
        _ => 2,
    };
    items.sort_by(|a, b| match (a, b) {
        (Node::Number(a), Node::Number(b)) => compare_numbers(a, b).unwrap_or(Ordering::Equal),
        _ => rank(a)
            .cmp(&rank(b))
            .then_with(|| a.as_text(bump).cmp(&b.as_text(bump))),
    });
    Ok(Some(Node::List(items.into())))
}

pub(super) fn reverse<'a>(_: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    Ok(Some(Node::List(
        items_of(input)?.iter().rev().cloned().collect(),
    )))
}

/// Without nulls and empty texts, lists and objects.
pub(super) fn compact<'a>(_: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    if input.kind() == Kind::Object {
        let mut out = Vec::new();
        for (key, value) in entries_of(input)? {
            if !value.is_empty().map_err(malformed)? {
                out.push((*key, value.clone()));
            }
        }
        return Ok(Some(Node::Object(out.into())));
    }
    let mut out = Vec::new();
    for item in items_of(input)? {
        if !item.is_empty().map_err(malformed)? {
            out.push(item.clone());
        }
    }
    Ok(Some(Node::List(out.into())))
}

/// Lists in the list become part of it, one level deep.
pub(super) fn flatten<'a>(_: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    let mut out = Vec::new();
    for item in items_of(input)? {
        match item.view().map_err(malformed)? {
            View::List(items) => out.extend_from_slice(items),
            _ => out.push(item.clone()),
        }
    }
    Ok(Some(Node::List(out.into())))
}

/// Adds one item, or all items of a list.
pub(super) fn append<'a>(_: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let mut out = items_of(input)?.to_vec();
    if let Some(more) = args.first() {
        match more.view().map_err(malformed)? {
            View::List(items) => out.extend_from_slice(items),
            _ if more.is_null() => {}
            _ => out.push(more.clone()),
        }
    }
    Ok(Some(Node::List(out.into())))
}

/// One field of every object in a list.
pub(super) fn pluck<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let field = args.first().map_or(Ok(""), |node| text_of(node, bump))?;
    let mut out = Vec::new();
    for item in items_of(input)? {
        out.extend(item.field(field).map_err(malformed)?.cloned());
    }
    Ok(Some(Node::List(out.into())))
}

pub(super) fn keys<'a>(_: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    Ok(Some(Node::List(
        entries_of(input)?
            .iter()
            .map(|(key, _)| Node::Text(key))
            .collect(),
    )))
}

pub(super) fn values<'a>(_: &'a Bump, input: &Node<'a>, _: &[Node<'a>]) -> Outcome<'a> {
    Ok(Some(Node::List(
        entries_of(input)?
            .iter()
            .map(|(_, value)| value.clone())
            .collect(),
    )))
}

fn names<'a>(args: &[Node<'a>], bump: &'a Bump) -> Result<(&'a str, &'a str), String> {
    let name = |index: usize, default: &'a str| {
        args.get(index)
            .map_or(Ok(default), |node| text_of(node, bump))
    };
    Ok((name(0, "key")?, name(1, "value")?))
}

/// An object as a list of `{key, value}`.
pub(super) fn entries<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let (key_name, value_name) = names(args, bump)?;
    let entry = |(key, value): &(&'a str, Node<'a>)| {
        let pair = [(key_name, Node::Text(key)), (value_name, value.clone())];
        Node::Object(pair.into_iter().collect())
    };
    Ok(Some(Node::List(
        entries_of(input)?.iter().map(entry).collect(),
    )))
}

/// A list of `{key, value}` as an object; of doubled keys the last one stays.
pub(super) fn from_entries<'a>(bump: &'a Bump, input: &Node<'a>, args: &[Node<'a>]) -> Outcome<'a> {
    let (key_name, value_name) = names(args, bump)?;
    let mut out: Vec<(&'a str, Node<'a>)> = Vec::new();
    for item in items_of(input)? {
        let key = item.field(key_name).map_err(malformed)?;
        let key = key
            .ok_or_else(|| format!("needs `{key_name}` in every item, found {}", describe(item)))?;
        let key = text_of(key, bump)?;
        let value = item
            .field(value_name)
            .map_err(malformed)?
            .cloned()
            .unwrap_or(Node::Null);
        match out.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = value,
            None => out.push((key, value)),
        }
    }
    Ok(Some(Node::Object(out.into())))
}
