//! Rules that go through lists and objects.

use bumpalo::Bump;

use crate::function::describe;
use crate::node::{Node, View};
use crate::run::{Halt, Stop, Worker};
use crate::syntax::{Emit, ForEach, Items};

impl<'a> Worker<'a, '_> {
    #[inline(never)]
    pub(super) fn for_each(&mut self, each: &'a ForEach) -> Result<(), Halt<'a>> {
        match &each.items {
            Items::Value(expr) => {
                let Some(node) = self.run.eval(expr)? else {
                    return Ok(());
                };
                for (key, item) in children(&node, self.run.bump)? {
                    self.bind(each.item, Some(item));
                    self.bind_key(each, key);
                    self.rules(&each.rules).map_err(Halt::Stop)?;
                }
            }
            Items::Place(path) => {
                let Some(mut node) = self.run.read(path)? else {
                    return Ok(());
                };
                children(&node, self.run.bump)?;
                node.open().map_err(|error| error.to_string())?;
                match node {
                    Node::List(items) => {
                        let mut kept = Vec::with_capacity(items.len());
                        for (at, item) in items.into_vec().into_iter().enumerate() {
                            let key = index(at, self.run.bump);
                            kept.extend(self.item(each, key, item)?);
                        }
                        self.put_at(path, Node::List(kept.into()))?;
                    }
                    Node::Object(entries) => {
                        let mut kept = Vec::with_capacity(entries.len());
                        for (name, item) in entries.into_vec() {
                            kept.extend(
                                self.item(each, Node::Text(name), item)?
                                    .map(|item| (name, item)),
                            );
                        }
                        self.put_at(path, Node::Object(kept.into()))?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Runs the rules of a loop on one item and gives back what became of it.
    fn item(
        &mut self,
        each: &'a ForEach,
        key: Node<'a>,
        item: Node<'a>,
    ) -> Result<Option<Node<'a>>, Halt<'a>> {
        self.bind(each.item, Some(item));
        self.bind_key(each, Some(key));
        self.rules(&each.rules).map_err(Halt::Stop)?;
        Ok(self.run.variables.get_mut(each.item).and_then(Option::take))
    }

    fn bind_key(&mut self, each: &ForEach, key: Option<Node<'a>>) {
        if let Some(slot) = each.key {
            self.bind(slot, key);
        }
    }

    #[inline(never)]
    pub(super) fn explode(&mut self, each: &'a ForEach, emit: &'a Emit) -> Result<(), Halt<'a>> {
        let items = match &each.items {
            Items::Value(expr) => self.run.eval(expr)?,
            Items::Place(path) => self.run.read(path)?,
        };
        let items = items.map_or_else(|| Ok(Vec::new()), |node| children(&node, self.run.bump))?;
        if items.is_empty() {
            return Err(Halt::Stop(Stop::Drop("nothing to explode")));
        }
        for (key, item) in items {
            self.bind(each.item, Some(item));
            self.bind_key(each, key);
            self.rules(&each.rules).map_err(Halt::Stop)?;
            let payload = match &emit.record {
                Some(expr) => self.run.eval(expr)?,
                None => self.run.variables.get(each.item).cloned().flatten(),
            };
            self.give_out(emit, payload)?;
        }
        Err(Halt::Stop(Stop::Exploded))
    }
}

/// The items of a list with their positions, or the entries of an object with their names.
fn children<'a>(
    node: &Node<'a>,
    bump: &'a Bump,
) -> Result<Vec<(Option<Node<'a>>, Node<'a>)>, String> {
    Ok(match node.view().map_err(|error| error.to_string())? {
        View::List(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| (Some(index(at, bump)), item.clone()))
            .collect(),
        View::Object(entries) => entries
            .iter()
            .map(|(name, item)| (Some(Node::Text(name)), item.clone()))
            .collect(),
        View::Scalar if node.is_null() => Vec::new(),
        View::Scalar => {
            return Err(format!(
                "needs a list or an object to go through, found {}",
                describe(node)
            ));
        }
    })
}

fn index(at: usize, bump: &Bump) -> Node<'_> {
    const FIRST: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
    match FIRST.get(at) {
        Some(digit) => Node::Number(digit),
        None => Node::Number(bump.alloc_str(&at.to_string())),
    }
}
