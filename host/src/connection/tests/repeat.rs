//! Servers that repeat secrets, on their own or because a plugin makes them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    http::{HeaderMap, StatusCode, Uri, header::LOCATION},
    response::IntoResponse as _,
    routing::{any, get as on_get, post},
};
use serde_json::json;

use super::{
    super::{Connections, Request, Response, SendError},
    Count, connect, get, request, serve, text,
};

const CAPITALS: &str = "Swordfish-7781-Hunter3";
const BEARER: &str = "auth: { bearer: { token: Swordfish-7781-Hunter3 } }\n";

/// Sends, and takes an error for an answer with its text.
async fn told(connections: &Connections, request: Request) -> String {
    match connections.send("pim", request).await {
        Ok(response) => text(&response).to_owned(),
        Err(error) => format!("{error} {error:?}"),
    }
}

fn header(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

#[tokio::test]
async fn no_error_tells_where_a_server_redirects_to() {
    let redirect = async |uri: Uri, headers: HeaderMap| {
        let token = header(&headers, "authorization").replace("Bearer ", "");
        let to = match uri.path() {
            "/host" => format!("http://{token}.example.com/"),
            "/user" => format!("http://{token}@{}/", header(&headers, "host")),
            "/number" => "http://1234567890/".to_owned(),
            "/slow" => format!("/wait/{token}"),
            "/wait" => format!("/wait/{token}%22"),
            path if path.starts_with("/wait/") => std::future::pending().await,
            _ => format!("/loop/{token}%22{}", token.to_uppercase()),
        };
        (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, to)])
    };
    let address = serve(Router::new().fallback(redirect)).await;
    let impatient = "limits: { timeout: 100ms }\nretry: { attempts: 1 }\n";
    let patient = connect(address, BEARER);
    let impatient = connect(address, &format!("{BEARER}{impatient}"));
    for (path, says) in [
        ("/host", "[secret].example.com is not this connection"),
        ("/user", "a user name"),
        ("/number", "another origin is not this connection"),
        ("/slow", "did not answer"),
        ("/wait", "did not answer"),
        ("/loop", "more than 5 times"),
    ] {
        let slow = says == "did not answer";
        let connections = if slow { &impatient } else { &patient };
        let error = told(connections, request("GET", path)).await;
        let lowered = error.to_lowercase();
        assert!(!lowered.contains("swordfish"), "{error}");
        assert!(!lowered.contains("73.150.2.210"), "{error}");
        let own = format!("http://{address}{path} ");
        assert!(error.contains(&own) && error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_guess_is_repeated_whether_it_is_right_or_not() {
    let router = Router::new()
        .route(
            "/mine",
            any(async |uri: Uri, body: Bytes| {
                let query = uri.query().unwrap_or_default().to_owned();
                (
                    [("x-query", query.clone())],
                    format!("{query} {}", String::from_utf8_lossy(&body)),
                )
            }),
        )
        .route(
            "/yours",
            any(async |headers: HeaderMap| header(&headers, "authorization")),
        )
        .route(
            "/again",
            any(async |uri: Uri| (StatusCode::FOUND, [(LOCATION, uri.to_string())])),
        );
    let address = serve(router).await;
    let basic = "auth: { basic: { username: ann, password: hunter2-geheim } }\n";
    let connections = connect(address, basic);
    for guess in [
        "hunter2-geheim",
        "hunter3-geheim",
        "YW5uOmh1bnRlcjItZ2VoZWlt",
    ] {
        let mut asked = request("POST", &format!("/mine?q={guess}"));
        asked.body = format!("before {guess} after").into();
        let answer = connections.send("pim", asked).await.unwrap();
        let expected = format!("q={guess} before {guess} after");
        assert_eq!(text(&answer), expected);
        assert_eq!(answer.header("x-query"), Some(&*format!("q={guess}")));
        // Nor does an error tell, whether or not the server has a part in it.
        let error = told(&connections, request("GET", &format!("/again?{guess}"))).await;
        assert!(error.contains("more than 5 times"), "{error}");
        let wrong = format!("{guess}(");
        let mut asked = request("GET", "/mine");
        asked.headers = vec![(wrong.clone(), "x".into())];
        for asked in [request(&wrong, "/mine"), asked] {
            let error = told(&connections, asked).await;
            assert!(error.contains(&wrong), "{error}");
        }
        let error = told(
            &connections,
            request("GET", &format!("http://{guess}.example/")),
        )
        .await;
        assert!(error.contains(&guess.to_lowercase()), "{error}");
    }
    // What it did not write is taken out.
    let answer = get(&connections, "/yours").await.unwrap();
    assert_eq!(text(&answer), "Basic [secret]");
}

#[tokio::test]
async fn a_server_that_goes_on_repeating_is_refused() {
    let show = async |headers: HeaderMap| {
        let key = format!(
            "{}{}",
            header(&headers, "authorization"),
            header(&headers, "x-key")
        );
        ([("x-key", key.clone())], key)
    };
    let router = Router::new()
        .route("/show", any(show))
        .route("/silent", any(async || "fine"))
        .route(
            "/cookie",
            any(async || [("set-cookie", "s=Swordfish-7781-Hunter3")]),
        )
        .route("/page", any(async |uri: Uri| format!("next: {uri}&page=2")));
    let address = serve(router).await;
    let connections = connect(address, BEARER);
    let shown = async |connections: &Connections, path: &str| get(connections, path).await;
    for _ in 0..20 {
        let answer: Response = shown(&connections, "/cookie").await.unwrap();
        assert_eq!(answer.header("set-cookie"), Some("s=[secret]"));
    }
    for _ in 0..16 {
        let answer = shown(&connections, "/show").await.unwrap();
        assert_eq!(text(&answer), "Bearer [secret]");
    }
    for _ in 0..2 {
        let refused = shown(&connections, "/show").await.unwrap_err();
        assert!(
            matches!(&refused, SendError::Denied(why) if why.contains("16 times") && why.contains("pim.yaml")),
            "{refused}"
        );
        assert_eq!(text(&shown(&connections, "/silent").await.unwrap()), "fine");
    }
    // A key that is part of URLs stands in the links of a server that has many pages.
    let query = "auth: { api-key: { query: key, value: Swordfish-7781-Hunter3 } }\n";
    let connections = connect(address, query);
    for _ in 0..40 {
        let answer = shown(&connections, "/page").await.unwrap();
        assert_eq!(text(&answer), "next: /page?key=[secret]&page=2");
    }
}

#[tokio::test]
async fn a_secret_is_no_name_of_a_header() {
    let names = async || [(CAPITALS, "a"), ("x-other", "b")];
    let connections = connect(serve(Router::new().fallback(names)).await, BEARER);
    let answer = get(&connections, "/").await.unwrap();
    let all = format!("{:?}", answer.headers).to_lowercase();
    assert!(!all.contains("swordfish"), "{all}");
    assert_eq!(answer.header("[secret]"), Some("a"));
}

const PASSWORD: &str = "auth: { oauth2-password: { token-url: /token, client-id: foo, client-secret: client-7781, \
                        username: ann, password: password-7781 } }\n";

/// A server whose token endpoint counts, and that shows all tokens.
async fn issuing() -> (Connections, Count) {
    let (count, odd) = (Count::default(), Count::default());
    let counted = count.clone();
    let issued = Arc::new(Mutex::new(Vec::new()));
    let shown = Arc::clone(&issued);
    let token = async move || {
        let at = counted.next();
        let tokens = [
            format!("access-{at:03}-geheim"),
            format!("refresh-{at:03}-geheim"),
        ];
        issued.lock().unwrap().extend(tokens.clone());
        let [access, refresh] = tokens;
        Json(json!({ "access_token": access, "refresh_token": refresh, "expires_in": 36_000 }))
    };
    let flaky = async move || match odd.next() % 2 {
        1 => StatusCode::UNAUTHORIZED.into_response(),
        _ => "fine".into_response(),
    };
    let router = Router::new()
        .route("/token", post(token))
        .route("/forbidden", any(async || StatusCode::UNAUTHORIZED))
        .route("/flaky", any(flaky))
        .route(
            "/last",
            on_get(async move || shown.lock().unwrap().join(" ")),
        );
    (connect(serve(router).await, PASSWORD), count)
}

/// Lets time pass for the client, as in the tests of tokens.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

#[tokio::test]
async fn who_is_refused_again_and_again_gets_no_new_token_each_time() {
    let (connections, count) = issuing().await;
    let forbidden = async |expected: usize| {
        for _ in 0..5 {
            let refused = get(&connections, "/forbidden").await.unwrap_err();
            assert!(
                matches!(refused, SendError::Unauthenticated(_)),
                "{refused}"
            );
        }
        assert_eq!(count.get(), expected);
        let last = get(&connections, "/last").await.unwrap();
        assert!(!text(&last).contains("geheim"), "{}", text(&last));
        assert_eq!(text(&last).matches("[secret]").count(), 2 * expected);
    };
    // One to begin with, and one for the first refusal.
    forbidden(2).await;
    for (wait, expected) in [(15, 2), (16, 3), (45, 3), (16, 4), (121, 5), (241, 6)] {
        later(Duration::from_secs(wait)).await;
        forbidden(expected).await;
    }
}

#[tokio::test]
async fn no_token_comes_back_however_many_there_were() {
    let (connections, count) = issuing().await;
    for _ in 0..60 {
        // Refused with every second token, so that each new one is of use.
        let _ = get(&connections, "/flaky").await;
    }
    // As many as may follow each other at once.
    assert_eq!(count.get(), 8);
    let last = get(&connections, "/last").await.unwrap();
    assert_eq!(text(&last), ["[secret]"; 16].join(" "));
}
