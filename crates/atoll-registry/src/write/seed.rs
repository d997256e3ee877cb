//! Rows made beside the object of a request: what a hook adds to the append, and what bootstrap writes.

use atoll_kube::Status;
use atoll_store::{Key, Write};
use serde_json::Value;

use crate::{ClusterName, Registry};

/// A new object, complete and encoded: checks `Absent(key)` belong beside the write.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Its key.
    pub key: Key,
    /// Its uid.
    pub uid: String,
    /// The write that stores it.
    pub write: Write,
}

impl Registry {
    /// Prepares a new object of a built-in kind for an append: apiVersion and kind name the resource, metadata (uid,
    /// creationTimestamp, generation, managedFields) is stamped, defaults are not applied and nothing is validated.
    pub fn seed(&self, _cluster: &ClusterName, _object: Value) -> Result<Seed, Status> {
        todo!()
    }
}
