use crossdock_sdk::{prelude::*, serde_json::Value};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    lie: String,
    #[serde(default)]
    records: Value,
}

pub(crate) struct Liar {
    lie: String,
    records: u64,
    at: u64,
    committed: u64,
}

impl Source for Liar {
    type Config = Config;

    fn streams(_: Config) -> Result<Vec<StreamInfo>> {
        Ok(vec![StreamInfo::new("items").key(["id"]).incremental(true)])
    }

    fn open(config: Config, snapshot: Option<&[u8]>) -> Result<Self> {
        let Config { lie, records } = config;
        let records = match records.as_u64() {
            Some(records) if records > 0 => records,
            _ if lie == "swallows" => 20,
            _ if lie == "nameless" => return Err(Fault::config("something is wrong")),
            _ if lie == "shrugs" => return Err(Fault::permanent("`records` is no number above 0")),
            _ => return Err(Fault::config("no whole number above 0").field("/records")),
        };
        let at = match snapshot {
            None => 0,
            Some(_) if lie == "credulous" => 3,
            Some(snapshot) => super::number(snapshot)?,
        };
        let at = match lie.as_str() {
            "skips" if (1..records).contains(&at) => at + 1,
            "repeats" if (1..records).contains(&at) => at - 1,
            "again" if at == records => 0,
            _ => at,
        };
        Ok(Self {
            lie,
            records,
            at,
            committed: u64::MAX,
        })
    }

    fn read(&mut self, budget: Budget) -> Result<Read> {
        if self.at >= self.records {
            return Ok(Read::End);
        }
        let stream = if self.lie == "elsewhere" {
            "things"
        } else {
            "items"
        };
        let mut batch = BatchBuilder::json(stream);
        while self.at < self.records && (self.lie == "greedy" || !budget.is_full(&batch)) {
            let id = format!("{:05}", self.at);
            let payload = match self.lie.as_str() {
                "wanders" => format!("{{\"id\":{:?},\"now\":{}}}", id, clock::now_ms()),
                "babbles" => format!("{{\"id\":{id}}}"),
                _ => format!("{{\"id\":{id:?}}}"),
            };
            batch.push(id.as_bytes(), payload.as_bytes());
            self.at += 1;
        }
        Ok(Read::batch(batch.finish()))
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(self.at.to_string().into_bytes())
    }

    fn committed(&mut self, snapshot: &[u8]) -> Result<()> {
        let at = super::number(snapshot)?;
        if self.lie == "once" && self.committed == at {
            return Err(Fault::permanent("this was committed already"));
        }
        self.committed = at;
        Ok(())
    }
}
