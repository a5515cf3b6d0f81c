//! Checks the promise that everything else rests on: opened from a snapshot, a plugin goes on exactly where it was.
//!
//! The checks panic with what differs: they are for tests.

use std::fmt::{Debug, Display};

use super::drive::{SinkDriver, SourceDriver, TransformerDriver};
use crate::batch::{Batch, Record};
use crate::fault::Fault;
use crate::sink::Sink;
use crate::source::{Budget, Page, Read, Source};
use crate::transformer::Transformer;

/// A record as it counts for a comparison.
type Row = (String, Vec<u8>, Vec<u8>, Vec<u8>, crate::Op);

fn rows<'b>(batches: impl IntoIterator<Item = &'b Batch>) -> Vec<Row> {
    let row = |record: Record<'_>| {
        (
            record.stream().to_owned(),
            record.key().to_vec(),
            record.headers().to_vec(),
            record.payload().to_vec(),
            record.op(),
        )
    };
    batches
        .into_iter()
        .flat_map(|batch| batch.records().map(row))
        .collect()
}

/// Runs one plugin's checks: with this config, cut after each of the steps in turn.
#[derive(Debug, Clone)]
pub struct Drive {
    config: String,
    budget: Budget,
}

impl Drive {
    /// Checks with this config.
    pub fn new(config: impl Display) -> Self {
        let budget = Budget {
            records: 3,
            ..Budget::default()
        };
        Self {
            config: config.to_string(),
            budget,
        }
    }

    /// Reads with this budget; without it, three records at a time.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// A source must give the same records and the same unreadable input, whether it is read at once or closed and
    /// opened from its snapshot after any page, also when the pages that were read behind the snapshot are lost. At
    /// its end it must go on with nothing. The system it reads must not change meanwhile.
    ///
    /// # Panics
    /// When it does not, or a call fails.
    #[allow(clippy::panic, clippy::expect_used, reason = "an assertion for tests")]
    pub fn source<S: Source>(&self) -> Vec<Page> {
        let mut whole = SourceDriver::<S>::open(&self.config, None).expect("open");
        let pages = whole.read_all(self.budget).expect("read");
        let end = whole.snapshot().expect("snapshot at the end");
        whole.close();
        for split in 0..=pages.len() {
            let mut first = SourceDriver::<S>::open(&self.config, None).expect("open");
            let mut seen: Vec<Page> = (0..split).map(|_| page(&mut first, self.budget)).collect();
            let snapshot = first.snapshot().expect("snapshot");
            // A crash: what was read behind the snapshot is lost, and `close` is not called.
            let _lost = first.read(self.budget);
            drop(first);
            let mut second = SourceDriver::<S>::open(&self.config, Some(&snapshot))
                .expect("open from the snapshot");
            second
                .committed(&snapshot)
                .expect("committed, after a crash");
            seen.extend(second.read_all(self.budget).expect("read"));
            second.close();
            assert_eq!(
                rows(seen.iter().map(|page| &page.records)),
                rows(pages.iter().map(|page| &page.records)),
                "other records after a snapshot behind {split} pages"
            );
            let unreadable = |pages: &[Page]| -> Vec<(Vec<u8>, Fault)> {
                let inputs = pages.iter().flat_map(|page| &page.unreadable);
                inputs
                    .map(|input| (input.data.clone(), input.fault.clone()))
                    .collect()
            };
            assert_eq!(
                unreadable(&seen),
                unreadable(&pages),
                "other unreadable input after a snapshot behind {split} pages"
            );
        }
        let mut again =
            SourceDriver::<S>::open(&self.config, Some(&end)).expect("open from the last snapshot");
        let more = again.read_all(self.budget).expect("read");
        assert!(
            rows(more.iter().map(|page| &page.records)).is_empty(),
            "opened from the snapshot at its end it reads records again"
        );
        pages
    }

    /// A transformer must give out the same, whether it runs at once or is replaced from its snapshot after any batch,
    /// also when batches behind the snapshot were worked on and lost.
    ///
    /// # Panics
    /// When it does not, or a call fails.
    #[allow(clippy::expect_used, reason = "an assertion for tests")]
    pub fn transformer<T: Transformer>(&self, batches: &[Batch]) -> Vec<Batch> {
        let run = |from: Option<&[u8]>, batches: &[Batch], finish: bool| {
            let mut driver = TransformerDriver::<T>::open(&self.config, from).expect("open");
            let mut out: Vec<Batch> = Vec::new();
            for batch in batches {
                out.extend(driver.apply(batch.clone()).expect("apply").batches);
            }
            if finish {
                out.extend(driver.finish().expect("finish"));
            }
            let snapshot = driver.snapshot().expect("snapshot");
            (out, snapshot)
        };
        let (whole, _) = run(None, batches, true);
        for split in 0..=batches.len() {
            let (before, rest) = batches.split_at(split);
            let (mut out, snapshot) = run(None, before, false);
            let _lost = run(Some(&snapshot), rest, false);
            out.extend(run(Some(&snapshot), rest, true).0);
            assert_eq!(
                rows(&out),
                rows(&whole),
                "other records after a snapshot behind {split} batches"
            );
        }
        whole
    }

    /// A sink must leave the same result, whether it runs at once or crashes after any batch and is opened from the
    /// snapshot before: what was written behind the snapshot is discarded, and `commit` may come twice.
    ///
    /// `fresh` makes an empty target, `result` reads what is in it.
    ///
    /// # Panics
    /// When it does not, or a call fails.
    #[allow(clippy::expect_used, reason = "an assertion for tests")]
    pub fn sink<S: Sink, R: PartialEq + Debug>(
        &self,
        batches: &[Batch],
        mut fresh: impl FnMut(),
        mut result: impl FnMut() -> R,
    ) -> R {
        fn write<S: Sink>(sink: &mut SinkDriver<S>, batches: &[Batch]) {
            for batch in batches {
                sink.write(batch.clone()).expect("write");
            }
        }
        fresh();
        let mut sink = SinkDriver::<S>::open(&self.config, None).expect("open");
        write(&mut sink, batches);
        sink.end().expect("the end of the run");
        let whole = result();
        for (split, committed) in
            (0..=batches.len()).flat_map(|split| [(split, false), (split, true)])
        {
            fresh();
            let mut first = SinkDriver::<S>::open(&self.config, None).expect("open");
            let (before, rest) = batches.split_at(split);
            write(&mut first, before);
            let snapshot = first.snapshot().expect("snapshot");
            if committed {
                first.commit(&snapshot).expect("commit");
            }
            write(&mut first, rest);
            // A crash: no `finish`, no `close`.
            drop(first);
            let mut second = SinkDriver::<S>::open(&self.config, Some(&snapshot))
                .expect("open from the snapshot");
            second.commit(&snapshot).expect("commit, after a crash");
            write(&mut second, rest);
            second.end().expect("the end of the run");
            assert_eq!(
                result(),
                whole,
                "another result after a crash behind {split} batches (committed: {committed})"
            );
        }
        whole
    }
}

#[allow(clippy::panic, clippy::expect_used, reason = "an assertion for tests")]
fn page<S: Source>(source: &mut SourceDriver<S>, budget: Budget) -> Page {
    match source.read(budget).expect("read") {
        Read::Page(page) => page,
        other => panic!("the second time there are fewer pages: {other:?}"),
    }
}
