//! What is tried again, and when.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use super::{Response, spec::RetrySpec};

/// A server that wants a longer wait than this gets no second request now: its answer goes to the plugin.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The policy forbids it.
    Denied(String),
    /// No connection, or lost: `sent` says whether the server may have got the request.
    Unreachable { sent: bool, message: String },
    /// The server's certificate is not trusted: a retry cannot help.
    Untrusted(String),
    /// The body is larger than allowed.
    TooLarge(String),
    /// Other responses of the same call have left too little for this one.
    NoRoom(String),
}

/// How often and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    attempts: u32,
    initial: Duration,
    max: Duration,
}

impl From<&RetrySpec> for Policy {
    fn from(spec: &RetrySpec) -> Self {
        Self {
            attempts: spec.attempts.max(1),
            initial: spec.initial.0,
            max: spec.max.0,
        }
    }
}

/// A retry that is about to be waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Retry {
    /// The try that failed, from 1.
    pub(super) attempt: u32,
    /// How long until the next.
    pub(super) wait: Duration,
    /// The server asked for this wait.
    pub(super) asked: Option<Duration>,
    /// Why.
    pub(super) reason: String,
}

/// Tries until there is an answer that another try would not change, or no try is left.
pub(super) async fn run<F: Future<Output = Result<Response, Failure>>>(
    policy: Policy,
    idempotent: bool,
    mut call: impl FnMut() -> F,
    mut before_wait: impl FnMut(&Retry),
) -> Result<Response, Failure> {
    let mut attempt = 1;
    loop {
        let outcome = call().await;
        let Some((reason, asked)) = again(&outcome, idempotent) else {
            return outcome;
        };
        if attempt >= policy.attempts || asked.is_some_and(|wait| wait > LONGEST_RETRY_AFTER) {
            return outcome;
        }
        let wait = match asked {
            // Not all at the same moment.
            Some(wait) => wait + policy.initial.mul_f64(fastrand::f64()),
            None => policy.longest_wait(attempt).mul_f64(fastrand::f64()),
        };
        before_wait(&Retry {
            attempt,
            wait,
            asked,
            reason,
        });
        sleep(wait).await;
        attempt += 1;
    }
}

impl Policy {
    /// The bound of the wait after a try: doubles with each.
    fn longest_wait(self, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
        self.initial.saturating_mul(factor).min(self.max)
    }
}

/// Why another try may help, and the wait that the server asks for. `None`: it would not help, or may do harm.
fn again(
    outcome: &Result<Response, Failure>,
    idempotent: bool,
) -> Option<(String, Option<Duration>)> {
    match outcome {
        Err(Failure::Unreachable { sent, message }) => {
            (!sent || idempotent).then(|| (message.clone(), None))
        }
        Err(_) => None,
        Ok(response) => {
            let asked = retry_after(response);
            let unprocessed = response.status == 429 || (response.status == 503 && asked.is_some());
            let passing = matches!(response.status, 500 | 502 | 503 | 504);
            (unprocessed || (passing && idempotent))
                .then(|| (format!("status {}", response.status), asked))
        }
    }
}

/// Whether a request may be sent twice.
pub(super) fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS")
}

/// The wait that a response asks for, in seconds or until a date. The server's own clock is used, when it tells it.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.header("retry-after")?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Duration::from_secs(u64::from(seconds)));
    }
    let until = date(text)?;
    let now = response
        .header("date")
        .and_then(date)
        .unwrap_or_else(Timestamp::now);
    Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
}

fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text.trim())
        .ok()
        .map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const POLICY: Policy = Policy {
        attempts: 4,
        initial: Duration::from_millis(500),
        max: Duration::from_millis(1500),
    };

    fn response(status: u16, headers: &[(&str, &str)]) -> Response {
        let headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Response {
            status,
            headers,
            body: bytes::Bytes::new(),
        }
    }

    fn lost(sent: bool) -> Failure {
        Failure::Unreachable {
            sent,
            message: "connection reset".into(),
        }
    }

    /// Runs against given outcomes and returns how many were asked for, what came out, and the waits.
    async fn attempt(
        outcomes: &[Result<Response, Failure>],
        idempotent: bool,
    ) -> (usize, Result<Response, Failure>, Vec<Retry>) {
        let (mut calls, mut waits) = (0, Vec::new());
        let outcome = run(
            POLICY,
            idempotent,
            || {
                calls += 1;
                std::future::ready(outcomes[calls - 1].clone())
            },
            |retry| waits.push(retry.clone()),
        )
        .await;
        (calls, outcome, waits)
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_the_longest_and_the_last_answer_is_returned() {
        let failing = vec![Ok(response(503, &[])); 4];
        let (calls, outcome, waits) = attempt(&failing, true).await;
        assert_eq!((calls, outcome.unwrap().status, waits.len()), (4, 503, 3));
        for (retry, bound) in waits.iter().zip([500, 1000, 1500]) {
            assert!(retry.wait <= Duration::from_millis(bound), "{retry:?}");
        }
        assert_eq!(POLICY.longest_wait(40), POLICY.max);
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_help_and_does_no_harm_is_tried_again() {
        let retried = async |outcome: Result<Response, Failure>, idempotent| {
            attempt(&[outcome, Ok(response(200, &[]))], idempotent)
                .await
                .0
                == 2
        };
        for (outcome, when_idempotent, when_not) in [
            (Ok(response(429, &[])), true, true),
            (Ok(response(503, &[("retry-after", "1")])), true, true),
            (Ok(response(503, &[])), true, false),
            (Ok(response(500, &[])), true, false),
            (Ok(response(502, &[])), true, false),
            (Ok(response(504, &[])), true, false),
            (Ok(response(501, &[])), false, false),
            (Ok(response(404, &[("retry-after", "1")])), false, false),
            (Ok(response(200, &[])), false, false),
            (Err(lost(false)), true, true),
            (Err(lost(true)), true, false),
            (Err(Failure::TooLarge(String::new())), false, false),
            (Err(Failure::NoRoom(String::new())), false, false),
            (Err(Failure::Denied(String::new())), false, false),
            (Err(Failure::Untrusted(String::new())), false, false),
        ] {
            assert_eq!(
                retried(outcome.clone(), true).await,
                when_idempotent,
                "{outcome:?}"
            );
            assert_eq!(
                retried(outcome.clone(), false).await,
                when_not,
                "{outcome:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_says_how_long() {
        let start = Instant::now();
        let asks = Ok(response(429, &[("retry-after", "120")]));
        let (_, outcome, waits) = attempt(&[asks, Ok(response(200, &[]))], false).await;
        assert_eq!(outcome.unwrap().status, 200);
        assert_eq!(waits[0].asked, Some(Duration::from_mins(2)));
        assert!(
            (120_000..121_000).contains(&start.elapsed().as_millis()),
            "{:?}",
            start.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_too_long_is_left_to_the_plugin() {
        let (calls, outcome, _) =
            attempt(&[Ok(response(429, &[("retry-after", "301")]))], true).await;
        assert_eq!((calls, outcome.unwrap().status), (1, 429));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asked = |headers: &[(&str, &str)]| {
            retry_after(&response(429, headers)).map(|wait| wait.as_secs())
        };
        let date = ("date", "Sun, 06 Nov 1994 08:49:07 GMT");
        assert_eq!(asked(&[("retry-after", " 7 ")]), Some(7));
        assert_eq!(
            asked(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), date]),
            Some(30)
        );
        assert_eq!(
            asked(&[("retry-after", "Sun, 06 Nov 1994 08:48:37 GMT"), date]),
            Some(0)
        );
        assert_eq!(
            asked(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]),
            Some(0),
            "in the past"
        );
        for wrong in ["", "soon", "-1", "1.5", "99999999999999"] {
            assert_eq!(asked(&[("retry-after", wrong)]), None, "{wrong}");
        }
        assert_eq!(asked(&[]), None);
    }
}
