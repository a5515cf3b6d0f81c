//! The source: config, pace, position.

use std::collections::BTreeMap;
use std::time::Duration;

use crossdock_sdk::prelude::{
    BatchBuilder, Budget, Fault, Read, Result, Source, StreamInfo, clock,
};
use serde::{Deserialize, Serialize};

use crate::field::{Field, Numbers};

/// The source's config; `plugin.json` describes every field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    records: u64,
    #[serde(default = "one")]
    seed: u64,
    #[serde(default = "stream")]
    stream: String,
    bytes: Option<usize>,
    fields: Option<BTreeMap<String, Field>>,
    key: Option<String>,
    rate: Option<f64>,
}

fn one() -> u64 {
    1
}

fn stream() -> String {
    "records".to_owned()
}

/// What a record holds when the config names no fields.
fn default_fields() -> Vec<(String, Field)> {
    let named = |name: &str, field| (name.to_owned(), field);
    vec![
        named(
            "id",
            Field::Sequence {
                prefix: None,
                digits: 0,
            },
        ),
        named(
            "sku",
            Field::Sequence {
                prefix: Some("SKU-".to_owned()),
                digits: 7,
            },
        ),
        named("name", Field::Words { count: 3 }),
        named(
            "price",
            Field::Decimal {
                min: 1,
                max: 500,
                digits: 2,
            },
        ),
        named("stock", Field::Integer { min: 0, max: 1000 }),
        named("active", Field::Boolean),
        named("updated", Field::Date),
    ]
}

/// Largest `bytes`.
const MAX_BYTES: usize = 16 << 20;

/// The snapshot.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    next: u64,
}

/// Makes records up.
#[derive(Debug)]
pub(crate) struct GenerateSource {
    records: u64,
    seed: u64,
    stream: String,
    bytes: usize,
    fields: Vec<Shaped>,
    rate: Option<f64>,
    next: u64,
    /// When this instance began, and with which record: the pace counts from there.
    began: (u64, u64),
    payload: Vec<u8>,
    key: Vec<u8>,
}

#[derive(Debug)]
struct Shaped {
    /// `,"name":`
    prefix: Vec<u8>,
    field: Field,
    is_key: bool,
}

impl Config {
    fn resolve(self) -> Result<GenerateSource> {
        let unfit = |field: &str, message: &str| Err(Fault::config(message).field(field));
        if self
            .rate
            .is_some_and(|rate| !rate.is_finite() || rate <= 0.0)
        {
            return unfit("/rate", "the rate must be greater than 0");
        }
        if self.bytes.is_some_and(|bytes| bytes > MAX_BYTES) {
            return unfit("/bytes", "a record has at most 16777216 bytes");
        }
        let fields = self
            .fields
            .map_or_else(default_fields, |fields| fields.into_iter().collect());
        for (name, field) in &fields {
            if let Some(problem) = field.problem() {
                let name = name.replace('~', "~0").replace('/', "~1");
                return unfit(&format!("/fields/{name}"), problem);
            }
        }
        if let Some(key) = &self.key
            && !fields.iter().any(|(name, _)| name == key)
        {
            return Err(Fault::config(format!("there is no field `{key}`")).field("/key"));
        }
        let shaped = |(name, field): (String, Field)| {
            let mut prefix = vec![b','];
            crossdock_sdk::json::write_string(&name, &mut prefix);
            prefix.push(b':');
            Shaped {
                prefix,
                field,
                is_key: self.key.as_ref() == Some(&name),
            }
        };
        Ok(GenerateSource {
            records: self.records,
            seed: self.seed,
            stream: self.stream,
            bytes: self.bytes.unwrap_or(0),
            fields: fields.into_iter().map(shaped).collect(),
            rate: self.rate,
            next: 0,
            began: (0, 0),
            payload: Vec::new(),
            key: Vec::new(),
        })
    }
}

impl Source for GenerateSource {
    type Config = Config;

    fn check(config: Config) -> Result<()> {
        config.resolve().map(drop)
    }

    fn streams(config: Config) -> Result<Vec<StreamInfo>> {
        let key: Vec<String> = config.key.iter().cloned().collect();
        let source = config.resolve()?;
        Ok(vec![
            StreamInfo::new(source.stream).key(key).incremental(true),
        ])
    }

    fn open(config: Config, snapshot: Option<&[u8]>) -> Result<Self> {
        let mut source = config.resolve()?;
        if let Some(snapshot) = snapshot {
            let position: Position = serde_json::from_slice(snapshot).map_err(|error| {
                Fault::config(format!("cannot continue from the snapshot: {error}"))
            })?;
            source.next = position.next;
        }
        source.began = (clock::now_ms(), source.next);
        Ok(source)
    }

    fn read(&mut self, budget: Budget) -> Result<Read> {
        if self.next >= self.records {
            return Ok(Read::End);
        }
        let due = match self.due() {
            Ok(due) => due.min(self.records),
            Err(wait) => return Ok(Read::Idle(wait)),
        };
        let mut batch = BatchBuilder::json(self.stream.as_str());
        while self.next < due && !budget.is_full(&batch) {
            self.make(self.next);
            batch.push(&self.key, &self.payload);
            self.next += 1;
        }
        Ok(Read::batch(batch.finish()))
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(serde_json::to_vec(&Position { next: self.next })?)
    }
}

impl GenerateSource {
    /// Up to which record it is time, or how long the next one is away.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a pace need not be exact, and no count gets near the limits"
    )]
    fn due(&self) -> Result<u64, Duration> {
        let Some(rate) = self.rate else {
            return Ok(u64::MAX);
        };
        let (began, first) = self.began;
        let passed = clock::now_ms().saturating_sub(began) as f64 / 1000.0;
        let due = first.saturating_add((passed * rate) as u64);
        if due > self.next {
            return Ok(due);
        }
        let at = (self.next + 1 - first) as f64 / rate;
        let wait = ((at - passed) * 1000.0).ceil().clamp(1.0, 60_000.0);
        Err(Duration::from_millis(wait as u64))
    }

    fn make(&mut self, number: u64) {
        let mut numbers = Numbers::of(self.seed, number);
        let (payload, key) = (&mut self.payload, &mut self.key);
        payload.clear();
        key.clear();
        for shaped in &self.fields {
            payload.extend_from_slice(&shaped.prefix);
            let start = payload.len();
            shaped.field.write(number, &mut numbers, payload);
            if shaped.is_key {
                let value = payload.get(start..).unwrap_or_default();
                let text = value
                    .strip_prefix(b"\"")
                    .and_then(|value| value.strip_suffix(b"\""));
                key.extend_from_slice(text.unwrap_or(value));
            }
        }
        if key.is_empty() {
            key.extend_from_slice(number.to_string().as_bytes());
        }
        // `,"filler":""` and the closing brace.
        let filler = self.bytes.saturating_sub(payload.len() + 13);
        if filler > 0 {
            payload.extend_from_slice(b",\"filler\":\"");
            payload.resize(payload.len() + filler, b'x');
            payload.push(b'"');
        }
        match payload.first_mut() {
            Some(comma) => *comma = b'{',
            None => payload.push(b'{'),
        }
        payload.push(b'}');
    }
}
