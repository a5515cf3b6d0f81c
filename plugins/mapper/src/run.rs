//! Runs the rules of one record: what each does to places is in `place`, to tables in `table`; `loops` go through lists
//! and objects, `emit` gives out further records.

mod emit;
mod loops;
mod place;
mod table;

use bumpalo::Bump;

use crate::diagnose::Pos;
use crate::doc::Doc;
use crate::eval::Run;
use crate::function::describe;
use crate::jq::Jq;
use crate::node::{Kind, Node};
use crate::syntax::{Action, Expr, Mapping, Program, Rule};
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

/// Runs a program on a record.
pub(crate) fn run<'a>(
    mapping: &'a Mapping,
    program: &'a Program,
    input: Input<'a>,
    globals: &[Option<Node<'a>>],
    tables: &Tables<'a>,
    bump: &'a Bump,
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
        },
        emitted: Vec::new(),
        target: input.stream,
        changed: false,
    };
    let end = worker.rules(&program.rules);
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
        }
    }

    fn rules(&mut self, rules: &'a [Rule]) -> Flow<'a> {
        for rule in rules {
            let holds = match &rule.when {
                Some(when) => self.run.holds(when),
                None => Ok(true),
            };
            let done = match (holds, &rule.action) {
                (Ok(true), action) => self.action(action),
                (Ok(false), Action::Group { otherwise, .. }) => {
                    self.rules(otherwise).map_err(Halt::Stop)
                }
                (Ok(false), _) => continue,
                (Err(message), _) => Err(Halt::Message(format!("when: {message}"))),
            };
            match done {
                Ok(()) => {}
                Err(Halt::Stop(stop)) => return Err(stop),
                Err(Halt::Message(message)) => {
                    return Err(Stop::Fail(Failure {
                        pos: rule.pos,
                        label: &rule.label,
                        message,
                    }));
                }
            }
        }
        Ok(())
    }

    /// What it takes to do most of it stands in functions of its own: it costs to enter a large one.
    #[inline(never)]
    fn action(&mut self, action: &'a Action) -> Result<(), Halt<'a>> {
        match action {
            Action::Set(path, expr) => self.set(path, expr)?,
            Action::Default(path, expr) => self.default(path, expr)?,
            Action::Change(path, calls) => self.change(path, calls)?,
            Action::Copy(from, into) => {
                if let Some(node) = self.run.read(from)? {
                    self.put_at(into, node)?;
                }
            }
            Action::Move(from, into) => self.shift(from, into)?,
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
            Action::Put { table, key, value } => self.put(*table, key, value)?,
            Action::Forget { table, key } => self.write_table(*table, key, None)?,
            Action::Merge {
                from,
                into,
                replace,
            } => self.merge(from, into, *replace)?,
            Action::ForEach(each) => self.for_each(each)?,
            Action::Group { rules, .. } => self.rules(rules).map_err(Halt::Stop)?,
            Action::Emit(emit) => self.emit(emit)?,
            Action::Explode(each, emit) => return self.explode(each, emit),
            Action::Key(expr) => {
                self.run.key = self.key(expr)?;
                self.changed = true;
            }
            Action::Route(expr) => {
                self.target = self.stream(expr)?;
                self.changed = true;
            }
            Action::Drop(reason) => {
                return Err(Halt::Stop(Stop::Drop(
                    self.run
                        .eval_text(reason, &"the reason")?
                        .unwrap_or("dropped"),
                )));
            }
            Action::Raise(message) => {
                return Err(self
                    .run
                    .eval_text(message, &"the message")?
                    .unwrap_or("raised")
                    .to_owned()
                    .into());
            }
            Action::Done => return Err(Halt::Stop(Stop::Done)),
            Action::Jq(jq) => self.jq(jq)?,
        }
        Ok(())
    }

    /// The record becomes what a jq program makes of it.
    #[inline(never)]
    fn jq(&mut self, jq: &Jq) -> Result<(), String> {
        let input = self.run.doc.to_node(self.run.bump)?;
        match jq.run(&input, &self.run.variables, self.run.bump)? {
            Some(node) if node.kind() == Kind::Object => {
                self.run.doc = Doc::Tree(Some(node));
                self.changed = true;
                Ok(())
            }
            Some(node) => Err(format!(
                "a record must stay an object, found {}",
                describe(&node)
            )),
            None => Err("gives no record; use `drop` to leave records out".to_owned()),
        }
    }

    /// The key that a rule names.
    fn key(&self, expr: &'a Expr) -> Result<&'a [u8], String> {
        let key = self.run.eval_text(expr, &"the key")?;
        key.filter(|key| !key.is_empty())
            .map(str::as_bytes)
            .ok_or_else(|| "the key has no value".to_owned())
    }

    /// The stream that a rule names.
    fn stream(&self, expr: &'a Expr) -> Result<&'a str, String> {
        let name = self.run.eval_text(expr, &"the stream")?;
        name.filter(|name| !name.is_empty())
            .ok_or_else(|| "the stream has no name".to_owned())
    }

    fn bind(&mut self, slot: usize, value: Option<Node<'a>>) {
        if let Some(variable) = self.run.variables.get_mut(slot) {
            *variable = value;
        }
    }
}
