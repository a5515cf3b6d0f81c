//! A stand-in for the host, one per test thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::http::{Error as HttpError, Request, Response};
use crate::log::Level;

type OnHttp = Rc<dyn Fn(&Request) -> Result<Response, HttpError>>;

/// What the stand-in knows.
#[derive(Default)]
struct State {
    logs: Vec<(Level, String)>,
    counters: BTreeMap<String, u64>,
    gauges: BTreeMap<String, f64>,
    tables: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    denied: Vec<String>,
    requests: Vec<Request>,
    on_http: Option<OnHttp>,
    now_ms: u64,
    random: u64,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// What the plugin imports, answered by the test: tables in memory, HTTP by a closure, a clock that stands still.
///
/// There is one per thread, and each test has a thread of its own. Without `Host::new()` a plugin finds empty tables,
/// no server, and the time 0.
#[derive(Debug)]
pub struct Host {
    /// Bound to the thread it was made on.
    here: std::marker::PhantomData<Rc<()>>,
}

impl Host {
    /// Starts afresh: everything an earlier test of this thread left is forgotten.
    #[allow(clippy::new_without_default, reason = "it has an effect")]
    pub fn new() -> Self {
        STATE.set(State::default());
        Self {
            here: std::marker::PhantomData,
        }
    }

    /// A table, made when it is not there.
    pub fn table(&self, name: &str) -> HostTable {
        STATE.with_borrow_mut(|state| {
            state.tables.entry(name.to_owned()).or_default();
        });
        HostTable {
            name: name.to_owned(),
        }
    }

    /// Makes a table one that was not granted.
    pub fn deny_table(&self, name: &str) {
        STATE.with_borrow_mut(|state| state.denied.push(name.to_owned()));
    }

    /// Answers requests.
    pub fn on_http(&self, answer: impl Fn(&Request) -> Result<Response, HttpError> + 'static) {
        STATE.with_borrow_mut(|state| state.on_http = Some(Rc::new(answer)));
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        STATE.with_borrow(|state| state.requests.clone())
    }

    /// All lines so far.
    pub fn logs(&self) -> Vec<(Level, String)> {
        STATE.with_borrow(|state| state.logs.clone())
    }

    /// A counter.
    pub fn counter(&self, name: &str) -> u64 {
        STATE.with_borrow(|state| state.counters.get(name).copied().unwrap_or(0))
    }

    /// A gauge.
    pub fn gauge(&self, name: &str) -> Option<f64> {
        STATE.with_borrow(|state| state.gauges.get(name).copied())
    }

    /// Sets the clock, in milliseconds since 1970.
    pub fn set_clock(&self, now_ms: u64) {
        STATE.with_borrow_mut(|state| state.now_ms = now_ms);
    }

    /// Sets where random numbers start: they are the same in each run.
    pub fn seed(&self, seed: u64) {
        STATE.with_borrow_mut(|state| state.random = seed);
    }
}

/// A table of the stand-in.
#[derive(Debug, Clone)]
pub struct HostTable {
    name: String,
}

impl HostTable {
    /// Stores an entry.
    pub fn insert(&self, key: impl Into<String>, value: impl Into<Vec<u8>>) {
        self.with(|table| table.insert(key.into(), value.into()));
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.with(|table| table.get(key).cloned())
    }

    /// All entries in order.
    pub fn entries(&self) -> Vec<(String, Vec<u8>)> {
        self.with(|table| {
            table
                .iter()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect()
        })
    }

    fn with<R>(&self, call: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> R) -> R {
        STATE.with_borrow_mut(|state| call(state.tables.entry(self.name.clone()).or_default()))
    }
}

/// The imports.
pub(crate) mod calls {
    use super::{HttpError, Level, Request, STATE, State};
    use crate::bindings::host::crossdock::plugin::{
        http_client, plugin_types::Packed, tables::TableError,
    };
    use crate::table;

    /// Limits of the contract.
    const MAX_KEY: usize = 512;
    const MAX_VALUE: usize = 64 * 1024;

    pub(crate) fn log(level: Level, message: &str) {
        STATE.with_borrow_mut(|state| state.logs.push((level, message.to_owned())));
    }

    pub(crate) fn count(name: &str, delta: u64) {
        STATE.with_borrow_mut(|state| *state.counters.entry(name.to_owned()).or_default() += delta);
    }

    pub(crate) fn gauge(name: &str, value: f64) {
        STATE.with_borrow_mut(|state| {
            state.gauges.insert(name.to_owned(), value);
        });
    }

    fn granted(state: &State, name: &str) -> Result<(), TableError> {
        if state.denied.iter().any(|denied| denied == name) {
            return Err(TableError::Denied(format!("table `{name}` is not granted")));
        }
        Ok(())
    }

    fn items(packed: &Packed) -> Result<Vec<&[u8]>, TableError> {
        match table::unpack(packed) {
            Ok(items) => Ok(items.collect()),
            Err(error) => Err(TableError::Invalid(error.to_string())),
        }
    }

    fn key(bytes: &[u8]) -> Result<&str, TableError> {
        match std::str::from_utf8(bytes) {
            Ok(key) if key.len() <= MAX_KEY => Ok(key),
            Ok(_) => Err(TableError::Invalid(format!(
                "a key is longer than {MAX_KEY} bytes"
            ))),
            Err(_) => Err(TableError::Invalid("a key is no UTF-8".to_owned())),
        }
    }

    pub(crate) fn get_many(table: &str, keys: &Packed) -> Result<Packed, TableError> {
        STATE.with_borrow(|state| {
            granted(state, table)?;
            let table = state.tables.get(table);
            let mut values = Vec::new();
            for item in items(keys)? {
                let key = key(item)?;
                values.push(
                    table
                        .and_then(|table| table.get(key))
                        .map_or(&b""[..], Vec::as_slice),
                );
            }
            Ok(table::pack(values))
        })
    }

    pub(crate) fn find(
        table: &str,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Packed, TableError> {
        STATE.with_borrow(|state| {
            granted(state, table)?;
            let entries = state.tables.get(table).into_iter().flatten();
            let found = entries
                .filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after)
                .take(limit as usize)
                .flat_map(|(key, value)| [key.as_bytes(), value.as_slice()]);
            Ok(table::pack(found))
        })
    }

    pub(crate) fn put(table: &str, entries: &Packed) -> Result<(), TableError> {
        STATE.with_borrow_mut(|state| {
            granted(state, table)?;
            let items = items(entries)?;
            if !items.len().is_multiple_of(2) {
                return Err(TableError::Invalid(
                    "keys and values do not alternate".to_owned(),
                ));
            }
            for pair in items.chunks_exact(2) {
                key(pair[0])?;
                if pair[1].len() > MAX_VALUE {
                    return Err(TableError::Invalid(format!(
                        "a value is larger than {MAX_VALUE} bytes"
                    )));
                }
            }
            let table = state.tables.entry(table.to_owned()).or_default();
            for pair in items.chunks_exact(2) {
                let key = key(pair[0])?.to_owned();
                if pair[1].is_empty() {
                    table.remove(&key);
                } else {
                    table.insert(key, pair[1].to_vec());
                }
            }
            Ok(())
        })
    }

    pub(crate) fn send(
        request: http_client::Request,
    ) -> Result<http_client::Response, http_client::HttpError> {
        let request = Request::from_wit(request);
        let answer = STATE.with_borrow_mut(|state| {
            state.requests.push(request.clone());
            state.on_http.clone()
        });
        // The closure runs outside the borrow: it may look at the host.
        let Some(answer) = answer else {
            let reason = format!(
                "no server in this test: call `host.on_http` to answer {}",
                request.url()
            );
            return Err(http_client::HttpError::Unreachable(reason));
        };
        match answer(&request) {
            Ok(response) => Ok(http_client::Response {
                status: response.status,
                headers: response.headers,
                body: response.body,
            }),
            Err(HttpError::Denied(text)) => Err(http_client::HttpError::Denied(text)),
            Err(HttpError::Invalid(text)) => Err(http_client::HttpError::Invalid(text)),
            Err(HttpError::Unauthenticated(text)) => {
                Err(http_client::HttpError::Unauthenticated(text))
            }
            Err(HttpError::Unreachable(text)) => Err(http_client::HttpError::Unreachable(text)),
            Err(HttpError::TooLarge(text)) => Err(http_client::HttpError::TooLarge(text)),
        }
    }

    pub(crate) fn send_all(
        requests: Vec<http_client::Request>,
    ) -> Vec<Result<http_client::Response, http_client::HttpError>> {
        requests.into_iter().map(send).collect()
    }

    pub(crate) fn now_ms() -> u64 {
        STATE.with_borrow(|state| state.now_ms)
    }

    /// `SplitMix64`: the same numbers in each run.
    pub(crate) fn next_u64() -> u64 {
        STATE.with_borrow_mut(|state| {
            state.random = state.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state.random ^ (state.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        })
    }
}
