//! `crossdock metrics`: the numbers of a running host, as a monitoring system gets them.

use std::{collections::BTreeMap, iter::Peekable, str::Chars};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::{Failure, daemon::ProjectFolder, output::Output};

#[derive(Debug, Args)]
pub(super) struct MetricsArguments {
    /// Only metrics whose name contains this
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    #[command(flatten)]
    project: ProjectFolder,
    /// Print them as one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn metrics(arguments: MetricsArguments, output: Output) -> Result<u8, Failure> {
    let daemon = arguments.project.daemon().await?;
    let all = daemon.text("metrics").await?;
    let chosen = chosen(&all, arguments.text.as_deref().unwrap_or_default());
    if arguments.json {
        output.print_json(&List {
            ok: true,
            metrics: samples(&chosen),
        });
    } else {
        output.print(&chosen);
    }
    Ok(0)
}

/// The lines of metrics whose name contains a text.
fn chosen(all: &str, text: &str) -> String {
    let name = |line: &str| -> String {
        let rest = line.trim_start_matches("# HELP ");
        let rest = rest.trim_start_matches("# TYPE ");
        let end = rest.find(['{', ' ']).unwrap_or(rest.len());
        rest[..end].to_owned()
    };
    let lines = all.lines().filter(|line| name(line).contains(text));
    lines.map(|line| line.to_owned() + "\n").collect()
}

#[derive(Serialize)]
struct List {
    ok: bool,
    metrics: Vec<Sample>,
}

/// One number.
#[derive(Debug, Clone, Serialize)]
struct Sample {
    name: String,
    /// `counter` or `gauge`.
    kind: String,
    labels: BTreeMap<String, String>,
    /// A number, or as a text what JSON has no number for: `NaN`, `+Inf`, `-Inf`.
    value: Value,
    help: String,
}

/// The numbers of a text in the format of Prometheus, as this host writes it.
fn samples(text: &str) -> Vec<Sample> {
    let (mut help, mut kind) = ("", "");
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').unwrap_or_default().1;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            kind = rest.split_once(' ').unwrap_or_default().1;
        } else if let Some(end) = line.find(['{', ' ']) {
            let (name, rest) = line.split_at(end);
            let mut rest = rest.chars().peekable();
            let labels = labels(&mut rest);
            let value: String = rest.collect();
            let value = value.trim();
            samples.push(Sample {
                name: name.to_owned(),
                kind: kind.to_owned(),
                labels,
                value: serde_json::from_str(value).unwrap_or_else(|_| value.into()),
                help: help.to_owned(),
            });
        }
    }
    samples
}

/// `{name="text",...}`, when that is what comes next.
fn labels(rest: &mut Peekable<Chars<'_>>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    if rest.next_if_eq(&'{').is_none() {
        return labels;
    }
    while rest.next_if_eq(&'}').is_none() && rest.peek().is_some() {
        let name: String = rest.by_ref().take_while(|letter| *letter != '=').collect();
        rest.next_if_eq(&'"');
        labels.insert(name, quoted(rest));
        rest.next_if_eq(&',');
    }
    labels
}

/// A text up to the quotation mark behind it.
fn quoted(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(letter) = rest.next() {
        match letter {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => text.push('\n'),
                other => text.extend(other),
            },
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metrics_are_chosen_by_name() {
        let all = "# HELP a_total Says b.\n# TYPE a_total counter\na_total{x=\"b\"} 1\n# HELP b B.\n# TYPE b gauge\nb 2\n";
        assert_eq!(chosen(all, ""), all);
        assert_eq!(chosen(all, "b"), "# HELP b B.\n# TYPE b gauge\nb 2\n");
        assert_eq!(chosen(all, "c"), "");
    }

    #[test]
    fn each_number_tells_what_it_is() {
        let all = r#"# HELP a_total Says b, in words.
# TYPE a_total counter
a_total{flow="x"} 9007199254740993
# HELP nothing There is none of it.
# TYPE nothing gauge
# HELP b B.
# TYPE b gauge
b{flow="{a} =\"1\", b\\n\n",name=""} -1.5
b +Inf
b{x="1"} NaN
"#;
        let found = serde_json::to_value(samples(all)).unwrap();
        assert_eq!(
            found,
            json!([
                { "name": "a_total", "kind": "counter", "labels": { "flow": "x" },
                  "value": 9_007_199_254_740_993_u64, "help": "Says b, in words." },
                { "name": "b", "kind": "gauge", "labels": { "flow": "{a} =\"1\", b\\n\n", "name": "" },
                  "value": -1.5, "help": "B." },
                { "name": "b", "kind": "gauge", "labels": {}, "value": "+Inf", "help": "B." },
                { "name": "b", "kind": "gauge", "labels": { "x": "1" }, "value": "NaN", "help": "B." },
            ])
        );
        assert!(samples("").is_empty());
    }
}
