//! CSV files as a source and a sink.
