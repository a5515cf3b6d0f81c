//! From the text of a mapping to its rules, with everything checked that can be checked before a record comes.

use std::collections::{BTreeMap, HashMap};

use crossdock_sdk::json::write_string;

use crate::diagnose::{Compiled, Problem};
use crate::effect;
use crate::rule;
use crate::scope::Scope;
use crate::syntax::{Content, Deletes, Fixed, Mapping, Program, Table, Unmapped};
use crate::yaml::{self, Data, Key, Yaml};

const PARTS: [&str; 4] = ["streams", "tables", "unmapped", "deletes"];

/// What a mapping is compiled from.
pub(crate) struct Source<'s> {
    /// Its name, for messages.
    pub(crate) file: &'s str,
    pub(crate) text: &'s str,
    /// The config's variables.
    pub(crate) variables: &'s BTreeMap<String, serde_json::Value>,
    /// Real names of tables by their names in the mapping.
    pub(crate) tables: &'s BTreeMap<String, String>,
}

/// Compiles a mapping, or says everything that is wrong with it.
pub(crate) fn compile(source: &Source<'_>) -> Result<Mapping, Vec<Problem>> {
    let root = yaml::parse(source.text).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let mut mapping = Mapping {
        file: source.file.into(),
        streams: HashMap::new(),
        others: None,
        unmapped: Unmapped::Pass,
        deletes: Deletes::Pass,
        tables: Vec::new(),
        globals: Vec::new(),
        writes_tables: false,
    };
    for (name, value) in source.variables {
        if let Err(problem) = rule::check_global(name) {
            problems.push(Problem {
                message: format!("in the config's `variables`: {}", problem.message),
                ..problem
            });
        }
        mapping.globals.push((name.clone(), value.to_string()));
    }
    match root.map("a mapping") {
        Ok(parts) => read_parts(parts, &root, source, &mut mapping, &mut problems),
        Err(problem) => problems.push(problem.advice("it starts with `streams:`")),
    }
    if problems.is_empty() {
        return Ok(mapping);
    }
    problems.sort_by_key(|problem| problem.pos);
    problems.dedup();
    Err(problems)
}

fn read_parts(
    parts: &[(Key, Yaml)],
    root: &Yaml,
    source: &Source<'_>,
    mapping: &mut Mapping,
    problems: &mut Vec<Problem>,
) {
    for (key, _) in parts {
        if !PARTS.contains(&key.text.as_str()) {
            problems.push(Problem::unknown(key.pos, "key", &key.text, &PARTS));
        }
    }
    let part = |name: &str| {
        parts
            .iter()
            .find(|(key, _)| key.text == name)
            .map(|(_, value)| value)
    };
    if let Some(yaml) = part("unmapped") {
        let words = [
            ("pass", Unmapped::Pass),
            ("drop", Unmapped::Drop),
            ("reject", Unmapped::Reject),
        ];
        mapping.unmapped = word(yaml, "`unmapped`", &words, problems).unwrap_or(Unmapped::Pass);
    }
    if let Some(yaml) = part("deletes") {
        let words = [
            ("pass", Deletes::Pass),
            ("drop", Deletes::Drop),
            ("map", Deletes::Map),
        ];
        mapping.deletes = word(yaml, "`deletes`", &words, problems).unwrap_or(Deletes::Pass);
    }
    if let Some(yaml) = part("tables") {
        match tables(yaml, source.tables) {
            Ok(tables) => mapping.tables = tables,
            Err(problem) => problems.push(problem),
        }
    }
    for alias in source.tables.keys() {
        if !mapping.tables.iter().any(|table| table.alias == *alias) {
            let message =
                format!("the config names a table `{alias}` that the mapping does not declare");
            problems.push(
                Problem::new(root.pos, message)
                    .advice("`tables` in the config: NAME IN THE MAPPING: REAL NAME"),
            );
        }
    }
    let Some(streams) = part("streams") else {
        problems.push(
            Problem::new(root.pos, "`streams` is missing")
                .advice("streams:\n  \"*\":\n    - set: { ... }"),
        );
        return;
    };
    read_streams(streams, mapping, problems);
}

fn read_streams(yaml: &Yaml, mapping: &mut Mapping, problems: &mut Vec<Problem>) {
    let streams = match yaml.map("`streams`") {
        Ok(streams) => streams,
        Err(problem) => {
            problems.push(problem.advice("streams:\n  products:\n    - set: { ... }"));
            return;
        }
    };
    if streams.is_empty() {
        problems.push(Problem::new(yaml.pos, "`streams` names no stream"));
    }
    for (key, rules) in streams {
        let mut scope = Scope::new(
            mapping.globals.iter().map(|(name, _)| name.clone()),
            &mapping.tables,
        );
        let rules = rule::rules(rules, &mut scope, problems);
        let (slots, writes) = (scope.slots(), scope.writes);
        let program = Program {
            lazy: effect::lazy(&rules),
            rules,
            slots,
        };
        mapping.writes_tables |= writes;
        if key.text == "*" {
            mapping.others = Some(program);
        } else {
            mapping.streams.insert(key.text.clone(), program);
        }
    }
}

fn word<T: Copy>(
    yaml: &Yaml,
    what: &str,
    words: &[(&str, T)],
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let found = yaml.text(what).and_then(|text| {
        let found = words.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| Problem::unknown(yaml.pos, "word", text, &names))
    });
    found.map_err(|problem| problems.push(problem)).ok()
}

fn tables(yaml: &Yaml, real: &BTreeMap<String, String>) -> Compiled<Vec<Table>> {
    let mut out = Vec::new();
    for (key, value) in yaml
        .map("`tables`")
        .map_err(|problem| problem.advice("tables:\n  NAME: {}"))?
    {
        let options = match &value.data {
            Data::Null => &[],
            _ => value.map(&format!("table `{}`", key.text))?,
        };
        let (mut fold_case, mut entries) = (false, None);
        for (option, value) in options {
            match option.text.as_str() {
                "fold-case" => fold_case = value.bool("`fold-case`")?,
                "entries" => entries = Some(value.map("`entries`")?),
                other => {
                    return Err(Problem::unknown(option.pos, "key", other, &["fold-case", "entries"])
                        .advice("a table takes `fold-case: true` and, when it stands here, `entries: { key: value }`"));
                }
            }
        }
        let content = match entries {
            None => Content::Host(real.get(&key.text).unwrap_or(&key.text).clone()),
            Some(_) if real.contains_key(&key.text) => {
                return Err(Problem::new(
                    key.pos,
                    format!(
                        "`{}` has entries here, so the config cannot name a table for it",
                        key.text
                    ),
                ));
            }
            Some(entries) => Content::Fixed(fixed(entries, fold_case)?),
        };
        out.push(Table {
            alias: key.text.clone(),
            fold_case,
            content,
        });
    }
    Ok(out)
}

fn fixed(entries: &[(Key, Yaml)], fold_case: bool) -> Compiled<Fixed> {
    let mut out = Fixed::default();
    for (key, value) in entries {
        let name = if fold_case {
            key.text.to_lowercase()
        } else {
            key.text.clone()
        };
        let mut json = Vec::new();
        literal(value, &mut json)?;
        let json = String::from_utf8(json).unwrap_or_default();
        if out.insert(name, json).is_some() {
            return Err(Problem::new(
                key.pos,
                format!("`{}` is here twice when case does not count", key.text),
            ));
        }
    }
    Ok(out)
}

/// Writes a value that stands in the mapping as JSON, every text as it is.
fn literal(yaml: &Yaml, out: &mut Vec<u8>) -> Compiled<()> {
    if yaml.tag.as_deref().is_some_and(|tag| tag != "text") {
        return Err(Problem::new(
            yaml.pos,
            "entries of a table are plain values",
        ));
    }
    match &yaml.data {
        Data::Null => out.extend_from_slice(b"null"),
        Data::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Data::Number(text) => out.extend_from_slice(text.as_bytes()),
        Data::Text(text, _) => write_string(text, out),
        Data::List(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                literal(item, out)?;
            }
            out.push(b']');
        }
        Data::Map(entries) => {
            out.push(b'{');
            for (at, (key, value)) in entries.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_string(&key.text, out);
                out.push(b':');
                literal(value, out)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}
