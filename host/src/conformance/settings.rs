//! `conformance.yaml`: what the kit gives a plugin.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    catalogue::{Kind, conformance::Level},
    flow::{Document, Finding, Variables, document},
};

/// What findings' codes start with.
const AREA: &str = "conformance";

/// What a plugin is tested with, per kind.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Settings {
    /// As a source.
    #[serde(default)]
    source: Option<KindSettings>,
    /// As a transformer.
    #[serde(default)]
    transformer: Option<KindSettings>,
    /// As a sink.
    #[serde(default)]
    sink: Option<KindSettings>,
}

/// What one kind of a plugin is tested with.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KindSettings {
    /// The level that it must reach: `basic`, `resumable` or `exactly-once`. Below it the test fails.
    #[serde(default)]
    pub level: Option<Level>,
    /// Its config, as in a flow file.
    #[serde(default)]
    pub config: Option<Map<String, Value>>,
    /// Configs that it must refuse.
    #[serde(default)]
    pub refuses: Vec<Refused>,
    /// Files that are there before it starts: path and text. It may read and write the folder that they are in.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Folders that are there before it starts.
    #[serde(default)]
    pub folders: Vec<String>,
    /// Records that it is given: payloads by stream. Without: some that have `id`, `name` and more.
    #[serde(default)]
    pub records: BTreeMap<String, Vec<Value>>,
    /// The field of a record that is its key.
    #[serde(default = "id")]
    pub key: String,
    /// An API in memory: items by the path of their collection. `GET ?after=ID&limit=N` lists them, `GET`, `PUT` and
    /// `DELETE` of `PATH/ID` are for one of them, `POST` adds one.
    #[serde(default)]
    pub api: Option<BTreeMap<String, Vec<Value>>>,
    /// What is in tables before it starts.
    #[serde(default)]
    pub tables: BTreeMap<String, BTreeMap<String, Value>>,
    /// Whether what a sink has written can be compared byte by byte.
    #[serde(default)]
    pub compare: Compare,
}

/// A config that a plugin must refuse.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Refused {
    /// The config.
    pub config: Map<String, Value>,
    /// JSON pointer of the field that has to be named.
    pub field: String,
}

/// How the results of two runs of a sink are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// Byte by byte. Files whose name begins with a dot are the plugin's own.
    #[default]
    Bytes,
    /// Not at all: files differ from run to run though they hold the same (a database).
    Nothing,
}

fn id() -> String {
    "id".to_owned()
}

impl Settings {
    /// The file in a project.
    pub const FILE: &'static str = "conformance.yaml";

    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, each at its place.
    pub fn load(file: &Path) -> Result<Self, Vec<Finding>> {
        let text = document::read(AREA, file)?;
        let variables = Variables::new(BTreeMap::new());
        let mut document = Document::parse(AREA, &text, file, &variables)?;
        for kind in Kind::ALL {
            document.inline_files(&format!("/{kind}/config"));
        }
        document.decode()
    }

    /// The settings for a component: of the project that it was built in, or beside it.
    pub fn find(component: &Path) -> Option<PathBuf> {
        let folder = component.parent()?;
        let project = folder.parent().filter(|_| folder.ends_with("dist"));
        let beside = project.into_iter().chain([folder]);
        beside
            .map(|folder| folder.join(Self::FILE))
            .find(|file| file.is_file())
    }

    /// Those of one kind.
    pub fn kind(&self, kind: Kind) -> KindSettings {
        let settings = match kind {
            Kind::Source => &self.source,
            Kind::Transformer => &self.transformer,
            Kind::Sink => &self.sink,
        };
        settings.clone().unwrap_or_else(|| KindSettings {
            key: id(),
            ..KindSettings::default()
        })
    }
}

/// A config that fits a schema: defaults, examples, first choices, and the simplest value where a field is required.
pub(super) fn sample_config(schema: &Value) -> Map<String, Value> {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let fields = schema.get("properties").and_then(Value::as_object);
    fields
        .into_iter()
        .flatten()
        .filter(|(name, _)| required.contains(&name.as_str()))
        .map(|(name, field)| (name.clone(), sample(field)))
        .collect()
}

fn sample(field: &Value) -> Value {
    let first = |name: &str| field.get(name).and_then(Value::as_array)?.first().cloned();
    let chosen = field
        .get("default")
        .cloned()
        .or_else(|| first("examples"))
        .or_else(|| first("enum"))
        .or_else(|| field.get("const").cloned());
    if let Some(chosen) = chosen {
        return chosen;
    }
    if let Some(shape) = first("oneOf").or_else(|| first("anyOf")) {
        return sample(&shape);
    }
    let kind = match field.get("type") {
        Some(Value::Array(names)) => names.first().and_then(Value::as_str),
        other => other.and_then(Value::as_str),
    };
    match kind {
        Some("integer" | "number") => field.get("minimum").cloned().unwrap_or(Value::from(1)),
        Some("boolean") => Value::Bool(false),
        Some("array") => {
            let item = field
                .get("items")
                .map_or_else(|| Value::from("sample"), sample);
            Value::Array(vec![item])
        }
        Some("object") => Value::Object(sample_config(field)),
        Some("null") => Value::Null,
        _ => Value::from("sample"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_has_every_field() {
        let guide = include_str!("../../../guest-sdk/README.md");
        let fields = serde_json::to_value(KindSettings::default()).unwrap();
        for name in fields.as_object().unwrap().keys() {
            let rows = guide.lines().filter(|line| line.starts_with("| `"));
            let named = rows
                .filter_map(|row| row.split('|').nth(1))
                .any(|cell| cell.contains(&format!("`{name}")));
            assert!(named, "{name}");
        }
    }
}
