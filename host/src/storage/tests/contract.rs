//! What every store does, whatever it is made of. Each test runs against memory and against sled.

use std::path::Path;

use futures_util::future::join_all;

use super::{
    super::{
        Commit, DeadLetterFilter, Journal as _, Retention, StorageError, Store, key, kv::Batch,
    },
    changes, checkpoint, dead_letter, letters, save, set, unset,
};

/// Runs a check against a new store of each kind.
pub(super) async fn each<F: AsyncFn(&Store)>(check: F) {
    check(&Store::memory().unwrap()).await;
    let dir = tempfile::tempdir().unwrap();
    check(&Store::open(dir.path()).unwrap()).await;
}

#[tokio::test]
async fn a_checkpoint_is_the_last_one_committed() {
    each(async |store| {
        assert_eq!(store.checkpoint("shop").unwrap(), None);
        store
            .commit(save(checkpoint("shop", 1, b"one")))
            .await
            .unwrap();
        store
            .commit(save(checkpoint("shop", 2, b"two")))
            .await
            .unwrap();
        store
            .commit(save(checkpoint("erp", 7, b"other")))
            .await
            .unwrap();
        assert_eq!(
            store.checkpoint("shop").unwrap(),
            Some(checkpoint("shop", 2, b"two"))
        );
        assert_eq!(store.list_flows().unwrap(), ["erp", "shop"]);
    })
    .await;
}

#[tokio::test]
async fn forgetting_a_flow_keeps_its_tables_and_dead_letters() {
    each(async |store| {
        let commit = Commit {
            checkpoint: Some(checkpoint("shop", 1, &vec![1; 50_000])),
            dead_letters: vec![dead_letter("shop", "bad", b"{}")],
            table_changes: vec![set("ids", "a", b"1")],
            removed_dead_letters: vec![],
            retention: Retention::default(),
        };
        store.commit(commit).await.unwrap();
        assert!(store.forget("shop").await.unwrap());
        assert!(!store.forget("shop").await.unwrap());
        assert_eq!(store.checkpoint("shop").unwrap(), None);
        assert_eq!(store.list_flows().unwrap(), [""; 0]);
        assert!(store.dead_letter(1).unwrap().is_some());
        assert_eq!(
            store.table_get_many("ids", &["a"]).unwrap(),
            [Some(b"1".to_vec())]
        );
    })
    .await;
}

#[tokio::test]
async fn tables_keep_order_and_do_not_mix() {
    each(async |store| {
        // "a" + "bc" and "ab" + "c" must be different entries.
        let all = vec![
            set("a", "bc", b"1"),
            set("ab", "c", b"2"),
            set("ab", "c\u{0}d", b"3"),
            set("ab", "cz", &vec![b'4'; 20_000]),
            set("ab", "d", b"5"),
            set("ab", "gone", b"6"),
            unset("ab", "gone"),
            unset("ab", "never there"),
        ];
        store.commit(changes(all)).await.unwrap();
        let found = store
            .table_get_many("ab", &["d", "nothing", "c", "d", "gone"])
            .unwrap();
        assert_eq!(
            found,
            [
                Some(b"5".to_vec()),
                None,
                Some(b"2".to_vec()),
                Some(b"5".to_vec()),
                None
            ]
        );
        let names = |prefix: &str, after: &str, limit| -> Vec<String> {
            store
                .table_find("ab", prefix, after, limit)
                .unwrap()
                .into_iter()
                .map(|(key, _)| key)
                .collect()
        };
        assert_eq!(names("", "", 10), ["c", "c\u{0}d", "cz", "d"]);
        assert_eq!(names("c", "", 2), ["c", "c\u{0}d"]);
        assert_eq!(names("c", "c\u{0}d", 2), ["cz"]);
        assert_eq!(
            names("c", "a", 1),
            ["c"],
            "an `after` before the prefix is no limit"
        );
        assert_eq!(
            names("c", "x", 9),
            [""; 0],
            "an `after` behind the prefix leaves nothing"
        );
        assert_eq!(names("", "", 0), [""; 0]);
        assert_eq!(
            store.table_find("ab", "cz", "", 1).unwrap()[0].1,
            vec![b'4'; 20_000]
        );
        assert_eq!(
            store.table_find("a", "", "", 9).unwrap(),
            [("bc".to_owned(), b"1".to_vec())]
        );
    })
    .await;
}

#[tokio::test]
async fn a_table_is_found_across_pages() {
    each(async |store| {
        let keys: Vec<String> = (0..1000).map(|n| format!("{n:04}")).collect();
        store
            .commit(changes(
                keys.iter()
                    .map(|key| set("t", key, key.as_bytes()))
                    .collect(),
            ))
            .await
            .unwrap();
        let found = store.table_find("t", "", "", 1000).unwrap();
        assert!(found.iter().map(|(key, _)| key).eq(&keys));
    })
    .await;
}

#[tokio::test]
async fn many_commits_at_once_all_arrive_and_get_their_own_ids() {
    each(async |store| {
        let commits = (0..200).map(|n| {
            let commit = Commit {
                checkpoint: Some(checkpoint(&format!("flow-{n}"), n, &[7; 9000])),
                dead_letters: vec![dead_letter(&format!("flow-{n}"), "bad", b"{}")],
                table_changes: vec![set("t", &n.to_string(), b"1")],
                removed_dead_letters: vec![],
                retention: Retention::default(),
            };
            store.commit(commit)
        });
        for outcome in join_all(commits).await {
            outcome.unwrap();
        }
        assert_eq!(store.list_flows().unwrap().len(), 200);
        let counts = store.count_dead_letters().unwrap();
        assert_eq!(counts.len(), 200);
        assert!(counts.values().all(|&count| count == 1));
        let last = store
            .dead_letters(&DeadLetterFilter {
                after: 199,
                ..DeadLetterFilter::default()
            })
            .unwrap();
        assert_eq!(last[0].id, 200);
        assert_eq!(store.table_find("t", "", "", 1000).unwrap().len(), 200);
    })
    .await;
}

#[tokio::test]
async fn a_commit_that_nobody_waits_for_is_written_whole() {
    each(async |store| {
        {
            let commit = store.commit(save(checkpoint("shop", 1, b"one")));
            tokio::pin!(commit);
            // One poll hands it over, and seldom finds it done already; then it is dropped.
            drop(futures_util::poll!(&mut commit));
        }
        // The queue keeps order, so after this answer the first commit is written, too.
        store
            .commit(changes(vec![set("t", "k", b"1")]))
            .await
            .unwrap();
        assert_eq!(
            store.checkpoint("shop").unwrap(),
            Some(checkpoint("shop", 1, b"one"))
        );
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_of_a_newer_format_is_refused() {
    each(async |store| {
        let mut newer = checkpoint("shop", 1, b"one");
        newer.format += 1;
        store.commit(save(newer)).await.unwrap();
        let error = store.checkpoint("shop").unwrap_err();
        assert!(
            matches!(
                &error,
                StorageError::TooNew {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains("upgrade crossdock"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_damaged_checkpoint_is_an_error_with_advice() {
    each(async |store| {
        store
            .commit(save(checkpoint("shop", 1, b"one")))
            .await
            .unwrap();
        let stored = store
            .shelf
            .kv
            .get(&key::checkpoint("shop"))
            .unwrap()
            .unwrap();
        for broken in [
            &stored[..stored.len() / 2],
            b"",
            b"\0",
            b"\x01short",
            b"\x09{}",
            b"\0{\"format\":1}",
        ] {
            store
                .shelf
                .kv
                .apply(&Batch::from([(
                    key::checkpoint("shop"),
                    Some(broken.to_vec()),
                )]))
                .unwrap();
            let error = store.checkpoint("shop").unwrap_err();
            assert!(matches!(&error, StorageError::Corrupt { .. }), "{error}");
        }
        assert!(
            store
                .checkpoint("shop")
                .unwrap_err()
                .to_string()
                .contains("--from-start")
        );
        // The advice works.
        assert!(store.forget("shop").await.unwrap());
        assert_eq!(store.checkpoint("shop").unwrap(), None);
    })
    .await;
}

/// Files of a store's blobs.
pub(super) fn blob_files(dir: &Path) -> usize {
    std::fs::read_dir(dir.join("blobs")).unwrap().count()
}

#[tokio::test]
async fn blobs_live_exactly_as_long_as_somebody_names_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let large = vec![b'x'; 100_000];
    // The same content under two keys is one file.
    store
        .commit(changes(vec![set("t", "a", &large), set("t", "b", &large)]))
        .await
        .unwrap();
    assert_eq!(blob_files(dir.path()), 1);
    store.commit(changes(vec![unset("t", "a")])).await.unwrap();
    assert_eq!(blob_files(dir.path()), 1);
    assert_eq!(
        store.table_get_many("t", &["b"]).unwrap(),
        [Some(large.clone())]
    );
    store
        .commit(changes(vec![set("t", "b", b"small")]))
        .await
        .unwrap();
    assert_eq!(blob_files(dir.path()), 0);
    // Writing the same again, and replacing inside one commit.
    store
        .commit(changes(vec![set("t", "c", &large), set("t", "c", &large)]))
        .await
        .unwrap();
    store
        .commit(changes(vec![set("t", "c", &large)]))
        .await
        .unwrap();
    assert_eq!(blob_files(dir.path()), 1);
    store
        .commit(changes(vec![
            set("t", "d", &[b'y'; 9000]),
            set("t", "d", b"small"),
        ]))
        .await
        .unwrap();
    assert_eq!(blob_files(dir.path()), 1);
    for epoch in 0..20_u8 {
        store
            .commit(save(checkpoint("shop", 1, &vec![epoch; 90_000])))
            .await
            .unwrap();
    }
    assert_eq!(blob_files(dir.path()), 2);
    store
        .commit(letters(vec![dead_letter("shop", "bad", &large)]))
        .await
        .unwrap();
    assert_eq!(store.remove_dead_letters(&[1]).await.unwrap(), 1);
    assert_eq!(blob_files(dir.path()), 2);
    assert_eq!(store.table_get_many("t", &["c"]).unwrap(), [Some(large)]);
}
