//! The two ways in which Akeneo tells others of changes: signed POST requests.

use std::time::Duration;

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::http::{HttpError, send};

/// Which of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookForm {
    /// The deprecated Events API: up to 10 events a request, half a second to answer, no second try. Signed over timestamp
    /// and body (`X-Akeneo-Request-Signature`, `X-Akeneo-Request-Timestamp`).
    EventsApi,
    /// The Event Platform: one event a request, 5 seconds to answer, three retries after these waits (5, 10 and 20 minutes at
    /// Akeneo). Signed over the body (`X-AKENEO-SIGNATURE-PRIMARY`). 404 and 3xx suspend the subscription.
    EventPlatform {
        /// The waits before the retries; their number is the number of retries.
        retries: Vec<Duration>,
    },
}

impl WebhookForm {
    /// The Event Platform with the waits that Akeneo documents.
    pub fn event_platform() -> Self {
        Self::EventPlatform {
            retries: [5, 10, 20]
                .map(|minutes| Duration::from_secs(minutes * 60))
                .to_vec(),
        }
    }
}

/// A subscription: where events go and how they are signed.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// A plain `http://` address.
    pub url: String,
    /// The key of the signature.
    pub secret: String,
    /// Which of the two forms.
    pub form: WebhookForm,
}

/// One request and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// How many events it carried.
    pub events: usize,
    /// How often it was sent.
    pub attempts: usize,
    /// The end.
    pub outcome: Outcome,
}

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx.
    Accepted,
    /// 404 or 3xx on the Event Platform: nothing more is sent, this and the remaining events are lost.
    Suspended(u16),
    /// Every try failed; the reason of the last one.
    Lost(String),
}

impl Webhook {
    /// Sends events in order. For the Events API each event is put as it is into `{"events": [...]}`; for the Event Platform
    /// each is a request of its own (a whole `CloudEvent`). Must run on a tokio runtime.
    pub async fn deliver(&self, events: &[Value]) -> Vec<Delivery> {
        let mut deliveries = vec![];
        let size = if self.form == WebhookForm::EventsApi {
            10
        } else {
            1
        };
        for chunk in events.chunks(size) {
            let body = match &self.form {
                WebhookForm::EventsApi => json!({"events": chunk}).to_string(),
                WebhookForm::EventPlatform { .. } => chunk[0].to_string(),
            };
            let (attempts, outcome) = self.attempt(&body).await;
            let suspended = matches!(outcome, Outcome::Suspended(_));
            deliveries.push(Delivery {
                events: chunk.len(),
                attempts,
                outcome,
            });
            if suspended {
                break;
            }
        }
        deliveries
    }

    async fn attempt(&self, body: &str) -> (usize, Outcome) {
        let (timeout, retries): (_, &[Duration]) = match &self.form {
            WebhookForm::EventsApi => (Duration::from_millis(500), &[]),
            WebhookForm::EventPlatform { retries } => (Duration::from_secs(5), retries),
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            let headers = self.headers(body);
            let headers: Vec<(&str, &str)> = headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .collect();
            let reason = match send("POST", &self.url, &headers, body.to_owned(), timeout).await {
                Ok(reply) if (200..300).contains(&reply.status) => {
                    return (attempts, Outcome::Accepted);
                }
                Ok(reply) => match (&self.form, reply.status) {
                    (WebhookForm::EventPlatform { .. }, status @ (300..400 | 404)) => {
                        return (attempts, Outcome::Suspended(status));
                    }
                    (_, status @ (408 | 429 | 500..)) => format!("status {status}"),
                    (_, status) => return (attempts, Outcome::Lost(format!("status {status}"))),
                },
                Err(error @ HttpError::Address(_)) => {
                    return (attempts, Outcome::Lost(error.to_string()));
                }
                Err(error) => error.to_string(),
            };
            match retries.get(attempts - 1) {
                None => return (attempts, Outcome::Lost(reason)),
                Some(wait) => tokio::time::sleep(*wait).await,
            }
        }
    }

    fn headers(&self, body: &str) -> Vec<(&'static str, String)> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        match self.form {
            WebhookForm::EventsApi => {
                let timestamp = jiff::Timestamp::now().as_second().to_string();
                let signed = sign(&self.secret, format!("{timestamp}.{body}").as_bytes());
                headers.push(("x-akeneo-request-signature", signed));
                headers.push(("x-akeneo-request-timestamp", timestamp));
            }
            WebhookForm::EventPlatform { .. } => {
                headers.push((
                    "x-akeneo-signature-primary",
                    sign(&self.secret, body.as_bytes()),
                ));
                headers.push(("x-akeneo-signature-algorithm", "HmacSHA256".to_owned()));
            }
        }
        headers
    }
}

/// HMAC-SHA256 in hex.
pub fn sign(secret: &str, message: &[u8]) -> String {
    // A key of any length is fine for HMAC: the error cannot happen, and an empty signature would fit nothing.
    Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_or_else(
        |_| String::new(),
        |mut mac| {
            mac.update(message);
            hex::encode(mac.finalize().into_bytes())
        },
    )
}
