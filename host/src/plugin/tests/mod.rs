//! Plugins as components, well-behaved and hostile, through the real runtime.

mod authors;
mod cache;
mod faults;
mod guest;
mod handles;
mod life;
mod loading;
mod released;
mod tables;
mod zoo;

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use guest::Guest;
use serde_json::json;

use super::{Grants, Limits, NoHttp, NoTables, Plugin, Runtime, RuntimeOptions, StageContext};
use crate::engine::{
    batch::{Batch, Builder, Form, Record},
    fault::{Fault, FaultKind},
    stage::{Sink, Source, Transformer},
};

/// One runtime for all tests that need no other: making one reserves a lot of address space.
fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Runtime::new(&RuntimeOptions {
            cache_dir: None,
            max_instances: 64,
            lines: false,
        })
        .unwrap()
    })
}

async fn load(guest: &Guest) -> Arc<Plugin> {
    runtime()
        .load_bytes(guest.build(), "test.wasm")
        .await
        .unwrap()
}

fn context() -> StageContext {
    StageContext {
        flow: Arc::from("flow"),
        stage: Arc::from("stage"),
        config: json!({}),
        grants: Grants::default(),
        limits: Limits {
            call: Duration::from_secs(20),
            ..Limits::default()
        },
        tables: Arc::new(NoTables),
        http: Arc::new(NoHttp),
        project_dir: std::env::temp_dir(),
        recording: None,
    }
}

async fn transformer(guest: &Guest, context: StageContext) -> Box<dyn Transformer> {
    load(guest)
        .await
        .transformer(context)
        .unwrap()
        .open(None)
        .await
        .unwrap()
}

async fn source(guest: &Guest, context: StageContext) -> Box<dyn Source> {
    load(guest)
        .await
        .source(context)
        .unwrap()
        .open(None)
        .await
        .unwrap()
}

async fn sink(guest: &Guest, context: StageContext) -> Box<dyn Sink> {
    load(guest)
        .await
        .sink(context)
        .unwrap()
        .open(None)
        .await
        .unwrap()
}

fn batch(records: usize) -> Batch {
    let mut builder = Builder::new("products", Form::Json);
    for at in 0..records {
        let payload = format!("{{\"n\":{at}}}");
        builder.push(Record {
            key: b"k",
            headers: b"",
            payload: payload.as_bytes(),
            flags: 0,
        });
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
