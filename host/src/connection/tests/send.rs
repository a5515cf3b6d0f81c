//! Requests: limits, redirects, retries, addresses.

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, Request as Incoming},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse as _, Redirect},
    routing::{any, get as on_get},
};
use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Semaphore,
};

use super::{super::SendError, Count, connect, get, load, request, send, serve, text};
use crate::flow::Budget;

/// Answers with what came in.
async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> String {
    let mut lines = vec![format!("{method} {uri}")];
    let mut named: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")))
        .collect();
    named.sort();
    lines.extend(named);
    lines.push(String::from_utf8(body.to_vec()).unwrap());
    lines.join("\n")
}

#[tokio::test]
async fn a_request_arrives_as_it_was_asked_for() {
    let address = serve(Router::new().fallback(echo)).await;
    let connections = connect(address, "headers: { X-Shop: a, x-plugin: ours }");
    let mut asked = request("POST", "/api/x?q=%7B%22a%22%3A1%7D&page=2");
    asked.headers = vec![
        ("Content-Type".into(), "application/json".into()),
        ("x-plugin".into(), "theirs".into()),
        ("X-Two".into(), "1".into()),
        ("X-Two".into(), "2".into()),
    ];
    asked.body = "{}".into();
    // A plugin that names a header of the connection is told so.
    let refused = send(&connections, asked.clone()).await.unwrap_err();
    assert!(
        matches!(&refused, SendError::Invalid(text) if text.contains("x-plugin")),
        "{refused}"
    );
    asked.headers.remove(1);
    let response = send(&connections, asked).await.unwrap();
    assert_eq!(response.status, 200);
    let got = text(&response);
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        "POST /api/x?q=%7B%22a%22%3A1%7D&page=2",
        "content-type: application/json",
        "content-length: 2",
        "x-plugin: ours",
        "x-shop: a",
        "x-two: 1",
        "x-two: 2",
        "accept-encoding: gzip",
        &format!("host: {address}"),
        &format!("user-agent: crossdock/{version}"),
        "{}",
    ] {
        assert!(
            got.lines().any(|found| found == line),
            "{line} is not in\n{got}"
        );
    }
    assert!(!got.contains("authorization"), "{got}");
    let counters = connections.counters()["pim"];
    assert_eq!(
        (counters.requests, counters.retries, counters.bytes_sent),
        (1, 0, 2)
    );
    assert_eq!(counters.bytes_received, got.len() as u64);
}

#[tokio::test]
async fn a_path_below_the_base_and_an_absolute_url_are_the_same() {
    let address = serve(Router::new().fallback(echo)).await;
    let yaml = format!("connection: pim\nbase-url: http://{address}/shop/\nallow-private: true\n");
    let connections = load(&yaml).unwrap();
    for url in [
        "/x".to_owned(),
        "x".to_owned(),
        format!("http://{address}/shop/x"),
    ] {
        let response = get(&connections, &url).await.unwrap();
        assert!(text(&response).starts_with("GET /shop/x\n"), "{url}");
    }
    for url in [
        format!("http://{address}/x"),
        "/../x".into(),
        "http://127.0.0.1:1/shop/x".into(),
    ] {
        let refused = get(&connections, &url).await.unwrap_err();
        assert!(matches!(refused, SendError::Denied(_)), "{url}: {refused}");
    }
    assert_eq!(connections.counters()["pim"].requests, 3);
}

#[tokio::test]
async fn a_header_that_breaks_the_line_never_leaves() {
    let count = Count::default();
    let counted = count.clone();
    let address = serve(Router::new().fallback(async move || counted.next().to_string())).await;
    let connections = connect(address, "");
    for (name, value) in [
        ("X", "a\r\nHost: evil"),
        ("X\r\nY", "a"),
        ("Host", "evil"),
        ("Transfer-Encoding", "chunked"),
    ] {
        let mut asked = request("GET", "/");
        asked.headers.push((name.into(), value.into()));
        let refused = send(&connections, asked).await.unwrap_err();
        assert!(matches!(refused, SendError::Invalid(_)), "{refused}");
    }
    assert_eq!(count.get(), 0);
}

#[tokio::test]
async fn an_unknown_connection_is_denied_and_the_known_ones_are_named() {
    let connections = connect("127.0.0.1:9".parse().unwrap(), "");
    let refused = connections
        .send("pin", request("GET", "/"))
        .await
        .unwrap_err();
    assert_eq!(
        refused,
        SendError::Denied("there is no connection `pin`; known: pim".into())
    );
}

#[tokio::test]
async fn a_body_larger_than_allowed_is_cut_off() {
    let endless = async || {
        let chunks = futures_util::stream::repeat_with(|| {
            Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 10_000]))
        });
        axum::body::Body::from_stream(chunks)
    };
    let router = Router::new()
        .route("/endless", on_get(endless))
        .route("/told", on_get(async || vec![b'x'; 1 << 20]))
        .route("/fits", on_get(async || vec![b'x'; 64 << 10]));
    let connections = connect(serve(router).await, "limits: { max-response: 64KiB }");
    for path in ["/endless", "/told"] {
        let refused = get(&connections, path).await.unwrap_err();
        assert!(
            matches!(&refused, SendError::TooLarge(text) if text.contains("max-response")),
            "{refused}"
        );
    }
    assert_eq!(
        get(&connections, "/fits").await.unwrap().body.len(),
        64 << 10
    );
    assert!(connections.counters()["pim"].bytes_received < 300_000);
    // HEAD has a length, but no body.
    assert_eq!(
        send(&connections, request("HEAD", "/told"))
            .await
            .unwrap()
            .status,
        200
    );
}

#[tokio::test]
async fn what_is_compressed_is_bounded_by_what_it_becomes() {
    let packed = |size: usize| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![b'x'; size]).unwrap();
        ([("content-encoding", "gzip")], encoder.finish().unwrap())
    };
    let (bomb, small) = (packed(64 << 20), packed(1000));
    assert!(bomb.1.len() < 100_000);
    let router = Router::new()
        .route("/bomb", on_get(async move || bomb.into_response()))
        .route("/small", on_get(async move || small.into_response()));
    let connections = connect(serve(router).await, "limits: { max-response: 1MiB }");
    let refused = get(&connections, "/bomb").await.unwrap_err();
    assert!(matches!(refused, SendError::TooLarge(_)), "{refused}");
    assert!(connections.counters()["pim"].bytes_received <= 1 << 20);
    assert_eq!(
        get(&connections, "/small").await.unwrap().body,
        vec![b'x'; 1000]
    );
}

#[tokio::test]
async fn a_budget_is_held_by_what_is_there_and_not_by_what_was() {
    const PART: usize = 1 << 20;
    let count = Count::default();
    let counted = count.clone();
    let body = || vec![b'x'; PART];
    let router = Router::new()
        .route(
            "/late",
            on_get(async move || match counted.next() {
                1 | 2 => (StatusCode::SERVICE_UNAVAILABLE, body()).into_response(),
                3 => (StatusCode::FOUND, [("location", "/there")], body()).into_response(),
                _ => body().into_response(),
            }),
        )
        .fallback(async move || body());
    let connections = connect(serve(router).await, "");
    let budget = Budget::new(PART as u64 * 3 / 2);
    let ask = async |path: &str| {
        let mut asked = request("GET", path);
        asked.budget = budget.part();
        send(&connections, asked).await
    };
    // Two tries that failed and a redirect, each with a body, and then the response.
    assert_eq!(ask("/late").await.unwrap().body.len(), PART);
    assert_eq!(count.get(), 3);
    let refused = ask("/x").await.unwrap_err();
    assert!(
        matches!(&refused, SendError::TooLarge(why) if why.contains("together")),
        "{refused}"
    );
}

#[tokio::test]
async fn redirects_are_followed_within_the_connection_only() {
    let other = serve(Router::new().fallback(async || "stolen")).await;
    let hop = async |Path(left): Path<u32>| match left {
        0 => "arrived".into_response(),
        left => Redirect::temporary(&format!("/a/hop/{}", left - 1)).into_response(),
    };
    let router = Router::new()
        .route("/a/hop/{left}", any(hop))
        .route("/a/see", any(async || Redirect::to("/a/echo")))
        .route("/a/keep", any(async || Redirect::temporary("echo")))
        .route("/a/echo", any(echo))
        .route("/a/out", any(async || Redirect::temporary("/b/secret")))
        .route(
            "/a/away",
            any(async move || Redirect::temporary(&format!("http://{other}/"))),
        )
        .route(
            "/a/nowhere",
            any(async || (StatusCode::FOUND, [("location", "http://[")])),
        )
        .route("/a/silent", any(async || StatusCode::FOUND));
    let address = serve(router).await;
    let yaml = format!(
        "connection: pim\nbase-url: http://{address}/a\nallow-private: true\nauth: {{ bearer: {{ token: hunter2-geheim }} }}\n"
    );
    let connections = load(&yaml).unwrap();
    assert_eq!(text(&get(&connections, "/hop/5").await.unwrap()), "arrived");
    for (path, says) in [
        ("/hop/6", "more than 5 times"),
        ("/out", "not below"),
        ("/away", "is not this connection"),
        ("/nowhere", "no URL"),
    ] {
        let refused = get(&connections, path).await.unwrap_err();
        assert!(
            matches!(&refused, SendError::Denied(text) if text.contains(says)),
            "{refused}"
        );
    }
    assert_eq!(get(&connections, "/silent").await.unwrap().status, 302);
    let mut asked = request("POST", "/see");
    asked.body = "data".into();
    let seen = send(&connections, asked.clone()).await.unwrap();
    assert!(
        text(&seen).starts_with("GET /a/echo\n") && text(&seen).ends_with('\n'),
        "{}",
        text(&seen)
    );
    assert!(
        text(&seen).contains("authorization: Bearer [secret]"),
        "the next hop is authenticated, too, and the secret that it repeats is taken out"
    );
    asked.url = "/keep".into();
    let kept = send(&connections, asked).await.unwrap();
    assert!(
        text(&kept).starts_with("POST /a/echo\n") && text(&kept).ends_with("\ndata"),
        "{}",
        text(&kept)
    );
}

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_written() {
    let address = serve(Router::new().fallback(async || "stolen")).await;
    let port = address.port();
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "10.0.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "0",
        "224.0.0.1",
        "[fe80::1]",
        "[fd00::1]",
    ] {
        let error = load(&format!(
            "connection: pim\nbase-url: 'http://{host}:{port}'\n"
        ))
        .unwrap_err();
        assert!(
            error.to_string().contains("pim.yaml:2:11"),
            "{host}: {error}"
        );
        assert!(error.to_string().contains("address"), "{host}: {error}");
    }
    for host in [
        "169.254.169.254",
        "0.0.0.0",
        "[::]",
        "224.0.0.1",
        "255.255.255.255",
    ] {
        let yaml =
            format!("connection: pim\nbase-url: 'http://{host}:{port}'\nallow-private: true\n");
        assert!(
            load(&yaml)
                .unwrap_err()
                .to_string()
                .contains("never reached"),
            "{host}"
        );
    }
    // A name is looked at when it is resolved: each time, by the one who connects.
    let yaml = format!("connection: pim\nbase-url: http://localhost:{port}\n");
    let connections = load(&yaml).unwrap();
    let refused = get(&connections, "/").await.unwrap_err();
    let SendError::Denied(message) = &refused else {
        panic!("{refused}")
    };
    assert!(
        message.contains("localhost is") && message.contains("allow-private: true"),
        "{message}"
    );
    assert_eq!(connections.counters()["pim"].retries, 0);
    let connections = load(&format!("{yaml}allow-private: true\n")).unwrap();
    assert_eq!(text(&get(&connections, "/").await.unwrap()), "stolen");
}

/// Fails `failures` times with a status, then answers `ok`.
async fn failing(
    failures: usize,
    status: u16,
    retry_after: Option<&'static str>,
) -> (SocketAddr, Count) {
    let count = Count::default();
    let counted = count.clone();
    let answer = async move || {
        if counted.next() > failures {
            return "ok".into_response();
        }
        let mut response = StatusCode::from_u16(status).unwrap().into_response();
        if let Some(wait) = retry_after {
            response
                .headers_mut()
                .insert("retry-after", wait.parse().unwrap());
        }
        response
    };
    (serve(Router::new().fallback(answer)).await, count)
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    for (method, status, retry_after) in [
        ("GET", 429, None),
        ("POST", 429, None),
        ("POST", 429, Some("0")),
        ("PATCH", 503, Some("0")),
        ("GET", 500, None),
        ("PUT", 502, None),
        ("DELETE", 503, None),
        ("HEAD", 504, None),
    ] {
        let (address, count) = failing(2, status, retry_after).await;
        let connections = connect(address, "");
        let response = send(&connections, request(method, "/")).await.unwrap();
        assert_eq!(
            (response.status, count.get()),
            (200, 3),
            "{method} {status}"
        );
        let counters = connections.counters()["pim"];
        assert_eq!((counters.requests, counters.retries), (3, 2));
        assert_eq!(counters.throttled, if status == 429 { 2 } else { 0 });
    }
}

#[tokio::test]
async fn what_a_second_try_would_not_change_or_could_double_is_the_answer() {
    for (method, status, retry_after, tries) in [
        ("POST", 500, None, 1),
        ("POST", 502, None, 1),
        ("PATCH", 503, None, 1),
        ("GET", 404, None, 1),
        ("GET", 501, None, 1),
        ("GET", 429, Some("100000"), 1),
        ("GET", 429, None, 4),
        ("POST", 429, Some("0"), 4),
        ("GET", 503, None, 4),
    ] {
        let (address, count) = failing(100, status, retry_after).await;
        let response = send(&connect(address, ""), request(method, "/"))
            .await
            .unwrap();
        assert_eq!(
            (response.status, count.get()),
            (status, tries),
            "{method} {status}"
        );
        assert_eq!(response.header("retry-after"), retry_after);
    }
}

/// A server that reads a request and closes the connection, the first `failures` times.
async fn resetting(failures: usize) -> (SocketAddr, Count) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Count::default();
    let counted = count.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let _ = socket.read(&mut [0; 4096]).await;
            if counted.next() > failures {
                let _ = socket
                    .write_all(
                        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
                    )
                    .await;
            }
        }
    });
    (address, count)
}

#[tokio::test]
async fn a_lost_connection_is_tried_again_when_that_does_no_harm() {
    let (address, count) = resetting(2).await;
    assert_eq!(text(&get(&connect(address, ""), "/").await.unwrap()), "ok");
    assert_eq!(count.get(), 3);
    let (address, count) = resetting(100).await;
    let lost = send(&connect(address, ""), request("POST", "/"))
        .await
        .unwrap_err();
    assert!(
        matches!(&lost, SendError::Unreachable(text) if text.contains(&address.to_string())),
        "{lost}"
    );
    assert_eq!(count.get(), 1);
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_whatever_the_method() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let connections = connect(address, "");
    let lost = send(&connections, request("POST", "/x?key=hunter2-geheim"))
        .await
        .unwrap_err();
    let SendError::Unreachable(message) = &lost else {
        panic!("{lost}")
    };
    assert!(
        message.contains(&format!("http://{address}/x: Connection refused")),
        "{message}"
    );
    assert_eq!(connections.counters()["pim"].retries, 3);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_unreachable() {
    let yaml = "connection: pim\nbase-url: http://no-such-host.invalid\nretry: { attempts: 1 }\n";
    let lost = get(&load(yaml).unwrap(), "/").await.unwrap_err();
    assert!(
        matches!(&lost, SendError::Unreachable(text) if text.contains("no-such-host.invalid")),
        "{lost}"
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left() {
    let silent = Router::new().fallback(async || std::future::pending::<()>().await);
    let connections = connect(
        serve(silent).await,
        "limits: { timeout: 20ms }\nretry: { attempts: 2, initial: 1ms }",
    );
    let lost = get(&connections, "/").await.unwrap_err();
    assert!(
        matches!(&lost, SendError::Unreachable(text) if text.contains("20ms")),
        "{lost}"
    );
    assert_eq!(connections.counters()["pim"].requests, 2);
    // A plugin may want less time, not more.
    let asked = |timeout| super::super::Request {
        timeout: Some(timeout),
        ..request("POST", "/")
    };
    let lost = send(&connections, asked(Duration::from_millis(5)))
        .await
        .unwrap_err();
    assert!(
        matches!(&lost, SendError::Unreachable(text) if text.contains("5ms")),
        "{lost}"
    );
    let lost = send(&connections, asked(Duration::from_hours(1)))
        .await
        .unwrap_err();
    assert!(
        matches!(&lost, SendError::Unreachable(text) if text.contains("20ms")),
        "{lost}"
    );
}

#[tokio::test]
async fn the_server_never_sees_more_requests_at_a_time_than_allowed() {
    // The first three requests wait for each other, so the test also fails when fewer run at a time.
    let gate = Arc::new(Semaphore::new(0));
    let seen = Arc::new(Mutex::new((0_usize, 0_usize)));
    let (gate_of_server, seen_by_server) = (Arc::clone(&gate), Arc::clone(&seen));
    let router = Router::new().fallback(async move |_: Incoming| {
        let is_full = {
            let mut seen = seen_by_server.lock().unwrap();
            seen.0 += 1;
            seen.1 = seen.1.max(seen.0);
            seen.0 == 3
        };
        if is_full {
            gate_of_server.close();
        }
        let _ = gate_of_server.acquire().await;
        seen_by_server.lock().unwrap().0 -= 1;
        "ok"
    });
    let connections = connect(serve(router).await, "limits: { max-concurrent: 3 }");
    for outcome in join_all((0..30).map(|_| get(&connections, "/"))).await {
        assert_eq!(outcome.unwrap().status, 200);
    }
    assert_eq!(seen.lock().unwrap().1, 3);
}
