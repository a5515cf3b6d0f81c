//! Finds places in a tree: reading without changing it, and changing what is there.

use bumpalo::Bump;
use smallvec::SmallVec;

use crate::node::{Kind, Malformed, Node, View, last_named};
use crate::syntax::Step;

/// A step whose names are known.
#[derive(Clone, Debug)]
pub(crate) enum Hop<'a> {
    Field(&'a str),
    Index(i64),
    Append,
    Every,
    Pick(Vec<(&'a str, Vec<Want<'a>>)>),
    /// A computed name that has no value leads nowhere.
    Nowhere,
}

/// The steps of a path. Most have few.
pub(crate) type Hops<'a> = SmallVec<[Hop<'a>; 4]>;

/// What a picked item must have in a field.
#[derive(Clone, Debug)]
pub(crate) enum Want<'a> {
    Null,
    Any,
    Text(&'a str),
}

#[cold]
fn malformed(error: Malformed) -> String {
    error.to_string()
}

/// The position that an index means in a list of this length.
fn position(index: i64, len: usize) -> Option<usize> {
    let size = usize::try_from(index.unsigned_abs()).ok()?;
    if index < 0 {
        len.checked_sub(size)
    } else {
        Some(size)
    }
}

/// The position of the item that fits best: the first choice of the first field counts most.
fn pick<'a>(
    items: &[Node<'a>],
    picks: &[(&'a str, Vec<Want<'a>>)],
    bump: &'a Bump,
) -> Result<Option<usize>, String> {
    let mut best: Option<(Vec<usize>, usize)> = None;
    'items: for (at, item) in items.iter().enumerate() {
        let mut rank = Vec::with_capacity(picks.len());
        for (field, wants) in picks {
            let found = item
                .field(field)
                .map_err(malformed)?
                .filter(|node| !node.is_null());
            let fits = wants.iter().position(|want| match (want, found) {
                (Want::Any, _) => true,
                (Want::Null, found) => found.is_none(),
                (Want::Text(text), Some(found)) => is_text(found, text, bump),
                (Want::Text(_), None) => false,
            });
            match fits {
                Some(place) => rank.push(place),
                None => continue 'items,
            }
        }
        if best.as_ref().is_none_or(|(known, _)| rank < *known) {
            best = Some((rank, at));
        }
    }
    Ok(best.map(|(_, at)| at))
}

fn is_text<'a>(node: &Node<'a>, text: &str, bump: &'a Bump) -> bool {
    match node {
        Node::Number(number) => *number == text,
        Node::Bool(flag) => text == flag.text(),
        _ => node.as_text(bump) == Some(text),
    }
}

/// What the steps of a straight path lead to.
#[inline(always)]
#[allow(clippy::inline_always, reason = "it is most of what its caller does")]
pub(crate) fn straight<'n, 'a>(
    node: &'n Node<'a>,
    steps: &[Step],
) -> Result<Option<&'n Node<'a>>, String> {
    // Most paths have one step, which needs no loop.
    match steps {
        [only] => step(node, only),
        _ => further(node, steps),
    }
}

#[inline(never)]
fn further<'n, 'a>(mut node: &'n Node<'a>, steps: &[Step]) -> Result<Option<&'n Node<'a>>, String> {
    for next in steps {
        match step(node, next)? {
            Some(found) => node = found,
            None => return Ok(None),
        }
    }
    Ok(Some(node))
}

#[inline(always)]
#[allow(clippy::inline_always, reason = "a call costs as much as what is done")]
fn step<'n, 'a>(node: &'n Node<'a>, step: &Step) -> Result<Option<&'n Node<'a>>, String> {
    match step {
        Step::Field(name) => match node.field(name) {
            Ok(found) => Ok(found),
            Err(error) => Err(malformed(error)),
        },
        Step::Index(index) => match node.view().map_err(malformed)? {
            View::List(items) => Ok(position(*index, items.len()).and_then(|at| items.get(at))),
            _ => Ok(None),
        },
        // There are no others in a straight path.
        _ => {
            debug_assert!(false, "{step:?} is not straight");
            Ok(None)
        }
    }
}

/// Calls `found` with everything the hops lead to.
pub(crate) fn read<'a>(
    node: &Node<'a>,
    hops: &[Hop<'a>],
    bump: &'a Bump,
    found: &mut dyn FnMut(&Node<'a>),
) -> Result<(), String> {
    let Some((hop, rest)) = hops.split_first() else {
        found(node);
        return Ok(());
    };
    let next = match (hop, node.view().map_err(malformed)?) {
        (Hop::Field(name), View::Object(_)) => node.field(name).map_err(malformed)?,
        (Hop::Index(index), View::List(items)) => {
            position(*index, items.len()).and_then(|at| items.get(at))
        }
        (Hop::Pick(picks), View::List(items)) => {
            pick(items, picks, bump)?.and_then(|at| items.get(at))
        }
        (Hop::Every, View::List(items)) => {
            return items
                .iter()
                .try_for_each(|item| read(item, rest, bump, found));
        }
        (Hop::Every, View::Object(entries)) => {
            return entries
                .iter()
                .try_for_each(|(_, value)| read(value, rest, bump, found));
        }
        _ => None,
    };
    next.map_or(Ok(()), |node| read(node, rest, bump, found))
}

/// Changes everything the hops lead to. A place is there (`Some`) or not; `change` may put something into it or empty
/// it, which removes the field or item. With `create`, objects and lists on the way are made.
pub(crate) fn change<'a>(
    place: &mut Option<Node<'a>>,
    hops: &[Hop<'a>],
    create: bool,
    bump: &'a Bump,
    change: &mut dyn FnMut(&mut Option<Node<'a>>) -> Result<(), String>,
) -> Result<(), String> {
    let Some((hop, rest)) = hops.split_first() else {
        return change(place);
    };
    if create && place.as_ref().is_none_or(Node::is_null) {
        match hop {
            Hop::Field(_) => *place = Some(Node::Object(Vec::new().into())),
            Hop::Append | Hop::Index(_) => *place = Some(Node::List(Vec::new().into())),
            _ => {}
        }
    }
    let Some(node) = place else { return Ok(()) };
    node.open().map_err(malformed)?;
    match (hop, node) {
        (Hop::Field(name), Node::Object(entries)) => {
            let at = last_named(entries, name);
            if at.is_none() && !create {
                return Ok(());
            }
            let mut inner = at
                .and_then(|at| entries.get_mut(at))
                .map(|(_, value)| std::mem::replace(value, Node::Null));
            self::change(&mut inner, rest, create, bump, change)?;
            match (inner, at) {
                (Some(value), Some(at)) => {
                    if let Some(entry) = entries.get_mut(at) {
                        entry.1 = value;
                    }
                }
                (Some(value), None) => entries.push((name, value)),
                (None, Some(_)) => entries.retain(|(key, _)| key != name),
                (None, None) => {}
            }
            Ok(())
        }
        (Hop::Append, Node::List(items)) => {
            let mut inner = None;
            self::change(&mut inner, rest, create, bump, change)?;
            items.extend(inner);
            Ok(())
        }
        (Hop::Index(index), Node::List(items)) => match position(*index, items.len()) {
            Some(at) if at < items.len() => item(items, at, rest, create, bump, change),
            Some(at) if create && at == items.len() => {
                let mut inner = None;
                self::change(&mut inner, rest, create, bump, change)?;
                items.extend(inner);
                Ok(())
            }
            _ if create => Err(format!(
                "the list has {} items, so there is no place [{index}]",
                items.len()
            )),
            _ => Ok(()),
        },
        (Hop::Pick(picks), Node::List(items)) => match pick(items, picks, bump)? {
            Some(at) => item(items, at, rest, create, bump, change),
            None if create => Err("no item of the list fits what stands in `[...]`".to_owned()),
            None => Ok(()),
        },
        (Hop::Every, Node::List(items)) => {
            let mut kept = Vec::with_capacity(items.len());
            for node in std::mem::take(&mut **items) {
                let mut inner = Some(node);
                self::change(&mut inner, rest, create, bump, change)?;
                kept.extend(inner);
            }
            **items = kept;
            Ok(())
        }
        (Hop::Every, Node::Object(entries)) => {
            let mut kept = Vec::with_capacity(entries.len());
            for (key, node) in std::mem::take(&mut **entries) {
                let mut inner = Some(node);
                self::change(&mut inner, rest, create, bump, change)?;
                kept.extend(inner.map(|node| (key, node)));
            }
            **entries = kept;
            Ok(())
        }
        (Hop::Nowhere, _) if create => Err("the name of the field has no value".to_owned()),
        (hop, node) if create => Err(mismatch(hop, node)),
        _ => Ok(()),
    }
}

fn item<'a>(
    items: &mut Vec<Node<'a>>,
    at: usize,
    rest: &[Hop<'a>],
    create: bool,
    bump: &'a Bump,
    change: &mut dyn FnMut(&mut Option<Node<'a>>) -> Result<(), String>,
) -> Result<(), String> {
    let mut inner = items
        .get_mut(at)
        .map(|node| std::mem::replace(node, Node::Null));
    self::change(&mut inner, rest, create, bump, change)?;
    match inner {
        Some(node) => {
            if let Some(slot) = items.get_mut(at) {
                *slot = node;
            }
        }
        None => drop(items.remove(at)),
    }
    Ok(())
}

fn mismatch(hop: &Hop<'_>, node: &Node<'_>) -> String {
    let found = node.kind().name();
    match hop {
        Hop::Field(name) if node.kind() == Kind::List => {
            format!("there is no field `{name}` in a list; `[0]`, `[+]` or `*` say which item")
        }
        Hop::Field(name) => format!("there is no field `{name}` in {found}"),
        _ => format!("there are no items in {found}"),
    }
}

/// Fills what `into` lacks from `from`; objects field by field. With `replace` it is the other way round: what `from`
/// has wins.
pub(crate) fn merge<'a>(
    into: &mut Option<Node<'a>>,
    from: &Node<'a>,
    replace: bool,
) -> Result<(), String> {
    if from.is_null() {
        return Ok(());
    }
    let Some(node) = into.as_mut().filter(|node| !node.is_null()) else {
        *into = Some(from.clone());
        return Ok(());
    };
    if node.kind() == Kind::Object && from.kind() == Kind::Object {
        node.open().map_err(malformed)?;
        if let (Node::Object(entries), View::Object(more)) = (node, from.view().map_err(malformed)?)
        {
            for (key, value) in more {
                match last_named(entries, key).and_then(|at| entries.get_mut(at)) {
                    Some((_, known)) => {
                        let mut inner = Some(std::mem::replace(known, Node::Null));
                        merge(&mut inner, value, replace)?;
                        *known = inner.unwrap_or(Node::Null);
                    }
                    None => entries.push((key, value.clone())),
                }
            }
        }
    } else if replace {
        *node = from.clone();
    }
    Ok(())
}
