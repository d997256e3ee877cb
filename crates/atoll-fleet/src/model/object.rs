//! A payload object as the fleet knows it: who it is, how it would travel now, and who asks for it.
//!
//! What it looked like when a revision was cut is not here but in the revision's entries ([`Content`]); the record of an object that is long gone lives on while a
//! revision or a tombstone names it.

use std::collections::BTreeSet;
use std::sync::Arc;

use atoll_placement::bundle::{self, BodyHash, CopyFlags, RenderHash, Rendered};
use atoll_placement::order::OrderClass;
use atoll_placement::render::{Recipe, Renderer};
use atoll_store::{Key, Revision};
use atoll_wire::{CopyId, ObjectRef};
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::PolicyIndex;
use crate::rows::{EntryRow, ObjectRow};

/// An object as it travels, without its body (which is in the body store by its hash) and without what a policy or a destination adds.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    /// The body that travels; of an object that varies, its recipe's bytes.
    pub(crate) body: BodyHash,
    pub(crate) size: u32,
    pub(crate) edge_owned: Vec<String>,
    pub(crate) initial_only: Vec<String>,
    pub(crate) replace: bool,
    /// What health rules read of the object.
    pub(crate) health_input: Value,
    /// Where the object was written when it was read: of two contents of one object, the newer has the greater.
    pub(crate) written: Revision,
    /// Its copies are not the same everywhere: this makes them.
    pub(crate) vary: Option<Arc<Renderer>>,
}

impl Content {
    /// The content that a recipe makes, and what the body store keeps of it.
    pub(crate) fn of(recipe: Recipe, health_input: Value, written: Revision) -> (Self, Bytes) {
        let renderer = Renderer::new(recipe);
        let (rendered, vary) = match renderer.uniform() {
            Some(rendered) => (rendered.as_ref().clone(), None),
            None => {
                let body = renderer.recipe().to_bytes();
                let rendered = Rendered {
                    body_hash: Sha256::digest(&body).into(),
                    body,
                    order: OrderClass(0),
                    edge_owned: Vec::new(),
                    initial_only: Vec::new(),
                    replace: false,
                };
                (rendered, Some(Arc::new(renderer)))
            }
        };
        let content = Content {
            body: rendered.body_hash,
            size: u32::try_from(rendered.body.len()).unwrap_or(u32::MAX),
            edge_owned: rendered.edge_owned,
            initial_only: rendered.initial_only,
            replace: rendered.replace,
            health_input,
            written,
            vary,
        };
        (content, rendered.body.into())
    }

    /// The render hash of a copy with these flags.
    pub(crate) fn render(&self, flags: CopyFlags) -> RenderHash {
        if let Some(renderer) = &self.vary {
            return renderer.content(flags);
        }
        bundle::render_hash(
            &self.body,
            flags,
            self.replace,
            &self.edge_owned,
            &self.initial_only,
        )
    }

    /// Whether its copies are the same, whenever it was read.
    pub(crate) fn looks_like(&self, other: &Content) -> bool {
        (
            self.body,
            self.replace,
            &self.edge_owned,
            &self.initial_only,
        ) == (
            other.body,
            other.replace,
            &other.edge_owned,
            &other.initial_only,
        )
    }

    /// As a revision's row remembers it.
    pub(crate) fn from_row(row: &EntryRow, vary: Option<Arc<Renderer>>) -> Self {
        Content {
            // A damaged hash names no body: nothing is sent for it.
            body: row.body.as_ref().try_into().unwrap_or([0xff; 32]),
            size: row.size,
            edge_owned: row.edge_owned.clone(),
            initial_only: row.initial_only.clone(),
            replace: row.replace,
            health_input: serde_json::from_str(&row.health_input).unwrap_or(Value::Null),
            written: Revision(row.written),
            vary,
        }
    }
}

/// How an object would travel now.
#[derive(Debug, Clone)]
pub(crate) struct Form {
    pub(crate) content: Arc<Content>,
    /// The body, until the body store has it.
    pub(crate) body: Option<Bytes>,
}

impl Form {
    pub(crate) fn of(recipe: Recipe, health_input: Value, written: Revision) -> Self {
        let (content, body) = Content::of(recipe, health_input, written);
        Form {
            content: Arc::new(content),
            body: Some(body),
        }
    }
}

/// An object that some policy placed or is about to place.
#[derive(Debug, Clone)]
pub(crate) struct PayloadObject {
    pub(crate) copy: CopyId,
    pub(crate) reference: ObjectRef,
    pub(crate) key: Key,
    pub(crate) order: OrderClass,
    /// Where it was written last; 0 for one known only from a revision.
    pub(crate) revision: Revision,
    /// It exists in the payload workspace.
    pub(crate) live: bool,
    /// As selected; `None` while it was not read.
    pub(crate) full: Option<Form>,
    /// As carried along (Namespaces: their name only).
    pub(crate) bare: Option<Form>,
    /// The workload that it scales, if it is an autoscaler: kind and name.
    pub(crate) scales: Option<(String, String)>,
    /// Policies that select it, carry it or have it in a revision.
    pub(crate) policies: BTreeSet<PolicyIndex>,
    /// `metadata.creationTimestamp`.
    pub(crate) created: Value,
    /// `metadata.generation` of this content.
    pub(crate) generation: i64,
    /// We wrote its `.status` and have to clear it when nobody wants it any more. Durable before it is so.
    pub(crate) returned: bool,
}

impl PayloadObject {
    /// The form for these flags.
    pub(crate) fn form(&self, flags: CopyFlags) -> Option<&Form> {
        self.bare
            .as_ref()
            .filter(|_| flags.implicit)
            .or(self.full.as_ref())
    }

    /// What it scales, if it is an autoscaler: cluster, namespace, kind, name.
    pub(crate) fn target(&self) -> Option<[String; 4]> {
        let (kind, name) = self.scales.as_ref()?;
        let (cluster, namespace) = (&self.copy.cluster, &self.reference.namespace);
        Some([cluster, namespace, kind, name].map(String::clone))
    }

    /// `Deployment default/web`.
    pub(crate) fn title(&self) -> String {
        let r = &self.reference;
        if r.namespaced {
            format!("{} {}/{}", r.kind, r.namespace, r.name)
        } else {
            format!("{} {}", r.kind, r.name)
        }
    }

    /// The same in every run and for every store.
    pub(crate) fn identity(&self) -> String {
        format!("{}/{}", self.copy.cluster, self.copy.uid)
    }

    /// What a row says about an object, as a record that is not live.
    pub(crate) fn remembered(cluster: &str, row: &ObjectRow) -> Self {
        let reference = row.object.clone().unwrap_or_default();
        let key = Key::new([
            reference.group.as_str(),
            &reference.resource,
            &row.identity,
            cluster,
            &reference.namespace,
            &reference.name,
        ]);
        PayloadObject {
            copy: CopyId {
                cluster: cluster.to_owned(),
                uid: row.uid.clone(),
            },
            reference,
            key,
            order: OrderClass(u8::try_from(row.order).unwrap_or(u8::MAX)),
            revision: Revision(0),
            live: false,
            full: None,
            bare: None,
            scales: None,
            policies: BTreeSet::new(),
            created: Value::Null,
            generation: 0,
            returned: false,
        }
    }

    /// As revisions and tombstones remember it.
    pub(crate) fn to_row(&self) -> ObjectRow {
        ObjectRow {
            uid: self.copy.uid.clone(),
            object: Some(self.reference.clone()),
            identity: self
                .key
                .component(2)
                .map(|c| String::from_utf8_lossy(c).into_owned())
                .unwrap_or_default(),
            order: u32::from(self.order.0),
        }
    }
}
