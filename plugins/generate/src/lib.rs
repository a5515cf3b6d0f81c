//! Makes records up.
