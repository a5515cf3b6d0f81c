//! C, and C++ and Zig by the same guest library: Zig's compiler, or clang with wasi-libc, makes a core module.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    super::{
        error::AuthorError,
        files::{File, Names, embedded},
        tool::{Call, Tool},
    },
    Job, Language, Made,
};
use crate::catalogue::Kind;

const COMPILER: Tool = Tool {
    program: "zig",
    purpose: "compile C for the sandbox",
    advice: "install its package: `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` in the project; \
             or have `zig` 0.15 in the PATH, or clang with its linker and libc for WASI (Debian: clang lld wasi-libc \
             libclang-rt-dev-wasm32)",
};

const ZIG: Tool = Tool {
    program: "zig",
    purpose: "compile Zig",
    advice: "install its package: `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` in the project; \
             or have `zig` 0.15 in the PATH",
};

/// The guest library.
pub(in crate::author) const SDK: [(&str, &str); 12] = embedded!(
    "guest-sdk/c":
    "README.md",
    "crossdock.h",
    "src/exports.c",
    "src/host.c",
    "src/imports.c",
    "src/internal.h",
    "src/json.c",
    "src/memory.c",
    "src/stage.c",
    "src/text.c",
    "testing/crossdock_testing.h",
    "testing/testing.c",
);

const TEMPLATE: [(&str, &str); 9] = embedded!(
    "guest-sdk/c/template":
    "Makefile",
    "compile_flags.txt",
    "requirements.txt",
    "source.c",
    "test_source.c",
    "transformer.c",
    "test_transformer.c",
    "sink.c",
    "test_sink.c",
);

const IGNORED: &str = "/.venv\n/build\n/dist\n";

/// Where the guest library is vendored.
const SDK_FOLDER: &str = "sdk/c";
/// Where a plugin of this repository finds it.
const SHARED_SDK: &str = "../../guest-sdk/c";
/// Flags of the project, one a line: editors with clangd read the same file.
const FLAGS: &str = "compile_flags.txt";
/// A plugin in Zig.
const ZIG_SOURCE: &str = "src/plugin.zig";
/// The files by which a project is told.
const MARKERS: [&str; 3] = ["src/plugin.c", "src/plugin.cpp", ZIG_SOURCE];
/// Folders in `src` are followed so far.
const DEPTH: usize = 8;

/// The sandbox.
const TARGET: &str = "wasm32-wasi";
const STACK: &str = "-Wl,-z,stack-size=1048576";

/// C.
#[derive(Debug)]
pub(super) struct C;

impl Language for C {
    fn id(&self) -> &'static str {
        "c"
    }

    fn title(&self) -> &'static str {
        "C"
    }

    fn marker(&self) -> &'static str {
        MARKERS[0]
    }

    fn owns(&self, project: &Path) -> bool {
        MARKERS.iter().any(|file| project.join(file).is_file())
    }

    fn files(&self, names: &Names) -> Vec<File> {
        let mut files = vec![File::fixed(".gitignore", IGNORED)];
        for (path, text) in TEMPLATE {
            let (is_test, code) = match path.strip_prefix("test_") {
                Some(code) => (true, code),
                None => (false, path),
            };
            let place = match code.strip_suffix(".c") {
                Some(kind) if kind != names.kind.as_str() => continue,
                Some(_) if is_test => "test/plugin_test.c",
                Some(_) => MARKERS[0],
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
            ("src/plugin.c", "the plugin"),
            (
                "test/plugin_test.c",
                "its tests, which run without a sandbox",
            ),
            ("requirements.txt", "the compiler for the sandbox"),
            (
                FLAGS,
                "flags of the compiler, which editors with clangd read too",
            ),
            (SDK_FOLDER, "the guest library; its README is a guide"),
        ]
    }

    fn needs(&self) -> &'static str {
        "You need a compiler for the sandbox, once: `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt`. A \
         `zig` in the PATH, or clang with wasi-libc, does as well. The tests need make and any C compiler."
    }

    fn test_command(&self) -> &'static str {
        "make test"
    }

    fn build(&self, job: &Job<'_>) -> Result<Made, AuthorError> {
        let compiler = Compiler::find(job.project)?;
        let build = Build::of(job, &compiler)?;
        let module = build.run()?;
        let bytes = fs::read(&module).map_err(AuthorError::io(module))?;
        Ok(Made::Module(bytes))
    }
}

/// What compiles.
#[derive(Debug, Clone)]
enum Compiler {
    /// Zig's, with the arguments before its own: `python3 -m ziglang`.
    Zig(PathBuf, Vec<&'static str>),
    /// Clang with wasi-libc.
    Clang(PathBuf),
}

impl Compiler {
    /// The first one that is there: the project's own, Zig's from wherever it comes, clang.
    fn find(project: &Path) -> Result<Self, AuthorError> {
        let own = project.join(".venv/bin/python-zig");
        let own = own.canonicalize().ok().map(|path| (path, vec![]));
        let others = [
            ("zig", vec![]),
            ("python-zig", vec![]),
            ("python3", vec!["-m", "ziglang"]),
        ];
        let others = others.map(|(program, first)| (PathBuf::from(program), first));
        for (program, first) in own.into_iter().chain(others) {
            let version = [first.as_slice(), &["version"]].concat();
            if answers(&program, &version).is_some() {
                return Ok(Self::Zig(program, first));
            }
        }
        let clang = env::var_os("WASI_SDK_PATH").map_or_else(
            || PathBuf::from("clang"),
            |sdk| Path::new(&sdk).join("bin/clang"),
        );
        let target = format!("--target={TARGET}");
        // It answers with the bare name when there is no such file.
        let start = answers(&clang, &[&target, "-print-file-name=crt1-reactor.o"]);
        match start {
            Some(start) if Path::new(start.trim()).is_file() => Ok(Self::Clang(clang)),
            Some(_) => Err(COMPILER.missing("it is not installed, and clang has no libc for WASI")),
            None => Err(COMPILER.missing("it is not installed")),
        }
    }

    /// A call of the compiler of C or C++.
    fn call(&self, project: &Path, is_cpp: bool) -> Call {
        match self {
            Self::Zig(program, first) => COMPILER
                .call_at(program, project)
                .args(first)
                .args([if is_cpp { "c++" } else { "cc" }])
                .args(["-target", TARGET]),
            Self::Clang(program) => COMPILER
                .call_at(program, project)
                .args([format!("--target={TARGET}")]),
        }
    }
}

/// What a program prints when asked something, if it is there and answers.
fn answers(program: &Path, arguments: &[&str]) -> Option<String> {
    let mut ask = Command::new(program);
    ask.args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let done = ask.output().ok().filter(|done| done.status.success())?;
    Some(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// One build.
#[derive(Debug)]
struct Build<'a> {
    job: &'a Job<'a>,
    compiler: &'a Compiler,
    /// Relative to the project, so that messages name files as their author does.
    c: Vec<PathBuf>,
    cpp: Vec<PathBuf>,
    zig: bool,
    /// The guest library, relative to the project.
    library: &'static str,
    work: PathBuf,
    flags: Vec<String>,
}

impl<'a> Build<'a> {
    fn of(job: &'a Job<'a>, compiler: &'a Compiler) -> Result<Self, AuthorError> {
        let project = job.project;
        let library = if project.join(SDK_FOLDER).is_dir() {
            SDK_FOLDER
        } else {
            SHARED_SDK
        };
        let (mut c, mut cpp) = (Vec::new(), Vec::new());
        sources(project, Path::new("src"), &mut c, &mut cpp, DEPTH)?;
        sources(
            project,
            &Path::new(library).join("src"),
            &mut c,
            &mut cpp,
            0,
        )?;
        let file = project.join(FLAGS);
        let flags = if file.is_file() {
            fs::read_to_string(&file).map_err(AuthorError::io(&file))?
        } else {
            String::new()
        };
        Ok(Self {
            job,
            compiler,
            c,
            cpp,
            zig: project.join(ZIG_SOURCE).is_file(),
            library,
            work: job.work.canonicalize().map_err(AuthorError::io(job.work))?,
            flags: flags
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    }

    fn run(&self) -> Result<PathBuf, AuthorError> {
        let mut objects = Vec::new();
        for source in &self.cpp {
            objects.push(self.object(source)?);
        }
        if self.zig {
            objects.push(self.zig_object()?);
        }
        let module = self.work.join("plugin.wasm");
        let mut call = self
            .settled(self.compiler.call(self.job.project, false))
            .args(["-std=c11", "-mexec-model=reactor", STACK])
            .args(self.common())
            .args(self.job.kinds().into_iter().map(definition))
            .args(&self.c)
            .args(&objects);
        if !self.cpp.is_empty() {
            call = call.args(["-lc++"]);
        }
        if let Compiler::Clang(_) = self.compiler {
            // Zig does so anyway: a stack that overflows is a trap, and no damaged data.
            call = call.args(["-Wl,--stack-first"]);
            if !self.cpp.is_empty() {
                call = call.args(["-lc++abi"]);
            }
        }
        call.args([Path::new("-o"), &module]).run()?;
        Ok(module)
    }

    /// What C and C++ are compiled with.
    fn common(&self) -> Vec<String> {
        let mut flags: Vec<String> = if self.job.release {
            vec!["-O2".to_owned(), "-DNDEBUG".to_owned()]
        } else {
            // What C leaves undefined is a trap at its line.
            [
                "-Og",
                "-g",
                "-fsanitize=undefined",
                "-fsanitize-trap=undefined",
            ]
            .map(str::to_owned)
            .into()
        };
        // Its guard would take random numbers from WASI; a stack that overflows is a trap without it.
        flags.extend(["-fno-stack-protector", "-Wall", "-Wextra"].map(str::to_owned));
        flags.push(format!("-I{}", self.library));
        flags.extend(self.flags.iter().cloned());
        flags
    }

    fn object(&self, source: &Path) -> Result<PathBuf, AuthorError> {
        let name = source.to_string_lossy().replace(['/', '\\'], "-");
        let object = self.work.join(format!("{name}.o"));
        self.settled(self.compiler.call(self.job.project, true))
            .args(["-std=c++20", "-fno-exceptions", "-fno-rtti"])
            .args(self.common())
            // What a plugin does not have is left out of its table of functions.
            .args(["-Wno-missing-field-initializers"])
            .args([Path::new("-c"), source, Path::new("-o"), &object])
            .run()?;
        Ok(object)
    }

    fn zig_object(&self) -> Result<PathBuf, AuthorError> {
        let Compiler::Zig(program, first) = self.compiler else {
            return Err(ZIG.missing("only clang was found"));
        };
        let object = self.work.join("plugin.zig.o");
        let optimised = if self.job.release {
            "ReleaseFast"
        } else {
            "Debug"
        };
        let mut emit = OsString::from("-femit-bin=");
        emit.push(&object);
        self.settled(ZIG.call_at(program, self.job.project))
            .args(first)
            .args(["build-obj", "-target", TARGET, "-O", optimised, "-lc"])
            .args([format!("-I{}", self.library)])
            .args([ZIG_SOURCE])
            .args([emit])
            .run()?;
        Ok(object)
    }

    /// A call with places for what Zig keeps: none of it goes into the project beside `build`.
    fn settled(&self, call: Call) -> Call {
        let call = call.env("ZIG_LOCAL_CACHE_DIR", self.work.join("zig"));
        let has = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        if ["ZIG_GLOBAL_CACHE_DIR", "XDG_CACHE_HOME", "HOME"]
            .into_iter()
            .any(has)
        {
            call
        } else {
            call.env("ZIG_GLOBAL_CACHE_DIR", self.work.join("zig-global"))
        }
    }
}

/// By this the guest library knows what to export.
fn definition(kind: Kind) -> String {
    format!("-DCROSSDOCK_{}", kind.as_str().to_ascii_uppercase())
}

/// The sources of a folder and those in it, in the order of their names.
fn sources(
    project: &Path,
    folder: &Path,
    c: &mut Vec<PathBuf>,
    cpp: &mut Vec<PathBuf>,
    depth: usize,
) -> Result<(), AuthorError> {
    let place = project.join(folder);
    let mut names = Vec::new();
    for entry in fs::read_dir(&place).map_err(AuthorError::io(&place))? {
        names.push(entry.map_err(AuthorError::io(&place))?.file_name());
    }
    names.sort();
    for name in names {
        let path = folder.join(&name);
        if project.join(&path).is_dir() {
            if depth > 0 {
                sources(project, &path, c, cpp, depth - 1)?;
            }
            continue;
        }
        match path.extension().and_then(|end| end.to_str()) {
            Some("c") => c.push(path),
            Some("cpp" | "cc" | "cxx") => cpp.push(path),
            _ => {}
        }
    }
    Ok(())
}
