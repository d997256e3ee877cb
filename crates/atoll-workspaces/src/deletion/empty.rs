//! One pass over the content of a logical cluster: what can go now goes, what cannot is named.

use std::sync::Arc;

use atoll_kube::{RowRef, Status};
use atoll_registry::{
    ClusterName, Clusters, DeleteOptions, INTERNAL_GROUP, ObjectKey, Registry, ResourceId,
};
use atoll_store::{
    Append, Check, FAMILIES, Key, MAX_WRITES, Snapshot, Version, Write, families_of,
};
use futures::stream::{self, TryStreamExt as _};

use super::Deletion;
use super::report::Remaining;
use crate::kinds::{CORE, RBAC, TENANCY, at_storage_version};
use crate::rows;

/// Appends of one logical cluster at once; less than all may have, so that none starves the others.
const AT_ONCE: usize = 16;
/// Objects looked at in one pass over a resource. The next pass takes the next ones.
const PAGE: usize = 2_000;
/// Finalizers are named for at most this many objects of a resource.
const NAMED: usize = 1_000;
/// The last append also removes the LogicalCluster, its Workspace, its surface and what it configured.
const ROOM: usize = MAX_WRITES - 5;

/// What a pass found.
pub(super) enum Outcome {
    /// Something went; look again.
    Again,
    /// Nothing can go until something else happens.
    Waits(Remaining),
    /// What is left, at most one object of each resource, goes together with the logical cluster itself.
    Last(Sweep),
}

/// Rows to delete, with the checks that they are as they were seen.
#[derive(Default)]
pub(super) struct Sweep {
    pub(super) checks: Vec<Check>,
    pub(super) writes: Vec<Write>,
}

impl Sweep {
    fn push(&mut self, key: Key, version: &Version) {
        self.checks.push(Check::At(key.clone(), version.modified));
        self.writes.push(Write::Delete(key, None));
    }
}

/// The order of departure. Smaller goes first; a stage begins when the one before has nothing left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Children,
    Content,
    Namespaces,
    Definitions,
    Rights,
}

fn stage(id: &ResourceId) -> Stage {
    match (id.group.as_str(), id.resource.as_str()) {
        (TENANCY, "workspaces") => Stage::Children,
        ("", "namespaces") => Stage::Namespaces,
        ("apiextensions.k8s.io", "customresourcedefinitions") => Stage::Definitions,
        (RBAC, _) => Stage::Rights,
        _ => Stage::Content,
    }
}

/// One object that is in the way.
enum Step {
    /// It can go as it is.
    Remove(Key, Version),
    /// It has to be asked, through its hooks and finalizers.
    Ask(Key),
}

pub(super) async fn pass(
    deletion: &Deletion,
    registry: &Registry,
    snapshot: &Arc<dyn Snapshot>,
    cluster: &str,
) -> Result<Outcome, Status> {
    let content = content(&**snapshot, cluster)?;
    let simple = |(id, count): &(ResourceId, u64)| *count == 1 && stage(id) >= Stage::Content;
    if content.len() <= ROOM
        && content.iter().all(simple)
        && let Some(sweep) = last(&**snapshot, cluster, &content)?
    {
        return Ok(Outcome::Last(sweep));
    }
    let Some(now) = content.iter().map(|(id, _)| stage(id)).min() else {
        return Ok(Outcome::Last(Sweep::default()));
    };
    let mut remaining = Remaining::default();
    content
        .iter()
        .for_each(|(id, count)| remaining.add(&id.resource, &id.group, *count));
    let mut steps = Vec::new();
    for (id, _) in content.iter().filter(|(id, _)| stage(id) == now) {
        look(&**snapshot, cluster, id, &mut steps, &mut remaining)?;
    }
    if steps.is_empty() {
        return Ok(Outcome::Waits(remaining));
    }
    let ends: Vec<End> = stream::iter(batches(steps).into_iter().map(Ok::<_, Status>))
        .map_ok(|batch| carry_out(deletion, registry, cluster, batch))
        .try_buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let mut progress = false;
    for end in ends {
        match end {
            End::Changed => progress = true,
            End::Lost => {}
            End::Refused(why) => drop(remaining.refusals.insert(why)),
        }
    }
    // Only lost races: what won them makes events, and the fallback looks again.
    Ok(if progress {
        Outcome::Again
    } else {
        Outcome::Waits(remaining)
    })
}

/// The resources that a logical cluster holds, with counts, without its own LogicalCluster and what nobody sees.
fn content(snapshot: &dyn Snapshot, cluster: &str) -> Result<Vec<(ResourceId, u64)>, Status> {
    let from = families_of(cluster.as_bytes());
    let mut content = Vec::new();
    for item in snapshot.index_values(FAMILIES, &from) {
        let (value, count) = item.map_err(rows::unreadable)?;
        let Some(rest) = value.strip_prefix(from.as_slice()) else {
            break;
        };
        let mut parts = rest
            .split(|&byte| byte == 0)
            .map(|part| String::from_utf8_lossy(part).into_owned());
        let mut next = || parts.next().unwrap_or_default();
        let id = ResourceId {
            group: next(),
            resource: next(),
            identity: next(),
        };
        let ours =
            id.group == INTERNAL_GROUP || id.group == CORE && id.resource == "logicalclusters";
        if count > 0 && !ours {
            content.push((id, count));
        }
    }
    Ok(content)
}

/// How many objects of a resource a logical cluster holds.
pub(super) fn count_of(
    snapshot: &dyn Snapshot,
    id: &ResourceId,
    cluster: &str,
) -> Result<u64, Status> {
    let wanted = index_value(&[cluster, &id.group, &id.resource, &id.identity]);
    match snapshot.index_values(FAMILIES, &wanted).next() {
        Some(item) => {
            let (value, count) = item.map_err(rows::unreadable)?;
            Ok(if value == wanted { count } else { 0 })
        }
        None => Ok(0),
    }
}

/// The parts of an index value, each ended by a zero byte.
pub(super) fn index_value(parts: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        out.extend_from_slice(part.as_bytes());
        out.push(0);
    }
    out
}

fn prefix(id: &ResourceId, cluster: &str) -> atoll_store::Prefix {
    id.prefix(&Clusters::One(ClusterName::new(cluster)), None, None)
}

/// Everything that is left, when all of it may simply go.
fn last(
    snapshot: &dyn Snapshot,
    cluster: &str,
    content: &[(ResourceId, u64)],
) -> Result<Option<Sweep>, Status> {
    let mut sweep = Sweep::default();
    for (id, _) in content {
        for item in snapshot.range(&prefix(id, cluster), None) {
            let (key, version) = item.map_err(rows::unreadable)?;
            if !is_free(id, &version)? {
                return Ok(None);
            }
            sweep.push(key, &version);
        }
    }
    Ok(Some(sweep))
}

/// Whether an object may be removed as it is: nothing holds it, and no hook has a say in its going.
fn is_free(id: &ResourceId, version: &Version) -> Result<bool, Status> {
    let row = RowRef::parse(&version.row).map_err(Status::internal)?;
    Ok(!row.has_finalizers() && stage(id) != Stage::Definitions)
}

/// Sorts the objects of one resource into what can go, what has to be asked, and what is waited for.
fn look(
    snapshot: &dyn Snapshot,
    cluster: &str,
    id: &ResourceId,
    steps: &mut Vec<Step>,
    remaining: &mut Remaining,
) -> Result<(), Status> {
    let (mut taken, mut named) = (0, 0);
    for item in snapshot.range(&prefix(id, cluster), None) {
        let (key, version) = item.map_err(rows::unreadable)?;
        let deleting = RowRef::parse(&version.row)
            .map_err(Status::internal)?
            .is_deleting();
        if is_free(id, &version)? {
            steps.push(Step::Remove(key, version));
        } else if !deleting {
            steps.push(Step::Ask(key));
        } else {
            if named < NAMED {
                named += 1;
                let object = rows::parse(&key, &version)?;
                atoll_kube::meta::finalizers(&object)
                    .for_each(|finalizer| remaining.hold(finalizer));
            }
            continue;
        }
        taken += 1;
        if taken == PAGE {
            break;
        }
    }
    Ok(())
}

/// What is carried out at once: removals of distinct resources together, requests alone.
enum Batch {
    Remove(Sweep),
    Ask(Key),
}

fn batches(steps: Vec<Step>) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut sweeps: Vec<Sweep> = Vec::new();
    // Steps come resource by resource; the n-th of each goes into the n-th sweep.
    let mut family = None;
    let mut at = 0;
    for step in steps {
        match step {
            Step::Ask(key) => batches.push(Batch::Ask(key)),
            Step::Remove(key, version) => {
                let own = key.family();
                if family.as_ref() != Some(&own) {
                    at = 0;
                    family = Some(own);
                }
                while sweeps
                    .get(at)
                    .is_some_and(|sweep| sweep.writes.len() >= ROOM)
                {
                    at += 1;
                }
                if at == sweeps.len() {
                    sweeps.push(Sweep::default());
                }
                sweeps[at].push(key, &version);
                at += 1;
            }
        }
    }
    batches.extend(sweeps.into_iter().map(Batch::Remove));
    batches
}

/// How a batch ended.
enum End {
    /// Something went or was asked to go.
    Changed,
    /// Something else was quicker.
    Lost,
    /// A hook said no: why. A person may do something about it.
    Refused(String),
}

async fn carry_out(
    deletion: &Deletion,
    registry: &Registry,
    cluster: &str,
    batch: Batch,
) -> Result<End, Status> {
    let end = |changed: bool| if changed { End::Changed } else { End::Lost };
    match batch {
        Batch::Remove(sweep) => deletion
            .append(
                registry,
                Append {
                    checks: sweep.checks,
                    writes: sweep.writes,
                },
            )
            .await
            .map(end),
        Batch::Ask(key) => {
            let Some(parts) = ObjectKey::parse(&key) else {
                return Ok(End::Lost);
            };
            let _permit = deletion.permits.acquire().await.map_err(Status::internal)?;
            let id = ResourceId::builtin(parts.group, parts.resource);
            let client = registry.as_system(ClusterName::new(cluster));
            let options = DeleteOptions::default();
            match client
                .delete(
                    &at_storage_version(&id),
                    parts.namespace(),
                    parts.name,
                    &options,
                )
                .await
            {
                Ok(_) => Ok(End::Changed),
                Err(status) if status.is_conflict() => Ok(End::Lost),
                Err(status) if status.code == 403 => Ok(End::Refused(status.message.to_string())),
                Err(status) => Err(status),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use atoll_store::Revision;

    #[test]
    fn departures_are_ordered() {
        let rows = [
            ("tenancy.kcp.io", "workspaces", Stage::Children),
            ("tenancy.kcp.io", "workspacetypes", Stage::Content),
            ("", "configmaps", Stage::Content),
            ("", "namespaces", Stage::Namespaces),
            (
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                Stage::Definitions,
            ),
            ("rbac.authorization.k8s.io", "rolebindings", Stage::Rights),
        ];
        for (group, resource, expected) in rows {
            assert_eq!(
                stage(&ResourceId::builtin(group, resource)),
                expected,
                "{resource}.{group}"
            );
        }
        assert!(
            Stage::Children < Stage::Content
                && Stage::Namespaces < Stage::Definitions
                && Stage::Definitions < Stage::Rights
        );
    }

    #[test]
    fn no_append_removes_two_objects_of_one_resource() {
        let version = || Version {
            created: Revision(1),
            modified: Revision(1),
            row: Default::default(),
        };
        let mut steps = Vec::new();
        for resource in ["a", "b", "c"] {
            for n in 0..5 {
                steps.push(Step::Remove(
                    Key::new(["g", resource, "", "cluster", "", &n.to_string()]),
                    version(),
                ));
            }
        }
        steps.push(Step::Ask(Key::new(["g", "d", "", "cluster", "", "x"])));
        let batches = batches(steps);
        let mut removed = 0;
        for batch in &batches {
            if let Batch::Remove(sweep) = batch {
                removed += sweep.writes.len();
                assert!(
                    Append {
                        checks: sweep.checks.clone(),
                        writes: sweep.writes.clone()
                    }
                    .validate()
                    .is_ok()
                );
            }
        }
        assert_eq!((removed, batches.len()), (15, 6));
    }
}
