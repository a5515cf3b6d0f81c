//! Which files the patterns of a config name.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Read};

use glob::{MatchOptions, Pattern};

use crate::error::{DropError, Result};

const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// The files that `patterns` match: the patterns in the order given, the matches of each by name, each file once.
///
/// `*`, `?`, `[a-z]` match within a name, `**` matches any number of folders. Names that begin with a dot must be
/// written out, so that unfinished files of a sink are never read. A pattern without these is a plain path.
///
/// The folders in front of the first such sign are not looked at: in the sandbox only granted folders can be listed.
pub fn find(patterns: &[String], allow_empty: bool) -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for (index, pattern) in patterns.iter().enumerate() {
        let field = if patterns.len() == 1 {
            "/files".to_owned()
        } else {
            format!("/files/{index}")
        };
        let found = matches(pattern, &field)?;
        if found.is_empty() && !allow_empty {
            return Err(DropError::NoMatch {
                pattern: pattern.clone(),
                field,
            });
        }
        files.extend(found.into_iter().filter(|path| seen.insert(path.clone())));
    }
    Ok(files)
}

fn matches(pattern: &str, field: &str) -> Result<BTreeSet<String>> {
    let bad = |reason: &str| DropError::Pattern {
        pattern: pattern.to_owned(),
        reason: reason.to_owned(),
        field: field.to_owned(),
    };
    let parts: Vec<&str> = pattern.split('/').collect();
    let fixed = parts.iter().take_while(|part| !has_sign(part)).count();
    let mut found = BTreeSet::new();
    if fixed == parts.len() {
        if pattern.is_empty() {
            return Err(bad("it is empty"));
        }
        // A plain path. Whatever is wrong with it is said when it is opened, except that it is not there.
        match fs::metadata(pattern) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(DropError::io("read", pattern)(error)),
            Ok(meta) if meta.is_dir() => {
                return Err(bad("it is a folder; write `/*` or `/*.csv` behind it"));
            }
            Ok(_) => {
                found.insert(pattern.to_owned());
            }
        }
        return Ok(found);
    }
    let mut steps = Vec::new();
    for part in parts.get(fixed..).unwrap_or_default() {
        steps.push(match *part {
            "" => return Err(bad("it has an empty part (`//` or a `/` at the end)")),
            "**" => Step::AnyFolders,
            part if part.contains("**") => {
                return Err(bad("`**` must stand alone between two `/`"));
            }
            part => Step::Name(Pattern::new(part).map_err(|error| bad(error.msg))?),
        });
    }
    if matches!(steps.last(), Some(Step::AnyFolders)) {
        return Err(bad("it ends with `**`; write `/*` behind it"));
    }
    let base = parts.get(..fixed).unwrap_or_default().join("/");
    // "/*.csv" starts at the root, "*.csv" at the project folder.
    let base = if base.is_empty() && pattern.starts_with('/') {
        "/".to_owned()
    } else {
        base
    };
    walk(&base, &steps, &mut found)?;
    Ok(found)
}

enum Step {
    AnyFolders,
    Name(Pattern),
}

fn has_sign(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

fn walk(folder: &str, steps: &[Step], found: &mut BTreeSet<String>) -> Result<()> {
    let Some((step, rest)) = steps.split_first() else {
        return Ok(());
    };
    if matches!(step, Step::AnyFolders) {
        walk(folder, rest, found)?;
    }
    for (name, is_folder) in list(folder)? {
        let path = match folder {
            "" => name.clone(),
            "/" => format!("/{name}"),
            folder => format!("{folder}/{name}"),
        };
        match step {
            Step::AnyFolders if is_folder && !name.starts_with('.') => walk(&path, steps, found)?,
            Step::Name(pattern) if pattern.matches_with(&name, OPTIONS) => {
                if rest.is_empty() && !is_folder {
                    found.insert(path);
                } else if is_folder {
                    walk(&path, rest, found)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// How often a listing is begun again.
const LISTINGS: u32 = 100;

/// What is in a folder. The C library looks up each name that it has read; when somebody takes that file away in
/// between, the listing ends with "not found", though the folder is there: then it is begun again.
pub(crate) fn entries(folder: &str) -> Result<Vec<fs::DirEntry>> {
    let mut left = LISTINGS;
    loop {
        let listing = fs::read_dir(folder).map_err(DropError::io("list the folder", folder))?;
        match listing.collect::<std::io::Result<Vec<_>>>() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && left > 0 => left -= 1,
            listed => return listed.map_err(DropError::io("list the folder", folder)),
        }
    }
}

/// Names in a folder and whether each is a folder itself. A link to a folder counts as one.
fn list(folder: &str) -> Result<Vec<(String, bool)>> {
    let at = if folder.is_empty() { "." } else { folder };
    let mut names = Vec::new();
    for entry in entries(at)? {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let kind = entry
            .file_type()
            .map_err(DropError::io("list the folder", at))?;
        let is_folder = if kind.is_symlink() {
            fs::metadata(entry.path()).is_ok_and(|meta| meta.is_dir())
        } else {
            kind.is_dir()
        };
        names.push((name, is_folder));
    }
    Ok(names)
}

/// Whether a file begins as gzip data does. Leaves the position behind the first two bytes.
pub(crate) fn is_gzip(file: &mut fs::File) -> std::io::Result<bool> {
    let mut magic = Vec::with_capacity(2);
    file.take(2).read_to_end(&mut magic)?;
    Ok(magic == [0x1F, 0x8B])
}

/// The file's name without folders, without `.gz` and without its last extension: `data/prices.csv.gz` is `prices`.
pub fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let name = name.strip_suffix(".gz").unwrap_or(name);
    match name.rfind('.') {
        Some(dot) if dot > 0 => name.get(..dot).unwrap_or(name),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "b.csv",
            "a.csv",
            "x.txt",
            ".hidden.csv",
            "sub/c.csv",
            "sub/deep/d.csv",
            "sub/.git/e.csv",
        ] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let root = dir.path().to_str().unwrap().to_owned();
        (dir, root)
    }

    fn found(root: &str, patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<String> = patterns
            .iter()
            .map(|pattern| format!("{root}/{pattern}"))
            .collect();
        let files = find(&patterns, true).unwrap();
        files
            .into_iter()
            .map(|path| path.strip_prefix(&format!("{root}/")).unwrap().to_owned())
            .collect()
    }

    #[test]
    fn patterns_match_in_order_and_each_file_once() {
        let (_dir, root) = tree();
        assert_eq!(found(&root, &["*.csv"]), ["a.csv", "b.csv"]);
        assert_eq!(found(&root, &["b.csv", "*.csv"]), ["b.csv", "a.csv"]);
        assert_eq!(
            found(&root, &["**/*.csv"]),
            ["a.csv", "b.csv", "sub/c.csv", "sub/deep/d.csv"]
        );
        assert_eq!(found(&root, &["sub/**/d.csv"]), ["sub/deep/d.csv"]);
        assert_eq!(found(&root, &["s?b/[c-z].csv"]), ["sub/c.csv"]);
        assert_eq!(found(&root, &["no*.csv"]), Vec::<String>::new());
    }

    #[test]
    fn faults_name_the_pattern_and_its_field() {
        let (_dir, root) = tree();
        let patterns = vec![format!("{root}/a.csv"), format!("{root}/none-*.csv")];
        let DropError::NoMatch { pattern, field } = find(&patterns, false).unwrap_err() else {
            panic!("kind")
        };
        assert_eq!((pattern, field.as_str()), (patterns[1].clone(), "/files/1"));
        for bad in ["", "a/**", "x/**y/z", "[", &root] {
            assert!(
                matches!(
                    find(&[bad.to_owned()], true),
                    Err(DropError::Pattern { .. })
                ),
                "{bad}"
            );
        }
        let missing = find(&[format!("{root}/gone/*.csv")], true).unwrap_err();
        assert!(missing.to_string().contains("gone"), "{missing}");
    }

    #[test]
    fn a_stem_is_the_name_without_folder_and_extensions() {
        for (path, expect) in [
            ("data/prices.csv.gz", "prices"),
            ("a.b.csv", "a.b"),
            ("plain", "plain"),
            ("d/.csv", ".csv"),
        ] {
            assert_eq!(stem(path), expect, "{path}");
        }
    }
}
