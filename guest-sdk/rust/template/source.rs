//! Reads the items of an API, page by page.

use std::collections::VecDeque;

use crossdock_sdk::prelude::*;
use serde::Deserialize;

/// What the flow file says under `config`; `plugin.json` describes every field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    connection: String,
    #[serde(default = "items")]
    path: String,
    #[serde(default = "hundred")]
    page: usize,
}

fn items() -> String {
    "/items".to_owned()
}

fn hundred() -> usize {
    100
}

struct {{Type}} {
    config: Config,
    /// The id of the last item that was given out: all that a snapshot needs.
    after: String,
    /// What the API has answered and nobody has taken yet.
    waiting: VecDeque<Vec<u8>>,
}

impl {{Type}} {
    /// The next page: up to `page` items whose id is greater than `after`.
    fn fetch(&mut self) -> Result<()> {
        let Config { connection, path, page } = &self.config;
        let url = format!("{path}?after={}&limit={page}", http::encode(&self.after));
        let response = http::Request::get(url).connection(connection).send()?.error_for_status()?;
        let list = json::Value::parse(&response.body)?;
        self.waiting = list.items().map(|item| item.raw().to_vec()).collect();
        Ok(())
    }
}

impl Source for {{Type}} {
    type Config = Config;

    fn check(config: Config) -> Result<()> {
        let mut source = Self::open(config, None)?;
        source.fetch()
    }

    fn streams(_config: Config) -> Result<Vec<StreamInfo>> {
        Ok(vec![StreamInfo::new("items").key(["id"]).incremental(true)])
    }

    fn open(config: Config, snapshot: Option<&[u8]>) -> Result<Self> {
        let after = String::from_utf8(snapshot.unwrap_or_default().to_vec())
            .map_err(|_| Fault::config("the snapshot is not one of this plugin"))?;
        Ok(Self { config, after, waiting: VecDeque::new() })
    }

    fn read(&mut self, budget: Budget) -> Result<Read> {
        if self.waiting.is_empty() {
            self.fetch()?;
        }
        if self.waiting.is_empty() {
            return Ok(Read::End);
        }
        let mut batch = BatchBuilder::json("items");
        while !budget.is_full(&batch) {
            let Some(item) = self.waiting.pop_front() else {
                break;
            };
            let value = json::Value::parse(&item)?;
            let Some(id) = value.get("id").and_then(|id| Some(id.as_str()?.into_owned())) else {
                let message = format!("an item without an `id` that is a text: {value}");
                return Err(Fault::permanent(message).at(&self.config.path));
            };
            batch.push(id.as_bytes(), &item);
            self.after = id;
        }
        Ok(Read::batch(batch.finish()))
    }

    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(self.after.clone().into_bytes())
    }
}

crossdock_sdk::export! { manifest: "plugin.json", source: {{Type}} }

#[cfg(test)]
mod tests {
    use super::*;
    use crossdock_sdk::serde_json::json;
    use crossdock_sdk::testing::{Drive, Host, SourceDriver, check_manifest};

    #[test]
    fn the_manifest_is_in_order() {
        check_manifest(env!("CARGO_PKG_VERSION"), include_str!("../plugin.json"));
    }

    /// An API with five items.
    fn api() -> Host {
        let host = Host::new();
        host.on_http(|request| {
            let after = request.url().split(['=', '&']).nth(1).unwrap_or_default();
            let ids = ["a", "b", "c", "d", "e"].into_iter().filter(|id| *id > after);
            let page: Vec<_> = ids.take(2).map(|id| json!({ "id": id })).collect();
            Ok(http::Response::new(200, json!(page).to_string()))
        });
        host
    }

    #[test]
    fn every_item_comes_once_wherever_it_is_interrupted() {
        let host = api();
        let config = json!({ "connection": "shop", "page": 2 });
        let pages = Drive::new(&config).source::<{{Type}}>();
        let records: usize = pages.iter().map(|page| page.records.len()).sum();
        assert_eq!(records, 5);
        assert_eq!(host.requests()[0].url(), "/items?after=&limit=2");
    }

    #[test]
    fn what_the_api_refuses_is_told() {
        let host = Host::new();
        host.on_http(|_| Ok(http::Response::new(503, "come back later")));
        let config = json!({ "connection": "shop" });
        let fault = SourceDriver::<{{Type}}>::open(&config, None).unwrap().read(Budget::default());
        assert!(fault.unwrap_err().is_transient());
    }
}
