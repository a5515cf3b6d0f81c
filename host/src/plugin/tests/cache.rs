//! The compile cache: hit, damage, strangers.

use std::{fs, path::Path};

use super::*;
use crate::catalogue::Kind;

fn with_cache(folder: &Path) -> Runtime {
    Runtime::new(&RuntimeOptions {
        cache_dir: Some(folder.to_owned()),
        max_instances: 2,
        lines: false,
    })
    .unwrap()
}

/// Loads in a fresh runtime, runs it, and says whether its code came from the cache.
async fn hit(folder: &Path) -> bool {
    let plugin = with_cache(folder)
        .load_bytes(Guest::new(Kind::Transformer).build(), "x")
        .await
        .unwrap();
    let mut instance = plugin
        .transformer(context())
        .unwrap()
        .open(None)
        .await
        .unwrap();
    instance.apply(&batch(1)).await.unwrap();
    plugin.from_cache()
}

fn file(folder: &Path, extension: &str) -> std::path::PathBuf {
    let mut found = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    found
        .find(|path| path.extension().is_some_and(|own| own == extension))
        .unwrap()
}

#[tokio::test]
async fn a_second_load_maps_the_compiled_code() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("deep/cache");
    assert!(!hit(&folder).await);
    assert!(hit(&folder).await);
}

#[tokio::test]
async fn a_file_that_was_tampered_with_is_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cache");
    assert!(!hit(&folder).await);
    let code = file(&folder, "cwasm");
    let mut bytes = fs::read(&code).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&code, &bytes).unwrap();
    assert!(!hit(&folder).await);
    assert!(hit(&folder).await);
    // Cut off, without its tag, or under another key.
    fs::write(&code, &bytes[..100]).unwrap();
    assert!(!hit(&folder).await);
    fs::remove_file(file(&folder, "tag")).unwrap();
    assert!(!hit(&folder).await);
    fs::write(folder.join("key"), [7; 32]).unwrap();
    assert!(!hit(&folder).await);
    fs::write(folder.join("key"), b"short").unwrap();
    assert!(!hit(&folder).await);
    assert!(hit(&folder).await);
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_that_others_may_enter_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cache");
    assert!(!hit(&folder).await);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&folder.join("key")), 0o600);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!hit(&folder).await);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(hit(&folder).await);
}

#[cfg(unix)]
#[tokio::test]
async fn a_folder_of_another_kind_or_owner_is_not_used() {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cache");
    assert!(!hit(&folder).await);
    for mode in [0o770, 0o702, 0o1777] {
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        assert!(!hit(&folder).await, "{mode:o}");
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(hit(&folder).await);
    // A link to a good folder may lead elsewhere tomorrow.
    let link = dir.path().join("link");
    symlink(&folder, &link).unwrap();
    assert!(!hit(&link).await);
    // Only root can give a folder away.
    if chown(&folder, Some(12345), None).is_ok() {
        assert!(!hit(&folder).await);
    }
}

/// Code and tag of one component under the name of another: the tag is over the name, too.
#[tokio::test]
async fn code_under_another_name_is_not_used() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("cache");
    let poison = Guest::new(Kind::Transformer).body("apply", "unreachable");
    with_cache(&folder)
        .load_bytes(poison.build(), "x")
        .await
        .unwrap();
    let poisoned = [file(&folder, "cwasm"), file(&folder, "tag")];
    assert!(!hit(&folder).await);
    let names = |extension: &str| {
        let all = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        all.filter(|path| path.extension().is_some_and(|own| own == extension))
            .collect::<Vec<_>>()
    };
    for (from, extension) in poisoned.iter().zip(["cwasm", "tag"]) {
        for to in names(extension).iter().filter(|to| *to != from) {
            fs::copy(from, to).unwrap();
        }
    }
    // It runs, so it is not the poison, and it was compiled again.
    assert!(!hit(&folder).await);
}
