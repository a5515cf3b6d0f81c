//! Reads conditions: `when: { type: simple, sku: { is: present } }`.

use crate::diagnose::{Compiled, Pos, Problem};
use crate::function;
use crate::parse;
use crate::scope::Scope;
use crate::syntax::{Compare, Condition, Expr, State, Test};
use crate::yaml::{Data, Key, Yaml};

const STATES: [(&str, State); 9] = [
    ("present", State::Present),
    ("missing", State::Missing),
    ("empty", State::Empty),
    ("filled", State::Filled),
    ("text", State::Text),
    ("number", State::Number),
    ("boolean", State::Boolean),
    ("list", State::List),
    ("object", State::Object),
];

const TESTS: [&str; 10] = [
    "is", "equals", "not", "in", "matches", "contains", "above", "below", "at-least", "at-most",
];

/// Reads what stands behind `when`: fields and what must be true of them, all of them.
pub(crate) fn condition(yaml: &Yaml, scope: &mut Scope<'_>) -> Compiled<Condition> {
    if yaml.tag.as_deref() == Some("jq") {
        return parse::jq(yaml, scope).map(Condition::Jq);
    }
    let entries = yaml.map("a condition").map_err(|problem| {
        problem.advice("name a field and what it must be: `{ status: draft }`; a jq program is `{ jq: '...' }`")
    })?;
    if entries.is_empty() {
        return Err(Problem::new(yaml.pos, "this condition is empty")
            .advice("say what must hold: `when: { type: simple }`"));
    }
    let mut all = entries
        .iter()
        .map(|(key, value)| entry(key, value, scope))
        .collect::<Compiled<Vec<_>>>()?;
    Ok(if all.len() == 1 {
        all.remove(0)
    } else {
        Condition::All(all)
    })
}

fn entry(key: &Key, value: &Yaml, scope: &mut Scope<'_>) -> Compiled<Condition> {
    let many = |what: &str, scope: &mut Scope<'_>| {
        let items = value.list(&format!("`{what}`"))?;
        if items.is_empty() {
            return Err(Problem::new(
                value.pos,
                format!("`{what}` needs at least one condition"),
            ));
        }
        items
            .iter()
            .map(|item| condition(item, scope))
            .collect::<Compiled<Vec<_>>>()
    };
    Ok(match key.text.as_str() {
        "all" => Condition::All(many("all", scope)?),
        "any" => Condition::Any(many("any", scope)?),
        "not" => Condition::Not(Box::new(condition(value, scope)?)),
        "jq" => Condition::Jq(parse::jq(value, scope)?),
        subject => {
            let subject = parse::subject(subject, key.pos, scope)
                .map_err(|problem| misplaced(key, problem))?;
            Condition::Holds(subject, test(value, scope)?)
        }
    })
}

/// A test where a field should be is the likely mistake behind `when: { exists: sku }`.
fn misplaced(key: &Key, problem: Problem) -> Problem {
    if TESTS.contains(&key.text.as_str()) {
        problem.advice(format!(
            "a condition starts with the field: `{{ FIELD: {{ {}: ... }} }}`",
            key.text
        ))
    } else {
        problem
    }
}

fn test(yaml: &Yaml, scope: &mut Scope<'_>) -> Compiled<Test> {
    if yaml.tag.is_some() {
        return Ok(Test::Equals(parse::value(yaml, scope)?));
    }
    match &yaml.data {
        Data::List(items) => Ok(Test::In(values(items, yaml.pos, scope)?)),
        Data::Map(entries) => {
            let mut all = Vec::new();
            for (key, value) in entries {
                all.push(named(key, value, scope)?);
            }
            match all.len() {
                0 => Err(Problem::new(yaml.pos, "this test is empty")
                    .advice("to compare with an object use `equals: {}`")),
                1 => Ok(all.remove(0)),
                _ => Ok(Test::All(all)),
            }
        }
        _ => Ok(Test::Equals(parse::value(yaml, scope)?)),
    }
}

fn values(items: &[Yaml], pos: Pos, scope: &mut Scope<'_>) -> Compiled<Vec<Expr>> {
    if items.is_empty() {
        return Err(Problem::new(
            pos,
            "no value is in an empty list, so this never holds",
        ));
    }
    items.iter().map(|item| parse::value(item, scope)).collect()
}

fn named(key: &Key, value: &Yaml, scope: &mut Scope<'_>) -> Compiled<Test> {
    Ok(match key.text.as_str() {
        "is" => {
            let word = value.text("`is`")?;
            let known: Vec<&str> = STATES.iter().map(|(name, _)| *name).collect();
            let found = STATES.iter().find(|(name, _)| *name == word);
            Test::Is(
                found
                    .ok_or_else(|| Problem::unknown(value.pos, "state", word, &known))?
                    .1,
            )
        }
        "equals" => Test::Equals(parse::value(value, scope)?),
        "not" => Test::Not(Box::new(test(value, scope)?)),
        "in" => match &value.data {
            Data::List(items) if value.tag.is_none() => Test::In(values(items, value.pos, scope)?),
            _ => Test::In(vec![parse::value(value, scope)?]),
        },
        "matches" => Test::Matches(Box::new(function::pattern(
            value.text("`matches`")?,
            value.pos,
        )?)),
        "contains" => Test::Contains(parse::value(value, scope)?),
        "above" => Test::Compare(Compare::Above, parse::value(value, scope)?),
        "below" => Test::Compare(Compare::Below, parse::value(value, scope)?),
        "at-least" => Test::Compare(Compare::AtLeast, parse::value(value, scope)?),
        "at-most" => Test::Compare(Compare::AtMost, parse::value(value, scope)?),
        other => {
            let problem = Problem::unknown(key.pos, "test", other, &TESTS);
            return Err(if problem.advice.starts_with("did") {
                problem
            } else {
                problem.advice(format!(
                    "a field inside a field is one path: `{{ FIELD.{other}: ... }}`; tests are {}",
                    TESTS.join(", ")
                ))
            });
        }
    })
}
