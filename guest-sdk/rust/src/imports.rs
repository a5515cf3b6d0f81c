//! The one place where calls leave the plugin: to the host in the sandbox, to [`crate::testing::Host`] elsewhere.

#[cfg(target_arch = "wasm32")]
mod inside {
    use crate::bindings::host::crossdock::plugin::{
        clock, http_client, log, metrics, plugin_types::Packed, random, tables,
    };
    use crate::log::Level;

    pub(crate) fn log(level: Level, message: &str) {
        let level = match level {
            Level::Trace => log::Level::Trace,
            Level::Debug => log::Level::Debug,
            Level::Info => log::Level::Info,
            Level::Warn => log::Level::Warn,
            Level::Error => log::Level::Error,
        };
        log::write(level, message);
    }

    pub(crate) fn count(name: &str, delta: u64) {
        metrics::count(name, delta);
    }

    pub(crate) fn gauge(name: &str, value: f64) {
        metrics::gauge(name, value);
    }

    pub(crate) fn get_many(table: &str, keys: &Packed) -> Result<Packed, tables::TableError> {
        tables::get_many(table, keys)
    }

    pub(crate) fn find(
        table: &str,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Packed, tables::TableError> {
        tables::find(table, prefix, after, limit)
    }

    pub(crate) fn put(table: &str, entries: &Packed) -> Result<(), tables::TableError> {
        tables::put(table, entries)
    }

    #[allow(
        clippy::needless_pass_by_value,
        reason = "as in the stand-in of tests, which keeps it"
    )]
    pub(crate) fn send(
        request: http_client::Request,
    ) -> Result<http_client::Response, http_client::HttpError> {
        http_client::send(&request)
    }

    #[allow(
        clippy::needless_pass_by_value,
        reason = "as in the stand-in of tests, which keeps it"
    )]
    pub(crate) fn send_all(
        requests: Vec<http_client::Request>,
    ) -> Vec<Result<http_client::Response, http_client::HttpError>> {
        http_client::send_all(&requests)
    }

    pub(crate) fn now_ms() -> u64 {
        clock::now_ms()
    }

    pub(crate) fn next_u64() -> u64 {
        random::next_u64()
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) use inside::*;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::host::calls::*;
