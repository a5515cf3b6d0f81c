//! JSON lines files as a source and a sink.
