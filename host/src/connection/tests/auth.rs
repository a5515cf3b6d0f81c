//! Authentication: each kind, tokens, and what happens when the server refuses.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse as _, Response as Answer},
    routing::{any, get as on_get, post},
};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{
    super::{Response, SendError},
    Count, SECRET, connect, get, load, request, send, serve, text,
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
fn backwards(text: &str) -> String {
    text.chars().rev().collect()
}

/// What a server was sent.
fn seen(response: &Response) -> String {
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

/// A server with a token endpoint.
#[derive(Clone, Default)]
struct Pim {
    /// Requests for a token: their `Authorization` and body.
    asked: Arc<Mutex<Vec<(String, Value)>>>,
    /// The token that is good now.
    good: Arc<Mutex<String>>,
    /// What the endpoint adds to its answer.
    extra: Arc<Mutex<Value>>,
    /// Statuses that the endpoint answers first.
    failures: Arc<Mutex<Vec<(u16, Value)>>>,
    /// Refresh tokens are refused.
    refresh_is_dead: Arc<AtomicBool>,
}

async fn token(State(pim): State<Pim>, headers: HeaderMap, body: Bytes) -> Answer {
    let is_form = headers["content-type"] == "application/x-www-form-urlencoded";
    let body: Value = if is_form {
        let pairs = url::form_urlencoded::parse(&body);
        pairs
            .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())))
            .collect()
    } else {
        serde_json::from_slice(&body).unwrap()
    };
    let authorization = headers
        .get("authorization")
        .map(|value| value.to_str().unwrap())
        .unwrap_or_default();
    let asked = {
        let mut asked = pim.asked.lock().unwrap();
        asked.push((authorization.to_owned(), body.clone()));
        asked.len()
    };
    if let Some((status, answer)) = pim.failures.lock().unwrap().pop() {
        return (StatusCode::from_u16(status).unwrap(), Json(answer)).into_response();
    }
    if body["grant_type"] == "refresh_token" && pim.refresh_is_dead.load(Ordering::SeqCst) {
        return (
            StatusCode::BAD_REQUEST,
            Json(json!({"error": "invalid_grant"})),
        )
            .into_response();
    }
    let token = format!("token-{asked}");
    (*pim.good.lock().unwrap()).clone_from(&token);
    let mut answer = json!({"access_token": token, "token_type": "bearer"});
    if let Value::Object(extra) = &*pim.extra.lock().unwrap() {
        answer.as_object_mut().unwrap().extend(extra.clone());
    }
    Json(answer).into_response()
}

async fn resource(State(pim): State<Pim>, headers: HeaderMap) -> Answer {
    let good = format!("Bearer {}", pim.good.lock().unwrap());
    if headers
        .get("authorization")
        .is_some_and(|value| value.to_str().unwrap() == good)
    {
        backwards(&good).into_response()
    } else {
        StatusCode::UNAUTHORIZED.into_response()
    }
}

impl Pim {
    async fn serve(&self) -> SocketAddr {
        let router = Router::new()
            .route("/oauth/token", post(token))
            .route("/{*path}", any(resource));
        serve(router.with_state(self.clone())).await
    }

    fn grants(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap();
        asked
            .iter()
            .map(|(_, body)| body["grant_type"].as_str().unwrap().to_owned())
            .collect()
    }

    fn revoke(&self) {
        "another".clone_into(&mut self.good.lock().unwrap());
    }
}

const PASSWORD: &str = "auth: { oauth2-password: { token-url: /oauth/token, client-id: app, client-secret: hunter2-geheim-client, \
                        username: ann, password: hunter2-geheim, body: json } }\n";
const CLIENT: &str = "auth: { oauth2-client-credentials: { token-url: /oauth/token, client-id: app, \
                      client-secret: hunter2-geheim, scope: read write } }\n";

#[tokio::test]
async fn the_password_grant_asks_once_and_keeps_the_token() {
    let pim = Pim::default();
    *pim.extra.lock().unwrap() = json!({"expires_in": 3600, "refresh_token": "r1"});
    let address = pim.serve().await;
    let connections = connect(address, PASSWORD);
    for _ in 0..3 {
        assert_eq!(
            seen(&get(&connections, "/products").await.unwrap()),
            "Bearer token-1"
        );
    }
    let basic = "Basic YXBwOmh1bnRlcjItZ2VoZWltLWNsaWVudA==";
    let body = json!({"grant_type": "password", "username": "ann", "password": SECRET});
    assert_eq!(*pim.asked.lock().unwrap(), [(basic.to_owned(), body)]);
    assert_eq!(connections.counters()["pim"].tokens, 1);
    // As a form.
    let form = PASSWORD.replace("body: json", "body: form");
    get(&connect(address, &form), "/products").await.unwrap();
    let asked = pim.asked.lock().unwrap();
    assert_eq!(asked[0], asked[1]);
}

#[tokio::test]
async fn client_credentials_go_into_the_header_or_the_body() {
    let pim = Pim::default();
    let address = pim.serve().await;
    get(&connect(address, CLIENT), "/x").await.unwrap();
    get(
        &connect(
            address,
            &CLIENT.replace("read write", "all, auth-style: body"),
        ),
        "/x",
    )
    .await
    .unwrap();
    let asked = pim.asked.lock().unwrap();
    assert_eq!(asked[0].0, "Basic YXBwOmh1bnRlcjItZ2VoZWlt");
    assert_eq!(
        asked[0].1,
        json!({"grant_type": "client_credentials", "scope": "read write"})
    );
    assert_eq!(asked[1].0, "");
    let body = json!({
        "grant_type": "client_credentials", "scope": "all", "client_id": "app", "client_secret": SECRET
    });
    assert_eq!(asked[1].1, body);
}

#[tokio::test]
async fn many_who_wait_share_one_request_for_a_token() {
    let pim = Pim::default();
    let connections = connect(
        pim.serve().await,
        &format!("{PASSWORD}limits: {{ max-concurrent: 20 }}\n"),
    );
    for outcome in join_all((0..20).map(|_| get(&connections, "/x"))).await {
        assert_eq!(seen(&outcome.unwrap()), "Bearer token-1");
    }
    // The same when the token dies: twenty are refused, one asks.
    pim.revoke();
    for outcome in join_all((0..20).map(|_| get(&connections, "/x"))).await {
        assert_eq!(seen(&outcome.unwrap()), "Bearer token-2");
    }
    assert_eq!(pim.grants(), ["password", "password"]);
}

#[tokio::test]
async fn an_expired_token_is_renewed_with_the_refresh_token() {
    let pim = Pim::default();
    *pim.extra.lock().unwrap() = json!({"expires_in": "0", "refresh_token": "r1"});
    let connections = connect(pim.serve().await, PASSWORD);
    get(&connections, "/x").await.unwrap();
    get(&connections, "/x").await.unwrap();
    assert_eq!(pim.grants(), ["password", "refresh_token"]);
    assert_eq!(pim.asked.lock().unwrap()[1].1["refresh_token"], "r1");
    // A server that gives no new refresh token lets the old one live; when it is dead, the password helps.
    *pim.extra.lock().unwrap() = json!({"expires_in": 0});
    get(&connections, "/x").await.unwrap();
    get(&connections, "/x").await.unwrap();
    pim.refresh_is_dead.store(true, Ordering::SeqCst);
    get(&connections, "/x").await.unwrap();
    get(&connections, "/x").await.unwrap();
    let refresh = "refresh_token";
    assert_eq!(
        pim.grants(),
        [
            "password", refresh, refresh, refresh, refresh, "password", "password"
        ]
    );
}

#[tokio::test]
async fn a_401_gets_one_new_token_and_one_more_try_with_every_method() {
    let pim = Pim::default();
    let connections = connect(pim.serve().await, PASSWORD);
    for (method, expected) in [
        ("GET", "Bearer token-1"),
        ("POST", "Bearer token-2"),
        ("PATCH", "Bearer token-3"),
    ] {
        assert_eq!(
            seen(&send(&connections, request(method, "/x")).await.unwrap()),
            expected
        );
        pim.revoke();
    }
}

#[tokio::test]
async fn a_401_that_stays_is_an_error_after_one_renewal() {
    let count = Count::default();
    let counted = count.clone();
    let router = Router::new()
        .route(
            "/oauth/token",
            post(async || Json(json!({"access_token": "t"}))),
        )
        .fallback(async move || (StatusCode::UNAUTHORIZED, counted.next().to_string()));
    let connections = connect(serve(router).await, PASSWORD);
    let refused = get(&connections, "/x").await.unwrap_err();
    assert!(
        matches!(&refused, SendError::Unauthenticated(text) if text.contains("pim.yaml")),
        "{refused}"
    );
    assert_eq!((count.get(), connections.counters()["pim"].tokens), (2, 2));
}

#[tokio::test]
async fn a_wrong_password_is_sent_once_and_never_shown() {
    for (status, answer, advice) in [
        (
            400,
            json!({"error": "invalid_grant", "error_description": format!("no user with {SECRET}")}),
            "`password`",
        ),
        (
            401,
            json!({"error": "invalid_client"}),
            "`client-id` and `client-secret`",
        ),
        (
            422,
            json!({"code": 422, "message": "No user found"}),
            "`username`",
        ),
        (403, json!([]), "`password`"),
    ] {
        let pim = Pim::default();
        *pim.failures.lock().unwrap() = vec![(status, answer); 50];
        let connections = connect(pim.serve().await, PASSWORD);
        for outcome in join_all((0..10).map(|_| get(&connections, "/x"))).await {
            let SendError::Unauthenticated(message) = outcome.unwrap_err() else {
                panic!("{status}")
            };
            assert!(
                message.contains(advice) && message.contains("pim.yaml"),
                "{message}"
            );
            assert!(message.contains(&status.to_string()), "{message}");
        }
        // Those who come later are told the same.
        let later = get(&connections, "/x").await.unwrap_err().to_string();
        assert!(
            later.contains(advice) && later.contains("not asked again for"),
            "{later}"
        );
        assert_eq!(pim.grants(), ["password"], "{status}");
    }
}

/// Lets time pass for the client. It stands still for no longer than that: with real connections nobody may wait on a
/// clock that stands.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_wrong_password_is_sent_again_after_a_while_that_doubles() {
    let pim = Pim::default();
    let wrong = (400, json!({"error": "invalid_grant"}));
    *pim.failures.lock().unwrap() = vec![wrong; 2];
    let connections = connect(pim.serve().await, PASSWORD);
    let second = Duration::from_secs(1);
    let refused = async |so_often: usize| {
        assert!(get(&connections, "/x").await.is_err());
        assert_eq!(pim.grants().len(), so_often);
    };
    refused(1).await;
    later(second * 15).await;
    refused(1).await;
    later(second * 16).await;
    refused(2).await;
    later(second * 45).await;
    refused(2).await;
    later(second * 16).await;
    // Now it is the right one, and what was wrong before is forgotten.
    assert_eq!(get(&connections, "/x").await.unwrap().status, 200);
    assert_eq!(pim.grants().len(), 3);
    // A server in trouble has refused nobody: it is asked at once.
    *pim.failures.lock().unwrap() = vec![(503, json!({})); 4];
    pim.revoke();
    assert!(get(&connections, "/x").await.is_err());
    assert_eq!(get(&connections, "/x").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_refused_renewal_stops_nobody_whose_token_is_good() {
    let pim = Pim::default();
    let router = Router::new()
        .route("/oauth/token", post(token))
        .route("/forbidden", any(async || StatusCode::UNAUTHORIZED))
        .fallback(resource);
    let connections = connect(serve(router.with_state(pim.clone())).await, PASSWORD);
    get(&connections, "/x").await.unwrap();
    *pim.failures.lock().unwrap() = vec![(400, json!({"error": "invalid_grant"})); 9];
    for _ in 0..3 {
        assert!(get(&connections, "/forbidden").await.is_err());
        assert_eq!(get(&connections, "/x").await.unwrap().status, 200);
    }
    assert_eq!(pim.grants().len(), 2);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    for (life, renewed) in [(600, 540), (3600, 3540), (300, 270)] {
        let pim = Pim::default();
        *pim.extra.lock().unwrap() = json!({ "expires_in": life });
        let connections = connect(pim.serve().await, PASSWORD);
        let second = Duration::from_secs(1);
        get(&connections, "/x").await.unwrap();
        later(second * (renewed - 15)).await;
        get(&connections, "/x").await.unwrap();
        assert_eq!(pim.grants().len(), 1, "{life}");
        later(second * 16).await;
        get(&connections, "/x").await.unwrap();
        assert_eq!(pim.grants().len(), 2, "{life}");
    }
}

#[tokio::test]
async fn a_token_endpoint_in_trouble_is_asked_again() {
    let pim = Pim::default();
    *pim.failures.lock().unwrap() = vec![(503, json!({})), (500, json!({})), (429, json!({}))];
    assert_eq!(
        get(&connect(pim.serve().await, PASSWORD), "/x")
            .await
            .unwrap()
            .status,
        200
    );
    assert_eq!(pim.grants().len(), 4);
    *pim.failures.lock().unwrap() = vec![(503, json!({"message": format!("down {SECRET}")})); 4];
    let lost = get(&connect(pim.serve().await, PASSWORD), "/x")
        .await
        .unwrap_err();
    assert!(
        matches!(&lost, SendError::Unreachable(text) if text.contains("503")),
        "{lost}"
    );
}

#[tokio::test]
async fn a_token_endpoint_that_gives_no_token_is_named() {
    let router = Router::new().fallback(async || "<html>hunter2-geheim</html>");
    let refused = get(&connect(serve(router).await, PASSWORD), "/x")
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, SendError::Unauthenticated(text) if text.contains("access_token")),
        "{refused}"
    );
}

#[tokio::test]
async fn a_token_url_at_another_host_is_fine_but_its_address_is_checked() {
    let pim = Pim::default();
    let (address, login) = (pim.serve().await, pim.serve().await);
    let absolute = CLIENT.replace("/oauth/token", &format!("http://{login}/oauth/token"));
    assert_eq!(
        get(&connect(address, &absolute), "/x")
            .await
            .unwrap()
            .status,
        200
    );
    let yaml = format!("connection: pim\nbase-url: https://pim.example.com\n{absolute}");
    let error = load(&yaml).unwrap_err().to_string();
    assert!(error.contains("allow-private"), "{error}");
}
