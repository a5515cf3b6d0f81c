//! Puts every record to an API, under its key.

use crossdock_sdk::prelude::*;
use serde::Deserialize;

/// What the flow file says under `config`; `plugin.json` describes every field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    connection: String,
    #[serde(default = "items")]
    path: String,
}

fn items() -> String {
    "/items".to_owned()
}

struct {{Type}} {
    config: Config,
}

impl {{Type}} {
    /// Putting the same item twice is as good as once, so a crash between two checkpoints does no harm.
    fn request(&self, record: Record<'_>) -> Result<http::Request> {
        let Some(key) = record.key_str().filter(|key| !key.is_empty()) else {
            return Err(Fault::permanent("the record has no key, so it has no place in the API"));
        };
        let Config { connection, path } = &self.config;
        let url = format!("{path}/{}", http::encode(key));
        let request = match record.op() {
            Op::Upsert => http::Request::put(url)
                .header("content-type", "application/json")
                .body(record.payload()),
            Op::Delete => http::Request::delete(url),
        };
        Ok(request.connection(connection))
    }
}

/// Whether the API took it. An item to delete that is not there is as good as deleted.
fn taken(answer: Result<http::Response, http::Error>, op: Op) -> Result<()> {
    let response = answer?;
    if op == Op::Delete && response.status == 404 {
        return Ok(());
    }
    response.error_for_status().map(drop)
}

impl Sink for {{Type}} {
    type Config = Config;

    fn check(config: Config) -> Result<()> {
        let request = http::Request::get(&config.path).connection(&config.connection);
        request.send()?.error_for_status().map(drop)
    }

    fn open(config: Config, _snapshot: Option<&[u8]>) -> Result<Self> {
        Ok(Self { config })
    }

    fn write(&mut self, batch: &Batch, written: &mut Written) -> Result<()> {
        let (mut sent, mut requests) = (Vec::new(), Vec::new());
        for record in batch.records() {
            match self.request(record) {
                Ok(request) => {
                    sent.push(record);
                    requests.push(request);
                }
                Err(fault) => written.reject(record.index(), fault),
            }
        }
        // As many at a time as the connection allows.
        for (record, answer) in sent.into_iter().zip(http::send_all(requests)) {
            match taken(answer, record.op()) {
                Ok(()) => {}
                // It is the operator's turn: no other record would fare better.
                Err(fault @ Fault::Config(_)) => return Err(fault),
                Err(fault) => written.reject(record.index(), fault),
            }
        }
        Ok(())
    }

    /// The API has everything as soon as it is written: there is nothing to remember.
    fn snapshot(&mut self) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }
}

crossdock_sdk::export! { manifest: "plugin.json", sink: {{Type}} }

#[cfg(test)]
mod tests {
    use super::*;
    use crossdock_sdk::serde_json::json;
    use crossdock_sdk::testing::{Host, SinkDriver, check_manifest, keyed_batch};

    #[test]
    fn the_manifest_is_in_order() {
        check_manifest(env!("CARGO_PKG_VERSION"), include_str!("../plugin.json"));
    }

    #[test]
    fn each_record_is_put_under_its_key_and_what_is_refused_is_rejected() {
        let host = Host::new();
        host.on_http(|request| {
            let status = if request.url().ends_with("/bad") { 422 } else { 204 };
            Ok(http::Response::new(status, ""))
        });
        let item = json!({ "name": "Cup" });
        let records = keyed_batch("items", [("a/1", &item), ("bad", &item), ("", &item)]);
        let config = json!({ "connection": "shop" });
        let mut sink = SinkDriver::<{{Type}}>::open(&config, None).unwrap();
        let (rejected, _) = sink.write(records).unwrap();
        let indexes: Vec<_> = rejected.iter().map(|(index, _)| *index).collect();
        assert_eq!(indexes, [1, 2]);
        assert_eq!(host.requests()[0].url(), "/items/a%2F1");
        sink.end().unwrap();
    }
}
