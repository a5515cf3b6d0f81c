//! The sink's config.

use std::path::{Path, PathBuf};

use crossdock_sdk::prelude::*;
use serde::Deserialize;

/// Folder inside the output folder that holds what is not finished yet.
const WORK: &str = ".spryker-csv-work";

/// Where to write, for which locales, and what stands in for absent fields.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Output folder.
    pub(crate) directory: String,
    /// Locales, in the order of their columns.
    pub(crate) locales: Vec<String>,
    /// Where a text that is missing in a locale is taken from, first choice first.
    #[serde(default)]
    pub(crate) fallback_locales: Vec<String>,
    /// Stores of records that name none.
    #[serde(default)]
    pub(crate) stores: Vec<String>,
    /// `template_name` of categories that name none.
    #[serde(default = "default_template")]
    pub(crate) template_name: String,
    /// `tax_set_name` of abstracts that name none.
    #[serde(default)]
    pub(crate) tax_set: String,
    /// Warehouse of stocks that name none.
    #[serde(default = "default_warehouse")]
    pub(crate) warehouse: String,
    /// `price_type` of prices that name none.
    #[serde(default = "default_price_type")]
    pub(crate) price_type: String,
    /// `image_set_name` of images that name none.
    #[serde(default = "default_image_set")]
    pub(crate) image_set: String,
    /// Between the items of an attribute value that is a list.
    #[serde(default = "default_separator")]
    pub(crate) list_separator: String,
    /// What happens to a second record with the same key.
    #[serde(default)]
    pub(crate) duplicates: Duplicates,
    /// What happens at the end when a row refers to something that never came.
    #[serde(default)]
    pub(crate) unresolved: Unresolved,
    /// Categories that the shop has already and that may be referred to.
    #[serde(default)]
    pub(crate) known_categories: Vec<String>,
    /// Name of the import configuration. Null: none is written.
    #[serde(default = "default_import_yaml")]
    pub(crate) import_yaml: Option<String>,
    /// Folder of the files as the shop sees it. Default: `directory`.
    pub(crate) import_path: Option<String>,
}

/// A second record with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Duplicates {
    /// replaces the first one.
    #[default]
    LastWins,
    /// is rejected.
    Reject,
}

/// A row that refers to something that never came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unresolved {
    /// is written and reported.
    #[default]
    Warn,
    /// fails the run.
    Fail,
}

fn default_template() -> String {
    "Catalog (default)".to_owned()
}

fn default_warehouse() -> String {
    "Warehouse1".to_owned()
}

fn default_price_type() -> String {
    "DEFAULT".to_owned()
}

fn default_image_set() -> String {
    "default".to_owned()
}

fn default_separator() -> String {
    ", ".to_owned()
}

#[allow(
    clippy::unnecessary_wraps,
    reason = "serde's default has the type of the field"
)]
fn default_import_yaml() -> Option<String> {
    Some("import.yml".to_owned())
}

impl Config {
    /// What serde cannot say.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.directory.is_empty() {
            return Err(Fault::config("`directory` is empty")
                .field("/directory")
                .advice("name a granted folder"));
        }
        if self.locales.is_empty() {
            return Err(Fault::config("no locale")
                .field("/locales")
                .advice("list the shop's locales: [en_US, de_DE]"));
        }
        for (field, list) in [("/locales", &self.locales), ("/stores", &self.stores)] {
            for (at, name) in list.iter().enumerate() {
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                if name.is_empty() || !name.chars().all(plain) {
                    return Err(
                        Fault::config(format!("`{name}` is no name of a locale or store"))
                            .field(format!("{field}/{at}"))
                            .advice("letters, digits, `_` and `-` only"),
                    );
                }
                if list.iter().take(at).any(|earlier| earlier == name) {
                    return Err(Fault::config(format!("`{name}` is listed twice"))
                        .field(format!("{field}/{at}")));
                }
            }
        }
        if let Some(name) = &self.import_yaml
            && (name.is_empty()
                || Path::new(name)
                    .file_name()
                    .is_none_or(|file| file != name.as_str()))
        {
            return Err(Fault::config(format!("`{name}` is no plain file name"))
                .field("/import-yaml")
                .advice("it is written into `directory`"));
        }
        Ok(())
    }

    /// The output folder.
    pub(crate) fn output(&self) -> PathBuf {
        PathBuf::from(&self.directory)
    }

    /// What is not finished yet.
    pub(crate) fn work(&self) -> PathBuf {
        self.output().join(WORK)
    }

    /// Finished files that wait for their commit.
    pub(crate) fn ready(&self) -> PathBuf {
        self.work().join("ready")
    }
}
