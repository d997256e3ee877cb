//! A center without the front: store, registry, workspaces and controllers in a temporary directory.

#![allow(dead_code, unreachable_pub)] // each test file uses its part
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that cannot set itself up should end

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use atoll_kube::{Status, UserInfo, meta};
use atoll_registry::controller::Driver;
use atoll_registry::controllers;
use atoll_registry::{
    Attributes, Authorizer as _, Body, Call, ClusterName, ClusterResolver as _, Clusters, Decision,
    DeleteOptions, GetOptions, Registry, ResourceRef, WriteOptions, indexes,
};
use atoll_store::{Store, embedded};
use atoll_workspaces::{Options, Workspaces};
use serde_json::{Value, json};

pub const URL: &str = "https://center:6443";

/// Runs a test with a directory of its own, which outlives every task of the test.
pub fn run<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F) {
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let path = directory.path().to_path_buf();
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test(path))));
    drop(runtime);
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
}

pub struct Center {
    pub registry: Registry,
    pub workspaces: Workspaces,
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Center {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Center {
    pub async fn start(directory: &Path) -> Center {
        Self::start_with(directory, true).await
    }

    /// `controllers: false` leaves what is marked as it is.
    pub async fn start_with(directory: &Path, controllers: bool) -> Center {
        let mut options = embedded::Options::new(directory);
        options.indexes = indexes();
        let store: Arc<dyn Store> = embedded::open(options).expect("the store opens");
        let workspaces = Workspaces::new(store.clone(), Options::new(URL));
        let builder = Registry::builder(store, workspaces.tree.clone());
        let registry = workspaces.install(builder).build();
        workspaces.bootstrap(&registry).await.expect("bootstrap");
        let driver = Driver::new(registry.clone());
        let driver = if controllers {
            controllers::all(workspaces.controllers(driver))
        } else {
            driver
        };
        Center {
            registry,
            workspaces,
            driver: tokio::spawn(driver.run()),
        }
    }

    /// Stops everything and closes the store.
    pub async fn stop(mut self) {
        self.driver.abort();
        let _ = (&mut self.driver).await;
    }

    pub fn cluster(&self, path: &str) -> ClusterName {
        self.workspaces
            .tree
            .resolve(path)
            .unwrap_or_else(|status| panic!("{path}: {status}"))
    }

    pub fn call(
        &self,
        user: &Arc<UserInfo>,
        path: &str,
        resource: &ResourceRef,
        namespace: &str,
        name: &str,
    ) -> Call {
        let optional = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Call {
            user: user.clone(),
            user_agent: "test".into(),
            clusters: Clusters::One(self.cluster(path)),
            resource: resource.clone(),
            namespace: optional(namespace),
            name: optional(name),
            now: self.registry.now(),
        }
    }

    /// Authorizes and creates, as a request would.
    pub async fn create(
        &self,
        user: &Arc<UserInfo>,
        path: &str,
        kind: &str,
        object: Value,
    ) -> Result<Value, Status> {
        let resource = resource(kind);
        let namespace = meta::namespace(&object).to_owned();
        self.check(user, path, "create", &resource, &namespace, "")?;
        let call = self.call(user, path, &resource, &namespace, "");
        self.registry
            .create(&call, Body::Value(object), &WriteOptions::default())
            .await?
            .value()
    }

    pub async fn update(
        &self,
        user: &Arc<UserInfo>,
        path: &str,
        kind: &str,
        object: Value,
    ) -> Result<Value, Status> {
        let resource = resource(kind);
        let (namespace, name) = (
            meta::namespace(&object).to_owned(),
            meta::name(&object).to_owned(),
        );
        self.check(user, path, "update", &resource, &namespace, &name)?;
        let call = self.call(user, path, &resource, &namespace, &name);
        self.registry
            .update(&call, Body::Value(object), &WriteOptions::default())
            .await?
            .value()
    }

    pub async fn get(
        &self,
        user: &Arc<UserInfo>,
        path: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Status> {
        let resource = resource(kind);
        self.check(user, path, "get", &resource, namespace, name)?;
        let call = self.call(user, path, &resource, namespace, name);
        self.registry
            .get(&call, &GetOptions::default())
            .await?
            .value()
    }

    pub async fn delete(
        &self,
        user: &Arc<UserInfo>,
        path: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Value, Status> {
        let resource = resource(kind);
        self.check(user, path, "delete", &resource, namespace, name)?;
        let call = self.call(user, path, &resource, namespace, name);
        self.registry
            .delete(&call, &DeleteOptions::default())
            .await?
            .value()
    }

    pub async fn workspace(
        &self,
        user: &Arc<UserInfo>,
        parent: &str,
        name: &str,
        of_type: &str,
    ) -> Result<Value, Status> {
        let spec = if of_type.is_empty() {
            json!({})
        } else {
            json!({"type": {"name": of_type}})
        };
        self.create(user, parent, "workspaces", workspace(name, spec))
            .await
    }

    pub fn decide(
        &self,
        user: &Arc<UserInfo>,
        path: &str,
        verb: &str,
        kind: &str,
        namespace: &str,
        name: &str,
    ) -> Decision {
        self.workspaces.access.authorize(&self.attributes(
            user,
            path,
            verb,
            &resource(kind),
            namespace,
            name,
        ))
    }

    fn attributes(
        &self,
        user: &Arc<UserInfo>,
        path: &str,
        verb: &str,
        resource: &ResourceRef,
        namespace: &str,
        name: &str,
    ) -> Attributes {
        let optional = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Attributes {
            user: user.clone(),
            verb: verb.into(),
            clusters: Clusters::One(self.cluster(path)),
            group: resource.group.clone(),
            version: resource.version.clone(),
            resource: resource.resource.clone(),
            subresource: resource.subresource.clone(),
            namespace: optional(namespace),
            name: optional(name),
            path: None,
        }
    }

    fn check(
        &self,
        user: &Arc<UserInfo>,
        path: &str,
        verb: &str,
        resource: &ResourceRef,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        match self
            .workspaces
            .access
            .authorize(&self.attributes(user, path, verb, resource, namespace, name))
        {
            Decision::Allow => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => {
                Err(Status::forbidden(&resource.group_resource(), name, why))
            }
        }
    }

    /// Waits until a condition holds: looked at again after every write, and now and then for what makes no write.
    pub async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let store = self.registry.store();
        let mut watch = store
            .watch(atoll_store::Prefix::all(), store.head())
            .expect("watch");
        let waiting = async {
            while !holds() {
                let _ = tokio::time::timeout(Duration::from_millis(20), watch.next()).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), waiting)
            .await
            .unwrap_or_else(|_| panic!("never: {what}"));
    }
}

pub fn workspace(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace", "metadata": {"name": name}, "spec": spec})
}

pub fn config_map(name: &str, namespace: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": {"a": "1"}})
}

pub fn resource(kind: &str) -> ResourceRef {
    let (kind, sub) = kind.split_once('/').unwrap_or((kind, ""));
    let (group, version) = match kind {
        "workspaces" | "workspacetypes" => ("tenancy.kcp.io", "v1alpha1"),
        "logicalclusters" => ("core.kcp.io", "v1alpha1"),
        "apibindings" => ("apis.kcp.io", "v1alpha2"),
        "clusterroles" | "clusterrolebindings" | "roles" | "rolebindings" => {
            ("rbac.authorization.k8s.io", "v1")
        }
        "deployments" => ("apps", "v1"),
        "selfsubjectreviews" => ("authentication.k8s.io", "v1"),
        reviews if reviews.ends_with("reviews") => ("authorization.k8s.io", "v1"),
        "widgets" => ("example.com", "v1"),
        "customresourcedefinitions" => ("apiextensions.k8s.io", "v1"),
        _ => ("", "v1"),
    };
    let resource = ResourceRef::new(group, version, kind);
    if sub.is_empty() {
        resource
    } else {
        resource.sub(sub)
    }
}

pub fn user(name: &str, groups: &[&str]) -> Arc<UserInfo> {
    Arc::new(UserInfo::new(
        name,
        groups.iter().copied().chain(["system:authenticated"]),
    ))
}

/// Administrator of every logical cluster, but not a master.
pub fn admin() -> Arc<UserInfo> {
    user("kcp-admin", &["system:kcp:admin"])
}

/// The code and text of a refusal.
pub fn message(result: Result<Value, Status>) -> (u16, String) {
    match result {
        Ok(value) => panic!("allowed: {value}"),
        Err(status) => (status.code, status.message.into_owned()),
    }
}
