//! A text that is never shown.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};

/// A password, a token, a key: wiped from memory when dropped, and shown by nothing. In a file it is a text, or
/// `{ secret: NAME }` or `{ file: PATH }`, which are replaced when the file is loaded.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Takes a text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The text, for the one place that sends it.
    pub(super) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::new)
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "writeOnly": true },
            {
                "type": "object",
                "properties": {
                    "secret": {
                        "type": "string", "minLength": 1,
                        "description": "Name of a secret of the project: `crossdock secret set NAME` adds it.",
                    },
                    "file": {
                        "type": "string", "minLength": 1,
                        "description": "File that holds the secret and nothing else, relative to this file.",
                    },
                },
                "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
            },
        ] })
    }
}

/// Replaces secrets in a text that came from elsewhere and is about to be shown.
pub(super) fn redact(text: &str, secrets: &[&Secret]) -> String {
    let mut shown = text.to_owned();
    for secret in secrets {
        if !secret.expose().is_empty() {
            shown = shown.replace(secret.expose(), "[secret]");
        }
    }
    shown
}

/// What stands in the place of a secret.
const HIDDEN: &[u8] = b"[secret]";
/// Shorter secrets are not looked for in responses: they would be found by chance.
const SHORTEST: usize = 6;

/// What to look for in responses: each secret in the forms in which servers repeat what they got, as it is, in JSON
/// and in a URL. The longest come first, so that none is only found in parts.
pub(super) fn forms(secrets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for secret in secrets {
        if secret.len() < SHORTEST {
            continue;
        }
        if let Ok(text) = std::str::from_utf8(&secret) {
            let json = serde_json::Value::from(text).to_string();
            let json = json.trim_start_matches('"');
            let json = json.strip_suffix('"').unwrap_or(json);
            let query: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            all.extend([
                json.replace('/', "\\/").into_bytes(),
                json.to_owned().into_bytes(),
                query.replace('+', "%20").into_bytes(),
                query.into_bytes(),
            ]);
        }
        all.push(secret);
    }
    all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    all.dedup();
    all
}

/// Whether a name, of a header or a variable, says that its value is a secret.
pub(super) fn is_telling(name: &str) -> bool {
    const WORDS: [&str; 9] = [
        "auth",
        "key",
        "token",
        "secret",
        "cookie",
        "pass",
        "pwd",
        "credential",
        "session",
    ];
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

/// Replaces secrets in what a server sent, before a plugin sees it: some servers repeat the headers that they got.
/// `None`: there are none in it.
pub(super) fn conceal(bytes: &[u8], secrets: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut hidden: Option<Vec<u8>> = None;
    for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST) {
        let text = hidden.as_deref().unwrap_or(bytes);
        let finder = memchr::memmem::Finder::new(secret);
        let places: Vec<usize> = finder.find_iter(text).collect();
        if places.is_empty() {
            continue;
        }
        let mut out = Vec::with_capacity(text.len());
        let mut from = 0;
        for at in places {
            out.extend_from_slice(&text[from..at]);
            out.extend_from_slice(HIDDEN);
            from = at + secret.len();
        }
        out.extend_from_slice(&text[from..]);
        hidden = Some(out);
    }
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_of_responses() {
        let secrets = [b"hunter2".to_vec(), b"token-1".to_vec(), b"abc".to_vec()];
        assert_eq!(
            conceal(b"a hunter2 token-1 hunter2 abc", &secrets).unwrap(),
            b"a [secret] [secret] [secret] abc"
        );
        assert_eq!(conceal(b"nothing in it, abc", &secrets), None);
    }

    #[test]
    fn secrets_are_looked_for_as_servers_write_them() {
        let found = forms(vec![b"a/b\"c d".to_vec(), b"short".to_vec()]);
        let told: Vec<_> = found
            .iter()
            .map(|one| String::from_utf8_lossy(one).into_owned())
            .collect();
        assert_eq!(
            told,
            [
                "a%2Fb%22c%20d",
                "a%2Fb%22c+d",
                "a\\/b\\\"c d",
                "a/b\\\"c d",
                "a/b\"c d"
            ]
        );
        // The whole before its parts, so that nothing of it is left.
        let secrets = forms(vec![b"hunter2".to_vec(), b"hunter2-geheim".to_vec()]);
        assert_eq!(
            conceal(b"x hunter2-geheim hunter2", &secrets).unwrap(),
            b"x [secret] [secret]"
        );
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = Secret::new("hunter2");
        assert!(!format!("{secret:?} {:#?}", [&secret]).contains("hunter2"));
        assert_eq!(
            redact("wrong password hunter2!", &[&secret, &Secret::new("")]),
            "wrong password [secret]!"
        );
    }
}
