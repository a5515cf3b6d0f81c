//! Reads rules.

use crate::condition::condition;
use crate::diagnose::{Compiled, Pos, Problem};
use crate::parse;
use crate::scope::{self, Scope};
use crate::syntax::{
    Action, Content, Emit, Expr, ForEach, Items, Lookup, Missing, Path, Root, Rule, Step,
};
use crate::yaml::{Data, Key, Yaml};

/// Every rule, and what may stand beside it.
const RULES: [(&str, &[&str]); 24] = [
    ("set", &["when"]),
    ("default", &["when"]),
    ("change", &["when"]),
    ("copy", &["when"]),
    ("move", &["when"]),
    ("rename", &["when"]),
    ("remove", &["when"]),
    ("keep", &["when"]),
    ("let", &[]),
    ("lookup", &["when"]),
    ("put", &["when"]),
    ("forget", &["when"]),
    ("merge", &["when"]),
    ("for-each", &["when"]),
    ("do", &["when", "else"]),
    ("emit", &["when"]),
    ("explode", &["when"]),
    ("key", &["when"]),
    ("route", &["when"]),
    ("drop", &["when"]),
    ("raise", &["when"]),
    ("done", &["when"]),
    ("jq", &["when"]),
    ("note", &[]),
];

/// Reads a list of rules. Problems are collected, so that all of them are shown at once.
pub(crate) fn rules(yaml: &Yaml, scope: &mut Scope<'_>, problems: &mut Vec<Problem>) -> Vec<Rule> {
    let mark = scope.enter();
    let mut out: Vec<Rule> = Vec::new();
    let items = match yaml.list("rules") {
        Ok(items) => items,
        Err(problem) => {
            problems.push(problem.advice("rules are a list: each one starts with `- `"));
            return out;
        }
    };
    let mut ended: Option<(u32, String)> = None;
    for item in items {
        if let Some((line, label)) = ended.take() {
            let message =
                format!("this is never reached: `{label}` on line {line} ends every record");
            problems.push(
                Problem::new(item.pos, message)
                    .advice("give the earlier rule a `when`, or remove this one"),
            );
        }
        let reads = scope.reads;
        match rule(item, scope, problems) {
            Ok(rules) => out.extend(rules),
            Err(problem) => problems.push(problem),
        }
        if scope.reads > reads {
            scope.reads_end = out.len();
        }
        ended = out
            .last()
            .filter(|rule| ends(rule))
            .map(|rule| (rule.pos.line, rule.label.clone()));
    }
    scope.leave(mark);
    out
}

/// Whether no record gets past this rule.
fn ends(rule: &Rule) -> bool {
    rule.when.is_none()
        && match &rule.action {
            Action::Drop(_) | Action::Raise(_) | Action::Done | Action::Explode(..) => true,
            Action::Group { rules, otherwise } => {
                rules.last().is_some_and(ends) && otherwise.is_empty()
            }
            _ => false,
        }
}

fn rule(yaml: &Yaml, scope: &mut Scope<'_>, problems: &mut Vec<Problem>) -> Compiled<Vec<Rule>> {
    let names: Vec<&str> = RULES.iter().map(|(name, _)| *name).collect();
    let entries = match &yaml.data {
        Data::Text(word, _) if word == "done" => {
            return Ok(vec![Rule {
                pos: yaml.pos,
                label: "done".into(),
                when: None,
                action: Action::Done,
            }]);
        }
        _ => yaml.map("a rule").map_err(|problem| {
            problem.advice("a rule looks like `- set: { sku: $.identifier }`")
        })?,
    };
    let main = entries.iter().find_map(|(key, value)| {
        let (_, extras) = RULES.iter().find(|(name, _)| *name == key.text)?;
        Some((key, value, *extras))
    });
    let Some((key, value, extras)) = main else {
        let beside = ["when", "else"];
        let odd = entries
            .iter()
            .find(|(key, _)| !beside.contains(&key.text.as_str()));
        return Err(match odd {
            Some((key, _)) => Problem::unknown(key.pos, "rule", &key.text, &names),
            None => Problem::new(yaml.pos, "a rule says what to do")
                .advice(format!("rules are {}", names.join(", "))),
        });
    };
    let mut when = None;
    let mut otherwise = None;
    for (other, value) in entries {
        match other.text.as_str() {
            _ if other == key => {}
            name if names.contains(&name) => {
                return Err(Problem::new(
                    other.pos,
                    format!("`{name}` and `{}` are two rules", key.text),
                )
                .advice(format!("start a new one: `- {name}: ...`")));
            }
            "when" if extras.contains(&"when") => when = Some(condition(value, scope)?),
            "else" if extras.contains(&"else") => otherwise = Some(value),
            "when" => {
                return Err(
                    Problem::new(other.pos, format!("`{}` has no `when`", key.text)).advice(
                        "define the variable always, and `set` it where the condition holds",
                    ),
                );
            }
            "else" => {
                return Err(Problem::new(other.pos, "`else` belongs to `do`")
                    .advice("- do: [...]\n  when: ...\n  else: [...]"));
            }
            name => {
                return Err(Problem::unknown(
                    other.pos,
                    "key",
                    name,
                    &[&["when"], &names[..]].concat(),
                )
                .advice(format!(
                    "only {} can stand beside `{}`",
                    extras.join(" and "),
                    key.text
                )));
            }
        }
    }
    if let (Some(branch), None) = (otherwise, &when) {
        return Err(Problem::new(branch.pos, "`else` needs a `when`"));
    }
    let made = Maker {
        key,
        value,
        scope,
        problems,
    }
    .actions(otherwise)?;
    let mut out: Vec<Rule> = made
        .into_iter()
        .map(|(pos, label, action)| Rule {
            pos,
            label,
            when: None,
            action,
        })
        .collect();
    // One condition over several steps is tested once, so that a step cannot change its outcome for the next.
    match (when, out.len()) {
        (None, _) | (_, 0) => Ok(out),
        (Some(when), 1) => {
            let mut only = out.remove(0);
            only.when = Some(when);
            Ok(vec![only])
        }
        (Some(when), _) => Ok(vec![Rule {
            pos: key.pos,
            label: key.text.clone(),
            when: Some(when),
            action: Action::Group {
                rules: out,
                otherwise: Vec::new(),
            },
        }]),
    }
}

type Made = (Pos, String, Action);

struct Maker<'m, 's, 't> {
    key: &'m Key,
    value: &'m Yaml,
    scope: &'s mut Scope<'t>,
    problems: &'s mut Vec<Problem>,
}

impl Maker<'_, '_, '_> {
    #[allow(clippy::unnecessary_wraps, reason = "what all rules are made by")]
    fn one(&self, action: Action) -> Compiled<Vec<Made>> {
        Ok(vec![(self.key.pos, self.key.text.clone(), action)])
    }

    fn actions(mut self, otherwise: Option<&Yaml>) -> Compiled<Vec<Made>> {
        match self.key.text.as_str() {
            "set" => self
                .pairs(|target, value, scope| Ok(Action::Set(target, parse::value(value, scope)?))),
            "default" => self.pairs(|target, value, scope| {
                unwild(&target, value.pos, "default")?;
                Ok(Action::Default(target, parse::value(value, scope)?))
            }),
            "change" => self.pairs(|target, value, scope| {
                Ok(Action::Change(
                    target,
                    parse::calls(value.text("`change`")?, value.pos, scope)?,
                ))
            }),
            "copy" => self.pairs(|from, value, scope| both(from, value, scope, Action::Copy)),
            "move" => self.pairs(|from, value, scope| both(from, value, scope, Action::Move)),
            "rename" => self.pairs(rename),
            "remove" => self.remove(),
            "keep" => self.keep(),
            "let" => self.variables(),
            "lookup" => self.lookup(),
            "put" | "forget" => self.put(),
            "merge" => self.merge(),
            "for-each" => self.for_each(),
            "do" => {
                let rules = rules(self.value, self.scope, self.problems);
                let otherwise = otherwise.map_or_else(Vec::new, |yaml| {
                    self::rules(yaml, self.scope, self.problems)
                });
                self.one(Action::Group { rules, otherwise })
            }
            "emit" => self.emit(),
            "explode" => self.explode(),
            "key" => self.expression(Action::Key),
            "route" => self.expression(Action::Route),
            "drop" => self.reason(Action::Drop),
            "raise" => self.reason(Action::Raise),
            "done" => match self.value.data {
                Data::Bool(true) => self.one(Action::Done),
                _ => Err(Problem::new(
                    self.value.pos,
                    "write `- done` or `done: true`",
                )),
            },
            "jq" => {
                let jq = parse::jq(self.value, self.scope)?;
                self.one(Action::Jq(jq))
            }
            // A note is a comment that `map test` and editors keep.
            _ => self.value.text("`note`").map(|_| Vec::new()),
        }
    }

    fn expression(self, make: fn(Expr) -> Action) -> Compiled<Vec<Made>> {
        let expr = parse::value(self.value, self.scope)?;
        self.one(make(expr))
    }

    /// A text for a person, with fields in it.
    fn reason(self, make: fn(Expr) -> Action) -> Compiled<Vec<Made>> {
        let text = self.value.text(&format!("`{}`", self.key.text));
        let text = text.map_err(|problem| problem.advice("say why, for the summary of the run"))?;
        let expr = parse::text(text, self.value.pos, self.scope)?;
        self.one(make(expr))
    }

    /// `{ field: something }`: one step each, in order.
    fn pairs(
        &mut self,
        make: impl Fn(Path, &Yaml, &mut Scope<'_>) -> Compiled<Action>,
    ) -> Compiled<Vec<Made>> {
        let mut out = Vec::new();
        for (key, value) in self.value.map(&format!("`{}`", self.key.text))? {
            let made = parse::path(&key.text, key.pos, self.scope)
                .and_then(|path| make(path, value, self.scope));
            match made {
                Ok(action) => {
                    out.push((key.pos, format!("{} {}", self.key.text, key.text), action));
                }
                Err(problem) => self.problems.push(problem),
            }
        }
        Ok(out)
    }

    fn remove(self) -> Compiled<Vec<Made>> {
        let texts: Vec<&Yaml> = match &self.value.data {
            Data::List(items) => items.iter().collect(),
            _ => vec![self.value],
        };
        let mut out = Vec::new();
        for yaml in texts {
            let text = yaml.text("what to remove")?;
            let path = parse::path(text, yaml.pos, self.scope)?;
            no_append(&path, yaml.pos)?;
            out.push((yaml.pos, format!("remove {text}"), Action::Remove(path)));
        }
        Ok(out)
    }

    fn keep(self) -> Compiled<Vec<Made>> {
        let mut fields = Vec::new();
        for yaml in self.value.list("`keep`")? {
            let text = yaml.text("a field to keep")?;
            let path = parse::path(text, yaml.pos, self.scope)?;
            let field = path.top_field().ok_or_else(|| {
                Problem::new(
                    yaml.pos,
                    format!("`keep` is for the fields of the record, `{text}` is deeper"),
                )
                .advice("keep the field it is in, and `remove` what is too much in there")
            })?;
            fields.push(field.to_owned());
        }
        self.one(Action::Keep(fields))
    }

    fn variables(self) -> Compiled<Vec<Made>> {
        let mut out = Vec::new();
        for (key, value) in self.value.map("`let`")? {
            match parse::value(value, self.scope) {
                Ok(expr) => {
                    let slot = self.scope.define(&key.text, key.pos)?;
                    out.push((
                        key.pos,
                        format!("let {}", key.text),
                        Action::Let(slot, expr),
                    ));
                }
                Err(problem) => {
                    // Known from here on all the same, so that one mistake is not reported as many.
                    self.scope.define(&key.text, key.pos)?;
                    self.problems.push(problem);
                }
            }
        }
        self.problems.dedup();
        Ok(out)
    }

    /// The fields of a rule that takes named parts, each known.
    fn parts<'y>(
        &self,
        yaml: &'y Yaml,
        known: &[&str],
        needed: &[&str],
    ) -> Compiled<impl Fn(&str) -> Option<&'y Yaml> + use<'y>> {
        let entries = yaml.map(&format!("`{}`", self.key.text))?;
        for (key, _) in entries {
            if !known.contains(&key.text.as_str()) {
                return Err(Problem::unknown(
                    key.pos,
                    &format!("part of `{}`:", self.key.text),
                    &key.text,
                    known,
                ));
            }
        }
        for name in needed {
            if !entries.iter().any(|(key, _)| key.text == *name) {
                return Err(
                    Problem::new(yaml.pos, format!("`{}` needs `{name}`", self.key.text))
                        .advice(format!("its parts are {}", known.join(", "))),
                );
            }
        }
        Ok(move |name: &str| {
            entries
                .iter()
                .find(|(key, _)| key.text == name)
                .map(|(_, value)| value)
        })
    }

    fn lookup(self) -> Compiled<Vec<Made>> {
        let part = self.parts(
            self.value,
            &["table", "key", "into", "missing", "default"],
            &["table", "key", "into"],
        )?;
        let (Some(table), Some(key), Some(into)) = (part("table"), part("key"), part("into"))
        else {
            return Ok(Vec::new());
        };
        let table_name = table.text("`table`")?;
        let index = self.scope.read_table(table_name, table.pos)?;
        let into_path = parse::path(into.text("`into`")?, into.pos, self.scope)?;
        unwild(&into_path, into.pos, "lookup")?;
        let missing = match (part("missing"), part("default")) {
            (Some(_), Some(default)) => {
                return Err(Problem::new(
                    default.pos,
                    "`default` and `missing` say two things about the same case",
                ));
            }
            (None, Some(default)) => Missing::Use(parse::value(default, self.scope)?),
            (None, None) => Missing::Raise,
            (Some(word), None) => match word.text("`missing`")? {
                "raise" => Missing::Raise,
                "skip" => Missing::Skip,
                "drop" => Missing::Drop,
                other => {
                    return Err(Problem::unknown(
                        word.pos,
                        "word",
                        other,
                        &["raise", "skip", "drop"],
                    ));
                }
            },
        };
        let key = parse::value(key, self.scope)?;
        let label = format!("lookup {table_name}");
        Ok(vec![(
            self.key.pos,
            label,
            Action::Lookup(Lookup {
                table: index,
                key,
                into: into_path,
                missing,
            }),
        )])
    }

    fn put(self) -> Compiled<Vec<Made>> {
        let forget = self.key.text == "forget";
        let known: &[&str] = if forget {
            &["table", "key"]
        } else {
            &["table", "key", "value"]
        };
        let part = self.parts(self.value, known, known)?;
        let (Some(table), Some(key)) = (part("table"), part("key")) else {
            return Ok(Vec::new());
        };
        let name = table.text("`table`")?;
        let index = self.scope.table(name, table.pos)?;
        if !matches!(
            self.scope.tables.get(index).map(|table| &table.content),
            Some(Content::Host(_))
        ) {
            return Err(Problem::new(
                table.pos,
                format!("`{name}` stands in this mapping and cannot be written"),
            )
            .advice(format!(
                "make it a table of the host: `tables: {{ {name}: {{}} }}`"
            )));
        }
        self.scope.writes = true;
        let key = parse::value(key, self.scope)?;
        let action = match part("value") {
            Some(value) => Action::Put {
                table: index,
                key,
                value: parse::value(value, self.scope)?,
            },
            None => Action::Forget { table: index, key },
        };
        Ok(vec![(
            self.key.pos,
            format!("{} {name}", self.key.text),
            action,
        )])
    }

    fn merge(self) -> Compiled<Vec<Made>> {
        let part = self.parts(self.value, &["from", "into", "conflict"], &["from"])?;
        let Some(from) = part("from") else {
            return Ok(Vec::new());
        };
        let from = parse::value(from, self.scope)?;
        let into = match part("into") {
            Some(yaml) => {
                let path = parse::path(yaml.text("`into`")?, yaml.pos, self.scope)?;
                unwild(&path, yaml.pos, "merge")?;
                path
            }
            None => Path {
                text: "$".into(),
                root: Root::Record,
                steps: Vec::new(),
            },
        };
        let replace = match part("conflict")
            .map(|yaml| Ok((yaml.text("`conflict`")?, yaml.pos)))
            .transpose()?
        {
            None | Some(("keep", _)) => false,
            Some(("replace", _)) => true,
            Some((other, pos)) => {
                return Err(Problem::unknown(pos, "word", other, &["keep", "replace"]));
            }
        };
        let label = format!("merge into {}", into.text);
        Ok(vec![(
            self.key.pos,
            label,
            Action::Merge {
                from,
                into,
                replace,
            },
        )])
    }

    fn for_each(self) -> Compiled<Vec<Made>> {
        let part = self.parts(self.value, &["in", "as", "key", "do"], &["in", "as", "do"])?;
        let (Some(source), Some(body)) = (part("in"), part("do")) else {
            return Ok(Vec::new());
        };
        let items = place_or_value(source, self.scope)?;
        let mark = self.scope.enter();
        let item = part("as").map_or(Ok(0), |name| {
            self.scope.define(name.text("`as`")?, name.pos)
        })?;
        let key = part("key")
            .map(|name| self.scope.define(name.text("`key`")?, name.pos))
            .transpose()?;
        let rules = rules(body, self.scope, self.problems);
        self.scope.leave(mark);
        let items = match items {
            Items::Place(path) if !writes(&rules, item) => Items::Value(Expr::Path(path)),
            Items::Value(_) if writes(&rules, item) => {
                let name = part("as")
                    .and_then(|name| name.text("`as`").ok())
                    .unwrap_or_default();
                return Err(Problem::new(
                    source.pos,
                    format!("what is written to `${name}` gets lost: `in` is computed"),
                )
                .advice("put the list into a field or variable first, and go through that"));
            }
            items => items,
        };
        let label = format!("for-each {}", source.text("`in`").unwrap_or("(computed)"));
        Ok(vec![(
            self.key.pos,
            label,
            Action::ForEach(ForEach {
                items,
                item,
                key,
                rules,
            }),
        )])
    }

    fn emit(self) -> Compiled<Vec<Made>> {
        let part = self.parts(self.value, &["stream", "key", "record"], &["stream"])?;
        let mut value = |name: &str| {
            part(name)
                .map(|yaml| parse::value(yaml, self.scope))
                .transpose()
        };
        let emit = Emit {
            stream: value("stream")?,
            key: value("key")?,
            record: value("record")?,
        };
        let label = match &emit.stream {
            Some(Expr::Text(name)) => format!("emit {name}"),
            _ => "emit".to_owned(),
        };
        Ok(vec![(self.key.pos, label, Action::Emit(emit))])
    }

    fn explode(self) -> Compiled<Vec<Made>> {
        let part = self.parts(
            self.value,
            &["in", "as", "index", "stream", "key", "record", "do"],
            &["in", "as"],
        )?;
        let Some(source) = part("in") else {
            return Ok(Vec::new());
        };
        let items = match place_or_value(source, self.scope)? {
            Items::Place(path) => Items::Value(Expr::Path(path)),
            items @ Items::Value(_) => items,
        };
        let mark = self.scope.enter();
        let item = part("as").map_or(Ok(0), |name| {
            self.scope.define(name.text("`as`")?, name.pos)
        })?;
        let key = part("index")
            .map(|name| self.scope.define(name.text("`index`")?, name.pos))
            .transpose()?;
        let rules = part("do").map_or_else(Vec::new, |body| rules(body, self.scope, self.problems));
        let mut value = |name: &str| {
            part(name)
                .map(|yaml| parse::value(yaml, self.scope))
                .transpose()
        };
        let emit = Emit {
            stream: value("stream")?,
            key: value("key")?,
            record: value("record")?,
        };
        self.scope.leave(mark);
        let each = ForEach {
            items,
            item,
            key,
            rules,
        };
        let label = format!("explode {}", source.text("`in`").unwrap_or("(computed)"));
        Ok(vec![(self.key.pos, label, Action::Explode(each, emit))])
    }
}

/// A field to go through, or a value that starts with `$` and has functions, or a list.
fn place_or_value(yaml: &Yaml, scope: &mut Scope<'_>) -> Compiled<Items> {
    if let (Data::Text(text, _), None) = (&yaml.data, &yaml.tag)
        && !text.contains('|')
        && !text.contains('{')
    {
        let path = parse::path(text, yaml.pos, scope)?;
        no_append(&path, yaml.pos)?;
        return Ok(if path.is_wild() {
            Items::Value(Expr::Path(path))
        } else {
            Items::Place(path)
        });
    }
    if let (Data::Text(text, _), None) = (&yaml.data, &yaml.tag) {
        return parse::subject(text, yaml.pos, scope).map(Items::Value);
    }
    parse::value(yaml, scope).map(Items::Value)
}

fn rename(from: Path, value: &Yaml, scope: &mut Scope<'_>) -> Compiled<Action> {
    let name = value.text("the new name")?;
    if !matches!(from.steps.last(), Some(Step::Field(_) | Step::Computed(_))) {
        return Err(Problem::new(value.pos, "only a field can be renamed"));
    }
    if name.contains('.') && !name.contains('{') {
        let last = name.rsplit('.').next().unwrap_or_default();
        return Err(Problem::new(
            value.pos,
            format!("`rename` takes the new name only, found the path `{name}`"),
        )
        .advice(format!("write `{last}`, or use `move` to put it elsewhere")));
    }
    Ok(Action::Rename(
        from,
        parse::template(name, value.pos, scope)?,
    ))
}

fn both(
    from: Path,
    value: &Yaml,
    scope: &mut Scope<'_>,
    make: fn(Path, Path) -> Action,
) -> Compiled<Action> {
    let into = parse::path(value.text("where to put it")?, value.pos, scope)?;
    unwild(&into, value.pos, "the target")?;
    unwild(&from, value.pos, "the source")
        .map_err(|problem| problem.advice("use `rename` with `*`, or `for-each`"))?;
    no_append(&from, value.pos)?;
    Ok(make(from, into))
}

fn unwild(path: &Path, pos: Pos, what: &str) -> Compiled<()> {
    if path.is_wild() {
        return Err(Problem::new(
            pos,
            format!("{what} has to be one place, `{}` is many", path.text),
        ));
    }
    Ok(())
}

fn no_append(path: &Path, pos: Pos) -> Compiled<()> {
    if path.steps.iter().any(|step| matches!(step, Step::Append)) {
        return Err(Problem::new(
            pos,
            "`[+]` is a place to write to, not to read from",
        ));
    }
    Ok(())
}

/// Whether these rules write to a variable.
fn writes(rules: &[Rule], slot: usize) -> bool {
    let hits = |path: &Path| path.root == Root::Variable(slot);
    rules.iter().any(|rule| match &rule.action {
        Action::Set(path, _)
        | Action::Default(path, _)
        | Action::Change(path, _)
        | Action::Rename(path, _)
        | Action::Remove(path)
        | Action::Copy(_, path)
        | Action::Merge { into: path, .. } => hits(path),
        Action::Move(from, into) => hits(from) || hits(into),
        Action::Lookup(lookup) => hits(&lookup.into),
        Action::Group { rules, otherwise } => writes(rules, slot) || writes(otherwise, slot),
        Action::ForEach(each) => {
            let inner = match &each.items {
                Items::Place(path) => hits(path) && writes(&each.rules, each.item),
                Items::Value(_) => false,
            };
            inner || writes(&each.rules, slot)
        }
        Action::Explode(each, _) => writes(&each.rules, slot),
        _ => false,
    })
}

/// Whether these rules only touch the top level of the record, so that no tree is needed.
pub(crate) fn lazy(rules: &[Rule]) -> bool {
    let top = |path: &Path| path.root != Root::Record || path.top_field().is_some();
    rules.iter().all(|rule| match &rule.action {
        Action::Set(path, _)
        | Action::Default(path, _)
        | Action::Change(path, _)
        | Action::Rename(path, _)
        | Action::Remove(path)
        | Action::Merge { into: path, .. } => top(path),
        Action::Copy(_, into) => top(into),
        Action::Move(from, into) => top(from) && top(into),
        Action::Lookup(lookup) => top(&lookup.into),
        Action::Group { rules, otherwise } => lazy(rules) && lazy(otherwise),
        Action::ForEach(each) => {
            matches!(&each.items, Items::Place(path) if top(path))
                | matches!(each.items, Items::Value(_))
                && lazy(&each.rules)
        }
        Action::Explode(each, _) => lazy(&each.rules),
        Action::Jq(_) => false,
        _ => true,
    })
}

/// Checks the name of a config variable.
pub(crate) fn check_global(name: &str) -> Compiled<()> {
    scope::check_name(name, Pos::default())
}
