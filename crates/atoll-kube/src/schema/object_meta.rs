//! The schema of `metadata`, the same for every kind.
