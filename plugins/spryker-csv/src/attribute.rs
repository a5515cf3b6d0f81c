//! Attributes: two streams become two files.
//!
//! `attributes` describes an attribute, `attribute-values` adds single values to it, so that a flow need not gather the
//! options of an attribute first. They are joined at the end, in memory: their number does not grow with the products.

use std::collections::HashMap;

use crossdock_sdk::json::{Kind, Object, Value};
use crossdock_sdk::prelude::*;
use serde::{Deserialize, Serialize};

use crate::cell::{self, Problem};
use crate::config::Config;
use crate::row::{Row, local_texts};

/// Stream of attributes.
pub(crate) const ATTRIBUTES: &str = "attributes";
/// Stream of single values.
pub(crate) const VALUES: &str = "attribute-values";
/// File of keys, with its entity.
pub(crate) const KEY_FILE: (&str, &str) = ("product_attribute_key.csv", "product-attribute-key");
/// File of everything else, with its entity.
pub(crate) const MANAGEMENT_FILE: (&str, &str) = (
    "product_management_attribute.csv",
    "product-management-attribute",
);

const ATTRIBUTE_FIELDS: [&str; 8] = [
    "attribute_key",
    "is_super",
    "input_type",
    "allow_input",
    "is_multiple",
    "visibility",
    "key_translation",
    "values",
];
const VALUE_FIELDS: [&str; 3] = ["attribute_key", "value", "translation"];

/// An attribute as it waits in the spool. Texts per locale are in the order of the config.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Attribute {
    key: String,
    is_super: bool,
    input_type: String,
    allow_input: bool,
    is_multiple: bool,
    visibility: String,
    labels: Vec<String>,
    values: Vec<Choice>,
}

/// A value that an attribute may have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Choice {
    value: String,
    labels: Vec<String>,
}

/// The row of a record of [`ATTRIBUTES`].
pub(crate) fn attribute_row(config: &Config, record: &Object<'_>) -> Result<Row> {
    known(record, ATTRIBUTES, &ATTRIBUTE_FIELDS)?;
    let key = required(record, "attribute_key")?;
    let input_type = text(record, "input_type")?.unwrap_or_else(|| "text".to_owned());
    let labels =
        labels(record.get("key_translation"), config, &key).map_err(at("key_translation"))?;
    let values = match record.get("values") {
        Some(list) if list.kind() == Kind::Array => {
            let choices: Result<Vec<Choice>, Problem> =
                list.items().map(|item| choice(item, config)).collect();
            choices.map_err(at("values"))?
        }
        Some(other) if !other.is_null() => {
            return Err(at("values")(format!(
                "expected a list, found {}",
                cell::name(other.kind())
            )));
        }
        _ => Vec::new(),
    };
    let attribute = Attribute {
        is_super: flag(record, "is_super", false)?,
        allow_input: flag(record, "allow_input", true)?,
        is_multiple: flag(record, "is_multiple", input_type == "multiselect")?,
        visibility: text(record, "visibility")?.unwrap_or_default(),
        key: key.clone(),
        input_type,
        labels,
        values,
    };
    Ok(Row {
        key,
        fixed: serde_json::to_vec(&attribute)?,
        ..Row::default()
    })
}

/// The row of a record of [`VALUES`].
pub(crate) fn value_row(config: &Config, record: &Object<'_>) -> Result<Row> {
    known(record, VALUES, &VALUE_FIELDS)?;
    let attribute = required(record, "attribute_key")?;
    let value = required(record, "value")?;
    single(&value).map_err(at("value"))?;
    let labels = labels(record.get("translation"), config, &value).map_err(at("translation"))?;
    Ok(Row {
        key: format!("{attribute}\u{1f}{value}"),
        refers: attribute,
        fixed: serde_json::to_vec(&Choice { value, labels })?,
        ..Row::default()
    })
}

fn known(record: &Object<'_>, stream: &str, fields: &[&str]) -> Result<()> {
    for (name, _) in record {
        if !fields.contains(&&*name) {
            return Err(Fault::permanent(format!(
                "`{stream}` have no field `{name}`; they have {}",
                fields.join(", ")
            ))
            .at(format!("/{name}")));
        }
    }
    Ok(())
}

fn at(field: &str) -> impl Fn(Problem) -> Fault {
    move |problem| Fault::permanent(problem).at(format!("/{field}"))
}

fn text(record: &Object<'_>, field: &str) -> Result<Option<String>> {
    let text = record
        .get(field)
        .map(cell::scalar)
        .transpose()
        .map_err(at(field))?;
    Ok(text.flatten().map(std::borrow::Cow::into_owned))
}

fn required(record: &Object<'_>, field: &str) -> Result<String> {
    text(record, field)?.ok_or_else(|| at(field)(format!("`{field}` is missing")))
}

fn flag(record: &Object<'_>, field: &str, default: bool) -> Result<bool> {
    let flag = record
        .get(field)
        .map(cell::flag)
        .transpose()
        .map_err(at(field))?;
    Ok(flag.flatten().map_or(default, |flag| flag == "1"))
}

fn choice(item: Value<'_>, config: &Config) -> Result<Choice, Problem> {
    let (value, translation) = match item.kind() {
        Kind::Object => (
            item.get("value").ok_or("a value without `value`")?,
            item.get("translation"),
        ),
        _ => (item, None),
    };
    let value = cell::scalar(value)?.ok_or("an empty value")?.into_owned();
    single(&value)?;
    let labels = labels(translation, config, &value)?;
    Ok(Choice { value, labels })
}

fn single(value: &str) -> Result<(), Problem> {
    if value.contains(',') {
        return Err(format!(
            "`{value}` contains a comma, which separates the values in their cell"
        ));
    }
    Ok(())
}

/// A label per locale; the code stands in where there is none.
fn labels(value: Option<Value<'_>>, config: &Config, code: &str) -> Result<Vec<String>, Problem> {
    let texts = local_texts(value, config)?;
    Ok(texts
        .into_iter()
        .map(|text| text.map_or_else(|| code.to_owned(), std::borrow::Cow::into_owned))
        .collect())
}

/// All attributes with their values, as the two files.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    list: Vec<Attribute>,
    positions: HashMap<String, usize>,
    /// Positions of the values of each attribute, which may be many.
    choices: Vec<HashMap<String, usize>>,
}

impl Attributes {
    /// Takes the row of an attribute in.
    pub(crate) fn add(&mut self, row: &Row) -> Result<()> {
        let attribute: Attribute = serde_json::from_slice(&row.fixed)?;
        let values = attribute.values.iter().enumerate();
        self.choices.push(
            values
                .map(|(at, choice)| (choice.value.clone(), at))
                .collect(),
        );
        self.positions.insert(row.key.clone(), self.list.len());
        self.list.push(attribute);
        Ok(())
    }

    /// Takes the row of a value in. False: its attribute never came.
    pub(crate) fn add_value(&mut self, row: &Row) -> Result<bool> {
        let choice: Choice = serde_json::from_slice(&row.fixed)?;
        let at = self.positions.get(&row.refers);
        let Some((attribute, choices)) =
            at.and_then(|at| Some((self.list.get_mut(*at)?, self.choices.get_mut(*at)?)))
        else {
            return Ok(false);
        };
        let known = choices.get(&choice.value);
        if let Some(known) = known.and_then(|at| attribute.values.get_mut(*at)) {
            *known = choice;
        } else {
            choices.insert(choice.value.clone(), attribute.values.len());
            attribute.values.push(choice);
        }
        Ok(true)
    }

    /// Number of attributes.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// `product_attribute_key.csv`.
    pub(crate) fn key_file(&self) -> Vec<u8> {
        let mut out = b"attribute_key,is_super\n".to_vec();
        for attribute in &self.list {
            line(
                &mut out,
                [
                    attribute.key.as_str(),
                    if attribute.is_super { "1" } else { "0" },
                ],
            );
        }
        out
    }

    /// `product_management_attribute.csv`.
    pub(crate) fn management_file(&self, config: &Config) -> Vec<u8> {
        let visibility = self
            .list
            .iter()
            .any(|attribute| !attribute.visibility.is_empty());
        let mut header: Vec<String> = ["key", "input_type", "allow_input", "is_multiple", "values"]
            .map(str::to_owned)
            .into();
        header.extend(
            config
                .locales
                .iter()
                .map(|locale| format!("key_translation.{locale}")),
        );
        header.extend(
            config
                .locales
                .iter()
                .map(|locale| format!("value_translations.{locale}")),
        );
        header.extend(visibility.then(|| "visibility".to_owned()));
        let mut out = Vec::new();
        line(&mut out, header.iter().map(String::as_str));
        let yes = |flag| if flag { "yes" } else { "no" }.to_owned();
        for attribute in &self.list {
            let list = |text: &dyn Fn(&Choice) -> String| {
                attribute
                    .values
                    .iter()
                    .map(text)
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let mut cells = vec![
                attribute.key.clone(),
                attribute.input_type.clone(),
                yes(attribute.allow_input),
                yes(attribute.is_multiple),
                list(&|choice| choice.value.clone()),
            ];
            cells.extend(attribute.labels.iter().cloned());
            for at in 0..config.locales.len() {
                // A comma would separate two labels where there is one.
                cells.push(list(&|choice| {
                    choice
                        .labels
                        .get(at)
                        .map_or_else(String::new, |text| text.replace(',', ";"))
                }));
            }
            cells.extend(visibility.then(|| attribute.visibility.clone()));
            line(&mut out, cells.iter().map(String::as_str));
        }
        out
    }
}

/// Appends one line of CSV.
pub(crate) fn line<'a>(out: &mut Vec<u8>, cells: impl IntoIterator<Item = &'a str>) {
    for (at, text) in cells.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        cell::push(out, text);
    }
    out.push(b'\n');
}
