//! What every store does with dead letters: they are found, changed, and go by age and size.

use futures_util::future::join_all;

use super::{
    super::{Commit, DeadLetter, DeadLetterEdit, DeadLetterFilter, Journal as _, Retention},
    checkpoint,
    contract::each,
    dead_letter, letters,
};

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

/// When the letters of these tests were made.
const MADE: u64 = 1_700_000_000_000;

/// What one test case sets in a filter, and the letters that are found.
type Case = (fn(&mut DeadLetterFilter), &'static [u64]);

#[allow(clippy::unnecessary_wraps, reason = "what a filter takes")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Among 602 letters the 301st and the last are of `shop`.
const FOUND: [Case; 22] = [
    (|f| f.flow = some("shop"), &[301, 602]),
    (|f| (f.flow, f.after) = (some("shop"), 301), &[602]),
    (|f| (f.flow, f.limit) = (some("shop"), 1), &[301]),
    (|f| f.stage = some("sink"), &[301]),
    (|f| f.stream = some("prices"), &[301]),
    (|f| f.fault = some("trap"), &[301]),
    (|f| f.run = some("run-9"), &[301]),
    // In the payload, in the message, and in the location.
    (|f| f.text = some("caf\u{e9} xl"), &[301]),
    (|f| f.text = some("NO NUMBER"), &[301]),
    (|f| (f.text, f.limit) = (some("products.csv"), 2), &[1, 2]),
    (|f| f.after = 600, &[601, 602]),
    (|f| (f.flow, f.fault) = (some("shop"), some("config")), &[]),
    (|f| f.limit = 0, &[]),
    // `until` is not in it.
    (|f| (f.since_ms, f.after) = (Some(MADE), 600), &[601, 602]),
    (|f| (f.until_ms, f.after) = (Some(MADE), 600), &[]),
    (|f| f.ids = [3, 301, 7000].into(), &[3, 301]),
    (
        |f| (f.ids, f.flow) = ([3, 301].into(), some("shop")),
        &[301],
    ),
    (|f| (f.ids, f.after) = ([3, 301].into(), 3), &[301]),
    (
        |f| (f.plugin, f.version, f.after) = (some("mapper"), some("0.1.0"), 600),
        &[601, 602],
    ),
    (
        |f| (f.plugin, f.version, f.after) = (some("mapper"), some("0.1.1"), 600),
        &[],
    ),
    (
        |f| (f.plugin, f.version, f.after) = (some("other"), some("0.1.0"), 600),
        &[],
    ),
    (|f| (f.flow, f.up_to) = (some("shop"), Some(601)), &[301]),
];

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
        let ids = |filter: &DeadLetterFilter| -> Vec<u64> {
            let found = store.dead_letters(filter).unwrap();
            found.iter().map(|letter| letter.id).collect()
        };
        for (set, found) in FOUND {
            let mut filter = DeadLetterFilter::default();
            set(&mut filter);
            assert_eq!(ids(&filter), found, "{filter:?}");
        }
        assert_eq!(ids(&DeadLetterFilter::default()).len(), 100);
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

/// What one of [`kept`] counts.
fn one() -> u64 {
    kept(1, 1, 1, Retention::default()).dead_letters[0].weight()
}

/// A commit with a checkpoint of `shop`, `count` dead letters of 1000 bytes each made at `at_ms`, and a retention.
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
