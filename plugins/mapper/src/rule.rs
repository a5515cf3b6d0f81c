//! Reads rules.

mod field;
mod parts;

use self::field::{both, rename, unwild};
use crate::condition::condition;
use crate::diagnose::{Compiled, Pos, Problem};
use crate::effect::ends;
use crate::parse;
use crate::scope::{self, Scope};
use crate::syntax::{Action, Condition, Expr, Rule};
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
        match rule(item, scope, problems) {
            Ok(rules) => out.extend(rules),
            Err(problem) => problems.push(problem),
        }
        ended = out
            .last()
            .filter(|rule| ends(rule))
            .map(|rule| (rule.pos.line, rule.label.clone()));
    }
    scope.leave(mark);
    out
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
    let (key, value, extras) = main(yaml, entries, &names)?;
    let Beside { when, otherwise } = beside(entries, key, extras, &names, scope)?;
    let made = Maker {
        key,
        value,
        scope,
        problems,
    }
    .actions(otherwise)?;
    let out: Vec<Rule> = made
        .into_iter()
        .map(|(pos, label, action)| Rule {
            pos,
            label,
            when: None,
            action,
        })
        .collect();
    Ok(match when {
        Some(when) => guarded(when, key, out),
        None => out,
    })
}

/// What a rule does: its key, the value there, and what may stand beside it.
fn main<'y>(
    yaml: &'y Yaml,
    entries: &'y [(Key, Yaml)],
    names: &[&str],
) -> Compiled<(&'y Key, &'y Yaml, &'static [&'static str])> {
    let main = entries.iter().find_map(|(key, value)| {
        let (_, extras) = RULES.iter().find(|(name, _)| *name == key.text)?;
        Some((key, value, *extras))
    });
    main.ok_or_else(|| {
        let beside = ["when", "else"];
        let odd = entries
            .iter()
            .find(|(key, _)| !beside.contains(&key.text.as_str()));
        match odd {
            Some((key, _)) => Problem::unknown(key.pos, "rule", &key.text, names),
            None => Problem::new(yaml.pos, "a rule says what to do")
                .advice(format!("rules are {}", names.join(", "))),
        }
    })
}

/// What stands beside a rule.
struct Beside<'y> {
    when: Option<Condition>,
    otherwise: Option<&'y Yaml>,
}

fn beside<'y>(
    entries: &'y [(Key, Yaml)],
    key: &Key,
    extras: &[&str],
    names: &[&str],
    scope: &mut Scope<'_>,
) -> Compiled<Beside<'y>> {
    let mut when = None;
    let mut otherwise = None;
    for (other, value) in entries {
        match other.text.as_str() {
            _ if other == key => {}
            "when" if extras.contains(&"when") => when = Some(condition(value, scope)?),
            "else" if extras.contains(&"else") => otherwise = Some(value),
            _ => return Err(misplaced(other, key, extras, names)),
        }
    }
    if let (Some(branch), None) = (otherwise, &when) {
        return Err(Problem::new(branch.pos, "`else` needs a `when`"));
    }
    Ok(Beside { when, otherwise })
}

/// Why something cannot stand beside a rule.
fn misplaced(other: &Key, key: &Key, extras: &[&str], names: &[&str]) -> Problem {
    match other.text.as_str() {
        name if names.contains(&name) => Problem::new(
            other.pos,
            format!("`{name}` and `{}` are two rules", key.text),
        )
        .advice(format!("start a new one: `- {name}: ...`")),
        "when" => Problem::new(other.pos, format!("`{}` has no `when`", key.text))
            .advice("define the variable always, and `set` it where the condition holds"),
        "else" => Problem::new(other.pos, "`else` belongs to `do`")
            .advice("- do: [...]\n  when: ...\n  else: [...]"),
        name => {
            Problem::unknown(other.pos, "key", name, &[&["when"], names].concat()).advice(format!(
                "only {} can stand beside `{}`",
                extras.join(" and "),
                key.text
            ))
        }
    }
}

/// One condition over several steps is tested once, so that a step cannot change its outcome for the next.
fn guarded(when: Condition, key: &Key, mut steps: Vec<Rule>) -> Vec<Rule> {
    match steps.as_mut_slice() {
        [] => {}
        [only] => only.when = Some(when),
        _ => {
            steps = vec![Rule {
                pos: key.pos,
                label: key.text.clone(),
                when: Some(when),
                action: Action::Group {
                    rules: steps,
                    otherwise: Vec::new(),
                },
            }];
        }
    }
    steps
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
}

/// Checks the name of a config variable.
pub(crate) fn check_global(name: &str) -> Compiled<()> {
    scope::check_name(name, Pos::default())
}
