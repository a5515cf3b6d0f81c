//! Guests written as WebAssembly text, made into components of the real contract.
//!
//! The answers of the contract are laid out so that zeroed memory means "fine, nothing": a guest's functions return a
//! pointer to zeroes unless a test overrides them.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::catalogue::Kind;

/// Where answers are put: zeroes until a body writes there.
pub(super) const ANSWER: u32 = 1024;

/// A guest under construction.
#[derive(Clone)]
pub(super) struct Guest {
    kind: Kind,
    imports: String,
    bodies: Vec<(&'static str, String)>,
    extra: String,
    manifest: Option<String>,
    adapter: bool,
    wit: Option<(String, &'static str)>,
}

impl Guest {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            imports: String::new(),
            bodies: Vec::new(),
            extra: String::new(),
            manifest: None,
            adapter: false,
            wit: None,
        }
    }

    /// Replaces the body of an exported function. Its parameters are `$0`, `$1`, …; it leaves a pointer on the stack.
    pub(super) fn body(mut self, function: &'static str, wat: &str) -> Self {
        self.bodies.push((function, wat.to_owned()));
        self
    }

    /// Adds an import: module, name, internal name with `$`, and type.
    pub(super) fn import(mut self, module: &str, name: &str, id: &str, signature: &str) -> Self {
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(
            self.imports,
            "(import {module:?} {name:?} (func {id} {signature}))"
        );
        self
    }

    /// Adds items to the module: data, functions, globals.
    pub(super) fn extra(mut self, wat: &str) -> Self {
        self.extra += wat;
        self
    }

    pub(super) fn manifest(self, json: &serde_json::Value) -> Self {
        self.manifest_text(&json.to_string())
    }

    /// Whatever stands where the manifest should.
    pub(super) fn manifest_text(mut self, text: &str) -> Self {
        self.manifest = Some(text.to_owned());
        self
    }

    /// Links the module's WASI preview 1 imports through the standard adapter.
    pub(super) fn wasi(mut self) -> Self {
        self.adapter = true;
        self
    }

    /// Another contract than the real one: WIT text and world.
    pub(super) fn wit(mut self, text: &str, world: &'static str) -> Self {
        self.wit = Some((text.to_owned(), world));
        self
    }

    /// The component.
    pub(super) fn build(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.module()).unwrap();
        let mut resolve = Resolve::default();
        let (package, world) = if let Some((text, world)) = &self.wit {
            let package = resolve.push_str("test.wit", text).unwrap();
            (package, (*world).to_owned())
        } else {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit/v0.1");
            let (package, _) = resolve.push_dir(folder).unwrap();
            (package, format!("{}-plugin", self.kind))
        };
        let world = resolve.select_world(&[package], Some(&world)).unwrap();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        let mut encoder = ComponentEncoder::default();
        encoder.validate(true);
        encoder.module(&module).unwrap();
        if self.adapter {
            let adapter =
                wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
            encoder.adapter("wasi_snapshot_preview1", adapter).unwrap();
        }
        let mut component = encoder.encode().unwrap();
        if let Some(manifest) = &self.manifest {
            append_section(&mut component, "crossdock:manifest", manifest.as_bytes());
        }
        component
    }

    fn module(&self) -> String {
        let mut functions = String::new();
        for &(name, params, result) in signatures(self.kind) {
            let overridden = self.bodies.iter().find(|(function, _)| *function == name);
            let body = match overridden {
                Some((_, body)) => body.clone(),
                None if result => format!("(i32.const {ANSWER})"),
                None => String::new(),
            };
            let params: Vec<String> = (0..params).map(|at| format!("(param ${at} i32)")).collect();
            let params = params.join(" ");
            let result = if result { "(result i32)" } else { "" };
            let export = match &self.wit {
                Some(_) => name.to_owned(),
                None => format!("crossdock:plugin/{}@0.1.0#{name}", self.kind),
            };
            let _ = writeln!(
                functions,
                "(func (export {export:?}) {params} {result} (local $x i32) {body})"
            );
        }
        format!(
            r#"(module
                {imports}
                (memory (export "memory") 2)
                (global $next (mut i32) (i32.const 65536))
                (func $alloc (export "cabi_realloc")
                    (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
                    (global.set $next (i32.add (local.get $at) (local.get $size)))
                    (block $done
                        (loop $grow
                            (br_if $done (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
                            (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable)))
                            (br $grow)))
                    (local.get $at))
                {functions}
                {extra}
            )"#,
            imports = self.imports,
            extra = self.extra,
        )
    }
}

/// Functions of a kind: name, number of i32 parameters, whether there is a result.
pub(super) fn signatures(kind: Kind) -> &'static [(&'static str, usize, bool)] {
    match kind {
        Kind::Source => &[
            ("check", 2, true),
            ("streams", 2, true),
            ("open", 5, true),
            ("read", 3, true),
            ("snapshot", 0, true),
            ("committed", 2, true),
            ("close", 0, false),
        ],
        Kind::Transformer => &[
            ("check", 2, true),
            ("open", 5, true),
            ("apply", 7, true),
            ("finish", 0, true),
            ("snapshot", 0, true),
            ("close", 0, false),
        ],
        Kind::Sink => &[
            ("check", 2, true),
            ("open", 5, true),
            ("write", 7, true),
            ("finish", 0, true),
            ("snapshot", 0, true),
            ("commit", 2, true),
            ("close", 0, false),
        ],
    }
}

/// Adds a custom section to the end of a module or component.
pub(super) fn append_section(wasm: &mut Vec<u8>, name: &str, data: &[u8]) {
    let mut body = Vec::new();
    leb(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(data);
    wasm.push(0);
    leb(wasm, body.len());
    wasm.extend_from_slice(&body);
}

fn leb(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let byte = u8::try_from(value & 0x7F).unwrap();
        value >>= 7;
        if value == 0 {
            return out.push(byte);
        }
        out.push(byte | 0x80);
    }
}
