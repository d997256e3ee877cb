//! Real objects in workspaces, made of what came up and kept fresh.
//!
//! Made with the rights of whoever wrote the policy, asked at each write. A real object is called after its original and its edge, carries the edge's name in a label and is never written over one
//! that does not: what somebody else made stays. It goes when its original goes, when no policy asks for it any more, or with its edge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use atoll_kube::{Status, meta};
use atoll_placement::Destination;
use atoll_placement::upsync::{UPSYNCED_FROM, real_name};
use atoll_registry::{
    Attributes, ClusterName, Clusters, Decision, DeleteOptions, PatchType, ResourceRef,
};
use atoll_store::{At, Write};
use bytes::Bytes;
use prost::Message as _;
use serde_json::{Value, json};

use super::shelf::{BornRow, Identity, MadeRow, Record};
use super::{Asking, MOST_OBJECTS};
use crate::consent;
use crate::model::PolicyIndex;
use crate::shared::Shared;

/// Changes are gathered for so long.
const SETTLE: Duration = Duration::from_millis(200);
/// How long what failed waits.
const AGAIN: Duration = Duration::from_secs(2);
/// Whose fields real objects' are.
const MANAGER: &str = "atoll-upsync";

/// Runs until dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    sweep(&shared).await;
    loop {
        for destination in shared.upsync.take(SETTLE).await {
            if !settle(&shared, destination).await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(AGAIN).await;
                    shared.upsync.add(destination);
                });
            }
        }
    }
}

/// Where a record is to be a real object: the workspace, and for which policy.
type Targets = BTreeMap<String, (PolicyIndex, (Arc<str>, Arc<str>))>;

/// Brings one edge's real objects to where they should be. False: try again later.
async fn settle(shared: &Shared, destination: Destination) -> bool {
    let (edge, work, asking) = {
        let world = shared.world.read();
        let asking = world.asking(destination);
        let records = world.born.records.get(&destination);
        let work: Vec<(Identity, Record)> = records
            .into_iter()
            .flatten()
            .map(|(identity, record)| (identity.clone(), record.clone()))
            .collect();
        (world.name_of(destination), work, asking)
    };
    let mut problems: BTreeMap<PolicyIndex, BTreeSet<String>> =
        asking.iter().map(|a| (a.policy, BTreeSet::new())).collect();
    let mut done = true;
    for (identity, record) in work {
        let wanted: Vec<&Asking> = asking
            .iter()
            .filter(|a| !record.gone && a.clause.has(&record.object))
            .collect();
        let targets: Targets = wanted
            .iter()
            .filter_map(|a| Some((a.workspace.clone()?, (a.policy, a.of.clone()))))
            .collect();
        let one = One {
            shared,
            destination,
            edge: &edge,
            identity: &identity,
        };
        done &= one
            .settle(record, !wanted.is_empty(), targets, &mut problems)
            .await;
    }
    tell(shared, &edge, destination, problems);
    done
}

/// Lets the policies' statuses say what went wrong at an edge.
fn tell(
    shared: &Shared,
    edge: &str,
    destination: Destination,
    problems: BTreeMap<PolicyIndex, BTreeSet<String>>,
) {
    let mut world = shared.world.write();
    let beyond = world.born.beyond.get(&destination).copied();
    for (policy, mut found) in problems {
        if let Some(n) = beyond {
            found.insert(format!(
                "{edge} has {n} objects more than may come up (at most {MOST_OBJECTS} of an edge, none too large): they are left out"
            ));
        }
        let mine = format!("{edge}: ");
        let all = world.born.problems.entry(policy).or_default();
        let before = all.clone();
        all.retain(|text| !text.starts_with(&mine));
        all.extend(
            found
                .into_iter()
                .take(5)
                .map(|text| format!("{mine}{text}")),
        );
        if *all != before {
            shared.policy_status.add(policy);
        }
    }
}

/// One object that came up.
struct One<'a> {
    shared: &'a Shared,
    destination: Destination,
    edge: &'a str,
    identity: &'a Identity,
}

impl One<'_> {
    async fn settle(
        &self,
        mut record: Record,
        asked: bool,
        targets: Targets,
        problems: &mut BTreeMap<PolicyIndex, BTreeSet<String>>,
    ) -> bool {
        let mut done = true;
        let mut stays = BTreeSet::new();
        for (workspace, (policy, of)) in targets {
            match self.make(&mut record, &workspace, &of).await {
                Ok(made) => {
                    stays.insert(made);
                }
                Err(Trouble::Said(why)) => {
                    problems.entry(policy).or_default().insert(why);
                    done = false;
                }
                Err(Trouble::Later) => done = false,
            }
        }
        // What is wanted and could not be made just now is not taken away.
        if done {
            for made in record.made.clone() {
                if !stays.contains(&made) && !self.unmake(&mut record, &made).await {
                    done = false;
                }
            }
        }
        if done && !asked && record.made.is_empty() {
            let _writing = self.shared.born_rows.lock().await;
            // It may have come again meanwhile.
            let same = |kept: &Record| (kept.hash, kept.gone) == (record.hash, record.gone);
            let is_same = {
                let world = self.shared.world.read();
                let records = world.born.records.get(&self.destination);
                records.and_then(|r| r.get(self.identity)).is_some_and(same)
            };
            if !is_same {
                return false;
            }
            let gone = vec![Write::Delete(record.key.clone(), None)];
            match self.shared.append(Vec::new(), gone).await {
                Ok(revision) => {
                    let mut world = self.shared.world.write();
                    world.applied = world.applied.max(revision);
                    let at = world.applied;
                    self.shared.feed.born(self.destination, record.id, at);
                    world.born.remove(self.destination, self.identity);
                }
                Err(_) => done = false,
            }
        }
        done
    }

    /// Makes or renews the real object in a workspace.
    async fn make(
        &self,
        record: &mut Record,
        workspace: &str,
        of: &(Arc<str>, Arc<str>),
    ) -> Result<MadeRow, Trouble> {
        let registry = &self.shared.registry;
        let said = |why: String| Trouble::Said(why);
        // In the same words, whether there is none or one may not know.
        let no_workspace = || {
            said(format!(
                "nothing can be made in workspace {workspace}: there is none, or the policy's writer may not write there"
            ))
        };
        let cluster = registry.resolver().resolve(workspace);
        let cluster = cluster.map_err(|_| no_workspace())?;
        let object = &record.object;
        let namespace = object.namespaced.then_some(object.namespace.as_str());
        let name = real_name(&object.name, self.edge);
        let may = |verb: &str, group: &str, resource: &str, name: &str| {
            self.may(of, &cluster, (verb, group, resource), namespace, name)
        };
        for verb in ["create", "patch"] {
            if !may(verb, &object.group, &object.resource, &name) {
                return Err(no_workspace());
            }
        }
        let surface = registry.surface(&cluster).map_err(|_| Trouble::Later)?;
        let Some(entry) = surface.resource(&object.group, &object.resource) else {
            return Err(said(format!(
                "workspace {workspace} serves no {}.{}: create its CustomResourceDefinition there",
                object.resource, object.group
            )));
        };
        let definition = &entry.definition;
        let served = definition.version(&object.version);
        let version = served.unwrap_or(definition.storage_version());
        let made = MadeRow {
            cluster: cluster.as_str().to_owned(),
            version: version.name.clone(),
            namespace: object.namespace.clone(),
            name: name.clone(),
        };
        if record.made.contains(&made) && record.fresh.get(&made.cluster) == Some(&record.hash) {
            return Ok(made);
        }
        let body = self.body(record)?;
        let resource = ResourceRef::new(&object.group, &version.name, &object.resource);
        let has_status = version.subresources.status;
        let client = registry.as_system(cluster.clone()).managed_by(MANAGER);
        if let Some(namespace) = namespace {
            let namespaces = ResourceRef::new("", "v1", "namespaces");
            let found = client.find(&namespaces, None, namespace).await;
            if found.map_err(|_| Trouble::Later)?.is_none() {
                if !may("create", "", "namespaces", namespace) {
                    return Err(no_workspace());
                }
                let new = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
                let created = client.create(&namespaces, new).await;
                created.map_err(|status| refused(&status))?;
            }
        }
        let found = client.find(&resource, namespace, &name).await;
        let foreign = found
            .map_err(|_| Trouble::Later)?
            .is_some_and(|o| meta::label(&o, UPSYNCED_FROM) != Some(self.edge));
        if foreign {
            return Err(said(format!(
                "{} {name} in workspace {workspace} is there already and was not made of what came up: it is left alone",
                object.kind
            )));
        }
        if !record.made.contains(&made) {
            // Noted before it is there, so that it can always be found again.
            record.made.insert(made.clone());
            self.keep(record).await?;
        }
        let api_version = match object.group.as_str() {
            "" => version.name.clone(),
            group => format!("{group}/{}", version.name),
        };
        let (value, status) = dressed(body, self.edge, &name, &api_version, record);
        let applied = client.apply(&resource, value.clone()).await;
        applied.map_err(|status| refused(&status))?;
        if let (true, Some(status)) = (has_status, status) {
            let patch = json!({"status": status});
            let part = resource.clone().sub("status");
            let patched = client
                .patch(&part, namespace, &name, PatchType::Merge, patch)
                .await;
            patched.map_err(|status| refused(&status))?;
        }
        record.fresh.insert(made.cluster.clone(), record.hash);
        let mut world = self.shared.world.write();
        let records = world.born.records.get_mut(&self.destination);
        if let Some(kept) = records.and_then(|r| r.get_mut(self.identity)) {
            kept.fresh.clone_from(&record.fresh);
        }
        Ok(made)
    }

    /// Removes a real object. False: it could not be done now.
    async fn unmake(&self, record: &mut Record, made: &MadeRow) -> bool {
        if !delete(self.shared, self.edge, &record.object, made).await {
            return false;
        }
        record.made.remove(made);
        record.fresh.remove(&made.cluster);
        self.keep(record).await.is_ok()
    }

    /// Writes the record's row.
    async fn keep(&self, record: &Record) -> Result<(), Trouble> {
        let _writing = self.shared.born_rows.lock().await;
        let found = self.row(record)?;
        let row = BornRow {
            made: record.made.iter().cloned().collect(),
            ..found
        };
        let put = Write::Put(record.key.clone(), row.encode_to_vec().into());
        let appended = self.shared.append(Vec::new(), vec![put]).await;
        appended.map_err(|_| Trouble::Later)?;
        let mut world = self.shared.world.write();
        let records = world.born.records.get_mut(&self.destination);
        if let Some(kept) = records.and_then(|r| r.get_mut(self.identity)) {
            kept.made.clone_from(&record.made);
        }
        Ok(())
    }

    fn row(&self, record: &Record) -> Result<BornRow, Trouble> {
        row(self.shared, &record.key).ok_or(Trouble::Later)
    }

    fn body(&self, record: &Record) -> Result<Value, Trouble> {
        let row = self.row(record)?;
        serde_json::from_slice(&row.body).map_err(|_| Trouble::Later)
    }

    /// Whether the policy's writer may do this.
    fn may(
        &self,
        of: &(Arc<str>, Arc<str>),
        cluster: &ClusterName,
        (verb, group, resource): (&str, &str, &str),
        namespace: Option<&str>,
        name: &str,
    ) -> bool {
        let Ok(snapshot) = self.shared.store.snapshot(At::Latest) else {
            return false;
        };
        let Some(user) = consent::writer(snapshot.as_ref(), &of.0, &of.1) else {
            // Written by the system.
            return true;
        };
        let attributes = Attributes {
            user,
            verb: verb.to_owned(),
            clusters: Clusters::One(cluster.clone()),
            group: group.to_owned(),
            version: String::new(),
            resource: resource.to_owned(),
            subresource: None,
            namespace: namespace.map(str::to_owned),
            name: Some(name.to_owned()),
            path: None,
        };
        matches!(
            self.shared.authorizer.authorize(&attributes),
            Decision::Allow
        )
    }
}

/// Why a real object is not as it should be.
enum Trouble {
    /// The policy's status says so.
    Said(String),
    /// It is tried again.
    Later,
}

fn refused(status: &Status) -> Trouble {
    match status.code {
        400..=499 if status.code != 409 => Trouble::Said(status.message.to_string()),
        _ => Trouble::Later,
    }
}

/// The stored row of a born object.
pub(super) fn row(shared: &Shared, key: &atoll_store::Key) -> Option<BornRow> {
    let snapshot = shared.store.snapshot(At::Latest).ok()?;
    let version = snapshot.get(key).ok()??;
    BornRow::decode(version.row).ok()
}

/// The body of a born object, as it was at its edge.
pub(crate) fn body(shared: &Shared, key: &atoll_store::Key) -> Option<Bytes> {
    row(shared, key).map(|row| row.body)
}

/// As a real object: called after its edge, which it names; its status apart.
fn dressed(
    mut body: Value,
    edge: &str,
    name: &str,
    api_version: &str,
    record: &Record,
) -> (Value, Option<Value>) {
    body["apiVersion"] = api_version.into();
    let status = body.as_object_mut().and_then(|o| o.remove("status"));
    for field in [
        "uid",
        "creationTimestamp",
        "generateName",
        "deletionTimestamp",
    ] {
        meta::remove(&mut body, field);
    }
    meta::set(&mut body, "name", name);
    let metadata = meta::metadata_mut(&mut body);
    for (map, key, value) in [
        ("labels", UPSYNCED_FROM, edge),
        (
            "annotations",
            "edge.atoll.dev/upsynced-name",
            record.object.name.as_str(),
        ),
        (
            "annotations",
            "edge.atoll.dev/upsynced-uid",
            record.uid.as_str(),
        ),
    ] {
        let map = metadata.entry(map).or_insert_with(|| json!({}));
        map[key] = value.into();
    }
    (body, status)
}

/// Deletes a real object if it is one. False: it could not be done now.
async fn delete(
    shared: &Shared,
    edge: &str,
    object: &atoll_wire::ObjectRef,
    made: &MadeRow,
) -> bool {
    let client = shared
        .registry
        .as_system(ClusterName::new(made.cluster.as_str()))
        .managed_by(MANAGER);
    let resource = ResourceRef::new(&object.group, &made.version, &object.resource);
    let namespace = Some(made.namespace.as_str()).filter(|n| !n.is_empty());
    match client.find(&resource, namespace, &made.name).await {
        Ok(Some(found)) if meta::label(&found, UPSYNCED_FROM) == Some(edge) => {
            let options = DeleteOptions {
                uid: Some(meta::uid(&found).to_owned()),
                ..DeleteOptions::default()
            };
            let deleted = client
                .delete(&resource, namespace, &made.name, &options)
                .await;
            deleted.is_ok()
        }
        // Gone, or somebody else's by now. A workspace or a kind that is gone has taken it along.
        Ok(_) => true,
        Err(status) => status.code == 404 || status.code == 403,
    }
}

/// Removes what was made of objects of edges that went while nobody looked.
async fn sweep(shared: &Shared) {
    let left = std::mem::take(&mut shared.world.write().born.left);
    for (key, row) in left {
        let Some(object) = &row.object else { continue };
        let mut all = true;
        for made in &row.made {
            // The edge's name is gone with it; it is in the object's own label.
            let client = shared
                .registry
                .as_system(ClusterName::new(made.cluster.as_str()));
            let resource = ResourceRef::new(&object.group, &made.version, &object.resource);
            let namespace = Some(made.namespace.as_str()).filter(|n| !n.is_empty());
            let found = client.find(&resource, namespace, &made.name).await;
            let edge = match found {
                Ok(Some(found)) => meta::label(&found, UPSYNCED_FROM).map(str::to_owned),
                _ => None,
            };
            if let Some(edge) = edge {
                all &= delete(shared, &edge, object, made).await;
            }
        }
        if all {
            let gone = vec![Write::Delete(key, None)];
            let _ = shared.append(Vec::new(), gone).await;
        }
    }
}
