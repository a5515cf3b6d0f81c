//! Plugins as components, well-behaved and hostile, through the real runtime.

mod cache;
mod faults;
mod guest;
mod imports;
mod life;
mod loading;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use guest::Guest;
use serde_json::json;

use super::{
    Grants, HttpError, HttpRequest, HttpResponse, HttpSend, Limits, NoHttp, NoTables, Plugin, Runtime,
    RuntimeOptions, StageContext,
};
use crate::engine::{
    batch::{Batch, Builder, Form, Record},
    fault::{Fault, FaultKind},
    stage::{self, Sink, Source, Tables, Transformer},
};

/// One runtime for all tests that need no other: making one reserves a lot of address space.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new(&RuntimeOptions { cache_dir: None, max_instances: 64 }).unwrap())
}

async fn load(guest: &Guest) -> Arc<Plugin> {
    runtime().load_bytes(guest.build(), "test.wasm").await.unwrap()
}

fn context() -> StageContext {
    StageContext {
        flow: Arc::from("flow"),
        stage: Arc::from("stage"),
        config: json!({}),
        grants: Grants::default(),
        limits: Limits { call: Duration::from_secs(20), ..Limits::default() },
        tables: Arc::new(NoTables),
        http: Arc::new(NoHttp),
        project_dir: std::env::temp_dir(),
    }
}

async fn transformer(guest: &Guest, context: StageContext) -> Box<dyn Transformer> {
    load(guest).await.transformer(context).unwrap().open(None).await.unwrap()
}

async fn source(guest: &Guest, context: StageContext) -> Box<dyn Source> {
    load(guest).await.source(context).unwrap().open(None).await.unwrap()
}

async fn sink(guest: &Guest, context: StageContext) -> Box<dyn Sink> {
    load(guest).await.sink(context).unwrap().open(None).await.unwrap()
}

fn batch(records: usize) -> Batch {
    let mut builder = Builder::new("products", Form::Json);
    for at in 0..records {
        let payload = format!("{{\"n\":{at}}}");
        builder.push(Record { key: b"k", headers: b"", payload: payload.as_bytes(), flags: 0 });
    }
    builder.build()
}

/// Unwraps a fault, also where the success has no `Debug`.
fn fault<T>(result: Result<T, Fault>) -> Fault {
    match result {
        Ok(_) => panic!("expected a fault"),
        Err(fault) => fault,
    }
}

/// Tables in memory.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<(String, String), Vec<u8>>>);

impl Tables for Memory {
    fn get_many(&self, table: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, stage::TableError> {
        let all = self.0.lock().unwrap();
        Ok(keys.iter().map(|key| all.get(&(table.to_owned(), (*key).to_owned())).cloned()).collect())
    }

    fn find(
        &self,
        table: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, stage::TableError> {
        let all = self.0.lock().unwrap();
        let here = all.iter().filter(|((name, key), _)| name == table && key.starts_with(prefix) && key.as_str() > after);
        Ok(here.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
}

/// Answers every request with its own URL, after noting it; the later of two requests answers first.
#[derive(Default)]
struct Echo {
    seen: Mutex<Vec<(String, HttpRequest)>>,
}

#[async_trait]
impl HttpSend for Echo {
    async fn send(&self, connection: &str, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let url = request.url.clone();
        self.seen.lock().unwrap().push((connection.to_owned(), request));
        if url.ends_with("/slow") {
            std::future::pending::<()>().await;
        }
        if url.ends_with("/later") {
            tokio::task::yield_now().await;
        }
        Ok(HttpResponse { status: 200, headers: vec![("X-Test".to_owned(), "1".to_owned())], body: url.into_bytes() })
    }
}
