//! Signals of an inventory: their admission, and how they enter the picture.
//!
//! What counts of a Signal is its status, which admission writes in the append that stores the spec: so whatever a choice reads is in the log. A change has only those policies decided
//! anew that read the signal; its expiry wakes the same ones, each by its own clock ([`PolicyState::wake`](crate::model::PolicyState)).

use async_trait::async_trait;
use atoll_kube::{GroupKind, GroupResource, Status, Timestamp, meta};
use atoll_placement::choose::Where;
use atoll_placement::choose::signal::{self, Signal};
use atoll_registry::{Hook, ObjectKey, Operation, Registry, ResourceId, Review};
use atoll_store::Snapshot;
use serde_json::{Map, Value};

use crate::absorb::Absorb;
use crate::model::{InventoryState, PolicyIndex};
use crate::source::{self, SourceError};

const GROUP: &str = "edge.atoll.dev";

/// Signals, in every inventory.
pub(crate) fn resource() -> ResourceId {
    ResourceId::builtin(GROUP, "signals")
}

/// Refuses Signals that cannot be understood, and writes what counts of the others.
pub(crate) struct SignalHook;

#[async_trait]
impl Hook for SignalHook {
    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new(GROUP, "signals")]
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        if !written {
            return Ok(());
        }
        let before = review.old.and_then(|old| old.get("status"));
        // Nobody but us says what counts.
        let status = match review.subresource {
            Some(_) => before.cloned(),
            None if only_labelled(review.old, review.object) => before.cloned(),
            None => {
                let spec = review.object.get("spec").unwrap_or(&Value::Null);
                let errors = signal::validate(spec);
                if !errors.is_empty() {
                    let kind = GroupKind::new(GROUP, "Signal");
                    return Err(Status::invalid(&kind, review.name(), &errors));
                }
                Some(signal::status(spec, before, review.call.now))
            }
        };
        match (status, review.object.as_object_mut()) {
            (Some(status), Some(object)) => drop(object.insert("status".to_owned(), status)),
            (None, Some(object)) => drop(object.remove("status")),
            (_, None) => {}
        }
        Ok(())
    }
}

/// Whether a write is about the object's metadata alone. One that says the same spec again says that it still holds.
fn only_labelled(old: Option<&Value>, new: &Value) -> bool {
    let said = |object: &Value| -> Map<String, Value> {
        let mut said = meta::metadata(object).clone();
        for ours in ["managedFields", "resourceVersion", "generation"] {
            said.remove(ours);
        }
        said
    };
    old.is_some_and(|old| old.get("spec") == new.get("spec") && said(old) != said(new))
}

impl Absorb<'_> {
    /// A Signal changed.
    pub(crate) fn signal(
        &mut self,
        parts: &ObjectKey<'_>,
        row: Option<&[u8]>,
    ) -> Result<(), SourceError> {
        let value = match row {
            Some(row) => Some(source::control_value(
                row,
                "edge.atoll.dev/v1alpha1",
                "Signal",
            )?),
            None => None,
        };
        let new = value
            .filter(|v| !meta::is_deleting(v))
            .and_then(|v| Signal::of(&v));
        let now = self.registry.now();
        let inventory = self.world.inventories.entry(parts.cluster.into());
        let inventory = inventory.or_default();
        let old = match new.clone() {
            Some(new) => inventory.signals.insert(parts.name.to_owned(), new),
            None => inventory.signals.remove(parts.name),
        };
        if !counts_otherwise(old.as_ref(), new.as_ref(), now) {
            return Ok(());
        }
        let policies: Vec<PolicyIndex> = inventory.policies.iter().copied().collect();
        for index in policies {
            let policy = self.world.policies.get(&index);
            if policy.is_some_and(|p| p.spec.asked.reads_signal(parts.name)) {
                self.pending.whole(index);
            }
        }
        Ok(())
    }
}

/// Whether anything that reads the signal may read something else now. One that is merely said again only lives longer: whoever reads it finds
/// that out when it would have ended.
fn counts_otherwise(old: Option<&Signal>, new: Option<&Signal>, now: Timestamp) -> bool {
    let (old, new) = match (old, new) {
        (None, None) => return false,
        (Some(old), Some(new)) => (old, new),
        _ => return true,
    };
    let ends = |signal: &Signal| signal.valid_until.map_or(i64::MAX, |end| end.0);
    (&old.label_key, &old.values) != (&new.label_key, &new.values)
        || ends(old) <= now.0
        || ends(new) < ends(old)
}

/// What a policy asks of signals and cannot have now, for its status.
pub(crate) fn missing(asked: &Where, inventory: &InventoryState, now: Timestamp) -> Vec<String> {
    let names = asked.signals().into_iter();
    let lacking = names.filter_map(|name| match inventory.signals.get(&name) {
        None => Some(format!(
            "signals: there is no Signal {name:?} in the inventory: its values are unknown"
        )),
        Some(signal) => signal.valid_until.filter(|end| *end <= now).map(|end| {
            format!(
                "signals: Signal {name:?} was good until {}: its values are unknown",
                end.rfc3339()
            )
        }),
    });
    lacking.collect()
}

/// Warnings for whoever writes a policy that names signals which are not there.
pub(crate) fn unknown(asked: &Where, snapshot: &dyn Snapshot, inventory: &str) -> Vec<String> {
    let names = asked.signals().into_iter();
    let lacking = names.filter(|name| {
        let found = snapshot.get(&resource().key(inventory, None, name));
        matches!(found, Ok(None))
    });
    let lacking = lacking.map(|name| {
        format!("there is no Signal {name:?} in the inventory: until there is one, its values are unknown")
    });
    lacking.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_signal_said_again_wakes_nobody() {
        let signal = |value: i64, until: i64| Signal {
            label_key: "region".into(),
            values: [("eu".to_owned(), json!(value))].into(),
            valid_until: Some(Timestamp(until)),
        };
        let now = Timestamp(50);
        let old = signal(1, 100);
        for (new, otherwise) in [
            (signal(1, 200), false),
            (signal(2, 200), true),
            (signal(1, 60), true),
        ] {
            assert_eq!(
                counts_otherwise(Some(&old), Some(&new), now),
                otherwise,
                "{new:?}"
            );
        }
        let expired = signal(1, 40);
        assert!(counts_otherwise(Some(&expired), Some(&old), now));
        assert!(counts_otherwise(None, Some(&old), now));
        assert!(counts_otherwise(Some(&old), None, now));
    }

    #[test]
    fn labels_do_not_renew_a_signal_and_the_same_spec_does() {
        let object = |label: &str, value: u64| json!({"metadata": {"name": "s", "labels": {"a": label}}, "spec": {"values": {"eu": value}}});
        let old = object("x", 1);
        assert!(only_labelled(Some(&old), &object("y", 1)));
        assert!(!only_labelled(Some(&old), &object("x", 1)));
        assert!(!only_labelled(Some(&old), &object("y", 2)));
        assert!(!only_labelled(None, &old));
    }
}
