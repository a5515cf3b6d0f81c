//! JavaScript and TypeScript, on `QuickJS`: esbuild makes one module of the plugin and its packages, componentize-qjs a
//! component of it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    super::{
        error::AuthorError,
        files::{File, Names, embedded},
        tool::{Call, Tool},
    },
    Job, Language, Made,
};
use crate::catalogue::Kind;

const ESBUILD: Tool = Tool {
    program: "esbuild",
    purpose: "put the plugin and its packages together",
    advice: "run `npm install` in the project: its package.json names the package `esbuild`",
};

const COMPONENTIZE: Tool = Tool {
    program: "componentize-qjs",
    purpose: "make a component of JavaScript",
    advice: "run `npm install` in the project: its package.json names the package `componentize-qjs`",
};

/// The guest library.
pub(in crate::author) const SDK: [(&str, &str); 13] = embedded!(
    "guest-sdk/js":
    "README.md",
    "batch.js",
    "bytes.js",
    "fault.js",
    "glue.js",
    "host.js",
    "index.d.ts",
    "index.js",
    "map.js",
    "package.json",
    "sandbox.js",
    "testing.d.ts",
    "testing.js",
);

const TEMPLATE: [(&str, &str); 15] = embedded!(
    "guest-sdk/js/template":
    "js/package.json",
    "js/source.js",
    "js/source.test.js",
    "js/transformer.js",
    "js/transformer.test.js",
    "js/sink.js",
    "js/sink.test.js",
    "ts/package.json",
    "ts/tsconfig.json",
    "ts/source.ts",
    "ts/source.test.ts",
    "ts/transformer.ts",
    "ts/transformer.test.ts",
    "ts/sink.ts",
    "ts/sink.test.ts",
);

const IGNORED: &str = "/build\n/dist\n/node_modules\n";

/// Where the guest library is when package.json says nothing else.
const SDK_FOLDER: &str = "sdk/js";

/// One of the two.
#[derive(Debug)]
pub(super) struct Script {
    id: &'static str,
    title: &'static str,
    marker: &'static str,
    layout: &'static [(&'static str, &'static str)],
}

pub(super) const JAVASCRIPT: Script = Script {
    id: "js",
    title: "JavaScript",
    marker: "src/plugin.js",
    layout: &[
        ("src/plugin.js", "the plugin"),
        (
            "test/plugin.test.js",
            "its tests, which Node.js runs without a sandbox",
        ),
        ("sdk/js", "the guest library; its README is a guide"),
    ],
};

pub(super) const TYPESCRIPT: Script = Script {
    id: "ts",
    title: "TypeScript",
    marker: "src/plugin.ts",
    layout: &[
        ("src/plugin.ts", "the plugin"),
        (
            "test/plugin.test.ts",
            "its tests, which Node.js runs without a sandbox",
        ),
        (
            "sdk/js",
            "the guest library with its types; its README is a guide",
        ),
    ],
};

impl Language for Script {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn marker(&self) -> &'static str {
        self.marker
    }

    fn files(&self, names: &Names) -> Vec<File> {
        let mut files = vec![File::fixed(".gitignore", IGNORED)];
        for (path, text) in TEMPLATE {
            let Some(path) = path
                .strip_prefix(self.id)
                .and_then(|path| path.strip_prefix('/'))
            else {
                continue;
            };
            let place = match path.split_once('.') {
                Some((kind, end)) if Kind::ALL.iter().any(|known| known.as_str() == kind) => {
                    if kind != names.kind.as_str() {
                        continue;
                    }
                    let folder = if end.starts_with("test") {
                        "test"
                    } else {
                        "src"
                    };
                    format!("{folder}/plugin.{end}")
                }
                _ => path.to_owned(),
            };
            files.push(File::template(&place, text));
        }
        let library = SDK.iter();
        files
            .extend(library.map(|(path, text)| File::fixed(format!("{SDK_FOLDER}/{path}"), *text)));
        files
    }

    fn layout(&self) -> &'static [(&'static str, &'static str)] {
        self.layout
    }

    fn needs(&self) -> &'static str {
        "You need Node.js 20 or newer; `npm install` brings the tools that package.json names, esbuild and componentize-qjs."
    }

    fn test_command(&self) -> &'static str {
        "npm install && npm test"
    }

    fn build(&self, job: &Job<'_>) -> Result<Made, AuthorError> {
        let wit = job.wit()?;
        let work = absolute(job.work)?;
        let sdk = library(job.project)?;
        let entry = work.join("entry.js");
        write(
            &entry,
            &entry_text(job, &sdk, &absolute(&job.project.join(self.marker))?),
        )?;
        let bundle = work.join("plugin.js");
        call(ESBUILD, job.project)
            .args([
                "--bundle",
                "--format=esm",
                "--platform=neutral",
                "--main-fields=module,main",
                "--external:crossdock:*",
                "--sourcemap=external",
                "--sources-content=false",
                "--log-level=warning",
            ])
            .args([&entry])
            .args([format!("--outfile={}", bundle.display())])
            .run()?;
        with_map(&bundle)?;
        let component = work.join("plugin.wasm");
        call(COMPONENTIZE, job.project)
            // Its functions are called as the contract says: without `async`.
            .args(["--sync", "-n", Job::WORLD, "-w"])
            .args([
                absolute(&wit)?.as_path(),
                "-j".as_ref(),
                &bundle,
                "-o".as_ref(),
                &component,
            ])
            .run()?;
        let bytes = fs::read(&component).map_err(AuthorError::io(component))?;
        Ok(Made::Component(bytes))
    }
}

/// A call of a tool: that of the project, if it has one of its own.
fn call(tool: Tool, project: &Path) -> Call {
    let own = project.join("node_modules/.bin").join(tool.program);
    match own.canonicalize() {
        Ok(own) => tool.call_at(&own, project),
        Err(_) => tool.call(project),
    }
}

/// Exports the contract's interfaces of the plugin's kinds.
fn entry_text(job: &Job<'_>, sdk: &Path, plugin: &Path) -> String {
    let quoted = |path: &Path| serde_json::Value::from(path.to_string_lossy()).to_string();
    let mut text = format!(
        "import {};\nimport * as glue from {};\nimport * as plugin from {};\n",
        quoted(&sdk.join("sandbox.js")),
        quoted(&sdk.join("glue.js")),
        quoted(plugin),
    );
    for kind in job.kinds() {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "export const {kind} = glue.{kind}(glue.find(plugin, \"{kind}\"));"
        );
    }
    text
}

#[derive(Deserialize, Default)]
struct Package {
    #[serde(default)]
    crossdock: Own,
}

#[derive(Deserialize, Default)]
struct Own {
    sdk: Option<String>,
}

/// The guest library: `crossdock.sdk` in package.json says where it is when it is not vendored.
fn library(project: &Path) -> Result<PathBuf, AuthorError> {
    let file = project.join("package.json");
    let package: Package = match fs::read(&file) {
        Ok(text) => serde_json::from_slice(&text)
            .map_err(|error| AuthorError::Output(format!("{}: {error}", file.display())))?,
        Err(_) => Package::default(),
    };
    absolute(&project.join(package.crossdock.sdk.as_deref().unwrap_or(SDK_FOLDER)))
}

#[derive(Deserialize, serde::Serialize)]
struct Map {
    sources: Vec<String>,
    mappings: String,
}

/// Puts the source map behind the bundle, so that errors name the lines that were written.
fn with_map(bundle: &Path) -> Result<(), AuthorError> {
    let file = bundle.with_extension("js.map");
    let text = fs::read(&file).map_err(AuthorError::io(&file))?;
    let map: Map = serde_json::from_slice(&text)
        .map_err(|error| AuthorError::Output(format!("{}: {error}", file.display())))?;
    let map = serde_json::json!(map);
    let mut code = fs::read_to_string(bundle).map_err(AuthorError::io(bundle))?;
    // Writing to a String cannot fail.
    let _ = writeln!(code, "\nglobalThis.crossdockMap = {map};");
    write(bundle, &code)
}

fn write(path: &Path, text: &str) -> Result<(), AuthorError> {
    fs::write(path, text).map_err(AuthorError::io(path))
}

/// Tools run in the project's folder: paths that they are given hold everywhere.
fn absolute(path: &Path) -> Result<PathBuf, AuthorError> {
    path.canonicalize().map_err(AuthorError::io(path))
}
