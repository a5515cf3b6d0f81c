//! The catalogues of a project: their indexes fetched, believed or refused, kept, and asked what they say of plugins.
//!
//! What is wrong with a catalogue never stops what is installed: it is told, and what was known before counts on.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use semver::Version;
use serde::Serialize;

use crate::catalogue::{
    Advisory, Decision, Deprecated, Entry, Index, KeyId, Registry, Repository, Settings, Trust,
    index::{
        Kept, KeptIndexes, SeenError, SignedIndex,
        artifact::{self, IndexFetchError},
        search::{self, Found},
    },
    trust,
};

mod make;

pub use make::{BuildOptions, Served, beside, sign_index};

/// A registry that could not be asked is not asked again at once.
const AGAIN: Duration = Duration::from_mins(10);

/// The catalogues that a project looks at.
#[derive(Debug, Clone)]
pub struct Catalogues {
    kept: KeptIndexes,
    places: Vec<Repository>,
    age: Duration,
}

/// Why an index cannot be had, is not believed, or cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// The registry could not, or what it gave is no index.
    #[error(transparent)]
    Fetch(#[from] IndexFetchError),
    /// There is none.
    #[error(
        "there is no index at {0}: its publisher makes one with `crossdock catalogue build`, `sign` and `serve`"
    )]
    None(Repository),
    /// Nobody who is trusted signed it.
    #[error("{place}: the index is refused: {why}")]
    Untrusted {
        /// The catalogue.
        place: Repository,
        /// Why.
        why: String,
    },
    /// A newer one was seen, or the copy cannot be used.
    #[error(transparent)]
    Seen(#[from] SeenError),
    /// It counts no more.
    #[error(
        "{place}: the index is refused: it counts no more since {since}; somebody holds newer ones back, or its publisher \
         makes none"
    )]
    Expired {
        /// The catalogue.
        place: Repository,
        /// Since when.
        since: Timestamp,
    },
    /// The next index cannot be made.
    #[error(transparent)]
    Build(#[from] crate::catalogue::index::build::BuildError),
    /// It cannot be put to its place.
    #[error(transparent)]
    Signing(#[from] crate::catalogue::registry::SigningError),
    /// A key cannot sign it.
    #[error(transparent)]
    Key(#[from] crate::catalogue::KeyError),
    /// A file of it cannot be used.
    #[error("{}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It was made of an index that is not the last one any more.
    #[error(
        "{place} has an index with the serial {there} already, and this one has {ours}: build it again, on top of that one"
    )]
    Behind {
        /// The catalogue.
        place: Repository,
        /// The serial of the index.
        ours: u64,
        /// The serial of the one that is there.
        there: u64,
    },
    /// No catalogue is named.
    #[error(
        "no catalogue is named: write `catalogues: [oci://HOST/NAMESPACE]` into {}", .0.display()
    )]
    NoneNamed(PathBuf),
}

impl CatalogueError {
    /// 1: failed, 2: the call or a file has to be changed.
    pub fn exit_code(&self) -> u8 {
        use crate::catalogue::index::build::BuildError;
        match self {
            Self::Build(BuildError::Registry(_) | BuildError::Changed { .. }) => 1,
            Self::NoneNamed(_) | Self::File { .. } | Self::Build(_) => 2,
            Self::Key(error) => error.exit_code(),
            _ => 1,
        }
    }

    /// The findings, when it is about those.
    pub fn findings(&self) -> &[crate::flow::Finding] {
        use crate::catalogue::index::build::BuildError;
        match self {
            Self::Build(BuildError::Notes(findings)) => findings,
            _ => &[],
        }
    }
}

/// A catalogue whose index is believed.
#[derive(Debug, Clone)]
pub struct Known {
    /// The repository of its index.
    pub place: Repository,
    /// What it says.
    pub index: Index,
    /// Who signed it.
    pub trust: Decision,
    /// When the registry was found to have it.
    pub fetched: Timestamp,
    /// It counts no more: what it says may be all that there is, or not.
    pub stale: bool,
}

/// What is known of the catalogues of a project.
#[derive(Debug, Clone, Default)]
pub struct AllKnown {
    /// Those whose index is believed.
    pub catalogues: Vec<Known>,
    /// What people must be told.
    pub notices: Vec<String>,
    trust: Trust,
}

/// What catalogues say of one version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// Why nobody should get it any more.
    pub yanked: Option<String>,
    /// Nobody should begin to use the plugin.
    pub deprecated: Option<Deprecated>,
    /// What is wrong with it.
    pub advisories: Vec<Advisory>,
}

impl Advice {
    /// There is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// One line for each thing, the worst first.
    pub fn lines(&self) -> Vec<String> {
        let mut advisories: Vec<&Advisory> = self.advisories.iter().collect();
        advisories.sort_by_key(|advisory| std::cmp::Reverse(advisory.severity));
        let yanked = self.yanked.iter().map(|reason| format!("yanked: {reason}"));
        yanked
            .chain(advisories.into_iter().map(Advisory::words))
            .chain(self.deprecated.iter().map(Deprecated::words))
            .collect()
    }
}

/// What became of a catalogue that was asked for its index.
#[derive(Debug, Clone, Serialize)]
pub struct Updated {
    /// The repository of its index.
    pub place: Repository,
    /// The serial of the index.
    pub serial: u64,
    /// How many plugins are in it.
    pub plugins: usize,
    /// Until when it counts.
    #[serde(serialize_with = "as_text")]
    pub expires: Timestamp,
    /// Who signed it.
    pub signature: Decision,
    /// It was not known before.
    pub is_new: bool,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde calls it with"
)]
fn as_text<S: serde::Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(time)
}

impl Catalogues {
    /// Those that the settings name. Nothing is read yet.
    pub fn of(state: &Path, settings: &Settings) -> Self {
        Self {
            kept: KeptIndexes::of(state),
            places: settings.catalogues.clone(),
            age: settings.age,
        }
    }

    /// The copies of indexes.
    pub fn kept(&self) -> &KeptIndexes {
        &self.kept
    }

    /// None is named.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Asks every registry for its index, and keeps those that are believed. One that fails stops no other one.
    pub async fn update(
        &self,
        registry: &Registry,
        trust: &Trust,
    ) -> Vec<Result<Updated, CatalogueError>> {
        let mut all = Vec::new();
        for place in &self.places {
            all.push(self.update_one(registry, trust, place).await);
        }
        all
    }

    /// Asks for those indexes that were not asked for lately. What fails is told, and what was known before counts on.
    pub async fn refresh(&self, registry: &Registry, trust: &Trust) -> Vec<String> {
        let mut notices = Vec::new();
        for place in &self.places {
            if !self.is_old(place).await {
                continue;
            }
            if let Err(error) = self.update_one(registry, trust, place).await {
                notices.push(format!("{error}; what was known of it before is used"));
            }
        }
        notices
    }

    async fn is_old(&self, place: &Repository) -> bool {
        let (kept, own) = (self.kept.clone(), place.clone());
        let read = tokio::task::spawn_blocking(move || kept.read(&own)).await;
        let Ok(Ok(Some(kept))) = read else {
            return true;
        };
        let now = Timestamp::now();
        let older = |time: Timestamp, age: Duration| {
            // A clock that was set back makes nothing younger.
            let passed = now.duration_since(time);
            passed.is_negative() || passed.unsigned_abs() > age
        };
        (older(kept.fetched, self.age) || now >= kept.signed.index.expires)
            && older(kept.tried, self.age.min(AGAIN))
    }

    async fn update_one(
        &self,
        registry: &Registry,
        trust: &Trust,
        place: &Repository,
    ) -> Result<Updated, CatalogueError> {
        let fetched = self.fetch(registry, trust, place).await;
        let (kept, own) = (self.kept.clone(), place.clone());
        let now = Timestamp::now();
        let (signed, decision) = match fetched {
            Ok(fetched) => fetched,
            Err(error) => {
                // That it cannot be noted changes nothing: it is asked again sooner.
                drop(tokio::task::spawn_blocking(move || kept.tried(&own, now)).await);
                return Err(error);
            }
        };
        let updated = Updated {
            place: place.clone(),
            serial: signed.index.serial,
            plugins: signed.index.plugins.len(),
            expires: signed.index.expires,
            signature: decision.clone(),
            is_new: true,
        };
        let keeping = tokio::task::spawn_blocking(move || {
            let before = kept.read(&own).ok().flatten();
            let is_new = before.is_none_or(|before| before.signed.bytes != signed.bytes);
            kept.put(&own, &signed, decision.key().cloned(), now)?;
            Ok::<_, SeenError>(is_new)
        });
        let is_new = joined(keeping.await)??;
        Ok(Updated { is_new, ..updated })
    }

    /// Fetches an index and holds it against everything that it must be: signed, not older than what was seen, and still
    /// counting.
    async fn fetch(
        &self,
        registry: &Registry,
        trust: &Trust,
        place: &Repository,
    ) -> Result<(SignedIndex, Decision), CatalogueError> {
        let signed = registry.index(place).await?;
        let signed = signed.ok_or_else(|| CatalogueError::None(place.clone()))?;
        let (kept, own) = (self.kept.clone(), place.clone());
        let (signed, before, follows) = joined(
            tokio::task::spawn_blocking(move || {
                let before = kept.read(&own).ok().flatten();
                let follows = kept.may_follow(&own, &signed);
                (signed, before, follows)
            })
            .await,
        )?;
        let pinned = before.and_then(|before| before.signed_by);
        let decision = believed(trust, place, &signed, pinned.as_ref())?;
        match follows {
            // A copy that is damaged is what this is to mend.
            Ok(()) | Err(SeenError::Damaged { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let since = signed.index.expires;
        if Timestamp::now() >= since {
            return Err(CatalogueError::Expired {
                place: place.clone(),
                since,
            });
        }
        Ok((signed, decision))
    }

    /// What is known, of the copies alone. Each is judged again. Blocks.
    pub fn known(&self, trust: &Trust) -> AllKnown {
        let now = Timestamp::now();
        let mut all = AllKnown {
            trust: trust.clone(),
            ..AllKnown::default()
        };
        for place in &self.places {
            let kept = match self.kept.read(place) {
                Ok(Some(kept)) => kept,
                Ok(None) => {
                    all.notices.push(format!(
                        "nothing is known of the catalogue {place} yet: `crossdock catalogue update` fetches its index"
                    ));
                    continue;
                }
                Err(error) => {
                    all.notices.push(error.to_string());
                    continue;
                }
            };
            match believed(trust, place, &kept.signed, kept.signed_by.as_ref()) {
                Ok(decision) => all.add(place, kept, decision, now),
                Err(error) => all.notices.push(error.to_string()),
            }
        }
        // The one that is nearest to a plugin is asked first.
        all.catalogues
            .sort_by_key(|known| std::cmp::Reverse(known.place.path().len()));
        all
    }
}

/// Whether an index is believed, and whose it is.
fn believed(
    trust: &Trust,
    place: &Repository,
    signed: &SignedIndex,
    pinned: Option<&KeyId>,
) -> Result<Decision, CatalogueError> {
    let own = format!("{}/{}", place.host(), place.path());
    let asked = trust::Asked {
        repository: Some(&own),
        subject: artifact::subject(&signed.manifest.digest),
        pinned,
    };
    let decision = trust.decide(&asked, &signed.signatures, Timestamp::now());
    match &decision {
        Decision::Trusted { .. } | Decision::Unsigned { .. } => Ok(decision),
        // The new key is one of a publisher of this place, by the file that says so.
        Decision::Changed {
            publisher: Some(publisher),
            key: Some(key),
            ..
        } => Ok(Decision::Trusted {
            publisher: publisher.clone(),
            key: key.clone(),
        }),
        Decision::Changed { .. } | Decision::Refused { .. } => Err(CatalogueError::Untrusted {
            place: place.clone(),
            why: match decision {
                Decision::Refused { why, .. } => why,
                _ => "it is not signed by anybody known, and the one before was".to_owned(),
            },
        }),
    }
}

/// Work on another thread that was not ended by anybody.
fn joined<T>(done: Result<T, tokio::task::JoinError>) -> Result<T, CatalogueError> {
    done.map_err(|error| CatalogueError::File {
        path: PathBuf::from("catalogue"),
        why: error.to_string(),
    })
}

impl AllKnown {
    fn add(&mut self, place: &Repository, kept: Kept, trust: Decision, now: Timestamp) {
        let index = kept.signed.index;
        let stale = now >= index.expires;
        if stale {
            self.notices.push(format!(
                "STALE: what is known of the catalogue {place} counts no more since {}: versions may have been yanked and \
                 holes found that nobody here knows of. What is installed runs on. `crossdock catalogue update` asks for a \
                 newer index; when there is none, ask its publisher",
                index.expires
            ));
        }
        self.catalogues.push(Known {
            place: place.clone(),
            trust,
            fetched: kept.fetched,
            stale,
            index,
        });
    }

    /// What catalogues say of a repository, the nearest first.
    fn entries<'k>(&'k self, repository: &Repository) -> impl Iterator<Item = &'k Entry> {
        self.catalogues
            .iter()
            .filter_map(move |known| known.index.entry(&known.place, repository))
    }

    /// What catalogues say of one version.
    pub fn advice(&self, repository: &Repository, version: &Version) -> Advice {
        let mut advice = Advice::default();
        for entry in self.entries(repository) {
            let yanked = entry.yanked(version).map(str::to_owned);
            advice.yanked = advice.yanked.or(yanked);
            advice.deprecated = advice.deprecated.or_else(|| entry.deprecated.clone());
            for advisory in entry.advisories(version) {
                if advice.advisories.iter().all(|one| one.id != advisory.id) {
                    advice.advisories.push(advisory.clone());
                }
            }
        }
        advice
    }

    /// Why a version is yanked, when it is.
    pub fn yanked(&self, repository: &Repository, version: &Version) -> Option<&str> {
        self.entries(repository)
            .find_map(|entry| entry.yanked(version))
    }

    /// The digest of a version's manifest, as the nearest catalogue has it.
    pub fn manifest(&self, repository: &Repository, version: &Version) -> Option<&str> {
        self.entries(repository)
            .find_map(|entry| entry.versions.get(version))
            .map(|release| release.manifest.as_str())
    }

    /// The channels of a plugin, as the nearest catalogue has them.
    pub fn channels(&self, repository: &Repository) -> BTreeMap<String, Version> {
        self.entries(repository)
            .find(|entry| !entry.channels.is_empty())
            .map(|entry| entry.channels.clone())
            .unwrap_or_default()
    }

    /// Where plugins of this name are.
    pub fn named(&self, name: &str) -> Vec<Repository> {
        let mut found = Vec::new();
        for known in &self.catalogues {
            let entry = known.index.plugins.get(name);
            let place = entry.and_then(|entry| known.place.sibling(&entry.path));
            found.extend(place.filter(|place| !found.contains(place)));
        }
        found
    }

    /// All names of plugins.
    pub fn names(&self) -> Vec<String> {
        let all = self.catalogues.iter();
        all.flat_map(|known| known.index.plugins.keys().cloned())
            .collect()
    }

    /// Plugins that have all of these words, the best first.
    pub fn search(&self, words: &[String]) -> Vec<Found> {
        let mut hits = Vec::new();
        for known in &self.catalogues {
            hits.extend(search::search(&known.place, &known.index, words));
        }
        search::sort(&mut hits);
        let mut found: Vec<Found> = Vec::new();
        for hit in hits {
            // Of two catalogues that speak of the same plugin one is enough.
            if found.iter().any(|one| one.source == hit.repository) {
                continue;
            }
            let place = format!("{}/{}", hit.repository.host(), hit.repository.path());
            let advice = self.advice(&hit.repository, hit.version);
            found.push(Found {
                name: hit.name.to_owned(),
                version: hit.version.clone(),
                release: hit.release.clone(),
                deprecated: advice.deprecated,
                advisories: advice.advisories,
                channels: hit.entry.channels.clone(),
                publisher: self.trust.publisher_of(&place).map(str::to_owned),
                source: hit.repository,
            });
        }
        found
    }
}
