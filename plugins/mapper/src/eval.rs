//! Values and conditions of one record.

use bumpalo::Bump;
use crossdock_sdk::bytes::same;
use regex_bites::Regex;
use std::borrow::Cow;

use crate::access::{self, Hop, Hops, Want};
use crate::diagnose::shorten;
use crate::doc::Doc;
use crate::function::describe;
use crate::node::{Flag, Kind, Node, View, compare_numbers, last_named};
use crate::syntax::{
    Call, Choice, Compare, Condition, Expr, Mapping, Part, Path, Root, State, Step, Test,
};
use crate::table::{Put, Tables};

/// One record while its rules run, with everything its expressions can see.
pub(crate) struct Run<'a, 't> {
    pub(crate) mapping: &'a Mapping,
    pub(crate) bump: &'a Bump,
    pub(crate) tables: &'t Tables<'a>,
    pub(crate) doc: Doc<'a>,
    pub(crate) variables: Vec<Option<Node<'a>>>,
    pub(crate) key: &'a [u8],
    pub(crate) stream: &'a str,
    /// Writes to tables so far.
    pub(crate) puts: Vec<Put<'a>>,
}

pub(crate) type Value<'a> = Result<Option<Node<'a>>, String>;

impl<'a> Run<'a, '_> {
    /// What an expression gives; `None` when there is nothing.
    pub(crate) fn eval(&self, expr: &'a Expr) -> Value<'a> {
        Ok(Some(match expr {
            Expr::Null => Node::Null,
            Expr::Bool(value) => Node::Bool((*value).into()),
            Expr::Number(text) => Node::Number(text),
            Expr::Text(text) => Node::Text(text),
            Expr::Path(path) => return self.read(path),
            Expr::Key => Node::text(&String::from_utf8_lossy(self.key), self.bump),
            Expr::Stream => Node::Text(self.stream),
            Expr::Pipe(first, calls) => {
                let value = self.eval(first)?;
                return self.pipe(value, calls);
            }
            Expr::Template(parts) => return self.template(parts),
            Expr::List(items) => return self.list(items),
            Expr::Object(entries) => return self.object(entries),
            Expr::Jq(jq) => {
                return jq.run(&self.doc.to_node(self.bump)?, &self.variables, self.bump);
            }
        }))
    }

    // What has a loop stands in functions of its own: one that has none is entered for less.

    #[inline(never)]
    fn list(&self, items: &'a [Expr]) -> Value<'a> {
        let mut out = Vec::with_capacity(items.len());
        for item in items {
            out.extend(self.eval(item)?);
        }
        Ok(Some(Node::List(out.into())))
    }

    #[inline(never)]
    fn object(&self, entries: &'a [(Expr, Expr)]) -> Value<'a> {
        let mut out: Vec<(&'a str, Node<'a>)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let (Some(key), Some(value)) = (self.eval(key)?, self.eval(value)?) else {
                continue;
            };
            let key = key.as_text(self.bump).unwrap_or_default();
            match last_named(&out, key).and_then(|at| out.get_mut(at)) {
                Some((_, known)) => *known = value,
                None => out.push((key, value)),
            }
        }
        Ok(Some(Node::Object(out.into())))
    }

    /// An expression as text: texts and numbers as they are, nothing and null as `None`. `what` it is stands behind a
    /// pointer, since a function takes no more than four words in registers.
    pub(crate) fn eval_text(&self, expr: &'a Expr, what: &&str) -> Result<Option<&'a str>, String> {
        match self.look(expr)?.as_deref() {
            None | Some(Node::Null) => Ok(None),
            Some(node) => match text_of(node, self.bump) {
                Some(text) => Ok(Some(text)),
                None => Err(format!("{what} must be a text, found {}", describe(node))),
            },
        }
    }

    /// The same as `eval`, without a copy of what stands at a place.
    pub(crate) fn look(&self, expr: &'a Expr) -> Result<Option<Cow<'_, Node<'a>>>, String> {
        match expr {
            Expr::Path(path) if path.is_straight() => self.straight(path),
            _ => Ok(self.eval(expr)?.map(Cow::Owned)),
        }
    }

    #[inline(always)]
    #[allow(clippy::inline_always, reason = "it is most of what its callers do")]
    fn straight(&self, path: &Path) -> Result<Option<Cow<'_, Node<'a>>>, String> {
        match path.root {
            Root::Record => self.doc.straight(&path.steps, self.bump),
            Root::Variable(slot) => match self.variables.get(slot) {
                Some(Some(node)) => {
                    let found = access::straight(node, &path.steps)?;
                    Ok(found.map(Cow::Borrowed))
                }
                _ => Ok(None),
            },
        }
    }

    #[inline(never)]
    fn template(&self, parts: &'a [Part]) -> Value<'a> {
        let mut out = String::new();
        let (mut fields, mut filled) = (false, false);
        for part in parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Value(expr) => {
                    fields = true;
                    if let Some(text) = self.eval_text(expr, &"a part of a template")? {
                        filled = true;
                        out.push_str(text);
                    }
                }
            }
        }
        Ok((filled || !fields).then(|| Node::text(&out, self.bump)))
    }

    /// Reads a place. Of many, a list.
    pub(crate) fn read(&self, path: &'a Path) -> Value<'a> {
        if path.is_straight() {
            return Ok(self.straight(path)?.map(Cow::into_owned));
        }
        let hops = self.hops(path)?;
        if path.is_wild() {
            let mut all = Vec::new();
            self.visit(path, &hops, &mut |node| all.push(node.clone()))?;
            return Ok(Some(Node::List(all.into())));
        }
        let mut out = None;
        self.visit(path, &hops, &mut |node| out = Some(node.clone()))?;
        Ok(out)
    }

    fn visit(
        &self,
        path: &Path,
        hops: &[Hop<'a>],
        found: &mut dyn FnMut(&Node<'a>),
    ) -> Result<(), String> {
        match path.root {
            Root::Record => self.doc.read(hops, self.bump, found),
            Root::Variable(slot) => match self.variables.get(slot).and_then(Option::as_ref) {
                Some(node) => access::read(node, hops, self.bump, found),
                None => Ok(()),
            },
        }
    }

    /// The steps of a path with every computed name filled in.
    pub(crate) fn hops(&self, path: &'a Path) -> Result<Hops<'a>, String> {
        let mut hops = Hops::new();
        for step in &path.steps {
            hops.push(self.hop(step)?);
        }
        Ok(hops)
    }

    fn hop(&self, step: &'a Step) -> Result<Hop<'a>, String> {
        Ok(match step {
            Step::Field(name) => Hop::Field(name),
            Step::Computed(expr) => match self.eval_text(expr, &"the name of a field")? {
                Some(name) => Hop::Field(name),
                None => Hop::Nowhere,
            },
            Step::Index(index) => Hop::Index(*index),
            Step::Append => Hop::Append,
            Step::Every => Hop::Every,
            Step::Pick(picks) => {
                let mut out = Vec::with_capacity(picks.len());
                for pick in picks {
                    let mut wants = Vec::with_capacity(pick.choices.len());
                    for choice in &pick.choices {
                        self.want(choice, &mut wants)?;
                    }
                    out.push((pick.field.as_str(), wants));
                }
                Hop::Pick(out)
            }
        })
    }

    fn want(&self, choice: &'a Choice, wants: &mut Vec<Want<'a>>) -> Result<(), String> {
        match choice {
            Choice::Null => wants.push(Want::Null),
            Choice::Any => wants.push(Want::Any),
            Choice::Text(text) => wants.push(Want::Text(text)),
            Choice::Path(path) => {
                let Some(node) = self.read(path)? else {
                    return Ok(());
                };
                let items = match node.view().map_err(|error| error.to_string())? {
                    View::List(items) => items.to_vec(),
                    _ => vec![node.clone()],
                };
                for item in items {
                    match text_of(&item, self.bump) {
                        Some(text) => wants.push(Want::Text(text)),
                        None if item.is_null() => wants.push(Want::Null),
                        None => {
                            return Err(format!(
                                "`{}` must be a text to choose by, found {}",
                                path.text,
                                describe(&item)
                            ));
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends a value through functions.
    #[allow(
        clippy::ptr_arg,
        reason = "a slice would be one word more than fit into registers"
    )]
    pub(crate) fn pipe(&self, mut value: Option<Node<'a>>, calls: &'a Vec<Call>) -> Value<'a> {
        for call in calls {
            value = match (call, value) {
                (Call::Default(expr), value) => match value {
                    Some(node) if !node.is_empty().map_err(|error| error.to_string())? => {
                        Some(node)
                    }
                    _ => self.eval(expr)?,
                },
                (Call::Required, value) => match value {
                    Some(node) if !node.is_empty().map_err(|error| error.to_string())? => {
                        Some(node)
                    }
                    _ => return Err("is required, but there is no value".to_owned()),
                },
                (_, None) => None,
                (_, Some(Node::Null)) => Some(Node::Null),
                (Call::Function(function, args), Some(node)) => {
                    let mut values = Vec::with_capacity(args.len());
                    for arg in args {
                        values.push(self.eval(arg)?.unwrap_or(Node::Null));
                    }
                    function.run(self.bump, &node, &values)?
                }
                (Call::Lookup(table), Some(node)) => self.lookup(*table, &node)?,
                (Call::ReplacePattern(regex, replacement), Some(node)) => {
                    self.replaced(&node, regex, replacement)?
                }
                (Call::Extract(regex), Some(node)) => self.extracted(&node, regex)?,
            };
        }
        Ok(value)
    }

    #[inline(never)]
    fn replaced(&self, node: &Node<'a>, regex: &Regex, replacement: &str) -> Value<'a> {
        let text = self.text_for(node, "replace-pattern")?;
        let replaced = regex.replace_all(text, replacement);
        Ok(Some(Node::text(&replaced, self.bump)))
    }

    #[inline(never)]
    fn extracted(&self, node: &Node<'a>, regex: &Regex) -> Value<'a> {
        let text = self.text_for(node, "extract")?;
        let found = regex
            .captures(text)
            .and_then(|found| found.get(1).or_else(|| found.get(0)));
        Ok(found.map(|found| Node::text(found.as_str(), self.bump)))
    }

    fn text_for(&self, node: &Node<'a>, name: &str) -> Result<&'a str, String> {
        text_of(node, self.bump)
            .ok_or_else(|| format!("`{name}` needs a text, found {}", describe(node)))
    }

    /// The entry of a table.
    pub(crate) fn lookup(&self, table: usize, key: &Node<'a>) -> Value<'a> {
        let key = text_of(key, self.bump)
            .ok_or_else(|| format!("a key must be a text, found {}", describe(key)))?;
        if key.is_empty() {
            return Ok(None);
        }
        let key = self.tables.key(table, key)?;
        self.tables.find(table, key, &self.puts)
    }

    /// Whether a condition holds.
    pub(crate) fn holds(&self, condition: &'a Condition) -> Result<bool, String> {
        match condition {
            Condition::Holds(Expr::Path(path), test) if path.is_straight() => {
                let read;
                let found = match (path.root, &self.doc) {
                    (Root::Record, Doc::Tree(Some(node))) => access::straight(node, &path.steps)?,
                    (Root::Record, doc) => {
                        read = doc.straight(&path.steps, self.bump)?;
                        read.as_deref()
                    }
                    (Root::Variable(slot), _) => match self.variables.get(slot) {
                        Some(Some(node)) => access::straight(node, &path.steps)?,
                        _ => None,
                    },
                };
                match (test, found) {
                    (Test::Equals(Expr::Text(text)), Some(Node::Text(found))) => {
                        Ok(same(text.as_bytes(), found.as_bytes()))
                    }
                    _ => self.passes(found, test),
                }
            }
            _ => self.holds_other(condition),
        }
    }

    #[inline(never)]
    fn holds_other(&self, condition: &'a Condition) -> Result<bool, String> {
        Ok(match condition {
            Condition::All(all) => {
                for condition in all {
                    if !self.holds(condition)? {
                        return Ok(false);
                    }
                }
                true
            }
            Condition::Any(any) => {
                for condition in any {
                    if self.holds(condition)? {
                        return Ok(true);
                    }
                }
                false
            }
            Condition::Not(condition) => !self.holds(condition)?,
            Condition::Jq(jq) => {
                let value = jq.run(&self.doc.to_node(self.bump)?, &self.variables, self.bump)?;
                !matches!(value, None | Some(Node::Null | Node::Bool(Flag::False)))
            }
            Condition::Holds(subject, test) => {
                if let Expr::Path(path) = subject
                    && path.is_wild()
                {
                    return self.any_holds(path, test);
                }
                self.passes(self.look(subject)?.as_deref(), test)?
            }
        })
    }

    /// With `*` in its path, a test holds when it does for one of the places.
    fn any_holds(&self, path: &'a Path, test: &'a Test) -> Result<bool, String> {
        let Some(Node::List(items)) = self.read(path)? else {
            return Ok(false);
        };
        if let Test::Is(State::Missing | State::Empty) = test
            && items.is_empty()
        {
            return Ok(true);
        }
        for item in items.iter() {
            if self.passes(Some(item), test)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What conditions ask most stands here, all other tests behind a call: it costs to enter a large function.
    fn passes(&self, value: Option<&Node<'a>>, test: &'a Test) -> Result<bool, String> {
        match test {
            Test::Equals(Expr::Text(text)) => match value {
                Some(Node::Text(found)) => Ok(same(text.as_bytes(), found.as_bytes())),
                _ => self.equal(value, Some(&Node::Text(text))),
            },
            Test::Equals(expr) => self.equals(value, expr),
            Test::Is(state) => is(value, *state).map_err(|error| error.to_string()),
            Test::Not(test) => Ok(!self.passes(value, test)?),
            Test::All(all) => {
                for test in all {
                    if !self.passes(value, test)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Test::In(options) => self.is_in(value, options),
            Test::Matches(regex) => Ok(self.matches(value, regex)),
            Test::Contains(expr) => self.contains(value, expr),
            Test::Compare(compare, expr) => self.compare(value, *compare, expr),
        }
    }

    #[inline(never)]
    fn equals(&self, value: Option<&Node<'a>>, expr: &'a Expr) -> Result<bool, String> {
        self.equal(value, self.look(expr)?.as_deref())
    }

    #[inline(never)]
    fn matches(&self, value: Option<&Node<'a>>, regex: &Regex) -> bool {
        value
            .and_then(|node| text_of(node, self.bump))
            .is_some_and(|text| regex.is_match(text))
    }

    #[inline(never)]
    fn is_in(&self, value: Option<&Node<'a>>, options: &'a [Expr]) -> Result<bool, String> {
        for option in options {
            let option = self.look(option)?;
            let option = option.as_deref();
            if let ([_], Some(node)) = (options, option)
                && let View::List(items) = node.view().map_err(|error| error.to_string())?
            {
                for item in items {
                    if self.equal(value, Some(item))? {
                        return Ok(true);
                    }
                }
                return Ok(false);
            }
            if self.equal(value, option)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Nothing equals null, and nothing else.
    fn equal(&self, a: Option<&Node<'a>>, b: Option<&Node<'a>>) -> Result<bool, String> {
        let (a, b) = (a.unwrap_or(&Node::Null), b.unwrap_or(&Node::Null));
        a.equals(b, self.bump).map_err(|error| error.to_string())
    }

    #[inline(never)]
    fn contains(&self, value: Option<&Node<'a>>, wanted: &'a Expr) -> Result<bool, String> {
        let wanted = self.look(wanted)?;
        let (Some(value), Some(wanted)) = (value, wanted.as_deref()) else {
            return Ok(false);
        };
        if let View::List(items) = value.view().map_err(|error| error.to_string())? {
            for item in items {
                if self.equal(Some(item), Some(wanted))? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        Ok(
            match (text_of(value, self.bump), text_of(wanted, self.bump)) {
                (Some(text), Some(wanted)) => text.contains(wanted),
                _ => false,
            },
        )
    }

    /// Numbers by value, texts by code point; anything else does not compare.
    #[inline(never)]
    fn compare(
        &self,
        value: Option<&Node<'a>>,
        compare: Compare,
        limit: &'a Expr,
    ) -> Result<bool, String> {
        let limit = self.look(limit)?;
        let (Some(value), Some(limit)) = (value, limit.as_deref()) else {
            return Ok(false);
        };
        let order = match (value, limit) {
            (Node::Null, _) | (_, Node::Null) => return Ok(false),
            (Node::Number(a), Node::Number(b)) => compare_numbers(a, b),
            (a, b) => match (a.as_text(self.bump), b.as_text(self.bump)) {
                (Some(a), Some(b)) => Some(a.cmp(b)),
                (Some(text), None) if b.kind() == Kind::Number && crate::scan::is_number(text) => {
                    match b {
                        Node::Number(b) => compare_numbers(text, b),
                        _ => None,
                    }
                }
                _ => None,
            },
        };
        let Some(order) = order else {
            return Err(format!(
                "cannot compare {} with {}",
                describe(value),
                shorten(&limit.to_json(), 40)
            ));
        };
        Ok(match compare {
            Compare::Above => order.is_gt(),
            Compare::Below => order.is_lt(),
            Compare::AtLeast => order.is_ge(),
            Compare::AtMost => order.is_le(),
        })
    }
}

fn is(value: Option<&Node<'_>>, state: State) -> Result<bool, crate::node::Malformed> {
    let kind = value.map(Node::kind);
    Ok(match state {
        State::Present => !matches!(kind, None | Some(Kind::Null)),
        State::Missing => matches!(kind, None | Some(Kind::Null)),
        State::Empty => value.map_or(Ok(true), Node::is_empty)?,
        State::Filled => !value.map_or(Ok(true), Node::is_empty)?,
        State::Text => kind == Some(Kind::Text),
        State::Number => kind == Some(Kind::Number),
        State::Boolean => kind == Some(Kind::Bool),
        State::List => kind == Some(Kind::List),
        State::Object => kind == Some(Kind::Object),
    })
}

/// The text of a text, a number or a boolean.
pub(crate) fn text_of<'a>(node: &Node<'a>, bump: &'a Bump) -> Option<&'a str> {
    match node {
        Node::Number(text) => Some(text),
        Node::Bool(flag) => Some(flag.text()),
        _ => node.as_text(bump),
    }
}
