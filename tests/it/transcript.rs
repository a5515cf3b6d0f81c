//! What the README of the repository shows is what happens: its files are written, its commands are run one after the
//! other as a reader would, and what they tell is compared with what stands there. Times, sizes and digests may differ.
//!
//! When the program tells something else now: `CROSSDOCK_README=write cargo nextest run --workspace -E 'test(transcript)'`
//! puts that into the README, to be read before it lands.

use std::{fs, path::PathBuf};

use crossdock_tests::{
    host::{Ended, Invocation, Running, TestHost, plugin, workspace},
    registry::TestRegistry,
};

use crate::{
    demo::demo,
    readme::{blocks, words},
};

/// A command with what it tells.
#[derive(Clone)]
struct Step {
    command: String,
    /// Whether Ctrl-C is pressed while it runs.
    interrupted: bool,
    /// What is shown, with the lines' ends.
    shown: String,
}

/// Behind this a daemon is there.
const SERVES: &str = "what goes on";
/// In every line of progress where there is no terminal.
const PROGRESS: &str = ", checkpoint ";

/// The registry that is shown, and that a real one stands in for.
const REGISTRY: &str = "registry.example.com";
/// Commands that need one.
const OF_REGISTRIES: [&str; 6] = [
    "plugin publish",
    "plugin search",
    "plugin install",
    "plugin list",
    "plugin outdated",
    "catalogue ",
];

fn readme() -> PathBuf {
    workspace().join("README.md")
}

/// The commands of a block, each behind `$ `, and the lines behind each.
fn steps(block: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in block.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                interrupted: false,
                shown: String::new(),
            });
            continue;
        }
        let step = steps.last_mut().expect("a block begins with a command");
        if line == "^C" {
            step.interrupted = true;
        } else {
            step.shown.push_str(line);
            step.shown.push('\n');
        }
    }
    steps
}

/// Files: blocks behind a line that is nothing but a path in backticks and a colon, or ends so.
fn files(text: &str) -> Vec<(String, String)> {
    let mut named = None;
    let mut files = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let content: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            if let Some(name) = named.take() {
                files.push((name, content.join("\n") + "\n"));
            }
        } else if !line.is_empty() {
            let path = line
                .strip_suffix("`:")
                .and_then(|line| line.rsplit_once('`'));
            named = path.map(|(_, path)| path.to_owned());
        }
    }
    files
}

/// `crossdock` or `cargo xtask demo` with the arguments of this line.
fn invocation(host: &TestHost, command: &str) -> Invocation {
    let words = words(command);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match &words[..] {
        ["crossdock", arguments @ ..] => host.crossdock(arguments),
        // Where the target folder of the project would be.
        ["cargo", "xtask", "demo", arguments @ ..] => {
            demo(host, arguments.iter().chain(&["--out", "target/demo"]))
        }
        _ => panic!("nobody knows how to run {command:?}"),
    }
}

/// Runs a command to its end; one that is interrupted, once its records move.
fn run(host: &TestHost, step: &Step) -> Ended {
    let invocation = invocation(host, &step.command);
    if !step.interrupted {
        return invocation.end();
    }
    let mut running = invocation.start();
    running.says(PROGRESS);
    running.signal("INT");
    running.end()
}

/// A command that goes on in the background (`&`): started, with what it says of itself.
fn background(host: &TestHost, command: &str) -> (Running, String) {
    // Any port that is free; the one that is shown may be somebody else's.
    let mut running = invocation(host, command)
        .args(["--listen", "127.0.0.1:0"])
        .start();
    let first = running.says("serving");
    let told = format!("{first}\n{}\n", running.says(SERVES));
    // A reader types the next command when records move.
    loop {
        let status = host
            .crossdock(["flow", "status", "live", "--json"])
            .end()
            .json();
        if status["checkpoint"]["epoch"].as_u64() >= Some(2) {
            return (running, told);
        }
        running.still_runs("made a checkpoint");
    }
}

/// What the program in the background tells when it is ended.
fn killed(mut running: Running) -> (Ended, String) {
    running.signal("TERM");
    let ended = running.end();
    let (_, told) = ended.stderr.split_once(SERVES).unwrap();
    let told = told
        .split_once('\n')
        .map_or("", |(_, told)| told)
        .to_owned();
    (ended, told)
}

/// What a person sees on a terminal when all is over: progress is gone then, and what cargo builds is not the demo's.
fn told(ended: &Ended) -> String {
    let passing = [
        PROGRESS,
        ": opening the plugins",
        "   Compiling ",
        "    Blocking ",
    ];
    let all = format!("{}{}", ended.stderr, ended.text());
    all.lines()
        .filter(|line| !passing.iter().any(|text| line.contains(text)))
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// Whether a block needs a registry.
fn needs_registry(block: &str) -> bool {
    OF_REGISTRIES
        .iter()
        .any(|command| block.contains(&format!("$ crossdock {command}")))
}

/// Without what is another time each time. With `counts` numbers are too.
fn masked(text: &str, counts: bool) -> Vec<String> {
    text.lines().map(|line| masked_line(line, counts)).collect()
}

fn masked_line(line: &str, counts: bool) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[..] {
        // What the compiler was.
        ["made", "with", ..] => return "made with #".to_owned(),
        ["run", id] if id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            return "run #".to_owned();
        }
        _ => {}
    }
    let mut shown = Vec::new();
    let mut skip = false;
    for (at, word) in words.iter().enumerate() {
        if std::mem::take(&mut skip) {
            continue;
        }
        let next = words.get(at + 1).copied().unwrap_or_default();
        let unit = bare(next);
        let measured = ["s", "ms", "µs", "records/s", "B", "KiB", "MiB"].contains(&unit);
        if is_number(bare(word)) && (measured || counts) {
            // With its unit: it may be another one.
            skip = measured;
            shown.push("#".to_owned());
        } else if is_key(&words[..at], bare(word)) {
            shown.push("#".to_owned());
        } else if word.contains('.') && word.split('.').any(is_hex) {
            let parts = word.split('.');
            let masked = parts.map(|part| if is_hex(part) { "#" } else { part });
            shown.push(masked.collect::<Vec<_>>().join("."));
        } else if let Some(digest) = word.find("sha256:") {
            shown.push(format!("{}sha256:#", &word[..digest]));
        } else if word.starts_with("http://127.0.0.1:") {
            shown.push("http://127.0.0.1:#".to_owned());
        } else if is_time(bare(word))
            || is_rate(bare(word))
            || (counts && word.starts_with("checkpoint"))
        {
            shown.push("#".to_owned());
        } else {
            shown.push((*word).to_owned());
        }
    }
    shown.join(" ")
}

/// `key 0a1b…`: every key is another one.
fn is_key(before: &[&str], word: &str) -> bool {
    let named = before.last().is_some_and(|before| bare(before) == "key");
    named && is_hex(word)
}

/// The short form of a key's name, which files are called by, too.
fn is_hex(word: &str) -> bool {
    word.len() == 16 && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A word without the signs around it.
fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| "(),;:".contains(c))
}

fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b".,".contains(&byte))
}

/// `2026-11-27T18:00:23.919Z`, `0.20s`.
fn is_time(word: &str) -> bool {
    let stamp = word.ends_with('Z') && word.contains('T') && word.starts_with("20");
    stamp || word.strip_suffix('s').is_some_and(is_number)
}

/// `2,999/s`.
fn is_rate(word: &str) -> bool {
    word.strip_suffix("/s").is_some_and(is_number)
}

#[test]
fn what_the_readme_shows_is_what_happens() {
    let text = fs::read_to_string(readme()).unwrap();
    let host = TestHost::new();
    host.write(
        "target/plugins/jsonl.wasm",
        fs::read(plugin("jsonl")).unwrap(),
    );
    let files = files(&text);
    assert!(files.len() >= 5, "{files:?}");
    // Where none can be had the rest is looked at all the same; why, was said.
    let registry = TestRegistry::start();
    let address = registry.as_ref().map_or(REGISTRY, TestRegistry::host);
    let to_registry = |text: &str| text.replace(REGISTRY, address);
    for (name, content) in &files {
        // A reader needs time to press Ctrl-C.
        let content = content.replace("records: 60000", "records: 20000");
        host.write(name, to_registry(&content));
    }
    // The one that stands in for it has no certificate.
    host.write(
        ".config/crossdock/registries.yaml",
        format!("registries: [{{ registry: '{address}', plain-http: true }}]\n"),
    );
    let (mut now, mut different, mut seen) = (text.clone(), Vec::new(), 0);
    for (line, block) in blocks(&text, "console") {
        if registry.is_none() && needs_registry(&block) {
            continue;
        }
        let steps = steps(&block);
        let is_live = |step: &Step| step.interrupted || step.command.ends_with('&');
        let counts = steps.iter().any(is_live);
        let mut daemon = None;
        for step in steps {
            let told = if let Some(command) = step.command.strip_suffix('&') {
                let (running, told) = background(&host, command);
                daemon = Some(running);
                told
            } else if step.command == "kill %1" {
                let (ended, told) = killed(daemon.take().unwrap());
                ended.no_panic().exits(0);
                told
            } else {
                let command = to_registry(&step.command);
                let ended = run(
                    &host,
                    &Step {
                        command,
                        ..step.clone()
                    },
                );
                ended.no_panic();
                told(&ended).replace(address, REGISTRY)
            };
            seen += 1;
            if masked(&told, counts) == masked(&step.shown, counts) {
                continue;
            }
            let break_ = if step.interrupted { "^C\n" } else { "" };
            let head = format!("$ {}\n{break_}", step.command);
            now = now.replacen(
                &format!("{head}{}", step.shown),
                &format!("{head}{told}"),
                1,
            );
            different.push(format!(
                "README.md:{line}: $ {}\n── is shown ──\n{}── happens ──\n{told}",
                step.command, step.shown
            ));
        }
    }
    if std::env::var_os("CROSSDOCK_README").is_some_and(|how| how == "write") {
        fs::write(readme(), now).unwrap();
        return;
    }
    assert!(
        different.is_empty(),
        "{}\n`CROSSDOCK_README=write` takes what happens",
        different.join("\n")
    );
    assert!(
        seen >= 8,
        "only {seen} commands found: does this test still read the file?"
    );
}

#[test]
fn the_code_in_the_readme_is_that_of_the_sdks_example() {
    let text = fs::read_to_string(readme()).unwrap();
    let example = fs::read_to_string(workspace().join("guest-sdk/rust/README.md")).unwrap();
    let shown = blocks(&text, "rust");
    assert!(!shown.is_empty());
    for (line, block) in shown {
        assert!(
            example.contains(&block),
            "README.md:{line}: the example has changed"
        );
    }
}

#[test]
fn masks_hide_what_differs_and_nothing_else() {
    let same = |a: &str, b: &str| masked_line(a, false) == masked_line(b, false);
    assert!(same(
        "4 records read in 35 ms (115/s)",
        "4 records read in 1.2 s (3/s)"
    ));
    assert!(!same("4 records read in 35 ms", "5 records read in 35 ms"));
    assert!(same(
        "  file  a.wasm (771.18 KiB)",
        " file a.wasm (770.00 KiB)"
    ));
    assert!(same(
        "sha256:aa on http://127.0.0.1:1",
        "sha256:bb on http://127.0.0.1:2"
    ));
    assert!(same(
        "1.2 s, 1174 records/s, delivery: x",
        "3.0 s, 5 records/s, delivery: x"
    ));
    assert!(!same("delivery: exactly-once", "delivery: at-least-once"));
    assert!(same(
        "by acme (key 0123456789abcdef)",
        "by acme (key fedcba9876543210)"
    ));
    assert!(!same("acme 0123456789abcdef", "acme fedcba9876543210"));
    assert!(same("a.0123456789abcdef.json", "a.fedcba9876543210.json"));
    assert!(!same("a.0123456789abcdef.json", "b.fedcba9876543210.json"));
    assert_eq!(
        masked_line("ticks 22,500 0 (2 checkpoints)", true),
        "ticks # # # #"
    );
}
