//! Maps records by declarative rules.
