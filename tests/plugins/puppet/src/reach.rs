//! What a plugin can try to get hold of. Every attempt tells what came of it: `got: ...` or `refused: ...`.

use std::{
    fmt::Display,
    fs,
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use crossdock_sdk::{http::Request, table::Table};
use wasip2::{
    clocks::{monotonic_clock, wall_clock},
    filesystem::{preopens, types as files},
    http::{
        outgoing_handler,
        types::{Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme},
    },
    io::streams::StreamError,
    sockets::{instance_network, ip_name_lookup},
};

/// Longer answers are cut: they go into messages.
const SHOWN: usize = 400;

/// Tries what the text says, if it is one of these.
pub(crate) fn attempt(text: &str) -> Option<String> {
    let mut words = text.split(' ');
    let act = words.next()?;
    let rest: Vec<&str> = words.collect();
    let one = rest.first().copied().unwrap_or_default();
    let outcome = match act {
        "read" => fs::read(one).map(|bytes| text_of(&bytes)).map_err(shown),
        "write" => fs::write(one, "from a plugin")
            .map(|()| "written".to_owned())
            .map_err(shown),
        "remove" => fs::remove_file(one)
            .map(|()| "removed".to_owned())
            .map_err(shown),
        "rename" => fs::rename(one, rest[1])
            .map(|()| "renamed".to_owned())
            .map_err(shown),
        "hard-link" => fs::hard_link(one, rest[1])
            .map(|()| "linked".to_owned())
            .map_err(shown),
        "symlink" => symlink(one, rest[1]),
        "stat" | "times" | "readlink" | "hash" => look(act, one),
        "list" => list(one),
        "fill" => fill(one, rest[1].parse().unwrap_or_default()),
        "stretch" => stretch(one, rest[1].parse().unwrap_or_default()),
        "dots" => dots(
            one,
            [rest[1], rest[2]].map(|n| n.parse().unwrap_or_default()),
        ),
        "handles" => handles(one),
        "env" => Ok(format!(
            "{:?} {:?}",
            std::env::vars().collect::<Vec<_>>(),
            std::env::args().collect::<Vec<_>>()
        )),
        "stdin" => stdin(),
        "tcp" => tcp(one),
        "listen" => TcpListener::bind(one)
            .map(|_| "listening".to_owned())
            .map_err(shown),
        "udp" => UdpSocket::bind("0.0.0.0:0")
            .and_then(|socket| socket.send_to(b"x", one))
            .map(|_| "sent".to_owned())
            .map_err(shown),
        "lookup" => lookup(one),
        "http" => http("", &rest),
        "table" => Table::new(one)
            .get_many(&["k"])
            .map(|found| format!("{} values", found.len()))
            .map_err(shown),
        "flood-denials" => flood_denials(one.parse().unwrap_or_default()),
        "via" => http(one, &rest[1..]),
        "wasi-http" => wasi_http(&rest),
        "clock" => Ok(clock()),
        "sleep" => {
            std::thread::sleep(Duration::from_hours(1));
            Ok("slept".to_owned())
        }
        "via-and-scan" => http(one, &rest[2..]).map(|answer| {
            let found = scan(rest[1]);
            format!("{found} secrets in memory after {answer}")
        }),
        "old-handle" => old_handle(one, rest[1]),
        _ => return crate::hoard::attempt(act, &rest),
    };
    Some(told(outcome))
}

pub(crate) fn told(outcome: Result<String, String>) -> String {
    match outcome {
        Ok(got) => format!("got: {got}"),
        Err(why) => format!("refused: {why}"),
    }
}

pub(crate) fn shown(error: impl Display) -> String {
    error.to_string()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned()
}

/// The folder that a path begins with and what is left of it, by the plain interface: `std` would not let a plugin
/// make links.
fn folder(path: &str) -> Result<(files::Descriptor, String), String> {
    let (folder, rest) = path.split_once('/').ok_or("no folder")?;
    let mut all = preopens::get_directories().into_iter();
    let found = all.find(|(_, name)| name == folder);
    found
        .map(|(descriptor, _)| (descriptor, rest.to_owned()))
        .ok_or_else(|| format!("no folder {folder}"))
}

fn symlink(target: &str, link: &str) -> Result<String, String> {
    let (folder, name) = folder(link)?;
    folder
        .symlink_at(target, &name)
        .map_err(|e| format!("{e:?}"))?;
    let bytes = fs::read(link).map_err(shown)?;
    Ok(text_of(&bytes))
}

/// Looks at a path without opening it, or changes when it was written.
fn look(act: &str, path: &str) -> Result<String, String> {
    let (folder, name) = folder(path)?;
    let flags = files::PathFlags::empty();
    let same = files::NewTimestamp::Now;
    let seen = match act {
        "stat" => folder.stat_at(flags, &name).map(|s| format!("{}", s.size)),
        "times" => folder
            .set_times_at(flags, &name, same, same)
            .map(|()| "set".to_owned()),
        "readlink" => folder.readlink_at(&name),
        _ => folder
            .metadata_hash_at(flags, &name)
            .map(|hash| format!("{}", hash.lower)),
    };
    seen.map_err(|e| format!("{e:?}"))
}

fn list(path: &str) -> Result<String, String> {
    let entries = fs::read_dir(path).map_err(shown)?;
    let names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    Ok(names.join(" "))
}

/// Writes this many MiB.
fn fill(path: &str, mebibytes: usize) -> Result<String, String> {
    let mut file = fs::File::create(path).map_err(shown)?;
    let piece = vec![b'x'; 1 << 20];
    for at in 0..mebibytes {
        file.write_all(&piece)
            .map_err(|e| format!("{e} after {at} MiB"))?;
    }
    Ok(format!("{mebibytes} MiB"))
}

fn stretch(path: &str, mebibytes: u64) -> Result<String, String> {
    let file = fs::File::create(path).map_err(shown)?;
    file.set_len(mebibytes << 20).map_err(shown)?;
    Ok(format!("{mebibytes} MiB"))
}

/// Writes a byte here and there, and leaves holes between them.
fn dots(path: &str, [count, step]: [u64; 2]) -> Result<String, String> {
    let mut file = fs::File::create(path).map_err(shown)?;
    for at in 0..count {
        file.seek(SeekFrom::Start(at * step)).map_err(shown)?;
        file.write_all(b"x")
            .map_err(|e| format!("{e} after {at} dots"))?;
    }
    Ok(format!("{count} dots"))
}

fn handles(path: &str) -> Result<String, String> {
    let mut all = Vec::new();
    for at in 0..100_000 {
        all.push(fs::File::open(path).map_err(|e| format!("{e} after {at} files"))?);
    }
    Ok(format!("{} files", all.len()))
}

fn stdin() -> Result<String, String> {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).map_err(shown)?;
    Ok(format!("{} bytes", bytes.len()))
}

fn tcp(address: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(address).map_err(shown)?;
    stream.write_all(b"hello\n").map_err(shown)?;
    let mut bytes = [0; 64];
    let read = stream.read(&mut bytes).map_err(shown)?;
    Ok(text_of(&bytes[..read]))
}

fn lookup(name: &str) -> Result<String, String> {
    let network = instance_network::instance_network();
    let stream = ip_name_lookup::resolve_addresses(&network, name).map_err(|e| format!("{e:?}"))?;
    let mut all = Vec::new();
    loop {
        stream.subscribe().block();
        match stream.resolve_next_address() {
            Ok(Some(address)) => all.push(format!("{address:?}")),
            Ok(None) => return Ok(format!("{} addresses {}", all.len(), all.join(" "))),
            Err(e) => return Err(format!("{e:?}")),
        }
    }
}

/// Looks a name up that is granted, and then an address, whose handle has the number that the name's had, so that a host
/// might take the address for one that the name gave.
fn old_handle(name: &str, address: &str) -> Result<String, String> {
    lookup(name)?;
    let (ip, _) = address.rsplit_once(':').ok_or("no port")?;
    lookup(ip)?;
    tcp(address)
}

/// Asks for what is not granted, this often, half of it the same.
fn flood_denials(times: usize) -> Result<String, String> {
    for at in 0..times {
        let host = if at % 2 == 0 { 0 } else { at };
        let url = format!("http://{host}.example.com/");
        if Request::new("GET", url).send().is_ok() {
            return Ok(format!("an answer at {at}"));
        }
    }
    Err(format!("{times} times"))
}

/// METHOD URL and headers as NAME=VALUE; `\r\n` in them is meant.
fn http(connection: &str, words: &[&str]) -> Result<String, String> {
    let raw = |text: &str| text.replace("\\r\\n", "\r\n");
    let mut request = Request::new(raw(words[0]), raw(words[1])).connection(connection);
    for header in &words[2..] {
        let (name, value) = header.split_once('=').unwrap_or((header, ""));
        request = request.header(raw(name), raw(value));
    }
    let answer = request.send().map_err(shown)?;
    Ok(format!("{} {}", answer.status, text_of(&answer.body)))
}

/// Sends METHOD URL and headers, and gives the head of the response.
pub(crate) fn ask(words: &[&str]) -> Result<IncomingResponse, String> {
    let (scheme, rest) = words[1].split_once("://").ok_or("no URL")?;
    let (authority, path) = rest
        .split_once('/')
        .map_or((rest, "/".to_owned()), |(a, p)| (a, format!("/{p}")));
    let headers = Fields::new();
    for header in &words[2..] {
        let (name, value) = header.split_once('=').unwrap_or((header, ""));
        let value = value.replace("\\r\\n", "\r\n").into_bytes();
        headers.append(name, &value).map_err(|e| format!("{e:?}"))?;
    }
    let request = OutgoingRequest::new(headers);
    let wrong = |()| "not taken".to_owned();
    request
        .set_method(&Method::Other(words[0].to_owned()))
        .map_err(wrong)?;
    let scheme = if scheme == "https" {
        Scheme::Https
    } else {
        Scheme::Http
    };
    request.set_scheme(Some(&scheme)).map_err(wrong)?;
    request.set_authority(Some(authority)).map_err(wrong)?;
    request.set_path_with_query(Some(&path)).map_err(wrong)?;
    let body = request.body().map_err(wrong)?;
    if words[0] == "POST" {
        let stream = body.write().map_err(wrong)?;
        stream
            .blocking_write_and_flush(b"from a plugin")
            .map_err(|e| format!("{e:?}"))?;
    }
    let coming = outgoing_handler::handle(request, None).map_err(|e| format!("{e:?}"))?;
    OutgoingBody::finish(body, None).map_err(|e| format!("{e:?}"))?;
    coming.subscribe().block();
    let answer = coming.get().ok_or("nothing")?.map_err(wrong)?;
    answer.map_err(|e| format!("{e:?}"))
}

fn wasi_http(words: &[&str]) -> Result<String, String> {
    let answer = ask(words)?;
    let wrong = |()| "not taken".to_owned();
    let status = answer.status();
    let body = answer.consume().map_err(wrong)?;
    let stream = body.stream().map_err(wrong)?;
    let (mut first, mut length) = (Vec::new(), 0_u64);
    loop {
        match stream.blocking_read(1 << 20) {
            Ok(bytes) => {
                length += bytes.len() as u64;
                first.extend(bytes.iter().take(SHOWN.saturating_sub(first.len())));
            }
            Err(StreamError::Closed) => {
                return Ok(format!("{status} {length} bytes {}", text_of(&first)));
            }
            Err(StreamError::LastOperationFailed(e)) => {
                return Err(format!("{} after {length} bytes", e.to_debug_string()));
            }
        }
    }
}

/// The steps of the clocks, as told and as seen.
fn clock() -> String {
    let (told, wall) = (monotonic_clock::resolution(), wall_clock::now().nanoseconds);
    let start = Instant::now();
    let mut step = Duration::ZERO;
    while step.is_zero() {
        step = start.elapsed();
    }
    let fine = !monotonic_clock::now().is_multiple_of(1_000_000) || !wall.is_multiple_of(1_000_000);
    format!(
        "resolution {told}, fine {fine}, step {}",
        step >= Duration::from_millis(1)
    )
}

/// How often a text, given backwards so that it is not found in the config, is anywhere in the memory of this
/// instance.
#[allow(unsafe_code, reason = "that is what a hostile plugin would do")]
fn scan(backwards: &str) -> usize {
    let reversed: Vec<u8> = backwards.bytes().collect();
    let end = core::arch::wasm32::memory_size::<0>() << 16;
    let mut found = 0;
    // Address 0 is skipped: a null pointer is no place in Rust.
    for at in 1..end.saturating_sub(reversed.len()) {
        // SAFETY: within the memory, which is all initialised in WebAssembly; nothing writes meanwhile.
        let byte = |offset: usize| unsafe { core::ptr::read_volatile((at + offset) as *const u8) };
        let length = reversed.len();
        found +=
            usize::from((0..length).all(|offset| byte(offset) == reversed[length - 1 - offset]));
    }
    found
}
