//! What is written, and what follows from it.

use std::{fs, path::PathBuf};

use super::*;
use crate::catalogue::key::PrivateKey;

const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const SUBJECT: Subject<'static> = Subject::Artifact {
    digest: DIGEST,
    name: "csv",
};
const CSV: &str = "registry.example.com/acme/csv";

struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// A key whose public part is in `NAME.pub`.
    fn key(&self, name: &str) -> PrivateKey {
        let key = PrivateKey::random().unwrap();
        fs::write(
            self.dir.path().join(format!("{name}.pub")),
            key.public().to_pem(),
        )
        .unwrap();
        key
    }

    fn load(&self, text: &str) -> Result<Trust, Vec<String>> {
        let file: PathBuf = self.dir.path().join(FILE);
        fs::write(&file, text).unwrap();
        let shown = |finding: &Finding| {
            finding
                .to_string()
                .replace(&self.dir.path().display().to_string(), "")
        };
        Trust::load(&file, &Variables::default())
            .map_err(|findings| findings.iter().map(shown).collect())
    }
}

fn signed(key: &PrivateKey) -> Vec<Signature> {
    vec![
        Signature::simple(key, CSV, DIGEST).unwrap(),
        Signature::bundle(key, "csv", DIGEST).unwrap(),
    ]
}

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn decide(
    trust: &Trust,
    repository: &str,
    signatures: &[Signature],
    pinned: Option<&KeyId>,
) -> Decision {
    let asked = Asked {
        repository: Some(repository),
        subject: SUBJECT,
        pinned,
    };
    trust.decide(&asked, signatures, now())
}

fn refused(decision: Decision) -> String {
    match decision {
        Decision::Refused { why, .. } => why,
        other => panic!("{other:?}"),
    }
}

const TWO: &str = "
publishers:
  - publisher: acme
    namespaces: [registry.example.com/acme]
    keys: [{ file: acme.pub }, { file: new.pub, not-after: 2026-12-31 }, { file: old.pub, not-after: 2026-05-31 }]
  - publisher: rest
    namespaces: [registry.example.com, registry.example.com/acme/tools]
    keys: [{ file: rest.pub }]
";

#[test]
fn a_publisher_may_publish_in_its_own_namespaces_with_keys_that_still_count() {
    let folder = Folder::new();
    let keys = ["acme", "new", "old", "rest"].map(|name| folder.key(name));
    let [acme, new, old, rest] = &keys;
    let trust = folder.load(TWO).unwrap();
    for key in [acme, new] {
        for signature in signed(key) {
            let expected = Decision::Trusted {
                publisher: "acme".to_owned(),
                key: key.public().id().clone(),
            };
            assert_eq!(decide(&trust, CSV, &[signature], None), expected);
        }
    }
    let why = refused(decide(&trust, CSV, &signed(old), None));
    assert!(
        why.contains("of acme counts no more since 2026-06-01T00:00:00Z"),
        "{why}"
    );
    let why = refused(decide(&trust, CSV, &signed(rest), None));
    assert!(
        why.contains("signed by rest, but this namespace is acme's"),
        "{why}"
    );
    let stranger = PrivateKey::random().unwrap();
    let why = refused(decide(&trust, CSV, &signed(&stranger), None));
    assert!(
        why.contains("none of the known keys made it (trust.yaml wants one by acme)"),
        "{why}"
    );
    let why = refused(decide(&trust, CSV, &[], None));
    assert_eq!(why, "it is not signed (trust.yaml wants one by acme)");
    // The longest namespace counts, and names are compared part by part.
    let tool = "registry.example.com/acme/tools/csv";
    assert_eq!(
        decide(&trust, tool, &signed(rest), None).publisher(),
        Some("rest")
    );
    assert_eq!(
        decide(
            &trust,
            "registry.example.com/acme-evil/csv",
            &signed(rest),
            None
        )
        .publisher(),
        Some("rest")
    );
    let why = refused(decide(
        &trust,
        "registry.example.com/acme-evil/csv",
        &signed(acme),
        None,
    ));
    assert!(why.contains("this namespace is rest's"), "{why}");
    let why = refused(decide(
        &trust,
        "mirror.internal/acme/csv",
        &signed(acme),
        None,
    ));
    assert!(
        why.contains("add mirror.internal/acme to the `namespaces` of acme"),
        "{why}"
    );
}

#[test]
fn one_good_signature_is_enough_and_a_flood_of_bad_ones_ends() {
    let folder = Folder::new();
    let keys = ["acme", "new", "old", "rest"].map(|name| folder.key(name));
    let trust = folder.load(TWO).unwrap();
    let bad = || Signature::Bundle(b"[]".to_vec());
    let mut signatures = vec![bad(), Signature::bundle(&keys[3], "csv", DIGEST).unwrap()];
    signatures.extend(signed(&keys[0]));
    assert_eq!(
        decide(&trust, CSV, &signatures, None).publisher(),
        Some("acme")
    );
    let mut flood: Vec<_> = (0..MAX_SIGNATURES).map(|_| bad()).collect();
    flood.extend(signed(&keys[0]));
    let Decision::Refused { notes, .. } = decide(&trust, CSV, &flood, None) else {
        panic!("not refused")
    };
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn a_changed_or_missing_key_of_the_installed_version_asks() {
    let folder = Folder::new();
    let keys = ["acme", "new", "old", "rest"].map(|name| folder.key(name));
    let [acme, new, old, _] = &keys;
    let trust = folder.load(TWO).unwrap();
    let pinned = acme.public().id();
    assert!(matches!(
        decide(&trust, CSV, &signed(acme), Some(pinned)),
        Decision::Trusted { .. }
    ));
    let changed = decide(&trust, CSV, &signed(new), Some(pinned));
    assert_eq!(changed.key(), Some(new.public().id()));
    assert!(matches!(&changed, Decision::Changed { pinned: was, .. } if was == pinned));
    assert!(
        changed
            .words()
            .contains("ask acme whether the key was changed"),
        "{}",
        changed.words()
    );
    // Signed with both: the known one counts, in whatever order.
    let both: Vec<_> = signed(new).into_iter().chain(signed(acme)).collect();
    assert_eq!(decide(&trust, CSV, &both, Some(pinned)).key(), Some(pinned));
    // The old key is pinned and counts no more.
    let mut both = signed(old);
    both.extend(signed(new));
    assert!(matches!(
        decide(&trust, CSV, &both, Some(old.public().id())),
        Decision::Changed { .. }
    ));
    // Where nothing must be signed, what was signed may not silently come unsigned.
    let open = folder
        .load("require: unsigned-ok\npublishers: []\n")
        .unwrap();
    assert_eq!(
        decide(&open, CSV, &[], None),
        Decision::Unsigned { notes: Vec::new() }
    );
    let lost = decide(&open, CSV, &[], Some(pinned));
    assert!(
        matches!(lost, Decision::Changed { key: None, .. }),
        "{lost:?}"
    );
    let notes = match decide(&open, CSV, &signed(acme), None) {
        Decision::Unsigned { notes } => notes,
        other => panic!("{other:?}"),
    };
    assert_eq!(notes, ["none of the known keys made it"]);
}

#[test]
fn a_project_without_the_file_knows_nobody() {
    let folder = Folder::new();
    let trust = Trust::of_project(folder.dir.path(), &Variables::default()).unwrap();
    assert!(trust.is_empty());
    assert!(matches!(
        decide(&trust, CSV, &[], None),
        Decision::Unsigned { .. }
    ));
    // An empty file is a mistake, not an invitation.
    assert!(folder.load("").is_err());
    fs::remove_file(folder.dir.path().join(FILE)).unwrap();
    #[cfg(unix)]
    {
        // Nor is one that leads nowhere.
        std::os::unix::fs::symlink("nowhere", folder.dir.path().join(FILE)).unwrap();
        Trust::of_project(folder.dir.path(), &Variables::default()).unwrap_err();
    }
}

#[test]
fn a_file_needs_a_known_key_that_counts() {
    let folder = Folder::new();
    let keys = ["acme", "new", "old", "rest"].map(|name| folder.key(name));
    let trust = folder.load(TWO).unwrap();
    let bytes = b"\0asm";
    let asked = Asked {
        repository: None,
        subject: Subject::File(bytes),
        pinned: None,
    };
    let decide =
        |key: &PrivateKey| trust.decide(&asked, &[Signature::of_file(key, bytes).unwrap()], now());
    assert_eq!(decide(&keys[3]).publisher(), Some("rest"));
    assert!(refused(decide(&keys[2])).contains("counts no more"));
}

#[test]
fn everything_that_is_wrong_is_told_at_its_line() {
    let folder = Folder::new();
    folder.key("acme");
    let pem = folder
        .key("rest")
        .public()
        .to_pem()
        .replace('\n', "\n          ");
    let text = format!(
        "require: maybe
publishers:
  - publisher: acme
    namespaces: [acme]
    keys: [{{ fil: acme.pub }}]
  - publisher: rest
    keys: []
    # {}
",
        pem.len()
    );
    insta::assert_snapshot!(folder.load(&text).unwrap_err().join("\n"));
    let text = format!(
        "publishers:
  - publisher: acme
    namespaces: [acme, registry.example.com/acme/, oci://registry.example.com/acme, 'registry.example.com//a']
    keys:
      - {{ file: acme.pub, not-after: soon }}
      - {{ file: none.pub }}
      - {{ file: trust.yaml }}
      - {{ file: acme.pub }}
      - {{}}
      - file: acme.pub
        pem: |
          {pem}
      - file: rest.pub
        not-after: 2027-12-31T12:00:00
  - publisher: acme
    keys: [{{ file: acme.pub }}, {{ pem: nothing }}]
"
    );
    let told = folder.load(&text).unwrap_err().join("\n");
    let id = regex_free(&told);
    insta::assert_snapshot!(id);
}

/// Ids of keys are new with every test.
fn regex_free(text: &str) -> String {
    let words: Vec<String> = text
        .split(' ')
        .map(|word| {
            let is_id = word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit());
            if is_id {
                "[id]".to_owned()
            } else {
                word.to_owned()
            }
        })
        .collect();
    words.join(" ")
}
