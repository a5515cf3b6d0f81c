//! `random`: numbers from the operating system.

use super::{
    super::{
        senses::Senses,
        state::State,
        tape::{Given, Import},
    },
    contract::random,
};

impl random::Host for State {
    fn next_u64(&mut self) -> wasmtime::Result<u64> {
        if let Some(number) = self.senses.as_ref().map(Senses::random) {
            return Ok(self.told(
                || Import::Random,
                |_| number,
                Given::Number,
                |seen| seen.number(number),
            ));
        }
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)
            .map_err(|error| wasmtime::Error::msg(format!("no random numbers: {error}")))?;
        Ok(u64::from_le_bytes(bytes))
    }
}
