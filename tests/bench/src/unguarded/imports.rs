//! What plugins import: nothing is checked, counted or bounded.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crossdock::engine::stage::TableWrite;
use futures_util::{StreamExt as _, stream};
use reqwest::{Client, Method, Url};
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};

use super::{
    World,
    contract::host::crossdock::plugin::{
        clock, http_client,
        http_client::{HttpError, Request, Response},
        log, metrics,
        plugin_types::{self, Packed},
        tables::{self, TableError},
    },
};
use crate::Failure;

/// Requests at a time, as the connection of the job has it.
const AT_A_TIME: usize = 4;

/// A remote system whose token is known.
pub(crate) struct Http {
    pub(crate) client: Client,
    pub(crate) base: Url,
    pub(crate) token: String,
}

impl Http {
    /// A client as plain as it can be. Only `http` is spoken, and yet there is none without cryptography.
    pub(crate) fn client() -> Result<Client, Failure> {
        // Whoever installs one first wins.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().tls_certs_only([]);
        Ok(client.timeout(Duration::from_secs(30)).build()?)
    }

    async fn exchange(&self, request: Request) -> Result<Response, Failure> {
        let url = self.base.join(&request.url)?;
        let method = Method::from_bytes(request.method.as_bytes())?;
        let mut outgoing = self.client.request(method, url).bearer_auth(&self.token);
        for (name, value) in request.headers {
            outgoing = outgoing.header(name, value);
        }
        let response = outgoing.body(request.body).send().await?;
        let header =
            |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
                Some((name.to_string(), value.to_str().ok()?.to_owned()))
            };
        Ok(Response {
            status: response.status().as_u16(),
            headers: response.headers().iter().filter_map(header).collect(),
            body: response.bytes().await?.into(),
        })
    }
}

/// Data of one store.
pub(super) struct State {
    wasi: WasiCtx,
    resources: ResourceTable,
    world: Arc<World>,
    pub(super) writes: Vec<TableWrite>,
    /// The same by table and key, for reads: empty where an entry was removed.
    own: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

impl State {
    pub(super) fn new(world: &Arc<World>) -> wasmtime::Result<Self> {
        let mut wasi = WasiCtxBuilder::new();
        for (folder, name) in &world.folders {
            wasi.preopened_dir(folder, name, FsPerms::ReadWrite)?;
        }
        Ok(Self {
            wasi: wasi.build(),
            resources: ResourceTable::new(),
            world: Arc::clone(world),
            writes: Vec::new(),
            own: BTreeMap::new(),
        })
    }

    /// Hands the writes to the engine.
    pub(super) fn take_writes(&mut self) -> Vec<TableWrite> {
        self.own.clear();
        std::mem::take(&mut self.writes)
    }

    fn get(&self, table: &str, keys: &Packed) -> Result<Packed, Failure> {
        let keys = texts(keys)?;
        let own = self.own.get(table);
        let known = |key: &&str| own.and_then(|own| own.get(*key));
        let asked: Vec<&str> = keys
            .iter()
            .filter(|key| known(key).is_none())
            .copied()
            .collect();
        let mut stored = self.world.tables.get_many(table, &asked)?.into_iter();
        let mut packed = Packed {
            ends: Vec::with_capacity(keys.len()),
            data: Vec::new(),
        };
        for key in &keys {
            match known(key) {
                Some(value) => packed.data.extend_from_slice(value),
                None => packed
                    .data
                    .extend(stored.next().flatten().unwrap_or_default()),
            }
            packed.ends.push(u32::try_from(packed.data.len())?);
        }
        Ok(packed)
    }

    fn entries(
        &self,
        table: &str,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Packed, Failure> {
        let own = self.own.get(table).into_iter().flatten();
        let own = own.filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
        let own: Vec<(&String, &Vec<u8>)> = own.collect();
        // So many more that enough are left when all of the own ones are removals.
        let stored = self
            .world
            .tables
            .find(table, prefix, after, limit + own.len())?;
        let mut found: BTreeMap<String, Vec<u8>> = stored.into_iter().collect();
        for (key, value) in own {
            found.insert(key.clone(), value.clone());
        }
        let mut packed = Packed {
            ends: Vec::new(),
            data: Vec::new(),
        };
        let left = found.iter().filter(|(_, value)| !value.is_empty());
        for (key, value) in left.take(limit) {
            for item in [key.as_bytes(), value] {
                packed.data.extend_from_slice(item);
                packed.ends.push(u32::try_from(packed.data.len())?);
            }
        }
        Ok(packed)
    }

    fn set(&mut self, table: &str, entries: &Packed) -> Result<(), Failure> {
        let name: Arc<str> = table.into();
        let own = self.own.entry(table.to_owned()).or_default();
        let items = items(entries)?;
        for [key, value] in items.as_chunks().0 {
            let key = std::str::from_utf8(key)?.to_owned();
            own.insert(key.clone(), value.to_vec());
            self.writes.push(TableWrite {
                table: Arc::clone(&name),
                key,
                value: Some(value.to_vec()).filter(|value| !value.is_empty()),
            });
        }
        Ok(())
    }
}

fn items(packed: &Packed) -> Result<Vec<&[u8]>, Failure> {
    let mut start = 0;
    let item = |&end: &u32| {
        let item = packed.data.get(start..end as usize);
        start = end as usize;
        item.ok_or_else(|| "a packed list is malformed".into())
    };
    packed.ends.iter().map(item).collect()
}

fn texts(packed: &Packed) -> Result<Vec<&str>, Failure> {
    let text = |item| Ok(std::str::from_utf8(item)?);
    items(packed)?.into_iter().map(text).collect()
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.resources,
        }
    }
}

impl plugin_types::Host for State {}

impl log::Host for State {
    fn write(&mut self, _: log::Level, _: String) {}
}

impl metrics::Host for State {
    fn count(&mut self, _: String, _: u64) {}

    fn gauge(&mut self, _: String, _: f64) {}
}

impl clock::Host for State {
    fn now_ms(&mut self) -> u64 {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

impl tables::Host for State {
    fn get_many(&mut self, table: String, keys: Packed) -> Result<Packed, TableError> {
        self.get(&table, &keys)
            .map_err(|error| TableError::Failed(error.to_string()))
    }

    fn find(
        &mut self,
        table: String,
        prefix: String,
        after: String,
        limit: u32,
    ) -> Result<Packed, TableError> {
        self.entries(&table, &prefix, &after, limit as usize)
            .map_err(|error| TableError::Failed(error.to_string()))
    }

    fn put(&mut self, table: String, entries: Packed) -> Result<(), TableError> {
        self.set(&table, &entries)
            .map_err(|error| TableError::Failed(error.to_string()))
    }
}

impl http_client::Host for State {
    async fn send(&mut self, request: Request) -> Result<Response, HttpError> {
        exchange(self.world.http.as_deref(), request).await
    }

    async fn send_all(&mut self, requests: Vec<Request>) -> Vec<Result<Response, HttpError>> {
        let http = self.world.http.as_deref();
        stream::iter(requests)
            .map(|request| exchange(http, request))
            .buffered(AT_A_TIME)
            .collect()
            .await
    }
}

async fn exchange(http: Option<&Http>, request: Request) -> Result<Response, HttpError> {
    let Some(http) = http else {
        return Err(HttpError::Denied("there is no network here".to_owned()));
    };
    http.exchange(request)
        .await
        .map_err(|error| HttpError::Unreachable(error.to_string()))
}
