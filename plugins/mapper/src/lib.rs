//! Maps records by declarative rules: the mapping language of crossdock.
//!
//! The way of a mapping: `yaml` reads its text with all places, `compile` (with `rule`, `condition`, `parse`, `effect`)
//! checks it and makes a `syntax::Mapping`, `batch` runs it over batches, `run` over one record with `eval` for values
//! and `access` for places. `node` is the tree that opens only where a rule looks; `doc` keeps even that away where the
//! rules only touch the top level of a record.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]

mod access;
mod batch;
mod compile;
mod condition;
mod diagnose;
mod doc;
mod effect;
mod eval;
mod function;
mod jq;
mod jq_regex;
mod node;
mod number;
mod parse;
mod rule;
mod run;
mod scan;
mod scope;
mod syntax;
mod table;
#[cfg(test)]
mod tests;
mod yaml;

use crossdock_sdk::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::diagnose::Problem;
use crate::syntax::Mapping;

crossdock_sdk::export! { manifest: "plugin.json", transformer: Mapper }

/// Problems of a mapping that are told at once.
const MAX_PROBLEMS: usize = 20;

/// The config of the mapper.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    mapping: Text,
    #[serde(default)]
    variables: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    tables: BTreeMap<String, String>,
}

/// The text of a mapping, with the name of the file it came from if it came from one.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "expected the YAML text of a mapping, or `{ $file: PATH }`"
)]
enum Text {
    Plain(String),
    File { name: String, text: String },
}

/// The transformer.
#[derive(Debug)]
pub struct Mapper {
    mapping: Mapping,
}

impl Transformer for Mapper {
    type Config = Config;

    fn open(config: Config, _snapshot: Option<&[u8]>) -> Result<Self> {
        let (file, text) = match &config.mapping {
            Text::Plain(text) => ("mapping", text),
            Text::File { name, text } => (name.as_str(), text),
        };
        let source = compile::Source {
            file,
            text,
            variables: &config.variables,
            tables: &config.tables,
        };
        match compile::compile(&source) {
            Ok(mapping) => Ok(Self { mapping }),
            Err(problems) => Err(refusal(file, &problems)),
        }
    }

    fn mode(&self) -> Mode {
        if self.mapping.writes_tables {
            Mode::Stateful
        } else {
            Mode::Stateless
        }
    }

    fn apply(&mut self, batch: &Batch, out: &mut Output<'_>) -> Result<()> {
        batch::apply(&self.mapping, batch, out, &mut Host)
    }
}

/// All problems of a mapping in one fault.
fn refusal(file: &str, problems: &[Problem]) -> Fault {
    let line = |problem: &Problem| match problem.pos.line {
        0 => format!("{file}: {}", problem.message),
        _ => format!("{file}:{problem}"),
    };
    let (first, rest) = match problems {
        [] => {
            return Fault::config(format!("{file}: this mapping cannot be used")).field("/mapping");
        }
        [first, rest @ ..] => (first, rest),
    };
    let mut message = line(first);
    for problem in rest.iter().take(MAX_PROBLEMS - 1) {
        message.push('\n');
        message.push_str(&line(problem));
        if !problem.advice.is_empty() {
            // Writing to a String cannot fail, here and below.
            let _ = write!(message, " ({})", problem.advice);
        }
    }
    if rest.len() >= MAX_PROBLEMS {
        let _ = write!(message, "\nand {} more", rest.len() + 1 - MAX_PROBLEMS);
    }
    Fault::config(message)
        .field("/mapping")
        .advice(first.advice.clone())
}

/// The tables of the host.
struct Host;

impl table::Store for Host {
    fn get(&mut self, table: &str, key: &str) -> Result<Option<Vec<u8>>> {
        Ok(crossdock_sdk::table::Table::new(table).get(key)?)
    }

    fn write(&mut self, table: &str, entries: &[(&str, Option<&str>)]) -> Result<()> {
        // An empty value removes the entry.
        let entries = entries
            .iter()
            .map(|(key, value)| (*key, value.unwrap_or_default()));
        Ok(crossdock_sdk::table::Table::new(table).put_many(entries)?)
    }
}
