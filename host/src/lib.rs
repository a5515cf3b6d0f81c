//! crossdock
