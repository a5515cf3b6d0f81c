use std::collections::VecDeque;
use std::sync::Mutex;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::*;

/// A receiver that answers the given statuses, then 200, and keeps what came.
struct Receiver {
    url: String,
    inbox: Arc<Inbox>,
    server: tokio::task::JoinHandle<()>,
}

struct Inbox {
    statuses: Mutex<VecDeque<u16>>,
    got: Mutex<Vec<(HeaderMap, String)>>,
}

impl Receiver {
    async fn new(statuses: &[u16]) -> Self {
        let inbox = Arc::new(Inbox {
            statuses: Mutex::new(statuses.iter().copied().collect()),
            got: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let answer = async |State(inbox): State<Arc<Inbox>>, headers: HeaderMap, body: String| {
            inbox.got.lock().unwrap().push((headers, body));
            StatusCode::from_u16(inbox.statuses.lock().unwrap().pop_front().unwrap_or(200)).unwrap()
        };
        let router = axum::Router::new()
            .route("/hook", axum::routing::post(answer))
            .with_state(Arc::clone(&inbox));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, inbox, server }
    }

    fn got(&self) -> Vec<(HeaderMap, String)> {
        self.inbox.got.lock().unwrap().clone()
    }

    fn webhook(&self, form: WebhookForm) -> Webhook {
        Webhook {
            url: self.url.clone(),
            secret: "key".to_owned(),
            form,
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn events(count: usize) -> Vec<Value> {
    (0..count)
        .map(|n| json!({"id": n, "text": "größer 🧥"}))
        .collect()
}

#[test]
fn the_signature_is_hmac_sha256_in_hex() {
    // The well-known test vector of RFC 4231, case 2.
    let signed = sign("Jefe", b"what do ya want for nothing?");
    assert_eq!(
        signed,
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
}

#[tokio::test]
async fn the_events_api_sends_ten_events_a_request_and_never_twice() {
    let receiver = Receiver::new(&[200, 500]).await;
    let deliveries = receiver
        .webhook(WebhookForm::EventsApi)
        .deliver(&events(12))
        .await;
    assert_eq!(
        deliveries[0],
        Delivery {
            events: 10,
            attempts: 1,
            outcome: Outcome::Accepted
        }
    );
    assert_eq!(
        deliveries[1],
        Delivery {
            events: 2,
            attempts: 1,
            outcome: Outcome::Lost("status 500".to_owned())
        }
    );
    let got = receiver.got();
    assert_eq!(got.len(), 2);
    for (headers, body) in got {
        let timestamp = headers["x-akeneo-request-timestamp"].to_str().unwrap();
        assert_eq!(
            headers["x-akeneo-request-signature"],
            sign("key", format!("{timestamp}.{body}").as_bytes()).as_str()
        );
        assert!(serde_json::from_str::<Value>(&body).unwrap()["events"].is_array());
    }
}

#[tokio::test]
async fn the_event_platform_tries_again_until_its_retries_are_used_up() {
    let form = || WebhookForm::EventPlatform {
        retries: vec![Duration::ZERO; 3],
    };
    let receiver = Receiver::new(&[503, 429]).await;
    let deliveries = receiver.webhook(form()).deliver(&events(1)).await;
    assert_eq!(
        deliveries,
        [Delivery {
            events: 1,
            attempts: 3,
            outcome: Outcome::Accepted
        }]
    );
    for (headers, body) in receiver.got() {
        assert_eq!(
            headers["x-akeneo-signature-primary"],
            sign("key", body.as_bytes()).as_str()
        );
        assert_eq!(headers["x-akeneo-signature-algorithm"], "HmacSHA256");
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), events(1)[0]);
    }
    let receiver = Receiver::new(&[500; 9]).await;
    let deliveries = receiver.webhook(form()).deliver(&events(1)).await;
    assert_eq!(deliveries[0].attempts, 4);
    assert_eq!(
        deliveries[0].outcome,
        Outcome::Lost("status 500".to_owned())
    );
}

#[tokio::test]
async fn the_event_platform_suspends_on_404_and_drops_on_other_client_errors() {
    let form = || WebhookForm::EventPlatform {
        retries: vec![Duration::ZERO; 3],
    };
    let receiver = Receiver::new(&[200, 404]).await;
    let deliveries = receiver.webhook(form()).deliver(&events(5)).await;
    assert_eq!(deliveries.len(), 2);
    assert_eq!(deliveries[1].outcome, Outcome::Suspended(404));
    let receiver = Receiver::new(&[400]).await;
    let deliveries = receiver.webhook(form()).deliver(&events(2)).await;
    assert_eq!((deliveries[0].attempts, deliveries.len()), (1, 2));
    assert_eq!(deliveries[1].outcome, Outcome::Accepted);
}

#[tokio::test]
async fn nobody_there_is_a_lost_event() {
    let webhook = Webhook {
        url: "https://example.test/".to_owned(),
        secret: String::new(),
        form: WebhookForm::EventsApi,
    };
    let deliveries = webhook.deliver(&events(1)).await;
    assert!(
        matches!(&deliveries[0].outcome, Outcome::Lost(reason) if reason.contains("no plain http address"))
    );
    let waits: Vec<u64> = match WebhookForm::event_platform() {
        WebhookForm::EventPlatform { retries } => retries.iter().map(Duration::as_secs).collect(),
        WebhookForm::EventsApi => vec![],
    };
    assert_eq!(waits, [300, 600, 1200]);
}
