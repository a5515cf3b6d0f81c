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

/// The component in `plugin` with its manifest changed.
pub fn with_manifest(plugin: &Path, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let bytes = fs::read(plugin).unwrap_or_else(|e| panic!("{}: {e}", plugin.display()));
    let mut out = bytes[..8].to_vec();
    let mut manifest = None;
    let mut at = 8;
    while at < bytes.len() {
        let start = at;
        let id = bytes[at];
        at += 1;
        let size = leb(&bytes, &mut at);
        let end = at + size;
        let mut inside = at;
        let name = (id == 0).then(|| {
            let length = leb(&bytes, &mut inside);
            inside += length;
            &bytes[inside - length..inside]
        });
        if name == Some(SECTION.as_bytes()) {
            manifest = serde_json::from_slice(&bytes[inside..end]).ok();
        } else {
            out.extend_from_slice(&bytes[start..end]);
        }
        at = end;
    }
    let mut manifest: Value = manifest.expect("the plugin has a manifest");
    change(&mut manifest);
    let text = manifest.to_string();
    let mut section = Vec::new();
    put_leb(&mut section, SECTION.len());
    section.extend_from_slice(SECTION.as_bytes());
    section.extend_from_slice(text.as_bytes());
    out.push(0);
    put_leb(&mut out, section.len());
    out.extend_from_slice(&section);
    out
}

/// The same plugin under another version number.
pub fn version(plugin: &Path, version: &str) -> Vec<u8> {
    with_manifest(plugin, |manifest| manifest["version"] = version.into())
}

fn leb(bytes: &[u8], at: &mut usize) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[*at];
        *at += 1;
        value |= usize::from(byte & 0x7F) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return value;
        }
    }
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
