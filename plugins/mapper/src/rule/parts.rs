//! Rules with named parts: each part is known, and those that are needed are there. Rules within them are read as all others.

use super::field::{no_append, unwild};
use super::{Made, Maker, rules};
use crate::diagnose::{Compiled, Problem};
use crate::effect::writes;
use crate::parse;
use crate::scope::Scope;
use crate::syntax::{Action, Content, Emit, Expr, ForEach, Items, Lookup, Missing, Path, Root};
use crate::yaml::{Data, Yaml};

impl Maker<'_, '_, '_> {
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

    pub(super) fn lookup(self) -> Compiled<Vec<Made>> {
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
        let index = self.scope.table(table_name, table.pos)?;
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

    pub(super) fn put(self) -> Compiled<Vec<Made>> {
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

    pub(super) fn merge(self) -> Compiled<Vec<Made>> {
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
            None => Path::new("$".into(), Root::Record, Vec::new()),
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

    pub(super) fn for_each(self) -> Compiled<Vec<Made>> {
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

    pub(super) fn emit(self) -> Compiled<Vec<Made>> {
        let part = self.parts(self.value, &["stream", "key", "record"], &["stream"])?;
        let emit = emit_of(&part, self.scope)?;
        let label = match &emit.stream {
            Some(Expr::Text(name)) => format!("emit {name}"),
            _ => "emit".to_owned(),
        };
        Ok(vec![(self.key.pos, label, Action::Emit(emit))])
    }

    pub(super) fn explode(self) -> Compiled<Vec<Made>> {
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
        let emit = emit_of(&part, self.scope)?;
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

/// What `stream`, `key` and `record` say of a record that is given out.
fn emit_of<'y>(part: impl Fn(&str) -> Option<&'y Yaml>, scope: &mut Scope<'_>) -> Compiled<Emit> {
    let mut value = |name: &str| part(name).map(|yaml| parse::value(yaml, scope)).transpose();
    Ok(Emit {
        stream: value("stream")?,
        key: value("key")?,
        record: value("record")?,
    })
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
