//! What names and labels may look like.
