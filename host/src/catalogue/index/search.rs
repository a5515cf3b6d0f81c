//! Finding plugins by words, in the copies of the indexes that a host keeps. Nobody is asked.

use semver::Version;
use serde::Serialize;

use super::{Advisory, Entry, Index, Release};
use crate::catalogue::reference::Repository;

/// Words of a question that are looked at.
const MAX_WORDS: usize = 16;

/// A plugin that was found.
#[derive(Debug, Clone)]
pub struct Hit<'i> {
    /// Its name.
    pub name: &'i str,
    /// Where it is.
    pub repository: Repository,
    /// What the index says of it.
    pub entry: &'i Entry,
    /// The version that is offered: the newest that is not yanked, else the newest of all.
    pub version: &'i Version,
    /// What it is.
    pub release: &'i Release,
    /// How well it fits; more is better.
    pub score: u32,
}

/// What people and programs see of one.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// The version that is offered.
    pub version: Version,
    /// Where it is.
    pub source: Repository,
    /// What the index says of that version.
    #[serde(flatten)]
    pub release: Release,
    /// Why it should not be used any more.
    pub deprecated: Option<super::Deprecated>,
    /// What is wrong with that version.
    pub advisories: Vec<Advisory>,
    /// Names for versions that move.
    pub channels: std::collections::BTreeMap<String, Version>,
    /// Whose namespace it is, by `trust.yaml`.
    pub publisher: Option<String>,
}

impl Found {
    /// What speaks against it, one line for each thing.
    pub fn lines(&self) -> Vec<String> {
        let yanked = self
            .release
            .yanked
            .iter()
            .map(|reason| format!("yanked: {reason}"));
        yanked
            .chain(self.advisories.iter().map(Advisory::words))
            .chain(self.deprecated.iter().map(super::Deprecated::words))
            .collect()
    }
}

/// Everything in an index that has all of the words in its name, keywords, description or kinds, the best first. Without
/// words it is everything.
pub fn search<'i>(place: &Repository, index: &'i Index, words: &[String]) -> Vec<Hit<'i>> {
    let words: Vec<String> = words
        .iter()
        .flat_map(|text| text.split_whitespace())
        .take(MAX_WORDS)
        .map(str::to_lowercase)
        .collect();
    let mut hits: Vec<Hit<'i>> = index
        .plugins
        .iter()
        .filter_map(|(name, entry)| hit(place, name, entry, &words))
        .collect();
    sort(&mut hits);
    hits
}

/// The best first; of those that fit as well, by name.
pub fn sort(hits: &mut [Hit<'_>]) {
    hits.sort_by(|a, b| {
        let order = |hit: &Hit<'_>| (hit.entry.deprecated.is_some(), std::cmp::Reverse(hit.score));
        order(a)
            .cmp(&order(b))
            .then_with(|| a.name.cmp(b.name))
            .then_with(|| a.repository.cmp(&b.repository))
    });
}

fn hit<'i>(
    place: &Repository,
    name: &'i str,
    entry: &'i Entry,
    words: &[String],
) -> Option<Hit<'i>> {
    let (version, release) = entry
        .newest()
        .or_else(|| entry.versions.iter().next_back())?;
    let description = release.description.to_lowercase();
    let mut score = 0;
    for word in words {
        let found = worth(name, release, &description, word);
        if found == 0 {
            return None;
        }
        score += found;
    }
    Some(Hit {
        name,
        repository: place.sibling(&entry.path)?,
        entry,
        version,
        release,
        score,
    })
}

/// How well one word fits; 0: not at all.
fn worth(name: &str, release: &Release, description: &str, word: &str) -> u32 {
    let is = |text: &str| text.to_lowercase() == word;
    let in_text = || {
        description
            .split(|c: char| !c.is_alphanumeric())
            .any(|own| own == word)
    };
    let tests: [(u32, &dyn Fn() -> bool); 8] = [
        (100, &|| name == word),
        (60, &|| name.starts_with(word)),
        (50, &|| release.keywords.iter().any(|own| is(own))),
        (40, &|| name.contains(word)),
        (30, &|| {
            release.kinds.iter().any(|kind| kind.as_str() == word)
        }),
        (20, &in_text),
        (10, &|| {
            release
                .keywords
                .iter()
                .any(|own| own.to_lowercase().contains(word))
        }),
        (5, &|| description.contains(word)),
    ];
    tests
        .iter()
        .find(|(_, fits)| fits())
        .map_or(0, |(worth, _)| *worth)
}
