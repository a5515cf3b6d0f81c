//! What plugins import: granted things work, everything else is denied, counted and named.
