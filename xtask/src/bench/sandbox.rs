//! The price of the sandbox: the same component with and without what makes it safe.

use super::{
    Bench,
    table::{Aim, Quantity, Row, median, ratio},
    transform::{self, COMPONENT, nanos},
};

/// Without limits, accounting and interruption.
const BARE: &str = "bare";
/// The same with code that can be interrupted.
const EPOCHS: &str = "epochs";

/// Both sizes of records.
pub(crate) fn rows(bench: &Bench) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for bytes in [200, 2000] {
        let by = [BARE, EPOCHS, COMPONENT];
        let (candidates, actual) = transform::measure(bench, &by, None, bytes)?;
        let bare = nanos(&candidates, BARE).unwrap_or_default();
        let mut row = |by: &str, what: &str, aim| {
            let ours = nanos(&candidates, by).unwrap_or_default();
            rows.push(Row {
                group: "sandbox",
                what: format!("{what}, records of {actual:.0} B"),
                measured: Quantity::Nanos(median(ours.iter().copied())),
                beside: Some((
                    "without".to_owned(),
                    Quantity::Nanos(median(bare.iter().copied())),
                )),
                ratio: Some(ratio(ours, bare)),
                aim,
                note: String::new(),
            });
        };
        row(
            COMPONENT,
            "transform with limits and interruption",
            Some(Aim::Ratio(1.1)),
        );
        row(EPOCHS, "of which code that can be interrupted", None);
    }
    Ok(rows)
}
