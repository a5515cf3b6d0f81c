//! Faults on purpose, and the record of what was asked.

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::catalogue::Kind;

/// A fault for the next requests of a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What follows `/api/rest/v1/`, for example `products` (which means `products/{code}` too, but not `products-uuid`);
    /// `token` is the token endpoint and `*` any request.
    pub path: String,
    /// What goes wrong.
    pub kind: FaultKind,
    /// How many requests it happens to.
    pub times: usize,
    /// How many requests of the path are answered well before.
    pub after: usize,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum FaultKind {
    /// An error status with the usual body: 401, 403, 429 (without `Retry-After`), 500, 502, 503, ...
    Status(u16),
    /// 429 with `Retry-After`, in seconds.
    RetryAfter(u64),
    /// The connection breaks in the middle of the body.
    Drop,
    /// A whole answer whose JSON ends in the middle.
    Truncate,
    /// The answer comes late.
    Slow(Duration),
    /// The answer is right, and then the item changes: a catalogue that is edited while it is read.
    Change(Kind, Value),
}

impl Fault {
    /// Once, for the next request of that path.
    pub fn new(path: impl Into<String>, kind: FaultKind) -> Self {
        Self {
            path: path.into(),
            kind,
            times: 1,
            after: 0,
        }
    }

    /// For that many requests.
    #[must_use]
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Only after that many requests.
    #[must_use]
    pub fn after(self, after: usize) -> Self {
        Self { after, ..self }
    }
}

/// A text that is no fault.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no fault: write PATH=KIND[xTIMES][@AFTER], where KIND is a status (429, 500, ...), 429:SECONDS, drop, \
    truncate or slow:MILLISECONDS; for example products=429:1x3@2"
)]
pub struct FaultSyntax(String);

impl FromStr for Fault {
    type Err = FaultSyntax;

    fn from_str(text: &str) -> Result<Self, FaultSyntax> {
        let wrong = || FaultSyntax(text.to_owned());
        let (path, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (rest, after) = rest.split_once('@').unwrap_or((rest, "0"));
        let (kind, times) = rest.split_once('x').unwrap_or((rest, "1"));
        let (name, argument) = kind
            .split_once(':')
            .map_or((kind, None), |(name, argument)| (name, Some(argument)));
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        let kind = match (name, argument) {
            ("drop", None) => FaultKind::Drop,
            ("truncate", None) => FaultKind::Truncate,
            ("slow", Some(milliseconds)) => {
                FaultKind::Slow(Duration::from_millis(number(milliseconds)?))
            }
            ("429", Some(seconds)) => FaultKind::RetryAfter(number(seconds)?),
            (status, None) => match status.parse() {
                Ok(status @ 400..600) => FaultKind::Status(status),
                _ => return Err(wrong()),
            },
            _ => return Err(wrong()),
        };
        let count = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        Ok(Self {
            path: path.trim_matches('/').to_owned(),
            kind,
            times: count(times)?,
            after: count(after)?,
        })
    }
}

/// Whether a request path belongs to the path of a fault or a count.
pub(super) fn is_under(request: &str, path: &str) -> bool {
    if path == "*" {
        return true;
    }
    if path == "token" {
        return request == super::TOKEN_PATH;
    }
    let Some(rest) = request.strip_prefix(super::REST_PATH) else {
        return false;
    };
    let rest = rest.trim_start_matches('/');
    rest.strip_prefix(path.trim_matches('/'))
        .is_some_and(|more| more.is_empty() || more.starts_with('/'))
}

/// The faults still to come.
#[derive(Default)]
pub(super) struct Plan(Mutex<Vec<Fault>>);

impl Plan {
    pub(super) fn add(&self, fault: Fault) {
        self.lock().push(fault);
    }

    /// The fault of this request: the first one planned for its path that is due.
    pub(super) fn take(&self, path: &str) -> Option<FaultKind> {
        let mut plan = self.lock();
        let mut due = None;
        for fault in plan.iter_mut().filter(|fault| is_under(path, &fault.path)) {
            if fault.after > 0 {
                fault.after -= 1;
            } else if due.is_none() && fault.times > 0 {
                fault.times -= 1;
                due = Some(fault.kind.clone());
            }
        }
        plan.retain(|fault| fault.times > 0);
        due
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request that the stand-in answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path, as it was sent.
    pub path: String,
    /// The query, decoded, in its order.
    pub query: Vec<(String, String)>,
    /// The status of the answer; of a dropped connection the status that was sent.
    pub status: u16,
}

/// What was asked since the start: the newest requests, and how many at a time.
#[derive(Default)]
pub(super) struct Journal(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    requests: VecDeque<Request>,
    /// Requests by method and path; older requests stay counted.
    counts: std::collections::HashMap<String, usize>,
    running: usize,
    most: usize,
}

/// The requests that are kept whole.
const KEPT: usize = 20_000;

/// A request that is being answered.
pub(super) struct Running<'a>(&'a Journal);

impl Journal {
    /// Counts a request in; returns how many run now, this one included.
    pub(super) fn begin(&self) -> (Running<'_>, usize) {
        let mut entries = self.lock();
        entries.running += 1;
        entries.most = entries.most.max(entries.running);
        (Running(self), entries.running)
    }

    pub(super) fn add(&self, request: Request) {
        let mut entries = self.lock();
        *entries.counts.entry(request.path.clone()).or_default() += 1;
        if entries.requests.len() == KEPT {
            entries.requests.pop_front();
        }
        entries.requests.push_back(request);
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.lock().requests.iter().cloned().collect()
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.lock()
            .counts
            .iter()
            .filter(|(own, _)| is_under(own, path))
            .map(|(_, count)| count)
            .sum()
    }

    pub(super) fn most(&self) -> usize {
        self.lock().most
    }

    pub(super) fn clear(&self) {
        let mut entries = self.lock();
        entries.requests.clear();
        entries.counts.clear();
        entries.most = entries.running;
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_from_text() {
        let read = |text: &str| text.parse::<Fault>().unwrap();
        assert_eq!(
            read("products=429:1x3@2"),
            Fault::new("products", FaultKind::RetryAfter(1))
                .times(3)
                .after(2)
        );
        assert_eq!(read("*=503"), Fault::new("*", FaultKind::Status(503)));
        assert_eq!(
            read("token=slow:250x2"),
            Fault::new("token", FaultKind::Slow(Duration::from_millis(250))).times(2)
        );
        assert_eq!(
            read("families/shoes/variants=drop"),
            Fault::new("families/shoes/variants", FaultKind::Drop)
        );
        for wrong in [
            "products",
            "products=",
            "products=200",
            "products=slow",
            "products=500xmany",
            "=drop:1",
        ] {
            assert!(
                wrong
                    .parse::<Fault>()
                    .unwrap_err()
                    .to_string()
                    .contains("is no fault"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_fault_happens_as_often_and_as_late_as_planned() {
        let plan = Plan::default();
        plan.add(
            Fault::new("products", FaultKind::Status(500))
                .times(2)
                .after(1),
        );
        let take = |path: &str| plan.take(path).is_some();
        assert!(!take("/api/rest/v1/products-uuid"));
        assert!(!take("/api/rest/v1/products"));
        assert!(take("/api/rest/v1/products"));
        assert!(take("/api/rest/v1/products/one"));
        assert!(!take("/api/rest/v1/products"));
    }
}
