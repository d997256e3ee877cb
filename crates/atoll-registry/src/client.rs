//! A client inside the process, for controllers and bootstrap: the same paths as a request, values instead of bytes.

use std::sync::Arc;

use atoll_kube::{Status, UserInfo, meta};
use serde_json::Value;

use crate::{
    Body, Call, Clusters, DeleteOptions, GetOptions, List, ListOptions, Outcome, PatchType,
    Registry, ResourceRef, WatchOptions, WatchStream, WriteOptions,
};

/// A namespace as text, where empty means none.
fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Acts as one user in one logical cluster (or reads all).
#[derive(Clone)]
pub struct Client {
    registry: Registry,
    user: Arc<UserInfo>,
    clusters: Clusters,
    manager: Arc<str>,
}

impl Client {
    /// A client for `user` in `clusters`.
    pub fn new(registry: Registry, user: Arc<UserInfo>, clusters: Clusters) -> Self {
        Self {
            registry,
            user,
            clusters,
            manager: "atoll".into(),
        }
    }

    /// The same client, recorded in managedFields as `manager`.
    #[must_use]
    pub fn managed_by(mut self, manager: &str) -> Self {
        self.manager = manager.into();
        self
    }

    /// The registry below.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    fn call(&self, resource: &ResourceRef, namespace: Option<&str>, name: Option<&str>) -> Call {
        Call {
            user: self.user.clone(),
            user_agent: self.manager.clone(),
            clusters: self.clusters.clone(),
            resource: resource.clone(),
            namespace: namespace.map(Into::into),
            name: name.map(Into::into),
            now: self.registry.now(),
        }
    }

    fn options(&self) -> WriteOptions {
        WriteOptions {
            field_manager: Some(self.manager.to_string()),
            ..WriteOptions::default()
        }
    }

    /// One object; a 404 is an error.
    pub async fn get(
        &self,
        resource: &ResourceRef,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, Status> {
        // Controllers read the replica as it is: what they were woken by is in it.
        let options = GetOptions {
            resource_version: Some("0".into()),
        };
        self.registry
            .get(&self.call(resource, namespace, Some(name)), &options)
            .await?
            .value()
    }

    /// One object, `None` when there is none.
    pub async fn find(
        &self,
        resource: &ResourceRef,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<Value>, Status> {
        match self.get(resource, namespace, name).await {
            Ok(value) => Ok(Some(value)),
            Err(status) if status.code == 404 => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// A page of objects.
    pub async fn list(
        &self,
        resource: &ResourceRef,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<List, Status> {
        self.registry
            .list(&self.call(resource, namespace, None), options)
            .await
    }

    /// A watch.
    pub async fn watch(
        &self,
        resource: &ResourceRef,
        namespace: Option<&str>,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        self.registry
            .watch(&self.call(resource, namespace, None), options)
            .await
    }

    /// Creates an object and gives it back as stored. The namespace is the object's own.
    pub async fn create(&self, resource: &ResourceRef, object: Value) -> Result<Value, Status> {
        let namespace = some(meta::namespace(&object));
        let call = self.call(resource, namespace.as_deref(), None);
        self.registry
            .create(&call, Body::Value(object), &self.options())
            .await?
            .value()
    }

    /// Replaces an object (or the subresource named in `resource`).
    pub async fn update(&self, resource: &ResourceRef, object: Value) -> Result<Value, Status> {
        let namespace = some(meta::namespace(&object));
        let name = meta::name(&object).to_owned();
        let call = self.call(resource, namespace.as_deref(), Some(&name));
        self.registry
            .update(&call, Body::Value(object), &self.options())
            .await?
            .value()
    }

    /// Replaces an object's status.
    pub async fn update_status(
        &self,
        resource: &ResourceRef,
        object: Value,
    ) -> Result<Value, Status> {
        self.update(&resource.clone().sub("status"), object).await
    }

    /// Patches an object (or the subresource named in `resource`).
    pub async fn patch(
        &self,
        resource: &ResourceRef,
        namespace: Option<&str>,
        name: &str,
        kind: PatchType,
        patch: Value,
    ) -> Result<Value, Status> {
        let call = self.call(resource, namespace, Some(name));
        self.registry
            .patch(&call, kind, Body::Value(patch), &self.options())
            .await?
            .value()
    }

    /// Server-side apply, forced, as this client's manager; creates what is missing.
    pub async fn apply(&self, resource: &ResourceRef, object: Value) -> Result<Value, Status> {
        let namespace = some(meta::namespace(&object));
        let name = meta::name(&object).to_owned();
        let call = self.call(resource, namespace.as_deref(), Some(&name));
        let options = WriteOptions {
            force: true,
            ..self.options()
        };
        self.registry
            .patch(&call, PatchType::Apply, Body::Value(object), &options)
            .await?
            .value()
    }

    /// Deletes an object. True when it is gone, false when finalizers hold it; already gone is true.
    pub async fn delete(
        &self,
        resource: &ResourceRef,
        namespace: Option<&str>,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<bool, Status> {
        match self
            .registry
            .delete(&self.call(resource, namespace, Some(name)), options)
            .await
        {
            Ok(answer) => Ok(matches!(answer.outcome, Outcome::Status(_))),
            Err(status) if status.code == 404 => Ok(true),
            Err(status) => Err(status),
        }
    }
}
