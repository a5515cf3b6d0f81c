//! The server through real HTTP.

use std::fmt::Write as _;

use base64::Engine;
use serde_json::json;

use super::*;

mod faults;
mod lists;
mod searches;
mod tokens;
mod webhooks;
mod writes;

const TIMEOUT: Duration = Duration::from_secs(20);

/// A client with a token.
struct Client<'a> {
    server: &'a AkeneoServer,
    bearer: String,
}

fn basic(server: &AkeneoServer) -> String {
    let pair = format!(
        "{}:{}",
        server.credentials().client_id,
        server.credentials().secret
    );
    format!(
        "Basic {}",
        base64::engine::general_purpose::STANDARD.encode(pair)
    )
}

async fn grant(server: &AkeneoServer, authorization: &str, body: &Value) -> Reply {
    let headers = [
        ("authorization", authorization),
        ("content-type", "application/json"),
    ];
    send(
        "POST",
        &format!("{}{TOKEN_PATH}", server.base_url()),
        &headers,
        body.to_string(),
        TIMEOUT,
    )
    .await
    .unwrap()
}

fn password(server: &AkeneoServer) -> Value {
    let own = server.credentials();
    json!({"grant_type": "password", "username": own.username, "password": own.password})
}

impl<'a> Client<'a> {
    async fn new(server: &'a AkeneoServer) -> Self {
        let reply = grant(server, &basic(server), &password(server)).await;
        assert_eq!(reply.status, 200);
        let token = reply.json().unwrap()["access_token"]
            .as_str()
            .unwrap()
            .to_owned();
        Self {
            server,
            bearer: format!("Bearer {token}"),
        }
    }

    fn address(&self, path: &str) -> String {
        if path.starts_with("http") {
            path.to_owned()
        } else {
            format!("{}{REST_PATH}/{path}", self.server.base_url())
        }
    }

    async fn try_get(&self, path: &str) -> Result<Reply, HttpError> {
        send(
            "GET",
            &self.address(path),
            &[("authorization", &self.bearer)],
            "",
            TIMEOUT,
        )
        .await
    }

    async fn get(&self, path: &str) -> Reply {
        self.try_get(path).await.unwrap()
    }

    /// A good answer as JSON.
    async fn json(&self, path: &str) -> Value {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {:?}", reply.body);
        reply.json().unwrap()
    }

    /// A refusal: status and message.
    async fn refused(&self, path: &str) -> (u16, String) {
        let reply = self.get(path).await;
        let body = reply.json().unwrap();
        assert_eq!(body["code"], reply.status, "{body}");
        (reply.status, body["message"].as_str().unwrap().to_owned())
    }

    /// Every item of a list, by following the links.
    async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = vec![];
        let mut next = Some(path.to_owned());
        while let Some(path) = next {
            let page = self.json(&path).await;
            items.extend(
                page["_embedded"]["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .cloned(),
            );
            next = page["_links"]["next"]["href"].as_str().map(str::to_owned);
        }
        items
    }

    async fn patch(&self, path: &str, kind: &str, body: impl Into<bytes::Bytes>) -> Reply {
        let headers = [
            ("authorization", self.bearer.as_str()),
            ("content-type", kind),
        ];
        send("PATCH", &self.address(path), &headers, body, TIMEOUT)
            .await
            .unwrap()
    }

    /// PATCH of lines; the answer lines.
    async fn patch_lines(&self, path: &str, lines: &[Value]) -> Vec<Value> {
        let mut body = String::new();
        for line in lines {
            writeln!(body, "{line}").unwrap();
        }
        let reply = self.patch(path, lines::LINES, body).await;
        assert_eq!(reply.status, 200, "{:?}", reply.body);
        assert_eq!(reply.header("content-type"), lines::LINES);
        std::str::from_utf8(&reply.body)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

fn search(conditions: &Value) -> String {
    url::form_urlencoded::byte_serialize(conditions.to_string().as_bytes()).collect()
}

fn start(options: Options) -> AkeneoServer {
    AkeneoServer::start(options).unwrap()
}

#[test]
fn it_starts_and_stops_without_a_runtime_and_says_when_the_port_is_taken() {
    let server = start(Options::generated(1, 1));
    let port: u16 = server
        .base_url()
        .rsplit(':')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    let taken = AkeneoServer::start(Options {
        port,
        ..Options::generated(1, 1)
    })
    .err()
    .unwrap();
    assert!(
        taken
            .to_string()
            .starts_with(&format!("cannot listen on 127.0.0.1:{port}")),
        "{taken}"
    );
    drop(server);
    drop(start(Options {
        port,
        ..Options::generated(1, 1)
    }));
}
