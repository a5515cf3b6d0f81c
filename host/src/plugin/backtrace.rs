//! The guest's own frames as text, and what it wrote to standard error.
//!
//! The text is written here and not by wasmtime, whose own has no bound: it demangles the names of the component's name
//! section as C++ as well, and a name of two hundred bytes can stand for gigabytes there. Names of Rust are demangled into
//! a text that ends the work when it is full; others are shown as they are.

use std::fmt::{self, Write};

use wasmtime::{FrameInfo, FrameSymbol, WasmBacktrace};

use crate::flow::steers;

/// Bytes of a backtrace with what was written to standard error; it is stored with every dead letter.
pub(super) const BYTES: usize = 16 << 10;
/// Bytes of a name of a function, module or file.
const NAME: usize = 200;
/// A longer name is not demangled at all.
const MANGLED: usize = 4 << 10;

/// A text that is full at some length: it ends with `…`, and whoever writes more into it is told to stop.
struct Bounded {
    text: String,
    most: usize,
    full: bool,
}

impl Bounded {
    fn new(most: usize) -> Self {
        Self {
            text: String::new(),
            most,
            full: false,
        }
    }
}

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.full {
            return Err(fmt::Error);
        }
        let room = self.most.saturating_sub(self.text.len());
        if more.len() <= room {
            self.text.push_str(more);
            return Ok(());
        }
        let end = (0..=room)
            .rev()
            .find(|&at| more.is_char_boundary(at))
            .unwrap_or(0);
        self.text.push_str(more.get(..end).unwrap_or_default());
        self.text.push('…');
        self.full = true;
        Err(fmt::Error)
    }
}

/// What the guest was doing when it failed. `None` when nothing is known.
pub(super) fn text(error: &wasmtime::Error, stderr: &str) -> Option<String> {
    let trace = error.downcast_ref::<WasmBacktrace>();
    let frames = trace.map_or(&[][..], WasmBacktrace::frames);
    if frames.is_empty() && stderr.is_empty() {
        return None;
    }
    let mut text = Bounded::new(BYTES);
    // It fails when it is full, and then holds what there was room for.
    let _ = whole(&mut text, frames, stderr);
    Some(text.text)
}

fn whole(text: &mut Bounded, frames: &[FrameInfo], stderr: &str) -> fmt::Result {
    if !frames.is_empty() {
        text.write_str("error while executing at wasm backtrace:")?;
        for (at, one) in frames.iter().enumerate() {
            frame(text, at, one)?;
        }
    }
    if !stderr.is_empty() {
        let gap = if frames.is_empty() { "" } else { "\n" };
        write!(text, "{gap}standard error:\n{stderr}")?;
    }
    Ok(())
}

fn frame(text: &mut Bounded, at: usize, frame: &FrameInfo) -> fmt::Result {
    write!(text, "\n  {at:>3}: ")?;
    if let Some(offset) = frame.module_offset() {
        write!(text, "{offset:#8x} - ")?;
    }
    let own = || match frame.func_name() {
        Some(name) => readable(name),
        None => format!("<wasm function {}>", frame.func_index()),
    };
    let Some((inner, outer)) = frame.symbols().split_first() else {
        let module = frame.module().name().map_or("<unknown>".into(), plain);
        return write!(text, "{module}!{}", own());
    };
    text.write_str(&inner.name().map_or_else(own, readable))?;
    place(text, inner)?;
    for symbol in outer {
        let name = symbol
            .name()
            .map_or_else(|| "<inlined function>".to_owned(), readable);
        write!(text, "\n                - {name}")?;
        place(text, symbol)?;
    }
    Ok(())
}

/// The line of the source, where the component has debug information and it is read.
fn place(text: &mut Bounded, symbol: &FrameSymbol) -> fmt::Result {
    let Some(file) = symbol.file() else {
        return Ok(());
    };
    write!(text, "\n                    at {}", plain(file))?;
    if let Some(line) = symbol.line() {
        write!(text, ":{line}")?;
        if let Some(column) = symbol.column() {
            write!(text, ":{column}")?;
        }
    }
    Ok(())
}

/// A function's name as its author wrote it, where it is one of Rust.
fn readable(name: &str) -> String {
    if name.len() <= MANGLED
        && let Ok(demangled) = rustc_demangle::try_demangle(name)
    {
        let mut text = Bounded::new(NAME);
        let _ = write!(text, "{demangled}");
        return text.text;
    }
    plain(name)
}

/// A name of somebody else: cut, and on one line.
fn plain(name: &str) -> String {
    let mut text = Bounded::new(NAME);
    let _ = text.write_str(name);
    text.text.replace(steers, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_readable_and_bounded() {
        assert_eq!(
            readable("_ZN4core3fmt5write17h0123456789abcdefE"),
            "core::fmt::write::h0123456789abcdef"
        );
        assert_eq!(readable("_RNvC4main3run"), "main::run");
        assert_eq!(readable("main.run"), "main.run");
        assert_eq!(readable("a\nb\u{1b}[2J"), "a b [2J");
        let long = readable(&"é".repeat(60_000));
        assert!(long.len() <= NAME + '…'.len_utf8() && long.ends_with("é…"));
        let mangled = readable(&format!("_ZN{}E", "4core".repeat(100)));
        assert!(
            mangled.len() <= NAME + '…'.len_utf8() && mangled.starts_with("core::core"),
            "{mangled}"
        );
    }

    #[test]
    fn a_text_that_is_full_stays_as_it_is() {
        let mut text = Bounded::new(5);
        assert!(text.write_str("abc").is_ok() && text.write_str("éé").is_err());
        assert!(text.write_str("x").is_err());
        assert_eq!(text.text, "abcé…");
    }
}
