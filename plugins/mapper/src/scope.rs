//! Which names a rule may use.

use crate::diagnose::{Compiled, Pos, Problem};
use crate::syntax::Table;

/// Names with a meaning of their own.
const RESERVED: [&str; 2] = ["key", "stream"];

/// The variables that are visible at one place of a mapping, and its tables.
#[derive(Debug)]
pub(crate) struct Scope<'t> {
    names: Vec<(String, usize)>,
    slots: usize,
    pub(crate) tables: &'t [Table],
    /// A rule wrote a host table.
    pub(crate) writes: bool,
}

impl<'t> Scope<'t> {
    pub(crate) fn new(globals: impl IntoIterator<Item = String>, tables: &'t [Table]) -> Self {
        let names: Vec<_> = globals
            .into_iter()
            .enumerate()
            .map(|(slot, name)| (name, slot))
            .collect();
        Self {
            slots: names.len(),
            names,
            tables,
            writes: false,
        }
    }

    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// The variables that are visible, with their slots.
    pub(crate) fn names(&self) -> &[(String, usize)] {
        &self.names
    }

    /// Makes a variable visible until `leave`.
    pub(crate) fn define(&mut self, name: &str, pos: Pos) -> Compiled<usize> {
        check_name(name, pos)?;
        if self.names.iter().any(|(known, _)| known == name) {
            return Err(Problem::new(pos, format!("`${name}` is already defined"))
                .advice("choose another name, or change it with `set: { $NAME: ... }`"));
        }
        self.names.push((name.to_owned(), self.slots));
        self.slots += 1;
        Ok(self.slots - 1)
    }

    /// The mark to `leave` to.
    pub(crate) fn enter(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn leave(&mut self, mark: usize) {
        self.names.truncate(mark);
    }

    pub(crate) fn variable(&self, name: &str, pos: Pos) -> Compiled<usize> {
        if let Some((_, slot)) = self.names.iter().find(|(known, _)| known == name) {
            return Ok(*slot);
        }
        let known: Vec<&str> = self
            .names
            .iter()
            .map(|(name, _)| name.as_str())
            .chain(RESERVED.iter().copied())
            .collect();
        let problem = Problem::unknown(pos, "variable", &format!("${name}"), &[]);
        Err(match crate::diagnose::nearest(name, &known) {
            Some(near) => problem.advice(format!("did you mean `${near}`?")),
            None if name == "now" => problem.advice(
                "the time comes in as a variable of the config, so that a replay gives the same records: `variables: { now: ... }`",
            ),
            None => problem.advice(format!(
                "fields of the record are written `$.{name}`; variables come from the config's `variables`, from `let` or from `as`"
            )),
        })
    }

    /// The table of this name.
    pub(crate) fn table(&self, alias: &str, pos: Pos) -> Compiled<usize> {
        let found = self.tables.iter().position(|table| table.alias == alias);
        let known: Vec<&str> = self
            .tables
            .iter()
            .map(|table| table.alias.as_str())
            .collect();
        let Some(index) = found else {
            let problem = Problem::unknown(pos, "table", alias, &known);
            return Err(if known.is_empty() {
                problem.advice(format!(
                    "declare it at the top: `tables: {{ {alias}: {{}} }}`"
                ))
            } else {
                problem
            });
        };
        Ok(index)
    }
}

/// Whether this can be the name of a variable.
pub(crate) fn check_name(name: &str, pos: Pos) -> Compiled<()> {
    if RESERVED.contains(&name) {
        return Err(Problem::new(
            pos,
            format!("`${name}` has a meaning of its own; choose another name"),
        ));
    }
    let fine = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !fine {
        return Err(
            Problem::new(pos, format!("`{name}` cannot be the name of a variable"))
                .advice("use letters, digits, `-` and `_`, starting with a letter, without `$`"),
        );
    }
    Ok(())
}
