//! Which places of the instrumented code were reached: counters that the compiler puts into the crates that
//! `cargo xtask fuzz` names. Without them there are none.

#![allow(
    unsafe_code,
    reason = "the counters of the instrumented code are plain memory that the compiler tells us about"
)]

use std::sync::{Mutex, PoisonError};

/// Begin and end of the counters of each module.
static COUNTERS: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// Called by each instrumented module before `main`.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    let mut counters = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    let range = (start as usize, stop as usize);
    if range.0 < range.1 && !counters.contains(&range) {
        counters.push(range);
    }
}

/// What was reached by any input so far.
#[derive(Default)]
pub(crate) struct Reached {
    /// For each place, one bit for each magnitude of how often it was reached.
    seen: Vec<u8>,
    places: usize,
}

impl Reached {
    /// Forgets what was counted before an input.
    pub(crate) fn reset() {
        each(|_, counter| *counter = 0);
    }

    /// Takes in what the last input has reached; says whether anything is new.
    pub(crate) fn take(&mut self) -> bool {
        let mut new = false;
        each(|at, counter| {
            if self.seen.len() <= at {
                self.seen.resize(at + 1, 0);
            }
            let magnitude = magnitude(*counter);
            if let Some(seen) = self.seen.get_mut(at)
                && *seen & magnitude == 0
            {
                self.places += usize::from(*seen == 0);
                *seen |= magnitude;
                new = true;
            }
        });
        new
    }

    /// How many places were reached.
    pub(crate) fn places(&self) -> usize {
        self.places
    }
}

/// Twice is new, a hundred and two times is not.
fn magnitude(count: u8) -> u8 {
    match count {
        0..=1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128.. => 128,
    }
}

/// Calls with the number and the counter of each place that is not zero.
fn each(mut call: impl FnMut(usize, &mut u8)) {
    let counters = COUNTERS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut first = 0;
    for &(start, stop) in counters.iter() {
        let length = stop - start;
        // SAFETY: the compiler lays the counters of a module out from `start` to `stop`, they live as long as the
        // program, and the only other code that touches them is the target, which does not run now.
        let counters = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, length) };
        let mut at = 0;
        for chunk in counters.chunks_mut(64) {
            // Nearly all of them are zero.
            if chunk.iter().any(|counter| *counter != 0) {
                for (offset, counter) in chunk.iter_mut().enumerate() {
                    if *counter != 0 {
                        call(first + at + offset, counter);
                    }
                }
            }
            at += chunk.len();
        }
        first += length;
    }
}
