//! What a read or write gives back: an object as stored bytes plus what is needed to show it, never a parsed tree.
//!
//! Hot path: an [`Object`] of a list costs a few reference counts; [`Object::write_json`] is memcpy with splices.

use std::{fmt, sync::Arc};

use atoll_kube::{Definition, Row, RowRef, Status, VersionDef};
use atoll_store::{Key, Revision};
use bytes::Bytes;
use serde_json::Value;

use crate::keys::ObjectKey;

/// A definition at one of its versions: how an object is shown.
#[derive(Clone)]
pub struct Served {
    /// The definition.
    pub definition: Arc<Definition>,
    /// Which of `definition.versions`.
    pub index: usize,
}

impl Served {
    /// The definition at the version called `version`; `None` when it has no such version.
    pub fn new(definition: Arc<Definition>, version: &str) -> Option<Self> {
        let index = definition.versions.iter().position(|v| v.name == version)?;
        Some(Self { definition, index })
    }

    /// The version.
    pub fn version(&self) -> &VersionDef {
        &self.definition.versions[self.index]
    }

    /// `group/version`, or `version` for the core group.
    pub fn api_version(&self) -> String {
        self.definition.api_version(&self.version().name)
    }

    /// The text of the `Warning:` that a deprecated version deserves.
    pub fn deprecation_warning(&self) -> Option<String> {
        let version = self.version();
        let usual = || format!("{} {} is deprecated", self.api_version(), self.kind());
        version
            .deprecated
            .then(|| version.deprecation_warning.clone().unwrap_or_else(usual))
    }

    /// The kind.
    pub fn kind(&self) -> &str {
        &self.definition.names.kind
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.api_version(), self.kind())
    }
}

/// One object at one revision, as stored.
#[derive(Clone)]
pub struct Object {
    /// Its key.
    pub key: Key,
    /// The revision that wrote it (or, of a deleted object, deleted it). 0 for a dry-run create: no resourceVersion.
    pub revision: Revision,
    /// The stored row.
    pub row: Bytes,
    /// How it is shown.
    pub served: Served,
}

impl Object {
    /// An object that is not stored: of a computed kind.
    pub fn computed(key: Key, revision: Revision, served: Served, value: &Value) -> Self {
        Self {
            key,
            revision,
            row: Row::encode(value),
            served,
        }
    }

    /// The key's parts. A malformed key (there is none in a served family) reads as empty parts.
    pub fn parts(&self) -> ObjectKey<'_> {
        ObjectKey::parse(&self.key).unwrap_or(ObjectKey {
            group: "",
            resource: "",
            identity: "",
            cluster: "",
            namespace: "",
            name: "",
        })
    }

    /// The logical cluster it is in.
    pub fn cluster(&self) -> &str {
        self.parts().cluster
    }

    /// What the annotation `kcp.io/cluster` says; a server of one cluster leaves it unnamed, and shows none.
    fn shown_cluster(&self) -> Option<&str> {
        Some(self.cluster()).filter(|name| !name.is_empty())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.parts().name
    }

    /// Its namespace, when namespaced.
    pub fn namespace(&self) -> Option<&str> {
        self.parts().namespace()
    }

    /// The row's header and body.
    pub fn row(&self) -> Result<RowRef<'_>, Status> {
        RowRef::parse(&self.row)
            .map_err(|e| Status::internal(format!("stored row of {:?} is damaged: {e}", self.key)))
    }

    /// Appends the object as JSON at its served version.
    pub fn write_json(&self, out: &mut Vec<u8>) -> Result<(), Status> {
        self.row()?.write_json(
            out,
            &self.served.api_version(),
            self.served.kind(),
            self.revision.0,
            self.shown_cluster(),
        );
        Ok(())
    }

    /// The object as JSON.
    pub fn json(&self) -> Result<Bytes, Status> {
        let mut out = Vec::with_capacity(self.row.len() + 160);
        self.write_json(&mut out)?;
        Ok(out.into())
    }

    /// The object as a value, with apiVersion, kind, resourceVersion and the cluster annotation.
    pub fn value(&self) -> Result<Value, Status> {
        let row = self.row()?;
        Ok(row.value(
            &self.served.api_version(),
            self.served.kind(),
            self.revision.0,
            self.shown_cluster(),
        ))
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} at {}", self.served, self.key, self.revision)
    }
}

/// What a write (or get of a subresource) answers with.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An object of the resource.
    Object(Object),
    /// Something else: a Scale, a review.
    Value(Value),
    /// A Status: of a completed delete.
    Status(Status),
}

/// The answer to a write.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What to show.
    pub outcome: Outcome,
    /// Texts for `Warning:` headers.
    pub warnings: Vec<String>,
    /// The object did not exist before (201).
    pub created: bool,
}

impl Answer {
    /// The outcome as a value.
    pub fn value(&self) -> Result<Value, Status> {
        match &self.outcome {
            Outcome::Object(object) => object.value(),
            Outcome::Value(value) => Ok(value.clone()),
            Outcome::Status(status) => {
                serde_json::to_value(status).map_err(|e| Status::internal(e.to_string()))
            }
        }
    }
}

/// One page of a list, read at one revision.
#[derive(Clone, Debug)]
pub struct List {
    /// The list's resourceVersion.
    pub revision: Revision,
    /// `metadata.remainingItemCount`, where known.
    pub remaining: Option<u64>,
    /// `metadata.continue`, when there is more.
    pub continue_token: Option<String>,
    /// How the objects and the list kind are shown.
    pub served: Served,
    /// The objects, in key order.
    pub objects: Vec<Object>,
}
