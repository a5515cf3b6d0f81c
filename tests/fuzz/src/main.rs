//! Feeds what strangers write to what reads it.
//!
//! `cargo xtask fuzz` builds this with counters in the project's own crates, so that inputs that reach new code are kept
//! and changed further; built plainly it changes the corpus blindly. It needs no other tool and no nightly compiler.
//!
//! A target is a function of bytes that must return, whatever they are: a panic, an input that takes seconds, and the
//! end of the process (a stack that overflowed, memory that ran out) are findings. Its corpus is in `corpus/TARGET/`:
//! one file an input, and each file that once was a finding stays there. To add a target, write a function in
//! `src/targets/`, name it in [`targets::ALL`], and give it an input or two.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        reason = "tests"
    )
)]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command line tool"
)]

mod coverage;
mod fuzzer;
mod mutate;
mod targets;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use clap::Parser;

use fuzzer::{Failure, Options};
use targets::Target;

/// An input that is worked on for so much longer than the time that was given is one that never ends.
const HANGS: Duration = Duration::from_mins(1);

/// Feeds mutated inputs to what reads what strangers write.
#[derive(Parser)]
struct Arguments {
    /// The target; all of them when it is left out
    target: Option<String>,
    /// Seconds for each target
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Where chance begins; another number gives other inputs
    #[arg(long)]
    seed: Option<u64>,
    /// Only give this input to the target
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// Put inputs that reached new code into the corpus
    #[arg(long)]
    keep: bool,
    /// Work in this process, noting each input in this file first: how the program starts itself
    #[arg(long, hide = true, value_name = "FILE", requires = "target")]
    work: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen: Vec<&Target> = match &arguments.target {
        None => targets::ALL.iter().collect(),
        Some(name) => targets::ALL.iter().filter(|one| one.name == name).collect(),
    };
    if chosen.is_empty() {
        let known: Vec<&str> = targets::ALL.iter().map(|one| one.name).collect();
        eprintln!("there is no such target; known: {}", known.join(", "));
        return ExitCode::from(2);
    }
    let done = chosen.into_iter().map(|target| one(target, &arguments));
    let outcomes: Vec<io::Result<bool>> = done.collect();
    let mut code = ExitCode::SUCCESS;
    for outcome in outcomes {
        match outcome {
            Ok(true) => {}
            Ok(false) => code = ExitCode::FAILURE,
            Err(error) => {
                eprintln!("error: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// Works on one target; says whether it survived.
fn one(target: &Target, arguments: &Arguments) -> io::Result<bool> {
    if let Some(file) = &arguments.input {
        return Ok(match fuzzer::run(target, &fs::read(file)?) {
            Ok(time) => {
                println!("{}: returned after {time:?}", target.name);
                true
            }
            Err(failure) => {
                println!("{}: {failure}", target.name);
                false
            }
        });
    }
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    match &arguments.work {
        Some(noted) => work(target, arguments, noted, seed),
        None => supervise(target, arguments, seed),
    }
}

/// Starts this program to do the work, so that an end of the process is a finding like others.
fn supervise(target: &Target, arguments: &Arguments, seed: u64) -> io::Result<bool> {
    let folder = tempfile::tempdir()?;
    let noted = folder.path().join("input");
    let mut worker = Command::new(std::env::current_exe()?);
    worker
        .arg(target.name)
        .arg("--work")
        .arg(&noted)
        .args(["--seconds", &arguments.seconds.to_string()])
        .args(["--seed", &seed.to_string()]);
    if arguments.keep {
        worker.arg("--keep");
    }
    let mut worker = worker.spawn()?;
    let until = Instant::now() + Duration::from_secs(arguments.seconds) + HANGS;
    let status = loop {
        if let Some(status) = worker.try_wait()? {
            break status;
        }
        if Instant::now() > until {
            worker.kill()?;
            break worker.wait()?;
        }
        thread::sleep(Duration::from_millis(50));
    };
    match status.code() {
        Some(0) => Ok(true),
        Some(1) => Ok(false),
        _ => {
            let why = format!("the process ended ({status})");
            report(target, &Failure::Died(why), &fs::read(&noted)?)?;
            Ok(false)
        }
    }
}

fn work(target: &Target, arguments: &Arguments, noted: &Path, seed: u64) -> io::Result<bool> {
    let options = Options {
        time: Duration::from_secs(arguments.seconds),
        seed,
        noted: Some(noted.to_owned()),
    };
    let corpus = corpus(target)?;
    let outcome = fuzzer::fuzz(target, &corpus, &options)?;
    println!(
        "{}: {} inputs in {} s, {}, seed {seed}{}",
        target.name,
        outcome.inputs,
        arguments.seconds,
        match outcome.edges {
            0 => "not led by coverage".to_owned(),
            edges => format!("{edges} places of the code reached"),
        },
        if outcome.failure.is_some() {
            ": FAILED"
        } else {
            ""
        }
    );
    if arguments.keep {
        for input in &outcome.new {
            fs::write(folder(target).join(name_of(input)), input)?;
        }
    }
    if let Some((failure, input)) = outcome.failure {
        report(target, &failure, &input)?;
        return Ok(false);
    }
    Ok(true)
}

/// Keeps the input of a finding, and says how to look at it.
fn report(target: &Target, failure: &Failure, input: &[u8]) -> io::Result<()> {
    let found = here().join("found").join(target.name);
    fs::create_dir_all(&found)?;
    let file = found.join(name_of(input));
    fs::write(&file, input)?;
    println!("{}: {failure}", target.name);
    println!(
        "  {}",
        String::from_utf8_lossy(&input[..input.len().min(300)]).escape_debug()
    );
    println!(
        "  again: cargo run -p crossdock-fuzz -- {} --input {}",
        target.name,
        file.display()
    );
    println!(
        "  then mend it, and move the file to {}",
        folder(target).display()
    );
    Ok(())
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder(target: &Target) -> PathBuf {
    here().join("corpus").join(target.name)
}

fn name_of(input: &[u8]) -> String {
    use sha2::Digest as _;
    hex::encode(&sha2::Sha256::digest(input)[..8])
}

/// The inputs of a target, in the order of their names.
fn corpus(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder(target))? {
        files.push(entry?.path());
    }
    files.sort();
    files.iter().map(fs::read).collect()
}
