//! Lists that a registry gives in pages: the tags of a repository, the repositories of a namespace.

use reqwest::{
    Method, StatusCode, Url,
    header::{HeaderMap, LINK},
};
use serde::Deserialize;

use super::{Access, Registry, RegistryError, Repository, ask, http::refused, unusable};

/// A larger page is refused.
const MAX_PAGE: u64 = 4 << 20;
/// More pages are not looked at: at a thousand entries each, nobody has more versions of a plugin.
const MAX_TAG_PAGES: usize = 20;
/// More pages of repositories are not looked at.
const MAX_REPOSITORY_PAGES: usize = 100;

/// A list that comes in pages.
struct Pages<'a> {
    repository: &'a Repository,
    url: Url,
    what: &'a str,
    access: Access,
    most: usize,
}

/// One page: of tags or of repositories.
#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    repositories: Option<Vec<String>>,
}

impl Registry {
    /// All tags of a repository, sorted; none when there is no such repository. Signatures and other things that belong
    /// to versions are among them.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<String>, RegistryError> {
        let what = format!("tags of {}", repository.path());
        let pages = Pages {
            repository,
            url: self.url(repository, "tags/list")?,
            what: &what,
            access: Access::Pull,
            most: MAX_TAG_PAGES,
        };
        Ok(self.pages(pages).await?.unwrap_or_default())
    }

    /// The paths of all repositories that lie beside `place`, or in folders beside it, sorted; `None` when the registry does
    /// not tell which it has.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub async fn repositories(
        &self,
        place: &Repository,
    ) -> Result<Option<Vec<String>>, RegistryError> {
        let what = format!("list of the repositories of {}", place.host());
        let pages = Pages {
            repository: place,
            url: self.url_of(place, "_catalog")?,
            what: &what,
            access: Access::List,
            most: MAX_REPOSITORY_PAGES,
        };
        let found = match self.pages(pages).await {
            Ok(found) => found,
            // Some answer so what they do not know.
            Err(RegistryError::Status { status, .. }) if status == 405 || status == 501 => None,
            Err(error) => return Err(error),
        };
        let Some(mut all) = found else {
            return Ok(None);
        };
        if !place.namespace().is_empty() {
            let within = format!("{}/", place.namespace());
            all.retain(|path| path.starts_with(&within));
        }
        Ok(Some(all))
    }

    /// All entries of a list; `None` when there is none.
    async fn pages(&self, pages: Pages<'_>) -> Result<Option<Vec<String>>, RegistryError> {
        let Pages {
            repository,
            mut url,
            what,
            ..
        } = pages;
        url.set_query(Some("n=1000"));
        let mut all = Vec::new();
        for page in 0..pages.most {
            let mut ask = ask(repository, Method::GET, url.clone(), what);
            ask.limit = MAX_PAGE;
            let answer = self.send(repository, pages.access, ask.clone()).await?;
            match answer.status {
                StatusCode::NOT_FOUND if page == 0 => return Ok(None),
                StatusCode::NOT_FOUND => break,
                status if status.is_success() => {}
                _ => return Err(refused(&ask, &answer)),
            }
            let page: Page = serde_json::from_slice(&answer.body)
                .map_err(|error| unusable(repository, what, &error))?;
            all.extend(page.tags.or(page.repositories).unwrap_or_default());
            // The next page is one of the same registry, or it is not followed.
            let next = next_page(&answer.headers).and_then(|next| answer.url.join(&next).ok());
            match next {
                Some(next) if next.origin() == url.origin() => url = next,
                _ => break,
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(Some(all))
    }
}

/// `<URL>; rel="next"`.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let link = headers.get(LINK)?.to_str().ok()?;
    let (url, rest) = link.strip_prefix('<')?.split_once('>')?;
    rest.contains("next").then(|| url.to_owned())
}
