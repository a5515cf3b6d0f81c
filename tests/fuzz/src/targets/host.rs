//! What the host reads.

use std::{collections::BTreeMap, path::Path};

use crossdock::{
    catalogue::{
        Index, Kind, Manifest, PublicKey, Repository, Signature, Subject, index::search, inspect,
    },
    connection::ConnectionSpec,
    engine::batch::{Batch, Form},
    flow::{Document, Egress, Plan, TcpGrant, UrlGrant, Variables, schema},
    plugin::{Grants, Hints, Limits, missing},
    storage::Checkpoint,
};
use serde_json::json;
use url::Url;

/// A manifest is read, or refused; one that was read is written as the same.
pub(super) fn manifest(input: &[u8]) {
    let Ok(manifest) = Manifest::parse(input) else {
        return;
    };
    if let Ok(text) = serde_json::to_vec(&manifest) {
        let again = Manifest::parse(&text);
        assert_eq!(
            again.ok().as_ref(),
            Some(&manifest),
            "it is another one when it was written"
        );
    }
    for kind in Kind::ALL {
        let (grants, limits, hints) = (Grants::default(), Limits::default(), Hints::default());
        for need in missing(&manifest, kind, &grants, &limits, &hints) {
            assert!(!need.to_string().is_empty());
        }
    }
    for spec in manifest.kinds.values() {
        for config in [json!({}), json!({ "a": [{ "a": [] }, "a", 1] })] {
            if let Ok(violations) = schema::violations(&spec.config, &config) {
                assert!(violations.len() <= 100);
            }
        }
    }
    drop(manifest.permissions.in_words());
}

/// What is no component is refused.
pub(super) fn component(input: &[u8]) {
    if let Ok(inspection) = inspect(input) {
        drop((inspection.findings(), inspection.reach()));
    }
}

/// The key that made the signatures of the corpus.
const KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEFwVJbrbYqCYesylUsxTeAHAEYF3H\n\
WVvKHB/AffBkUZfQMTqiB6SWKCwcyMIvcLwvgERDaq7zvizOT+AMXPBhSQ==\n\
-----END PUBLIC KEY-----\n";

/// A key, or a signature in one of the layouts: whatever it is made into, it is none of another digest.
pub(super) fn signature(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(key) = PublicKey::from_pem(&text, "input") {
        let again = PublicKey::from_pem(&key.to_pem(), "again");
        assert!(
            again.is_ok_and(|again| again == key),
            "it is another one when it was written"
        );
    }
    let known = PublicKey::from_pem(KEY, "KEY");
    assert!(known.is_ok(), "the key of the corpus is none");
    let mut forms = vec![Signature::Bundle(input.to_vec())];
    if let Some(end) = input.iter().position(|b| *b == b'\n') {
        let (signature, payload) = (&input[..end], &input[end + 1..]);
        let signature = String::from_utf8_lossy(signature).into_owned();
        forms.push(Signature::Simple {
            payload: payload.to_vec(),
            signature,
        });
    }
    let digest = format!("sha256:{}", "2".repeat(64));
    for form in forms {
        for subject in [
            Subject::Artifact {
                digest: &digest,
                name: "csv",
            },
            Subject::File(b"\0asm and more"),
        ] {
            let verified = form.verify(&subject, known.as_ref().ok());
            assert!(verified.is_err(), "it counts for another digest");
        }
    }
}

/// The index of a catalogue is read, or refused in one line; one that was read is written as the same, speaks of nothing
/// outside of its namespace, and holds nothing that a terminal obeys.
pub(super) fn index(input: &[u8]) {
    let index = match Index::parse(input) {
        Ok(index) => index,
        Err(error) => {
            assert!(!error.to_string().is_empty(), "refused without a reason");
            return;
        }
    };
    let written = index.write();
    let again = written.as_ref().map(|bytes| Index::parse(bytes));
    assert_eq!(
        again,
        Ok(Ok(index.clone())),
        "it is another one when it was written"
    );
    let Ok(place) = Repository::of_catalogue("oci://registry.example.com/shop") else {
        return;
    };
    for hit in search(&place, &index, &[]) {
        let within = hit.repository.path().starts_with("shop/");
        assert!(within, "it speaks of {}", hit.repository);
        let clean = |text: &str| text.chars().all(|c| c == '\n' || !c.is_control());
        assert!(clean(&hit.release.description), "a terminal would obey");
        for advisory in hit.entry.advisories(hit.version) {
            assert!(clean(&advisory.words()), "a terminal would obey");
        }
    }
}

fn variables() -> Variables {
    let given =
        [("A", "1"), ("EMPTY", "")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Variables::only(BTreeMap::from(given))
}

/// A flow is planned, or everything that is wrong is at a place of the file.
pub(super) fn flow(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    // Files that it names are not there.
    let file = Path::new("/nowhere/flows/f.yaml");
    match Plan::parse(text, file, &variables()) {
        Ok(planned) => {
            assert!(!planned.plan.digest().is_empty());
            drop(serde_json::to_string(&planned.plan));
        }
        Err(findings) => {
            assert!(!findings.is_empty(), "refused without a reason");
            for finding in findings {
                drop(finding.to_string());
            }
        }
    }
}

/// A connection is read, or refused, and its secrets are shown by nothing.
pub(super) fn connection(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let file = Path::new("/nowhere/connections/c.yaml");
    let document = Document::parse("connection", text, file, &variables());
    if let Ok(spec) = document.and_then(|mut document| document.decode::<ConnectionSpec>()) {
        drop(format!("{spec:?}"));
    }
}

/// Lines: a grant for URLs, one for TCP, a method and a URL. What is covered is what the grant says.
pub(super) fn grants(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut lines = text.lines();
    let mut line = || lines.next().unwrap_or_default();
    let (url_text, tcp_text, method, asked) = (line(), line(), line(), line());
    if let Ok(grant) = tcp_text.parse::<TcpGrant>() {
        let again: Option<TcpGrant> = grant.to_string().parse().ok();
        assert_eq!(
            again.as_ref(),
            Some(&grant),
            "it is another one when it was written"
        );
        assert!(grant.includes(&grant), "{grant} does not include itself");
    }
    let Ok(grant) = url_text.parse::<UrlGrant>() else {
        return;
    };
    let again: Option<UrlGrant> = grant.to_string().parse().ok();
    assert_eq!(
        again.as_ref(),
        Some(&grant),
        "it is another one when it was written"
    );
    assert!(grant.includes(&grant), "{grant} does not include itself");
    let Ok(asked) = Url::parse(asked) else {
        return;
    };
    let Ok(egress) = Egress::parse(&[url_text.to_owned()], &[], false) else {
        return;
    };
    if egress.request(method, &asked) {
        assert!(matches!(asked.scheme(), "http" | "https"), "{asked}");
        assert!(
            asked.username().is_empty() && asked.password().is_none(),
            "{asked}"
        );
        let path = asked.path().to_ascii_lowercase();
        let dots = path
            .split('/')
            .any(|part| matches!(part, ".." | "%2e%2e" | ".%2e" | "%2e."));
        assert!(!dots, "{asked}");
    }
}

/// Words and bytes as a plugin gives them: what is taken is whole, and stays so when it is cut.
pub(super) fn batch(input: &[u8]) {
    let Some((&words, rest)) = input.split_first() else {
        return;
    };
    let at = rest.len().min(usize::from(words) * 4);
    let (index, data) = rest.split_at(at);
    let index: Vec<u32> = index
        .chunks_exact(4)
        .filter_map(|four| Some(u32::from_le_bytes(four.try_into().ok()?)))
        .collect();
    let Ok(batch) = Batch::new("s", Form::Json, index, data.to_vec()) else {
        return;
    };
    let length: usize = batch
        .records()
        .map(|record| record.key.len() + record.headers.len() + record.payload.len())
        .sum();
    assert_eq!(length, data.len(), "bytes got lost");
    assert!(batch.record(batch.len()).is_none());
    for at in 0..=batch.len() {
        let (first, second) = batch.split(at);
        assert_eq!(first.len() + second.len(), batch.len());
        let both = first.records().chain(second.records());
        assert!(both.eq(batch.records()), "a cut at {at} changed records");
    }
    let last = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    assert!(batch.select(&[last]).is_none());
    assert_eq!(
        batch
            .select(&(0..last).collect::<Vec<_>>())
            .map(|all| all.len()),
        Some(batch.len())
    );
}

/// A checkpoint is read, or refused; one that was read is written as the same.
pub(super) fn checkpoint(input: &[u8]) {
    let Ok(checkpoint) = Checkpoint::parse("f", input) else {
        return;
    };
    if let Ok(text) = serde_json::to_vec(&checkpoint) {
        let again = Checkpoint::parse("f", &text);
        assert_eq!(
            again.ok().as_ref(),
            Some(&checkpoint),
            "it is another one when it was written"
        );
    }
}
