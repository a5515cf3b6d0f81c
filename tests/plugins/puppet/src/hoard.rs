//! What a plugin can try to make the host hold for it: memory, connections.

use std::{net::TcpStream, time::Duration};

use crossdock_sdk::http::{Error, Request, send_all};
use wasip2::http::types::{Fields, Method, OutgoingRequest, OutgoingResponse};

use crate::reach::{ask, shown, told};

/// Tries what the text says, if it is one of these.
pub(crate) fn attempt(act: &str, words: &[&str]) -> Option<String> {
    let number = |at: usize| {
        words
            .get(at)
            .and_then(|word| word.parse().ok())
            .unwrap_or(0)
    };
    Some(told(match act {
        "send-all" => Ok(many(number(0), words[1])),
        "send-each" => Ok(each(number(0), words[1])),
        "unsent" => unsent(number(0)),
        "unsent-responses" => unsent_responses(number(0)),
        "long-parts" => Ok(long_parts(number(0))),
        "long-headers" => long_headers(number(0)),
        "hold" => hold(number(0), words[1], words[2]),
        "connections" => Ok(connections(number(0), words[1])),
        _ => return None,
    }))
}

/// Asks for the same many times at once.
fn many(count: usize, url: &str) -> String {
    let requests = (0..count).map(|_| Request::new("GET", url)).collect();
    let (mut bytes, mut large, mut other) = (0, 0, String::new());
    for answer in send_all(requests) {
        match answer {
            Ok(answer) => bytes += answer.body.len(),
            Err(Error::TooLarge(_)) => large += 1,
            Err(error) => other = error.to_string(),
        }
    }
    format!("{} MiB, {large} too large {other}", bytes >> 20)
}

/// Asks for as many names as it can, and waits for none: `NN` in the URL is another one each time.
fn each(count: usize, url: &str) -> String {
    let one = |at: usize| {
        let url = url.replace("NN", &format!("n{at}"));
        Request::new("GET", url).timeout(Duration::from_millis(1))
    };
    let answers = send_all((0..count).map(one).collect());
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    format!("{failed} failed")
}

/// Writes as much as it can into the bodies of requests that are never sent.
fn unsent(count: usize) -> Result<String, String> {
    let piece = vec![b'x'; 1 << 20];
    let (mut kept, mut bytes) = (Vec::new(), 0);
    for at in 0..count {
        let request = OutgoingRequest::new(Fields::new());
        let Ok(body) = request.body() else {
            return Ok(format!("{at} bodies with {} KiB", bytes >> 10));
        };
        let stream = body.write().map_err(|()| "no stream")?;
        loop {
            let room = stream.check_write().map_err(|e| format!("{e:?}"))?;
            let room = usize::try_from(room).unwrap_or(0).min(piece.len());
            if room == 0 {
                break;
            }
            stream.write(&piece[..room]).map_err(|e| format!("{e:?}"))?;
            bytes += room;
        }
        drop((stream, body));
        kept.push(request);
    }
    Ok(format!("{count} bodies with {} KiB", bytes >> 10))
}

fn unsent_responses(count: usize) -> Result<String, String> {
    let mut kept = Vec::new();
    for _ in 0..count {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().map_err(|()| "not taken")?;
        drop(body);
        kept.push(response);
    }
    Ok(format!("{count} bodies"))
}

/// Puts long texts into the parts of a request.
fn long_parts(mebibytes: usize) -> String {
    let text = "x".repeat(mebibytes << 20);
    let request = OutgoingRequest::new(Fields::new());
    let mut taken = Vec::new();
    let mut note = |part, outcome: Result<(), ()>| taken.extend(outcome.ok().map(|()| part));
    note("method", request.set_method(&Method::Other(text.clone())));
    note("authority", request.set_authority(Some(&text)));
    note(
        "path",
        request.set_path_with_query(Some(&format!("/{text}"))),
    );
    format!("taken: {taken:?}")
}

/// Makes headers of so many KiB.
fn long_headers(kibibytes: usize) -> Result<String, String> {
    let (fields, value) = (Fields::new(), vec![b'x'; 1 << 10]);
    for at in 0..kibibytes {
        let appended = fields.append(&format!("x-{at}"), &value);
        appended.map_err(|e| format!("{e:?}"))?;
    }
    Ok(format!("{kibibytes} KiB"))
}

/// Keeps connections and responses open, as many of both, and then tries one more of each.
fn hold(count: usize, address: &str, url: &str) -> Result<String, String> {
    let connect = || TcpStream::connect(address).map_err(shown);
    let respond = || ask(&["GET", url]);
    let send = || Request::new("GET", url).send().map(|answer| answer.status);
    let mut connections = (0..count)
        .map(|_| connect())
        .collect::<Result<Vec<_>, _>>()?;
    let mut responses = (0..count)
        .map(|_| respond())
        .collect::<Result<Vec<_>, _>>()?;
    let refused = [
        connect().err().is_some(),
        respond().err().is_some(),
        send().is_err_and(|error| error.to_string().contains("too many")),
    ];
    connections.pop();
    let after_one = send().map_err(shown)?;
    connections.push(connect()?);
    responses.pop();
    let after_other = send().map_err(shown)?;
    Ok(format!("{refused:?} {after_one} {after_other}"))
}

/// How many connections it gets at the same time.
fn connections(most: usize, address: &str) -> String {
    let all: Vec<TcpStream> = (0..most)
        .map_while(|_| TcpStream::connect(address).ok())
        .collect();
    format!("{} connections", all.len())
}
