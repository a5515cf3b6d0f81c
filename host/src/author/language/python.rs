//! Python: componentize-py makes a component of the plugin, the guest library and `CPython`.

use std::{fmt::Write as _, fs, path::Path};

use super::{
    super::{
        error::AuthorError,
        files::{File, Names, embedded},
        tool::Tool,
    },
    Job, Language, Made,
};
use crate::catalogue::Kind;

const COMPONENTIZE: Tool = Tool {
    program: "componentize-py",
    purpose: "make a component of Python",
    advice: "install its package: `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` in the project",
};

/// The guest library.
pub(in crate::author) const SDK: [(&str, &str); 10] = embedded!(
    "guest-sdk/python":
    "README.md",
    "crossdock_sdk/__init__.py",
    "crossdock_sdk/batch.py",
    "crossdock_sdk/contract.py",
    "crossdock_sdk/fault.py",
    "crossdock_sdk/glue.py",
    "crossdock_sdk/host.py",
    "crossdock_sdk/sandbox.py",
    "crossdock_sdk/stage.py",
    "crossdock_sdk/testing.py",
);

const TEMPLATE: [(&str, &str); 7] = embedded!(
    "guest-sdk/python/template":
    "requirements.txt",
    "source.py",
    "test_source.py",
    "transformer.py",
    "test_transformer.py",
    "sink.py",
    "test_sink.py",
);

const IGNORED: &str = "/.venv\n/build\n/dist\n/packages\n__pycache__\n";

/// Where the guest library is vendored.
const SDK_FOLDER: &str = "sdk/python";
/// Where a plugin of this repository finds it.
const SHARED_SDK: &str = "../../guest-sdk/python";
/// Packages that the plugin uses: `pip install --target packages NAME`.
const PACKAGES: &str = "packages";
/// The module that exports the plugin; not the name of the world.
const APP: &str = "crossdock_app";

/// Python.
#[derive(Debug)]
pub(super) struct Python;

impl Language for Python {
    fn id(&self) -> &'static str {
        "python"
    }

    fn title(&self) -> &'static str {
        "Python"
    }

    fn marker(&self) -> &'static str {
        "src/plugin.py"
    }

    fn files(&self, names: &Names) -> Vec<File> {
        let mut files = vec![File::fixed(".gitignore", IGNORED)];
        for (path, text) in TEMPLATE {
            let (is_test, module) = match path.strip_prefix("test_") {
                Some(module) => (true, module),
                None => (false, path),
            };
            let place = match module.strip_suffix(".py") {
                Some(kind) if kind != names.kind.as_str() => continue,
                Some(_) if is_test => "test/test_plugin.py",
                Some(_) => "src/plugin.py",
                None => path,
            };
            files.push(File::template(place, text));
        }
        let library = SDK.iter();
        files
            .extend(library.map(|(path, text)| File::fixed(format!("{SDK_FOLDER}/{path}"), *text)));
        files
    }

    fn layout(&self) -> &'static [(&'static str, &'static str)] {
        &[
            ("src/plugin.py", "the plugin"),
            (
                "test/test_plugin.py",
                "its tests, which run without a sandbox",
            ),
            ("requirements.txt", "the tool that makes a component"),
            ("sdk/python", "the guest library; its README is a guide"),
        ]
    }

    fn needs(&self) -> &'static str {
        "You need Python 3.11 or newer, and its package componentize-py, once: \
         `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt`."
    }

    fn test_command(&self) -> &'static str {
        "PYTHONPATH=src:sdk/python python3 -m unittest discover -s test"
    }

    fn build(&self, job: &Job<'_>) -> Result<Made, AuthorError> {
        let app = job.work.join("app");
        // What an earlier build has left may be the app of another kind.
        if app.is_dir() {
            fs::remove_dir_all(&app).map_err(AuthorError::io(&app))?;
        }
        fs::create_dir_all(&app).map_err(AuthorError::io(&app))?;
        let module = app.join(format!("{APP}.py"));
        fs::write(&module, app_text(&job.kinds())).map_err(AuthorError::io(&module))?;
        let absolute = |path: &Path| path.canonicalize().map_err(AuthorError::io(path));
        let component = absolute(job.work)?.join("plugin.wasm");
        let own = job.project.join(".venv/bin/componentize-py");
        let call = match own.canonicalize() {
            Ok(own) => COMPONENTIZE.call_at(&own, job.project),
            Err(_) => COMPONENTIZE.call(job.project),
        };
        let mut call = call
            .args(["--quiet", "-d"])
            .args([absolute(&job.wit()?)?])
            .args(["-w", Job::WORLD, "componentize", APP])
            // What is compiled is kept beside the sources otherwise.
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let library = job.project.join(SDK_FOLDER);
        let library = if library.is_dir() {
            library
        } else {
            job.project.join(SHARED_SDK)
        };
        let packages = job.project.join(PACKAGES);
        for folder in [app, job.project.join("src"), library, packages] {
            if folder.is_dir() {
                call = call.args(["-p"]).args([absolute(&folder)?]);
            }
        }
        call.args(["-o"]).args([&component]).run()?;
        let bytes = fs::read(&component).map_err(AuthorError::io(component))?;
        Ok(Made::Component(bytes))
    }
}

/// Exports the contract's interfaces of the plugin's kinds.
fn app_text(kinds: &[Kind]) -> String {
    let mut text =
        "import crossdock_sdk.sandbox\nfrom crossdock_sdk import glue\n\nimport plugin\n\n"
            .to_owned();
    for kind in kinds {
        let kind = kind.as_str();
        let class = kind[..1].to_ascii_uppercase() + &kind[1..];
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{class} = glue.export(glue.find(plugin, \"{kind}\"))");
    }
    text
}
