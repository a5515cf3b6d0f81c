//! The secret store: what is in it is found again with the key, and by nobody else.

use super::{super::secret::Secret, *};

struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    fn key(&self) -> KeySource {
        KeySource::File(self.folder.path().join("key"))
    }

    fn set(&self, name: &str, value: &str) {
        let (mut store, _) = SecretStore::open_or_create(&self.file(), &self.key()).unwrap();
        store.set(name, Secret::new(value)).unwrap();
        store.save().unwrap();
    }

    fn get(&self, key: &KeySource, name: &str) -> Result<String, SecretsError> {
        let secret = Secrets::new(self.file(), key.clone()).get(name)?;
        Ok(secret.expose().to_owned())
    }
}

#[test]
fn secrets_are_set_replaced_listed_and_removed() {
    let folder = Folder::new();
    let (mut store, made) = SecretStore::open_or_create(&folder.file(), &folder.key()).unwrap();
    assert!(made && store.list().is_empty());
    assert!(
        !store
            .set("shop.key-1", Secret::new("s\"1\u{e9}\n"))
            .unwrap()
    );
    assert!(!store.set("b", Secret::new("two")).unwrap());
    store.save().unwrap();
    folder.set("b", "three");
    assert_eq!(
        folder.get(&folder.key(), "shop.key-1").unwrap(),
        "s\"1\u{e9}\n"
    );
    assert_eq!(folder.get(&folder.key(), "b").unwrap(), "three");
    let mut store = SecretStore::open(&folder.file(), &folder.key()).unwrap();
    let names: Vec<_> = store.list().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["b", "shop.key-1"]);
    assert!(store.list()[0].set_at_ms > 1_700_000_000_000);
    store.remove("b").unwrap();
    store.save().unwrap();
    let missing = folder.get(&folder.key(), "shop.key-2").unwrap_err();
    assert_eq!(
        missing.to_string().split(" in ").next(),
        Some("there is no secret `shop.key-2`")
    );
    assert!(
        missing.advice().contains("shop.key-1"),
        "{}",
        missing.advice()
    );
    assert!(missing.advice().contains("crossdock secret set shop.key-2"));
}

#[test]
fn nothing_of_it_can_be_read_without_the_key() {
    let folder = Folder::new();
    folder.set("database-password", "swordfish-7781");
    folder.set("other", "x");
    let text = fs::read_to_string(folder.file()).unwrap();
    for hidden in ["database", "swordfish", "other"] {
        assert!(!text.contains(hidden), "{text}");
    }
    // The same content is another text each time, and as long as with a longer value.
    let before = fs::read_to_string(folder.file()).unwrap();
    folder.set("other", "xxxxxxxxxxxxxxxxxxxx");
    let after = fs::read_to_string(folder.file()).unwrap();
    assert!(before != after && before.len() == after.len());
    let store = SecretStore::open(&folder.file(), &folder.key()).unwrap();
    assert!(!format!("{store:?}").contains("swordfish"));
}

#[cfg(unix)]
#[test]
fn both_files_are_their_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    folder.set("a", "1");
    let files: Vec<_> = fs::read_dir(folder.folder.path())
        .unwrap()
        .flatten()
        .collect();
    assert_eq!(files.len(), 2);
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn keys_that_are_none_or_wrong_are_told() {
    let folder = Folder::new();
    // Without secrets there is nothing to open, and no key is needed.
    assert!(
        SecretStore::open(&folder.file(), &KeySource::None)
            .unwrap()
            .list()
            .is_empty()
    );
    let missing = folder.get(&KeySource::None, "a").unwrap_err();
    assert!(matches!(missing, SecretsError::Missing { .. }));
    folder.set("a", "1");
    let no_key = folder.get(&KeySource::None, "a").unwrap_err();
    assert!(
        no_key.advice().contains(KEY_FILE_VARIABLE),
        "{}",
        no_key.advice()
    );
    assert_eq!(
        folder.get(&KeySource::Both, "a"),
        Err(SecretsError::TwoKeys)
    );
    for text in [
        "",
        "hunter2",
        "crossdock-key-1-",
        "crossdock-key-1-ab",
        "crossdock-key-1-a b",
    ] {
        let error = folder
            .get(&KeySource::Text(Secret::new(text)), "a")
            .unwrap_err();
        assert!(matches!(error, SecretsError::NotAKey { .. }), "{error}");
        assert!(!error.to_string().contains("hunter2"));
    }
    let other = Folder::new();
    other.set("a", "1");
    let wrong = folder.get(&other.key(), "a").unwrap_err();
    let SecretsError::WrongKey { wanted, found, .. } = &wrong else {
        panic!("{wrong}")
    };
    assert!(wanted != found && wrong.advice().contains(wanted.as_str()));
    // A key file that is not there is never made when there are secrets that it cannot open.
    let nowhere = folder.folder.path().join("nowhere");
    let source = KeySource::File(nowhere.clone());
    assert!(matches!(
        folder.get(&source, "a"),
        Err(SecretsError::Io { .. })
    ));
    assert!(SecretStore::open_or_create(&folder.file(), &source).is_err() && !nowhere.exists());
    // The same key as text.
    let text = fs::read_to_string(folder.folder.path().join("key")).unwrap();
    assert_eq!(
        folder
            .get(&KeySource::Text(Secret::new(text)), "a")
            .unwrap(),
        "1"
    );
}

#[test]
fn every_changed_byte_is_noticed() {
    let folder = Folder::new();
    folder.set("a", "1");
    let whole = fs::read(folder.file()).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(folder.file(), &changed).unwrap();
        // A space that became another one is the same file.
        if changed[at].is_ascii_whitespace() || whole[at].is_ascii_whitespace() {
            continue;
        }
        let found = folder.get(&folder.key(), "a");
        assert!(found.is_err(), "byte {at} of {}", whole.len());
    }
    for cut in 0..whole.len() - 2 {
        fs::write(folder.file(), &whole[..cut]).unwrap();
        let error = folder.get(&folder.key(), "a").unwrap_err();
        assert!(
            matches!(error, SecretsError::Damaged { .. }),
            "{cut}: {error}"
        );
    }
    fs::write(folder.file(), b"{\"crossdock-secrets\": 2}").unwrap();
    let newer = folder.get(&folder.key(), "a").unwrap_err();
    assert!(matches!(newer, SecretsError::TooNew { found: 2, .. }));
}

#[test]
fn a_new_key_opens_what_the_old_one_did() {
    let folder = Folder::new();
    folder.set("a", "1");
    let mut store = SecretStore::open(&folder.file(), &folder.key()).unwrap();
    let old = store.key_id();
    let new = folder.folder.path().join("new-key");
    assert!(store.rotate(&new).unwrap());
    // Until it is saved, the old key is right.
    assert_eq!(folder.get(&folder.key(), "a").unwrap(), "1");
    store.save().unwrap();
    assert_ne!(store.key_id(), old);
    assert_eq!(folder.get(&KeySource::File(new), "a").unwrap(), "1");
    assert!(matches!(
        folder.get(&folder.key(), "a"),
        Err(SecretsError::WrongKey { .. })
    ));
}

#[test]
fn two_writers_do_not_lose_each_others_secrets() {
    let folder = Folder::new();
    folder.set("a", "1");
    let open = || SecretStore::open(&folder.file(), &folder.key()).unwrap();
    let (mut one, mut two) = (open(), open());
    one.set("b", Secret::new("2")).unwrap();
    one.save().unwrap();
    two.set("c", Secret::new("3")).unwrap();
    assert!(matches!(two.save(), Err(SecretsError::Changed { .. })));
    assert_eq!(folder.get(&folder.key(), "b").unwrap(), "2");
    // The one who wrote may write again.
    one.set("c", Secret::new("3")).unwrap();
    one.save().unwrap();
}

#[test]
fn names_and_values_have_bounds() {
    let folder = Folder::new();
    let (mut store, _) = SecretStore::open_or_create(&folder.file(), &folder.key()).unwrap();
    let long = "x".repeat(129);
    for name in ["", "a b", "-a", "a/b", "\u{e9}", "a\n", long.as_str()] {
        assert!(
            matches!(
                store.set(name, Secret::new("1")),
                Err(SecretsError::Name(_))
            ),
            "{name:?}"
        );
    }
    for value in [String::new(), "x".repeat(MAX_VALUE + 1)] {
        assert!(matches!(
            store.set("a", Secret::new(value)),
            Err(SecretsError::Size(_))
        ));
    }
    for at in 0..MAX_SECRETS {
        store.set(&format!("s{at}"), Secret::new("1")).unwrap();
    }
    assert!(matches!(
        store.set("more", Secret::new("1")),
        Err(SecretsError::Size(_))
    ));
    assert!(store.set("s0", Secret::new("x".repeat(MAX_VALUE))).unwrap());
    store.save().unwrap();
    assert_eq!(folder.get(&folder.key(), "s0").unwrap().len(), MAX_VALUE);
}
