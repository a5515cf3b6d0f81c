//! The network of a candidate in the shadow: nothing it sends leaves the host. What the live version was answered to the
//! same request it is answered as well; everything else is cut off.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use crate::plugin::{HttpError, HttpRequest, HttpResponse, HttpSend};

/// Bytes of answers that are kept; older ones go first.
const KEPT_BYTES: usize = 32 << 20;

/// What a request is known by: connection, method, URL and body. Headers are the plugin's own business (a version in its
/// user agent, say).
type Key = [u8; 32];

/// What one stage of a run was answered, while somebody wants to know.
#[derive(Default)]
pub(super) struct Recorder {
    /// Shadows that look on.
    watched: AtomicUsize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    answers: HashMap<Key, Result<HttpResponse, HttpError>>,
    order: VecDeque<(Key, usize)>,
    bytes: usize,
}

impl Recorder {
    /// Keeps an answer of the live version, when a shadow looks on.
    pub(super) fn keep(&self, key: Option<Key>, answer: &Result<HttpResponse, HttpError>) {
        let Some(key) = key else { return };
        let weight = answer.as_ref().map_or(0, |answer| answer.body.len()) + 512;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.answers.insert(key, answer.clone()).is_none() {
            kept.order.push_back((key, weight));
            kept.bytes += weight;
        }
        while kept.bytes > KEPT_BYTES
            && let Some((oldest, weight)) = kept.order.pop_front()
        {
            kept.answers.remove(&oldest);
            kept.bytes = kept.bytes.saturating_sub(weight);
        }
    }

    /// The key of a request whose answer is to be kept; `None` when nobody looks on.
    pub(super) fn key(&self, connection: &str, request: &HttpRequest) -> Option<Key> {
        (self.watched.load(Ordering::Relaxed) > 0).then(|| key(connection, request))
    }

    fn answer(&self, key: &Key) -> Option<Result<HttpResponse, HttpError>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.answers.get(key).cloned()
    }
}

fn key(connection: &str, request: &HttpRequest) -> Key {
    let mut digest = Sha256::new();
    for part in [
        connection.as_bytes(),
        request.method.as_bytes(),
        request.url.as_bytes(),
        &request.body,
    ] {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

/// The network of the candidate. While it exists, the live version's answers are kept.
pub(super) struct ShadowHttp(Arc<Recorder>);

impl ShadowHttp {
    pub(super) fn new(recorder: Arc<Recorder>) -> Self {
        recorder.watched.fetch_add(1, Ordering::Relaxed);
        Self(recorder)
    }
}

impl Drop for ShadowHttp {
    fn drop(&mut self) {
        if self.0.watched.fetch_sub(1, Ordering::Relaxed) == 1 {
            let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = Kept::default();
        }
    }
}

#[async_trait]
impl HttpSend for ShadowHttp {
    async fn send(
        &self,
        connection: &str,
        request: HttpRequest,
    ) -> Result<HttpResponse, HttpError> {
        self.0
            .answer(&key(connection, &request))
            .unwrap_or_else(|| {
                Err(HttpError::Unreachable(format!(
                    "{} {}: cut off in the shadow, since the running version has not asked this",
                    request.method, request.url
                )))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(url: &str) -> HttpRequest {
        HttpRequest {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            budget: crate::flow::Budget::default(),
        }
    }

    #[tokio::test]
    async fn a_shadow_hears_what_the_live_version_was_answered_and_nothing_else() {
        let recorder = Arc::new(Recorder::default());
        let answer = Ok(HttpResponse {
            status: 200,
            headers: Vec::new(),
            body: b"live".to_vec(),
        });
        recorder.keep(recorder.key("erp", &request("a")), &answer);
        let shadow = ShadowHttp::new(Arc::clone(&recorder));
        let missed = shadow.send("erp", request("a")).await;
        assert!(missed.is_err(), "nobody looked on when it was asked");
        recorder.keep(recorder.key("erp", &request("a")), &answer);
        assert_eq!(shadow.send("erp", request("a")).await, answer);
        let other = shadow.send("other", request("a")).await.unwrap_err();
        assert!(
            other.to_string().contains("cut off in the shadow"),
            "{other}"
        );
        drop(shadow);
        assert!(recorder.key("erp", &request("a")).is_none());
    }

    #[test]
    fn answers_are_bounded() {
        let recorder = Arc::new(Recorder::default());
        let _shadow = ShadowHttp::new(Arc::clone(&recorder));
        let answer = Ok(HttpResponse {
            status: 200,
            headers: Vec::new(),
            body: vec![0; KEPT_BYTES / 4],
        });
        for at in 0..10 {
            recorder.keep(recorder.key("", &request(&at.to_string())), &answer);
        }
        let kept = recorder.kept.lock().unwrap();
        assert!(kept.bytes <= KEPT_BYTES && kept.answers.len() == 3);
    }
}
