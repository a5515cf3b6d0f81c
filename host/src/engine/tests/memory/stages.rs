//! The stages.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use super::{Output2, Trouble, batch, payloads};
use crate::engine::{
    batch::{Batch, Builder, Form, Record},
    fault::{Fault, FaultKind},
    stage::*,
};

pub(in crate::engine::tests) struct MemoryOpener {
    pub(super) stage: &'static str,
    pub(super) identity: Identity,
    pub(super) records: Arc<AtomicU64>,
    pub(super) unreadable_every: u64,
    pub(super) endless: Arc<AtomicBool>,
    pub(super) trouble: Trouble,
    pub(super) stateful: bool,
    pub(super) map: Arc<dyn Fn(&Batch) -> Applied + Send + Sync>,
    pub(super) output: Arc<Mutex<BTreeMap<&'static str, Output2>>>,
    pub(super) acknowledged: Arc<AtomicU64>,
    pub(super) opened: Arc<Mutex<Vec<String>>>,
}

impl MemoryOpener {
    /// Whether an instance that is opened from a snapshot is another one than that which gave it.
    fn forgets(&self, stage: &str) -> bool {
        (self.trouble)(&format!("{stage}.forgets"), &[]).is_some()
    }

    fn opening(&self) -> Result<(), Fault> {
        self.opened.lock().unwrap().push(self.stage.into());
        (self.trouble)(&format!("{}.open", self.stage), &[]).map_or(Ok(()), Err)
    }
}

fn number(snapshot: Option<&[u8]>) -> u64 {
    snapshot.map_or(0, |s| String::from_utf8_lossy(s).parse().unwrap())
}

#[async_trait]
impl Opener<dyn Source> for MemoryOpener {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Source>, Fault> {
        self.opening()?;
        Ok(Box::new(Counter {
            next: number(snapshot),
            end: Arc::clone(&self.records),
            unreadable_every: self.unreadable_every,
            endless: Arc::clone(&self.endless),
            trouble: Arc::clone(&self.trouble),
            acknowledged: Arc::clone(&self.acknowledged),
            wear: Wear::default(),
        }))
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

struct Counter {
    next: u64,
    end: Arc<AtomicU64>,
    unreadable_every: u64,
    endless: Arc<AtomicBool>,
    trouble: Trouble,
    acknowledged: Arc<AtomicU64>,
    wear: Wear,
}

impl Instance for Counter {
    fn wear(&self) -> Wear {
        self.wear
    }
}

#[async_trait]
impl Source for Counter {
    async fn read(&mut self, budget: Budget) -> Result<Read, Fault> {
        tokio::task::yield_now().await;
        let is_endless = self.endless.load(Ordering::SeqCst);
        let end = self.end.load(Ordering::SeqCst);
        if self.next >= end {
            return Ok(if is_endless {
                Read::Idle(Duration::from_millis(1))
            } else {
                Read::End
            });
        }
        let to = (self.next + u64::from(budget.records)).min(end);
        let names: Vec<String> = (self.next..to).map(|n| n.to_string()).collect();
        if let Some(fault) = (self.trouble)("source.read", &names) {
            return Err(fault);
        }
        if (self.trouble)("source.unreadable", &names).is_some() {
            let nothing = Unreadable {
                data: Vec::new(),
                fault: Fault::new(FaultKind::Permanent, ""),
            };
            return Ok(Read::Page {
                records: batch("numbers", []),
                unreadable: vec![nothing; 10_001],
            });
        }
        let is_bad = |n: &u64| self.unreadable_every > 0 && n.is_multiple_of(self.unreadable_every);
        let records = batch(
            "numbers",
            (self.next..to)
                .filter(|n| !is_bad(n))
                .map(|n| n.to_string()),
        );
        let unreadable = (self.next..to)
            .filter(is_bad)
            .map(|n| Unreadable {
                data: n.to_string().into(),
                fault: Fault::new(FaultKind::Permanent, "ragged"),
            })
            .collect();
        self.wear.records += to - self.next;
        self.next = to;
        Ok(Read::Page {
            records,
            unreadable,
        })
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        Ok(self.next.to_string().into())
    }

    async fn committed(&mut self, snapshot: &[u8]) -> Result<(), Fault> {
        self.acknowledged
            .fetch_max(number(Some(snapshot)), Ordering::SeqCst);
        Ok(())
    }

    async fn close(&mut self) {}
}

#[async_trait]
impl Opener<dyn Transformer> for MemoryOpener {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Transformer>, Fault> {
        self.opening()?;
        Ok(Box::new(Mapper {
            seen: number(snapshot) + u64::from(snapshot.is_some() && self.forgets("map")),
            stateful: self.stateful,
            trouble: Arc::clone(&self.trouble),
            map: Arc::clone(&self.map),
            writes: Vec::new(),
            wear: Wear::default(),
        }))
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Stateless: whatever `map` says. Stateful: numbers the records that it has seen.
struct Mapper {
    seen: u64,
    stateful: bool,
    trouble: Trouble,
    map: Arc<dyn Fn(&Batch) -> Applied + Send + Sync>,
    writes: Vec<TableWrite>,
    wear: Wear,
}

impl Instance for Mapper {
    fn take_table_writes(&mut self) -> Vec<TableWrite> {
        std::mem::take(&mut self.writes)
    }

    fn wear(&self) -> Wear {
        self.wear
    }
}

#[async_trait]
impl Transformer for Mapper {
    fn mode(&self) -> Mode {
        if self.stateful {
            Mode::Stateful
        } else {
            Mode::Stateless
        }
    }

    async fn apply(&mut self, batch: &Batch) -> Result<Applied, Fault> {
        for _ in 0..fastrand::u32(..8) {
            tokio::task::yield_now().await;
        }
        let names = payloads(batch);
        for name in &names {
            self.writes.push(TableWrite {
                table: "seen".into(),
                key: name.clone(),
                value: Some(name.clone().into_bytes()),
            });
        }
        if let Some(fault) = (self.trouble)("map.apply", &names) {
            return Err(fault);
        }
        self.wear.records += batch.len() as u64;
        if !self.stateful {
            return Ok((self.map)(batch));
        }
        let mut builder = Builder::new("numbered", Form::Json);
        for (at, record) in (0_u32..).zip(batch.records()) {
            self.seen += 1;
            let payload = format!("{}:{}", self.seen, String::from_utf8_lossy(record.payload));
            builder.push(Record {
                payload: payload.as_bytes(),
                flags: at << 8,
                ..record
            });
        }
        Ok(Applied {
            output: Output::Replace(vec![builder.build()]),
            rejected: vec![],
            filtered: vec![],
        })
    }

    async fn finish(&mut self) -> Result<Vec<Batch>, Fault> {
        Ok(vec![batch("numbered", [format!("total {}", self.seen)])])
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        Ok(if self.stateful {
            self.seen.to_string().into()
        } else {
            Vec::new()
        })
    }

    async fn close(&mut self) {}
}

#[async_trait]
impl Opener<dyn Sink> for MemoryOpener {
    async fn open(&self, snapshot: Option<&[u8]>) -> Result<Box<dyn Sink>, Fault> {
        self.opening()?;
        let len = usize::try_from(number(snapshot)).unwrap();
        let mut outputs = self.output.lock().unwrap();
        let output = outputs.entry(self.stage).or_default();
        // Discards what came after the snapshot.
        output.durable.truncate(len);
        assert!(
            output.visible <= len,
            "what was visible is never taken back"
        );
        assert_eq!(
            output.durable.len(),
            len,
            "a snapshot means that this much is durable"
        );
        Ok(Box::new(Target {
            stage: self.stage,
            written: Vec::new(),
            choosy: snapshot.is_some() && self.forgets("sink"),
            output: Arc::clone(&self.output),
            trouble: Arc::clone(&self.trouble),
            finished: false,
            wear: Wear::default(),
        }))
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }
}

struct Target {
    stage: &'static str,
    written: Vec<String>,
    /// Refuses the first record of every batch.
    choosy: bool,
    output: Arc<Mutex<BTreeMap<&'static str, Output2>>>,
    trouble: Trouble,
    finished: bool,
    wear: Wear,
}

impl Instance for Target {
    fn wear(&self) -> Wear {
        self.wear
    }
}

#[async_trait]
impl Sink for Target {
    async fn write(&mut self, batch: &Batch) -> Result<Written, Fault> {
        tokio::task::yield_now().await;
        let names = payloads(batch);
        if let Some(fault) = (self.trouble)(&format!("{}.write", self.stage), &names) {
            return Err(fault);
        }
        let mut rejected = Vec::new();
        for (index, name) in (0_u32..).zip(names) {
            match (self.trouble)(
                &format!("{}.record", self.stage),
                std::slice::from_ref(&name),
            ) {
                Some(fault) => rejected.push(Rejection { index, fault }),
                None if self.choosy && index == 0 => rejected.push(Rejection {
                    index,
                    fault: Fault::new(FaultKind::Permanent, "not that one again"),
                }),
                None => self.written.push(name),
            }
        }
        self.wear.records += batch.len() as u64;
        let receipts = batch.record(0).map(|r| {
            let mut builder = Builder::new("receipts", Form::Json);
            builder.push(Record { payload: b"7", ..r });
            builder.build()
        });
        Ok(Written { rejected, receipts })
    }

    async fn finish(&mut self) -> Result<(), Fault> {
        self.finished = true;
        Ok(())
    }

    async fn snapshot(&mut self) -> Result<Snapshot, Fault> {
        tokio::task::yield_now().await;
        let mut outputs = self.output.lock().unwrap();
        let output = outputs.entry(self.stage).or_default();
        output.durable.append(&mut self.written);
        Ok(output.durable.len().to_string().into())
    }

    async fn commit(&mut self, snapshot: &[u8]) -> Result<(), Fault> {
        tokio::task::yield_now().await;
        if let Some(fault) = (self.trouble)(&format!("{}.commit", self.stage), &[]) {
            return Err(fault);
        }
        let mut outputs = self.output.lock().unwrap();
        let output = outputs.entry(self.stage).or_default();
        output.visible = usize::try_from(number(Some(snapshot))).unwrap();
        output.finished |= self.finished;
        Ok(())
    }

    async fn close(&mut self) {}
}
