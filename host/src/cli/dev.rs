//! `crossdock plugin dev`: builds, runs the sample and shows it, whenever a file changes.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use clap::Args;

use super::{
    Failure,
    daemon::ProjectFolder,
    output::Output,
    style::{self, BAD, FAINT, GOOD, Paint, STRONG},
    swap,
};
use crate::{
    app::{self, TestOptions},
    author::{self, Built, Order},
    catalogue::Kind,
    conformance::Shown,
};

pub(super) const DEV_EXAMPLES: &str = "\
Examples:
  crossdock plugin dev
  crossdock plugin dev shop-items --records 3
  crossdock plugin dev tidy-price --swap prices/tidy-price    # and into the flow of a running daemon

Whenever a file of the project is saved, it is built, and what it makes of the sample records of conformance.yaml is
shown; what is another than the time before is marked, and what the plugin logs is told. With --swap the build also goes
into a running flow: a transformer first gets copies of its next records, and what it makes of them is shown beside what the
old version makes of them. A build that fails is told, and the old version goes on. Ctrl-C ends it, and never the flow.

Exit codes: 0 ended by Ctrl-C, 2 it is no project";

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Folders with what tools make.
const MADE: [&str; 7] = [
    "build",
    "dist",
    "target",
    "node_modules",
    "sdk",
    "__pycache__",
    "venv",
];

#[derive(Debug, Args)]
pub(super) struct DevArguments {
    /// The project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    plugin: PathBuf,
    /// How many sample records are shown, and how many of a running flow are compared
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    records: usize,
    /// Also put every build in the place of a stage of a flow that a daemon runs
    #[arg(long, value_name = "FLOW/STAGE", value_parser = stage)]
    swap: Option<(String, String)>,
    #[command(flatten)]
    daemon: ProjectFolder,
}

fn stage(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((flow, stage)) if !flow.is_empty() && !stage.is_empty() => {
            Ok((flow.to_owned(), stage.to_owned()))
        }
        _ => Err("expected FLOW/STAGE".to_owned()),
    }
}

/// What was shown the time before.
type Last = BTreeMap<Kind, Vec<Shown>>;

pub(super) async fn dev(arguments: DevArguments, output: Output) -> Result<u8, Failure> {
    tokio::select! {
        ended = rounds(&arguments, output) => ended,
        _ = tokio::signal::ctrl_c() => {
            output.tell("ended");
            Ok(0)
        }
    }
}

async fn rounds(arguments: &DevArguments, output: Output) -> Result<u8, Failure> {
    let project = &arguments.plugin;
    let mut last = Last::new();
    loop {
        let seen = files(project);
        let started = Instant::now();
        let order = Order {
            project: project.clone(),
            ..Order::default()
        };
        let building = tokio::task::spawn_blocking(move || author::build(&order));
        let built = building.await.map_err(|error| Failure::Io {
            action: "the build was cut off",
            source: std::io::Error::other(error),
        })?;
        match built {
            Ok(built) => {
                let text = show(&built.file, arguments.records, &mut last, output.paint).await;
                output.print(&text);
                swapped(arguments, &built, &seen, output).await;
            }
            // Without a project there is nothing to wait for.
            Err(error) if !project.join("plugin.json").is_file() => return Err(error.into()),
            Err(error) => output.print(&format!("{} {error}\n", output.paint.with(BAD, "✗"))),
        }
        let took = style::seconds(started.elapsed().as_secs_f64());
        output.tell(&format!(
            "{took}; waiting for a change in {}",
            style::path(project)
        ));
        changed(project, seen).await;
    }
}

async fn show(component: &Path, most: usize, last: &mut Last, paint: Paint) -> String {
    let options = TestOptions {
        component: component.to_owned(),
        ..TestOptions::default()
    };
    let mut out = String::new();
    let samples = match app::sample_plugin(options, most).await {
        Ok(samples) => samples,
        Err(error) => return format!("{} {error}\n", paint.with(BAD, "✗")),
    };
    for (kind, sample) in samples {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(out, "{} {kind}", paint.with(STRONG, style::path(component)));
        let shown = match sample {
            Ok(shown) => shown,
            Err(why) => {
                let _ = writeln!(out, "{} {why}", paint.with(BAD, "✗"));
                continue;
            }
        };
        let before = last.insert(kind, shown.clone());
        for (at, one) in shown.iter().enumerate() {
            if let Some(record) = &one.before {
                let _ = writeln!(out, "  {}", paint.with(FAINT, record));
            }
            let earlier = before.as_ref().and_then(|before| before.get(at));
            let same =
                before.is_none() || earlier.is_some_and(|earlier| earlier.after == one.after);
            for line in earlier
                .filter(|_| !same)
                .iter()
                .flat_map(|earlier| &earlier.after)
            {
                let _ = writeln!(out, "    {}", paint.with(BAD, format!("- {line}")));
            }
            for line in &one.after {
                let line = if same {
                    format!("  {line}")
                } else {
                    paint.with(GOOD, format!("+ {line}"))
                };
                let _ = writeln!(out, "    {line}");
            }
            if one.after.is_empty() {
                out.push_str("      nothing comes of it\n");
            }
        }
        if before.is_some_and(|before| before == shown) {
            out.push_str("  all as before\n");
        }
    }
    out
}

/// Offers a build to the running flow. A file that is saved meanwhile calls it off: the next build is on its way.
async fn swapped(arguments: &DevArguments, built: &Built, seen: &Files, output: Output) {
    let Some((flow, stage)) = &arguments.swap else {
        return;
    };
    let offer = swap::Offer {
        flow,
        stage,
        component: &built.file,
        // Only a transformer can be compared without that anybody notices.
        compared: (built.inspection.kinds == [Kind::Transformer]).then_some(arguments.records),
        project: &arguments.daemon,
    };
    let saved = changed(&arguments.plugin, seen.clone());
    // That there is no daemon yet, say, is no reason to stop working.
    if let Err(failure) = swap::offered(offer, saved, output).await {
        failure.report(false, output);
    }
}

/// Waits until the files are others than these, and nothing has changed for one look.
async fn changed(project: &Path, mut seen: Files) {
    let mut is_new = false;
    loop {
        tokio::time::sleep(LOOK).await;
        let folder = project.to_owned();
        let now = tokio::task::spawn_blocking(move || files(&folder))
            .await
            .unwrap_or_default();
        if now == seen && is_new {
            return;
        }
        is_new |= now != seen;
        seen = now;
    }
}

type Files = BTreeMap<PathBuf, (SystemTime, u64)>;

/// The files that people write, with their times.
fn files(project: &Path) -> Files {
    let mut found = Files::new();
    let mut folders = vec![project.to_owned()];
    while let Some(folder) = folders.pop() {
        // What is gone meanwhile has changed.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() && !name.starts_with('.') && !MADE.contains(&&*name) {
                folders.push(entry.path());
            } else if kind.is_file()
                && let Ok(data) = entry.metadata()
            {
                let time = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                // Cargo writes its lock file while it builds.
                if name != "Cargo.lock" {
                    found.insert(entry.path(), (time, data.len()));
                }
            }
        }
    }
    found
}
