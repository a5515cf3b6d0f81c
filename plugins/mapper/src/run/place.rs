//! Rules that write places of the record, or of a variable.

use crate::access;
use crate::doc;
use crate::node::{Kind, Node};
use crate::run::Worker;
use crate::syntax::{Call, Expr, Path, Root};

impl<'a> Worker<'a, '_> {
    #[inline(never)]
    pub(super) fn set(&mut self, path: &'a Path, expr: &'a Expr) -> Result<(), String> {
        match self.run.eval(expr)? {
            Some(node) => self.put_at(path, node),
            None => Ok(()),
        }
    }

    /// Sets a place that is empty.
    #[inline(never)]
    pub(super) fn default(&mut self, path: &'a Path, expr: &'a Expr) -> Result<(), String> {
        let current = self.run.read(path)?;
        if current
            .map_or(Ok(true), |node| node.is_empty())
            .map_err(|error| error.to_string())?
        {
            self.set(path, expr)?;
        }
        Ok(())
    }

    /// Sends what stands at the places through functions.
    #[inline(never)]
    #[allow(clippy::ptr_arg, reason = "see `pipe`")]
    pub(super) fn change(&mut self, path: &'a Path, calls: &'a Vec<Call>) -> Result<(), String> {
        // The functions may read the record, so the new values are found before the first is written.
        let mut values = Vec::new();
        let hops = self.run.hops(path)?;
        self.each_place(path, &hops, &mut |place| {
            values.push(place.clone());
            Ok(())
        })?;
        let mut results = Vec::with_capacity(values.len());
        for value in values {
            results.push(self.run.pipe(value, calls)?);
        }
        let mut results = results.into_iter();
        self.modify(path, false, &mut |place| {
            *place = results.next().flatten();
            Ok(())
        })
    }

    /// Takes what stands at one place to another.
    #[inline(never)]
    pub(super) fn shift(&mut self, from: &'a Path, into: &'a Path) -> Result<(), String> {
        let mut taken = None;
        self.modify(from, false, &mut |place| {
            taken = place.take();
            Ok(())
        })?;
        match taken {
            Some(node) => self.put_at(into, node),
            None => Ok(()),
        }
    }

    /// Merges the fields of an object into the one at a place.
    #[inline(never)]
    pub(super) fn merge(
        &mut self,
        from: &'a Expr,
        into: &'a Path,
        replace: bool,
    ) -> Result<(), String> {
        match self.run.eval(from)? {
            Some(from) => self.modify(into, true, &mut |place| {
                access::merge(place, &from, replace)
            }),
            None => Ok(()),
        }
    }

    #[inline(never)]
    pub(super) fn put_at(&mut self, path: &'a Path, node: Node<'a>) -> Result<(), String> {
        if let Some(name) = path.top_field() {
            self.changed = true;
            return self.run.doc.set_field(name, node, self.run.bump);
        }
        if let (Root::Variable(slot), []) = (path.root, path.steps.as_slice()) {
            self.bind(slot, Some(node));
            return Ok(());
        }
        let mut last = Some(node);
        self.modify(path, true, &mut |place| {
            *place = if path.is_wild() {
                last.clone()
            } else {
                last.take()
            };
            Ok(())
        })
    }

    /// Changes a place in the record or in a variable.
    fn modify(
        &mut self,
        path: &'a Path,
        create: bool,
        change: &mut dyn FnMut(&mut Option<Node<'a>>) -> Result<(), String>,
    ) -> Result<(), String> {
        let hops = self.run.hops(path)?;
        match path.root {
            Root::Record => {
                self.run.doc.change(&hops, create, self.run.bump, change)?;
                self.changed = true;
                if path.steps.is_empty()
                    && self.run.doc.to_node(self.run.bump)?.kind() != Kind::Object
                {
                    return Err("a record must stay an object".to_owned());
                }
                Ok(())
            }
            Root::Variable(slot) => match self.run.variables.get_mut(slot) {
                Some(variable) => access::change(variable, &hops, create, self.run.bump, change),
                None => Ok(()),
            },
        }
    }

    /// Looks at places like `modify` would change them, without changing anything.
    fn each_place(
        &mut self,
        path: &Path,
        hops: &[access::Hop<'a>],
        look: &mut dyn FnMut(&mut Option<Node<'a>>) -> Result<(), String>,
    ) -> Result<(), String> {
        match path.root {
            Root::Record => {
                let mut result = Ok(());
                self.run.doc.read(hops, self.run.bump, &mut |node| {
                    if result.is_ok() {
                        result = look(&mut Some(node.clone()));
                    }
                })?;
                result
            }
            Root::Variable(slot) => match self.run.variables.get_mut(slot) {
                Some(variable) => access::change(variable, hops, false, self.run.bump, look),
                None => Ok(()),
            },
        }
    }

    #[inline(never)]
    pub(super) fn remove(&mut self, path: &'a Path) -> Result<(), String> {
        if let Some(name) = path.top_field() {
            self.changed |= self.run.doc.remove_field(name);
            return Ok(());
        }
        self.modify(path, false, &mut |place| {
            *place = None;
            Ok(())
        })
    }

    #[inline(never)]
    pub(super) fn rename(&mut self, path: &'a Path, name: &'a Expr) -> Result<(), String> {
        let Some(name) = self
            .run
            .eval_text(name, &"the new name")?
            .filter(|name| !name.is_empty())
        else {
            return Err("the new name has no value".to_owned());
        };
        let mut hops = self.run.hops(path)?;
        let Some(access::Hop::Field(from)) = hops.pop() else {
            return Ok(());
        };
        if path.root == Root::Record && hops.is_empty() {
            self.run.doc.rename_field(from, name);
            self.changed = true;
            return Ok(());
        }
        let mut change = |place: &mut Option<Node<'a>>| {
            if let Some(node) = place {
                node.open().map_err(|error| error.to_string())?;
                if let Node::Object(entries) = node {
                    doc::rename(entries, from, name);
                }
            }
            Ok(())
        };
        match path.root {
            Root::Record => {
                self.changed = true;
                self.run
                    .doc
                    .change(&hops, false, self.run.bump, &mut change)
            }
            Root::Variable(slot) => match self.run.variables.get_mut(slot) {
                Some(variable) => {
                    access::change(variable, &hops, false, self.run.bump, &mut change)
                }
                None => Ok(()),
            },
        }
    }
}
