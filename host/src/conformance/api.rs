//! An API in memory: collections of items, as most APIs have them. And one that is out of order.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use serde_json::Value;
use url::form_urlencoded;

use super::place::Content;
use crate::plugin::{HttpError, HttpRequest, HttpResponse, HttpSend};

/// How an API answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// As it should.
    Well,
    /// Not at all: no connection.
    Unreachable,
    /// It does not know us.
    Unauthenticated,
    /// 503.
    Unavailable,
    /// 200 with a page for people.
    Nonsense,
}

pub(super) struct Api {
    mood: Mood,
    /// Items by the path of their collection; each by its id.
    collections: Mutex<BTreeMap<String, BTreeMap<String, Vec<u8>>>>,
    calls: AtomicU64,
    /// Calls that change something.
    changes: AtomicU64,
}

impl Api {
    pub(super) fn new(collections: &BTreeMap<String, Vec<Value>>) -> Self {
        let api = Self::moody(Mood::Well);
        for (path, items) in collections {
            let items = items.iter().enumerate().map(|(at, item)| {
                let id = item.get("id").map(|id| match id {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                let id = id.unwrap_or_else(|| format!("{at:08}"));
                (id, item.to_string().into_bytes())
            });
            let path = path.trim_end_matches('/').to_owned();
            api.lock().insert(path, items.collect());
        }
        api
    }

    pub(super) fn moody(mood: Mood) -> Self {
        Self {
            mood,
            collections: Mutex::default(),
            calls: AtomicU64::new(0),
            changes: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, BTreeMap<String, Vec<u8>>>> {
        self.collections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// How often it was called.
    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// How often it was told to change something.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// Every item.
    pub(super) fn content(&self) -> Content {
        let collections = self.lock();
        let items = collections.iter().flat_map(|(path, items)| {
            items
                .iter()
                .map(move |(id, item)| (format!("{path}/{id}"), item.clone()))
        });
        items.collect()
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let url = request.url.as_str();
        // An absolute URL of the connection: what is behind its origin.
        let url = url.split_once("://").map_or(url, |(_, rest)| {
            rest.find('/').map_or("/", |at| &rest[at..])
        });
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let path = path.trim_end_matches('/');
        let mut collections = self.lock();
        if let Some(items) = collections.get_mut(path) {
            return match request.method.as_str() {
                "GET" => list(items, query),
                "HEAD" => plain(200, Vec::new()),
                "POST" => {
                    let id = format!("{:08}", items.len());
                    items.insert(id, request.body.clone());
                    plain(201, b"{}".to_vec())
                }
                _ => plain(405, Vec::new()),
            };
        }
        let Some((collection, id)) = path.rsplit_once('/') else {
            return plain(404, Vec::new());
        };
        let Some(items) = collections.get_mut(collection) else {
            return plain(404, Vec::new());
        };
        match request.method.as_str() {
            "GET" => match items.get(id) {
                Some(item) => plain(200, item.clone()),
                None => plain(404, Vec::new()),
            },
            "PUT" => {
                items.insert(id.to_owned(), request.body.clone());
                plain(204, Vec::new())
            }
            "DELETE" if items.remove(id).is_some() => plain(204, Vec::new()),
            "DELETE" => plain(404, Vec::new()),
            _ => plain(405, Vec::new()),
        }
    }
}

fn list(items: &BTreeMap<String, Vec<u8>>, query: &str) -> HttpResponse {
    let (mut after, mut limit) = (String::new(), usize::MAX);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "after" => after = value.into_owned(),
            "limit" => limit = value.parse().unwrap_or(limit),
            _ => {}
        }
    }
    let found = items
        .iter()
        .filter(|(id, _)| id.as_str() > after.as_str())
        .take(limit)
        .map(|(_, item)| String::from_utf8_lossy(item).into_owned());
    let found: Vec<String> = found.collect();
    plain(200, format!("[{}]", found.join(",")).into_bytes())
}

fn plain(status: u16, body: Vec<u8>) -> HttpResponse {
    HttpResponse {
        status,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body,
    }
}

#[async_trait]
impl HttpSend for Api {
    async fn send(&self, _: &str, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if !matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
        match self.mood {
            Mood::Well => Ok(self.answer(&request)),
            Mood::Unreachable => Err(HttpError::Unreachable(
                "the conformance kit lets nobody connect".to_owned(),
            )),
            Mood::Unauthenticated => Err(HttpError::Unauthenticated(
                "the conformance kit refuses this client".to_owned(),
            )),
            Mood::Unavailable => Ok(plain(503, Vec::new())),
            Mood::Nonsense => Ok(plain(200, b"<html><p>Welcome".to_vec())),
        }
    }
}
