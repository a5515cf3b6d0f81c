//! What a stage was granted, and what it tried without.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use serde::Serialize;
use url::Url;

/// Different denied things that are remembered per stage; the rest is counted in the log only.
const MAX_DENIALS: usize = 256;

/// What an operator allows a stage to reach. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grants {
    /// Folders to read, as written in the flow file: absolute, or relative to the project's folder.
    pub read: Vec<String>,
    /// Folders to read and write. Created when missing.
    pub write: Vec<String>,
    /// Connections by name.
    pub connections: Vec<String>,
    /// Tables by name.
    pub tables: Vec<String>,
    /// URL prefixes for requests without a connection: `https://api.example.com/v1`, with a method in front when only
    /// that one is allowed: `GET https://api.example.com/v1`.
    pub http: Vec<String>,
}

impl Grants {
    pub(super) fn connection(&self, name: &str) -> bool {
        self.connections.iter().any(|granted| granted == name)
    }

    pub(super) fn table(&self, name: &str) -> bool {
        self.tables.iter().any(|granted| granted == name)
    }

    /// Whether a request without a connection is covered by a granted URL: same scheme, host and port, a path at or
    /// below the granted one, and the method if one is named.
    pub(super) fn url(&self, method: &str, url: &Url) -> bool {
        self.http.iter().any(|granted| {
            let (only, prefix) = match granted.split_once(' ') {
                Some((only, prefix)) => (Some(only), prefix.trim_start()),
                None => (None, granted.as_str()),
            };
            only.is_none_or(|only| only.eq_ignore_ascii_case(method))
                && Url::parse(prefix).is_ok_and(|prefix| covers(&prefix, url))
        })
    }
}

fn covers(granted: &Url, url: &Url) -> bool {
    let same_origin = granted.scheme() == url.scheme()
        && granted.host_str().is_some()
        && granted.host_str() == url.host_str()
        && granted.port_or_known_default() == url.port_or_known_default();
    let path = granted.path().trim_end_matches('/');
    same_origin
        && url.username().is_empty()
        && url.password().is_none()
        && url.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Something that a stage tried to reach without a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Denial {
    /// The flow.
    pub flow: String,
    /// The stage.
    pub stage: String,
    /// The plugin.
    pub plugin: String,
    /// `connection`, `table` or `url`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// Counts of denied attempts of one stage.
#[derive(Debug, Default)]
pub(super) struct Denials(Mutex<BTreeMap<(&'static str, String), u64>>);

impl Denials {
    /// Counts one. `true` the first time, so that the log is not flooded.
    pub(super) fn note(&self, what: &'static str, name: &str) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name: String = name.chars().take(200).collect();
        let full = seen.len() >= MAX_DENIALS;
        match seen.get_mut(&(what, name.clone())) {
            Some(count) => {
                *count += 1;
                false
            }
            None if full => false,
            None => {
                seen.insert((what, name), 1);
                true
            }
        }
    }

    pub(super) fn list(&self) -> Vec<(&'static str, String, u64)> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|((what, name), &count)| (*what, name.clone(), count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(grant: &str, method: &str, url: &str) -> bool {
        let grants = Grants { http: vec![grant.to_owned()], ..Grants::default() };
        grants.url(method, &Url::parse(url).unwrap())
    }

    #[test]
    fn a_url_is_covered_by_scheme_host_port_path_and_method() {
        let grant = "https://api.example.com/v1";
        assert!(granted(grant, "GET", "https://api.example.com/v1"));
        assert!(granted(grant, "POST", "https://api.example.com:443/v1/items?x=1"));
        assert!(!granted(grant, "GET", "http://api.example.com/v1"));
        assert!(!granted(grant, "GET", "https://api.example.com:8443/v1"));
        assert!(!granted(grant, "GET", "https://api.example.com.evil.org/v1"));
        assert!(!granted(grant, "GET", "https://api.example.com/v10"));
        assert!(!granted(grant, "GET", "https://api.example.com/v1/../admin"));
        assert!(!granted(grant, "GET", "https://user:secret@api.example.com/v1"));
        assert!(granted("get https://a.example/", "GET", "https://a.example/x"));
        assert!(!granted("GET https://a.example/", "DELETE", "https://a.example/x"));
        assert!(!granted("not a url", "GET", "https://a.example/x"));
    }

    #[test]
    fn denials_are_counted_and_bounded() {
        let denials = Denials::default();
        assert!(denials.note("table", "a"));
        assert!(!denials.note("table", "a"));
        assert_eq!(denials.list(), [("table", "a".to_owned(), 2)]);
        for at in 0..MAX_DENIALS * 2 {
            denials.note("connection", &at.to_string());
        }
        assert_eq!(denials.list().len(), MAX_DENIALS);
    }
}
