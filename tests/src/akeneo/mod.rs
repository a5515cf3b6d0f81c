//! The server
