//! From an HTTP answer to a page of items, or to the fault that says what to do.

use std::ops::Range;

use crossdock_sdk::http::Response;
use crossdock_sdk::json::{self, Problem};
use crossdock_sdk::prelude::*;
use serde::Deserialize;

use crate::outline::Outline;

/// How much of an unexpected body a message shows.
const SHOWN: usize = 300;

/// One page as it came: the body and where its items are.
#[derive(Debug)]
pub(crate) struct Answer {
    body: Vec<u8>,
    items: Vec<Range<usize>>,
    /// Link to the next page.
    pub(crate) next: Option<String>,
    /// The server's clock.
    pub(crate) date: Option<String>,
}

/// Why a page could not be had.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What the host is told.
    pub(crate) fault: Fault,
    /// HTTP status, when there was one.
    pub(crate) status: Option<u16>,
}

impl Answer {
    /// A page of nothing.
    pub(crate) fn empty() -> Self {
        Self {
            body: Vec::new(),
            items: Vec::new(),
            next: None,
            date: None,
        }
    }

    /// Number of items.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// The bytes of item `at`.
    pub(crate) fn item(&self, at: usize) -> Option<&[u8]> {
        self.body.get(self.items.get(at)?.clone())
    }

    /// Reads the answer to a request for `url`.
    pub(crate) fn read(url: &str, response: Response) -> Result<Self, Refusal> {
        if response.status != 200 {
            return Err(Refusal {
                status: Some(response.status),
                fault: refused(url, &response),
            });
        }
        let date = response.header("date").map(str::to_owned);
        let body = response.body;
        let (items, next) = parse(url, &body).map_err(|fault| Refusal {
            fault,
            status: None,
        })?;
        Ok(Self {
            body,
            items,
            next,
            date,
        })
    }
}

/// Where the items of a page are, and the link to the next page.
fn parse(url: &str, body: &[u8]) -> Result<(Vec<Range<usize>>, Option<String>)> {
    // A connection that breaks in the middle of a body looks like this, so it is worth another try.
    json::validate(body).map_err(|error| {
        Fault::transient(format!("Akeneo's answer is not complete JSON: {error}")).at(url)
    })?;
    let unexpected = || {
        let shown = String::from_utf8_lossy(body.get(..SHOWN.min(body.len())).unwrap_or_default())
            .into_owned();
        Fault::permanent(format!("this is not a list as Akeneo sends it: {shown}")).at(url)
    };
    let (outline, root) = Outline::read(body).map_err(|error| match error.problem() {
        Problem::TooMany => Fault::config(format!("a page of Akeneo cannot be read: {error}"))
            .field("/page-size")
            .advice("ask for fewer items a page"),
        _ => unexpected(),
    })?;
    if outline.is_list(root) {
        // Measurement families come without envelope and without pages.
        return Ok((outline.items(root), None));
    }
    let list = outline
        .field(root, "_embedded")
        .and_then(|embedded| outline.field(embedded, "items"))
        .filter(|list| outline.is_list(*list))
        .ok_or_else(unexpected)?;
    let next = outline
        .field(root, "_links")
        .and_then(|links| outline.value(links)?.pointer("/next/href"))
        .and_then(|href| href.as_str().map(std::borrow::Cow::into_owned));
    if next.as_deref() == Some(url) {
        return Err(Fault::permanent("the link to the next page leads to the page itself").at(url));
    }
    Ok((outline.items(list), next))
}

/// Akeneo's error format: `{code, message, errors: [{property, message, attribute, locale, scope}]}`.
#[derive(Debug, Default, Deserialize)]
struct Trouble {
    #[serde(default)]
    message: String,
    #[serde(default)]
    errors: Vec<Detail>,
}

#[derive(Debug, Default, Deserialize)]
struct Detail {
    #[serde(default)]
    property: Option<String>,
    #[serde(default)]
    message: String,
}

/// What Akeneo says about its refusal, in one line.
fn explanation(body: &[u8]) -> String {
    let Ok(trouble) = serde_json::from_slice::<Trouble>(body) else {
        let shown = body.get(..SHOWN.min(body.len())).unwrap_or_default();
        return String::from_utf8_lossy(shown)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
    };
    let mut text = trouble.message;
    for detail in trouble.errors {
        text.push_str("; ");
        if let Some(property) = detail.property {
            text.push_str(&property);
            text.push_str(": ");
        }
        text.push_str(&detail.message);
    }
    text
}

/// The fault for a status that is not 200. The host has retried what it could before this is seen.
fn refused(url: &str, response: &Response) -> Fault {
    let status = response.status;
    let said = explanation(&response.body);
    let said = if said.is_empty() {
        "no reason given".to_owned()
    } else {
        said
    };
    match status {
        401 => Fault::config(format!(
            "Akeneo does not accept the connection's token for {url}: {said}"
        ))
        .field("/connection")
        .advice("check client id, secret, user name and password of the connection"),
        403 => Fault::config(format!("Akeneo forbids {url}: {said}"))
            .field("/connection")
            .advice(
                "give the role of the connection's user the Web API permission to list these items",
            ),
        404 => Fault::config(format!("Akeneo knows no {url}: {said}"))
            .field("/connection")
            .advice("check the connection's base URL; `products-uuid` needs Akeneo 7 or later"),
        400 | 422 => Fault::config(format!("Akeneo refuses {url} ({status}): {said}"))
            .field("/filters")
            .advice("check filters, channel, locales and attributes against what Akeneo says"),
        408 | 429 | 500..=599 => {
            let fault = Fault::transient(format!("Akeneo answers {status}: {said}")).at(url);
            match response.retry_after() {
                Some(wait) => fault.retry_after(wait),
                None => fault,
            }
        }
        _ => Fault::permanent(format!("Akeneo answers {status}, 200 was expected: {said}")).at(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_too_many_parts_says_what_to_do() {
        let page = |items: usize| {
            let items = "[],".repeat(items);
            format!(r#"{{"_embedded":{{"items":[{items}1]}}}}"#)
        };
        let most = json::tree::MAX_CONTAINERS;
        let (items, next) = parse("/p", page(most - 3).as_bytes()).unwrap();
        assert_eq!((items.len(), next), (most - 2, None));
        let fault = parse("/p", page(most - 2).as_bytes()).unwrap_err();
        assert!(matches!(fault, Fault::Config(_)), "{fault:?}");
        assert!(format!("{fault:?}").contains("/page-size"), "{fault:?}");
    }
}
