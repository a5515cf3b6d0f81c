//! `crossdock metrics`: the numbers of a running host, as a monitoring system gets them.

use clap::Args;

use super::{Failure, daemon::ProjectFolder, output::Output};

#[derive(Debug, Args)]
pub(super) struct MetricsArguments {
    /// Only metrics whose name contains this
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    #[command(flatten)]
    project: ProjectFolder,
}

pub(super) async fn metrics(arguments: MetricsArguments, output: Output) -> Result<u8, Failure> {
    let daemon = arguments.project.daemon().await?;
    let all = daemon.text("metrics").await?;
    output.print(&chosen(&all, arguments.text.as_deref().unwrap_or_default()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_chosen_by_name() {
        let all = "# HELP a_total Says b.\n# TYPE a_total counter\na_total{x=\"b\"} 1\n# HELP b B.\n# TYPE b gauge\nb 2\n";
        assert_eq!(chosen(all, ""), all);
        assert_eq!(chosen(all, "b"), "# HELP b B.\n# TYPE b gauge\nb 2\n");
        assert_eq!(chosen(all, "c"), "");
    }
}
