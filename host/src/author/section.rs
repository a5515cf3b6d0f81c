//! Sections of a component: the manifest goes in, what only a debugger reads goes out.

use wasmparser::{Encoding, Parser, Payload};

use crate::catalogue::manifest;

/// What a module begins with, and what a component.
const MODULE: [u8; 8] = *b"\0asm\x01\0\0\0";
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// Ids of sections.
const CUSTOM: u8 = 0;
const CORE_MODULE: u8 = 1;
const NESTED_COMPONENT: u8 = 4;

/// Copies a component with this manifest as its only one, and without names and debug information when `strip` is asked
/// for.
pub(super) fn finish(
    component: &[u8],
    manifest: &[u8],
    strip: bool,
) -> wasmparser::Result<Vec<u8>> {
    let mut copy = copy(component, |name| {
        name == manifest::SECTION || strip && is_for_debuggers(name)
    })?;
    let mut section = Vec::new();
    put_bytes(manifest::SECTION.as_bytes(), &mut section);
    section.extend_from_slice(manifest);
    copy.push(CUSTOM);
    put_bytes(&section, &mut copy);
    Ok(copy)
}

fn is_for_debuggers(name: &str) -> bool {
    name == "name"
        || name == "component-name"
        || name == "sourceMappingURL"
        || name.starts_with(".debug")
        || name.starts_with("reloc.")
}

/// Copies a component section by section, also what is nested in it, without the custom sections that `left_out` names.
fn copy(component: &[u8], left_out: impl Fn(&str) -> bool) -> wasmparser::Result<Vec<u8>> {
    let mut out = Vec::new();
    // What encloses the module or component that is copied.
    let mut around: Vec<Vec<u8>> = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        match &payload {
            Payload::Version { encoding, .. } => out.extend(match encoding {
                Encoding::Module => MODULE,
                Encoding::Component => COMPONENT,
            }),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                around.push(std::mem::take(&mut out));
                continue;
            }
            Payload::End(_) => {
                let Some(mut outer) = around.pop() else { break };
                outer.push(if out.starts_with(&MODULE) {
                    CORE_MODULE
                } else {
                    NESTED_COMPONENT
                });
                put_bytes(&out, &mut outer);
                out = outer;
                continue;
            }
            Payload::CustomSection(section) if left_out(section.name()) => continue,
            _ => {}
        }
        if let Some((id, range)) = payload.as_section()
            && let (Ok(start), Ok(end)) = (usize::try_from(range.start), usize::try_from(range.end))
            && let Some(body) = component.get(start..end)
        {
            out.push(id);
            put_bytes(body, &mut out);
        }
    }
    Ok(out)
}

/// Bytes after their length.
fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes.len();
    loop {
        let low = u8::try_from(rest & 0x7F).unwrap_or_default();
        rest >>= 7;
        if rest == 0 {
            out.push(low);
            break;
        }
        out.push(low | 0x80);
    }
    out.extend_from_slice(bytes);
}
