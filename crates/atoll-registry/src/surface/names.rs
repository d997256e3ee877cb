//! Name conflicts.
