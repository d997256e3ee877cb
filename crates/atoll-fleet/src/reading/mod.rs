//! Reading: why something is where it is, which copies there are, what a policy's revisions were, what a change would do.
//!
//! Questions about one payload workspace, answered from the picture as it is at one moment. Always true: nothing of another workspace is in an answer, and of an inventory only what
//! the workspace's own copies show, or what somebody who may place there asks for; of an object only what its reader may get. Nothing is looked at beyond what is asked for: answers about
//! many copies come in pages.
//!
//! | question | |
//! |---|---|
//! | [`explain`] | why an object is, or is not, at a destination |
//! | [`copies`] | which copies there are, and how they are |
//! | [`history`] | a policy's revisions, and what changed between two |
//! | [`desired`] | what a destination should have, now or at a kept revision |
//! | [`plan`] | what a change would do, and doing it if nothing came in between |

mod copies;
mod copy;
mod desired;
mod explain;
mod history;
mod plan;

use std::sync::Arc;

use atoll_kube::{GroupResource, Status, UserInfo};
use atoll_placement::Destination;
use atoll_placement::bundle::Wishes;
use atoll_placement::render::{Recipe, Renderer};
use atoll_registry::surface::Entry as SurfaceEntry;
use atoll_registry::{Attributes, ClusterKind, ClusterName, Clusters, Decision, ObjectKey};
use atoll_store::{At, Key, Snapshot};
use atoll_wire::ObjectRef;
use serde_json::{Value, json};

use crate::consent;
use crate::model::{Content, PayloadObject, PolicyIndex, PolicyState, World};
use crate::shared::Shared;
use crate::source::{self, CONTROL, OCM};

/// Answers questions about payload workspaces.
#[derive(Clone)]
pub struct Reading {
    shared: Arc<Shared>,
}

/// A question.
#[derive(Debug, Clone)]
pub struct Asked {
    /// About which workspace.
    pub cluster: ClusterName,
    /// By whom.
    pub user: Arc<UserInfo>,
    /// What: `explain`, `copies`, …
    pub what: String,
    /// More exactly.
    pub parameters: Vec<(String, String)>,
    /// A change, for `plan` and `apply`.
    pub body: Option<Value>,
}

impl Asked {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(key, _)| key == name);
        found.map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    fn need(&self, name: &str) -> Result<&str, Status> {
        self.get(name)
            .ok_or_else(|| Status::bad_request(format!("the parameter {name:?} is missing")))
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        let read = |text: &str| {
            let why = || Status::bad_request(format!("{name} must be a number, not {text:?}"));
            text.parse().map_err(|_| why())
        };
        self.get(name).map(read).transpose()
    }

    /// What one has to be allowed in order to ask anything about a workspace.
    pub fn attributes(cluster: ClusterName, user: Arc<UserInfo>) -> Attributes {
        Attributes {
            user,
            verb: "list".to_owned(),
            clusters: Clusters::One(cluster),
            group: CONTROL.to_owned(),
            version: "v1alpha1".to_owned(),
            resource: "bindingpolicies".to_owned(),
            subresource: None,
            namespace: None,
            name: None,
            path: None,
        }
    }
}

/// An object that is asked about.
struct Target {
    entry: SurfaceEntry,
    namespace: Option<String>,
    name: String,
}

impl Reading {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Reading { shared }
    }

    /// Answers a question of somebody who may ask ([`Asked::attributes`]).
    ///
    /// # Errors
    /// 404 for what is not there or not theirs to see, 403 for what they may not get, 400 for a question that makes no sense.
    pub async fn answer(&self, asked: Asked) -> Result<Value, Status> {
        let kind = self.shared.registry.cluster_kind(&asked.cluster)?;
        if kind != ClusterKind::Payload {
            return Err(Status::bad_request(
                "only payload workspaces have copies to read about: name one with --workspace, or enter one with `atoll ws`",
            ));
        }
        self.shared.caught_up().await;
        match (asked.what.as_str(), asked.body.is_some()) {
            ("plan", true) => plan::plan(self, &asked).await,
            ("apply", true) => plan::apply(self, &asked).await,
            ("explain" | "copies" | "destinations" | "history" | "diff" | "desired", false) => {
                let reading = self.clone();
                let answered = tokio::task::spawn_blocking(move || reading.look(&asked)).await;
                answered.map_err(|e| Status::internal(e.to_string()))?
            }
            ("plan" | "apply", false)
            | ("explain" | "copies" | "destinations" | "history" | "diff" | "desired", true) => {
                Err(Status::method_not_allowed())
            }
            _ => Err(Status::no_such_path()),
        }
    }

    fn look(&self, asked: &Asked) -> Result<Value, Status> {
        match asked.what.as_str() {
            "explain" => explain::explain(self, asked),
            "copies" => copies::copies(self, asked),
            "destinations" => copies::destinations(self, asked),
            "history" => history::history(self, asked),
            "diff" => history::diff(self, asked),
            _ => desired::desired(self, asked),
        }
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>, Status> {
        let snapshot = self.shared.store.snapshot(At::Latest);
        snapshot.map_err(|e| Status::internal(e.to_string()))
    }

    /// Whether the asker may do something to an object.
    fn may(&self, asked: &Asked, verb: &str, object: &ObjectRef) -> Result<(), Status> {
        let attributes = Attributes {
            user: asked.user.clone(),
            verb: verb.to_owned(),
            clusters: Clusters::One(asked.cluster.clone()),
            group: object.group.clone(),
            version: object.version.clone(),
            resource: object.resource.clone(),
            subresource: None,
            namespace: object.namespaced.then(|| object.namespace.clone()),
            name: Some(object.name.clone()),
            path: None,
        };
        match self.shared.authorizer.authorize(&attributes) {
            Decision::Allow => Ok(()),
            Decision::Deny(why) | Decision::NoOpinion(why) => {
                let resource = GroupResource::new(&object.group, &object.resource);
                let user = &asked.user.username;
                let why = format!(
                    "user {user:?} may not {verb} it{}{why}",
                    if why.is_empty() { "" } else { ": " }
                );
                Err(Status::forbidden(&resource, &object.name, why))
            }
        }
    }

    /// The object that `resource`, `namespace` and `name` mean. The resource may be a plural, a singular, a short name or a kind, with or without its group.
    fn target(&self, asked: &Asked) -> Result<Target, Status> {
        let (word, name) = (asked.need("resource")?, asked.need("name")?);
        let entry = self.resource(asked, word)?;
        let namespace = entry.definition.namespaced().then(|| {
            let namespace = asked.get("namespace").unwrap_or("default");
            namespace.to_owned()
        });
        Ok(Target {
            entry,
            namespace,
            name: name.to_owned(),
        })
    }

    fn resource(&self, asked: &Asked, word: &str) -> Result<SurfaceEntry, Status> {
        let surface = self.shared.registry.surface(&asked.cluster)?;
        let lower = word.to_ascii_lowercase();
        let (bare, group) = match lower.split_once('.') {
            Some((bare, group)) => (bare, Some(group)),
            None => (lower.as_str(), None),
        };
        let mut definitions = surface.definitions().iter().filter(|d| {
            let names = &d.names;
            let called = names.plural == bare
                || names.singular == bare
                || names.kind.eq_ignore_ascii_case(bare)
                || names.short_names.iter().any(|n| n == bare);
            called && group.is_none_or(|g| g == d.group)
        });
        let found = definitions.next();
        found
            .and_then(|d| surface.resource(&d.group, &d.names.plural))
            .cloned()
            .ok_or_else(|| Status::bad_request(format!("this workspace has no resource {word:?}")))
    }

    /// A destination by name that this asker may hear of: one that has copies of this workspace, or one of an inventory where they may place.
    fn destination(&self, world: &World, asked: &Asked, name: &str) -> Result<Destination, Status> {
        let unknown = || Status::not_found(&GroupResource::new(OCM, "managedclusters"), name);
        let policies = world.what.of_cluster(asked.cluster.as_str());
        let policies: Vec<&PolicyState> = policies
            .iter()
            .filter_map(|p| world.policies.get(p))
            .collect();
        let mut inventories: Vec<&Arc<str>> = policies
            .iter()
            .filter_map(|p| p.inventory.as_ref())
            .collect();
        inventories.sort_unstable();
        inventories.dedup();
        for inventory in inventories {
            let Some(found) = world.destination(inventory, name) else {
                continue;
            };
            let ours = policies.iter().any(|p| p.assigned.contains(found.0));
            let place = ClusterName::new(inventory.clone());
            let authorizer = self.shared.authorizer.as_ref();
            if ours || consent::may_place(authorizer, &asked.user, &place).is_ok() {
                return Ok(found);
            }
        }
        Err(unknown())
    }

    /// A policy of the workspace by its name.
    fn policy<'w>(
        &self,
        world: &'w World,
        asked: &Asked,
        name: &str,
    ) -> Result<(PolicyIndex, &'w PolicyState), Status> {
        let id = (Arc::from(asked.cluster.as_str()), Arc::from(name));
        let index = world.by_policy.get(&id).copied();
        let found = index.and_then(|i| Some((i, world.policies.get(&i)?)));
        found
            .filter(|(_, p)| !p.deleted)
            .ok_or_else(|| Status::not_found(&GroupResource::new(CONTROL, "bindingpolicies"), name))
    }

    /// What makes the copies of a content.
    fn renderer(&self, object: &PayloadObject, content: &Content) -> Option<Arc<Renderer>> {
        if let Some(renderer) = &content.vary {
            return Some(renderer.clone());
        }
        let body = self.body(object, content)?;
        let wishes = Wishes {
            edge_owned: content.edge_owned.clone(),
            initial_only: content.initial_only.clone(),
            replace: content.replace,
        };
        let recipe = Recipe::fixed(body, object.order, wishes);
        Some(Arc::new(Renderer::new(recipe)))
    }

    /// A stored object's JSON, as it is stored.
    fn value(&self, asked: &Asked, key: &Key, row: &[u8]) -> Result<Value, Status> {
        let missing = || Status::not_found(&GroupResource::new("", ""), "");
        let parts = ObjectKey::parse(key).ok_or_else(missing)?;
        debug_assert_eq!(parts.cluster, asked.cluster.as_str());
        let kind = source::kind_of(&self.shared.registry, &parts).ok_or_else(missing)?;
        let value = source::value_of(row, parts.group, &kind);
        value.map_err(|e| Status::internal(e.to_string()))
    }

    /// The body of a content that is the same everywhere.
    fn body(&self, object: &PayloadObject, content: &Content) -> Option<Value> {
        let forms = [&object.full, &object.bare];
        let mut forms = forms.into_iter().flatten();
        let held = forms.find(|f| f.content.body == content.body);
        let bytes = match held.and_then(|f| f.body.clone()) {
            Some(bytes) => bytes,
            None => self.shared.body(&content.body)?,
        };
        serde_json::from_slice(&bytes).ok()
    }
}

/// An object, as answers name it.
fn named(object: &ObjectRef) -> Value {
    let mut named = json!({"group": object.group, "resource": object.resource, "kind": object.kind, "name": object.name});
    if object.namespaced {
        named["namespace"] = json!(object.namespace);
    }
    named
}
