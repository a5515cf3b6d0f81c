//! A connection file as it is written. `crossdock schema connection` prints its JSON Schema; every description comes
//! from here.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use schemars::{JsonSchema, Schema};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::secret::Secret;
use crate::flow::quantity::{Size, Time};

/// A remote system: where it is, how to authenticate, how hard it may be worked.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(title = "crossdock connection")]
pub struct ConnectionSpec {
    /// The connection's name. Flows grant it under this name.
    #[schemars(regex(pattern = r"^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$"), extend("examples" = ["akeneo"]))]
    pub connection: String,
    /// `http` or `https` address. Only what is below it can be reached.
    #[schemars(length(min = 1), extend("examples" = ["https://pim.example.com", "${AKENEO_URL}"]))]
    pub base_url: String,
    /// How requests are authenticated. Plugins never see any of it.
    #[serde(default)]
    pub auth: AuthSpec,
    /// How much at a time.
    #[serde(default)]
    pub limits: LimitsSpec,
    /// How often a failed request is tried again.
    #[serde(default)]
    pub retry: RetrySpec,
    /// Added to every request. They win over the plugin's own.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Allow private and loopback addresses (10.0.0.0/8, 192.168.0.0/16, localhost, ...).
    #[serde(default)]
    pub allow_private: bool,
    /// PEM file of certificate authorities to trust besides the system's, relative to this file.
    pub ca_file: Option<PathBuf>,
    /// What the connection shows of itself to servers that ask for a certificate (mutual TLS).
    pub client_certificate: Option<ClientCertificateSpec>,
}

/// `client-certificate: {file, key}`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClientCertificateSpec {
    /// PEM file of the certificate and those between it and its authority, relative to this file.
    pub file: PathBuf,
    /// The private key in PEM form: `{ file: client.key }`, say.
    pub key: Secret,
}

impl ConnectionSpec {
    /// A connection without authentication and with the default limits.
    pub fn new(name: impl Into<String>, base_url: impl Into<String>) -> Self {
        Self {
            connection: name.into(),
            base_url: base_url.into(),
            auth: AuthSpec::None,
            limits: LimitsSpec::default(),
            retry: RetrySpec::default(),
            headers: BTreeMap::new(),
            allow_private: false,
            ca_file: None,
            client_certificate: None,
        }
    }
}

/// How requests are authenticated.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(transform = one_object)]
pub enum AuthSpec {
    /// Not at all.
    #[default]
    None,
    /// User name and password with each request.
    Basic(BasicSpec),
    /// A fixed token with each request.
    Bearer(BearerSpec),
    /// A key in a header or in the query of each request.
    ApiKey(ApiKeySpec),
    /// OAuth 2 with a user's password; the token is refreshed by itself.
    #[serde(rename = "oauth2-password")]
    OAuth2Password(PasswordSpec),
    /// OAuth 2 for machines.
    #[serde(rename = "oauth2-client-credentials")]
    OAuth2ClientCredentials(ClientCredentialsSpec),
}

/// Joins the alternatives that are objects of one field into one object that has exactly one of the fields: then a
/// misspelt field is told with all the known ones.
fn one_object(schema: &mut Schema) {
    let Some(Value::Array(alternatives)) = schema.remove("oneOf") else {
        return;
    };
    let mut fields = Map::new();
    let mut others = Vec::new();
    for alternative in alternatives {
        match alternative.get("properties") {
            Some(Value::Object(field)) => {
                let mut field = field.clone();
                if let (Some(text), Some(Value::Object(inner))) =
                    (alternative.get("description"), field.values_mut().next())
                {
                    inner.insert("description".into(), text.clone());
                }
                fields.extend(field);
            }
            _ => others.push(alternative),
        }
    }
    others.push(json!({
        "type": "object",
        "properties": fields,
        "additionalProperties": false,
        "minProperties": 1,
        "maxProperties": 1,
    }));
    schema.insert("anyOf".into(), Value::Array(others));
}

/// `basic: {username, password}`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BasicSpec {
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

/// `bearer: {token}`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BearerSpec {
    /// The token.
    pub token: Secret,
}

/// `api-key: {header, value}` or `api-key: {query, value}`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ApiKeySpec {
    /// Name of the header that carries the key. Either this or `query`.
    #[schemars(extend("examples" = ["X-Api-Key"]))]
    pub header: Option<String>,
    /// Name of the query parameter that carries the key.
    pub query: Option<String>,
    /// The key.
    pub value: Secret,
}

/// `oauth2-password: {token-url, client-id, client-secret, username, password}`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PasswordSpec {
    /// Where tokens come from: a path below the base URL, or an absolute URL.
    #[schemars(length(min = 1), extend("examples" = ["/api/oauth/v1/token"]))]
    pub token_url: String,
    /// Client id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: Secret,
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
    /// How the request for a token is written.
    #[serde(default)]
    pub body: TokenBody,
}

/// How a request for a token is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenBody {
    /// As a form, as the standard says.
    #[default]
    Form,
    /// As JSON, as Akeneo wants it.
    Json,
}

/// `oauth2-client-credentials: {token-url, client-id, client-secret}`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ClientCredentialsSpec {
    /// Where tokens come from: a path below the base URL, or an absolute URL.
    #[schemars(length(min = 1), extend("examples" = ["https://login.example.com/oauth2/token"]))]
    pub token_url: String,
    /// Client id.
    pub client_id: String,
    /// Client secret.
    pub client_secret: Secret,
    /// What the token is for.
    pub scope: Option<String>,
    /// Where the client's id and secret go.
    #[serde(default)]
    pub auth_style: AuthStyle,
}

/// Where a client's id and secret go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthStyle {
    /// Into the `Authorization` header.
    #[default]
    Basic,
    /// Into the body.
    Body,
}

/// How hard the remote system may be worked.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LimitsSpec {
    /// Requests at a time.
    #[schemars(range(min = 1, max = 1000))]
    pub max_concurrent: u32,
    /// Requests per second, evenly spread. No limit when it is left out.
    #[schemars(range(min = 0.001, max = 100_000))]
    pub requests_per_second: Option<f64>,
    /// Time for one request with its response, without the wait before it.
    pub timeout: Time,
    /// Largest body of a response, after decompression.
    pub max_response: Size,
}

impl Default for LimitsSpec {
    fn default() -> Self {
        Self {
            max_concurrent: 4,
            requests_per_second: None,
            timeout: Time(Duration::from_secs(30)),
            max_response: Size(64 << 20),
        }
    }
}

/// How often a request is tried, when it failed in a way that may pass.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RetrySpec {
    /// Tries, the first one included.
    #[schemars(range(min = 1, max = 100))]
    pub attempts: u32,
    /// Longest wait before the second try; it doubles with each try.
    pub initial: Time,
    /// Longest wait of all.
    pub max: Time,
}

impl Default for RetrySpec {
    fn default() -> Self {
        Self {
            attempts: 8,
            initial: Time(Duration::from_millis(500)),
            max: Time(Duration::from_secs(30)),
        }
    }
}
