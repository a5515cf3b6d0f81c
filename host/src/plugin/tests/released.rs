//! Components of every contract that was released: small binaries in `tests/fixtures`, made once and never again. Whatever
//! changes in the host, they load and run.

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    catalogue::Kind,
    engine::stage::{Budget, Output, Read},
    plugin::tests::guest::ANSWER,
};

/// Where answers of `read` and `snapshot` are put; zeroes elsewhere.
const PAGE: u32 = 1536;
const END: u32 = 1792;
const POSITION: u32 = 2048;

/// Two records, then the end. Its snapshot is one byte: how many pages it has read.
fn two_records() -> Guest {
    let store = |at: u32, value: u32| format!("(i32.store (i32.const {at}) (i32.const {value}))");
    // A page of the stream `items`: its name, form, index of two records, and their bytes.
    let page = [
        (12, 3000),
        (16, 5),
        (24, 3100),
        (28, 8),
        (32, 3200),
        (36, 22),
    ]
    .map(|(at, value)| store(PAGE + at, value))
    .join(" ");
    let read = format!(
        "(if (result i32) (i32.eqz (global.get $pages))
           (then (global.set $pages (i32.const 1)) {page} (i32.const {PAGE}))
           (else (i32.store8 (i32.const {}) (i32.const 2)) (i32.const {END})))",
        END + 8
    );
    let snapshot = format!(
        "(i32.store8 (i32.const 3400) (global.get $pages)) {} {} (i32.const {POSITION})",
        store(POSITION + 8, 3400),
        store(POSITION + 12, 1)
    );
    let open = format!(
        "(if (local.get $2) (then (global.set $pages (i32.load8_u (local.get $3))))) (i32.const {ANSWER})"
    );
    let word = |value: u8| format!("\\{value:02x}\\00\\00\\00");
    let index: String = [1, 1, 11, 0, 12, 12, 22, 0].map(word).concat();
    Guest::new(Kind::Source)
        .body("read", &read)
        .body("snapshot", &snapshot)
        .body("open", &open)
        .extra("(global $pages (mut i32) (i32.const 0))")
        .extra(r#"(data (i32.const 3000) "items")"#)
        .extra(&format!(r#"(data (i32.const 3100) "{index}")"#))
        .extra(r#"(data (i32.const 3200) "a{\22id\22:\22a\22}b{\22id\22:\22b\22}")"#)
}

fn made(kind: Kind) -> Guest {
    let (guest, delivery) = match kind {
        Kind::Source => (two_records(), "replayable"),
        // Zeroes mean: everything goes on, everything is written.
        Kind::Transformer => (Guest::new(kind), "deterministic"),
        Kind::Sink => (Guest::new(kind), "at-least-once"),
    };
    guest.manifest(&json!({
        "name": format!("released-{kind}"), "version": "0.1.0",
        "kinds": { kind.as_str(): { "config": { "type": "object" }, "delivery": delivery } },
    }))
}

fn path(contract: &str, kind: Kind) -> PathBuf {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures");
    PathBuf::from(tests).join(format!("contract-{contract}/{kind}.wasm"))
}

async fn released(contract: &str, kind: Kind) -> Arc<Plugin> {
    let path = path(contract, kind);
    // Once, when a contract is released: `CROSSDOCK_FIXTURES=write`.
    if std::env::var("CROSSDOCK_FIXTURES").is_ok_and(|mode| mode == "write") && !path.exists() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, made(kind).build()).unwrap();
    }
    runtime().load(&path).await.unwrap()
}

#[tokio::test]
async fn what_was_built_for_contract_0_1_0_runs() {
    let source = released("0.1.0", Kind::Source).await;
    assert_eq!(source.inspection().contract().unwrap().to_string(), "0.1.0");
    source.check(Kind::Source, &context()).await.unwrap();
    let opener = source.source(context()).unwrap();
    let budget = Budget {
        records: 10,
        bytes: 1000,
        time: Duration::from_secs(1),
    };
    let mut first = opener.open(None).await.unwrap();
    let Read::Page { records, .. } = first.read(budget).await.unwrap() else {
        panic!("a page comes first")
    };
    let payloads: Vec<&[u8]> = records.records().map(|record| record.payload).collect();
    assert_eq!(payloads, [br#"{"id":"a"}"#, br#"{"id":"b"}"#]);
    let snapshot = first.snapshot().await.unwrap();
    first.committed(&snapshot).await.unwrap();
    let mut second = opener.open(Some(&snapshot)).await.unwrap();
    assert!(matches!(second.read(budget).await.unwrap(), Read::End));

    let transformer = released("0.1.0", Kind::Transformer).await;
    let mut transformer = transformer
        .transformer(context())
        .unwrap()
        .open(None)
        .await
        .unwrap();
    let applied = transformer.apply(&records).await.unwrap();
    assert!(matches!(applied.output, Output::Pass) && applied.rejected.is_empty());
    assert!(transformer.finish().await.unwrap().is_empty());

    let sink = released("0.1.0", Kind::Sink).await;
    let mut sink = sink.sink(context()).unwrap().open(None).await.unwrap();
    assert!(sink.write(&records).await.unwrap().rejected.is_empty());
    sink.finish().await.unwrap();
    let snapshot = sink.snapshot().await.unwrap();
    sink.commit(&snapshot).await.unwrap();
    sink.close().await;
}
