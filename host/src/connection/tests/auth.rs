//! Authentication with fixed credentials: each kind, what of them may come back, and what happens when the server
//! refuses.

use axum::{
    Json, Router,
    http::{HeaderMap, StatusCode, Uri},
    routing::{get as on_get, post},
};
use serde_json::json;

use super::{
    super::{Response, SendError},
    Count, connect, get, request, send, serve, text,
};

async fn show(uri: Uri, headers: HeaderMap) -> String {
    let header = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default()
    };
    backwards(&format!(
        "{uri} {} {}",
        header("authorization"),
        header("x-api-key")
    ))
}

/// What servers here tell is told backwards: a secret as it is would be taken out of the response.
pub(super) fn backwards(text: &str) -> String {
    text.chars().rev().collect()
}

/// What a server was sent.
pub(super) fn seen(response: &Response) -> String {
    backwards(text(response))
}

#[tokio::test]
async fn fixed_credentials_are_added() {
    let address = serve(Router::new().fallback(show)).await;
    for (auth, url, expected) in [
        ("none", "/x", "/x  "),
        (
            "{ basic: { username: ann, password: hunter2-geheim } }",
            "/x",
            "/x Basic YW5uOmh1bnRlcjItZ2VoZWlt ",
        ),
        (
            "{ bearer: { token: hunter2-geheim } }",
            "/x",
            "/x Bearer hunter2-geheim ",
        ),
        (
            "{ api-key: { header: X-Api-Key, value: hunter2-geheim } }",
            "/x",
            "/x  hunter2-geheim",
        ),
        (
            "{ api-key: { query: key, value: hunter2-geheim } }",
            "/x?a=1&key=mine",
            "/x?a=1&key=hunter2-geheim  ",
        ),
    ] {
        let connections = connect(address, &format!("auth: {auth}\n"));
        assert_eq!(
            seen(&get(&connections, url).await.unwrap()),
            expected,
            "{auth}"
        );
    }
}

#[tokio::test]
async fn a_plugin_cannot_replace_the_credential() {
    let address = serve(Router::new().fallback(show)).await;
    for (auth, header) in [
        (
            "{ basic: { username: ann, password: hunter2-geheim } }",
            "Authorization",
        ),
        (
            "{ api-key: { header: X-Api-Key, value: hunter2-geheim } }",
            "x-api-key",
        ),
    ] {
        let connections = connect(address, &format!("auth: {auth}\n"));
        let mut asked = request("GET", "/");
        asked.headers.push((header.into(), "mine".into()));
        let refused = send(&connections, asked).await.unwrap_err();
        assert!(matches!(refused, SendError::Invalid(_)), "{refused}");
    }
    // Without authentication of the connection it is the plugin's to add.
    let mut asked = request("GET", "/x");
    asked.headers.push(("Authorization".into(), "mine".into()));
    assert_eq!(
        seen(&send(&connect(address, ""), asked).await.unwrap()),
        "/x mine "
    );
}

#[tokio::test]
async fn who_has_secrets_chooses_the_form_of_the_answer() {
    let encoded = async |uri: Uri| ([("content-encoding", uri.path()[1..].to_owned())], "abc");
    let address = serve(Router::new().fallback(encoded)).await;
    let with = connect(
        address,
        "auth: { basic: { username: ann, password: hunter2-geheim } }\n",
    );
    let without = connect(address, "headers: { X-Shop: a }\n");
    for (name, value) in [
        ("Accept-Encoding", "br"),
        ("Range", "bytes=0-3"),
        ("If-Range", "\"x\""),
        ("A-IM", "gzip"),
    ] {
        let mut asked = request("GET", "/identity");
        asked.headers.push((name.into(), value.into()));
        let refused = send(&with, asked.clone()).await.unwrap_err();
        assert!(
            matches!(&refused, SendError::Invalid(text) if text.contains("set by the connection")),
            "{refused}"
        );
        // Where nothing is secret, it is the plugin's to say.
        assert_eq!(text(&send(&without, asked).await.unwrap()), "abc");
    }
    for encoding in ["br", "zstd", "deflate", "BR", "gzip,%20br", "compress"] {
        let refused = get(&with, &format!("/{encoding}")).await.unwrap_err();
        assert!(
            matches!(&refused, SendError::Denied(text) if text.contains("in the encoding")),
            "{encoding}: {refused}"
        );
        assert!(get(&without, &format!("/{encoding}")).await.is_ok());
    }
    assert_eq!(text(&get(&with, "/identity").await.unwrap()), "abc");
}

#[tokio::test]
async fn what_tokens_are_got_with_does_not_come_back() {
    let router = Router::new()
        .route(
            "/token",
            post(async || {
                Json(json!({ "access_token": "token-1-geheim", "refresh_token": "refresh-1-geheim" }))
            }),
        )
        .route(
            "/last",
            on_get(async || "hunter2-geheim password-9 refresh-1-geheim token-1-geheim Zm9vOmh1bnRlcjItZ2VoZWlt"),
        );
    let address = serve(router).await;
    let auth = "auth: { oauth2-password: { token-url: /token, client-id: foo, client-secret: hunter2-geheim, username: ann, password: password-9 } }\n";
    let connections = connect(address, auth);
    let answer = get(&connections, "/last").await.unwrap();
    assert_eq!(
        text(&answer),
        "[secret] [secret] [secret] [secret] [secret]"
    );
}

#[tokio::test]
async fn a_refused_fixed_credential_is_named_and_not_tried_again() {
    let count = Count::default();
    let counted = count.clone();
    let router = Router::new()
        .fallback(async move || (StatusCode::UNAUTHORIZED, counted.next().to_string()));
    let address = serve(router).await;
    for (auth, advice) in [
        (
            "{ basic: { username: ann, password: hunter2-geheim } }",
            "user name, password",
        ),
        (
            "{ api-key: { header: X-Key, value: hunter2-geheim } }",
            "auth.api-key.value",
        ),
        (
            "{ api-key: { query: key, value: hunter2-geheim } }",
            "auth.api-key.query",
        ),
    ] {
        let refused = get(&connect(address, &format!("auth: {auth}\n")), "/x")
            .await
            .unwrap_err();
        let SendError::Unauthenticated(message) = &refused else {
            panic!("{refused}")
        };
        assert!(
            message.contains("pim.yaml") && message.contains(advice),
            "{message}"
        );
    }
    assert_eq!(count.get(), 3);
    assert_eq!(get(&connect(address, ""), "/x").await.unwrap().status, 401);
}
