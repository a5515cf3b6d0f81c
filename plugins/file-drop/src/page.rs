//! A page in the making: records are taken from a file until it is full.

use crossdock_sdk::prelude::{BatchBuilder, Budget, Fault, Unreadable};

use crate::layout::{Layout, Skipper, Step, View};
use crate::window::Window;

/// How much of an oversized record goes into its dead letter.
const SHOWN: usize = 64 * 1024;

/// The file that is being read.
pub(crate) struct Current<L: Layout> {
    pub(crate) window: Window,
    pub(crate) stream: String,
    pub(crate) lines: u64,
    pub(crate) note: String,
    pub(crate) skipping: Option<Skipping<L>>,
}

/// A record that is too long: it is run over without being kept.
pub(crate) struct Skipping<L: Layout> {
    pub(crate) skipper: L::Skipper,
    pub(crate) offset: u64,
    pub(crate) lines: u64,
    pub(crate) start: Vec<u8>,
}

/// A page in the making.
pub(crate) struct Draft {
    pub(crate) records: Option<BatchBuilder>,
    pub(crate) unreadable: Vec<Unreadable>,
    pub(crate) unreadable_bytes: usize,
    pub(crate) budget: Budget,
    pub(crate) deadline: u64,
    /// The next record belongs to another stream.
    pub(crate) turned: bool,
}

impl Draft {
    pub(crate) fn is_empty(&self) -> bool {
        self.records.as_ref().is_none_or(BatchBuilder::is_empty) && self.unreadable.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        let (records, bytes) = self
            .records
            .as_ref()
            .map_or((0, 0), |records| (records.len(), records.bytes()));
        records + self.unreadable.len() >= self.budget.records
            || bytes + self.unreadable_bytes >= self.budget.bytes
    }

    pub(crate) fn is_late(&self) -> bool {
        crossdock_sdk::clock::now_ms() >= self.deadline
    }

    pub(crate) fn builder(&self, stream: &str) -> BatchBuilder {
        let (records, bytes) = (
            self.budget.records.min(65_536),
            self.budget.bytes.min(4 << 20),
        );
        BatchBuilder::json(stream).with_capacity(records, bytes)
    }

    pub(crate) fn unreadable(&mut self, data: Vec<u8>, fault: Fault) {
        self.unreadable_bytes += data.len();
        self.unreadable.push(Unreadable { data, fault });
    }
}

/// Takes records until the page is full or the text runs out. `false`: more text is needed.
pub(crate) fn take<L: Layout>(
    current: &mut Current<L>,
    layout: &mut L,
    draft: &mut Draft,
    mut records: BatchBuilder,
    longest: usize,
) -> bool {
    // A line end may follow the longest record. Cutting the text here makes what is too long independent of how the
    // file happens to arrive.
    let limit = longest.saturating_add(2);
    let progressed = loop {
        let window = &current.window;
        let whole = window.text();
        if whole.is_empty() {
            break false;
        }
        let text = whole.get(..limit).unwrap_or(whole);
        let ended = window.ended() && text.len() == whole.len();
        let view = View {
            text,
            valid: window.valid(),
            ended,
            path: window.path(),
            line: current.lines + 1,
        };
        let (used, lines, full) = match layout.step(view, &mut records) {
            Step::More if text.len() < whole.len() => {
                let start = text.get(..text.len().min(SHOWN)).unwrap_or(text).to_vec();
                let (offset, lines) = (window.offset(), current.lines);
                current.skipping = Some(Skipping {
                    skipper: layout.skipper(),
                    offset,
                    lines,
                    start,
                });
                break true;
            }
            Step::More => break false,
            Step::Turn(stream) => {
                let fresh = records.is_empty() && draft.unreadable.is_empty();
                current.stream = stream;
                if !fresh {
                    draft.turned = true;
                    break true;
                }
                records = draft.builder(&current.stream);
                continue;
            }
            Step::Skip { used, lines } => (used, lines, false),
            Step::Record { used, lines } => {
                let full = records.len() + draft.unreadable.len() >= draft.budget.records
                    || records.bytes() + draft.unreadable_bytes >= draft.budget.bytes;
                (used, lines, full)
            }
            Step::Unreadable { used, lines, fault } => {
                draft.unreadable(text.get(..used).unwrap_or(text).to_vec(), fault);
                (used, lines, true)
            }
        };
        current.window.consume(used);
        current.lines += lines;
        if full {
            break true;
        }
    };
    draft.records = Some(records);
    progressed
}

/// Runs on over a record that is too long. `false`: more text is needed.
pub(crate) fn skip<L: Layout>(current: &mut Current<L>, layout: &mut L, draft: &mut Draft) -> bool {
    let Some(skipping) = &mut current.skipping else {
        return true;
    };
    let ended = current.window.ended();
    let step = skipping.skipper.skip(current.window.text(), ended);
    current.window.consume(step.used);
    current.lines += step.lines;
    if !step.done && !ended {
        return false;
    }
    let length = current.window.offset() - skipping.offset;
    let mut message =
        format!("a record of {length} bytes is longer than `max-record-bytes` allows");
    if let Some(reason) = skipping.skipper.fault_at_end().filter(|_| !step.done) {
        message = format!("{message}; {reason}");
    }
    if length > SHOWN as u64 {
        message = format!("{message} (its first {SHOWN} bytes are kept)");
    }
    let fault =
        Fault::permanent(message).at(format!("{}:{}", current.window.path(), skipping.lines + 1));
    let start = std::mem::take(&mut skipping.start);
    current.skipping = None;
    layout.skipped();
    draft.unreadable(start, fault);
    true
}
