//! Products and models with their values apart, so that what is inherited is shared and not copied.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

/// A code that is often known at compile time.
pub type Text = Cow<'static, str>;

/// One value of an attribute.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// `None` where the attribute is not localizable.
    pub locale: Option<Text>,
    /// `None` where the attribute is not scopable.
    pub scope: Option<Text>,
    /// In the form that the attribute's type asks for.
    pub data: Value,
}

/// The values of an item by attribute.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Values(BTreeMap<Text, Arc<Vec<Entry>>>);

impl Values {
    /// Adds a value.
    pub fn add(&mut self, attribute: impl Into<Text>, entry: Entry) {
        Arc::make_mut(self.0.entry(attribute.into()).or_default()).push(entry);
    }

    /// The attributes that have values, with them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[Entry])> {
        self.0
            .iter()
            .map(|(code, entries)| (code.as_ref(), entries.as_slice()))
    }

    /// Takes over the values of all attributes that have none here.
    pub fn inherit(&mut self, parent: &Self) {
        for (code, entries) in &parent.0 {
            self.0
                .entry(code.clone())
                .or_insert_with(|| Arc::clone(entries));
        }
    }

    fn of(object: Map<String, Value>) -> Self {
        let mut values = Self::default();
        for (code, entries) in object {
            let Value::Array(entries) = entries else {
                continue;
            };
            for mut entry in entries {
                let text = |value: &Value| value.as_str().map(|text| Cow::Owned(text.to_owned()));
                let (locale, scope) = (text(&entry["locale"]), text(&entry["scope"]));
                values.add(
                    code.clone(),
                    Entry {
                        locale,
                        scope,
                        data: entry["data"].take(),
                    },
                );
            }
        }
        values
    }
}

/// An item in parts.
#[derive(Debug, Clone, Default)]
pub struct Item {
    /// Everything but the values.
    pub fields: Map<String, Value>,
    /// The values; `None` for kinds that have none.
    pub values: Option<Values>,
}

impl Item {
    /// Takes a whole item apart.
    pub fn of(whole: Value) -> Self {
        let Value::Object(mut fields) = whole else {
            return Self::default();
        };
        let values = match fields.remove("values") {
            Some(Value::Object(values)) => Some(Values::of(values)),
            Some(other) => {
                fields.insert("values".to_owned(), other);
                None
            }
            None => None,
        };
        Self { fields, values }
    }

    /// Puts the parts together.
    pub fn into_whole(self) -> Value {
        let mut fields = self.fields;
        if let Some(values) = self.values {
            let values: Map<String, Value> = values
                .iter()
                .map(|(code, entries)| (code.to_owned(), json!(entries)))
                .collect();
            fields.insert("values".to_owned(), Value::Object(values));
        }
        Value::Object(fields)
    }

    /// Sets a field.
    pub fn set(&mut self, field: &str, value: Value) {
        self.fields.insert(field.to_owned(), value);
    }

    /// A field that is a text.
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field)?.as_str()
    }

    /// Adds the values and categories of `parent` that this item does not have.
    pub fn inherit(&mut self, parent: &Self) {
        if let (Some(own), Some(theirs)) = (&mut self.values, &parent.values) {
            own.inherit(theirs);
        }
        let theirs = parent.fields.get("categories").and_then(Value::as_array);
        if let (Some(Value::Array(own)), Some(theirs)) = (self.fields.get_mut("categories"), theirs)
        {
            for code in theirs {
                if !own.contains(code) {
                    own.push(code.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taking_apart_and_putting_together_changes_nothing() {
        let whole = json!({"identifier": "a", "categories": ["x"], "values": {
            "name": [{"locale": "en_US", "scope": null, "data": "A"}, {"locale": "de_DE", "scope": "print", "data": null}]}});
        assert_eq!(Item::of(whole.clone()).into_whole(), whole);
        assert_eq!(
            Item::of(json!({"code": "x"})).into_whole(),
            json!({"code": "x"})
        );
    }

    #[test]
    fn own_values_come_before_inherited_ones() {
        let entry = |data: &str| json!([{"locale": null, "scope": null, "data": data}]);
        let mut child = Item::of(
            json!({"categories": ["a"], "values": {"size": entry("s"), "name": entry("own")}}),
        );
        child.inherit(&Item::of(
            json!({"categories": ["b", "a"], "values": {"name": entry("theirs"), "x": entry("y")}}),
        ));
        let wanted = json!({"categories": ["a", "b"], "values": {"size": entry("s"), "name": entry("own"), "x": entry("y")}});
        assert_eq!(child.into_whole(), wanted);
    }
}
