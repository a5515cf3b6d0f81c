//! The loop: change an input, give it to the target, keep it when it reached something new.

use std::{
    cell::{Cell, RefCell},
    fmt,
    fs::File,
    io::{self, Seek as _, Write as _},
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    time::{Duration, Instant},
};

use fastrand::Rng;

use crate::{coverage::Reached, mutate, targets::Target};

/// An input that takes longer, each of several times, is a finding: nothing here is larger than a few KiB.
const SLOW: Duration = Duration::from_secs(2);
/// Tries to make the input of a finding shorter.
const TRIES_TO_SHRINK: usize = 2000;
/// Inputs that are kept when nothing leads.
const BLIND_POOL: usize = 500;

/// How to fuzz.
pub(crate) struct Options {
    /// How long.
    pub(crate) time: Duration,
    /// Where chance begins.
    pub(crate) seed: u64,
    /// Where each input is noted before it is given to the target, to be found when the process ends.
    pub(crate) noted: Option<PathBuf>,
}

/// What came of it.
pub(crate) struct Outcome {
    /// Inputs that the target got.
    pub(crate) inputs: u64,
    /// Places of the code that were reached; 0 without counters.
    pub(crate) edges: usize,
    /// Inputs that reached something that the corpus did not.
    pub(crate) new: Vec<Vec<u8>>,
    /// The first finding.
    pub(crate) failure: Option<(Failure, Vec<u8>)>,
}

/// What is wrong with a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    Panicked(String),
    Slow(Duration),
    Died(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(text) => write!(f, "panicked: {text}"),
            Self::Slow(time) => write!(f, "took {time:?}"),
            Self::Died(text) => f.write_str(text),
        }
    }
}

thread_local! {
    /// What the last panic of this thread said.
    static LAST_PANIC: RefCell<String> = RefCell::default();
    /// Whether a target runs in this thread.
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

/// Gives an input to a target. Says how long it took.
pub(crate) fn run(target: &Target, input: &[u8]) -> Result<Duration, Failure> {
    once(target, input).and_then(|time| {
        // A busy machine is slow once, an input always is.
        let times = (time > SLOW).then(|| [once(target, input), once(target, input)]);
        let mut fastest = time;
        for again in times.into_iter().flatten() {
            fastest = fastest.min(again?);
        }
        if fastest > SLOW {
            return Err(Failure::Slow(fastest));
        }
        Ok(fastest)
    })
}

fn once(target: &Target, input: &[u8]) -> Result<Duration, Failure> {
    let since = Instant::now();
    listen();
    RUNS.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    RUNS.set(false);
    match outcome {
        Ok(()) => Ok(since.elapsed()),
        Err(_) => Err(Failure::Panicked(LAST_PANIC.take())),
    }
}

/// Panics are findings and told as such.
fn listen() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if RUNS.get() {
                LAST_PANIC.set(info.to_string().replace('\n', " "));
            } else {
                before(info);
            }
        }));
    });
}

/// Fuzzes a target until the time is over or something is found.
///
/// # Errors
/// The file for the current input cannot be written.
pub(crate) fn fuzz(target: &Target, corpus: &[Vec<u8>], options: &Options) -> io::Result<Outcome> {
    let mut rng = Rng::with_seed(options.seed);
    let mut noted = options.noted.as_ref().map(File::create).transpose()?;
    let mut reached = Reached::default();
    let mut pool: Vec<Vec<u8>> = Vec::new();
    let mut outcome = Outcome {
        inputs: 0,
        edges: 0,
        new: Vec::new(),
        failure: None,
    };
    let until = Instant::now() + options.time;
    let mut seeds = corpus.iter();
    loop {
        let seed = seeds.next();
        if seed.is_none() && Instant::now() >= until {
            break;
        }
        let input = seed.map_or_else(|| next(&pool, target, &mut rng), Clone::clone);
        if let Some(file) = &mut noted {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(&input)?;
        }
        Reached::reset();
        outcome.inputs += 1;
        if let Err(failure) = run(target, &input) {
            let short = shrink(target, &failure, input);
            outcome.failure = Some((failure, short));
            break;
        }
        let is_new = reached.take();
        let blind = reached.places() == 0;
        if seed.is_some() || is_new || (blind && pool.len() < BLIND_POOL && rng.u8(..) < 8) {
            if seed.is_none() && is_new {
                outcome.new.push(input.clone());
            }
            pool.push(input);
        }
    }
    outcome.edges = reached.places();
    Ok(outcome)
}

/// An input that was good for something, changed.
fn next(pool: &[Vec<u8>], target: &Target, rng: &mut Rng) -> Vec<u8> {
    // The latest are the most promising.
    let newest = pool.len().saturating_sub(16);
    let from = if rng.bool() { newest } else { 0 };
    let mut input = match pool.len() {
        0 => Vec::new(),
        length => pool[rng.usize(from..length)].clone(),
    };
    mutate::change(&mut input, pool, target.words, rng);
    input
}

/// A shorter input with the same finding.
fn shrink(target: &Target, failure: &Failure, mut input: Vec<u8>) -> Vec<u8> {
    if matches!(failure, Failure::Slow(_)) {
        return input;
    }
    let mut tries = 0;
    let mut size = input.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < input.len() && tries < TRIES_TO_SHRINK {
            let mut shorter = input.clone();
            shorter.drain(at..(at + size).min(input.len()));
            tries += 1;
            if matches!(once(target, &shorter), Err(Failure::Panicked(_))) {
                input = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    input
}
