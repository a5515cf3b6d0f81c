//! Versions that could be installed: fetched, judged by all that can be known of them, and not run.

use bytes::Bytes;
use jiff::Timestamp;
use semver::Version;

use super::{Plugins, PluginsError, plugin_in};
use crate::app::catalogues::Advice;
use crate::catalogue::{
    self, Comparison, Decision, Inspection, Lock, Locked, PrivateKey, Reference, Repository,
    Selector, Signature, Subject, Wanted,
    config::nearest,
    registry::{Attested, Pulled},
    trust, version,
};

/// A version that could be installed: fetched, held against its digests, its name and its version, and not run.
pub struct Offer {
    /// Where it comes from.
    pub repository: Repository,
    /// The versions that were asked for.
    pub wanted: Wanted,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// As it is in the registry.
    pub pulled: Pulled,
    /// What it is.
    pub inspection: Inspection,
    /// What is installed under its name.
    pub installed: Option<Current>,
    /// Who signed it, and whether that is enough here.
    pub trust: Decision,
    /// What the catalogues say of it.
    pub advice: Advice,
    /// How far it keeps the contract, as its publisher claims. `None`: nobody claims anything.
    pub report: Option<Attested>,
    pub(super) component: Bytes,
}

/// What is installed under a name.
pub struct Current {
    /// The entry of the lock file.
    pub locked: Locked,
    /// What it is, when its component is here.
    pub inspection: Option<Inspection>,
}

impl Plugins {
    /// Fetches the version that is meant, and finds out everything that can be known of it without running it.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn offer(&self, reference: &Reference) -> Result<Offer, PluginsError> {
        let repository = &reference.repository;
        let (name, asked, wanted) = match &reference.wanted {
            Selector::Digest(digest) => (digest.clone(), None, Wanted::Newest),
            Selector::Version(wanted) => {
                let version = self.version(repository, wanted).await?;
                (version::tag_of(&version), Some(version), wanted.clone())
            }
        };
        let pulled = self.registry.plugin(repository, &name).await?;
        let Some(pulled) = pulled else {
            return Err(self.no_version(repository, &wanted, asked).await);
        };
        if let Some(asked) = &asked {
            self.is_catalogued(repository, asked, &pulled)?;
        }
        let lock = self.installed.read()?;
        let trust = self.trust(repository, &pulled, &lock).await?;
        let component = self.registry.component(repository, &pulled).await?;
        let what = reference.to_string();
        let (inspection, manifest, version) = plugin_in(&what, &component)?;
        // A signed old version under the tag of a new one is still signed: what counts is what it says of itself.
        let is_asked = asked.as_ref().is_none_or(|asked| *asked == version);
        if manifest.name != repository.name() || !is_asked {
            let asked = match asked {
                Some(asked) => format!("{repository}@{asked}"),
                None => what,
            };
            return Err(PluginsError::Retagged {
                asked,
                found: format!("{} {version}", manifest.name),
            });
        }
        // Asked for by its digest, it is one of those in the catalogue all the same.
        self.is_catalogued(repository, &version, &pulled)?;
        let report = self
            .registry
            .report(repository, &pulled, &self.trusted()?, Timestamp::now())
            .await?;
        let installed = lock.plugins.get(&manifest.name).map(|locked| Current {
            inspection: self.inspect(&locked.digest),
            locked: locked.clone(),
        });
        Ok(Offer {
            advice: self.known().advice(repository, &version),
            report,
            repository: repository.clone(),
            wanted,
            name: manifest.name,
            version,
            pulled,
            inspection,
            installed,
            trust,
            component,
        })
    }

    /// Signs a version that is there, in both layouts. Gives what was signed.
    ///
    /// # Errors
    /// [`PluginsError`].
    pub async fn sign(
        &self,
        reference: &Reference,
        key: &PrivateKey,
    ) -> Result<Offer, PluginsError> {
        // What is signed is looked at first: name and version are what they should be.
        let offer = self.offer(reference).await?;
        self.registry
            .sign(&offer.repository, &offer.pulled.manifest, key)
            .await?;
        Ok(offer)
    }

    /// Who signed a version, and whether that is enough in this project.
    async fn trust(
        &self,
        repository: &Repository,
        pulled: &Pulled,
        lock: &Lock,
    ) -> Result<Decision, PluginsError> {
        let digest = &pulled.manifest.digest;
        let signatures = self.registry.signatures(repository, digest).await?;
        self.judge(repository, digest, &signatures, lock)
    }

    /// Whether these signatures of a manifest are enough in this project.
    pub(super) fn judge(
        &self,
        repository: &Repository,
        digest: &str,
        signatures: &[Signature],
        lock: &Lock,
    ) -> Result<Decision, PluginsError> {
        let trust = self.trusted()?;
        let place = format!("{}/{}", repository.host(), repository.path());
        let locked = lock.plugins.get(repository.name());
        let asked = trust::Asked {
            repository: Some(&place),
            subject: Subject::Artifact {
                digest,
                name: repository.name(),
            },
            pinned: locked.and_then(|locked| locked.signed_by.as_ref()),
        };
        Ok(trust.decide(&asked, signatures, Timestamp::now()))
    }

    /// Whether a version is the one that the catalogue speaks of, when it does.
    fn is_catalogued(
        &self,
        repository: &Repository,
        version: &Version,
        pulled: &Pulled,
    ) -> Result<(), PluginsError> {
        let expected = self.known().manifest(repository, version);
        match expected.filter(|expected| *expected != pulled.manifest.digest) {
            None => Ok(()),
            Some(expected) => Err(PluginsError::NotCatalogued {
                what: format!("{repository}@{version}"),
                expected: expected.to_owned(),
                found: pulled.manifest.digest.clone(),
            }),
        }
    }

    /// Where a plugin is that is named without a place, by the catalogues: `csv`, `csv@^1.2`, `csv@beta`.
    ///
    /// # Errors
    /// [`PluginsError`]: none has it, or several have.
    pub fn named(&self, text: &str) -> Result<Reference, PluginsError> {
        let (name, wanted) = version::split(text);
        let wanted = wanted.map_or(Ok(Wanted::Newest), str::parse);
        let wanted = wanted.map_err(|error| PluginsError::Reference(error.into()))?;
        let known = self.known();
        // What is installed says where it comes from.
        let lock = self.installed.read()?;
        let mut places = match lock.plugins.get(name) {
            Some(locked) => vec![locked.source.clone()],
            None => known.named(name),
        };
        match (places.pop(), places.is_empty()) {
            (Some(repository), true) => Ok(Reference {
                repository,
                wanted: Selector::Version(wanted),
            }),
            (Some(last), false) => {
                places.push(last);
                Err(PluginsError::Several {
                    name: name.to_owned(),
                    places,
                })
            }
            (None, _) => Err(PluginsError::Unknown {
                name: name.to_owned(),
                near: nearest(name, &known.names()).cloned(),
            }),
        }
    }

    /// The version that is meant. One that is named exactly is asked for without a list; a yanked one is never chosen.
    async fn version(
        &self,
        repository: &Repository,
        wanted: &Wanted,
    ) -> Result<Version, PluginsError> {
        let known = self.known();
        match wanted {
            Wanted::Exact(version) => return Ok(version.clone()),
            Wanted::Channel(channel) => {
                let mut channels = known.channels(repository);
                return channels
                    .remove(channel)
                    .ok_or_else(|| PluginsError::NoChannel {
                        repository: repository.clone(),
                        channel: channel.clone(),
                        there: channels.into_keys().collect(),
                    });
            }
            Wanted::Newest | Wanted::Range(_) => {}
        }
        let there = self.registry.versions(repository).await?;
        let offered = there
            .iter()
            .filter(|version| known.yanked(repository, version).is_none());
        if let Some(version) = wanted.best(offered) {
            return Ok(version.clone());
        }
        let yanked = wanted
            .best(&there)
            .and_then(|version| Some((version, known.yanked(repository, version)?)));
        match yanked {
            Some((version, reason)) => Err(PluginsError::Yanked {
                what: format!("{repository}@{version}"),
                reason: reason.to_owned(),
                only: true,
            }),
            None => Err(PluginsError::NoVersion {
                repository: repository.clone(),
                wanted: wanted.clone(),
                there,
            }),
        }
    }

    pub(super) async fn no_version(
        &self,
        repository: &Repository,
        wanted: &Wanted,
        asked: Option<Version>,
    ) -> PluginsError {
        match self.registry.versions(repository).await {
            Ok(there) => PluginsError::NoVersion {
                repository: repository.clone(),
                wanted: asked.map_or_else(|| wanted.clone(), Wanted::Exact),
                there,
            },
            Err(error) => error.into(),
        }
    }

    /// What an installed component is, when it is here and is what it should be.
    pub(super) fn inspect(&self, digest: &str) -> Option<Inspection> {
        let path = self.installed.store().path(digest);
        let bytes = catalogue::read_component(&path).ok()?;
        let inspection = catalogue::inspect(&bytes).ok()?;
        (inspection.digest == digest).then_some(inspection)
    }
}

impl Offer {
    /// How it differs from what is installed.
    pub fn comparison(&self) -> Option<Comparison> {
        let current = self.installed.as_ref()?.inspection.as_ref()?;
        Some(catalogue::compare(current, &self.inspection))
    }

    /// It is what is installed.
    pub fn is_installed(&self) -> bool {
        let current = self.installed.as_ref();
        current.is_some_and(|current| {
            current.locked.digest == self.inspection.digest && current.inspection.is_some()
        })
    }
}
