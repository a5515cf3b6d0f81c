//! The transform that the benches measure, written as an author would write it: reads three fields of a product,
//! renames one, drops one and adds five.

use crossdock_sdk::{prelude::*, serde::Deserialize};

/// Its config.
#[derive(Debug, Deserialize)]
#[serde(crate = "crossdock_sdk::serde", deny_unknown_fields)]
pub struct Config {
    source: String,
    /// Numbers the records, which makes it stateful.
    #[serde(default)]
    number: bool,
}

/// The transformer.
#[derive(Debug)]
pub struct Reshape {
    source: String,
    /// The number of the last record, when they are numbered.
    last: Option<u64>,
}

impl Transformer for Reshape {
    type Config = Config;

    fn open(config: Config, snapshot: Option<&[u8]>) -> Result<Self> {
        let last = match snapshot.unwrap_or_default() {
            [] => 0,
            snapshot => snapshot
                .try_into()
                .map(u64::from_le_bytes)
                .map_err(|_| Fault::permanent("this is no snapshot of `reshape`"))?,
        };
        Ok(Self {
            source: config.source,
            last: config.number.then_some(last),
        })
    }

    fn mode(&self) -> Mode {
        match self.last {
            None => Mode::Stateless,
            Some(_) => Mode::Stateful,
        }
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        let last = self.last.map(u64::to_le_bytes);
        Ok(last.map(Vec::from).unwrap_or_default())
    }

    fn map(&mut self, record: Record<'_>, out: &mut Output<'_>) -> Result<()> {
        let mut product = record.object()?;
        let price = product
            .original("price")
            .and_then(|price| price.as_str())
            .ok_or_else(|| Fault::permanent("the price is no text"))?;
        let stock = product
            .get("stock")
            .and_then(|stock| stock.as_i64())
            .ok_or_else(|| Fault::permanent("the stock is no integer"))?;
        let brand = product
            .original("brand")
            .and_then(|brand| brand.as_str())
            .ok_or_else(|| Fault::permanent("the brand is no text"))?;
        let cents = cents(&price).ok_or_else(|| Fault::permanent("the price is no amount"))?;

        product.rename("name", "title");
        product.remove("updated");
        product.set("cents", cents);
        product.set("available", stock > 0);
        product.set("tier", tier(cents));
        product.set("vendor", brand.to_lowercase());
        product.set("source", &self.source);
        if let Some(last) = &mut self.last {
            *last += 1;
            product.set("number", *last);
        }
        out.emit_object(record.stream(), record.key(), &product);
        Ok(())
    }
}

/// `19.90` is 1990.
pub fn cents(price: &str) -> Option<i64> {
    let (whole, part) = price.split_once('.').unwrap_or((price, "00"));
    (part.len() == 2).then_some(())?;
    whole
        .parse::<i64>()
        .ok()?
        .checked_mul(100)?
        .checked_add(part.parse().ok()?)
}

/// What a shop sorts by.
pub fn tier(cents: i64) -> &'static str {
    match cents {
        ..2_000 => "budget",
        2_000..10_000 => "standard",
        _ => "premium",
    }
}

crossdock_sdk::export! { manifest: "plugin.json", transformer: Reshape }

#[cfg(test)]
mod tests {
    use super::*;
    use crossdock_sdk::{
        serde_json::json,
        testing::{TransformerDriver, run_transformer},
    };

    #[test]
    fn three_are_read_one_renamed_one_dropped_five_added() -> Result<()> {
        let mut batch = BatchBuilder::json("products");
        batch.push(
            b"a",
            br#"{"sku":"a","name":"Shirt","brand":"ACME","price":"19.90","stock":3,"updated":"2026-01-01"}"#,
        );
        batch.push(b"b", br#"{"sku":"b","brand":"x","price":"1,5","stock":0}"#);
        let applied = run_transformer::<Reshape>(json!({"source": "erp"}), batch.finish())?;
        assert_eq!(
            applied.values(),
            [(
                "products".to_owned(),
                json!({
                    "sku": "a", "title": "Shirt", "brand": "ACME", "price": "19.90", "stock": 3,
                    "cents": 1990, "available": true, "tier": "budget", "vendor": "acme", "source": "erp",
                })
            )]
        );
        assert_eq!(applied.rejected.len(), 1);
        Ok(())
    }

    #[test]
    fn records_are_numbered_across_instances() -> Result<()> {
        let config = json!({"source": "erp", "number": true});
        let mut snapshot = None;
        let mut numbers = Vec::new();
        for _ in 0..2 {
            let mut batch = BatchBuilder::json("products");
            batch.push(b"a", br#"{"brand":"x","price":"1.00","stock":1}"#);
            batch.push(b"b", br#"{"brand":"x","price":"1.00","stock":1}"#);
            let mut driver = TransformerDriver::<Reshape>::open(&config, snapshot.as_deref())?;
            assert_eq!(driver.mode(), Mode::Stateful);
            let values = driver.apply(batch.finish())?.values();
            numbers.extend(values.into_iter().map(|(_, value)| value["number"].clone()));
            snapshot = Some(driver.snapshot()?);
        }
        assert_eq!(numbers, [1, 2, 3, 4]);
        Ok(())
    }
}
