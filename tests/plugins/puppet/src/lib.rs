//! A plugin that does what its config says when it meets the records that its config names: it traps, loops, lies or
//! waits. It is written against the raw bindings, since the SDK does not let a plugin lie.
//!
//! | act | what happens |
//! |---|---|
//! | `trap` | the call panics |
//! | `loop` | the call never returns |
//! | `memory` | the call takes memory until there is none |
//! | `chatter` | the call logs and prints 100,000 long lines, and goes on |
//! | `gate` | the call asks `/gate?key=KEY` of its connection, and goes on when that answers |
//! | `wild-index` | an index that the batch does not have |
//! | `twice` | the same index twice |
//! | `both` | the record is rejected and passed on |
//! | `lose` | more records are said to be filtered than there were |
//! | `offsets` | a batch whose ends go down |
//! | `beyond` | a batch whose ends lie behind its data |
//! | `origin` | a record that came from a position which the batch does not have |
//! | `text` | a message that is no UTF-8 |
//! | `flood`, `flood-some` | more output than any host takes, or 8 MiB |
//! | `transient`, `permanent` | the record is rejected |
//! | `config` | the whole call fails with a config fault |
//! | `count` | the call counts `acts` up by 7 and sets `mood` to -1.5 |
//! | `tell-config` | the whole call fails with the config as it came |
//! | `fail` | the whole call fails with a permanent fault |
//! | `recurse` | the call calls itself for ever |
//! | `grow` | the call grows its memory until it gets no more, and goes on |
//! | `abort`, `exit` | the call ends the program |
//! | `mutter`, `bytes` | the call writes 6 MiB to standard output without a line break, or lines that are no text |
//! | `long-name` | a batch of a stream with a name of 1 MiB |
//! | `read`, `tcp`, `http`, ... with what they need | the call tries to get hold of something and fails with what came of it, see `reach.rs` and `hoard.rs` |
//! | `forget` (snapshot) | opened from it, it is another: it drops or rejects the first record of every batch |
//! | `garbage` (snapshot) | bytes that no `open` takes |
//! | `huge` (snapshot) | more bytes than a snapshot may have |

#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "the very things that a host must withstand"
)]

#[cfg(target_arch = "wasm32")]
mod acts;
#[cfg(target_arch = "wasm32")]
mod hoard;
#[cfg(target_arch = "wasm32")]
mod kinds;
#[cfg(target_arch = "wasm32")]
mod reach;

#[cfg(target_arch = "wasm32")]
crossdock_sdk::__manifest!("plugin.json");
