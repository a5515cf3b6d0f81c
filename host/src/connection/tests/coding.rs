//! Bodies that servers pack: nothing is hidden in a packing, and no layer of it grows without a bound.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header::CONTENT_ENCODING},
    routing::get as on_get,
};
use flate2::{Compression, write::GzEncoder};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::{
    super::{Connections, Response, SendError},
    SECRET, connect, get, request, send, serve, text,
};
use crate::flow::Budget;

const BEARER: &str = "auth: { bearer: { token: hunter2-geheim } }\n";

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn packed(bytes: &[u8], layers: usize) -> Vec<u8> {
    (0..layers).fold(bytes.to_vec(), |inner, _| pack(&inner))
}

/// Whether a body tells the secret to who unpacks it as often as there is something to unpack.
fn tells(response: &Response) -> bool {
    let mut body = response.body.to_vec();
    loop {
        if memchr::memmem::find(&body, SECRET.as_bytes()).is_some() {
            return true;
        }
        let mut inner = Vec::new();
        let mut decoder = flate2::read::MultiGzDecoder::new(body.as_slice());
        if std::io::Read::read_to_end(&mut decoder, &mut inner).is_err() || inner.is_empty() {
            return false;
        }
        body = inner;
    }
}

/// A server whose path says how often the secret is packed, and whose query says how that is told: `&` is between
/// headers.
async fn repeating() -> std::net::SocketAddr {
    let answer = async |uri: Uri| {
        let layers = uri.path()[1..].parse().unwrap();
        let told = uri.query().unwrap_or_default().replace('+', " ");
        // What a plugin wrote itself would be left as it is.
        let told = told.replace("SECRET", SECRET);
        let told = told.split('&').filter(|value| !value.is_empty());
        let mut headers = HeaderMap::new();
        for value in told {
            headers.append(CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
        }
        (
            headers,
            packed(format!("it is {SECRET}").as_bytes(), layers),
        )
    };
    serve(Router::new().fallback(answer)).await
}

#[tokio::test]
async fn what_is_packed_several_times_is_looked_into() {
    let address = repeating().await;
    let (with, without) = (connect(address, BEARER), connect(address, ""));
    for url in [
        "/1?gzip",
        "/1?GZIP",
        "/1?x-gzip",
        "/1?identity,+gzip",
        "/1?identity&gzip",
        "/2?gzip,+gzip",
        "/2?gzip,gzip",
        "/2?gzip&gzip",
        "/2?gzip,+,x-gzip&identity",
        "/3?gzip,+gzip&gzip",
    ] {
        let answer = get(&with, url).await.unwrap();
        assert!(!tells(&answer), "{url}");
        assert_eq!(text(&answer), "it is [secret]", "{url}");
        assert_eq!(answer.header("content-encoding"), None, "{url}");
        // Where there is no secret, nothing is taken out.
        let answer = get(&without, url).await.unwrap();
        assert_eq!(text(&answer), format!("it is {SECRET}"), "{url}");
    }
}

#[tokio::test]
async fn what_cannot_be_looked_into_is_refused_with_the_reason() {
    let address = repeating().await;
    let (with, without) = (connect(address, BEARER), connect(address, ""));
    for (url, why) in [
        ("/4?gzip,+gzip,+gzip,+gzip", "packed 4 times"),
        ("/4?gzip&gzip&gzip&gzip", "packed 4 times"),
        ("/0?zstd", "in the encoding `zstd`"),
        ("/1?zstd,+gzip", "in the encoding `zstd, gzip`"),
        ("/1?gzip&br", "in the encoding `gzip, br`"),
        ("/1?br&gzip", "in the encoding `br, gzip`"),
        ("/0?gzip;q=1", "in the encoding `gzip;q=1`"),
        // What the server calls an encoding is its own text, too.
        ("/0?SECRET", "in the encoding `[secret]`"),
        (
            "/0?xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxSECRET",
            "in the encoding",
        ),
    ] {
        let refused = get(&with, url).await.unwrap_err();
        assert!(
            matches!(&refused, SendError::Denied(text) if text.contains(why)),
            "{url}: {refused}"
        );
        // Where there is no secret it is for the plugin to read, as the server sent it.
        let answer = get(&without, url).await.unwrap();
        assert!(answer.header("content-encoding").is_some(), "{url}");
        assert!(tells(&answer), "{url}");
    }
}

/// A server that answers every request with these bytes.
async fn answering(head: &'static str, body: Vec<u8>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                asked.push(byte[0]);
            }
            let _ = stream.write_all(head.as_bytes()).await;
            let _ = stream.write_all(&body).await;
        }
    });
    address
}

#[tokio::test]
async fn a_transfer_coding_hides_nothing() {
    let inner = pack(format!("it is {SECRET}").as_bytes());
    let mut chunked = format!("{:x}\r\n", inner.len()).into_bytes();
    chunked.extend_from_slice(&inner);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\nconnection: close\r\n\r\n";
    let address = answering(head, chunked).await;
    let refused = get(&connect(address, BEARER), "/").await.unwrap_err();
    assert!(
        matches!(&refused, SendError::Denied(text) if text.contains("in the encoding `gzip, chunked`")),
        "{refused}"
    );
    assert!(tells(&get(&connect(address, ""), "/").await.unwrap()));
}

#[tokio::test]
async fn a_packed_body_is_whole_or_an_error() {
    let whole = format!("{SECRET} ").repeat(1000);
    // In the middle of a secret.
    let (first, second) = whole.split_at(7003);
    let members = [pack(first.as_bytes()), pack(second.as_bytes())].concat();
    let (cut, trash) = (members[..members.len() - 9].to_vec(), b"abc".to_vec());
    let router = Router::new()
        .route("/members", on_get(async move || told(members)))
        .route("/cut", on_get(async move || told(cut)))
        .route("/trash", on_get(async move || told(trash)))
        .route("/empty", on_get(async || told(Vec::new())));
    let address = serve(router).await;
    let hidden = "[secret] ".repeat(1000);
    for (auth, expected) in [("", whole), (BEARER, hidden)] {
        let connections = connect(address, auth);
        let answer = get(&connections, "/members").await.unwrap();
        assert!(text(&answer) == expected);
        for path in ["/cut", "/trash"] {
            let broken = get(&connections, path).await.unwrap_err();
            assert!(
                matches!(&broken, SendError::Unreachable(why) if why.contains("unpack")),
                "{broken}"
            );
        }
        // No body, in whatever form: to HEAD as well.
        assert!(get(&connections, "/empty").await.unwrap().body.is_empty());
        let head = send(&connections, request("HEAD", "/members")).await;
        assert!(head.unwrap().body.is_empty());
    }
}

fn told(body: Vec<u8>) -> ([(&'static str, &'static str); 1], Vec<u8>) {
    ([("content-encoding", "gzip")], body)
}

#[tokio::test]
async fn every_layer_is_bounded() {
    const LIMIT: usize = 256 << 10;
    // What it becomes is small, what is in between is not: members of nothing, packed.
    let nothing = pack(b"").repeat((8 << 20) / 20);
    let wide = pack(&nothing);
    assert!(wide.len() < LIMIT, "{}", wide.len());
    // The same without a packing around it.
    let plain = nothing[..4 * LIMIT].to_vec();
    let bomb = packed(&vec![b'x'; 64 << 20], 2);
    assert!(bomb.len() < 10_000, "{}", bomb.len());
    let twice = |body: Vec<u8>| ([("content-encoding", "gzip, gzip")], body);
    let endless = async || {
        let member = Bytes::from(pack(b"").repeat(1000));
        let members =
            futures_util::stream::repeat_with(move || Ok::<_, std::io::Error>(member.clone()));
        (
            [("content-encoding", "gzip")],
            axum::body::Body::from_stream(members),
        )
    };
    let router = Router::new()
        .route("/wide", on_get(async move || twice(wide)))
        .route("/bomb", on_get(async move || twice(bomb)))
        .route("/plain", on_get(async move || told(plain)))
        .route("/endless", on_get(endless));
    let address = serve(router).await;
    for auth in ["", BEARER] {
        let connections = connect(
            address,
            &format!("{auth}limits: {{ max-response: 256KiB }}\n"),
        );
        for path in ["/wide", "/bomb", "/plain", "/endless"] {
            let refused = get(&connections, path).await.unwrap_err();
            assert!(
                matches!(&refused, SendError::TooLarge(text) if text.contains("max-response")),
                "{path}: {refused}"
            );
        }
        assert!(connections.counters()["pim"].bytes_received <= LIMIT as u64 + 1);
    }
}

#[tokio::test]
async fn what_stands_in_the_place_of_a_secret_is_bounded_as_well() {
    const SHORT: &str = "auth: { bearer: { token: abc123 } }\nlimits: { max-response: 60KiB }\n";
    let body = async |uri: Uri| "abc123".repeat(uri.path()[1..].parse().unwrap());
    let connections = connect(serve(Router::new().fallback(body)).await, SHORT);
    let answer = get(&connections, "/7000").await.unwrap();
    assert_eq!(answer.body, "[secret]".repeat(7000).as_bytes());
    let refused = get(&connections, "/10000").await.unwrap_err();
    assert!(
        matches!(&refused, SendError::TooLarge(text) if text.contains("max-response")),
        "{refused}"
    );
    // Nor does it take more than all responses of one call may have.
    let mut asked = request("GET", "/7000");
    asked.budget = Budget::new(50_000);
    let refused = send(&connections, asked).await.unwrap_err();
    assert!(
        matches!(&refused, SendError::TooLarge(text) if text.contains("together")),
        "{refused}"
    );
}

#[tokio::test]
async fn no_error_repeats_a_secret() {
    let redirect = async |uri: Uri| {
        let to = match uri.path() {
            "/host" => format!("http://{SECRET}.example/"),
            "/path" => format!("/{SECRET}"),
            _ => format!("/{SECRET}/again"),
        };
        (StatusCode::FOUND, [("location", to)])
    };
    let connections = connect(serve(Router::new().fallback(redirect)).await, BEARER);
    for (path, says) in [("/host", "[secret]"), ("/path", "more than 5 times")] {
        // `get` looks at the text of errors.
        let refused = get(&connections, path).await.unwrap_err();
        assert!(refused.to_string().contains(says), "{refused}");
    }
}

/// Large bodies are looked through off the threads that all flows run on.
#[test]
fn no_flow_waits_for_a_large_body_to_be_looked_through() {
    let started = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&started);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_start(move || {
            counted.fetch_add(1, Ordering::SeqCst);
        })
        .build()
        .unwrap();
    runtime.block_on(async {
        let body = async |uri: Uri| {
            let mut body = vec![b'x'; uri.path()[1..].parse().unwrap()];
            body.extend_from_slice(SECRET.as_bytes());
            body
        };
        let address = serve(Router::new().fallback(body)).await;
        let hidden = async |connections: &Connections, size: usize| {
            let answer = get(connections, &format!("/{size}")).await.unwrap();
            assert_eq!(answer.body.len(), size + "[secret]".len());
            assert!(answer.body.ends_with(b"x[secret]"));
        };
        let connections = connect(address, BEARER);
        hidden(&connections, 100 << 10).await;
        assert_eq!(started.load(Ordering::SeqCst), 0);
        hidden(&connections, 8 << 20).await;
        assert_eq!(started.load(Ordering::SeqCst), 1);
        // Where there is no secret nothing is looked for.
        let answer = get(&connect(address, ""), "/8000000").await.unwrap();
        assert!(tells(&answer));
        assert_eq!(started.load(Ordering::SeqCst), 1);
    });
}
