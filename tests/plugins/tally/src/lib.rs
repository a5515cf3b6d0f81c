//! Counts and sums per group. Every record goes on with the count and the sum of its group so far, and the group's totals
//! go on in the stream `totals`, by group: what is lost or doubled anywhere before shows in everything behind it.

use std::collections::BTreeMap;

use crossdock_sdk::{
    prelude::*,
    serde::{Deserialize, Serialize},
    serde_json,
};

/// Its config.
#[derive(Debug, Deserialize)]
#[serde(crate = "crossdock_sdk::serde", deny_unknown_fields)]
pub struct Config {
    group: String,
    sum: String,
}

/// What is known of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(crate = "crossdock_sdk::serde")]
struct Total {
    count: u64,
    sum: i64,
}

/// The transformer.
#[derive(Debug)]
pub struct Tally {
    config: Config,
    groups: BTreeMap<String, Total>,
}

impl Transformer for Tally {
    type Config = Config;

    fn open(config: Config, snapshot: Option<&[u8]>) -> Result<Self> {
        let groups = match snapshot {
            None => BTreeMap::new(),
            Some(snapshot) => serde_json::from_slice(snapshot).map_err(|error| {
                Fault::config(format!("this is no snapshot of `tally`: {error}"))
            })?,
        };
        Ok(Self { config, groups })
    }

    fn mode(&self) -> Mode {
        Mode::Stateful
    }

    fn map(&mut self, record: Record<'_>, out: &mut Output<'_>) -> Result<()> {
        let mut object = record.object()?;
        let group = object
            .original(&self.config.group)
            .and_then(|group| group.as_str().map(|text| text.to_string()))
            .ok_or_else(|| Fault::permanent("the group is no text"))?;
        let number = object
            .original(&self.config.sum)
            .and_then(|number| number.as_i64())
            .ok_or_else(|| Fault::permanent("the number is none"))?;
        let total = self.groups.entry(group.clone()).or_default();
        total.count += 1;
        total.sum += number;
        object.set("group_count", total.count);
        object.set("group_sum", total.sum);
        out.emit_object(record.stream(), record.key(), &object);
        out.emit_value("totals", group.as_bytes(), total)
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.groups).map_err(|error| Fault::permanent(error.to_string()))
    }
}

crossdock_sdk::export! { manifest: "plugin.json", transformer: Tally }

#[cfg(test)]
mod tests {
    use super::*;
    use crossdock_sdk::{serde_json::json, testing::TransformerDriver};

    #[test]
    fn groups_are_counted_across_instances() -> Result<()> {
        let config = json!({"group": "colour", "sum": "stock"});
        let mut snapshot = None;
        let mut totals = Vec::new();
        for _ in 0..2 {
            let mut batch = BatchBuilder::json("products");
            batch.push(b"a", br#"{"colour":"red","stock":2}"#);
            batch.push(b"b", br#"{"colour":"blue","stock":5}"#);
            batch.push(b"c", br#"{"colour":"red","stock":3}"#);
            let mut driver = TransformerDriver::<Tally>::open(&config, snapshot.as_deref())?;
            assert_eq!(driver.mode(), Mode::Stateful);
            totals = driver.apply(batch.finish())?.stream("totals");
            snapshot = Some(driver.snapshot()?);
        }
        let last =
            [(3, 7), (2, 10), (4, 10)].map(|(count, sum)| json!({"count": count, "sum": sum}));
        assert_eq!(totals, last);
        Ok(())
    }
}
