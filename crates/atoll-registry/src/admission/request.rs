//! One write as admission sees it.

use std::cell::OnceCell;
use std::sync::Arc;

use atoll_kube::{Definition, meta};
use atoll_store::Snapshot;
use serde_json::{Value, json};

use crate::{
    Call, Registry, ResourceId, Served, convert, read::row, read::target::Place,
    write::attempt::Attempt,
};

/// What is done, as rules name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
    Delete,
}

impl Action {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }

    /// The kind of the request's options.
    fn options(self) -> &'static str {
        match self {
            Self::Create => "CreateOptions",
            Self::Update => "UpdateOptions",
            Self::Delete => "DeleteOptions",
        }
    }
}

/// A write, and what can be found out about it.
pub(crate) struct Request<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) call: &'a Call,
    pub(crate) place: Place,
    pub(crate) served: Served,
    pub(crate) snapshot: Arc<dyn Snapshot>,
    pub(crate) action: Action,
    pub(crate) subresource: Option<&'a str>,
    pub(crate) object: Option<&'a Value>,
    pub(crate) old: Option<&'a Value>,
    pub(crate) dry_run: bool,
    manager: &'a str,
    namespace: OnceCell<Option<Value>>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(
        attempt: &Attempt<'a>,
        action: Action,
        object: Option<&'a Value>,
        old: Option<&'a Value>,
    ) -> Self {
        let flow = attempt.flow;
        Self {
            registry: flow.registry,
            call: flow.call,
            place: attempt.place.clone(),
            served: attempt.target.served.clone(),
            snapshot: attempt.snapshot.clone(),
            action,
            subresource: flow.call.resource.subresource.as_deref(),
            object,
            old,
            dry_run: flow.dry_run,
            manager: &flow.manager,
            namespace: OnceCell::new(),
        }
    }

    pub(crate) fn definition(&self) -> &Definition {
        &self.served.definition
    }

    pub(crate) fn resource(&self) -> &str {
        &self.served.definition.names.plural
    }

    /// The version that the request names.
    pub(crate) fn version(&self) -> &str {
        &self.served.version().name
    }

    /// The object's name; empty where it is still to be made up.
    pub(crate) fn name(&self) -> &str {
        let written = self.object.or(self.old).map_or("", meta::name);
        self.call.name.as_deref().unwrap_or(written)
    }

    /// The namespace of the request: of a Namespace, its own name.
    pub(crate) fn namespace(&self) -> &str {
        if self.is_namespace() {
            return self.name();
        }
        self.call.namespace.as_deref().unwrap_or_default()
    }

    pub(crate) fn is_namespace(&self) -> bool {
        let definition = self.definition();
        definition.group.is_empty() && definition.names.plural == "namespaces"
    }

    /// The Namespace that the object is in; `None` for what is in none.
    pub(crate) fn namespace_object(&self) -> Result<Option<&Value>, String> {
        let name = self.call.namespace.as_deref().unwrap_or_default();
        if name.is_empty() || self.is_namespace() {
            return Ok(None);
        }
        if self.namespace.get().is_none() {
            let id = ResourceId::builtin("", "namespaces");
            let found = id.read(&*self.snapshot, self.place.cluster.as_str(), None, name);
            let found = found.map_err(|e| e.message.to_string())?;
            let shown = found.and_then(|version| {
                let row = row(&version.row).ok()?;
                Some(row.value("v1", "Namespace", version.modified.0, None))
            });
            // Set by nobody else: the cell is not shared.
            let _ = self.namespace.set(shown);
        }
        let found = self.namespace.get().and_then(Option::as_ref);
        found
            .map(Some)
            .ok_or_else(|| format!("namespaces \"{name}\" not found"))
    }

    /// The request as expressions and webhooks read it; objects are not part of it.
    pub(crate) fn describe(&self, version: &str) -> Value {
        let definition = self.definition();
        let kind = |version: &str| match self.subresource {
            Some("scale") => json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}),
            _ => {
                json!({"group": definition.group, "version": version, "kind": definition.names.kind})
            }
        };
        let resource = |version: &str| json!({"group": definition.group, "version": version, "resource": self.resource()});
        let mut request = json!({
            "kind": kind(version),
            "resource": resource(version),
            "requestKind": kind(self.version()),
            "requestResource": resource(self.version()),
            "name": self.name(),
            "operation": self.action.as_str(),
            "userInfo": &*self.call.user,
            "dryRun": self.dry_run,
            "options": {"kind": self.action.options(), "apiVersion": "meta.k8s.io/v1"},
        });
        if let Some(sub) = self.subresource {
            request["subResource"] = sub.into();
            request["requestSubResource"] = sub.into();
        }
        if !self.namespace().is_empty() {
            request["namespace"] = self.namespace().into();
        }
        if self.action != Action::Delete {
            request["options"]["fieldManager"] = self.manager.into();
        }
        if self.dry_run {
            request["options"]["dryRun"] = json!(["All"]);
        }
        request
    }

    /// An object of the request at a version of its kind.
    pub(crate) fn at_version(&self, object: &Value, version: &str) -> Value {
        match Served::new(self.served.definition.clone(), version) {
            Some(to) if version != self.version() && self.subresource != Some("scale") => {
                convert::between(&self.served, &to, object.clone())
            }
            _ => object.clone(),
        }
    }
}
