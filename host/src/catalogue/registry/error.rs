//! Why a registry could not do what was asked of it: one line each, with what to do where there is something.

use std::{path::PathBuf, time::Duration};

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Certificates of the system, or the given ones, cannot be used.
    #[error("HTTPS cannot be used: {0}; install the system's certificates, or name one with --ca")]
    Tls(String),
    /// A file with certificates cannot be used.
    #[error("the certificates in {} cannot be used: {why}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// No connection, or one that broke off, also at the last try.
    #[error("{host} cannot be reached: {why}{}", hint(*.plain))]
    Unreachable {
        /// The registry.
        host: String,
        /// What happened.
        why: String,
        /// It looks as if it spoke plain HTTP.
        plain: bool,
    },
    /// It took too long.
    #[error("{host} did not {what} within {}", shown(*.limit))]
    TooSlow {
        /// The registry.
        host: String,
        /// What it had to do.
        what: &'static str,
        /// How long it was waited for.
        limit: Duration,
    },
    /// It wants other credentials, or any.
    #[error("{host} does not let {who} {what}: {said}; {advice}")]
    Denied {
        /// The registry.
        host: String,
        /// `anybody without a login`, or the name that was used.
        who: String,
        /// What was tried.
        what: String,
        /// What it said.
        said: String,
        /// What to do.
        advice: String,
    },
    /// What was asked for is not there.
    #[error("there is no {what} at {host}")]
    Missing {
        /// The registry.
        host: String,
        /// What is missing.
        what: String,
    },
    /// It said no, also at the last try.
    #[error("{host} answers {status} to {what}{}", said_of(.said))]
    Status {
        /// The registry.
        host: String,
        /// The status.
        status: u16,
        /// What was asked.
        what: String,
        /// What it said about it.
        said: String,
    },
    /// An answer that makes no sense.
    #[error("{host} gives no usable {what}: {why}")]
    Unusable {
        /// The registry.
        host: String,
        /// What it was to be.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// An answer that is larger than anything of its kind needs to be.
    #[error("{host} gives more than {limit} bytes as {what}: refused")]
    TooLarge {
        /// The registry.
        host: String,
        /// What it was to be.
        what: String,
        /// How many bytes are allowed.
        limit: u64,
    },
    /// It sends in circles.
    #[error("{host} redirects more than {limit} times when asked for {what}: refused")]
    Redirects {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// How many are followed.
        limit: usize,
    },
    /// It redirects to where nobody should go.
    #[error("{host} redirects to {to}: refused, since that is not encrypted")]
    Insecure {
        /// The registry.
        host: String,
        /// Where to.
        to: String,
    },
    /// It is not what its digest says.
    #[error("{host} gives another {what} than asked for: its digest is {found}, not {expected}")]
    Digest {
        /// The registry.
        host: String,
        /// What it was to be.
        what: String,
        /// The digest asked for.
        expected: String,
        /// The digest of what came.
        found: String,
    },
    /// It ended too early, also at the last try.
    #[error("{host} broke off the {what} after {found} of {expected} bytes")]
    Truncated {
        /// The registry.
        host: String,
        /// What it was to be.
        what: String,
        /// The bytes it should have.
        expected: u64,
        /// The bytes that came.
        found: u64,
    },
    /// The credentials cannot be read.
    #[error("the credentials for {host} cannot be had: {why}")]
    Credentials {
        /// The registry.
        host: String,
        /// What is wrong.
        why: String,
    },
    /// There is something under this tag already.
    #[error(
        "{what} is there already, with another content: a version never changes, publish a higher one"
    )]
    Exists {
        /// What.
        what: String,
    },
    /// Somebody else changed the same thing at the same time, again and again.
    #[error("{host} never kept the {what}: others write it at the same time; try again")]
    Race {
        /// The registry.
        host: String,
        /// What was to be changed.
        what: String,
    },
}

fn hint(plain: bool) -> &'static str {
    if plain {
        "; if it is meant to be unencrypted, say so with --plain-http"
    } else {
        ""
    }
}

fn said_of(said: &str) -> String {
    if said.is_empty() {
        String::new()
    } else {
        format!(": {said}")
    }
}

fn shown(limit: Duration) -> String {
    if limit.subsec_millis() == 0 {
        format!("{} s", limit.as_secs())
    } else {
        format!("{} ms", limit.as_millis())
    }
}
