//! Rust: cargo makes the component itself, and the guest library embeds the manifest.

use std::{fs, path::Path};

use serde::Deserialize;

use super::{
    super::{
        error::AuthorError,
        files::{File, Names, embedded},
        tool::Tool,
    },
    Job, Language, Made,
};
use crate::catalogue::Kind;

/// The target of the sandbox.
const TARGET: &str = "wasm32-wasip2";

const CARGO: Tool = Tool {
    program: "cargo",
    purpose: "compile Rust",
    advice: "install Rust with rustup (rustup.rs), or your system's packages `cargo` and `rustc`",
};

const RUSTC: Tool = Tool {
    program: "rustc",
    purpose: "compile Rust for the sandbox",
    advice: "add it with `rustup target add wasm32-wasip2`",
};

/// The guest library without its own tests.
pub(in crate::author) const SDK: [(&str, &str); 44] = embedded!(
    "guest-sdk/rust":
    "README.md",
    "src/arena/chunks.rs",
    "src/arena/mod.rs",
    "src/batch.rs",
    "src/bindings.rs",
    "src/builder.rs",
    "src/bytes.rs",
    "src/clock.rs",
    "src/config.rs",
    "src/export.rs",
    "src/fault.rs",
    "src/glue.rs",
    "src/http.rs",
    "src/imports.rs",
    "src/json/error.rs",
    "src/json/members.rs",
    "src/json/mod.rs",
    "src/json/object.rs",
    "src/json/scan.rs",
    "src/json/text.rs",
    "src/json/to_json.rs",
    "src/json/tree.rs",
    "src/json/validate.rs",
    "src/json/value.rs",
    "src/json/walk.rs",
    "src/lanes.rs",
    "src/lib.rs",
    "src/log.rs",
    "src/metrics.rs",
    "src/output/mod.rs",
    "src/random.rs",
    "src/short.rs",
    "src/sink.rs",
    "src/source.rs",
    "src/table.rs",
    "src/testing/drive.rs",
    "src/testing/host.rs",
    "src/testing/mod.rs",
    "src/testing/resume.rs",
    "src/transformer.rs",
    "src/trap.rs",
    "src/utf8.rs",
    "template/Cargo.toml",
    "template/config.toml",
);

const SOURCES: [(&str, &str); 4] = embedded!(
    "guest-sdk/rust/template": "source.rs", "transformer.rs", "sink.rs", "sdk-Cargo.toml",
);

const IGNORED: &str = "/build\n/dist\n/target\n";

/// Rust.
#[derive(Debug)]
pub(super) struct Rust;

impl Language for Rust {
    fn id(&self) -> &'static str {
        "rust"
    }

    fn title(&self) -> &'static str {
        "Rust"
    }

    fn marker(&self) -> &'static str {
        "Cargo.toml"
    }

    fn files(&self, names: &Names) -> Vec<File> {
        let [source, transformer, sink, sdk] = SOURCES.map(|(_, text)| text);
        let code = match names.kind {
            Kind::Source => source,
            Kind::Transformer => transformer,
            Kind::Sink => sink,
        };
        let mut files = vec![
            File::template("src/lib.rs", code),
            File::fixed(".gitignore", IGNORED),
            File::fixed("sdk/rust/Cargo.toml", sdk),
        ];
        for (path, text) in SDK {
            files.push(match path {
                "template/Cargo.toml" => File::template("Cargo.toml", text),
                "template/config.toml" => File::fixed(".cargo/config.toml", text),
                path => File::fixed(format!("sdk/rust/{path}"), text),
            });
        }
        files
    }

    fn layout(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("src/lib.rs", "the plugin, and its tests"),
            ("sdk/rust", "the guest library; its README is a guide"),
        ]
    }

    fn needs(&self) -> &'static str {
        "You need Rust with the target of the sandbox, once: `rustup target add wasm32-wasip2`."
    }

    fn test_command(&self) -> &'static str {
        "cargo test"
    }

    fn build(&self, job: &Job<'_>) -> Result<Made, AuthorError> {
        has_target(job.project)?;
        let mut call = CARGO.call(job.project).args([
            "build",
            "--lib",
            "--target",
            TARGET,
            "--message-format=json-render-diagnostics",
        ]);
        if job.release {
            call = call.args(["--release"]);
        }
        let told = call.output()?;
        let path = artifact(&told).ok_or_else(|| {
            AuthorError::Output(
                "cargo has made no `.wasm` file: Cargo.toml needs `crate-type = [\"cdylib\"]` under `[lib]`"
                    .to_owned(),
            )
        })?;
        let bytes = fs::read(&path).map_err(AuthorError::io(path))?;
        Ok(Made::Component(bytes))
    }
}

/// Whether the tool chain that cargo uses in this folder can build for the sandbox.
fn has_target(project: &Path) -> Result<(), AuthorError> {
    let sysroot = RUSTC
        .call(project)
        .args(["--print", "sysroot"])
        .output()
        .map_err(|error| match error {
            AuthorError::Tool { found, .. } => CARGO.missing(found),
            other => other,
        })?;
    let library = Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET);
    if library.is_dir() {
        Ok(())
    } else {
        Err(RUSTC.missing(format!("its target `{TARGET}` is not installed")))
    }
}

/// One of cargo's messages, as far as it matters here.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    filenames: Vec<String>,
}

/// The component among what cargo says it has made: the last one, after its dependencies.
fn artifact(messages: &str) -> Option<String> {
    let made = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let mut components = made
        .filter(|message| message.reason == "compiler-artifact")
        .flat_map(|message| message.filenames)
        .filter(|name| Path::new(name).extension().is_some_and(|end| end == "wasm"));
    components.next_back()
}
