//! `random`: numbers from the operating system.

use super::{super::state::State, contract::random};

impl random::Host for State {
    fn next_u64(&mut self) -> wasmtime::Result<u64> {
        if let Some(senses) = &self.senses {
            return Ok(senses.random());
        }
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)
            .map_err(|error| wasmtime::Error::msg(format!("no random numbers: {error}")))?;
        Ok(u64::from_le_bytes(bytes))
    }
}
