//! Registries: any that speaks the OCI distribution protocol. The only place that talks to them.
//!
//! What comes from a registry is trusted in nothing: every manifest and every blob is held against the digest by which it
//! was asked for, every answer is bounded, and names and versions are read from the component itself.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | manifests, blobs, tags |
//! | `http.rs` | requests, with everything bounded |
//! | `session.rs`, `credential.rs` | who we are to a registry |
//! | `oci.rs` | the documents |
//! | `referrers.rs` | what belongs to a manifest: signatures, reports |
//! | `settings.rs` | `registries.yaml`: how each registry is spoken to |
//! | `list.rs` | the repositories of a namespace |
//! | `attached.rs` | conformance reports and bills of material |
//! | `signatures.rs` | signatures in both layouts |
//! | `artifact.rs` | a plugin as an artifact |

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use bytes::Bytes;
use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, LOCATION},
};

pub mod artifact;
mod attached;
mod credential;
mod error;
mod http;
mod list;
pub mod oci;
mod referrers;
mod session;
pub mod settings;
mod signatures;

pub use artifact::{Published, Pulled};
pub use attached::{Attested, REPORT, SBOM};
pub use error::RegistryError;
pub use oci::{Descriptor, ImageManifest, Index};
pub use settings::{HostSettings, Settings};
pub use signatures::SigningError;

use super::{inspect::digest, reference::Repository};
use http::{Answer, Ask, Http, refused};
use session::{Access, Refused, Sessions, denied};

/// A larger manifest is refused, as most registries do.
pub const MAX_MANIFEST: u64 = 4 << 20;
/// Where the digest of a manifest is said.
const DIGEST: &str = "docker-content-digest";
/// Every kind of manifest that we can say something about.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                         application/vnd.docker.distribution.manifest.v2+json, \
                         application/vnd.docker.distribution.manifest.list.v2+json";
const BYTES: &str = "application/octet-stream";

/// How long an answer is waited for when nobody says anything else.
const PATIENCE: Duration = Duration::from_secs(30);

/// How registries are spoken to.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// Without encryption, all of them.
    pub plain_http: bool,
    /// Files with certificates that are trusted besides those of the system, for all of them.
    pub certificates: Vec<PathBuf>,
    /// How long an answer, or the next piece of it, is waited for; wins over what is said of one registry.
    pub patience: Option<Duration>,
    /// What is said of single ones, by host.
    pub hosts: BTreeMap<String, HostSettings>,
}

/// A manifest as it came, held against its digest.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// What points to it.
    pub descriptor: Descriptor,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Something that is put together and pushed as one: an index of a catalogue, a signature, a report.
#[derive(Debug, Clone, Default)]
pub struct Artifact {
    /// What kind of artifact it is.
    pub artifact_type: Option<String>,
    /// The config, as (media type, bytes); the empty one when it is left out.
    pub config: Option<(String, Vec<u8>)>,
    /// The content, as (media type, bytes, annotations).
    pub layers: Vec<(String, Vec<u8>, BTreeMap<String, String>)>,
    /// What is said about it.
    pub annotations: BTreeMap<String, String>,
    /// What it belongs to.
    pub subject: Option<Descriptor>,
}

/// An artifact as a registry gets it.
#[derive(Debug, Clone)]
pub struct Assembled {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// What it names: config and layers.
    pub blobs: Vec<Bytes>,
}

impl Artifact {
    /// Its manifest, and the blobs that it names. The same artifact has the same manifest every time.
    ///
    /// # Errors
    /// Never in practice: texts and numbers can be written as JSON.
    pub fn assemble(&self) -> Result<Assembled, serde_json::Error> {
        let empty = (oci::EMPTY.to_owned(), oci::EMPTY_BYTES.to_vec());
        let (config_type, config) = self.config.as_ref().unwrap_or(&empty);
        let mut blobs = vec![Bytes::copy_from_slice(config)];
        let mut layers = Vec::new();
        for (media_type, bytes, annotations) in &self.layers {
            layers.push(Descriptor {
                annotations: annotations.clone(),
                ..Descriptor::of(media_type, bytes)
            });
            blobs.push(Bytes::copy_from_slice(bytes));
        }
        let manifest = serde_json::to_vec(&ImageManifest {
            schema_version: 2,
            media_type: Some(oci::MANIFEST.to_owned()),
            artifact_type: self.artifact_type.clone(),
            config: Descriptor::of(config_type, config),
            layers,
            subject: self.subject.clone(),
            annotations: self.annotations.clone(),
        })?;
        Ok(Assembled { manifest, blobs })
    }
}

/// Speaks to registries. Cheap to keep, and better kept: it remembers tokens and connections.
pub struct Registry {
    usual: Spoken,
    /// Those of which something is said: a certificate of one registry counts for no other one.
    hosts: BTreeMap<String, Spoken>,
    sessions: Sessions,
}

/// How one registry is spoken to.
struct Spoken {
    http: Http,
    plain: bool,
    /// Where its credentials are, when not in the usual place.
    credentials: Option<PathBuf>,
}

/// A manifest that is to be written: its name, its kind and its bytes.
struct Put<'a> {
    name: &'a str,
    media_type: &'a str,
    bytes: Bytes,
}

impl Registry {
    /// Nothing is asked of anybody yet.
    ///
    /// # Errors
    /// When certificates cannot be used.
    pub fn new(options: &RegistryOptions) -> Result<Self, RegistryError> {
        let spoken = |own: &HostSettings| {
            let mut certificates = options.certificates.clone();
            certificates.extend(own.certificates.iter().cloned());
            let patience = options.patience.or(own.patience).unwrap_or(PATIENCE);
            Ok::<_, RegistryError>(Spoken {
                http: Http::new(&certificates, patience)?,
                plain: options.plain_http || own.plain_http,
                credentials: own.credentials.clone(),
            })
        };
        let mut hosts = BTreeMap::new();
        for (host, own) in &options.hosts {
            hosts.insert(host.clone(), spoken(own)?);
        }
        Ok(Self {
            usual: spoken(&HostSettings::default())?,
            hosts,
            sessions: Sessions::default(),
        })
    }

    fn spoken(&self, host: &str) -> &Spoken {
        self.hosts.get(host).unwrap_or(&self.usual)
    }

    /// What is under a tag, without fetching it; `None` when there is nothing.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn resolve(
        &self,
        repository: &Repository,
        tag: &str,
    ) -> Result<Option<Descriptor>, RegistryError> {
        Ok(self
            .manifest(repository, tag)
            .await?
            .map(|found| found.descriptor))
    }

    /// Fetches a manifest by its tag or its digest; `None` when there is none. It is held against its digest.
    ///
    /// # Errors
    /// [`RegistryError`], also when it is not the one asked for.
    pub async fn manifest(
        &self,
        repository: &Repository,
        tag_or_digest: &str,
    ) -> Result<Option<Fetched>, RegistryError> {
        let what = format!("manifest {tag_or_digest} of {}", repository.path());
        let url = self.url(repository, &format!("manifests/{tag_or_digest}"))?;
        let mut ask = ask(repository, Method::GET, url, &what);
        ask.accept = Some(MANIFESTS);
        ask.limit = MAX_MANIFEST;
        let answer = self.send(repository, Access::Pull, ask.clone()).await?;
        match answer.status {
            StatusCode::NOT_FOUND => return Ok(None),
            status if status.is_success() => {}
            _ => return Err(refused(&ask, &answer)),
        }
        let header = |name: &str| {
            answer
                .headers
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        let said = header(DIGEST);
        let expected = if tag_or_digest.starts_with("sha256:") {
            Some(tag_or_digest)
        } else {
            said.filter(|said| said.starts_with("sha256:"))
        };
        let media_type = header(CONTENT_TYPE.as_str()).unwrap_or(oci::MANIFEST);
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        let descriptor = Descriptor::of(media_type, &answer.body);
        if let Some(expected) = expected
            && expected != descriptor.digest
        {
            return Err(RegistryError::Digest {
                host: repository.host().to_owned(),
                what,
                expected: expected.to_owned(),
                found: descriptor.digest,
            });
        }
        Ok(Some(Fetched {
            descriptor,
            bytes: answer.body,
        }))
    }

    /// Puts a manifest under a tag, whatever was there before.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn put_tag(
        &self,
        repository: &Repository,
        tag: &str,
        media_type: &str,
        bytes: Vec<u8>,
    ) -> Result<Descriptor, RegistryError> {
        let descriptor = Descriptor::of(media_type, &bytes);
        let put = Put {
            name: tag,
            media_type,
            bytes: bytes.into(),
        };
        self.put_manifest(repository, put).await?;
        Ok(descriptor)
    }

    async fn put_manifest(
        &self,
        repository: &Repository,
        put: Put<'_>,
    ) -> Result<HeaderMap, RegistryError> {
        let what = format!("manifest {} of {}", put.name, repository.path());
        let url = self.url(repository, &format!("manifests/{}", put.name))?;
        let mut ask = ask(repository, Method::PUT, url, &what);
        ask.body = Some((put.bytes, put.media_type));
        let answer = self.send(repository, Access::Push, ask.clone()).await?;
        if answer.status.is_success() {
            Ok(answer.headers)
        } else {
            Err(refused(&ask, &answer))
        }
    }

    /// Fetches a blob whole, and holds it against its digest. One that is larger than `max` is not begun.
    ///
    /// # Errors
    /// [`RegistryError`], also when it is not the one asked for.
    pub async fn blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        max: u64,
    ) -> Result<Bytes, RegistryError> {
        let what = format!(
            "blob {} of {}",
            short(&descriptor.digest),
            repository.path()
        );
        let host = || repository.host().to_owned();
        if descriptor.size > max {
            return Err(RegistryError::TooLarge {
                host: host(),
                what,
                limit: max,
            });
        }
        let url = self.url(repository, &format!("blobs/{}", descriptor.digest))?;
        let mut ask = ask(repository, Method::GET, url, &what);
        ask.limit = descriptor.size;
        ask.expected = Some(descriptor.size);
        let answer = self.send(repository, Access::Pull, ask.clone()).await?;
        match answer.status {
            StatusCode::NOT_FOUND => {
                return Err(RegistryError::Missing { host: host(), what });
            }
            status if status.is_success() => {}
            _ => return Err(refused(&ask, &answer)),
        }
        let found = digest(&answer.body);
        if found == descriptor.digest {
            Ok(answer.body)
        } else {
            Err(RegistryError::Digest {
                host: host(),
                what,
                expected: descriptor.digest.clone(),
                found,
            })
        }
    }

    /// Puts a blob there, unless it is there already.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn put_blob(
        &self,
        repository: &Repository,
        bytes: Bytes,
    ) -> Result<String, RegistryError> {
        let digest = digest(&bytes);
        let what = format!("blob {} of {}", short(&digest), repository.path());
        let url = self.url(repository, &format!("blobs/{digest}"))?;
        let there = ask(repository, Method::HEAD, url, &what);
        let there = self.send(repository, Access::Push, there).await?;
        if there.status.is_success() {
            return Ok(digest);
        }
        let url = self.url(repository, "blobs/uploads/")?;
        let mut begin = ask(repository, Method::POST, url, &what);
        begin.body = Some((Bytes::new(), BYTES));
        let begun = self.send(repository, Access::Push, begin.clone()).await?;
        if begun.status != StatusCode::ACCEPTED {
            return Err(refused(&begin, &begun));
        }
        let location = begun.headers.get(LOCATION).and_then(|to| to.to_str().ok());
        let place = location.and_then(|to| begun.url.join(to).ok());
        let mut place =
            place.ok_or_else(|| unusable(repository, &what, &"it says not where to upload"))?;
        if begun.url.scheme() == "https" && place.scheme() != "https" {
            return Err(RegistryError::Insecure {
                host: repository.host().to_owned(),
                to: format!(
                    "{}://{}",
                    place.scheme(),
                    place.host_str().unwrap_or_default()
                ),
            });
        }
        place.query_pairs_mut().append_pair("digest", &digest);
        let mut upload = ask(repository, Method::PUT, place, &what);
        upload.body = Some((bytes, BYTES));
        let done = self.send(repository, Access::Push, upload.clone()).await?;
        if done.status.is_success() {
            Ok(digest)
        } else {
            Err(refused(&upload, &done))
        }
    }

    /// Pushes an artifact: its blobs, then its manifest under `tag`, or under its digest alone. What it belongs to, if
    /// anything, gets to know of it. The same artifact has the same digest every time.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn put_artifact(
        &self,
        repository: &Repository,
        artifact: Artifact,
        tag: Option<&str>,
    ) -> Result<Descriptor, RegistryError> {
        let assembled = artifact
            .assemble()
            .map_err(|error| unusable(repository, "manifest", &error))?;
        for blob in assembled.blobs {
            self.put_blob(repository, blob).await?;
        }
        let mut descriptor = Descriptor::of(oci::MANIFEST, &assembled.manifest);
        let put = Put {
            name: tag.unwrap_or(&descriptor.digest),
            media_type: oci::MANIFEST,
            bytes: assembled.manifest.into(),
        };
        let headers = self.put_manifest(repository, put).await?;
        if let Some(subject) = artifact.subject
            && !headers.contains_key("oci-subject")
        {
            // A registry that knows nothing of subjects: the list is kept under a tag that everybody knows.
            descriptor.artifact_type = artifact.artifact_type;
            descriptor.annotations = artifact.annotations;
            self.note_referrer(repository, &subject.digest, &descriptor)
                .await?;
        }
        Ok(descriptor)
    }

    fn url(&self, repository: &Repository, rest: &str) -> Result<Url, RegistryError> {
        let place = format!("{}/{rest}", repository.path());
        self.url_of(repository, &place)
    }

    fn url_of(&self, repository: &Repository, place: &str) -> Result<Url, RegistryError> {
        let host = repository.host();
        let scheme = if self.spoken(host).plain {
            "http"
        } else {
            "https"
        };
        Url::parse(&format!("{scheme}://{host}/v2/{place}"))
            .map_err(|error| unusable(repository, "address", &error))
    }

    /// Sends a request, and once more with credentials when the registry wants some. 401 and 403 are errors.
    async fn send(
        &self,
        repository: &Repository,
        access: Access,
        mut ask: Ask<'_>,
    ) -> Result<Answer, RegistryError> {
        let (host, path) = (repository.host(), repository.path());
        let Spoken {
            http, credentials, ..
        } = self.spoken(host);
        let base = self.url(repository, "")?;
        // Credentials are for the registry: an upload may go to somebody else.
        let own = ask.url.origin() == base.origin();
        if own {
            ask.authorization = self.sessions.get(host, path, access);
        }
        let mut answer = http.send(&ask).await?;
        // Where to show them is for the registry to say, and not for whom it sent us to.
        let asked = answer.url.origin() == base.origin();
        if answer.status == StatusCode::UNAUTHORIZED && own && asked {
            let refused = Refused {
                headers: &answer.headers,
                body: &answer.body,
                base: &base,
                what: &format!("{} {}", verb(&ask.method), ask.what),
                credentials: credentials.as_deref(),
            };
            let header = self
                .sessions
                .answer(http, &refused, (host, path, access))
                .await?;
            ask.authorization = Some(header);
            answer = http.send(&ask).await?;
        }
        if matches!(
            answer.status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            let found = credential::find(host, credentials.as_deref()).await;
            let found = found.unwrap_or_default();
            let what = format!("{} {}", verb(&ask.method), ask.what);
            return Err(denied(host, found.as_ref(), &what, &answer.body));
        }
        Ok(answer)
    }
}

fn verb(method: &Method) -> &'static str {
    if *method == Method::GET || *method == Method::HEAD {
        "read"
    } else {
        "write"
    }
}

fn ask<'a>(repository: &'a Repository, method: Method, url: Url, what: &'a str) -> Ask<'a> {
    Ask {
        method,
        url,
        host: repository.host(),
        what,
        accept: None,
        authorization: None,
        body: None,
        stays: false,
        limit: MAX_MANIFEST,
        expected: None,
    }
}

pub(super) fn unusable(
    repository: &Repository,
    what: &str,
    why: &dyn std::fmt::Display,
) -> RegistryError {
    RegistryError::Unusable {
        host: repository.host().to_owned(),
        what: what.to_owned(),
        why: why.to_string(),
    }
}

/// The beginning of a digest: enough to tell it from others by eye.
pub(crate) fn short(digest: &str) -> &str {
    digest.get(..19).unwrap_or(digest)
}
