//! The `search` parameter: `{"property": [{"operator": "...", "value": ...}]}`.
//!
//! Filters on properties are here: times, status, parent, family, code, uuid, categories, groups, type, level. Filters on
//! values (`{"name": [{"operator": "CONTAINS", ...}]}`) and on completeness are refused with 422.

use std::collections::HashSet;

use serde_json::Value;

use super::error::ApiError;
use crate::catalogue::{Catalogue, Head, Kind, Store, parse_iso, parse_plain};

/// The conditions of a search; all of them must hold.
pub(super) struct Search(Vec<Condition>);

struct Condition {
    test: Test,
    /// `NOT IN`, `!=`, `NOT BETWEEN`, `NOT EMPTY`: the test must fail.
    negated: bool,
}

enum Test {
    Code(HashSet<String>),
    Uuid(HashSet<String>),
    Parent(HashSet<String>),
    /// Below this model, at any level.
    Below(String),
    NoParent,
    Family(HashSet<String>),
    NoFamily,
    Enabled(bool),
    Time {
        field: Field,
        from: i64,
        to: i64,
    },
    Categories {
        codes: HashSet<String>,
        or_none: bool,
    },
    /// A field of the item itself.
    Text {
        field: &'static str,
        values: HashSet<String>,
    },
    NoGroups,
}

#[derive(Clone, Copy)]
enum Field {
    Created,
    Updated,
}

impl Search {
    /// Reads the parameter of a list of that kind. `now` is used by `SINCE LAST N DAYS`.
    pub(super) fn parse(
        text: &str,
        kind: Kind,
        identifier: &str,
        store: &Store,
        now: i64,
    ) -> Result<Self, ApiError> {
        let wrong = || ApiError::unprocessable("Search query parameter should be valid JSON.");
        let Ok(Value::Object(properties)) = serde_json::from_str(text) else {
            return Err(wrong());
        };
        let mut all = vec![];
        for (property, conditions) in &properties {
            let Value::Array(conditions) = conditions else {
                let message = format!(
                    "Structure of filter \"{property}\" should respect this structure: \
                    {{\"{property}\":[{{\"operator\": \"my_operator\", \"value\": \"my_value\"}}]}}"
                );
                return Err(ApiError::unprocessable(message));
            };
            let property = if property == identifier {
                "identifier"
            } else {
                property.as_str()
            };
            for condition in conditions {
                let operator = condition.get("operator").and_then(Value::as_str);
                let operator = operator.ok_or_else(|| {
                    ApiError::unprocessable(format!(
                        "Operator is missing for the property \"{property}\"."
                    ))
                })?;
                let value = condition.get("value").unwrap_or(&Value::Null);
                all.push(
                    Reader {
                        property,
                        operator,
                        value,
                        kind,
                        store,
                        now,
                    }
                    .condition()?,
                );
            }
        }
        Ok(Self(all))
    }

    pub(super) fn matches(&self, store: &Store, kind: Kind, index: usize) -> bool {
        let Some(head) = store.head(kind, index) else {
            return false;
        };
        self.0
            .iter()
            .all(|condition| condition.test.holds(store, kind, index, &head) != condition.negated)
    }
}

impl Test {
    fn holds(&self, store: &Store, kind: Kind, index: usize, head: &Head) -> bool {
        let has = |codes: &HashSet<String>, code: &str| codes.contains(&code.to_lowercase());
        let any = |codes: &HashSet<String>, code: &Option<String>| {
            code.as_ref().is_some_and(|code| has(codes, code))
        };
        match self {
            Self::Code(codes) => has(codes, &head.code),
            Self::Uuid(uuids) => any(uuids, &head.uuid),
            Self::Parent(codes) => any(codes, &head.parent),
            Self::Below(code) => head.parent.as_ref().is_some_and(|parent| {
                let above = store
                    .find(Kind::ProductModels, parent)
                    .and_then(|at| store.head(Kind::ProductModels, at));
                let above = above.and_then(|model| model.parent);
                parent.to_lowercase() == *code
                    || above.is_some_and(|root| root.to_lowercase() == *code)
            }),
            Self::NoParent => head.parent.is_none(),
            Self::Family(codes) => any(codes, &head.family),
            Self::NoFamily => head.family.is_none(),
            Self::Enabled(wanted) => head.enabled == *wanted,
            Self::Time { field, from, to } => {
                let time = match field {
                    Field::Created => head.created,
                    Field::Updated => head.updated,
                };
                (*from..=*to).contains(&time)
            }
            Self::Categories { codes, or_none } => {
                let own = store.categories(kind, index);
                own.iter().any(|code| has(codes, code)) || *or_none && own.is_empty()
            }
            Self::Text { field, values } => store
                .item(kind, index)
                .is_some_and(|item| item[*field].as_str().is_some_and(|text| has(values, text))),
            Self::NoGroups => store
                .item(kind, index)
                .is_some_and(|item| item["groups"].as_array().is_none_or(Vec::is_empty)),
        }
    }
}

/// One condition while it is read.
struct Reader<'a> {
    property: &'a str,
    operator: &'a str,
    value: &'a Value,
    kind: Kind,
    store: &'a Store,
    now: i64,
}

impl Reader<'_> {
    fn condition(&self) -> Result<Condition, ApiError> {
        use Kind::{
            Attributes, Categories, Currencies, Families, Locales, ProductModels, Products,
        };
        let yes = |test| {
            Ok(Condition {
                test,
                negated: false,
            })
        };
        let not = |test| {
            Ok(Condition {
                test,
                negated: true,
            })
        };
        match (self.kind, self.property, self.operator) {
            (Products, "identifier", "IN" | "=") => yes(Test::Code(self.codes()?)),
            (Products, "identifier", "NOT IN" | "!=") => not(Test::Code(self.codes()?)),
            (Products, "uuid", "IN") => yes(Test::Uuid(self.codes()?)),
            (Products, "uuid", "NOT IN") => not(Test::Uuid(self.codes()?)),
            (ProductModels, "identifier" | "code", "IN" | "=")
            | (Attributes | Families | Categories | Locales | Currencies, "code", "IN") => {
                yes(Test::Code(self.codes()?))
            }
            (ProductModels, "identifier" | "code", "NOT IN" | "!=") => {
                not(Test::Code(self.codes()?))
            }
            (Attributes, "type", "IN") => yes(Test::Text {
                field: "type",
                values: self.codes()?,
            }),
            (Products | Locales | Currencies, "enabled", "=") => yes(Test::Enabled(self.flag()?)),
            (Products, "enabled", "!=") => not(Test::Enabled(self.flag()?)),
            (Categories, "is_root", "=") => Ok(Condition {
                test: Test::NoParent,
                negated: !self.flag()?,
            }),
            (Categories, "parent", "=") | (Products | ProductModels, "parent", "IN") => {
                yes(Test::Parent(self.codes()?))
            }
            (Products, "parent", "=") => {
                let code = self.value.as_str().ok_or_else(|| self.wrong("a string"))?;
                yes(Test::Below(code.to_lowercase()))
            }
            (Products | ProductModels, "parent", "EMPTY") => yes(Test::NoParent),
            (Products | ProductModels, "parent", "NOT EMPTY") => not(Test::NoParent),
            (Products | ProductModels, "family", "IN") => yes(Test::Family(self.known(Families)?)),
            (Products | ProductModels, "family", "NOT IN") => {
                not(Test::Family(self.known(Families)?))
            }
            (Products | ProductModels, "family", "EMPTY") => yes(Test::NoFamily),
            (Products | ProductModels, "family", "NOT EMPTY") => not(Test::NoFamily),
            (Products, "groups", "EMPTY") => yes(Test::NoGroups),
            (Products, "groups", "NOT EMPTY") => not(Test::NoGroups),
            (Products | ProductModels, "categories", _) => self.categories(),
            (Products | ProductModels, "created", _) => self.time(Field::Created),
            (Products | ProductModels, "updated", _)
            | (Attributes | Families | Categories, "updated", ">") => self.time(Field::Updated),
            _ => Err(self.unsupported()),
        }
    }

    fn categories(&self) -> Result<Condition, ApiError> {
        let known = || self.known(Kind::Categories);
        let (codes, or_none, negated) = match self.operator {
            "IN" => (known()?, false, false),
            "NOT IN" => (known()?, false, true),
            "IN OR UNCLASSIFIED" => (known()?, true, false),
            "IN CHILDREN" => (self.with_children(known()?), false, false),
            "NOT IN CHILDREN" => (self.with_children(known()?), false, true),
            "UNCLASSIFIED" => (HashSet::new(), true, false),
            _ => return Err(self.unsupported()),
        };
        Ok(Condition {
            test: Test::Categories { codes, or_none },
            negated,
        })
    }

    /// The codes and everything below them in the tree.
    fn with_children(&self, mut codes: HashSet<String>) -> HashSet<String> {
        let tree: Vec<(String, String)> = (0..self.store.len(Kind::Categories))
            .filter_map(|index| self.store.head(Kind::Categories, index))
            .filter_map(|head| Some((head.code.to_lowercase(), head.parent?.to_lowercase())))
            .collect();
        loop {
            let before = codes.len();
            codes.extend(
                tree.iter()
                    .filter(|(_, parent)| codes.contains(parent))
                    .map(|(code, _)| code.clone())
                    .collect::<Vec<_>>(),
            );
            if codes.len() == before {
                return codes;
            }
        }
    }

    fn time(&self, field: Field) -> Result<Condition, ApiError> {
        let (from, to, negated) = match self.operator {
            ">" => (self.moment(self.value)?.saturating_add(1), i64::MAX, false),
            "<" => (i64::MIN, self.moment(self.value)?.saturating_sub(1), false),
            "=" | "!=" => {
                let at = self.moment(self.value)?;
                (at, at, self.operator == "!=")
            }
            "BETWEEN" | "NOT BETWEEN" => match self.value.as_array().map(Vec::as_slice) {
                Some([from, to]) => (
                    self.moment(from)?,
                    self.moment(to)?,
                    self.operator == "NOT BETWEEN",
                ),
                _ => return Err(self.wrong("an array of two dates")),
            },
            "SINCE LAST N DAYS" => {
                let days = self
                    .value
                    .as_i64()
                    .ok_or_else(|| self.wrong("an integer"))?;
                (
                    self.now.saturating_sub(days.saturating_mul(86_400)),
                    i64::MAX,
                    false,
                )
            }
            _ => return Err(self.unsupported()),
        };
        Ok(Condition {
            test: Test::Time { field, from, to },
            negated,
        })
    }

    /// Products and models write times in another form than everything else.
    fn moment(&self, value: &Value) -> Result<i64, ApiError> {
        let (parse, form): (fn(&str) -> Option<i64>, _) = match self.kind {
            Kind::Products | Kind::ProductModels => (parse_plain, "Y-m-d H:i:s"),
            _ => (parse_iso, "Y-m-d\\TH:i:sP"),
        };
        value.as_str().and_then(parse).ok_or_else(|| {
            let message =
                format!("Property \"{}\" expects a string with the format \"{form}\" as data, {value} given.", self.property);
            ApiError::unprocessable(message)
        })
    }

    fn codes(&self) -> Result<HashSet<String>, ApiError> {
        match self.value {
            Value::String(code) if self.operator != "IN" && self.operator != "NOT IN" => {
                Ok(HashSet::from([code.to_lowercase()]))
            }
            Value::Array(codes) if self.operator == "IN" || self.operator == "NOT IN" => codes
                .iter()
                .map(|code| {
                    code.as_str()
                        .map(str::to_lowercase)
                        .ok_or_else(|| self.wrong("an array of strings"))
                })
                .collect(),
            _ if self.operator == "IN" || self.operator == "NOT IN" => Err(self.wrong("an array")),
            _ => Err(self.wrong("a string")),
        }
    }

    /// Codes that exist, whatever the operator is called.
    fn known(&self, kind: Kind) -> Result<HashSet<String>, ApiError> {
        let codes = self
            .value
            .as_array()
            .ok_or_else(|| self.wrong("an array"))?;
        let known = |code: &Value| {
            let code = code
                .as_str()
                .ok_or_else(|| self.wrong("an array of strings"))?;
            if self.store.find(kind, code).is_none() {
                let message = format!(
                    "Object \"{}\" with code \"{code}\" does not exist",
                    self.property
                );
                return Err(ApiError::unprocessable(message));
            }
            Ok(code.to_lowercase())
        };
        codes.iter().map(known).collect()
    }

    fn flag(&self) -> Result<bool, ApiError> {
        self.value.as_bool().ok_or_else(|| self.wrong("a boolean"))
    }

    fn wrong(&self, wanted: &str) -> ApiError {
        ApiError::unprocessable(format!(
            "Property \"{}\" expects {wanted} as data, {} given.",
            self.property, self.value
        ))
    }

    fn unsupported(&self) -> ApiError {
        ApiError::unprocessable(format!(
            "Filter on property \"{}\" is not supported or does not support operator \"{}\"",
            self.property, self.operator
        ))
    }
}
