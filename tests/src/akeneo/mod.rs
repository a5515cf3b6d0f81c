//! The Akeneo stand-in: an HTTP server that behaves like the documented REST API, with faults on demand.
//!
//! ```no_run
//! use crossdock_tests::akeneo::{AkeneoServer, Fault, FaultKind, Options};
//!
//! let server = AkeneoServer::start(Options::generated(100, 1))?;
//! server.fault(Fault::new("products", FaultKind::RetryAfter(1)).times(2));
//! println!("{} {:?}", server.base_url(), server.credentials());
//! # Ok::<(), crossdock_tests::akeneo::StartError>(())
//! ```
//!
//! It runs on a runtime of its own, so it can be started from any test, async or not, and it stops when dropped. What it
//! leaves out of the API: creating by POST, filters on values and on completeness, assets, reference entity records, jobs, and
//! what needs a user interface. A request past the offset limit, a forged cursor, a stale token and so on are refused as
//! documented.

mod auth;
mod error;
mod fault;
mod guard;
mod http;
mod lines;
mod present;
mod query;
mod routes;
mod search;
mod webhook;
mod write;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use self::auth::Tokens;
pub use self::fault::{Fault, FaultKind, FaultSyntax, Request};
use self::fault::{Journal, Plan};
pub use self::http::{HttpError, Reply, send};
use self::present::Attributes;
pub use self::webhook::{Delivery, Outcome, Webhook, WebhookForm, sign};
use self::write::Writer;
use crate::catalogue::{
    Catalogue, Change, Expected, FixtureError, Fixtures, Generated, Kind, Store,
};

/// The token endpoint.
pub const TOKEN_PATH: &str = "/api/oauth/v1/token";
/// What all other endpoints begin with.
pub const REST_PATH: &str = "/api/rest/v1";

/// The one client and the one user that the stand-in knows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Credentials {
    /// Sent with Basic to the token endpoint.
    pub client_id: String,
    /// Sent with Basic to the token endpoint.
    pub secret: String,
    /// Sent in the body.
    pub username: String,
    /// Sent in the body.
    pub password: String,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            client_id: "standin_client".to_owned(),
            secret: "standin_secret".to_owned(),
            username: "standin_user".to_owned(),
            password: "standin_password".to_owned(),
        }
    }
}

/// Beyond these the answer is 429.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls at the same time; Akeneo allows 4 a connection.
    pub concurrent: Option<usize>,
    /// Calls within any second; Akeneo allows 100.
    pub per_second: Option<usize>,
    /// Seconds for the `Retry-After` of these 429s; without, the header is missing.
    pub retry_after: Option<u64>,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Self = Self {
        concurrent: None,
        per_second: None,
        retry_after: None,
    };
    /// What Akeneo documents.
    pub const DOCUMENTED: Self = Self {
        concurrent: Some(4),
        per_second: Some(100),
        retry_after: Some(1),
    };
}

/// What to serve and how.
pub struct Options {
    /// The items.
    pub catalogue: Box<dyn Catalogue>,
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Who may ask for tokens.
    pub credentials: Credentials,
    /// How long an access token is good for; Akeneo: one hour.
    pub token_life: Duration,
    /// How long a refresh token is good for; Akeneo: 14 days.
    pub refresh_life: Duration,
    /// Off unless set, so that speed is not measured against a brake.
    pub limits: Limits,
    /// Whether products and sub models show what they inherit, as Akeneo does. Without, each shows its own values
    /// only, so that a mapping has to join them.
    pub inherited: bool,
    /// Collections that the user may not read: 403.
    pub forbidden: Vec<Kind>,
    /// Faults from the start.
    pub faults: Vec<Fault>,
}

impl Options {
    /// Serves that catalogue with everything else as Akeneo has it, and without limits.
    pub fn new(catalogue: impl Catalogue + 'static) -> Self {
        Self {
            catalogue: Box::new(catalogue),
            port: 0,
            credentials: Credentials::default(),
            token_life: Duration::from_hours(1),
            refresh_life: Duration::from_hours(14 * 24),
            limits: Limits::NONE,
            inherited: true,
            forbidden: vec![],
            faults: vec![],
        }
    }

    /// A generated catalogue with that many products (variants and simple ones).
    pub fn generated(products: usize, seed: u64) -> Self {
        Self::new(Generated::new(products, seed))
    }

    /// A folder of Akeneo CSV files.
    pub fn fixtures(folder: impl Into<PathBuf>) -> Result<Self, FixtureError> {
        Ok(Self::new(Fixtures::read(&folder.into())?))
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken, or listening is not allowed.
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Listen {
        /// The port asked for.
        port: u16,
        /// What the system says.
        source: std::io::Error,
    },
    /// No thread or no runtime.
    #[error("cannot start the server's runtime: {0}")]
    Runtime(std::io::Error),
}

/// What the request handlers share.
struct App {
    store: Store,
    attributes: Attributes,
    tokens: Tokens,
    plan: Plan,
    journal: Journal,
    rate: guard::Rate,
    limits: Limits,
    forbidden: Vec<Kind>,
    base_url: String,
    /// Seconds since 1970 to use instead of the system's time; negative = the system's.
    clock: AtomicI64,
}

impl App {
    fn now(&self) -> i64 {
        match self.clock.load(Ordering::Relaxed) {
            fixed @ 0.. => fixed,
            _ => jiff::Timestamp::now().as_second(),
        }
    }

    fn writer(&self) -> Writer<'_> {
        Writer {
            store: &self.store,
            attributes: &self.attributes,
            now: self.now(),
        }
    }

    fn change(&self, kind: Kind, item: &Value) -> Result<Change, String> {
        let change = item.as_object().ok_or("the change is no object")?;
        let code = change.get(kind.key()).and_then(Value::as_str);
        let code = code.ok_or_else(|| format!("the change has no `{}`", kind.key()))?;
        self.writer()
            .patch(kind, code, change)
            .map_err(|error| error.fields().to_string())
    }
}

/// A running stand-in; dropping it stops it.
pub struct AkeneoServer {
    app: Arc<App>,
    credentials: Credentials,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AkeneoServer {
    /// Starts a server on 127.0.0.1. When this returns it answers.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen {
            port: options.port,
            source,
        };
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, options.port)))
            .map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let store = Store::new(options.catalogue, options.inherited);
        let app = Arc::new(App {
            attributes: Attributes::of(&store),
            store,
            tokens: Tokens::new(
                options.credentials.clone(),
                options.token_life,
                options.refresh_life,
            ),
            plan: Plan::default(),
            journal: Journal::default(),
            rate: guard::Rate::default(),
            limits: options.limits,
            forbidden: options.forbidden,
            base_url: format!("http://{address}"),
            clock: AtomicI64::new(-1),
        });
        options
            .faults
            .into_iter()
            .for_each(|fault| app.plan.add(fault));
        let server =
            guard::Server::prepare(listener, Arc::clone(&app)).map_err(StartError::Runtime)?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("akeneo-standin".to_owned())
            .spawn(move || server.serve(stopped))
            .map_err(StartError::Runtime)?;
        Ok(Self {
            app,
            credentials: options.credentials,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.app.base_url
    }

    /// Who may ask for tokens.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The catalogue as it is now, changes included.
    pub fn catalogue(&self) -> &Store {
        &self.app.store
    }

    /// What a correct integration makes of the catalogue as it is now.
    pub fn expected(&self) -> Expected {
        self.app.store.expected()
    }

    /// Plans a fault. Faults of one path happen in the order they were planned.
    pub fn fault(&self, fault: Fault) {
        self.app.plan.add(fault);
    }

    /// Forgets the faults that have not happened yet.
    pub fn clear_faults(&self) {
        self.app.plan.clear();
    }

    /// Changes an item as PATCH does (see [`Kind::key`] for the field that names it), without a request. The error is what the
    /// API would have answered.
    pub fn change(&self, kind: Kind, item: &Value) -> Result<Change, String> {
        self.app.change(kind, item)
    }

    /// Makes all access tokens expired ones.
    pub fn expire_tokens(&self) {
        self.app.tokens.expire();
    }

    /// Makes all refresh tokens invalid.
    pub fn revoke_refresh_tokens(&self) {
        self.app.tokens.revoke_refresh();
    }

    /// Stops the clock at that second since 1970 (`updated` of changes), or lets it run again with `None`.
    pub fn set_clock(&self, seconds: Option<u32>) {
        self.app
            .clock
            .store(seconds.map_or(-1, i64::from), Ordering::Relaxed);
    }

    /// The answered requests in order of their answers, at most the newest 20,000.
    pub fn requests(&self) -> Vec<Request> {
        self.app.journal.requests()
    }

    /// How many requests a path got, by the rule of [`Fault::path`].
    pub fn count(&self, path: &str) -> usize {
        self.app.journal.count(path)
    }

    /// The most requests that ran at the same time.
    pub fn max_concurrent(&self) -> usize {
        self.app.journal.most()
    }

    /// Forgets the requests so far.
    pub fn clear_requests(&self) {
        self.app.journal.clear();
    }
}

impl Drop for AkeneoServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server's thread has been printed; there is nobody to hand it to.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
