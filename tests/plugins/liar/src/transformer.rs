use crossdock_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    lie: String,
}

pub(crate) struct Liar {
    lie: String,
    seen: u64,
}

impl Liar {
    /// Whether it numbers the records.
    fn numbers(&self) -> bool {
        matches!(self.lie.as_str(), "forgets" | "stateless" | "numbers")
    }
}

impl Transformer for Liar {
    type Config = Config;

    fn open(config: Config, snapshot: Option<&[u8]>) -> Result<Self> {
        let seen = match snapshot {
            None | Some(b"") => 0,
            Some(snapshot) => super::number(snapshot)?,
        };
        Ok(Self {
            lie: config.lie,
            seen,
        })
    }

    fn mode(&self) -> Mode {
        if self.numbers() && self.lie != "stateless" {
            Mode::Stateful
        } else {
            Mode::Stateless
        }
    }

    fn apply(&mut self, batch: &Batch, out: &mut Output<'_>) -> Result<()> {
        if self.lie == "all-or-nothing" {
            for record in batch.records() {
                record.object()?;
            }
        }
        let records = batch.len();
        out.each(batch, |record, out| {
            if self.lie == "traps" {
                assert!(!record.payload().is_empty(), "no payload");
            }
            let mut object = match record.object() {
                Err(_) if self.lie == "stops" => return Err(Fault::config("a bad record")),
                Err(_) if self.lie == "retries" => return Err(Fault::transient("a bad record")),
                object => object?,
            };
            self.seen += 1;
            match self.lie.as_str() {
                "counts" => object.set("batch", records as u64),
                "wanders" => object.set("now", clock::now_ms()),
                _ if self.numbers() => object.set("n", self.seen),
                _ => object.set("honest", true),
            }
            out.emit_object(record.stream(), record.key(), &object);
            Ok(())
        })
    }

    fn finish(&mut self) -> Result<Vec<Batch>> {
        if self.lie != "invents" {
            return Ok(Vec::new());
        }
        let mut batch = BatchBuilder::json("items");
        batch.push(b"", b"{}");
        Ok(vec![batch.finish()])
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(if self.lie == "numbers" {
            self.seen.to_string().into_bytes()
        } else {
            Vec::new()
        })
    }
}
