//! Every example in the README is run. With `UPDATE_README=1` its results are written anew.

use super::sample::Sample;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

/// A code block: what stands behind the three backticks, its lines.
struct Block {
    info: String,
    text: String,
}

enum Piece {
    Prose(String),
    Code(Block),
}

fn pieces(text: &str) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut block: Option<Block> = None;
    for line in text.lines() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(info)) => {
                block = Some(Block {
                    info: info.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => out.extend(block.take().map(Piece::Code)),
            (Some(block), None) => {
                block.text += line;
                block.text.push('\n');
            }
            (None, None) => out.push(Piece::Prose(format!("{line}\n"))),
        }
    }
    out
}

#[test]
fn every_example_is_true() {
    let text = std::fs::read_to_string(README).unwrap();
    let mut pieces = pieces(&text);
    let (mut sample, mut before, mut count) = (Sample::default(), String::new(), 0);
    let mut wrong = Vec::new();
    for piece in &mut pieces {
        let Piece::Code(block) = piece else { continue };
        match block.info.as_str() {
            "yaml example" | "yaml refused" => sample = Sample::new(&block.text),
            "json variables" => sample.variables = Some(serde_json::from_str(&block.text).unwrap()),
            "text before" => before = block.text.clone(),
            "text after" | "text problems" => {
                count += 1;
                let found = match block.info.as_str() {
                    "text after" => sample.map(&before),
                    _ => format!("{}\n", sample.problems()),
                };
                // A mapping that is refused is shown as "problems", on purpose.
                let works = !found.starts_with("refused:");
                assert!(works, "does not work:\n{}\n{found}", sample.mapping);
                if found != block.text {
                    wrong.push(format!(
                        "{}\ngave\n{found}not\n{}",
                        sample.mapping, block.text
                    ));
                    block.text = found;
                }
            }
            info => {
                if let Some(table) = info.strip_prefix("text table ") {
                    let entry = |line: &str| {
                        line.split_once(' ')
                            .map(|(k, v)| (k.to_owned(), v.to_owned()))
                            .unwrap()
                    };
                    sample
                        .tables
                        .push((table.to_owned(), block.text.lines().map(entry).collect()));
                }
            }
        }
    }
    if std::env::var_os("UPDATE_README").is_some() {
        let write = |piece: &Piece| match piece {
            Piece::Prose(text) => text.clone(),
            Piece::Code(block) => format!("```{}\n{}```\n", block.info, block.text),
        };
        std::fs::write(README, pieces.iter().map(write).collect::<String>()).unwrap();
    } else {
        assert!(
            wrong.is_empty(),
            "{} of {count} examples:\n{}",
            wrong.len(),
            wrong.join("\n----\n")
        );
    }
    assert!(count > 20, "only {count} examples found");
}
