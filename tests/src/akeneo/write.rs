//! PATCH: the rules by which a change is laid over an item, and what it is checked for.
//!
//! Objects merge, arrays and scalars replace, what is not named stays. Values merge by attribute, locale and scope, and
//! `null` data erases a value. `updated` moves only when something changed.

use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::present::Attributes;
use crate::catalogue::{Catalogue, Change, Kind, Store, format_stamp};

/// Kinds that can be changed.
pub(super) const WRITABLE: [Kind; 3] = [Kind::Products, Kind::ProductModels, Kind::Categories];

/// Fields that a client may send back as it read them; they are not changed.
const READ_ONLY: [&str; 7] = [
    "_links",
    "created",
    "updated",
    "metadata",
    "quality_scores",
    "completenesses",
    "position",
];

/// Where changes go.
#[derive(Clone, Copy)]
pub(super) struct Writer<'a> {
    pub(super) store: &'a Store,
    pub(super) attributes: &'a Attributes,
    /// Seconds since 1970 for `updated`.
    pub(super) now: i64,
}

impl Writer<'_> {
    /// Changes or creates the item with that code.
    pub(super) fn patch(
        &self,
        kind: Kind,
        code: &str,
        change: &Map<String, Value>,
    ) -> Result<Change, ApiError> {
        let known = self
            .store
            .find(kind, code)
            .and_then(|index| self.store.item(kind, index));
        let created = known.is_none();
        let old = known.unwrap_or_else(|| self.empty(kind, code));
        let mut new = old.clone();
        for (property, value) in change {
            if READ_ONLY.contains(&property.as_str())
                || property == kind.key()
                || property == "uuid"
            {
                continue;
            }
            self.property(kind, &mut new, property, value)?;
        }
        self.check(kind, &new)?;
        if !created && new == old {
            return Ok(Change::Updated);
        }
        new["updated"] = json!(format_stamp(self.now));
        Ok(self.store.put(kind, new))
    }

    fn empty(&self, kind: Kind, code: &str) -> Value {
        let now = format_stamp(self.now);
        if kind == Kind::Categories {
            return json!({"code": code, "parent": null, "updated": now, "labels": {}});
        }
        let mut item = json!({"parent": null, "family": null, "categories": [], "values": {},
            "associations": {}, "quantified_associations": {}, "created": now, "updated": now});
        item[kind.key()] = json!(code);
        if kind == Kind::Products {
            item["uuid"] = json!(crate::catalogue::uuid_of(code));
            item["enabled"] = json!(true);
            item["groups"] = json!([]);
        } else {
            item["family_variant"] = Value::Null;
        }
        item
    }

    fn property(
        &self,
        kind: Kind,
        item: &mut Value,
        property: &str,
        value: &Value,
    ) -> Result<(), ApiError> {
        let Some(old) = item.get_mut(property) else {
            let message = format!(
                "Property \"{property}\" does not exist. Check the expected format on the API documentation."
            );
            return Err(
                ApiError::unprocessable(message).see(&format!("reference#patch_{}", kind.path()))
            );
        };
        match (property, value) {
            ("values", Value::Object(values)) => {
                for (attribute, entries) in values {
                    self.values(old, attribute, entries)?;
                }
                Ok(())
            }
            _ => merge(old, value).map_err(|wanted| {
                ApiError::unprocessable(format!(
                    "Property \"{property}\" expects {wanted} as data."
                ))
                .see("update.html#update-behavior")
            }),
        }
    }

    fn values(&self, values: &mut Value, attribute: &str, entries: &Value) -> Result<(), ApiError> {
        let Some(info) = self.attributes.get(attribute) else {
            let message = format!("The {attribute} attribute does not exist in your PIM.");
            return Err(ApiError::unprocessable(message).see("update.html#update-product-values"));
        };
        let Some(entries) = entries.as_array() else {
            let message = format!("Property \"{attribute}\" expects an array as data.");
            return Err(ApiError::unprocessable(message).see("update.html#update-product-values"));
        };
        let mut own = values[attribute].as_array().cloned().unwrap_or_default();
        for entry in entries {
            let (locale, scope, data) = (&entry["locale"], &entry["scope"], &entry["data"]);
            let fault = |message: &str| ApiError::invalid_value(attribute, locale, scope, message);
            self.place(info.localizable, info.scopable, locale, scope)
                .map_err(|message| fault(&message))?;
            own.retain(|old| old["locale"] != *locale || old["scope"] != *scope);
            if data.is_null() {
                continue;
            }
            if let Err(wanted) = fits(&info.kind, info.decimals, data) {
                return Err(fault(&format!(
                    "The {attribute} attribute requires {wanted}."
                )));
            }
            own.push(json!({"locale": locale, "scope": scope, "data": data}));
        }
        match values.as_object_mut() {
            Some(values) if own.is_empty() => drop(values.remove(attribute)),
            Some(values) => drop(values.insert(attribute.to_owned(), Value::Array(own))),
            None => {}
        }
        Ok(())
    }

    fn place(
        &self,
        localizable: bool,
        scopable: bool,
        locale: &Value,
        scope: &Value,
    ) -> Result<(), String> {
        let known = |kind, value: &Value| {
            value
                .as_str()
                .is_some_and(|code| self.store.find(kind, code).is_some())
        };
        match (localizable, locale) {
            (false, Value::Null) => {}
            (true, locale) if known(Kind::Locales, locale) => {}
            (true, locale) => {
                return Err(format!("The {locale} locale does not exist or is missing."));
            }
            (false, _) => return Err("The attribute is not localizable.".to_owned()),
        }
        match (scopable, scope) {
            (false, Value::Null) => Ok(()),
            (true, scope) if known(Kind::Channels, scope) => Ok(()),
            (true, scope) => Err(format!("The {scope} channel does not exist or is missing.")),
            (false, _) => Err("The attribute is not scopable.".to_owned()),
        }
    }

    /// Every code that the item names must exist.
    fn check(&self, kind: Kind, item: &Value) -> Result<(), ApiError> {
        let exists = |kind, code: &Value| {
            code.as_str()
                .is_none_or(|code| self.store.find(kind, code).is_some())
        };
        let missing = |property: &str, code: &Value, what: &str| {
            let code = code.as_str().unwrap_or_default();
            Err(ApiError::invalid(
                property,
                &format!("The {code} {what} does not exist in your PIM."),
            ))
        };
        let parents = if kind == Kind::Categories {
            Kind::Categories
        } else {
            Kind::ProductModels
        };
        if !exists(parents, &item["parent"]) {
            return missing("parent", &item["parent"], "parent");
        }
        if !exists(Kind::Families, &item["family"]) {
            return missing("family", &item["family"], "family");
        }
        for code in item["categories"].as_array().into_iter().flatten() {
            if !exists(Kind::Categories, code) {
                return missing("categories", code, "category");
            }
        }
        if kind == Kind::ProductModels && item["family_variant"].is_null() {
            return Err(ApiError::invalid(
                "family_variant",
                "The product model must have a family variant.",
            ));
        }
        Ok(())
    }
}

/// Rule 1: objects merge. Rule 2: everything else replaces. Rule 3: objects and arrays do not replace each other.
fn merge(old: &mut Value, new: &Value) -> Result<(), &'static str> {
    match (&mut *old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                match old.get_mut(key) {
                    // A `null` in labels and the like removes the entry.
                    _ if value.is_null() => drop(old.remove(key)),
                    Some(own) => merge(own, value)?,
                    None => drop(old.insert(key.clone(), value.clone())),
                }
            }
            Ok(())
        }
        (Value::Object(_), _) => Err("an object"),
        (Value::Array(_), new) if !new.is_array() => Err("an array"),
        (Value::Bool(_), new) if !new.is_boolean() => Err("a boolean"),
        (
            Value::String(_) | Value::Null,
            Value::Object(_) | Value::Array(_) | Value::Bool(_) | Value::Number(_),
        ) => Err("a string"),
        _ => {
            old.clone_from(new);
            Ok(())
        }
    }
}

/// Whether data has the form that its attribute type asks for.
fn fits(kind: &str, decimals: bool, data: &Value) -> Result<(), &'static str> {
    let number = |value: &Value| match value {
        Value::Number(number) => decimals || number.is_i64() || number.is_u64(),
        Value::String(text) => text.parse::<f64>().is_ok(),
        _ => false,
    };
    let is_list =
        |of: &dyn Fn(&Value) -> bool| data.as_array().is_some_and(|all| all.iter().all(of));
    let (fits, wanted) = match kind {
        "pim_catalog_boolean" => (data.is_boolean(), "a boolean"),
        "pim_catalog_number" => (number(data), "a number"),
        "pim_catalog_metric" => (
            number(&data["amount"]) && data["unit"].is_string(),
            "an amount and a unit",
        ),
        "pim_catalog_price_collection" => {
            let price = |price: &Value| {
                price["currency"].is_string()
                    && (price["amount"].is_null() || number(&price["amount"]))
            };
            (is_list(&price), "a list of prices")
        }
        "pim_catalog_multiselect"
        | "pim_reference_data_multiselect"
        | "akeneo_reference_entity_collection"
        | "pim_catalog_asset_collection" => (is_list(&Value::is_string), "a list of codes"),
        "pim_catalog_table" => (data.is_array(), "a list of rows"),
        "pim_catalog_product_link" => (data.is_object(), "a link"),
        _ => (data.is_string(), "a string"),
    };
    if fits { Ok(()) } else { Err(wanted) }
}
