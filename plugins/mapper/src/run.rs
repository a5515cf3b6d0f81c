//! Runs the rules of one record.

use bumpalo::Bump;
use std::cell::Cell;

use crate::access;
use crate::diagnose::Pos;
use crate::doc::{self, Doc};
use crate::eval::{Run, text_of};
use crate::function::describe;
use crate::node::{Kind, Node, View};
use crate::syntax::{
    Action, Emit, Expr, ForEach, Items, Lookup, Mapping, Missing, Path, Program, Root, Rule,
};
use crate::table::{Put, Tables};

/// A record that rules gave out besides the one they work on.
#[derive(Debug)]
pub(crate) struct Emitted<'a> {
    pub(crate) stream: &'a str,
    pub(crate) key: &'a [u8],
    pub(crate) payload: Node<'a>,
}

/// Why a record failed, and at which rule.
#[derive(Debug)]
pub(crate) struct Failure<'a> {
    pub(crate) pos: Pos,
    pub(crate) label: &'a str,
    pub(crate) message: String,
}

/// What became of a record.
#[derive(Debug)]
pub(crate) enum Fate<'a> {
    /// It goes on exactly as it came.
    Unchanged,
    /// It goes on like this.
    Changed {
        stream: &'a str,
        key: &'a [u8],
        doc: Doc<'a>,
    },
    Dropped(&'a str),
    /// Others came of it.
    Exploded,
    Failed(Failure<'a>),
}

/// Everything that came of a record.
#[derive(Debug)]
pub(crate) struct Done<'a> {
    pub(crate) fate: Fate<'a>,
    pub(crate) emitted: Vec<Emitted<'a>>,
    pub(crate) puts: Vec<Put<'a>>,
    /// Nothing of this counts: a table's entry was missing that has not been fetched yet.
    pub(crate) pending: bool,
}

/// A record as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input<'a> {
    pub(crate) stream: &'a str,
    pub(crate) key: &'a [u8],
    pub(crate) payload: &'a [u8],
}

/// How rules end early.
enum Stop<'a> {
    Done,
    Drop(&'a str),
    Exploded,
    Fail(Failure<'a>),
}

type Flow<'a> = Result<(), Stop<'a>>;

/// A step inside a rule fails with a message; the rule adds where it stands.
enum Halt<'a> {
    Message(String),
    Stop(Stop<'a>),
}

impl From<String> for Halt<'_> {
    fn from(message: String) -> Self {
        Self::Message(message)
    }
}

struct Worker<'a, 't> {
    run: Run<'a, 't>,
    emitted: Vec<Emitted<'a>>,
    target: &'a str,
    changed: bool,
}

/// Runs a program on a record. `hasty`: only find out which entries of tables it needs.
pub(crate) fn run<'a>(
    mapping: &'a Mapping,
    program: &'a Program,
    input: Input<'a>,
    globals: &[Option<Node<'a>>],
    tables: &Tables<'a>,
    bump: &'a Bump,
    hasty: bool,
) -> Done<'a> {
    let doc = match Doc::parse(input.payload, program.lazy, bump) {
        Ok(doc) => doc,
        Err(message) => {
            let failure = Failure {
                pos: Pos::default(),
                label: "",
                message,
            };
            return Done {
                fate: Fate::Failed(failure),
                emitted: Vec::new(),
                puts: Vec::new(),
                pending: false,
            };
        }
    };
    let mut variables = globals.to_vec();
    variables.resize_with(program.slots, || None);
    let mut worker = Worker {
        run: Run {
            mapping,
            bump,
            tables,
            doc,
            variables,
            key: input.key,
            stream: input.stream,
            puts: Vec::new(),
            pending: Cell::new(false),
        },
        emitted: Vec::new(),
        target: input.stream,
        changed: false,
    };
    let mut end = Ok(());
    for (at, rule) in program.rules.iter().enumerate() {
        if at >= program.lookups_end && (hasty || worker.run.pending.get()) {
            break;
        }
        end = worker.rule(rule);
        if end.is_err() {
            break;
        }
    }
    worker.finish(end)
}

impl<'a> Worker<'a, '_> {
    fn finish(self, end: Flow<'a>) -> Done<'a> {
        let fate = match end {
            Err(Stop::Drop(reason)) => Fate::Dropped(reason),
            Err(Stop::Exploded) => Fate::Exploded,
            Err(Stop::Fail(failure)) => Fate::Failed(failure),
            Ok(()) | Err(Stop::Done) if self.changed => Fate::Changed {
                stream: self.target,
                key: self.run.key,
                doc: self.run.doc,
            },
            Ok(()) | Err(Stop::Done) => Fate::Unchanged,
        };
        let failed = matches!(fate, Fate::Failed(_));
        Done {
            fate,
            emitted: if failed { Vec::new() } else { self.emitted },
            puts: if failed { Vec::new() } else { self.run.puts },
            pending: self.run.pending.get(),
        }
    }

    fn rules(&mut self, rules: &'a [Rule]) -> Flow<'a> {
        rules.iter().try_for_each(|rule| self.rule(rule))
    }

    fn rule(&mut self, rule: &'a Rule) -> Flow<'a> {
        let fail = |message| {
            Stop::Fail(Failure {
                pos: rule.pos,
                label: &rule.label,
                message,
            })
        };
        if let Some(when) = &rule.when
            && !self
                .run
                .holds(when)
                .map_err(|message| fail(format!("when: {message}")))?
        {
            return match &rule.action {
                Action::Group { otherwise, .. } => self.rules(otherwise),
                _ => Ok(()),
            };
        }
        self.action(&rule.action).map_err(|halt| match halt {
            Halt::Message(message) => fail(message),
            Halt::Stop(stop) => stop,
        })
    }

    fn action(&mut self, action: &'a Action) -> Result<(), Halt<'a>> {
        match action {
            Action::Set(path, expr) => self.set(path, expr)?,
            Action::Default(path, expr) => {
                let current = self.run.read(path)?;
                if current
                    .map_or(Ok(true), |node| node.is_empty())
                    .map_err(|error| error.to_string())?
                {
                    self.set(path, expr)?;
                }
            }
            Action::Change(path, calls) => {
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
                })?;
            }
            Action::Copy(from, into) => {
                if let Some(node) = self.run.read(from)? {
                    self.put_at(into, node)?;
                }
            }
            Action::Move(from, into) => {
                let mut taken = None;
                self.modify(from, false, &mut |place| {
                    taken = place.take();
                    Ok(())
                })?;
                if let Some(node) = taken {
                    self.put_at(into, node)?;
                }
            }
            Action::Rename(path, name) => self.rename(path, name)?,
            Action::Remove(path) => self.remove(path)?,
            Action::Keep(fields) => {
                self.run.doc.keep(fields);
                self.changed = true;
            }
            Action::Let(slot, expr) => {
                let value = self.run.eval(expr)?;
                self.bind(*slot, value);
            }
            Action::Lookup(lookup) => self.lookup(lookup)?,
            Action::Put { table, key, value } => {
                if let Some(value) = self.run.eval(value)? {
                    let value = self.run.tables.value(&value)?;
                    self.write_table(*table, key, Some(value))?;
                }
            }
            Action::Forget { table, key } => self.write_table(*table, key, None)?,
            Action::Merge {
                from,
                into,
                replace,
            } => {
                if let Some(from) = self.run.eval(from)? {
                    self.modify(into, true, &mut |place| {
                        access::merge(place, &from, *replace)
                    })?;
                }
            }
            Action::ForEach(each) => self.for_each(each)?,
            Action::Group { rules, .. } => self.rules(rules).map_err(Halt::Stop)?,
            Action::Emit(emit) => self.emit(emit)?,
            Action::Explode(each, emit) => return self.explode(each, emit),
            Action::Key(expr) => {
                let key = self
                    .run
                    .eval_text(expr, "the key")?
                    .filter(|key| !key.is_empty());
                self.run.key = key
                    .ok_or_else(|| "the key has no value".to_owned())?
                    .as_bytes();
                self.changed = true;
            }
            Action::Route(expr) => {
                let name = self
                    .run
                    .eval_text(expr, "the stream")?
                    .filter(|name| !name.is_empty());
                self.target = name.ok_or_else(|| "the stream has no name".to_owned())?;
                self.changed = true;
            }
            Action::Drop(reason) => {
                return Err(Halt::Stop(Stop::Drop(
                    self.run
                        .eval_text(reason, "the reason")?
                        .unwrap_or("dropped"),
                )));
            }
            Action::Raise(message) => {
                return Err(self
                    .run
                    .eval_text(message, "the message")?
                    .unwrap_or("raised")
                    .to_owned()
                    .into());
            }
            Action::Done => return Err(Halt::Stop(Stop::Done)),
            Action::Jq(jq) => {
                let input = self.run.doc.to_node(self.run.bump)?;
                match jq.run(&input, &self.run.variables, self.run.bump)? {
                    Some(node) if node.kind() == Kind::Object => {
                        self.run.doc = Doc::Tree(Some(node));
                        self.changed = true;
                    }
                    Some(node) => {
                        return Err(format!(
                            "a record must stay an object, found {}",
                            describe(&node)
                        )
                        .into());
                    }
                    None => {
                        return Err("gives no record; use `drop` to leave records out"
                            .to_owned()
                            .into());
                    }
                }
            }
        }
        Ok(())
    }

    fn bind(&mut self, slot: usize, value: Option<Node<'a>>) {
        if let Some(variable) = self.run.variables.get_mut(slot) {
            *variable = value;
        }
    }

    fn set(&mut self, path: &'a Path, expr: &'a Expr) -> Result<(), String> {
        match self.run.eval(expr)? {
            Some(node) => self.put_at(path, node),
            None => Ok(()),
        }
    }

    fn put_at(&mut self, path: &'a Path, node: Node<'a>) -> Result<(), String> {
        if let Some(name) = path.top_field() {
            self.changed = true;
            return self.run.doc.set_field(name, node, self.run.bump);
        }
        self.modify(path, true, &mut |place| {
            *place = Some(node.clone());
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

    fn remove(&mut self, path: &'a Path) -> Result<(), String> {
        if let Some(name) = path.top_field() {
            self.changed |= self.run.doc.remove_field(name);
            return Ok(());
        }
        self.modify(path, false, &mut |place| {
            *place = None;
            Ok(())
        })
    }

    fn rename(&mut self, path: &'a Path, name: &'a Expr) -> Result<(), String> {
        let Some(name) = self
            .run
            .eval_text(name, "the new name")?
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

    fn lookup(&mut self, lookup: &'a Lookup) -> Result<(), Halt<'a>> {
        let key = match self.run.eval(&lookup.key)? {
            Some(node) if !node.is_empty().map_err(|error| error.to_string())? => node,
            _ => return Ok(()),
        };
        match self.run.lookup(lookup.table, &key)? {
            Some(node) => self.put_at(&lookup.into, node)?,
            None if self.run.pending.get() => {}
            None => match &lookup.missing {
                Missing::Skip => {}
                Missing::Use(expr) => self.set(&lookup.into, expr)?,
                missing => {
                    let table = self
                        .run
                        .mapping
                        .tables
                        .get(lookup.table)
                        .map_or("", |table| &table.alias);
                    let key = text_of(&key, self.run.bump).unwrap_or_default();
                    let message = format!("table `{table}` has no entry `{key}`");
                    if matches!(missing, Missing::Drop) {
                        return Err(Halt::Stop(Stop::Drop(
                            self.run
                                .bump
                                .alloc_str(&format!("no entry in table `{table}`")),
                        )));
                    }
                    return Err(message.into());
                }
            },
        }
        Ok(())
    }

    fn write_table(
        &mut self,
        table: usize,
        key: &'a Expr,
        value: Option<&'a str>,
    ) -> Result<(), String> {
        let key = self
            .run
            .eval_text(key, "the key")?
            .ok_or_else(|| "the key has no value".to_owned())?;
        let key = self.run.tables.key(table, key)?;
        self.run.puts.push(Put { table, key, value });
        Ok(())
    }

    fn for_each(&mut self, each: &'a ForEach) -> Result<(), Halt<'a>> {
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
                        for (at, item) in items.into_iter().enumerate() {
                            let key = index(at, self.run.bump);
                            kept.extend(self.item(each, key, item)?);
                        }
                        self.put_at(path, Node::List(kept))?;
                    }
                    Node::Object(entries) => {
                        let mut kept = Vec::with_capacity(entries.len());
                        for (name, item) in entries {
                            kept.extend(
                                self.item(each, Node::Text(name), item)?
                                    .map(|item| (name, item)),
                            );
                        }
                        self.put_at(path, Node::Object(kept))?;
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

    fn emit(&mut self, emit: &'a Emit) -> Result<(), Halt<'a>> {
        let payload = match &emit.record {
            Some(expr) => self.run.eval(expr)?,
            None => Some(self.run.doc.to_node(self.run.bump)?),
        };
        self.give_out(emit, payload)
    }

    fn give_out(&mut self, emit: &'a Emit, payload: Option<Node<'a>>) -> Result<(), Halt<'a>> {
        let stream = match &emit.stream {
            Some(expr) => self
                .run
                .eval_text(expr, "the stream")?
                .filter(|name| !name.is_empty()),
            None => Some(self.target),
        };
        let stream = stream.ok_or_else(|| "the stream has no name".to_owned())?;
        let key = match &emit.key {
            Some(expr) => {
                let key = self
                    .run
                    .eval_text(expr, "the key")?
                    .filter(|key| !key.is_empty());
                key.ok_or_else(|| "the key has no value".to_owned())?
                    .as_bytes()
            }
            None => self.run.key,
        };
        match payload {
            Some(payload) if payload.kind() == Kind::Object => self.emitted.push(Emitted {
                stream,
                key,
                payload,
            }),
            Some(payload) => {
                return Err(
                    format!("a record must be an object, found {}", describe(&payload)).into(),
                );
            }
            None => return Err("there is no record to give out".to_owned().into()),
        }
        Ok(())
    }

    fn explode(&mut self, each: &'a ForEach, emit: &'a Emit) -> Result<(), Halt<'a>> {
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
    Node::Number(bump.alloc_str(&at.to_string()))
}
