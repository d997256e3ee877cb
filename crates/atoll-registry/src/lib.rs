//! REST semantics over the store, for every resource of every logical cluster.
