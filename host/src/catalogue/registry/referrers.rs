//! What belongs to a manifest: signatures, reports, bills of material. Newer registries keep the list themselves; for the
//! others it is under the tag `sha256-<hex>`, as the specification has it.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use tokio::time::sleep;

use super::{
    Access, Descriptor, Index, MAX_MANIFEST, Registry, RegistryError, Repository, ask, oci,
    unusable,
};

/// Tries to put an entry into a list that others write, too.
const TRIES: u32 = 8;

/// The tag of the list for a digest.
pub(super) fn fallback_tag(digest: &str) -> String {
    digest.replace(':', "-")
}

impl Registry {
    /// What belongs to the manifest with this digest, of one kind or of all. What it really is says its own manifest.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn referrers(
        &self,
        repository: &Repository,
        digest: &str,
        artifact_type: Option<&str>,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let what = format!("referrers of {}", repository.path());
        let url = self.url(repository, &format!("referrers/{digest}"))?;
        let mut request = ask(repository, Method::GET, url, &what);
        request.accept = Some(oci::INDEX);
        request.limit = MAX_MANIFEST;
        // A registry that does not know the question answers with all kinds of refusals.
        let answer = self.send(repository, Access::Pull, request).await;
        let index = match answer {
            Ok(answer) if answer.status == StatusCode::OK => {
                serde_json::from_slice(&answer.body).ok()
            }
            Ok(_) | Err(RegistryError::Status { .. } | RegistryError::Denied { .. }) => None,
            Err(error) => return Err(error),
        };
        let index: Index = match index {
            Some(index) => index,
            None => self.listed(repository, digest).await?.unwrap_or_default(),
        };
        let mut found = index.manifests;
        found
            .retain(|one| artifact_type.is_none() || one.artifact_type.as_deref() == artifact_type);
        Ok(found)
    }

    /// The list under the tag.
    async fn listed(
        &self,
        repository: &Repository,
        digest: &str,
    ) -> Result<Option<Index>, RegistryError> {
        let Some(found) = self.manifest(repository, &fallback_tag(digest)).await? else {
            return Ok(None);
        };
        let index = serde_json::from_slice(&found.bytes);
        index
            .map(Some)
            .map_err(|error| unusable(repository, "list of referrers", &error))
    }

    /// Puts an entry into the list under the tag. There is no way to write only if nobody else has: what was written is
    /// read again, and put in once more where somebody else's list has taken its place.
    pub(super) async fn note_referrer(
        &self,
        repository: &Repository,
        subject: &str,
        entry: &Descriptor,
    ) -> Result<(), RegistryError> {
        for attempt in 0..TRIES {
            let mut index = self.listed(repository, subject).await?.unwrap_or_default();
            if index.manifests.iter().any(|one| one.digest == entry.digest) {
                return Ok(());
            }
            index.manifests.push(entry.clone());
            let bytes = serde_json::to_vec(&index)
                .map_err(|error| unusable(repository, "list of referrers", &error))?;
            self.put_tag(repository, &fallback_tag(subject), oci::INDEX, bytes)
                .await?;
            // Out of step with whoever else does the same.
            let wait = Duration::from_millis(u64::from(fastrand::u32(5..20 * (attempt + 1))));
            sleep(wait).await;
        }
        let last = self.listed(repository, subject).await?.unwrap_or_default();
        if last.manifests.iter().any(|one| one.digest == entry.digest) {
            return Ok(());
        }
        Err(RegistryError::Race {
            host: repository.host().to_owned(),
            what: "list of referrers".to_owned(),
        })
    }
}
