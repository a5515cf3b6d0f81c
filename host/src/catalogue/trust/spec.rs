//! `trust.yaml` as it is written. `crossdock schema trust` prints its JSON Schema; every description comes from here.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose plugins a project takes.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "crossdock trust")]
pub struct TrustSpec {
    /// What plugins need that come from none of the publishers' namespaces.
    #[serde(default)]
    pub require: Require,
    /// Who is known.
    pub publishers: Vec<PublisherSpec>,
}

/// What a plugin needs before it is installed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Require {
    /// A signature by a publisher who may publish there.
    #[default]
    Signed,
    /// Nothing: that it is not signed is said, and who installs it decides.
    UnsignedOk,
}

/// Somebody who publishes plugins.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PublisherSpec {
    /// The publisher's name, as it is shown.
    #[schemars(length(min = 1, max = 100), extend("examples" = ["acme"]))]
    pub publisher: String,
    /// Where the publisher's plugins are: a registry, or a part of one. The longest one that fits counts.
    #[serde(default)]
    #[schemars(extend("examples" = [["registry.example.com/acme"]]))]
    pub namespaces: Vec<String>,
    /// What plugins from these namespaces need.
    #[serde(default)]
    pub require: Require,
    /// The publisher's keys. Each of them is enough: a new one is added here before the old one goes.
    #[schemars(length(min = 1))]
    pub keys: Vec<KeySpec>,
}

/// A public key: in a file, or written here.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeySpec {
    /// PEM file with the public key, relative to this file.
    #[schemars(extend("examples" = ["keys/acme.pub"]))]
    pub file: Option<PathBuf>,
    /// The public key itself, in PEM form.
    pub pem: Option<String>,
    /// The last day (UTC) or the time until which signatures of this key count. What is installed runs on.
    #[schemars(extend("examples" = ["2027-12-31"]))]
    pub not_after: Option<String>,
}
