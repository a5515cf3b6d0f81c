//! One record becomes one row (or one for each store).

use std::borrow::Cow;

use crossdock_sdk::bytes::same;
use crossdock_sdk::json::{Kind, Object, Value};
use crossdock_sdk::prelude::*;

use crate::cell::{self, Problem};
use crate::config::Config;
use crate::sheet::{Cell, Sheet};

/// Among the fallback locales: any locale that has a text.
const ANY_LOCALE: &str = "*";

/// Most fields a sheet has.
pub(crate) const FIELDS: usize = 16;

/// A row without the padding of its numbered pairs, which is known when all rows are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Row {
    /// What identifies the row within its file.
    pub(crate) key: String,
    /// What it refers to; for abstracts several keys, separated by commas.
    pub(crate) refers: String,
    /// The cells before the pairs, as CSV.
    pub(crate) fixed: Vec<u8>,
    /// The pairs without locale, as CSV that begins with a comma.
    pub(crate) plain: Vec<u8>,
    /// The pairs of all locales, as CSV that begins with a comma.
    pub(crate) localised: Vec<u8>,
    /// Number of pairs without locale.
    pub(crate) plain_pairs: u32,
    /// Number of localised pairs.
    pub(crate) localised_pairs: u32,
}

/// The fields of a record, by their position in the sheet.
struct Fields<'s, 'v> {
    sheet: &'s Sheet,
    config: &'s Config,
    values: [Option<Value<'v>>; FIELDS],
    /// Stands in for the absent store.
    store: Option<&'s str>,
}

/// What is in a field, when there is something.
fn read<'v, T>(
    value: Option<Value<'v>>,
    how: impl FnOnce(Value<'v>) -> Result<Option<T>, Problem>,
) -> Result<Option<T>, Problem> {
    value.map_or(Ok(None), how)
}

/// Makes the rows of a record. All or none.
pub(crate) fn rows(sheet: &Sheet, config: &Config, record: &Object<'_>) -> Result<Vec<Row>> {
    let mut values = [None; FIELDS];
    for (name, value) in record {
        let slot = sheet
            .position(&name)
            .and_then(|at| values.get_mut(at))
            .ok_or_else(|| unknown(sheet, &name))?;
        *slot = Some(value).filter(|value| !value.is_null());
    }
    let mut fields = Fields {
        sheet,
        config,
        values,
        store: None,
    };
    if sheet.either_sku && fields.is_there("abstract_sku") == fields.is_there("concrete_sku") {
        return Err(Fault::permanent(
            "exactly one of `abstract_sku` and `concrete_sku` must be filled",
        ));
    }
    match sheet.store {
        Some(store) if !fields.is_there(store) && !config.stores.is_empty() => {
            let mut rows = Vec::with_capacity(config.stores.len());
            for name in &config.stores {
                fields.store = Some(name);
                rows.push(fields.row()?);
            }
            Ok(rows)
        }
        _ => Ok(vec![fields.row()?]),
    }
}

fn unknown(sheet: &Sheet, name: &str) -> Fault {
    let known: Vec<&str> = sheet.columns.iter().map(|column| column.name).collect();
    Fault::permanent(format!(
        "`{}` have no field `{name}`; they have {}",
        sheet.stream,
        known.join(", ")
    ))
    .at(format!("/{name}"))
}

impl<'v> Fields<'_, 'v> {
    fn value(&self, name: &str) -> Option<Value<'v>> {
        self.sheet
            .position(name)
            .and_then(|at| self.values.get(at).copied().flatten())
    }

    fn is_there(&self, name: &str) -> bool {
        self.value(name)
            .is_some_and(|value| value.as_str().is_none_or(|text| !text.is_empty()))
    }

    fn row(&self) -> Result<Row> {
        let mut row = Row::default();
        for (at, column) in self.sheet.columns.iter().enumerate() {
            let value = self.values.get(at).copied().flatten();
            let start = row.fixed.len();
            if at > 0 && !matches!(column.cell, Cell::Pairs) {
                row.fixed.push(b',');
            }
            self.cell(column.name, column.cell, value, &mut row)
                .map_err(|problem| Fault::permanent(problem).at(format!("/{}", column.name)))?;
            let written = row.fixed.get(start..).unwrap_or_default();
            // Of a single one the value itself is taken, see below.
            let alone = self.sheet.key.len() == 1 && value.is_some();
            let is_key = |key: &&str| same(key.as_bytes(), column.name.as_bytes());
            if !alone && self.sheet.key.iter().any(is_key) {
                // As CSV text: what matters is only that equal keys are equal.
                row.key.push_str(&String::from_utf8_lossy(written));
            }
        }
        if let Some(refers) = self.sheet.refers {
            row.refers = match self.value(refers) {
                Some(value) if refers == "categories" => {
                    cell::categories(value).map_err(Fault::permanent)?.0
                }
                Some(value) => cell::scalar(value)
                    .map_err(Fault::permanent)?
                    .unwrap_or_default()
                    .into_owned(),
                None => String::new(),
            };
        }
        if self.sheet.key.len() == 1 {
            row.key = match self.sheet.key.first().and_then(|name| self.value(name)) {
                Some(value) => cell::scalar(value)
                    .map_err(Fault::permanent)?
                    .unwrap_or_default()
                    .into_owned(),
                None => row.key,
            };
        }
        Ok(row)
    }

    /// Appends the cells of one field.
    fn cell(
        &self,
        name: &str,
        cell: Cell,
        value: Option<Value<'v>>,
        row: &mut Row,
    ) -> Result<(), Problem> {
        if matches!(cell, Cell::Pairs) {
            return value.map_or(Ok(()), |value| self.pairs(value, row));
        }
        let out = &mut row.fixed;
        match cell {
            Cell::Key => cell::push(out, &self.key_cell(name, value)?),
            Cell::Text(default) => {
                let text = read(value, cell::scalar)?;
                cell::push(out, text.as_deref().unwrap_or_else(|| default(self.config)));
            }
            Cell::Local(required) => self.local(name, value, required, out)?,
            Cell::Url => self.url(value, out)?,
            Cell::Flag(default) => {
                let default = default.map_or("", |flag| if flag { "1" } else { "0" });
                cell::push(out, read(value, cell::flag)?.unwrap_or(default));
            }
            Cell::RootFlag => {
                let has_parent = self.is_there("parent_category_key");
                let default = if has_parent { "0" } else { "1" };
                cell::push(out, read(value, cell::flag)?.unwrap_or(default));
            }
            Cell::LocalFlag => self.local_flag(value, out)?,
            Cell::Whole(default) => {
                let number = read(value, cell::whole)?.or(default);
                cell::push(out, &number.map(|it| it.to_string()).unwrap_or_default());
            }
            Cell::Minor => {
                let amount = read(value, cell::minor)?;
                cell::push(out, &amount.map(|it| it.to_string()).unwrap_or_default());
            }
            Cell::Date => cell::push(out, &read(value, cell::date)?.unwrap_or_default()),
            Cell::List => cell::push(out, &read(value, cell::comma_list)?.unwrap_or_default()),
            Cell::Bundle => cell::push(out, &read(value, cell::bundle)?.unwrap_or_default()),
            Cell::Json => cell::push(out, &value.map(json_text).unwrap_or_default()),
            Cell::Categories => {
                let (keys, orders) = value.map(cell::categories).transpose()?.unwrap_or_default();
                cell::push(out, &keys);
                out.push(b',');
                cell::push(out, &orders);
            }
            Cell::Pairs => {}
        }
        Ok(())
    }

    /// What identifies the row; a store may stand in.
    fn key_cell(&self, name: &str, value: Option<Value<'v>>) -> Result<Cow<'_, str>, Problem> {
        let stands_in = self.sheet.store == Some(name);
        let text = match self.store {
            Some(store) if stands_in => Some(Cow::Borrowed(store)),
            _ => read(value, cell::scalar)?,
        };
        let advice = if stands_in {
            "; the sink's `stores` would stand in"
        } else {
            ""
        };
        text.ok_or_else(|| format!("`{name}` is missing{advice}"))
    }

    /// A text per locale.
    fn local(
        &self,
        name: &str,
        value: Option<Value<'v>>,
        required: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), Problem> {
        let texts = local_texts(value, self.config)?;
        if required && texts.iter().all(Option::is_none) {
            return Err(format!(
                "`{name}` has no text in any of {}; `fallback-locales` may help",
                self.config.locales.join(", ")
            ));
        }
        for (at, text) in texts.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            cell::push(out, text.as_deref().unwrap_or_default());
        }
        Ok(())
    }

    /// A URL per locale. There is no fallback to the one of another locale, since a URL may occur only once.
    fn url(&self, value: Option<Value<'v>>, out: &mut Vec<u8>) -> Result<(), Problem> {
        let names = local_texts(self.value("name"), self.config)?;
        let sku = self
            .value("abstract_sku")
            .map(cell::scalar)
            .transpose()?
            .flatten()
            .unwrap_or_default();
        for (at, (locale, name)) in self.config.locales.iter().zip(names).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let given = match value {
                Some(value) if value.kind() == Kind::Object => {
                    value.get(locale).map(cell::scalar).transpose()?.flatten()
                }
                Some(value) if is_empty_list(value) => None,
                Some(value) => {
                    return Err(format!(
                        "expected one URL per locale, found {}",
                        cell::name(value.kind())
                    ));
                }
                None => None,
            };
            let Some(url) = given else {
                cell::push(out, &made_url(locale, name.as_deref(), &sku));
                continue;
            };
            cell::push(out, &url);
        }
        Ok(())
    }

    fn local_flag(&self, value: Option<Value<'v>>, out: &mut Vec<u8>) -> Result<(), Problem> {
        for (at, locale) in self.config.locales.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            let flag = match value {
                Some(value) if value.kind() == Kind::Object => {
                    value.get(locale).map(cell::flag).transpose()?.flatten()
                }
                Some(value) => cell::flag(value)?,
                None => None,
            };
            out.extend_from_slice(flag.unwrap_or("1").as_bytes());
        }
        Ok(())
    }

    /// Numbered pairs: attributes whose value is an object of locales are localised, all others are not.
    fn pairs(&self, value: Value<'v>, row: &mut Row) -> Result<(), Problem> {
        if is_empty_list(value) {
            return Ok(());
        }
        let attributes = value
            .object()
            .ok_or_else(|| format!("expected an object, found {}", cell::name(value.kind())))?;
        for (key, value) in &attributes {
            let in_attribute = |problem: Problem| format!("`{key}`: {problem}");
            if key.is_empty() {
                return Err("an attribute without a key".to_owned());
            }
            if value.kind() == Kind::Object {
                let texts = local_texts(Some(value), self.config).map_err(in_attribute)?;
                if texts.iter().all(Option::is_none) {
                    continue;
                }
                row.localised_pairs += 1;
                for text in texts {
                    push_pair(
                        &mut row.localised,
                        text.as_deref().map(|text| (&*key, text)),
                    );
                }
            } else if let Some(text) =
                cell::joined(value, &self.config.list_separator).map_err(in_attribute)?
            {
                row.plain_pairs += 1;
                push_pair(&mut row.plain, Some((&*key, &*text)));
            }
        }
        Ok(())
    }
}

/// `/en/name-sku`.
fn made_url(locale: &str, name: Option<&str>, sku: &str) -> String {
    let language = locale
        .split(['_', '-'])
        .next()
        .unwrap_or(locale)
        .to_lowercase();
    let (name, sku) = (name.map(cell::slug).unwrap_or_default(), cell::slug(sku));
    let joint = if name.is_empty() || sku.is_empty() {
        ""
    } else {
        "-"
    };
    format!("/{language}/{name}{joint}{sku}")
}

fn push_pair(out: &mut Vec<u8>, pair: Option<(&str, &str)>) {
    let (key, text) = pair.unwrap_or_default();
    out.push(b',');
    cell::push(out, key);
    out.push(b',');
    cell::push(out, text);
}

/// PHP writes an empty object as an empty list.
fn is_empty_list(value: Value<'_>) -> bool {
    value.kind() == Kind::Array && value.items().next().is_none()
}

fn json_text(value: Value<'_>) -> String {
    match value.as_str() {
        Some(text) => text.into_owned(),
        None => String::from_utf8_lossy(value.raw()).into_owned(),
    }
}

/// The first text there is, whatever its locale.
fn any_text<'v>(value: Value<'_>, config: &Config) -> Result<Option<Cow<'v, str>>, Problem> {
    for (locale, value) in value.object().iter().flatten() {
        let text = cell::joined(value, &config.list_separator);
        if let Some(text) = text.map_err(|problem| format!("{locale}: {problem}"))? {
            return Ok(Some(Cow::Owned(text.into_owned())));
        }
    }
    Ok(None)
}

/// The text of each configured locale: its own, else the one of the first fallback locale that has one. A plain text
/// is that of every locale.
pub(crate) fn local_texts<'v>(
    value: Option<Value<'v>>,
    config: &Config,
) -> Result<Vec<Option<Cow<'v, str>>>, Problem> {
    let none = || vec![None; config.locales.len()];
    let Some(value) = value else {
        return Ok(none());
    };
    if is_empty_list(value) {
        return Ok(none());
    }
    if value.kind() != Kind::Object {
        let text = cell::joined(value, &config.list_separator)?;
        return Ok(vec![text; config.locales.len()]);
    }
    // Read once, not for every locale and its fallbacks.
    let entries: Vec<(Cow<'v, str>, Value<'v>)> = value.entries().collect();
    let text_in = |locale: &String| {
        let named = |(key, _): &&(Cow<'v, str>, _)| same(key.as_bytes(), locale.as_bytes());
        match entries.iter().rev().find(named) {
            Some((_, value)) => cell::joined(*value, &config.list_separator)
                .map_err(|problem| format!("{locale}: {problem}")),
            None => Ok(None),
        }
    };
    let mut texts = Vec::with_capacity(config.locales.len());
    for locale in &config.locales {
        let mut found = text_in(locale)?;
        for fallback in &config.fallback_locales {
            if found.is_some() {
                break;
            }
            found = if fallback == ANY_LOCALE {
                any_text(value, config)?
            } else {
                text_in(fallback)?
            };
        }
        texts.push(found);
    }
    Ok(texts)
}
