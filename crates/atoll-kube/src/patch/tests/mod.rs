//! Cases of strategic merge patch and server-side apply, as tables.
