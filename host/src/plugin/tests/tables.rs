//! A plugin with one granted table asks for more than the host can hold.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::{
    catalogue::Kind,
    engine::stage::{TableError, Tables},
    plugin::tests::guest::ANSWER,
};

const TABLES: &str = "crossdock:plugin/tables@0.1.0";

/// What the guests are made of. The table is `t`; answers of the host are put at 4096, where 0 means that it went well.
const PARTS: &str = r#"
    (data (i32.const 2048) "t")
    (func $room (param $size i32) (result i32)
        (call $alloc (i32.const 0) (i32.const 0) (i32.const 4) (local.get $size)))
    (func $failed (result i32) (i32.load8_u (i32.const 4096)))

    ;; One entry: the key is `k`, the value has as many digits as there is room for.
    (func $put_large (local $data i32)
        (local.set $data (call $room (i32.const 65536)))
        (memory.fill (local.get $data) (i32.const 49) (i32.const 65536))
        (i32.store8 (local.get $data) (i32.const 107))
        (i32.store (i32.const 8192) (i32.const 1))
        (i32.store (i32.const 8196) (i32.const 65536))
        (call $put (i32.const 2048) (i32.const 1) (i32.const 8192) (i32.const 2) (local.get $data) (i32.const 65536) (i32.const 4096))
        (if (call $failed) (then (unreachable))))

    ;; Asks for the key `k`, so many times.
    (func $get_often (param $count i32) (local $ends i32) (local $data i32) (local $at i32)
        (local.set $ends (call $room (i32.mul (local.get $count) (i32.const 4))))
        (local.set $data (call $room (local.get $count)))
        (memory.fill (local.get $data) (i32.const 107) (local.get $count))
        (loop $next
            (i32.store
                (i32.add (local.get $ends) (i32.mul (local.get $at) (i32.const 4)))
                (i32.add (local.get $at) (i32.const 1)))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $at) (local.get $count))))
        (call $get (i32.const 2048) (i32.const 1) (local.get $ends) (local.get $count) (local.get $data) (local.get $count) (i32.const 4096)))

    ;; Removes keys of one byte, so many, and says whether it may.
    (func $remove (param $count i32) (result i32) (local $ends i32) (local $data i32) (local $at i32) (local $to i32)
        (local.set $ends (call $room (i32.mul (local.get $count) (i32.const 8))))
        (local.set $data (call $room (local.get $count)))
        (memory.fill (local.get $data) (i32.const 107) (local.get $count))
        (loop $next
            (local.set $to (i32.add (local.get $ends) (i32.mul (local.get $at) (i32.const 8))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (i32.store (local.get $to) (local.get $at))
            (i32.store offset=4 (local.get $to) (local.get $at))
            (br_if $next (i32.lt_u (local.get $at) (local.get $count))))
        (call $put (i32.const 2048) (i32.const 1) (local.get $ends) (i32.mul (local.get $count) (i32.const 2))
            (local.get $data) (local.get $count) (i32.const 4096))
        (i32.eqz (call $failed)))

    (func $find_all (param $limit i32)
        (call $find (i32.const 2048) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (local.get $limit) (i32.const 4096)))
"#;

/// A guest that does this, and traps when it went well.
fn asking(body: &str) -> Guest {
    let seven = "(param i32 i32 i32 i32 i32 i32 i32)";
    let eight = "(param i32 i32 i32 i32 i32 i32 i32 i32)";
    Guest::new(Kind::Transformer)
        .import(TABLES, "get-many", "$get", seven)
        .import(TABLES, "put", "$put", seven)
        .import(TABLES, "find", "$find", eight)
        .extra(PARTS)
        .body(
            "apply",
            &format!(
                "{body} (if (i32.eqz (call $failed)) (then (unreachable))) (i32.const {ANSWER})"
            ),
        )
}

/// Every key has the largest value there may be. It remembers the most that it was asked for at once.
#[derive(Default)]
struct Full {
    most: AtomicUsize,
}

impl Full {
    fn value() -> Vec<u8> {
        vec![b'1'; 64 << 10]
    }
}

impl Tables for Full {
    fn get_many(&self, _: &str, keys: &[&str]) -> Result<Vec<Option<Vec<u8>>>, TableError> {
        self.most.fetch_max(keys.len(), Ordering::Relaxed);
        Ok(vec![Some(Self::value()); keys.len()])
    }

    fn find(
        &self,
        _: &str,
        _: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, TableError> {
        self.most.fetch_max(limit, Ordering::Relaxed);
        let first = after.parse().unwrap_or(0_usize) + 1;
        let keys = (first..).map(|key| format!("{key:09}"));
        Ok(keys.take(limit).map(|key| (key, Self::value())).collect())
    }
}

fn granted(tables: Arc<Full>, output: usize) -> StageContext {
    let base = context();
    StageContext {
        grants: Grants {
            tables: vec!["t".to_owned()],
            ..Grants::default()
        },
        limits: Limits {
            output,
            ..base.limits
        },
        tables,
        ..base
    }
}

/// Runs it on a runtime of several threads, as the host does, and gives the most that the store was asked for at once.
async fn refused(body: &str, output: usize) -> usize {
    let tables = Arc::new(Full::default());
    let context = granted(Arc::clone(&tables), output);
    let mut instance = transformer(&asking(body), context).await;
    instance.apply(&batch(1)).await.unwrap();
    tables.most.load(Ordering::Relaxed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn own_writes_that_are_asked_for_again_and_again_are_refused() {
    for count in [3000, 100_000] {
        let body = format!("(call $put_large) (call $get_often (i32.const {count}))");
        assert_eq!(refused(&body, 64 << 20).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_asked_for_no_more_than_the_plugin_may_get() {
    let most = refused("(call $get_often (i32.const 3000))", 64 << 20).await;
    assert!(most <= 1024, "{most} values of 64 KiB at once");
    let most = refused("(call $get_often (i32.const 3000))", 1 << 20).await;
    assert!(most <= 16, "{most} values of 64 KiB at once");
    let most = refused("(call $find_all (i32.const 1000))", 1 << 20).await;
    assert!(most <= 16, "{most} entries of 64 KiB at once");
}

/// An entry of one byte takes a hundred and more in the host.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_writes_count_as_what_they_take() {
    let body = "(loop $more
        (local.set $x (i32.add (local.get $x) (i32.const 1)))
        (if (i32.gt_u (local.get $x) (i32.const 5)) (then (unreachable)))
        (br_if $more (call $remove (i32.const 100000))))";
    refused(body, 64 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_longer_than_is_allowed_are_refused_before_they_are_read() {
    refused("(call $get_often (i32.const 2000000))", 64 << 20).await;
    refused("(drop (call $remove (i32.const 2000000)))", 64 << 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fits_is_given() {
    let fine = |body: &str| {
        asking(&format!(
            "{body} (if (call $failed) (then (unreachable))) (i32.store8 (i32.const 4096) (i32.const 1))"
        ))
    };
    for body in [
        "(call $put_large) (call $get_often (i32.const 500))",
        "(call $get_often (i32.const 500))",
        "(call $find_all (i32.const 500))",
        "(drop (call $remove (i32.const 100000)))",
    ] {
        let context = granted(Arc::default(), 64 << 20);
        let mut instance = transformer(&fine(body), context).await;
        instance.apply(&batch(1)).await.unwrap();
    }
}
