//! How items look in an answer: the fields of each kind, and the values that were asked for.

use std::collections::HashMap;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::query::Query;
use crate::catalogue::{Catalogue, Entry, Item, Kind, Store, Values};

/// The two ways to name products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `/products`: the identifier.
    Identifier,
    /// `/products-uuid`: the uuid.
    Uuid,
}

/// What the server must know of every attribute.
pub(super) struct AttributeInfo {
    pub(super) kind: String,
    pub(super) localizable: bool,
    pub(super) scopable: bool,
    pub(super) decimals: bool,
}

/// The attributes by code; they do not change while the server runs.
pub(super) struct Attributes {
    by_code: HashMap<String, AttributeInfo>,
    /// The attribute that holds the identifier.
    pub(super) identifier: String,
}

impl Attributes {
    pub(super) fn of(store: &Store) -> Self {
        let mut all = Self {
            by_code: HashMap::new(),
            identifier: "sku".to_owned(),
        };
        for item in
            (0..store.len(Kind::Attributes)).filter_map(|index| store.item(Kind::Attributes, index))
        {
            let code = item["code"].as_str().unwrap_or_default().to_owned();
            let kind = item["type"].as_str().unwrap_or_default().to_owned();
            if kind == "pim_catalog_identifier" {
                all.identifier.clone_from(&code);
            }
            let flag = |name: &str| item[name] == true;
            let info = AttributeInfo {
                kind,
                localizable: flag("localizable"),
                scopable: flag("scopable"),
                decimals: flag("decimals_allowed"),
            };
            all.by_code.insert(code, info);
        }
        all
    }

    pub(super) fn get(&self, code: &str) -> Option<&AttributeInfo> {
        self.by_code.get(code)
    }
}

/// Which values of products and models an answer holds, and how.
pub(super) struct View<'a> {
    form: Form,
    scope: Option<&'a str>,
    locales: Option<Vec<String>>,
    attributes: Option<Vec<&'a str>>,
    options: bool,
    /// Scheme, host and port for links to media files.
    origin: &'a str,
    known: &'a Attributes,
    store: &'a Store,
}

impl<'a> View<'a> {
    /// Reads `scope`, `locales`, `attributes` and `with_attribute_options`.
    pub(super) fn parse(
        form: Form,
        query: &'a Query,
        origin: &'a str,
        known: &'a Attributes,
        store: &'a Store,
    ) -> Result<Self, ApiError> {
        let scope = query.get("scope").filter(|scope| !scope.is_empty());
        let channel = match scope {
            None => None,
            Some(code) => Some(
                store
                    .find(Kind::Channels, code)
                    .and_then(|index| store.item(Kind::Channels, index))
                    .ok_or_else(|| {
                        ApiError::unprocessable(format!("Scope \"{code}\" does not exist."))
                    })?,
            ),
        };
        let of_channel: Option<Vec<String>> = channel.map(|channel| {
            channel["locales"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        });
        let locales = match query.list("locales") {
            None => of_channel,
            Some(list) => {
                for code in &list {
                    let locale = store
                        .find(Kind::Locales, code)
                        .and_then(|index| store.head(Kind::Locales, index));
                    if locale.is_none_or(|locale| !locale.enabled) {
                        let message =
                            format!("Locale \"{code}\" does not exist or is not activated.");
                        return Err(ApiError::unprocessable(message));
                    }
                    if of_channel
                        .as_ref()
                        .is_some_and(|own| !own.iter().any(|own| own == code))
                    {
                        let message = format!("Locale \"{code}\" is not activated for the scope.");
                        return Err(ApiError::unprocessable(message));
                    }
                }
                Some(list.into_iter().map(str::to_owned).collect())
            }
        };
        let attributes = query.list("attributes");
        for code in attributes.iter().flatten() {
            if known.get(code).is_none() {
                return Err(ApiError::unprocessable(format!(
                    "Attribute \"{code}\" does not exist."
                )));
            }
        }
        let options = query.flag("with_attribute_options");
        Ok(Self {
            form,
            scope,
            locales,
            attributes,
            options,
            origin,
            known,
            store,
        })
    }

    /// The item as its endpoint shows it, with a link to itself where it is part of a list.
    pub(super) fn show(&self, mut item: Item, link: Option<String>) -> Shown<'_> {
        let mut identifier = None;
        if self.form == Form::Uuid {
            identifier = item.fields.remove("identifier");
            self.associations_by_uuid(&mut item.fields);
        }
        if let Some(href) = link {
            item.set("_links", json!({"self": {"href": href}}));
        }
        Shown {
            view: self,
            item,
            identifier,
        }
    }

    fn wants_attribute(&self, code: &str) -> bool {
        self.attributes
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&code))
    }

    fn wants(&self, entry: &Entry) -> bool {
        let scope = self
            .scope
            .is_none_or(|scope| entry.scope.as_ref().is_none_or(|own| own == scope));
        let locales = self.locales.as_ref();
        scope
            && locales.is_none_or(|all| {
                entry
                    .locale
                    .as_ref()
                    .is_none_or(|own| all.iter().any(|code| code == own))
            })
    }

    fn media_link(&self, kind: &str, data: &Value) -> Option<Value> {
        let media = data
            .as_str()
            .filter(|_| matches!(kind, "pim_catalog_image" | "pim_catalog_file"))?;
        let href = format!(
            "{}{}/media-files/{media}/download",
            self.origin,
            super::REST_PATH
        );
        Some(json!({"download": {"href": href}}))
    }

    fn linked_data(&self, attribute: &str, kind: &str, data: &Value) -> Option<Value> {
        let select = matches!(kind, "pim_catalog_simpleselect" | "pim_catalog_multiselect");
        (self.options && select).then(|| self.linked(attribute, data))
    }

    /// The labels of the options that a value names.
    fn linked(&self, attribute: &str, data: &Value) -> Value {
        let options = self.store.options(attribute).unwrap_or_default();
        let one = |code: &str| {
            let same = |option: &&Value| {
                option["code"]
                    .as_str()
                    .is_some_and(|own| own.eq_ignore_ascii_case(code))
            };
            options.iter().find(same).map(|option| {
                json!({"attribute": attribute, "code": option["code"], "labels": option["labels"]})
            })
        };
        match data {
            Value::String(code) => one(code).unwrap_or(Value::Null),
            Value::Array(codes) => codes
                .iter()
                .filter_map(Value::as_str)
                .filter_map(|code| Some((code.to_owned(), one(code)?)))
                .collect::<Map<_, _>>()
                .into(),
            _ => Value::Null,
        }
    }

    fn associations_by_uuid(&self, fields: &mut Map<String, Value>) {
        let uuid = |code: &str| {
            let index = self.store.find(Kind::Products, code)?;
            self.store.head(Kind::Products, index)?.uuid
        };
        let of = |fields: &mut Map<String, Value>, name: &str| match fields
            .get_mut(name)
            .map(Value::take)
        {
            Some(Value::Object(all)) => all,
            _ => Map::new(),
        };
        let mut plain = of(fields, "associations");
        for association in plain.values_mut() {
            let codes = association["products"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            association["products"] = codes
                .iter()
                .filter_map(Value::as_str)
                .filter_map(uuid)
                .collect();
        }
        let mut quantified = of(fields, "quantified_associations");
        for association in quantified.values_mut() {
            let rows = association["products"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            association["products"] = rows
                .iter()
                .filter_map(|row| Some(json!({"uuid": uuid(row["identifier"].as_str()?)?, "quantity": row["quantity"]})))
                .collect();
        }
        fields.insert("associations".to_owned(), plain.into());
        fields.insert("quantified_associations".to_owned(), quantified.into());
    }
}

/// An item on its way into an answer.
pub(super) struct Shown<'a> {
    view: &'a View<'a>,
    item: Item,
    /// Shown among the values where the product is named by its uuid.
    identifier: Option<Value>,
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (field, value) in &self.item.fields {
            map.serialize_entry(field, value)?;
        }
        if let Some(values) = &self.item.values {
            let identifier = self.identifier.as_ref();
            map.serialize_entry(
                "values",
                &ShownValues {
                    view: self.view,
                    values,
                    identifier,
                },
            )?;
        }
        map.end()
    }
}

struct ShownValues<'a> {
    view: &'a View<'a>,
    values: &'a Values,
    identifier: Option<&'a Value>,
}

impl Serialize for ShownValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let view = self.view;
        let mut map = serializer.serialize_map(None)?;
        if let Some(identifier) = self
            .identifier
            .filter(|_| view.wants_attribute(&view.known.identifier))
        {
            let entry = json!({"locale": null, "scope": null, "data": identifier,
                "attribute_type": "pim_catalog_identifier"});
            map.serialize_entry(&view.known.identifier, &[entry])?;
        }
        for (code, entries) in self
            .values
            .iter()
            .filter(|(code, _)| view.wants_attribute(code))
        {
            let kind = view
                .known
                .get(code)
                .map_or("", |attribute| attribute.kind.as_str());
            let entries: Vec<ShownEntry<'_>> = entries
                .iter()
                .filter(|entry| view.wants(entry))
                .map(|entry| ShownEntry {
                    entry,
                    attribute_type: kind,
                    links: view.media_link(kind, &entry.data),
                    linked_data: view.linked_data(code, kind, &entry.data),
                })
                .collect();
            if !entries.is_empty() {
                map.serialize_entry(code, &entries)?;
            }
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct ShownEntry<'a> {
    #[serde(flatten)]
    entry: &'a Entry,
    attribute_type: &'a str,
    #[serde(rename = "_links", skip_serializing_if = "Option::is_none")]
    links: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    linked_data: Option<Value>,
}
