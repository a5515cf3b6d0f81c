//! Rules that read and write tables.

use crate::eval::text_of;
use crate::run::{Halt, Stop, Worker};
use crate::syntax::{Expr, Lookup, Missing};
use crate::table::Put;

impl<'a> Worker<'a, '_> {
    #[inline(never)]
    pub(super) fn lookup(&mut self, lookup: &'a Lookup) -> Result<(), Halt<'a>> {
        let key = match self.run.eval(&lookup.key)? {
            Some(node) if !node.is_empty().map_err(|error| error.to_string())? => node,
            _ => return Ok(()),
        };
        match self.run.lookup(lookup.table, &key)? {
            Some(node) => self.put_at(&lookup.into, node)?,
            None => match &lookup.missing {
                Missing::Skip => {}
                Missing::Use(expr) => self.set(&lookup.into, expr)?,
                missing => {
                    let table = self
                        .run
                        .mapping
                        .tables
                        .get(lookup.table)
                        .map_or("", |table| &table.alias);
                    let key = text_of(&key, self.run.bump).unwrap_or_default();
                    let message = format!("table `{table}` has no entry `{key}`");
                    if matches!(missing, Missing::Drop) {
                        return Err(Halt::Stop(Stop::Drop(
                            self.run
                                .bump
                                .alloc_str(&format!("no entry in table `{table}`")),
                        )));
                    }
                    return Err(message.into());
                }
            },
        }
        Ok(())
    }

    #[inline(never)]
    pub(super) fn put(
        &mut self,
        table: usize,
        key: &'a Expr,
        value: &'a Expr,
    ) -> Result<(), String> {
        match self.run.eval(value)? {
            Some(value) => {
                let value = self.run.tables.value(&value)?;
                self.write_table(table, key, Some(value))
            }
            None => Ok(()),
        }
    }

    #[inline(never)]
    pub(super) fn write_table(
        &mut self,
        table: usize,
        key: &'a Expr,
        value: Option<&'a str>,
    ) -> Result<(), String> {
        let key = self
            .run
            .eval_text(key, &"the key")?
            .ok_or_else(|| "the key has no value".to_owned())?;
        let key = self.run.tables.key(table, key)?;
        self.run.puts.push(Put { table, key, value });
        Ok(())
    }
}
