//! What every store does, whatever it is made of. Each test runs against memory and against sled.

use std::path::Path;

use futures_util::future::join_all;

use super::{
    super::{
        Commit, DeadLetter, DeadLetterEdit, DeadLetterFilter, Journal as _, Retention,
        StorageError, Store, key, kv::Batch,
    },
    changes, checkpoint, dead_letter, letters, save, set, unset,
};

/// Runs a check against a new store of each kind.
async fn each<F: AsyncFn(&Store)>(check: F) {
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
async fn dead_letters_get_growing_ids_that_are_never_used_again() {
    each(async |store| {
        let two = vec![
            dead_letter("shop", "first", b"1"),
            dead_letter("erp", "second", &vec![b'2'; 30_000]),
        ];
        store.commit(letters(two)).await.unwrap();
        assert_eq!(store.remove_dead_letters(&[2, 9]).await.unwrap(), 1);
        store
            .commit(letters(vec![dead_letter("shop", "third", b"3")]))
            .await
            .unwrap();
        let all = store.dead_letters(&DeadLetterFilter::default()).unwrap();
        assert_eq!(
            all.iter()
                .map(|letter| (letter.id, &*letter.message))
                .collect::<Vec<_>>(),
            [(1, "first"), (3, "third")]
        );
        assert_eq!(store.dead_letter(2).unwrap(), None);
        assert_eq!(
            store.count_dead_letters().unwrap(),
            [("shop".to_owned(), 2)].into()
        );
    })
    .await;
}

#[tokio::test]
async fn dead_letters_are_found_by_what_is_in_them() {
    each(async |store| {
        let mut all: Vec<_> = (0..600)
            .map(|n| dead_letter("noise", &format!("no {n}"), b"{}"))
            .collect();
        let mut wanted = dead_letter(
            "shop",
            "price is no number",
            b"{\"name\":\"Caf\xc3\xa9 XL\"}",
        );
        wanted.stage = "sink".into();
        wanted.stream = "prices".into();
        wanted.fault = "trap".into();
        wanted.run = "run-9".into();
        all.insert(300, wanted);
        all.push(dead_letter("shop", "other", b"{}"));
        store.commit(letters(all)).await.unwrap();
        let ids = |filter: DeadLetterFilter| -> Vec<u64> {
            store
                .dead_letters(&filter)
                .unwrap()
                .iter()
                .map(|letter| letter.id)
                .collect()
        };
        let all = DeadLetterFilter::default;
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            ids(DeadLetterFilter {
                flow: some("shop"),
                ..all()
            }),
            [301, 602]
        );
        assert_eq!(
            ids(DeadLetterFilter {
                flow: some("shop"),
                after: 301,
                ..all()
            }),
            [602]
        );
        assert_eq!(
            ids(DeadLetterFilter {
                flow: some("shop"),
                limit: 1,
                ..all()
            }),
            [301]
        );
        assert_eq!(
            ids(DeadLetterFilter {
                stage: some("sink"),
                ..all()
            }),
            [301]
        );
        assert_eq!(
            ids(DeadLetterFilter {
                stream: some("prices"),
                ..all()
            }),
            [301]
        );
        assert_eq!(
            ids(DeadLetterFilter {
                fault: some("trap"),
                ..all()
            }),
            [301]
        );
        assert_eq!(
            ids(DeadLetterFilter {
                run: some("run-9"),
                ..all()
            }),
            [301]
        );
        assert_eq!(
            ids(DeadLetterFilter {
                text: some("caf\u{e9} xl"),
                ..all()
            }),
            [301],
            "in the payload"
        );
        assert_eq!(
            ids(DeadLetterFilter {
                text: some("NO NUMBER"),
                ..all()
            }),
            [301],
            "in the message"
        );
        assert_eq!(
            ids(DeadLetterFilter {
                text: some("products.csv"),
                limit: 2,
                ..all()
            }),
            [1, 2]
        );
        assert_eq!(
            ids(DeadLetterFilter {
                after: 600,
                ..all()
            }),
            [601, 602]
        );
        assert_eq!(
            ids(DeadLetterFilter {
                flow: some("shop"),
                fault: some("config"),
                ..all()
            }),
            [0; 0]
        );
        assert_eq!(ids(DeadLetterFilter { limit: 0, ..all() }), [0; 0]);
        let within = |since_ms, until_ms| {
            ids(DeadLetterFilter {
                since_ms,
                until_ms,
                after: 600,
                ..all()
            })
        };
        let made = Some(1_700_000_000_000);
        assert_eq!(within(made, None), [601, 602]);
        assert_eq!(within(None, made), [0; 0], "`until` is not in it");
        assert_eq!(
            ids(DeadLetterFilter {
                ids: [3, 301, 7000].into(),
                ..all()
            }),
            [3, 301]
        );
        assert_eq!(
            ids(DeadLetterFilter {
                ids: [3, 301].into(),
                flow: some("shop"),
                ..all()
            }),
            [301]
        );
        assert_eq!(
            ids(DeadLetterFilter {
                ids: [3, 301].into(),
                after: 3,
                ..all()
            }),
            [301]
        );
        for (plugin, version, found) in [
            ("mapper", "1.0.0", vec![601, 602]),
            ("mapper", "1.0.1", vec![]),
            ("other", "1.0.0", vec![]),
        ] {
            let filter = DeadLetterFilter {
                plugin: some(plugin),
                version: some(version),
                after: 600,
                ..all()
            };
            assert_eq!(ids(filter), found);
        }
        assert_eq!(
            ids(DeadLetterFilter {
                flow: some("shop"),
                up_to: Some(601),
                ..all()
            }),
            [301]
        );
        assert_eq!(ids(all()).len(), 100);
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_can_be_changed_and_is_else_as_it_was() {
    each(async |store| {
        let made = dead_letter("shop", "bad", &vec![b'x'; 30_000]);
        store.commit(letters(vec![made.clone()])).await.unwrap();
        let edit = DeadLetterEdit {
            payload: Some(b"{\"a\":1}".to_vec()),
            key: Some(b"new".to_vec()),
            at_ms: 1_700_000_000_001,
            ..DeadLetterEdit::default()
        };
        assert!(store.edit_dead_letter(1, edit.clone()).await.unwrap());
        assert!(!store.edit_dead_letter(2, edit).await.unwrap());
        let expected = DeadLetter {
            id: 1,
            payload: b"{\"a\":1}".to_vec(),
            key: b"new".to_vec(),
            edited_at_ms: Some(1_700_000_000_001),
            ..made
        };
        assert_eq!(store.dead_letter(1).unwrap(), Some(expected));
        assert_eq!(store.last_dead_letter().unwrap(), 1);
    })
    .await;
}

/// A commit with a checkpoint of `shop`, `count` dead letters of 1000 bytes each made at `at_ms`, and a retention.
/// What one of [`kept`] counts.
fn one() -> u64 {
    kept(1, 1, 1, Retention::default()).dead_letters[0].weight()
}

fn kept(epoch: u64, count: usize, at_ms: u64, retention: Retention) -> Commit {
    let letter = DeadLetter {
        at_ms,
        key: vec![],
        location: String::new(),
        ..dead_letter("shop", "", &[b'x'; 1000])
    };
    Commit {
        checkpoint: Some(checkpoint("shop", epoch, b"")),
        dead_letters: vec![letter; count],
        retention,
        ..Commit::default()
    }
}

#[tokio::test]
async fn the_oldest_dead_letters_go_by_age_and_by_size() {
    each(async |store| {
        let none = Retention::default();
        let other = dead_letter("erp", "of another flow", &vec![b'x'; 100_000]);
        store.commit(letters(vec![other])).await.unwrap();
        for n in 1..=5 {
            let committed = store.commit(kept(n, 2, n * 1000, none)).await.unwrap();
            assert_eq!(committed.expired, 0);
        }
        let left = || -> Vec<u64> {
            let all = store.dead_letters(&DeadLetterFilter::default()).unwrap();
            all.iter().map(|letter| letter.id).collect()
        };
        // By age: those of the first two commits.
        let age = Retention {
            not_before_ms: Some(3000),
            max_bytes: None,
        };
        assert_eq!(store.commit(kept(6, 0, 0, age)).await.unwrap().expired, 4);
        assert_eq!(left(), [1, 6, 7, 8, 9, 10, 11]);
        // By size: six are there, the next two are on top.
        let size = Retention {
            not_before_ms: None,
            max_bytes: Some(5 * one() + one() / 2),
        };
        assert_eq!(
            store.commit(kept(7, 2, 6000, size)).await.unwrap().expired,
            3
        );
        assert_eq!(left(), [1, 9, 10, 11, 12, 13]);
        assert_eq!(store.commit(kept(8, 0, 0, size)).await.unwrap().expired, 0);
        // What is removed or becomes smaller makes room.
        store.remove_dead_letters(&[9]).await.unwrap();
        let edit = DeadLetterEdit {
            payload: Some(vec![b'y'; 10]),
            ..DeadLetterEdit::default()
        };
        store.edit_dead_letter(10, edit).await.unwrap();
        assert_eq!(
            store.commit(kept(9, 2, 7000, size)).await.unwrap().expired,
            0
        );
        assert_eq!(left(), [1, 10, 11, 12, 13, 14, 15]);
        // At once, when a flow starts.
        let nothing = Retention {
            not_before_ms: None,
            max_bytes: Some(0),
        };
        assert_eq!(store.retain_dead_letters("shop", nothing).await.unwrap(), 6);
        assert_eq!(left(), [1]);
        assert_eq!(store.count_dead_letters().unwrap()["erp"], 1);
    })
    .await;
}

#[tokio::test]
async fn a_commit_drops_a_limited_number_and_the_next_one_goes_on() {
    each(async |store| {
        store
            .commit(kept(1, 2500, 1000, Retention::default()))
            .await
            .unwrap();
        let age = Retention {
            not_before_ms: Some(2000),
            max_bytes: None,
        };
        let mut dropped = Vec::new();
        for epoch in 2..6 {
            dropped.push(store.commit(kept(epoch, 0, 0, age)).await.unwrap().expired);
        }
        assert_eq!(dropped, [1000, 1000, 500, 0]);
    })
    .await;
}

#[tokio::test]
async fn what_is_added_never_outruns_what_is_dropped() {
    each(async |store| {
        let size = Retention {
            not_before_ms: None,
            max_bytes: Some(1_000_000),
        };
        // Those with nothing in them count as well, or there would be any number of them.
        let empty = DeadLetter {
            payload: vec![],
            ..dead_letter("shop", "", b"")
        };
        let small = Commit {
            dead_letters: vec![empty; 5_000],
            ..kept(1, 0, 0, size)
        };
        store.commit(small).await.unwrap();
        // More of the small ones have to go than one commit drops otherwise.
        for epoch in 2..5 {
            let mut large = kept(epoch, 4, 0, size);
            for letter in &mut large.dead_letters {
                letter.payload = vec![b'x'; 300_000];
            }
            store.commit(large).await.unwrap();
            let all = DeadLetterFilter {
                limit: usize::MAX,
                ..DeadLetterFilter::default()
            };
            let left = store.dead_letters(&all).unwrap();
            let weight: u64 = left.iter().map(DeadLetter::weight).sum();
            assert!(
                weight < 3_000_000,
                "{weight} in {} dead letters",
                left.len()
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_list_ends_by_its_bytes_as_well_and_a_brief_one_has_no_records() {
    each(async |store| {
        store
            .commit(kept(1, 10, 1, Retention::default()))
            .await
            .unwrap();
        let page = |bytes, brief, after| {
            let filter = DeadLetterFilter {
                after,
                bytes,
                brief,
                ..DeadLetterFilter::default()
            };
            store.dead_letters(&filter).unwrap()
        };
        assert_eq!(page(3 * one(), false, 0).len(), 3);
        assert_eq!(page(3 * one(), false, 9).len(), 1);
        assert_eq!(page(1, false, 0).len(), 1, "one is always given");
        let brief = page(10 * one() - 10_000, true, 0);
        assert_eq!(brief.len(), 10);
        assert!(brief.iter().all(|letter| letter.payload.is_empty()));
    })
    .await;
}

#[tokio::test]
async fn sizes_are_right_when_commits_are_written_together() {
    each(async |store| {
        let size = |max_bytes| Retention {
            not_before_ms: None,
            max_bytes: Some(max_bytes),
        };
        // Whatever was joined into one write: in the end only what fits is there.
        let commits = (1..=20).map(|n| store.commit(kept(n, 3, n, size(10 * one()))));
        let mut expired = 0;
        for outcome in join_all(commits).await {
            expired += outcome.unwrap().expired;
        }
        expired += store
            .commit(kept(21, 0, 0, size(10 * one())))
            .await
            .unwrap()
            .expired;
        assert_eq!(store.count_dead_letters().unwrap()["shop"], 10);
        assert_eq!(expired, 50);
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
