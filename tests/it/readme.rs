//! What the READMEs tell people to type and to write is what the program takes.
//!
//! Every command line in an `sh` block, or indented in the README itself, is given to the program's own parser: a command
//! or an option that does not exist fails. Commands that read files of the repository are run where that is cheap.

use std::{fs, path::PathBuf};

use crossdock_tests::host::{TestHost, cargo, workspace};

/// The READMEs of the repository and of its plugins.
fn readmes() -> Vec<PathBuf> {
    let inside = |folder: &str| fs::read_dir(workspace().join(folder)).unwrap();
    let mut all: Vec<PathBuf> = inside("plugins")
        .chain(inside("guest-sdk"))
        .map(|entry| entry.unwrap().path().join("README.md"))
        .collect();
    all.push(workspace().join("README.md"));
    all.push(workspace().join("guest-sdk/README.md"));
    all.retain(|path| path.is_file());
    all.sort();
    all
}

/// Blocks of a language as (number of the first line, text).
pub(crate) fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(bool, usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut open, line.trim().strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.trim() == language, number + 2, String::new())),
            (Some(_), Some(_)) => {
                let (wanted, first, text) = open.take().unwrap();
                if wanted {
                    blocks.push((first, text));
                }
            }
            (Some((_, _, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// A text without its blocks.
fn outside_of_blocks(text: &str) -> String {
    let mut open = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim().starts_with("```");
        open ^= fence;
        !open && !fence
    });
    lines.map(|line| line.to_owned() + "\n").collect()
}

/// Lines of a shell as people type them: continued ones joined, comments and prompts taken away.
fn commands(block: &str) -> Vec<Vec<String>> {
    let joined = block.replace("\\\n", " ");
    let lines = joined.lines().filter_map(|line| {
        let line = line.trim().trim_start_matches("$ ");
        let line = line.split(" #").next().unwrap().trim();
        let words: Vec<String> = words(line);
        // Variables that are set for one command.
        let start = words
            .iter()
            .position(|word| !word.contains('=') || word.starts_with('-'))?;
        Some(words[start..].to_vec())
    });
    lines.filter(|words| !words.is_empty()).collect()
}

/// Splits like a shell, up to the first pipe or redirection.
pub(crate) fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut any) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(q), c) if q == c => quote = None,
            (None, '\'' | '"') => (quote, any) = (Some(c), true),
            (None, '|' | '>' | ';' | '&') => break,
            (None, ' ') => {
                if any || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            (_, c) => word.push(c),
        }
    }
    if any || !word.is_empty() {
        words.push(word);
    }
    words
}

#[test]
fn the_reader_of_blocks_sees_commands() {
    let text =
        "a\n```sh\nA=1 crossdock run \\\n  'a b.yaml' --json > x  # why\n```\n```yaml\nx: 1\n```\n";
    let [(2 | 3, block)] = &blocks(text, "sh")[..] else {
        panic!("{:?}", blocks(text, "sh"));
    };
    assert_eq!(
        commands(block),
        [["crossdock", "run", "a b.yaml", "--json"]]
    );
}

/// The help of `cargo xtask` behind these arguments, or why it does not take them.
fn xtask(arguments: &[String]) -> String {
    let done = cargo(workspace())
        .args(["run", "--quiet", "--package", "xtask", "--"])
        .args(arguments)
        .arg("--help")
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&done.stderr).replace("Usage:", "");
    String::from_utf8_lossy(&done.stdout).into_owned() + &error
}

#[test]
fn commands_in_the_readmes_are_commands_of_the_program() {
    let host = TestHost::new();
    let mut seen = 0;
    for path in readmes() {
        let text = fs::read_to_string(&path).unwrap();
        let mut lines: Vec<Vec<String>> = blocks(&text, "sh")
            .iter()
            .flat_map(|(_, block)| commands(block))
            .collect();
        // Code in the text and indented code. What blocks of other languages show is nothing to type.
        let text = outside_of_blocks(&text);
        let indented = text.lines().filter(|line| line.starts_with("    "));
        let inline = text.split('`').skip(1).step_by(2);
        lines.extend(
            indented
                .chain(inline)
                .flat_map(commands)
                .filter(|words| words.len() > 1 && !words[1].starts_with("FLOW")),
        );
        for words in lines {
            let name = path.display();
            match words[0].as_str() {
                "crossdock" => {
                    // With `--help` the parser has seen all that stands before it, and nothing runs.
                    let ended = host.crossdock(&words[1..]).arg("--help").end();
                    assert_eq!(ended.code(), Some(0), "{name}: {words:?}\n{ended}");
                    seen += 1;
                }
                "cargo" if words.get(1).is_some_and(|word| word == "xtask") => {
                    // What comes behind `test` is the test runner's, and would run it.
                    let end = if words[2] == "test" { 2 } else { words.len() };
                    let shown = xtask(&words[2..end]);
                    assert!(shown.contains("Usage: "), "{name}: {words:?}\n{shown}");
                    assert!(
                        shown.contains(&words[2]),
                        "{name}: no task {:?}\n{shown}",
                        words[2]
                    );
                    seen += 1;
                }
                _ => {}
            }
        }
    }
    assert!(
        seen >= 3,
        "only {seen} commands found: does this test still read the files?"
    );
}

#[test]
fn flows_in_the_readmes_have_no_unknown_fields() {
    let mut seen = 0;
    for path in readmes() {
        let text = fs::read_to_string(&path).unwrap();
        for (line, block) in blocks(&text, "yaml") {
            let top = |key: &str| block.lines().any(|line| line.starts_with(key));
            if !["source:", "sinks:", "transformers:"]
                .iter()
                .any(|key| top(key))
            {
                continue;
            }
            let host = TestHost::new();
            let flow = if top("flow:") {
                block
            } else {
                format!("flow: readme\n{block}")
            };
            host.write("flows/readme.yaml", flow);
            let ended = host
                .crossdock(["check", "flows/readme.yaml", "--json"])
                .end();
            let document = ended.json();
            // Pieces of flows lack stages, variables and files; what is there must be known and of the right type.
            for finding in document["findings"].as_array().unwrap() {
                let code = finding["code"].as_str().unwrap();
                let fine = ["missing", "not-found"]
                    .iter()
                    .any(|word| code.contains(word))
                    || finding["severity"] == "warning";
                assert!(fine, "{}:{line}: {finding}", path.display());
            }
            seen += 1;
        }
    }
    assert!(
        seen >= 4,
        "only {seen} flows found: does this test still read the files?"
    );
}

#[test]
fn the_flow_of_this_repository_passes_its_check() {
    let host = TestHost::new();
    let flow = workspace().join("plugins/akeneo-to-spryker/flows/akeneo-to-spryker.yaml");
    let names = ["CLIENT_ID", "CLIENT_SECRET", "USERNAME", "PASSWORD"];
    let mut check = host
        .crossdock(["check"])
        .arg(flow)
        .env("AKENEO_URL", "http://127.0.0.1:1");
    for name in names {
        check = check.env(&format!("AKENEO_{name}"), "x");
    }
    check.end().no_panic().exits(0);
}
