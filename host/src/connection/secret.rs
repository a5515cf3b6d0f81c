//! A text that is never shown.

use std::{borrow::Cow, fmt};

use memchr::memmem;
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
    longest_first(&mut all);
    all
}

/// The order in which forms are looked for.
pub(super) fn longest_first(forms: &mut Vec<Vec<u8>>) {
    forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    forms.dedup();
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
    let mut text = Vec::new();
    for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST) {
        if text.is_empty() && memmem::find(bytes, secret).is_some() {
            text = bytes.to_vec();
        }
        conceal_one(&mut text, secret);
    }
    (!text.is_empty()).then_some(text)
}

/// The same where case was lost on the way: names of headers and hosts are lowered. `secrets` are in lower case.
pub(super) fn conceal_caseless(bytes: &[u8], secrets: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut hidden: Option<Vec<u8>> = None;
    for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST) {
        let text = hidden.as_deref().unwrap_or(bytes);
        // As long as the text itself, so that places in it are places there.
        let lowered = text.to_ascii_lowercase();
        let (mut out, mut from) = (Vec::new(), 0);
        for at in memmem::find_iter(&lowered, secret) {
            out.extend_from_slice(&text[from..at]);
            out.extend_from_slice(HIDDEN);
            from = at + secret.len();
        }
        if from > 0 {
            out.extend_from_slice(&text[from..]);
            hidden = Some(out);
        }
    }
    hidden
}

/// The same as [`conceal`] in place, for what may be large, and whether there were any.
pub(super) fn conceal_in(text: &mut Vec<u8>, secrets: &[Vec<u8>]) -> bool {
    let mut found = false;
    for secret in secrets.iter().filter(|secret| secret.len() >= SHORTEST) {
        found |= conceal_one(text, secret);
    }
    found
}

fn conceal_one(text: &mut Vec<u8>, secret: &[u8]) -> bool {
    let finder = memmem::Finder::new(secret);
    if secret.len() < HIDDEN.len() {
        let count = finder.find_iter(text).count();
        if count == 0 {
            return false;
        }
        let mut longer = Vec::with_capacity(text.len() + count * (HIDDEN.len() - secret.len()));
        let mut from = 0;
        for at in finder.find_iter(text) {
            longer.extend_from_slice(&text[from..at]);
            longer.extend_from_slice(HIDDEN);
            from = at + secret.len();
        }
        longer.extend_from_slice(&text[from..]);
        *text = longer;
        return true;
    }
    // What is written is never beyond what was read: large bodies are not copied.
    let (mut read, mut written) = (0, 0);
    while let Some(at) = finder.find(&text[read..]) {
        text.copy_within(read..read + at, written);
        written += at;
        text[written..written + HIDDEN.len()].copy_from_slice(HIDDEN);
        written += HIDDEN.len();
        read += at + secret.len();
    }
    if read == 0 {
        return false;
    }
    text.copy_within(read.., written);
    text.truncate(written + text.len() - read);
    text.shrink_to_fit();
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_count_where_it_was_lost() {
        let secrets = [b"hunter2-geheim".to_vec(), b"hunter2".to_vec()];
        assert_eq!(
            conceal_caseless(b"A HUNTER2-Geheim hunTER2!", &secrets).unwrap(),
            b"A [secret] [secret]!"
        );
        assert_eq!(conceal_caseless(b"A hunter3", &secrets), None);
    }

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
    fn what_is_concealed_in_place_is_the_same() {
        for secrets in [
            [b"hunter2-geheim".to_vec(), b"token-1".to_vec()],
            [b"12345678".to_vec(), b"a".repeat(20)],
            [b"[secret]".to_vec(), b"secret]".to_vec()],
        ] {
            for text in [
                String::new(),
                "x".to_owned(),
                "12345678".to_owned(),
                "12345678123456781234567".to_owned(),
                "hunter2-geheimhunter2-geheim".to_owned(),
                "at hunter2-geheim, token-1token-1 hunter2-geheim!".to_owned(),
                format!("{}b{}", "a".repeat(65), "a".repeat(39)),
                "[secret] and secret]".to_owned(),
            ] {
                // One by one, as it was written first.
                let mut expected = text.clone();
                for secret in &secrets {
                    let secret = String::from_utf8_lossy(secret);
                    expected = expected.replace(secret.as_ref(), "[secret]");
                }
                let mut bytes = text.clone().into_bytes();
                let found = conceal_in(&mut bytes, &secrets);
                assert_eq!(String::from_utf8_lossy(&bytes), expected, "{text}");
                let whole = conceal(text.as_bytes(), &secrets);
                assert_eq!(found, whole.is_some(), "{text}");
                assert_eq!(whole.unwrap_or(text.into_bytes()), bytes);
            }
        }
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
    }
}
