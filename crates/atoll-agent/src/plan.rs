//! What to do next at the edge. Pure: copies and the time in, work out.
//!
//! Copies are applied class by class (CRDs, Namespaces, RBAC, … as the center numbered them) and removed in reverse. A copy that failed holds back
//! only what depends on it: the objects in its Namespace, the objects of its CRD. Nothing else waits for it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use atoll_wire::{CopyId, ErrorKind, ObjectRef, RemovalMode};

use crate::state::{Copy, State};

/// Milliseconds of a steady clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Millis(pub u64);

impl Millis {
    /// This much later.
    pub fn after(self, delay: Duration) -> Self {
        Millis(
            self.0
                .saturating_add(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

/// Where a copy's work stands. Lost at a restart: then everything is due once.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Phase {
    /// To be looked at.
    #[default]
    Due,
    /// Being worked on; `again` when it became due meanwhile.
    Working {
        /// Look at it once more when the work ends.
        again: bool,
    },
    /// As it should be.
    Settled,
    /// Failed; to be tried again.
    Failed {
        /// Why.
        error: ErrorKind,
        /// In the edge's words.
        message: String,
        /// When to try again.
        retry: Millis,
        /// How often it failed in a row.
        times: u32,
    },
}

/// How long to wait before trying again after the `times`-th failure in a row.
pub fn backoff(error: ErrorKind, times: u32) -> Duration {
    let (first, most) = match error {
        ErrorKind::Waiting | ErrorKind::Terminating => (200, 2_000),
        ErrorKind::Unreachable => (500, 5_000),
        ErrorKind::NotEmpty | ErrorKind::Conflict | ErrorKind::AlreadyExists => (1_000, 15_000),
        _ => (500, 60_000),
    };
    Duration::from_millis((first << times.saturating_sub(1).min(16)).min(most))
}

/// What makes two copies the same object at the edge.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    group: String,
    resource: String,
    namespace: String,
    name: String,
}

impl Identity {
    /// From its parts.
    pub fn new(group: &str, resource: &str, namespace: &str, name: &str) -> Self {
        Identity {
            group: group.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl From<&ObjectRef> for Identity {
    fn from(object: &ObjectRef) -> Self {
        Identity {
            group: object.group.clone(),
            resource: object.resource.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
        }
    }
}

/// The work that may begin now.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// To be applied.
    pub apply: Vec<CopyId>,
    /// To be removed or released.
    pub remove: Vec<CopyId>,
    /// Refused without asking the edge.
    pub refused: Vec<(CopyId, ErrorKind, String)>,
    /// When to plan again at the latest.
    pub next: Option<Millis>,
}

/// The namespace that the agent keeps for itself.
pub const OWN_NAMESPACE: &str = "atoll-agent";

/// Plans the work. At most `room` copies are begun.
pub fn plan(state: &State, phases: &BTreeMap<CopyId, Phase>, now: Millis, room: usize) -> Plan {
    let mut plan = Plan::default();
    let is_due = |id: &CopyId| match phases.get(id) {
        None | Some(Phase::Due) => true,
        Some(Phase::Failed { retry, .. }) => *retry <= now,
        Some(Phase::Working { .. } | Phase::Settled) => false,
    };
    let busy = |id: &CopyId| matches!(phases.get(id), Some(Phase::Working { .. }));
    plan.next = phases
        .values()
        .filter_map(|phase| match phase {
            Phase::Failed { retry, .. } if *retry > now => Some(*retry),
            _ => None,
        })
        .min();

    let holders = holders(state);
    let supports = Supports::of(state);
    // The lowest class that still has a copy that was never tried; classes above it wait.
    let untried = |id: &CopyId| {
        matches!(
            phases.get(id),
            None | Some(Phase::Due | Phase::Working { .. })
        )
    };
    let first_class = |doomed: bool| {
        let classes = state
            .copies
            .iter()
            .filter(|(id, c)| c.removal.is_some() == doomed && untried(id))
            .map(|(_, c)| c.item.order);
        if doomed { classes.max() } else { classes.min() }
    };
    let (applying, removing) = (first_class(false), first_class(true));

    for (id, copy) in &state.copies {
        if plan.apply.len() + plan.remove.len() >= room {
            break;
        }
        let Some(object) = &copy.item.object else {
            continue;
        };
        if !is_due(id) {
            continue;
        }
        match copy.removal {
            Some(mode) => {
                // Never tried: in reverse order of classes. Tried before: whenever it is due.
                let in_turn = !untried(id) || removing.is_none_or(|class| copy.item.order >= class);
                let inside = mode == RemovalMode::Remove
                    && supports.has_doomed_dependents(state, object, id);
                if in_turn && !inside {
                    plan.remove.push(id.clone());
                }
            }
            None => {
                if let Some(reason) = touches_ours(object) {
                    plan.refused.push((id.clone(), ErrorKind::Refused, reason));
                    continue;
                }
                if let Some(holder) = holders
                    .get(&Identity::from(object))
                    .filter(|&&h| h != id && !copy.item.implicit)
                {
                    let message = format!(
                        "{} {} is placed here from logical cluster {} too, which came first",
                        object.kind, object.name, holder.cluster
                    );
                    plan.refused
                        .push((id.clone(), ErrorKind::Conflict, message));
                    continue;
                }
                let in_turn = !untried(id) || applying.is_none_or(|class| copy.item.order <= class);
                if !in_turn {
                    continue;
                }
                match supports.missing(object, phases) {
                    None => plan.apply.push(id.clone()),
                    Some(support) if busy(support) => {}
                    Some(support) => {
                        let what = state
                            .copies
                            .get(support)
                            .and_then(|c| c.item.object.as_ref());
                        let what =
                            what.map_or_else(String::new, |o| format!("{} {}", o.kind, o.name));
                        plan.refused.push((
                            id.clone(),
                            ErrorKind::Waiting,
                            format!("waits for {what}"),
                        ));
                    }
                }
            }
        }
    }
    plan
}

/// Which copy has each identity: the one that owns the object, else the one recorded as wanted that sorts first. Implicit copies hold nothing.
fn holders(state: &State) -> HashMap<Identity, &CopyId> {
    let mut holders: HashMap<Identity, (&CopyId, bool)> = HashMap::new();
    for (id, copy) in state.copies.iter().filter(|(_, c)| !c.item.implicit) {
        let Some(object) = &copy.item.object else {
            continue;
        };
        let owns = copy.owned.is_some();
        if copy.removal.is_some() && !owns {
            continue;
        }
        let holder = holders.entry(Identity::from(object)).or_insert((id, owns));
        if owns && !holder.1 {
            *holder = (id, true);
        }
    }
    holders
        .into_iter()
        .map(|(identity, (id, _))| (identity, id))
        .collect()
}

/// What others stand on: Namespaces and CRDs among the copies.
struct Supports<'a> {
    namespaces: HashMap<&'a str, BTreeSet<&'a CopyId>>,
    definitions: HashMap<(&'a str, &'a str), BTreeSet<&'a CopyId>>,
}

impl<'a> Supports<'a> {
    fn of(state: &'a State) -> Self {
        let mut supports = Supports {
            namespaces: HashMap::new(),
            definitions: HashMap::new(),
        };
        for (id, copy) in state.copies.iter().filter(|(_, c)| c.removal.is_none()) {
            let Some(object) = &copy.item.object else {
                continue;
            };
            if is_namespace(object) {
                supports
                    .namespaces
                    .entry(&object.name)
                    .or_default()
                    .insert(id);
            } else if is_definition(object)
                && let Some((resource, group)) = object.name.split_once('.')
            {
                supports
                    .definitions
                    .entry((group, resource))
                    .or_default()
                    .insert(id);
            }
        }
        supports
    }

    /// A copy that `object` depends on and that is not settled; `None` when it may go ahead.
    fn missing(&self, object: &ObjectRef, phases: &BTreeMap<CopyId, Phase>) -> Option<&'a CopyId> {
        let namespace = object
            .namespaced
            .then(|| self.namespaces.get(object.namespace.as_str()))
            .flatten();
        let definition = self
            .definitions
            .get(&(object.group.as_str(), object.resource.as_str()));
        // One settled copy of several is enough: two workspaces may each carry the same Namespace.
        let unsettled = |copies: &BTreeSet<&'a CopyId>| {
            let settled = copies
                .iter()
                .any(|id| matches!(phases.get(*id), Some(Phase::Settled)));
            (!settled).then(|| copies.first().copied()).flatten()
        };
        namespace
            .and_then(unsettled)
            .or_else(|| definition.and_then(unsettled))
    }

    /// Whether a doomed Namespace or CRD still has doomed copies inside, which go first.
    fn has_doomed_dependents(&self, state: &State, object: &ObjectRef, own: &CopyId) -> bool {
        let inside = |other: &ObjectRef| {
            (is_namespace(object) && other.namespaced && other.namespace == object.name)
                || (is_definition(object)
                    && object.name.split_once('.')
                        == Some((other.resource.as_str(), other.group.as_str())))
        };
        state.copies.iter().any(|(id, copy)| {
            id != own
                && copy.removal == Some(RemovalMode::Remove)
                && copy.item.object.as_ref().is_some_and(inside)
        })
    }
}

/// Whether the object is a Namespace.
pub fn is_namespace(object: &ObjectRef) -> bool {
    object.group.is_empty() && object.kind == "Namespace"
}

/// Whether the object is a CustomResourceDefinition.
pub fn is_definition(object: &ObjectRef) -> bool {
    object.group == "apiextensions.k8s.io" && object.kind == "CustomResourceDefinition"
}

/// Why the agent keeps its hands off: its own namespace, RBAC and records are nobody's payload.
fn touches_ours(object: &ObjectRef) -> Option<String> {
    let inside =
        object.namespace == OWN_NAMESPACE || (is_namespace(object) && object.name == OWN_NAMESPACE);
    let rbac =
        object.group == "rbac.authorization.k8s.io" && object.name.starts_with(OWN_NAMESPACE);
    (inside || rbac).then(|| {
        format!(
            "{} {} belongs to the agent itself",
            object.kind, object.name
        )
    })
}

/// For the state machine in the shell: the phase after a failure.
pub fn failed(before: Option<&Phase>, error: ErrorKind, message: String, now: Millis) -> Phase {
    let times = match before {
        Some(Phase::Failed {
            times, error: same, ..
        }) if *same == error => times + 1,
        _ => 1,
    };
    Phase::Failed {
        error,
        message,
        retry: now.after(backoff(error, times)),
        times,
    }
}

/// Whether a copy wants no more work: applied, and no removal pending.
pub fn rests(copy: &Copy, phase: Option<&Phase>) -> bool {
    copy.removal.is_none() && matches!(phase, Some(Phase::Settled))
}

#[cfg(test)]
mod tests {
    use atoll_wire::Item;

    use super::*;
    use crate::state::{Doomed, Fact, Owned, fact};

    fn id(uid: &str) -> CopyId {
        CopyId {
            cluster: "c".into(),
            uid: uid.into(),
        }
    }

    fn item(uid: &str, kind: &str, namespace: &str, name: &str, order: u32) -> Item {
        let (group, resource) = match kind {
            "Namespace" => ("", "namespaces"),
            "CustomResourceDefinition" => ("apiextensions.k8s.io", "customresourcedefinitions"),
            "Widget" => ("example.com", "widgets"),
            _ => ("", "configmaps"),
        };
        let object = ObjectRef {
            group: group.into(),
            version: "v1".into(),
            kind: kind.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
            namespaced: !namespace.is_empty(),
        };
        Item {
            copy: Some(id(uid)),
            object: Some(object),
            order,
            ..Item::default()
        }
    }

    fn state(items: Vec<Item>) -> State {
        let mut state = State::default();
        items
            .into_iter()
            .for_each(|i| state.apply(&fact::Kind::Desired(i).into()));
        state
    }

    fn doom(state: &mut State, uid: &str) {
        let doomed = Doomed {
            copy: Some(id(uid)),
            mode: RemovalMode::Remove.into(),
            ..Doomed::default()
        };
        state.apply(&fact::Kind::Doomed(doomed).into());
    }

    fn app() -> State {
        state(vec![
            item(
                "1",
                "CustomResourceDefinition",
                "",
                "widgets.example.com",
                0,
            ),
            item("2", "Namespace", "", "shop", 1),
            item("3", "ConfigMap", "shop", "c", 4),
            item("4", "Widget", "shop", "w", 6),
            item("5", "ConfigMap", "other", "c", 4),
        ])
    }

    fn names(ids: &[CopyId]) -> Vec<&str> {
        ids.iter().map(|i| i.uid.as_str()).collect()
    }

    fn failure() -> Phase {
        failed(None, ErrorKind::Invalid, "no".into(), Millis(0))
    }

    #[test]
    fn classes_go_one_after_another() {
        let state = app();
        let mut phases = BTreeMap::new();
        for expected in [vec!["1"], vec!["2"], vec!["3", "5"], vec!["4"], vec![]] {
            let plan = plan(&state, &phases, Millis(0), 10);
            assert_eq!(names(&plan.apply), expected);
            assert_eq!(plan.refused, []);
            phases.extend(plan.apply.into_iter().map(|i| (i, Phase::Settled)));
        }
    }

    #[test]
    fn a_failed_copy_holds_back_only_what_depends_on_it() {
        let state = app();
        let mut phases = BTreeMap::from([(id("1"), Phase::Settled), (id("2"), failure())]);
        let plan1 = plan(&state, &phases, Millis(0), 10);
        assert_eq!(names(&plan1.apply), ["5"]);
        assert_eq!(
            plan1.refused,
            [(
                id("3"),
                ErrorKind::Waiting,
                "waits for Namespace shop".to_owned()
            )]
        );
        assert!(plan1.next.is_some());
        phases.insert(id("2"), Phase::Settled);
        phases.insert(id("1"), failure());
        phases.insert(id("3"), Phase::Settled);
        phases.insert(id("5"), Phase::Settled);
        let plan2 = plan(&state, &phases, Millis(0), 10);
        assert_eq!(
            plan2.refused,
            [(
                id("4"),
                ErrorKind::Waiting,
                "waits for CustomResourceDefinition widgets.example.com".to_owned()
            )]
        );
    }

    #[test]
    fn removal_goes_in_reverse_and_a_namespace_waits_for_what_is_inside() {
        let mut state = app();
        ["1", "2", "3", "4"]
            .iter()
            .for_each(|uid| doom(&mut state, uid));
        let mut phases = BTreeMap::from([(id("5"), Phase::Settled)]);
        for expected in ["4", "3", "2", "1"] {
            let plan = plan(&state, &phases, Millis(0), 10);
            assert_eq!(names(&plan.remove), [expected]);
            state.apply(&Fact::from(fact::Kind::Forgotten(id(expected))));
            phases.remove(&id(expected));
        }
    }

    #[test]
    fn the_first_owner_of_an_identity_keeps_it() {
        let mut two = state(vec![
            item("a", "ConfigMap", "shop", "c", 4),
            item("b", "ConfigMap", "shop", "c", 4),
        ]);
        let owned = Owned {
            copy: Some(id("b")),
            edge_uid: "u".into(),
            ..Owned::default()
        };
        two.apply(&fact::Kind::Owned(owned).into());
        let plan1 = plan(&two, &BTreeMap::new(), Millis(0), 10);
        assert_eq!(names(&plan1.apply), ["b"]);
        assert_eq!(plan1.refused[0].1, ErrorKind::Conflict);
        two.apply(&fact::Kind::Forgotten(id("b")).into());
        assert_eq!(
            names(&plan(&two, &BTreeMap::new(), Millis(0), 10).apply),
            ["a"]
        );
    }

    #[test]
    fn the_agents_own_things_are_refused() {
        let state = state(vec![
            item("a", "ConfigMap", OWN_NAMESPACE, "c", 4),
            item("b", "Namespace", "", OWN_NAMESPACE, 1),
        ]);
        let plan = plan(&state, &BTreeMap::new(), Millis(0), 10);
        assert_eq!(plan.apply, []);
        assert!(plan.refused.iter().all(|r| r.1 == ErrorKind::Refused) && plan.refused.len() == 2);
    }

    #[test]
    fn failures_are_tried_again_later_and_later() {
        let mut phase = None;
        let mut waits = Vec::new();
        for _ in 0..20 {
            let next = failed(phase.as_ref(), ErrorKind::Invalid, String::new(), Millis(0));
            let Phase::Failed { retry, .. } = &next else {
                panic!("failed")
            };
            waits.push(retry.0);
            phase = Some(next);
        }
        assert!(waits.is_sorted() && waits[0] == 500 && waits[19] == 60_000);
    }
}
