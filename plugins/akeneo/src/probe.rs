//! `check`: one tiny page per stream.

use crossdock_sdk::json::Object;
use crossdock_sdk::prelude::*;

use crate::answer::Refusal;
use crate::config::Config;
use crate::item;
use crate::source::fetch;
use crate::stream::Stream;

/// Asks for one item of every stream, with the filters of the config.
pub(crate) fn probe(config: &Config) -> Result<()> {
    let urls: Vec<String> = config
        .streams
        .iter()
        .map(|stream| first_url(config, *stream))
        .collect();
    let mut children = Vec::new();
    for (stream, outcome) in config.streams.iter().zip(fetch(config, &urls)) {
        let answer = outcome.map_err(|refusal| explain(*stream, refusal))?;
        let Some(nesting) = stream.nesting() else {
            continue;
        };
        let code = answer
            .item(0)
            .and_then(|bytes| Object::parse(bytes).ok())
            .filter(|parent| stream.has_children(parent))
            .and_then(|parent| item::text(&parent, "code"));
        if let Some(code) = code {
            children.push((*stream, Stream::child_url(nesting, config, &code, 1)));
        }
    }
    let urls: Vec<String> = children.iter().map(|(_, url)| url.clone()).collect();
    for ((stream, _), outcome) in children.iter().zip(fetch(config, &urls)) {
        outcome.map_err(|refusal| explain(*stream, refusal))?;
    }
    Ok(())
}

fn first_url(config: &Config, stream: Stream) -> String {
    if let Some(nesting) = stream.nesting() {
        return nesting.parent.first_url(config, None, 1);
    }
    let search = config
        .filters
        .get(&stream)
        .filter(|search| !search.is_empty());
    let search = search.map(|search| serde_json::Value::Object(search.clone()).to_string());
    stream.first_url(config, search.as_deref(), 1)
}

/// Points at the filter of the stream where Akeneo refuses what was asked.
fn explain(stream: Stream, refusal: Refusal) -> Fault {
    match refusal.status {
        Some(400 | 422) => refusal.fault.field(format!("/filters/{}", stream.name())),
        _ => refusal.fault,
    }
}
