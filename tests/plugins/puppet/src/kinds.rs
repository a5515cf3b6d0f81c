//! The exports of the three kinds.

use std::cell::RefCell;

use bindings::host::crossdock::plugin::plugin_types::{Batch, Fault, Form, Rejection};
use bindings::sink::exports::crossdock::plugin::sink;
use bindings::source::exports::crossdock::plugin::source;
use bindings::transformer::exports::crossdock::plugin::transformer;
use crossdock_sdk::__private::bindings;

use crate::acts::{NO_ORIGIN, Script, detail, key, len, no_text, one, permanent};

thread_local! {
    static STATE: RefCell<(Script, u64)> = RefCell::default();
}

/// Answers with the script and the position.
fn state<R>(call: impl FnOnce(&Script, &mut u64) -> R) -> R {
    STATE.with_borrow_mut(|(script, position)| call(script, position))
}

fn open(config: &str, snapshot: Option<&[u8]>) -> Result<(), Fault> {
    let mut script = Script::read(config);
    let position = script.opened(snapshot)?;
    STATE.set((script, position));
    Ok(())
}

fn snapshot() -> Result<Vec<u8>, Fault> {
    state(|script, position| script.take_snapshot(*position))
}

struct Puppet;

impl transformer::Guest for Puppet {
    fn check(config: String) -> Result<(), Fault> {
        let script = Script::read(&config);
        script.act(&script.check, "check")
    }

    fn open(config: String, snapshot: Option<Vec<u8>>) -> Result<transformer::Mode, Fault> {
        open(&config, snapshot.as_deref())?;
        let stateful = state(|script, _| script.stateful);
        Ok(if stateful {
            transformer::Mode::Stateful
        } else {
            transformer::Mode::Stateless
        })
    }

    fn apply(batch: Batch) -> Result<transformer::Applied, Fault> {
        use transformer::Output;
        state(|script, position| {
            *position += len(&batch) as u64;
            let mut applied = transformer::Applied {
                output: Output::Pass,
                rejected: Vec::new(),
                filtered: Vec::new(),
            };
            let Some((at, act)) = script.cue(&batch) else {
                if script.forgot {
                    let all = u32::try_from(len(&batch)).unwrap_or(u32::MAX);
                    applied.output = Output::Select((1..all).collect());
                }
                return Ok(applied);
            };
            script.act(act, key(&batch, at as usize))?;
            let all = u32::try_from(len(&batch)).unwrap_or(u32::MAX);
            let others = || Output::Select((0..all).filter(|other| *other != at).collect());
            let mut reject = |fault| applied.rejected.push(Rejection { index: at, fault });
            match act {
                "wild-index" => applied.output = Output::Select(vec![all + 7]),
                "twice" => applied.output = Output::Select(vec![at, at]),
                "both" => {
                    reject(permanent("rejected, and passed on"));
                    applied.output = Output::Select((0..all).collect());
                }
                "lose" => applied.filtered.push(transformer::Tally {
                    reason: "more than there were".to_owned(),
                    count: all + 1000,
                }),
                "offsets" => {
                    applied.output = Output::Replace(vec![one("lies", [2, 1, 2, at << 8], b"{}")]);
                }
                "beyond" => {
                    let words = [0, 0, 1 << 30, at << 8];
                    applied.output = Output::Replace(vec![one("lies", words, b"{}")]);
                }
                "origin" => {
                    let words = [0, 0, 2, (all + 7) << 8];
                    applied.output = Output::Replace(vec![one("lies", words, b"{}")]);
                }
                "long-name" => {
                    let name = "n".repeat(1 << 20);
                    applied.output = Output::Replace(vec![one(&name, [0, 0, 2, at << 8], b"{}")]);
                }
                "streams" => {
                    let names = (0..2000).map(|n| format!("{n:0>200}"));
                    let each = names.map(|name| one(&name, [0, 0, 2, at << 8], b"{}"));
                    applied.output = Output::Replace(each.collect());
                }
                "batches" => {
                    let batch = one("lies", [0, 0, 2, at << 8], b"{}");
                    applied.output = Output::Replace(vec![batch; 10_001]);
                }
                "escape" => {
                    let words = [0, 0, 2, at << 8];
                    applied.output = Output::Replace(vec![one("s\u{1b}[31m", words, b"{}")]);
                }
                "flood" | "flood-some" => {
                    let data = vec![b' '; if act == "flood" { 80 << 20 } else { 8 << 20 }];
                    let end = u32::try_from(data.len()).unwrap_or(u32::MAX);
                    let words = [0, 0, end, at << 8];
                    applied.output = Output::Replace(vec![one("flood", words, &data)]);
                }
                "text" => {
                    reject(no_text());
                    applied.output = others();
                }
                "permanent" => {
                    reject(permanent("the puppet was told to reject it"));
                    applied.output = others();
                }
                "transient" => {
                    reject(Fault::Transient(detail("the puppet was told to wait")));
                    applied.output = others();
                }
                _ => {}
            }
            Ok(applied)
        })
    }

    fn finish() -> Result<Vec<Batch>, Fault> {
        Ok(Vec::new())
    }

    fn snapshot() -> Result<Vec<u8>, Fault> {
        snapshot()
    }

    fn close() {}
}

impl sink::Guest for Puppet {
    fn check(_: String) -> Result<(), Fault> {
        Ok(())
    }

    fn open(config: String, snapshot: Option<Vec<u8>>) -> Result<(), Fault> {
        open(&config, snapshot.as_deref())
    }

    fn write(batch: Batch) -> Result<sink::Written, Fault> {
        state(|script, position| {
            let mut written = sink::Written {
                rejected: Vec::new(),
                receipts: None,
            };
            if let Some((at, act)) = script.cue(&batch) {
                script.act(act, key(&batch, at as usize))?;
                let all = u32::try_from(len(&batch)).unwrap_or(u32::MAX);
                let mut reject = |index, fault| written.rejected.push(Rejection { index, fault });
                match act {
                    "wild-index" => reject(all + 7, permanent("of no record")),
                    "twice" => {
                        reject(at, permanent("once"));
                        reject(at, permanent("twice"));
                    }
                    "text" => reject(at, no_text()),
                    "permanent" => reject(at, permanent("the puppet was told to reject it")),
                    "transient" => {
                        reject(at, Fault::Transient(detail("the puppet was told to wait")));
                    }
                    _ => {}
                }
            } else if script.forgot {
                let fault = permanent("the puppet has forgotten that it took it");
                written.rejected.push(Rejection { index: 0, fault });
            }
            *position += len(&batch) as u64;
            Ok(written)
        })
    }

    fn finish() -> Result<(), Fault> {
        Ok(())
    }

    fn snapshot() -> Result<Vec<u8>, Fault> {
        snapshot()
    }

    fn commit(_: Vec<u8>) -> Result<(), Fault> {
        Ok(())
    }

    fn close() {}
}

impl source::Guest for Puppet {
    fn check(_: String) -> Result<(), Fault> {
        Ok(())
    }

    fn streams(_: String) -> Result<Vec<source::StreamInfo>, Fault> {
        Ok(Vec::new())
    }

    fn open(config: String, snapshot: Option<Vec<u8>>) -> Result<(), Fault> {
        open(&config, snapshot.as_deref())
    }

    fn read(budget: source::Budget) -> Result<source::ReadOutcome, Fault> {
        state(|script, position| {
            if *position >= script.records {
                return Ok(source::ReadOutcome::End);
            }
            let end = script.records.min(*position + u64::from(budget.records));
            let mut batch = one("numbers", [0; 4], b"");
            batch.index.clear();
            batch.form = Form::Json;
            let mut acts = Vec::new();
            let mut unreadable = Vec::new();
            for number in *position..end {
                let key = number.to_string();
                batch.data.extend_from_slice(key.as_bytes());
                let key_end = u32::try_from(batch.data.len()).unwrap_or(u32::MAX);
                batch
                    .data
                    .extend_from_slice(format!("{{\"n\":{number}}}").as_bytes());
                let end = u32::try_from(batch.data.len()).unwrap_or(u32::MAX);
                batch.index.extend([key_end, key_end, end, NO_ORIGIN << 8]);
                acts.extend(script.on.get(&key).map(|act| (act.clone(), key)));
            }
            for (act, key) in acts {
                script.act(&act, &key)?;
                match act.as_str() {
                    "offsets" => batch.index.reverse(),
                    "beyond" => batch.data.truncate(1),
                    "unreadable" => {
                        let nothing = |_| source::Unreadable {
                            data: Vec::new(),
                            fault: permanent(""),
                        };
                        unreadable.extend((0..20_000).map(nothing));
                    }
                    _ => {}
                }
            }
            *position = end;
            Ok(source::ReadOutcome::Page(source::Page {
                records: batch,
                unreadable,
            }))
        })
    }

    fn snapshot() -> Result<Vec<u8>, Fault> {
        snapshot()
    }

    fn committed(_: Vec<u8>) -> Result<(), Fault> {
        Ok(())
    }

    fn close() {}
}

bindings::source::__export_source!(Puppet with_types_in bindings::source);
bindings::transformer::__export_transformer!(Puppet with_types_in bindings::transformer);
bindings::sink::__export_sink!(Puppet with_types_in bindings::sink);
