//! The next index of a catalogue: what is in the registry now, what the index before said of it, and the publisher's notes.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use semver::Version;

use super::{
    Entry, FORM, Index, IndexError, MAX_FEW, MAX_SENTENCE, MAX_WORD, NAME, Release, tamed, within,
};
use crate::{
    catalogue::{
        inspect,
        reference::Repository,
        registry::{Attested, Pulled, Registry, RegistryError},
        trust::Trust,
        version,
    },
    flow::Finding,
};

/// Plugins that are looked at side by side.
const SIDE_BY_SIDE: usize = 6;
/// Keywords of a plugin that are taken over.
const MAX_KEYWORDS: usize = 20;

/// Makes the next index.
pub struct Builder<'a> {
    /// Where the plugins are.
    pub registry: &'a Registry,
    /// The repository of the index: its namespace is what is looked at.
    pub place: &'a Repository,
    /// The index before.
    pub previous: Option<&'a Index>,
    /// The plugins' paths below the namespace. `None`: the registry is asked which there are.
    pub paths: Option<Vec<String>>,
    /// What the publisher has to say. `None`: what the index before said stays.
    pub notes: Option<&'a super::notes::Notes>,
    /// Whose reports are believed.
    pub trust: &'a Trust,
    /// How long the index counts.
    pub lasts: Duration,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Built {
    /// The index.
    pub index: Index,
    /// Versions that were not in the one before, as `csv 1.2.0`.
    pub added: Vec<String>,
    /// Versions that are not in the registry any more.
    pub gone: Vec<String>,
    /// What is there and is no plugin that could be offered, with why.
    pub skipped: Vec<(String, String)>,
}

/// Why there is no next index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The registry could not.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The registry does not tell which repositories it has.
    #[error(
        "{host} does not tell which repositories it has: name the plugins in a file, one a line, with --list FILE"
    )]
    NoList {
        /// The registry.
        host: String,
    },
    /// A version was replaced.
    #[error(
        "{what} is another one than the index before says ({now}, was {before}): a version never changes; \
         find out who replaced it, and publish a higher one"
    )]
    Changed {
        /// Which.
        what: String,
        /// `sha256:…` of its manifest before.
        before: String,
        /// `sha256:…` of its manifest now.
        now: String,
    },
    /// Two repositories are called alike.
    #[error(
        "`{name}` is in {first} and in {second}, and a catalogue has a name once: leave one out with --list FILE"
    )]
    Twice {
        /// The name.
        name: String,
        /// Its path.
        first: String,
        /// The other path.
        second: String,
    },
    /// A path that leads nowhere.
    #[error(
        "`{0}` is no path of a repository below the namespace: write it as in `csv` or `connectors/csv`"
    )]
    Path(String),
    /// There is nothing to offer.
    #[error(
        "there is no plugin in {namespace} at {host}: publish one first, with `crossdock plugin publish`"
    )]
    Nothing {
        /// The namespace.
        namespace: String,
        /// The registry.
        host: String,
    },
    /// What the publisher wrote does not fit.
    #[error("{}", .0.first().map_or_else(String::new, ToString::to_string))]
    Notes(Vec<Finding>),
    /// It cannot be written, as it would not be read.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A time that calendars do not have.
    #[error("an index cannot last until then: {0}")]
    Time(#[from] jiff::Error),
}

/// What was found of one plugin.
struct Looked {
    path: String,
    entry: Entry,
    added: Vec<String>,
    gone: Vec<String>,
    skipped: Vec<(String, String)>,
}

impl Builder<'_> {
    /// Looks at every plugin and makes the index.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build(&self, now: Timestamp) -> Result<Built, BuildError> {
        let paths = self.all_paths().await?;
        let mut looked = stream::iter(paths.into_iter().map(|path| self.plugin(path, now)))
            .buffered(SIDE_BY_SIDE);
        let mut built = Built {
            index: Index {
                form: FORM,
                namespace: self.place.namespace().to_owned(),
                serial: self.previous.map_or(1, |previous| previous.serial + 1),
                created: now,
                expires: now.checked_add(self.lasts)?,
                plugins: BTreeMap::new(),
            },
            added: Vec::new(),
            gone: Vec::new(),
            skipped: Vec::new(),
        };
        while let Some(one) = looked.next().await {
            let one = one?;
            built.added.extend(one.added);
            built.gone.extend(one.gone);
            built.skipped.extend(one.skipped);
            if one.entry.versions.is_empty() {
                continue;
            }
            let name = one.path.rsplit('/').next().unwrap_or_default().to_owned();
            if let Some(other) = built.index.plugins.get(&name) {
                return Err(BuildError::Twice {
                    name,
                    first: other.path.clone(),
                    second: one.path,
                });
            }
            built.index.plugins.insert(name, one.entry);
        }
        if built.index.plugins.is_empty() {
            return Err(BuildError::Nothing {
                namespace: built.index.namespace,
                host: self.place.host().to_owned(),
            });
        }
        if let Some(notes) = self.notes {
            notes.apply(&mut built.index).map_err(BuildError::Notes)?;
        }
        Ok(built)
    }

    /// The paths of everything that may be a plugin.
    async fn all_paths(&self) -> Result<Vec<String>, BuildError> {
        let mut paths = if let Some(paths) = &self.paths {
            paths.clone()
        } else {
            let found = self.registry.repositories(self.place).await?;
            let found = found.ok_or_else(|| BuildError::NoList {
                host: self.place.host().to_owned(),
            })?;
            let known = self
                .previous
                .into_iter()
                .flat_map(|one| one.plugins.values());
            found
                .iter()
                .filter_map(|path| within(self.place.namespace(), path))
                .map(str::to_owned)
                // A registry that forgets to name one does not make it go away.
                .chain(known.map(|entry| entry.path.clone()))
                .collect()
        };
        paths.sort_unstable();
        paths.dedup();
        paths.retain(|path| path != NAME);
        Ok(paths)
    }

    /// Looks at the versions of one plugin.
    async fn plugin(&self, path: String, now: Timestamp) -> Result<Looked, BuildError> {
        let repository = self.place.sibling(&path);
        let repository = repository.ok_or_else(|| BuildError::Path(path.clone()))?;
        let known = self
            .previous
            .and_then(|previous| previous.entry(self.place, &repository));
        let mut looked = Looked {
            // What was said of the versions by hand stays, unless notes say something else.
            entry: known.cloned().unwrap_or_default(),
            path,
            added: Vec::new(),
            gone: Vec::new(),
            skipped: Vec::new(),
        };
        looked.entry.path.clone_from(&looked.path);
        let there = self.registry.versions(&repository).await?;
        if there.is_empty() && known.is_none() {
            let why = "it has no versions".to_owned();
            looked.skipped.push((looked.path.clone(), why));
        }
        let name = repository.name();
        looked.entry.versions.retain(|version, _| {
            let stays = there.contains(version);
            if !stays {
                looked.gone.push(format!("{name} {version}"));
            }
            stays
        });
        let versions = &looked.entry.versions;
        looked
            .entry
            .channels
            .retain(|_, version| versions.contains_key(version));
        for version in there {
            let before = looked.entry.versions.get(&version).cloned();
            let is_new = before.is_none();
            match self.release((&repository, &version), before, now).await? {
                Ok(release) => {
                    if is_new {
                        looked.added.push(format!("{name} {version}"));
                    }
                    looked.entry.versions.insert(version, release);
                }
                Err(why) => looked.skipped.push((format!("{name} {version}"), why)),
            }
        }
        Ok(looked)
    }

    /// What one version is. The inner error is why it cannot be offered.
    async fn release(
        &self,
        (repository, version): (&Repository, &Version),
        before: Option<Release>,
        now: Timestamp,
    ) -> Result<Result<Release, String>, BuildError> {
        let pulled = match self
            .registry
            .plugin(repository, &version::tag_of(version))
            .await
        {
            Ok(Some(pulled)) => pulled,
            Ok(None) => return Ok(Err("it is gone".to_owned())),
            // Something else under a tag that looks like a version.
            Err(RegistryError::Unusable { why, .. }) => return Ok(Err(why)),
            Err(error) => return Err(error.into()),
        };
        if let Some(before) = &before
            && before.manifest != pulled.manifest.digest
        {
            return Err(BuildError::Changed {
                what: format!("{repository}@{version}"),
                before: before.manifest.clone(),
                now: pulled.manifest.digest,
            });
        }
        let mut release = match before {
            // A version never changes: what was read of it once is not fetched again.
            Some(before) => before,
            None => match self.read(repository, version, &pulled).await? {
                Ok(release) => release,
                Err(why) => return Ok(Err(why)),
            },
        };
        // A report may be attached later.
        if release.conformance.is_empty() {
            let report = self
                .registry
                .report(repository, &pulled, self.trust, now)
                .await?;
            release.attested = report.as_ref().is_some_and(Attested::is_signed);
            release.conformance = report
                .map(|report| report.verdict.levels())
                .unwrap_or_default();
        }
        Ok(Ok(release))
    }

    /// Reads what a component says of itself.
    async fn read(
        &self,
        repository: &Repository,
        version: &Version,
        pulled: &Pulled,
    ) -> Result<Result<Release, String>, BuildError> {
        let component = self.registry.component(repository, pulled).await?;
        let inspection = match inspect::inspect(&component) {
            Ok(inspection) => inspection,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let Some(manifest) = &inspection.manifest else {
            return Ok(Err("it carries no manifest".to_owned()));
        };
        if manifest.name != repository.name() || manifest.version != version.to_string() {
            let found = format!("{} {}", manifest.name, manifest.version);
            return Ok(Err(format!("it is {found}, put there under another name")));
        }
        let words = |all: &[String], most: usize| -> Vec<String> {
            let tamed = all.iter().map(|text| tamed(text, most));
            tamed
                .filter(|text| !text.is_empty())
                .take(MAX_KEYWORDS)
                .collect()
        };
        let asked: Vec<String> = manifest
            .permissions
            .in_words()
            .into_iter()
            .map(|(what, wish)| {
                if wish.optional {
                    format!("{what} (optional)")
                } else {
                    what
                }
            })
            .collect();
        Ok(Ok(Release {
            manifest: pulled.manifest.digest.clone(),
            digest: inspection.digest.clone(),
            size: inspection.size,
            kinds: inspection.kinds.clone(),
            description: tamed(&manifest.description, MAX_SENTENCE),
            licence: tamed(&manifest.license, MAX_WORD),
            keywords: words(&manifest.keywords, MAX_WORD),
            contract: inspection.contract().cloned(),
            conformance: BTreeMap::new(),
            attested: false,
            permissions: asked
                .iter()
                .take(MAX_FEW)
                .map(|text| tamed(text, MAX_SENTENCE))
                .collect(),
            yanked: None,
        }))
    }
}
