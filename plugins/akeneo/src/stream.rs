//! What Akeneo offers: one variant per stream, with everything that differs between them.

use crossdock_sdk::json::{Object, Value};
use serde::{Deserialize, Serialize};

use crate::config::{Config, ProductsEndpoint};

/// A kind of item that Akeneo lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stream {
    Channels,
    Locales,
    Currencies,
    AssociationTypes,
    MeasurementFamilies,
    Families,
    FamilyVariants,
    Attributes,
    AttributeOptions,
    Categories,
    ProductModels,
    Products,
}

/// How an endpoint wants the date of its `updated` filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DateStyle {
    /// `2021-05-17T10:00:00Z`.
    Iso,
    /// `2021-05-17 10:00:00`, in the time zone of the server.
    ServerLocal,
}

/// A stream that is listed once per item of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Nesting {
    /// The stream whose items own the lists.
    pub(crate) parent: Stream,
    /// Last part of the path: `/families/{code}/variants`.
    pub(crate) part: &'static str,
    /// Field that names the parent in an item.
    pub(crate) field: &'static str,
}

impl Stream {
    /// Every stream, in the order that suits consumers best: what others refer to comes first.
    pub(crate) const ALL: [Self; 12] = [
        Self::Channels,
        Self::Locales,
        Self::Currencies,
        Self::AssociationTypes,
        Self::MeasurementFamilies,
        Self::Families,
        Self::FamilyVariants,
        Self::Attributes,
        Self::AttributeOptions,
        Self::Categories,
        Self::ProductModels,
        Self::Products,
    ];

    /// The streams of a catalogue.
    pub(crate) fn defaults() -> Vec<Self> {
        Self::ALL[5..].to_vec()
    }

    /// The large ones. The small ones are read in full every time, because consumers need whole trees and tables.
    pub(crate) fn incremental_defaults() -> Vec<Self> {
        vec![Self::ProductModels, Self::Products]
    }

    /// Name of the stream.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Channels => "channels",
            Self::Locales => "locales",
            Self::Currencies => "currencies",
            Self::AssociationTypes => "association-types",
            Self::MeasurementFamilies => "measurement-families",
            Self::Families => "families",
            Self::FamilyVariants => "family-variants",
            Self::Attributes => "attributes",
            Self::AttributeOptions => "attribute-options",
            Self::Categories => "categories",
            Self::ProductModels => "product-models",
            Self::Products => "products",
        }
    }

    /// For streams that are listed per item of another one.
    pub(crate) fn nesting(self) -> Option<Nesting> {
        match self {
            Self::FamilyVariants => Some(Nesting {
                parent: Self::Families,
                part: "variants",
                field: "family",
            }),
            Self::AttributeOptions => Some(Nesting {
                parent: Self::Attributes,
                part: "options",
                field: "attribute",
            }),
            _ => None,
        }
    }

    /// Part of the path behind `/api/rest/v1/`.
    fn endpoint(self, config: &Config) -> &'static str {
        match self {
            Self::Products if config.products_endpoint == ProductsEndpoint::ProductsUuid => {
                "products-uuid"
            }
            other => other.name(),
        }
    }

    /// Fields that identify an item, in order.
    pub(crate) fn key_fields(self, config: &Config) -> &'static [&'static str] {
        match self {
            Self::AttributeOptions => &["attribute", "code"],
            Self::Products if config.products_endpoint == ProductsEndpoint::ProductsUuid => {
                &["uuid"]
            }
            Self::Products => &["identifier"],
            _ => &["code"],
        }
    }

    /// The format of this endpoint's `updated` filter, when it has one.
    pub(crate) fn date_style(self) -> Option<DateStyle> {
        match self {
            Self::Families | Self::Attributes | Self::Categories => Some(DateStyle::Iso),
            Self::ProductModels | Self::Products => Some(DateStyle::ServerLocal),
            _ => None,
        }
    }

    /// Whether the endpoint takes `search`.
    pub(crate) fn can_search(self) -> bool {
        self.date_style().is_some() || matches!(self, Self::Locales | Self::Currencies)
    }

    /// Products and models: values can be narrowed, and pages go by cursor.
    fn has_values(self) -> bool {
        matches!(self, Self::ProductModels | Self::Products)
    }

    /// Whether an item of the parent stream owns a list of this stream.
    pub(crate) fn has_children(self, parent: &Object<'_>) -> bool {
        if self != Self::AttributeOptions {
            return true;
        }
        // Only these have options (reference data, whose types end alike, has its own lists). Asking for the others would
        // cost a call each, and Akeneo allows three a second.
        match parent.get("type").as_ref().and_then(Value::as_str) {
            Some(kind) => matches!(
                &*kind,
                "pim_catalog_simpleselect" | "pim_catalog_multiselect"
            ),
            None => true,
        }
    }

    /// The path of the first page. `search` is Akeneo's filter object, `limit` the page size.
    pub(crate) fn first_url(self, config: &Config, search: Option<&str>, limit: u32) -> String {
        let mut url = format!("/api/rest/v1/{}", self.endpoint(config));
        if self == Self::MeasurementFamilies {
            // The one list without pages: a plain array.
            return url;
        }
        push(&mut url, '?', "limit", &limit.to_string());
        if self.has_values() {
            push(&mut url, '&', "pagination_type", "search_after");
            if let Some(channel) = &config.channel {
                push(&mut url, '&', "scope", channel);
            }
            if !config.locales.is_empty() {
                push(&mut url, '&', "locales", &config.locales.join(","));
            }
            if !config.attributes.is_empty() {
                push(&mut url, '&', "attributes", &config.attributes.join(","));
            }
            if config.with_attribute_options {
                push(&mut url, '&', "with_attribute_options", "true");
            }
        }
        if let Some(search) = search {
            push(&mut url, '&', "search", search);
        }
        url
    }

    /// The path of the first page of what one parent owns.
    pub(crate) fn child_url(nesting: Nesting, config: &Config, parent: &str, limit: u32) -> String {
        let mut url = format!(
            "/api/rest/v1/{}/{}/{}",
            nesting.parent.endpoint(config),
            encode(parent),
            nesting.part
        );
        push(&mut url, '?', "limit", &limit.to_string());
        url
    }

    /// JSON Schema of an item: the fields that consumers rely on.
    pub(crate) fn schema(self, config: &Config) -> String {
        let mut properties = serde_json::Map::new();
        let text = || serde_json::json!({ "type": "string" });
        let labels = || serde_json::json!({ "type": ["object", "array"], "description": "label per locale" });
        let codes = || serde_json::json!({ "type": "array", "items": { "type": "string" } });
        let nullable = || serde_json::json!({ "type": ["string", "null"] });
        let more: Vec<(&str, serde_json::Value)> = match self {
            Self::Channels => vec![
                ("labels", labels()),
                ("locales", codes()),
                ("currencies", codes()),
            ],
            Self::Locales | Self::Currencies => {
                vec![("enabled", serde_json::json!({ "type": "boolean" }))]
            }
            Self::AssociationTypes | Self::MeasurementFamilies => vec![("labels", labels())],
            Self::Families => vec![
                ("attributes", codes()),
                ("attribute_as_label", nullable()),
                ("labels", labels()),
            ],
            Self::FamilyVariants => vec![
                ("family", text()),
                (
                    "variant_attribute_sets",
                    serde_json::json!({ "type": "array" }),
                ),
                ("labels", labels()),
            ],
            Self::Attributes => vec![
                ("type", text()),
                ("localizable", serde_json::json!({ "type": "boolean" })),
                ("scopable", serde_json::json!({ "type": "boolean" })),
                ("labels", labels()),
            ],
            Self::AttributeOptions => {
                vec![
                    ("labels", labels()),
                    (
                        "sort_order",
                        serde_json::json!({ "type": ["integer", "null"] }),
                    ),
                ]
            }
            Self::Categories => vec![("parent", nullable()), ("labels", labels())],
            Self::ProductModels => vec![
                ("family", text()),
                ("family_variant", text()),
                ("parent", nullable()),
                ("categories", codes()),
                ("values", serde_json::json!({ "type": ["object", "array"] })),
                ("updated", text()),
            ],
            Self::Products => vec![
                ("family", nullable()),
                ("parent", nullable()),
                ("categories", codes()),
                ("enabled", serde_json::json!({ "type": "boolean" })),
                ("values", serde_json::json!({ "type": ["object", "array"] })),
                ("updated", text()),
            ],
        };
        for key in self.key_fields(config) {
            properties.insert((*key).to_owned(), text());
        }
        for (name, schema) in more {
            properties.insert(name.to_owned(), schema);
        }
        serde_json::json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "required": self.key_fields(config),
            "properties": properties,
        })
        .to_string()
    }
}

fn push(url: &mut String, mark: char, name: &str, value: &str) {
    url.push(mark);
    url.push_str(name);
    url.push('=');
    url.push_str(&encode(value));
}

/// Percent-encodes a query value or path segment.
fn encode(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const KEEP: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, KEEP).to_string()
}
