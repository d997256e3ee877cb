//! Rows made beside the object of a request: what a hook adds to its append, and what bootstrap writes.

use atoll_kube::{
    Row, Status, Timestamp, builtin, definition::Source, ids::split_api_version, meta,
    patch::managed,
};
use atoll_store::{Check, Key, Write};
use serde_json::Value;

use crate::{ClusterName, Registry, surface};

/// A new object of a built-in kind, complete and encoded.
#[derive(Clone, Debug)]
pub struct Seed {
    /// Its key.
    pub key: Key,
    /// Its uid.
    pub uid: String,
    /// The write that stores it.
    pub write: Write,
}

impl Seed {
    /// The check that it does not exist yet.
    pub fn absent(&self) -> Check {
        Check::Absent(self.key.clone())
    }
}

impl Registry {
    /// Prepares a new object for an append. apiVersion and kind name a built-in kind; metadata is stamped (uid unless
    /// given, creationTimestamp, generation, managedFields of `manager`); a Namespace is born active. Defaults are not
    /// applied, a status that is given is kept, and nothing is validated: the caller knows what it writes.
    pub fn seed(
        &self,
        cluster: &ClusterName,
        mut object: Value,
        manager: &str,
        now: Timestamp,
    ) -> Result<Seed, Status> {
        let (group, version) = split_api_version(meta::api_version(&object));
        let kind = meta::kind(&object).to_owned();
        let unknown = || Status::internal(format!("{kind} is not a built-in kind"));
        let entry = surface::everywhere_kind(group, &kind).ok_or_else(unknown)?;
        let definition = &entry.definition;
        let served = crate::Served::new(definition.clone(), version).ok_or_else(unknown)?;
        if meta::uid(&object).is_empty() {
            meta::set(&mut object, "uid", self.new_uid());
        }
        meta::set(&mut object, "creationTimestamp", now.rfc3339());
        if builtin::hooks::counts_generation(&definition.group_resource()) {
            meta::set(&mut object, "generation", 1);
        }
        builtin::hooks::on_create(&definition.group_resource(), &mut object);
        let record = managed::Write {
            api_version: &served.api_version(),
            kind: served.kind(),
            schema: &served.version().schema,
            native: definition.source == Source::Builtin,
            has_status: served.version().subresources.status,
            subresource: "",
            manager,
            now,
        };
        managed::on_create(&record, &mut object);
        let namespace = definition.namespaced().then(|| meta::namespace(&object));
        let key = entry
            .id()
            .key(cluster.as_str(), namespace, meta::name(&object));
        let uid = meta::uid(&object).to_owned();
        let write = Write::Put(key.clone(), Row::encode(&object));
        Ok(Seed { key, uid, write })
    }
}
