//! The source's config.

use std::collections::BTreeMap;

use crossdock_sdk::prelude::*;
use serde::Deserialize;

use crate::stream::Stream;

/// Largest page Akeneo answers; more is a 422.
const MAX_PAGE_SIZE: u32 = 100;

/// What to read, from which connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Name of the granted connection.
    pub(crate) connection: String,
    /// Streams, read in this order.
    #[serde(default = "Stream::defaults")]
    pub(crate) streams: Vec<Stream>,
    /// Only values of this channel (and values of no channel).
    pub(crate) channel: Option<String>,
    /// Only values of these locales (and values of no locale). Empty: all.
    #[serde(default)]
    pub(crate) locales: Vec<String>,
    /// Only values of these attributes. Empty: all.
    #[serde(default)]
    pub(crate) attributes: Vec<String>,
    /// Akeneo's `search` object, per stream.
    #[serde(default)]
    pub(crate) filters: BTreeMap<Stream, serde_json::Map<String, serde_json::Value>>,
    /// Items a page, 1 to 100.
    #[serde(default = "default_page_size")]
    pub(crate) page_size: u32,
    /// Which of the two product endpoints.
    #[serde(default)]
    pub(crate) products_endpoint: ProductsEndpoint,
    /// Products and models carry the labels of their options in `linked_data`.
    #[serde(default)]
    pub(crate) with_attribute_options: bool,
    /// A later run reads only what changed since.
    #[serde(default)]
    pub(crate) incremental: bool,
    /// Streams a later run asks for changes only.
    #[serde(default = "Stream::incremental_defaults")]
    pub(crate) incremental_streams: Vec<Stream>,
    /// What a later run does with the other streams.
    #[serde(default)]
    pub(crate) other_streams: OtherStreams,
    /// How far before the start of the last run changes are asked for again.
    #[serde(default = "default_overlap")]
    pub(crate) overlap_seconds: u32,
}

/// Where products are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProductsEndpoint {
    /// `/products`: products have an `identifier`.
    #[default]
    Products,
    /// `/products-uuid`: products have a `uuid`; Akeneo 7 and later.
    ProductsUuid,
}

/// What a later run does with streams it does not ask for changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OtherStreams {
    /// Reads them in full again.
    #[default]
    Full,
    /// Leaves them out.
    Skip,
}

fn default_page_size() -> u32 {
    MAX_PAGE_SIZE
}

fn default_overlap() -> u32 {
    300
}

impl Config {
    /// What serde cannot say: ranges and contradictions.
    pub(crate) fn validate(&self) -> Result<()> {
        if self.connection.is_empty() {
            return Err(Fault::config("`connection` is empty")
                .field("/connection")
                .advice("name a connection of the project"));
        }
        if self.page_size == 0 || self.page_size > MAX_PAGE_SIZE {
            return Err(Fault::config(format!(
                "a page of {} items: Akeneo takes 1 to 100",
                self.page_size
            ))
            .field("/page-size"));
        }
        if self.streams.is_empty() {
            return Err(Fault::config("no stream to read")
                .field("/streams")
                .advice("leave `streams` out to read the catalogue"));
        }
        for (at, stream) in self.streams.iter().enumerate() {
            if self
                .streams
                .iter()
                .take(at)
                .any(|earlier| earlier == stream)
            {
                return Err(
                    Fault::config(format!("stream `{}` is listed twice", stream.name()))
                        .field(format!("/streams/{at}")),
                );
            }
        }
        for (at, stream) in self.incremental_streams.iter().enumerate() {
            if stream.date_style().is_none() {
                return Err(Fault::config(format!(
                    "Akeneo cannot list changes of `{}` only",
                    stream.name()
                ))
                .field(format!("/incremental-streams/{at}"))
                .advice("possible: families, attributes, categories, product-models, products"));
            }
        }
        for stream in self.filters.keys() {
            if !stream.can_search() {
                return Err(
                    Fault::config(format!("Akeneo has no search for `{}`", stream.name()))
                        .field(format!("/filters/{}", stream.name()))
                        .advice("remove the filter"),
                );
            }
        }
        Ok(())
    }

    /// Whether a later run asks this stream for changes only.
    pub(crate) fn is_incremental(&self, stream: Stream) -> bool {
        self.incremental && self.incremental_streams.contains(&stream)
    }
}
