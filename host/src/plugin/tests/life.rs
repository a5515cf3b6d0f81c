//! A well-behaved plugin of each kind, through its whole life.

use super::*;
use crate::{
    catalogue::Kind,
    engine::stage::{Budget, Mode, Output, Read},
    plugin::tests::guest::ANSWER,
};

const BUDGET: Budget = Budget {
    records: 10,
    bytes: 1000,
    time: Duration::from_secs(1),
};

#[tokio::test]
async fn a_transformer_lives_from_open_to_close() {
    let mut instance = transformer(&Guest::new(Kind::Transformer), context()).await;
    assert_eq!(instance.mode(), Mode::Stateless);
    let applied = instance.apply(&batch(3)).await.unwrap();
    assert!(matches!(applied.output, Output::Pass));
    assert_eq!(instance.snapshot().await.unwrap(), b"");
    assert!(instance.finish().await.unwrap().is_empty());
    let wear = instance.wear();
    assert_eq!(wear.records, 3);
    assert_eq!(wear.memory, 2 * 65536);
    instance.close().await;
}

/// Keeps the records 2 and 0, rejects 1 as permanent with a message.
fn selecting() -> Guest {
    Guest::new(Kind::Transformer)
        .body(
            "apply",
            &format!(
                "(i32.store8 (i32.const {output}) (i32.const 1))
                 (i32.store (i32.const {list}) (i32.const 2048)) (i32.store (i32.const {len}) (i32.const 2))
                 (i32.store (i32.const 2048) (i32.const 2)) (i32.store (i32.const 2052) (i32.const 0))
                 (i32.store (i32.const {rejected}) (i32.const 2064)) (i32.store (i32.const {count}) (i32.const 1))
                 (i32.store (i32.const 2064) (i32.const 1))
                 (i32.store8 (i32.const 2072) (i32.const 1))
                 (i32.store (i32.const 2080) (i32.const 3000)) (i32.store (i32.const 2084) (i32.const 5))
                 (i32.const {ANSWER})",
                output = ANSWER + 8,
                list = ANSWER + 12,
                len = ANSWER + 16,
                rejected = ANSWER + 20,
                count = ANSWER + 24,
            ),
        )
        .extra(r#"(data (i32.const 3000) "wrong")"#)
}

#[tokio::test]
async fn selections_and_rejections_arrive() {
    let mut instance = transformer(&selecting(), context()).await;
    let applied = instance.apply(&batch(3)).await.unwrap();
    let Output::Select(kept) = applied.output else {
        panic!("{:?}", applied.output)
    };
    assert_eq!(kept, [2, 0]);
    assert_eq!(applied.rejected[0].index, 1);
    assert_eq!(
        applied.rejected[0].fault,
        Fault::new(FaultKind::Permanent, "wrong")
    );
    // The same answer to a shorter batch names records that do not exist.
    let broken = fault(instance.apply(&batch(1)).await);
    assert_eq!(broken.kind, FaultKind::Contract);
}

/// Gives the input batch back as one output batch, by its own pointers.
fn echoing() -> Guest {
    let words = [
        ("$0", 0),
        ("$1", 4),
        ("$2", 8),
        ("$3", 12),
        ("$4", 16),
        ("$5", 20),
        ("$6", 24),
    ];
    let stores: Vec<String> = words
        .iter()
        .map(|(param, at)| format!("(i32.store (i32.const {}) (local.get {param}))", 2048 + at))
        .collect();
    let stores = stores.join("\n");
    Guest::new(Kind::Transformer).body(
        "apply",
        &format!(
            "{stores}
             (i32.store8 (i32.const {output}) (i32.const 2))
             (i32.store (i32.const {list}) (i32.const 2048)) (i32.store (i32.const {len}) (i32.const 1))
             (i32.const {ANSWER})",
            output = ANSWER + 8,
            list = ANSWER + 12,
            len = ANSWER + 16,
        ),
    )
}

#[tokio::test]
async fn a_batch_goes_through_the_sandbox_unchanged() {
    let mut instance = transformer(&echoing(), context()).await;
    let mut builder = Builder::new("straße", Form::Bytes);
    for at in 0..500_u32 {
        let payload = vec![0xFF; at as usize];
        builder.push(Record {
            key: b"key",
            headers: b"{}",
            payload: &payload,
            flags: at << 8 | (at & 1),
        });
    }
    let sent = builder.build();
    let applied = instance.apply(&sent).await.unwrap();
    let Output::Replace(batches) = applied.output else {
        panic!("{:?}", applied.output)
    };
    assert_eq!(batches, [sent]);
}

#[tokio::test]
async fn a_source_reads_pages_waits_and_ends() {
    // 1st: a page with one unreadable input and no record; 2nd: nothing for 7 ms; then the end.
    let page = format!(
        "(global.set $reads (i32.add (global.get $reads) (i32.const 1)))
         (if (i32.eq (global.get $reads) (i32.const 1)) (then
            (i32.store (i32.const {stream}) (i32.const 3000)) (i32.store (i32.const {stream_len}) (i32.const 6))
            (i32.store (i32.const {unreadable}) (i32.const 2048)) (i32.store (i32.const {count}) (i32.const 1))
            (i32.store (i32.const 2048) (i32.const 3006)) (i32.store (i32.const 2052) (i32.const 3))
            (i32.store8 (i32.const 2056) (i32.const 1))
            (i32.store (i32.const 2064) (i32.const 3009)) (i32.store (i32.const 2068) (i32.const 6))
            (return (i32.const {ANSWER}))))
         (if (i32.eq (global.get $reads) (i32.const 2)) (then
            (i32.store8 (i32.const 4104) (i32.const 1)) (i32.store (i32.const 4108) (i32.const 7))
            (return (i32.const 4096))))
         (i32.store8 (i32.const 4104) (i32.const 2))
         (i32.const 4096)",
        stream = ANSWER + 12,
        stream_len = ANSWER + 16,
        unreadable = ANSWER + 40,
        count = ANSWER + 44,
    );
    let guest = Guest::new(Kind::Source)
        .body("read", &page)
        .body(
            "snapshot",
            "(i32.store (i32.const 5008) (i32.const 3000)) (i32.store (i32.const 5012) (i32.const 6)) (i32.const 5000)",
        )
        .extra(r#"(global $reads (mut i32) (i32.const 0)) (data (i32.const 3000) "prices;;;ragged")"#);
    let mut instance = source(&guest, context()).await;
    let Read::Page {
        records,
        unreadable,
    } = instance.read(BUDGET).await.unwrap()
    else {
        panic!("no page")
    };
    assert_eq!((&**records.stream(), records.len()), ("prices", 0));
    assert_eq!(unreadable[0].data, b";;;");
    assert_eq!(
        unreadable[0].fault,
        Fault::new(FaultKind::Permanent, "ragged")
    );
    assert!(
        matches!(instance.read(BUDGET).await.unwrap(), Read::Idle(time) if time == Duration::from_millis(7))
    );
    assert!(matches!(instance.read(BUDGET).await.unwrap(), Read::End));
    assert_eq!(instance.snapshot().await.unwrap(), b"prices");
    instance.committed(b"prices").await.unwrap();
    instance.close().await;
    assert!(
        load(&guest)
            .await
            .streams(&context())
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_sink_lives_from_open_to_close() {
    let guest = Guest::new(Kind::Sink);
    let mut instance = sink(&guest, context()).await;
    let written = instance.write(&batch(2)).await.unwrap();
    assert!(written.rejected.is_empty() && written.receipts.is_none());
    instance.finish().await.unwrap();
    let snapshot = instance.snapshot().await.unwrap();
    instance.commit(&snapshot).await.unwrap();
    instance.close().await;
    load(&guest)
        .await
        .check(Kind::Sink, &context())
        .await
        .unwrap();
}

#[tokio::test]
async fn config_and_snapshot_reach_open() {
    // Fails with its config as message when there is no snapshot, else with the snapshot.
    let guest = Guest::new(Kind::Sink).body(
        "open",
        &format!(
            "(i32.store8 (i32.const {ANSWER}) (i32.const 1))
             (i32.store8 (i32.const {fault}) (i32.const 2))
             (i32.store (i32.const {message}) (select (local.get $3) (local.get $0) (local.get $2)))
             (i32.store (i32.const {len}) (select (local.get $4) (local.get $1) (local.get $2)))
             (i32.const {ANSWER})",
            fault = ANSWER + 8,
            message = ANSWER + 16,
            len = ANSWER + 20,
        ),
    );
    let opener = load(&guest)
        .await
        .sink(StageContext {
            config: json!({ "a": 1 }),
            ..context()
        })
        .unwrap();
    let first = fault(opener.open(None).await);
    assert_eq!(
        (first.kind, first.message.as_str()),
        (FaultKind::Config, r#"{"a":1}"#)
    );
    assert_eq!(fault(opener.open(Some(b"here")).await).message, "here");
    let identity = opener.identity();
    assert_eq!(
        (identity.plugin.as_str(), identity.version.as_str()),
        ("test", "0.0.0")
    );
    assert!(
        identity.digest.starts_with("sha256:") && identity.config_digest.starts_with("sha256:")
    );
}
