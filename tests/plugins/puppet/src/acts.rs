//! What can be done wrong, whatever the kind.

use std::collections::HashMap;

use crossdock_sdk::__private::bindings::host::crossdock::plugin::plugin_types::{
    Batch, ConfigDetail, Detail, Fault, Form,
};
use crossdock_sdk::{http::Request, serde_json::Value};

/// `origin` of a record that came from no record.
pub(crate) const NO_ORIGIN: u32 = 0x00FF_FFFF;

/// The config, read leniently: its schema has been checked by the host.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) on: HashMap<String, String>,
    pub(crate) snapshot: String,
    pub(crate) open: String,
    pub(crate) check: String,
    /// As it came.
    pub(crate) raw: String,
    pub(crate) connection: String,
    pub(crate) stateful: bool,
    pub(crate) records: u64,
    /// It was opened from a snapshot, and is not what it was before.
    pub(crate) forgot: bool,
}

impl Script {
    pub(crate) fn read(config: &str) -> Self {
        let config: Value = crossdock_sdk::serde_json::from_str(config).unwrap_or_default();
        let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
        let on = config["on"].as_object().into_iter().flatten();
        Self {
            on: on
                .map(|(key, act)| (key.clone(), act.as_str().unwrap_or_default().to_owned()))
                .collect(),
            snapshot: text("snapshot"),
            open: text("open"),
            check: text("check"),
            raw: config.to_string(),
            connection: text("connection"),
            stateful: config["stateful"].as_bool().unwrap_or_default(),
            records: config["records"].as_u64().unwrap_or_default(),
            forgot: false,
        }
    }

    /// The first record of the batch that something is to be done about. `*` means any record.
    pub(crate) fn cue(&self, batch: &Batch) -> Option<(u32, &str)> {
        if let Some(act) = self.on.get("*").filter(|_| len(batch) > 0) {
            return Some((0, act));
        }
        (0..len(batch)).find_map(|at| {
            let act = self.on.get(key(batch, at))?;
            Some((u32::try_from(at).unwrap_or(u32::MAX), act.as_str()))
        })
    }

    /// Does what a call can do wrong before it has an answer.
    pub(crate) fn act(&self, act: &str, key: &str) -> Result<(), Fault> {
        match act {
            "trap" => panic!("the puppet was told to trap on {key:?}"),
            "loop" => loop {
                std::hint::spin_loop();
            },
            "memory" => {
                let mut all: Vec<Vec<u8>> = Vec::new();
                loop {
                    all.push(vec![1; 1 << 20]);
                    std::hint::black_box(&all);
                }
            }
            "chatter" => {
                let line = "blah ".repeat(200);
                for _ in 0..50_000 {
                    crossdock_sdk::error!("{line}");
                    println!("{line}");
                }
                Ok(())
            }
            "recurse" => {
                #[allow(unconditional_recursion, reason = "on purpose")]
                fn deeper(depth: u64) -> u64 {
                    let here = std::hint::black_box([depth; 16]);
                    deeper(here[3] + 1) + here[7]
                }
                Err(permanent(&format!("came back from {}", deeper(0))))
            }
            "grow" => {
                while core::arch::wasm32::memory_grow::<0>(16) != usize::MAX {}
                Ok(())
            }
            "abort" => std::process::abort(),
            "exit" => std::process::exit(7),
            "mutter" => {
                let piece = "blah ".repeat(13_000);
                for _ in 0..100 {
                    print!("{piece}");
                }
                Ok(())
            }
            "bytes" => {
                use std::io::Write as _;
                let piece = [0xFF, 0xC0, 0x1B, b'[', b'2', b'J', b'\r', 0, b'\n'].repeat(100);
                drop(std::io::stdout().write_all(&piece));
                drop(std::io::stderr().write_all(&piece));
                Ok(())
            }
            "gate" => {
                let answer = Request::get(format!("/gate?key={key}"))
                    .connection(&self.connection)
                    .send();
                answer.map(drop).map_err(|e| permanent(&e.to_string()))
            }
            "config" => Err(Fault::Config(ConfigDetail {
                message: format!("the puppet was told to dislike its config on {key:?}"),
                field: "/on".to_owned(),
                advice: "take it out".to_owned(),
            })),
            "count" => {
                crossdock_sdk::metrics::count("acts", 7);
                crossdock_sdk::metrics::gauge("mood", -1.5);
                Ok(())
            }
            "tell-config" => Err(permanent(&format!("got: {}", self.raw))),
            "fail" => Err(permanent(&format!(
                "the puppet was told to fail on {key:?}"
            ))),
            _ => match crate::reach::attempt(act) {
                Some(outcome) => Err(permanent(&outcome)),
                None => Ok(()),
            },
        }
    }

    /// What is given as a snapshot that is worth `position`.
    pub(crate) fn take_snapshot(&self, position: u64) -> Result<Vec<u8>, Fault> {
        self.act(&self.snapshot, "snapshot")?;
        Ok(match self.snapshot.as_str() {
            "garbage" => vec![0xFF, 0, 0xFE],
            "huge" => vec![7; 2 << 20],
            _ => position.to_le_bytes().to_vec(),
        })
    }

    /// The position in a snapshot.
    pub(crate) fn opened(&mut self, snapshot: Option<&[u8]>) -> Result<u64, Fault> {
        self.act(&self.open, "open")?;
        let Some(bytes) = snapshot else { return Ok(0) };
        self.forgot = self.snapshot == "forget";
        let bytes = bytes.try_into().map_err(|_| {
            Fault::Config(ConfigDetail {
                message: format!("the puppet cannot read a snapshot of {} bytes", bytes.len()),
                field: String::new(),
                advice: "start over with --from-start".to_owned(),
            })
        })?;
        Ok(u64::from_le_bytes(bytes))
    }
}

pub(crate) fn detail(message: &str) -> Detail {
    Detail {
        message: message.to_owned(),
        location: "puppet".to_owned(),
        retry_after_ms: None,
    }
}

pub(crate) fn permanent(message: &str) -> Fault {
    Fault::Permanent(detail(message))
}

/// A message that is no text.
#[allow(unsafe_code, reason = "the very thing that the host must withstand")]
pub(crate) fn no_text() -> Fault {
    let mut detail = detail("");
    // SAFETY: not sound by the rules of `String`; nothing in this crate looks at the text, it is only handed over.
    detail.message = unsafe { String::from_utf8_unchecked(vec![b'a', 0xFF, 0xC0]) };
    Fault::Permanent(detail)
}

pub(crate) fn len(batch: &Batch) -> usize {
    batch.index.len() / 4
}

fn range(batch: &Batch, at: usize) -> [usize; 3] {
    let start = if at == 0 { 0 } else { batch.index[at * 4 - 2] };
    [start, batch.index[at * 4], batch.index[at * 4 + 2]].map(|end| end as usize)
}

pub(crate) fn key(batch: &Batch, at: usize) -> &str {
    let [start, end, _] = range(batch, at);
    std::str::from_utf8(&batch.data[start..end]).unwrap_or_default()
}

/// A batch of one record with the given words.
pub(crate) fn one(stream: &str, words: [u32; 4], data: &[u8]) -> Batch {
    Batch {
        stream: stream.to_owned(),
        form: Form::Json,
        index: words.to_vec(),
        data: data.to_vec(),
    }
}
