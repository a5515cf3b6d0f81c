//! `akeneo-standin`: the Akeneo stand-in as a program.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use crossdock_tests::akeneo::{AkeneoServer, Credentials, Fault, Limits, Options};
use crossdock_tests::catalogue::{Catalogue, Kind};
use serde_json::json;

/// An HTTP server that behaves like Akeneo's REST API.
///
/// It serves a generated catalogue (--products) or a folder of Akeneo CSV files (--catalogue) on 127.0.0.1. When it is ready it
/// prints one line of JSON: "url", "credentials", "channels" (their codes), "products" and "expected", the counts that a correct
/// integration must produce. It stops on Ctrl-C and SIGTERM.
#[derive(Parser)]
#[command(name = "akeneo-standin", version, after_help = EXAMPLES)]
struct Arguments {
    /// How many products (variants and simple ones) the generated catalogue has
    #[arg(long, value_name = "N", default_value_t = 100)]
    products: usize,
    /// The same seed and size give the same catalogue
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Serve the Akeneo CSV files of this folder instead
    #[arg(long, value_name = "DIR", conflicts_with_all = ["products", "seed"])]
    catalogue: Option<PathBuf>,
    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "P", default_value_t = 0)]
    port: u16,
    /// What goes wrong, may be repeated: `PATH=KIND[xTIMES][@AFTER]`
    ///
    /// PATH is what follows /api/rest/v1/ (products, attributes/color/options), `token`, or `*` for any. KIND is a status (401,
    /// 429, 500, 502, 503), 429:SECONDS for a Retry-After, drop (connection breaks in the body), truncate (JSON ends in the
    /// middle) or slow:MILLISECONDS. TIMES is how often, AFTER how many requests are answered well before.
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
    /// Answer 429 beyond that many calls at a time (Akeneo: 4); 0 = no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    concurrent: usize,
    /// Answer 429 beyond that many calls a second (Akeneo: 100); 0 = no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    rate: usize,
    /// Send Retry-After with the 429s of --concurrent and --rate
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u64>,
    /// How long an access token is good for, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    token_life: u64,
    /// Show products and sub models with their own values only; without, with what they inherit, as Akeneo does
    #[arg(long)]
    own_values: bool,
    /// Client id that may ask for tokens
    #[arg(long, value_name = "ID", default_value_t = Credentials::default().client_id)]
    client_id: String,
    /// Secret of the client
    #[arg(long, value_name = "SECRET", default_value_t = Credentials::default().secret)]
    secret: String,
    /// User that may ask for tokens
    #[arg(long, value_name = "NAME", default_value_t = Credentials::default().username)]
    username: String,
    /// Password of the user
    #[arg(long, value_name = "PASSWORD", default_value_t = Credentials::default().password)]
    password: String,
    /// Stop when standard input is closed too, so that no server outlives who started it
    #[arg(long)]
    stop_on_stdin_close: bool,
}

const EXAMPLES: &str = "Examples:
  akeneo-standin --products 10000 --port 8080
  akeneo-standin --catalogue fixtures/shop --concurrent 4 --rate 100
  akeneo-standin --fault products=429:1x3 --fault categories=500@2 --token-life 1";

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            // Nothing to be done when even standard error is closed.
            let _ = writeln!(std::io::stderr(), "error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    let some = |limit: usize| (limit > 0).then_some(limit);
    let stdin = arguments.stop_on_stdin_close;
    let base = match &arguments.catalogue {
        Some(folder) => Options::fixtures(folder).map_err(|error| error.to_string())?,
        None => Options::generated(arguments.products, arguments.seed),
    };
    let options = Options {
        port: arguments.port,
        credentials: Credentials {
            client_id: arguments.client_id,
            secret: arguments.secret,
            username: arguments.username,
            password: arguments.password,
        },
        token_life: Duration::from_secs(arguments.token_life),
        limits: Limits {
            concurrent: some(arguments.concurrent),
            per_second: some(arguments.rate),
            retry_after: arguments.retry_after,
        },
        inherited: !arguments.own_values,
        faults: arguments.faults,
        ..base
    };
    let server = AkeneoServer::start(options).map_err(|error| error.to_string())?;
    let expected = server.catalogue().expected();
    let ready = json!({"url": server.base_url(), "credentials": server.credentials(), "products": expected.concretes,
        "channels": channels(server.catalogue()), "expected": expected});
    let mut out = std::io::stdout();
    writeln!(out, "{ready}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot print: {error}"))?;
    wait(stdin).map_err(|error| format!("cannot wait for signals: {error}"))
}

/// The codes of the catalogue's channels, in its order.
fn channels(catalogue: &dyn Catalogue) -> Vec<String> {
    (0..catalogue.len(Kind::Channels))
        .filter_map(|index| catalogue.head(Kind::Channels, index))
        .map(|head| head.code)
        .collect()
}

/// Returns when the server is to stop.
fn wait(stdin: bool) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (closed, on_close) = tokio::sync::oneshot::channel::<()>();
    // The sender lives as long as nothing has to be told; a thread of its own reads, because a blocking read cannot be
    // cancelled and ends with the process.
    let keep = if stdin {
        std::thread::spawn(move || {
            let mut ignored = [0; 1024];
            while std::io::stdin()
                .read(&mut ignored)
                .is_ok_and(|read| read > 0)
            {}
            drop(closed);
        });
        None
    } else {
        Some(closed)
    };
    runtime.block_on(async {
        let terminated = terminated()?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            () = terminated => Ok(()),
            _ = on_close => Ok(()),
        }
    })?;
    drop(keep);
    Ok(())
}

#[cfg(unix)]
fn terminated() -> std::io::Result<impl Future<Output = ()>> {
    let mut signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        signal.recv().await;
    })
}

#[cfg(not(unix))]
fn terminated() -> std::io::Result<impl Future<Output = ()>> {
    Ok(std::future::pending())
}
