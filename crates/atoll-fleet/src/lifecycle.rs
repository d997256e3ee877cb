//! A ManagedCluster's conditions: accepted, joined, available. Written at transitions only, after a grace; never a heartbeat.
//!
//! A destination that comes back within the grace, or after a restart of the center, causes no write at all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use atoll_kube::Timestamp;
use atoll_placement::Destination;
use atoll_registry::{ClusterName, PatchType, ResourceRef};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::model::{DestinationState, Foreign, World};
use crate::session::About;
use crate::shared::Shared;
use crate::source::OCM;

/// `hubAcceptsClient` is true.
pub(crate) const ACCEPTED: &str = "HubAcceptedManagedCluster";
/// An agent has connected at least once.
pub(crate) const JOINED: &str = "ManagedClusterJoined";
/// An agent is connected, or was within the grace.
pub(crate) const AVAILABLE: &str = "ManagedClusterConditionAvailable";
/// The agent holds what this center's log does not know; a person decides.
pub(crate) const HELD: &str = "edge.atoll.dev/Held";

/// Everything of ours was removed from the edge, as asked for.
pub(crate) const PURGED: &str = "edge.atoll.dev/Purged";

/// Something at the edge prevents removals.
pub(crate) const REMOVAL_BLOCKED: &str = "edge.atoll.dev/RemovalBlocked";
/// How many removals that are prevented are named.
const MOST_NAMED: usize = 3;

/// How long a destination may be away before that is written.
pub(crate) const GRACE: Duration = Duration::from_secs(120);
/// Changes are gathered for so long.
const SETTLE: Duration = Duration::from_millis(50);
/// So many are written at the same time.
const AT_ONCE: usize = 64;
/// A failed write is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// Runs until dropped.
pub(crate) async fn run(shared: Arc<Shared>, grace: Duration) {
    let mut leaving: VecDeque<(Instant, Destination)> = VecDeque::new();
    let mut retry: VecDeque<(Instant, Destination)> = VecDeque::new();
    let started = Instant::now();
    // Whoever was available before this start has the grace, counted from now, to come back.
    let before: Vec<Destination> = {
        let world = shared.world.read();
        world
            .destinations
            .iter()
            .filter(|(_, d)| d.available)
            .map(|(i, _)| i)
            .collect()
    };
    leaving.extend(before.into_iter().map(|d| (started + grace, d)));
    loop {
        let due = [&leaving, &retry]
            .into_iter()
            .filter_map(|q| q.front().map(|(at, _)| *at))
            .min();
        let changed = tokio::select! {
            keys = shared.lifecycle.take(SETTLE) => keys,
            () = sleep_until(due) => Vec::new(),
        };
        let now = Instant::now();
        let mut work: Vec<(Destination, bool)> = changed.into_iter().map(|d| (d, false)).collect();
        for (queue, over) in [(&mut leaving, true), (&mut retry, false)] {
            while queue.front().is_some_and(|(at, _)| *at <= now) {
                work.extend(queue.pop_front().map(|(_, d)| (d, over)));
            }
        }
        // Several at once, so that they share their fsyncs.
        let mut work = work.into_iter();
        let mut under_way = JoinSet::new();
        loop {
            while under_way.len() < AT_ONCE
                && let Some((destination, over)) = work.next()
            {
                let shared = shared.clone();
                under_way.spawn(async move {
                    let done = reconcile(&shared, destination, over, grace).await;
                    (destination, done)
                });
            }
            match under_way.join_next().await {
                Some(Ok((destination, Ok(true)))) => leaving.push_back((now + grace, destination)),
                Some(Ok((_, Ok(false)))) => {}
                Some(Ok((destination, Err(error)))) => {
                    tracing::warn!(%error, destination = %shared.world.read().name_of(destination), "conditions could not be written");
                    retry.push_back((now + RETRY, destination));
                }
                Some(Err(error)) => tracing::error!(%error, "conditions could not be written"),
                None => break,
            }
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Brings one ManagedCluster's status up to date. True: it is away and its grace has begun.
async fn reconcile(
    shared: &Shared,
    destination: Destination,
    grace_over: bool,
    grace: Duration,
) -> Result<bool, atoll_kube::Status> {
    let (mut state, connected, foreign, leaving) = {
        let world = shared.world.read();
        let Some(state) = world.destinations.get(&destination).cloned() else {
            return Ok(false);
        };
        (
            state,
            world.connected.contains(destination.0),
            world.foreign.get(&destination).cloned(),
            leaving(&world, destination),
        )
    };
    let leaves = !connected && state.available;
    let away_for = shared.registry.now().since(Timestamp(state.last_seen));
    // It may have come and gone since: then its own grace is running.
    let within = leaves && (!grace_over || (state.last_seen > 0 && away_for < grace));
    // Within the grace nothing is said about whether it is available; all else is.
    state.available &= !within;
    let again = within && !grace_over;
    let client = shared
        .registry
        .as_system(ClusterName::new(state.inventory.clone()))
        .managed_by("atoll-fleet");
    let resource = ResourceRef::new(OCM, "v1", "managedclusters");
    let about = shared.take_about(destination);
    let written = async {
        let Some(stored) = client.find(&resource, None, &state.name).await? else {
            return Ok(());
        };
        let old = stored.get("status").cloned().unwrap_or_else(|| json!({}));
        let new = status(
            &old,
            &state,
            connected,
            about.clone(),
            foreign,
            Leaving {
                blocked: leaving.blocked.filter(|_| connected),
                ..leaving
            },
            shared.registry.now(),
        );
        if new != old {
            client
                .patch(
                    &resource.sub("status"),
                    None,
                    &state.name,
                    PatchType::Merge,
                    json!({"status": new}),
                )
                .await?;
        }
        Ok(())
    };
    let written: Result<(), atoll_kube::Status> = written.await;
    if let Err(error) = written {
        shared.about_again(destination, about);
        return Err(error);
    }
    Ok(again)
}

/// What is known of removals at a destination.
#[derive(Debug, Default)]
struct Leaving {
    /// Whether an edge that is to be emptied is; `None` when nobody asked.
    emptied: Option<bool>,
    /// The removals that something there prevents, as people read them; `None` when that is not known.
    blocked: Option<Vec<String>>,
}

fn leaving(world: &World, destination: Destination) -> Leaving {
    let emptied = world
        .purging
        .contains(destination.0)
        .then(|| world.is_empty_at(destination));
    let objects = world.blocked.get(&destination).into_iter().flatten();
    let blocked = objects
        // One that is wanted again is removed no more.
        .filter(|(index, _)| {
            let tombstone = world.tombstones.get(index);
            tombstone.is_some_and(|t| t.remove.contains(destination.0))
        })
        .filter_map(|(index, why)| Some(format!("{}: {why}", world.objects.get(index)?.title())))
        .collect();
    Leaving {
        emptied,
        blocked: Some(blocked),
    }
}

/// The status that follows from what is. Pure.
fn status(
    old: &Value,
    state: &DestinationState,
    connected: bool,
    about: Option<About>,
    foreign: Option<Foreign>,
    leaving: Leaving,
    now: Timestamp,
) -> Value {
    let mut new = old.clone();
    let mut conditions: Vec<Value> = old
        .get("conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let list = &mut conditions;
    if state.accepted {
        set_condition(
            list,
            ACCEPTED,
            "True",
            "HubClusterAdminAccepted",
            "Accepted by hub cluster admin",
            now,
        );
    } else {
        set_condition(
            list,
            ACCEPTED,
            "False",
            "HubClusterAdminDenied",
            "hubAcceptsClient is not true",
            now,
        );
    }
    if connected {
        set_condition(
            list,
            JOINED,
            "True",
            "ManagedClusterJoined",
            "Managed cluster joined",
            now,
        );
        set_condition(
            list,
            AVAILABLE,
            "True",
            "ManagedClusterAvailable",
            "Managed cluster is available",
            now,
        );
        match foreign {
            Some(Foreign {
                token: Some(token),
                orphans,
            }) => set_condition(
                list,
                HELD,
                "True",
                "CursorUnknown",
                &format!(
                    "the agent knows a later state than this center, which was restored from a backup; {} copies are unknown here. Nothing is changed or removed until \
                     `atoll edges resume` (annotation {}={token})",
                    orphans.len(),
                    crate::source::RESUME
                ),
                now,
            ),
            Some(Foreign {
                token: None,
                orphans,
            }) if !orphans.is_empty() => {
                set_condition(
                    list,
                    HELD,
                    "False",
                    "Orphans",
                    &format!(
                        "{} copies at the edge are unknown here; they are left alone",
                        orphans.len()
                    ),
                    now,
                );
            }
            _ => conditions_without(list, HELD),
        }
    } else if state.available {
        set_condition(
            list,
            AVAILABLE,
            "Unknown",
            "ManagedClusterLeaseUpdateStopped",
            "The agent is not connected",
            now,
        );
    }
    match leaving.emptied {
        Some(true) => set_condition(
            list,
            PURGED,
            "True",
            "NothingLeft",
            "Everything that was placed here is removed",
            now,
        ),
        Some(false) => set_condition(
            list,
            PURGED,
            "False",
            "Removing",
            "Removals are not confirmed yet",
            now,
        ),
        None => conditions_without(list, PURGED),
    }
    match leaving.blocked {
        Some(blocked) if blocked.is_empty() => conditions_without(list, REMOVAL_BLOCKED),
        Some(blocked) => {
            let shown = blocked
                .iter()
                .take(MOST_NAMED)
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join("; ");
            let message = format!("{} removals wait: {shown}", blocked.len());
            set_condition(list, REMOVAL_BLOCKED, "True", "Blocked", &message, now);
        }
        None => {}
    }
    if let Some(about) = about {
        if !about.kubernetes_version.is_empty() {
            new["version"] = json!({"kubernetes": about.kubernetes_version});
        }
        new["agentVersion"] = json!(about.agent_version);
        let claims: Vec<Value> = about
            .claims
            .iter()
            .filter(|(_, v)| !v.is_empty())
            .map(|(k, v)| json!({"name": k, "value": v}))
            .collect();
        if !claims.is_empty() {
            new["clusterClaims"] = Value::Array(claims);
        }
    }
    new["conditions"] = Value::Array(conditions);
    new
}

fn conditions_without(conditions: &mut Vec<Value>, kind: &str) {
    conditions.retain(|c| c.get("type").and_then(Value::as_str) != Some(kind));
}

/// Sets a condition; its transition time changes only when its status does.
pub(crate) fn set_condition(
    conditions: &mut Vec<Value>,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let existing = conditions
        .iter_mut()
        .find(|c| c.get("type").and_then(Value::as_str) == Some(kind));
    let mut fresh = json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now.rfc3339()});
    match existing {
        Some(condition) => {
            if condition.get("status").and_then(Value::as_str) == Some(status)
                && let Some(since) = condition.get("lastTransitionTime")
            {
                fresh["lastTransitionTime"] = since.clone();
            }
            *condition = fresh;
        }
        None => conditions.push(fresh),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(available: bool) -> DestinationState {
        DestinationState {
            inventory: "i".into(),
            name: "n".into(),
            uid: "u".into(),
            accepted: true,
            available,
            purge: false,
            hub: None,
            last_seen: 0,
        }
    }

    fn of<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
        status["conditions"]
            .as_array()?
            .iter()
            .find(|c| c["type"] == kind)
    }

    #[test]
    fn transitions_keep_their_time_and_nothing_else_changes() {
        let first = status(
            &json!({}),
            &state(false),
            true,
            None,
            None,
            Leaving::default(),
            Timestamp(1_000_000),
        );
        assert_eq!(of(&first, AVAILABLE).unwrap()["status"], "True");
        let again = status(
            &first,
            &state(true),
            true,
            None,
            None,
            Leaving::default(),
            Timestamp(9_000_000),
        );
        assert_eq!(first, again, "nothing is written when nothing changed");
        let away = status(
            &first,
            &state(true),
            false,
            None,
            None,
            Leaving::default(),
            Timestamp(9_000_000),
        );
        assert_eq!(of(&away, AVAILABLE).unwrap()["status"], "Unknown");
        assert_eq!(of(&away, JOINED), of(&first, JOINED));
        assert_ne!(
            of(&away, AVAILABLE).unwrap()["lastTransitionTime"],
            of(&first, AVAILABLE).unwrap()["lastTransitionTime"]
        );
    }

    #[test]
    fn what_prevents_a_removal_is_named_until_it_is_over() {
        let of_blocked = |old: &Value, blocked: Option<Vec<String>>| {
            let leaving = Leaving {
                blocked,
                ..Leaving::default()
            };
            status(old, &state(true), true, None, None, leaving, Timestamp(0))
        };
        let shown = of_blocked(
            &json!({}),
            Some(vec!["Namespace shop: NotEmpty: still holds x".into()]),
        );
        let message = of(&shown, REMOVAL_BLOCKED).unwrap()["message"]
            .as_str()
            .unwrap();
        assert!(message.contains("1 removals wait: Namespace shop: NotEmpty"));
        assert_eq!(of_blocked(&shown, None), shown, "away: nothing is known");
        let after = of_blocked(&shown, Some(Vec::new()));
        assert_eq!(of(&after, REMOVAL_BLOCKED), None);
    }

    #[test]
    fn a_held_edge_says_how_to_go_on() {
        let foreign = Foreign {
            token: Some("abc".into()),
            orphans: Vec::new(),
        };
        let held = status(
            &json!({}),
            &state(false),
            true,
            None,
            Some(foreign),
            Leaving::default(),
            Timestamp(0),
        );
        assert!(
            of(&held, HELD).unwrap()["message"]
                .as_str()
                .unwrap()
                .contains("=abc")
        );
        let after = status(
            &held,
            &state(true),
            true,
            None,
            None,
            Leaving::default(),
            Timestamp(0),
        );
        assert_eq!(of(&after, HELD), None);
    }
}
