//! Plugins on disk: what a file says of itself, and where a name is found.
