//! The string formats that are checked.
