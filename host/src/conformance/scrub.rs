//! Takes out of requests and answers what looks like a secret, by the name that it stands under.

use serde_json::Value;

use crate::plugin::{Answered, Asked, Blob, Given, Import};

/// What stands in its place.
const REMOVED: &str = "(removed)";
/// Parts of names, in lower case, under which secrets stand.
const NAMES: [&str; 10] = [
    "authorization",
    "cookie",
    "password",
    "secret",
    "api-key",
    "api_key",
    "apikey",
    "access_token",
    "refresh_token",
    "auth-token",
];

/// What is imported, without secrets in requests.
pub(super) fn import(call: Import) -> Import {
    match call {
        Import::Send { request } => Import::Send {
            request: asked(request),
        },
        Import::Handle { request } => Import::Handle {
            request: asked(request),
        },
        Import::SendAll { requests } => Import::SendAll {
            requests: requests.into_iter().map(asked).collect(),
        },
        other => other,
    }
}

/// What an import gave, without secrets in answers.
pub(super) fn given(given: Given) -> Given {
    match given {
        Given::Answers(answers) => Given::Answers(answers.into_iter().map(answered).collect()),
        other => other,
    }
}

fn asked(request: Asked) -> Asked {
    Asked {
        url: url(&request.url),
        headers: headers(&request.headers),
        body: Blob(body(&request.body.0)),
        ..request
    }
}

fn answered(answer: Answered) -> Answered {
    match answer {
        Answered::Response {
            status,
            headers: all,
            body: bytes,
        } => Answered::Response {
            status,
            headers: headers(&all),
            body: Blob(body(&bytes.0)),
        },
        other => other,
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "token" || NAMES.iter().any(|part| name.contains(part))
}

/// Headers, without the values of secret ones.
fn headers(headers: &[(String, String)]) -> Vec<(String, String)> {
    let scrubbed = headers.iter().map(|(name, value)| {
        let value = if is_secret(name) {
            REMOVED
        } else {
            value.as_str()
        };
        (name.clone(), value.to_owned())
    });
    scrubbed.collect()
}

/// A URL, without the values of secret parameters.
fn url(url: &str) -> String {
    let Some((path, query)) = url.split_once('?') else {
        return url.to_owned();
    };
    let parts = query.split('&').map(|part| match part.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={REMOVED}"),
        _ => part.to_owned(),
    });
    format!("{path}?{}", parts.collect::<Vec<_>>().join("&"))
}

/// A body. One that is JSON and holds secrets is written anew; any other stays byte for byte.
fn body(body: &[u8]) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(body) else {
        return body.to_vec();
    };
    if fields(&mut value) {
        value.to_string().into_bytes()
    } else {
        body.to_vec()
    }
}

fn fields(value: &mut Value) -> bool {
    match value {
        Value::Object(object) => {
            let mut found = false;
            for (name, field) in object {
                if field.is_string() && is_secret(name) {
                    *field = Value::from(REMOVED);
                    found = true;
                } else {
                    found |= fields(field);
                }
            }
            found
        }
        Value::Array(items) => items
            .iter_mut()
            .fold(false, |found, item| fields(item) | found),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_and_the_rest_stays_as_it_is() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            headers(&[
                pair("Set-Cookie", "id=1"),
                pair("etag", "x"),
                pair("X-Api-Key", "k")
            ]),
            [
                pair("Set-Cookie", REMOVED),
                pair("etag", "x"),
                pair("X-Api-Key", REMOVED)
            ]
        );
        assert_eq!(
            url("/a?token=x&page=2"),
            format!("/a?token={REMOVED}&page=2")
        );
        assert_eq!(url("/a"), "/a");
        let plain = b"{ \"price\" : 1.50 }";
        assert_eq!(body(plain), plain);
        assert_eq!(body(b"no json"), b"no json");
        let text = String::from_utf8(body(br#"[{"user":{"password":"p","name":"n"}}]"#)).unwrap();
        assert!(
            text.contains(REMOVED) && text.contains("\"n\"") && !text.contains("\"p\""),
            "{text}"
        );
    }
}
