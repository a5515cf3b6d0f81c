//! Other versions of a plugin: the same component with another manifest, which is a component with another digest.

#![allow(
    clippy::panic,
    clippy::expect_used,
    reason = "a helper of tests fails the test"
)]

use std::{fs, path::Path};

use serde_json::Value;

/// The section that holds a manifest.
const SECTION: &str = "crossdock:manifest";

/// The component in `plugin` with its manifest changed: a new one is put before all else, and the first one counts.
pub fn with_manifest(plugin: &Path, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let bytes = fs::read(plugin).unwrap_or_else(|e| panic!("{}: {e}", plugin.display()));
    let name = SECTION.as_bytes();
    let starts =
        (0..bytes.len().saturating_sub(name.len())).filter(|at| bytes[*at..].starts_with(name));
    let mut found = starts.filter_map(|at| {
        let text = bytes.get(at + name.len()..)?;
        let mut values = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
        values.next()?.ok().filter(Value::is_object)
    });
    let mut manifest = found.next().expect("the plugin has a manifest");
    change(&mut manifest);
    before(&bytes, &manifest.to_string())
}

/// A component with a manifest before all else: the first one counts.
fn before(bytes: &[u8], text: &str) -> Vec<u8> {
    let name = SECTION.as_bytes();
    let mut section = Vec::new();
    put_leb(&mut section, name.len());
    section.extend_from_slice(name);
    section.extend_from_slice(text.as_bytes());
    // Magic and version, then the section (a custom one is 0), then all that was there.
    let mut out = bytes[..8].to_vec();
    out.push(0);
    put_leb(&mut out, section.len());
    out.extend_from_slice(&section);
    out.extend_from_slice(&bytes[8..]);
    out
}

/// The component in `plugin` with one more module, which traps as soon as anything of the component runs.
pub fn trapping_at_start(plugin: &Path) -> Vec<u8> {
    let mut bytes = fs::read(plugin).unwrap_or_else(|e| panic!("{}: {e}", plugin.display()));
    // Modules are numbered as they come; each is a section of its own.
    let (mut at, mut modules) = (8, 0);
    while let Some(kind) = bytes.get(at) {
        modules += usize::from(*kind == 1);
        let (mut size, mut shift) = (0, 0);
        loop {
            at += 1;
            size |= usize::from(bytes[at] & 0x7f) << shift;
            shift += 7;
            if bytes[at] & 0x80 == 0 {
                break;
            }
        }
        at += 1 + size;
    }
    // One function without parameters, which starts, and is nothing but `unreachable`.
    let module =
        *b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x08\x01\0\x0a\x05\x01\x03\0\0\x0b";
    bytes.push(1);
    put_leb(&mut bytes, module.len());
    bytes.extend_from_slice(&module);
    // An instance of it that is given nothing.
    let mut instance = vec![1, 0];
    put_leb(&mut instance, modules);
    instance.push(0);
    bytes.push(2);
    put_leb(&mut bytes, instance.len());
    bytes.extend_from_slice(&instance);
    bytes
}

/// The component in `plugin` with this text as its manifest, whatever it is.
pub fn with_manifest_text(plugin: &Path, text: &str) -> Vec<u8> {
    let bytes = fs::read(plugin).unwrap_or_else(|e| panic!("{}: {e}", plugin.display()));
    before(&bytes, text)
}

/// The component in `plugin` with every name in it replaced by another of the same length: exports and imports, in all that is
/// nested in it too.
pub fn renamed(plugin: &Path, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len(), "sections keep their lengths");
    let mut bytes = fs::read(plugin).unwrap_or_else(|e| panic!("{}: {e}", plugin.display()));
    let found: Vec<usize> = (0..bytes.len())
        .filter(|at| bytes[*at..].starts_with(from.as_bytes()))
        .collect();
    assert!(!found.is_empty(), "{from} is not in it");
    for at in found {
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// The same plugin under another version number.
pub fn version(plugin: &Path, version: &str) -> Vec<u8> {
    with_manifest(plugin, |manifest| manifest["version"] = version.into())
}

fn put_leb(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7F).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}
