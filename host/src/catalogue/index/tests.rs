//! The document, the notes, the copies, and the search; the network is in the tests of the whole program.

use std::fs;

use serde_json::{Value, json};

use super::{kept::KeptIndexes, notes::Notes, *};
use crate::catalogue::{PrivateKey, Signature, inspect::digest};

fn document() -> Value {
    let release = |keywords: &[&str], description: &str| {
        json!({
            "manifest": digest(description.as_bytes()), "digest": digest(b"component"), "size": 7, "kinds": ["source", "sink"],
            "description": description, "keywords": keywords, "contract": "0.1.0",
            "conformance": { "source": "exactly-once", "sink": "resumable" },
        })
    };
    json!({
        "form": 1, "namespace": "shop", "serial": 7, "created": "2026-01-01T00:00:00Z", "expires": "2026-02-01T00:00:00Z",
        "plugins": {
            "csv": { "path": "csv", "versions": {
                "1.0.0": release(&["files"], "Reads CSV"), "1.2.0": release(&["files", "Tabular"], "Reads and writes CSV"),
                "2.0.0-rc.1": release(&[], "Soon"),
            } },
            "csv-tools": { "path": "more/csv-tools", "versions": { "0.1.0": release(&[], "Tools for files of csv") } },
            "old": { "path": "old", "deprecated": { "reason": "old", "replacement": "csv" }, "versions": {
                "1.0.0": release(&["csv"], "csv as it was") } },
        },
    })
}

fn index() -> Index {
    Index::parse(document().to_string().as_bytes()).unwrap()
}

fn place() -> Repository {
    Repository::of_catalogue("oci://h/shop").unwrap()
}

#[test]
fn an_index_is_written_as_it_is_read_and_the_same_every_time() {
    let index = index();
    let bytes = index.write().unwrap();
    assert_eq!(Index::parse(&bytes).unwrap(), index);
    assert_eq!(index.write().unwrap(), bytes);
    let csv = &index.plugins["csv"];
    assert_eq!(csv.newest().unwrap().0, &Version::new(1, 2, 0));
    assert_eq!(
        csv.versions[&Version::new(1, 0, 0)].level(),
        Some(Level::Resumable)
    );
    let manifest = artifact::manifest(&bytes).unwrap();
    assert_eq!(artifact::manifest(&bytes).unwrap(), manifest);
    // Fields that are added later are no reason to refuse it.
    let mut more = document();
    more["later"] = json!(1);
    more["plugins"]["csv"]["later"] = json!({});
    assert_eq!(Index::parse(more.to_string().as_bytes()).unwrap(), index);
}

#[test]
fn what_cannot_be_right_is_refused_in_one_line() {
    let cases: &[(&str, Value, &str)] = &[
        ("/form", json!(2), "use a newer one"),
        ("/form", json!(0), "`form` is no number of a form"),
        ("/serial", json!(0), "`serial` begins with 1"),
        ("/serial", json!(-1), "the index is damaged"),
        (
            "/expires",
            json!("2025-01-01T00:00:00Z"),
            "it expires before it was made",
        ),
        ("/expires", json!("soon"), "the index is damaged"),
        ("/namespace", json!("../shop"), "is no namespace"),
        (
            "/plugins/csv/path",
            json!("jsonl"),
            "is no repository of it",
        ),
        (
            "/plugins/csv/path",
            json!("../csv"),
            "is no repository of it",
        ),
        ("/plugins/csv/versions", json!({}), "it has 0 versions"),
        (
            "/plugins/csv/versions",
            json!({ "1": {} }),
            "the index is damaged",
        ),
        (
            "/plugins/csv/versions/1.0.0/manifest",
            json!("sha256:00"),
            "is no digest",
        ),
        (
            "/plugins/csv/versions/1.0.0/description",
            json!("a\u{1b}[2J"),
            "has control characters",
        ),
        (
            "/plugins/csv/versions/1.0.0/description",
            json!("x".repeat(501)),
            "has more than 500 characters",
        ),
        (
            "/plugins/csv/versions/1.0.0/keywords",
            json!(vec!["x"; 101]),
            "it has 101 keywords",
        ),
        (
            "/plugins/old/deprecated/reason",
            json!("\r"),
            "the reason has control characters",
        ),
    ];
    for (pointer, value, said) in cases {
        let mut document = document();
        *document.pointer_mut(pointer).unwrap() = value.clone();
        let error = Index::parse(document.to_string().as_bytes())
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{pointer}: {error}");
        assert_eq!(error.lines().count(), 1);
    }
    let mut channels = document();
    channels["plugins"]["csv"]["channels"] = json!({ "stable": "3.0.0" });
    let error = Index::parse(channels.to_string().as_bytes())
        .unwrap_err()
        .to_string();
    assert!(error.contains("which is not there"), "{error}");
    let huge = vec![b' '; usize::try_from(MAX_INDEX).unwrap() + 1];
    assert!(matches!(Index::parse(&huge), Err(IndexError::TooLarge(_))));
    assert!(matches!(Index::parse(b"[]"), Err(IndexError::Malformed(_))));
}

#[test]
fn an_index_speaks_of_its_own_namespace_alone() {
    let index = index();
    let at = |text: &str| -> Option<bool> {
        let repository: Repository = text.parse().unwrap();
        index
            .entry(&place(), &repository)
            .map(|entry| entry.path.ends_with("csv"))
    };
    assert_eq!(at("oci://h/shop/csv"), Some(true));
    assert_eq!(at("oci://h/shop/more/csv-tools"), Some(false));
    for other in [
        "oci://h/csv",
        "oci://h/other/csv",
        "oci://h/shop/more/csv",
        "oci://h/shopper/csv",
        "oci://i/shop/csv",
    ] {
        assert_eq!(at(other), None, "{other}");
    }
    assert!(index.speaks_for("shop") && index.speaks_for("mirror/shop"));
    assert!(!index.speaks_for("") && !index.speaks_for("myshop") && !index.speaks_for("shop/a"));
    let whole = Index {
        namespace: String::new(),
        ..index
    };
    assert!(whole.speaks_for("") && !whole.speaks_for("shop"));
}

#[test]
fn words_find_the_best_first() {
    let index = index();
    let found = |words: &[&str]| -> Vec<String> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        let hits = search(&place(), &index, &words);
        hits.iter().map(|hit| hit.name.to_owned()).collect()
    };
    assert_eq!(found(&["csv"]), ["csv", "csv-tools", "old"]);
    assert_eq!(found(&["CSV tabular"]), ["csv"]);
    assert_eq!(found(&["files"]), ["csv", "csv-tools"]);
    assert_eq!(found(&["sink"]).len(), 3);
    assert_eq!(found(&[]).len(), 3);
    assert!(found(&["csv", "nothing"]).is_empty());
    let hits = search(&place(), &index, &["csv-tools".to_owned()]);
    assert_eq!(
        hits[0].repository.to_string(),
        "oci://h/shop/more/csv-tools"
    );
}

#[test]
fn advisories_affect_what_they_name_and_what_comes_before_it() {
    let advisory = |affected: &str| -> Advisory {
        serde_json::from_value(json!({
            "id": "A-1", "affected": affected, "severity": "high", "text": "line one\nline two", "fixed": "1.2.0",
        }))
        .unwrap()
    };
    let affects =
        |affected: &str, version: &str| advisory(affected).affects(&version.parse().unwrap());
    assert!(affects(">=1.0.0, <1.2.0", "1.1.9") && !affects(">=1.0.0, <1.2.0", "1.2.0"));
    assert!(affects(">=1.0.0, <1.2.0", "1.1.0-rc.1+build"));
    assert!(!affects("<1.2.0", "1.2.0-rc.1") && affects("<=1.2.0", "1.2.0-rc.1"));
    assert_eq!(
        advisory("*").words(),
        "A-1 (high): line one; fixed in 1.2.0"
    );
}

#[test]
fn notes_are_put_into_the_index_or_told_at_their_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(notes::FILE);
    let apply = |text: &str, index: &mut Index| {
        fs::write(&file, text).unwrap();
        Notes::load(&file)?.apply(index)
    };
    let mut index = index();
    apply(
        "plugins:\n  csv:\n    yanked: [{ version: 1.2.0, reason: wrong }]\n    channels: { stable: 1.0.0 }\n    advisories:\n      \
         - { id: A-1, affected: '<1.2.0', severity: low, text: a, fixed: 9.0.0 }\n",
        &mut index,
    )
    .unwrap();
    let csv = &index.plugins["csv"];
    assert_eq!(csv.yanked(&Version::new(1, 2, 0)), Some("wrong"));
    assert_eq!(csv.newest().unwrap().0, &Version::new(1, 0, 0));
    assert_eq!(csv.channels["stable"], Version::new(1, 0, 0));
    assert_eq!(csv.advisories(&Version::new(1, 0, 0)).count(), 1);
    // The file is all that counts: what it does not say any more is not so any more.
    assert!(index.plugins["old"].deprecated.is_none());
    apply("plugins: {}\n", &mut index).unwrap();
    assert!(
        index.plugins["csv"]
            .yanked(&Version::new(1, 2, 0))
            .is_none()
    );
    for (text, line, said) in [
        (
            "plugins:\n  cvs: {}\n",
            2,
            "no plugin `cvs` in the catalogue",
        ),
        (
            "plugins:\n  csv:\n    channels:\n      stable: 3.0.0\n",
            4,
            "no version 3.0.0",
        ),
        (
            "plugins:\n  csv:\n    channels:\n      latest: 1.0.0\n",
            4,
            "no name of a channel",
        ),
        (
            "plugins:\n  csv:\n    yanked: [{ version: 1.0.0, reason: x }]\n    channels:\n      stable: 1.0.0\n",
            5,
            "which is yanked: x",
        ),
        (
            "plugins:\n  csv:\n    yanked:\n      - { version: one, reason: x }\n",
            4,
            "`one`",
        ),
        (
            "plugins:\n  csv:\n    advisories:\n      - { id: A, affected: '??', severity: low, text: x }\n",
            4,
            "`??`",
        ),
        ("plugins:\n  csv:\n    yankd: []\n", 3, "yankd"),
    ] {
        let findings = apply(text, &mut index).unwrap_err();
        let finding = findings[0].to_string();
        assert!(finding.contains(said), "{said}: {finding}");
        assert_eq!(
            findings[0].location.as_ref().unwrap().line,
            line,
            "{finding}"
        );
    }
}

fn signed(serial: u64, plugin: &str) -> SignedIndex {
    let mut document = document();
    document["serial"] = json!(serial);
    document["plugins"] = json!({ plugin: { "path": plugin, "versions": document["plugins"]["csv"]["versions"].clone() } });
    let index = Index::parse(document.to_string().as_bytes()).unwrap();
    let bytes = index.write().unwrap();
    let manifest = artifact::manifest(&bytes).unwrap();
    let key = PrivateKey::random().unwrap();
    let signature = Signature::bundle(&key, NAME, &manifest.digest).unwrap();
    assert_eq!(
        signature.is_about(&artifact::subject(&manifest.digest)),
        Ok(())
    );
    assert!(
        signature
            .is_about(&artifact::subject(&digest(b"other")))
            .is_err()
    );
    SignedIndex {
        index,
        bytes,
        manifest,
        signatures: vec![
            signature,
            Signature::Simple {
                payload: vec![0, 255],
                signature: "x".to_owned(),
            },
        ],
    }
}

#[test]
fn a_copy_never_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let kept = KeptIndexes::of(dir.path());
    let (place, now) = (place(), Timestamp::now());
    assert!(kept.read(&place).unwrap().is_none());
    let second = signed(2, "csv");
    kept.put(&place, &second, None, now).unwrap();
    let read = kept.read(&place).unwrap().unwrap();
    assert_eq!(
        (&read.signed.bytes, &read.signed.signatures),
        (&second.bytes, &second.signatures)
    );
    assert_eq!(read.signed.manifest, second.manifest);
    assert_eq!(read.fetched, now);
    let told = |signed: &SignedIndex| kept.put(&place, signed, None, now).unwrap_err().to_string();
    assert!(told(&signed(1, "csv")).contains("its serial is 1, and 2 was seen already"));
    assert!(told(&signed(2, "jsonl")).contains("says something else"));
    assert!(kept.may_follow(&place, &signed(1, "csv")).is_err());
    kept.put(&place, &second, None, now).unwrap();
    kept.put(&place, &signed(3, "jsonl"), None, now).unwrap();
    assert!(told(&second).contains("3 was seen already"));
    // Another catalogue has serials of its own.
    let other = Repository::of_catalogue("oci://h/other").unwrap();
    kept.put(&other, &signed(1, "csv"), None, now).unwrap();
    // Each has its state and its index, and nothing is left of former ones.
    assert_eq!(
        fs::read_dir(dir.path().join("catalogue")).unwrap().count(),
        5
    );
    kept.tried(&place, now + jiff::SignedDuration::from_secs(5))
        .unwrap();
    assert!(kept.read(&place).unwrap().unwrap().tried > now);
}

#[test]
fn a_copy_that_was_changed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let kept = KeptIndexes::of(dir.path());
    kept.put(&place(), &signed(2, "csv"), None, Timestamp::now())
        .unwrap();
    for entry in fs::read_dir(dir.path().join("catalogue")).unwrap() {
        let path = entry.unwrap().path();
        let whole = fs::read(&path).unwrap();
        if whole.is_empty() {
            continue;
        }
        fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let error = kept.read(&place()).unwrap_err();
        assert!(matches!(error, SeenError::Damaged { .. }), "{error}");
        fs::write(&path, &whole).unwrap();
        assert!(kept.read(&place()).unwrap().is_some());
    }
}
