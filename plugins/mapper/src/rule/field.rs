//! Rules of fields: `{ field: something }`, lists of fields, variables.

use super::{Made, Maker};
use crate::diagnose::{Compiled, Pos, Problem};
use crate::parse;
use crate::scope::Scope;
use crate::syntax::{Action, Path, Step};
use crate::yaml::{Data, Yaml};

impl Maker<'_, '_, '_> {
    /// `{ field: something }`: one step each, in order.
    pub(super) fn pairs(
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

    pub(super) fn remove(self) -> Compiled<Vec<Made>> {
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

    pub(super) fn keep(self) -> Compiled<Vec<Made>> {
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

    pub(super) fn variables(self) -> Compiled<Vec<Made>> {
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
}

pub(super) fn rename(from: Path, value: &Yaml, scope: &mut Scope<'_>) -> Compiled<Action> {
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

pub(super) fn both(
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

pub(super) fn unwild(path: &Path, pos: Pos, what: &str) -> Compiled<()> {
    if path.is_wild() {
        return Err(Problem::new(
            pos,
            format!("{what} has to be one place, `{}` is many", path.text),
        ));
    }
    Ok(())
}

pub(super) fn no_append(path: &Path, pos: Pos) -> Compiled<()> {
    if path.steps.iter().any(|step| matches!(step, Step::Append)) {
        return Err(Problem::new(
            pos,
            "`[+]` is a place to write to, not to read from",
        ));
    }
    Ok(())
}
