//! Standard output and error of a plugin: lines go to the log, the last bytes are kept for the fault of a trap.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use super::host_api::log::{LINE_BYTES, Level, Log};
use crate::flow::steers;

/// Bytes kept of what was written last.
const TAIL: usize = 4096;
/// Bytes taken by one write.
const PERMIT: usize = 64 << 10;

/// One of the two streams. Clones write to the same one.
#[derive(Debug, Clone)]
pub(super) struct Captured(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    log: Arc<Log>,
    level: Level,
    line: Vec<u8>,
    tail: VecDeque<u8>,
}

impl Captured {
    pub(super) fn new(log: Arc<Log>, level: Level) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            log,
            level,
            line: Vec::new(),
            tail: VecDeque::new(),
        })))
    }

    fn put(&self, bytes: &[u8]) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = &bytes[bytes.len().saturating_sub(TAIL)..];
        let surplus = (inner.tail.len() + kept.len()).saturating_sub(TAIL);
        inner.tail.drain(..surplus);
        inner.tail.extend(kept);
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let room = LINE_BYTES.saturating_sub(inner.line.len());
            inner
                .line
                .extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                inner.flush_line();
            }
        }
    }

    /// What was written last, without what moves a terminal's cursor, and a new start: the next call begins with an empty tail.
    pub(super) fn take_tail(&self) -> String {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.flush_line();
        let tail = std::mem::take(&mut inner.tail);
        // It is shown on terminals.
        String::from_utf8_lossy(&Vec::from(tail))
            .trim()
            .replace(|c: char| steers(c) && c != '\n', " ")
    }

    /// A call starts.
    pub(super) fn clear_tail(&self) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .tail
            .clear();
    }
}

impl Inner {
    fn flush_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if !line.is_empty() {
            self.log.write(self.level, line);
        }
    }
}

impl IsTerminal for Captured {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Captured {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for Captured {
    async fn ready(&mut self) {}
}

impl OutputStream for Captured {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.put(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

impl AsyncWrite for Captured {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.put(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured() -> Captured {
        Captured::new(
            Arc::new(Log::new("flow", "stage", "plugin", 10, 1 << 20)),
            Level::Info,
        )
    }

    #[test]
    fn the_tail_keeps_the_last_bytes() {
        let out = captured();
        out.put(b"first\n");
        out.put(&vec![b'x'; TAIL * 3]);
        out.put(b"\nlast");
        let tail = out.take_tail();
        assert!(tail.len() <= TAIL && tail.ends_with("\nlast") && !tail.contains("first"));
        assert_eq!(out.take_tail(), "");
    }

    #[test]
    fn a_line_without_end_is_bounded() {
        let out = captured();
        for _ in 0..10 {
            out.put(&vec![b'x'; LINE_BYTES]);
        }
        assert!(out.0.lock().unwrap().line.len() <= LINE_BYTES);
    }
}
