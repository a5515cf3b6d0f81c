//! `bench`: one command, one table. Every row compares two candidates that ran in turns, or holds one against an aim.

mod demo;
mod extism;
mod files;
mod install;
mod languages;
mod load;
mod process;
mod sandbox;
mod swap;
mod table;
mod transform;
mod worker;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use self::table::{Row, Table};
use crate::{Built, cargo, execute, guests, print, say, workspace};

/// What is measured.
#[derive(Args)]
#[command(after_help = "\
Examples:
  cargo xtask bench                   everything
  cargo xtask bench transform load    two groups
  cargo xtask bench files --json      for a script

The machine should have nothing else to do. Judge the ratios: absolute numbers are those of the machine.")]
pub(crate) struct Options {
    /// Only these groups.
    #[arg(value_enum, value_name = "GROUP")]
    groups: Vec<Group>,
    /// One JSON document on standard output.
    #[arg(long)]
    json: bool,
    /// Small counts and programs that are not optimised: shows in seconds that the benches run, and measures nothing.
    #[arg(long)]
    quick: bool,
}

/// A group of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// A JSON transform in a sandbox, beside native code and beside Extism.
    Transform,
    /// CSV to JSON lines through the whole program, beside other tools.
    Files,
    /// Loading a plugin, making an instance, what an idle one takes.
    Load,
    /// The main job with catalogues of three sizes.
    Demo,
    /// Replacing the plugin of a stage under load.
    Swap,
    /// What limits and interruption cost.
    Sandbox,
    /// The same small transformer in every language.
    Languages,
    /// From a registry to the first record, a search among many plugins, many plugins in one process.
    Install,
}

/// What all benches need.
struct Bench {
    /// Host, stand-in and plugins.
    built: Built,
    /// Measures inside of a process.
    worker: PathBuf,
    /// The folder of plugins that are there for tests.
    test_plugins: PathBuf,
    /// For all that benches write.
    folder: PathBuf,
    quick: bool,
}

/// Measures, and shows the table.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let table = measured(options)?;
    if options.json {
        print(&table.document().to_string());
    } else {
        print(&table.text());
    }
    Ok(())
}

/// Shows that all benches run and that their counts are right. The numbers mean nothing.
pub(crate) fn smoke() -> Result<(), String> {
    let options = Options {
        groups: Vec::new(),
        json: false,
        quick: true,
    };
    let table = measured(&options)?;
    say(&format!("{} rows", table.rows.len()));
    Ok(())
}

fn measured(options: &Options) -> Result<Table, String> {
    let bench = build(options.quick)?;
    let all = Group::value_variants();
    let groups = all
        .iter()
        .filter(|group| options.groups.is_empty() || options.groups.contains(group));
    let mut rows: Vec<Row> = Vec::new();
    for group in groups {
        say(&format!("── {}", group.name()));
        rows.extend(match group {
            Group::Transform => transform::rows(&bench)?,
            Group::Files => files::rows(&bench)?,
            Group::Load => load::rows(&bench)?,
            Group::Demo => demo::rows(&bench)?,
            Group::Swap => swap::rows(&bench)?,
            Group::Sandbox => sandbox::rows(&bench)?,
            Group::Languages => languages::rows(&bench)?,
            Group::Install => install::rows(&bench)?,
        });
    }
    Ok(Table {
        rows,
        quick: options.quick,
    })
}

impl Group {
    fn name(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Files => "files",
            Self::Load => "load",
            Self::Demo => "demo",
            Self::Swap => "swap",
            Self::Sandbox => "sandbox",
            Self::Languages => "languages",
            Self::Install => "install",
        }
    }
}

/// Builds host, stand-in, worker and plugins.
fn build(quick: bool) -> Result<Bench, String> {
    let root = workspace();
    if !quick {
        say("building everything as it is shipped (the first time takes many minutes)");
    }
    guests::build(&root, &[guests::PLUGINS, ("tests/plugins", "test-plugins")])?;
    let mut command = cargo();
    // As `build` does, so that neither makes the other build anew.
    command.args(["build", "--quiet", "--workspace", "--bins"]);
    if !quick {
        command.arg("--release");
    }
    execute(&mut command)?;
    let target = guests::target_dir(&root);
    let bins = target.join(if quick { "debug" } else { "release" });
    crate::build_foreign(&bins.join("crossdock"))?;
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(Bench {
        built: Built {
            crossdock: bins.join("crossdock"),
            standin: bins.join("akeneo-standin"),
            plugins: target.join("plugins"),
        },
        worker: bins.join("crossdock-bench"),
        test_plugins: target.join("test-plugins"),
        folder,
        quick,
    })
}
