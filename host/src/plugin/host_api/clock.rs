//! `clock`: the time of day.

use std::time::{SystemTime, UNIX_EPOCH};

use super::{super::state::State, contract::clock};

impl clock::Host for State {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        // A clock set before 1970 reads as 1970.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
