//! One policy's next placement: what is added, what must be removed, and what is held back as a probable accident.
//!
//! Always true: an addition goes only to an accepted destination, and only with the inventory's consent; a removal happens only because an object or
//! the policy was deleted, or a change that the guard let through. Nothing here ever removes because of an error: the caller does not call it for a
//! policy it could not parse.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::policy::RemovalLimit;
use crate::{Destination, Destinations};

/// A payload object's dense index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectIndex(pub u32);

/// Removals of fewer destinations than this are never held by the default limit.
pub const DEFAULT_FREE_DESTINATIONS: u64 = 10;
/// The default limit's share of a policy's copies.
pub const DEFAULT_PERCENT: u8 = 50;

/// What a policy has placed: every object at every destination.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Placed {
    /// The bundle.
    pub objects: BTreeSet<ObjectIndex>,
    /// Who has it, or may have been sent it.
    pub assigned: Destinations,
}

/// What a policy says now.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The objects that it selects.
    pub objects: BTreeSet<ObjectIndex>,
    /// Objects that no longer exist (so that losing them is no accident of a selector).
    pub deleted: BTreeSet<ObjectIndex>,
    /// Objects whose copies are let go, never removed (they came along implicitly): no guard counts them.
    pub let_go: BTreeSet<ObjectIndex>,
    /// The destinations that it selects, accepted or not.
    pub selected: Destinations,
    /// The destinations that may be given something new.
    pub accepted: &'a Destinations,
    /// The destinations that exist.
    pub existing: &'a Destinations,
    /// Destinations that a person wants emptied before they are taken out.
    pub purging: &'a Destinations,
    /// The inventory's owner consents to new placements.
    pub consent: bool,
    /// The policy was deleted: all its removals are explicit.
    pub policy_deleted: bool,
}

/// How much may be removed by a change that is no explicit deletion.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// `spec.maxRemovals`.
    pub limit: Option<RemovalLimit>,
    /// The token of a held removal that a person confirmed.
    pub confirmed: Option<String>,
    /// Copies that such changes removed a short time ago: many small steps are one big one.
    pub recent_copies: u64,
    /// Destinations that such changes emptied a short time ago.
    pub recent_destinations: u64,
    /// Copies of the policy that are not looked at, because nothing about them changes.
    pub elsewhere: u64,
}

/// Copies of one object that must go.
#[derive(Debug, Clone, PartialEq)]
pub struct Removal {
    /// The object.
    pub object: ObjectIndex,
    /// Where.
    pub destinations: Destinations,
    /// Because something was deleted, not because something changed.
    pub explicit: bool,
}

/// A removal that waits for a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// How many copies.
    pub copies: u64,
    /// How many destinations lose at least one.
    pub destinations: u64,
    /// Some of those destinations.
    pub examples: Vec<Destination>,
    /// Names exactly this removal; confirming it lets it through.
    pub token: String,
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is placed when it is done.
    pub next: Placed,
    /// Destinations that are new.
    pub added: Destinations,
    /// Objects that are new.
    pub added_objects: BTreeSet<ObjectIndex>,
    /// What goes. Copies that another policy still selects are not in it (invariant 10).
    pub removals: Vec<Removal>,
    /// What waits.
    pub held: Option<Held>,
    /// Copies and destinations removed by change, to be counted as recent.
    pub removed_by_change: (u64, u64),
}

/// Plans the step from `now` to `wanted`.
///
/// `covered` gives those of some destinations where other policies still want an object; `identity` names an object the same way in every run.
///
/// It may be asked about some of a policy's destinations only (`now` and `wanted` cut down to them, the rest told as [`Guard::elsewhere`]); a removal that it then holds has to be
/// planned again as a whole, so that its token names everything.
pub fn plan(
    now: &Placed,
    wanted: &Wanted<'_>,
    guard: &Guard,
    covered: &dyn Fn(ObjectIndex, &Destinations) -> Destinations,
    identity: &dyn Fn(ObjectIndex) -> String,
) -> Plan {
    let assigned = &now.assigned & wanted.existing;
    let added = if wanted.consent && !wanted.policy_deleted {
        ((&wanted.selected & wanted.accepted) - &assigned) - wanted.purging
    } else {
        Destinations::new()
    };
    let leaving_destinations = if wanted.policy_deleted {
        assigned.clone()
    } else {
        (&assigned - &wanted.selected) | (&assigned & wanted.purging)
    };
    let leaving_objects: BTreeSet<ObjectIndex> =
        now.objects.difference(&wanted.objects).copied().collect();

    let mut explicit_removals = Vec::new();
    let mut by_change = Vec::new();
    for &object in &now.objects {
        let leaves_everywhere = leaving_objects.contains(&object);
        let is_explicit =
            wanted.policy_deleted || (leaves_everywhere && wanted.deleted.contains(&object));
        let from = if leaves_everywhere {
            &assigned
        } else {
            &leaving_destinations
        };
        if from.is_empty() {
            continue;
        }
        let destinations = from - covered(object, from);
        // What is asked for by name is explicit, whatever else leaves.
        let asked = if is_explicit {
            destinations.clone()
        } else {
            &destinations & wanted.purging
        };
        let rest = destinations - &asked;
        for (destinations, explicit, list) in [
            (asked, true, &mut explicit_removals),
            (rest, false, &mut by_change),
        ] {
            if !destinations.is_empty() {
                list.push(Removal {
                    object,
                    destinations,
                    explicit,
                });
            }
        }
    }

    let guarded: Vec<&Removal> = by_change
        .iter()
        .filter(|removal| !wanted.let_go.contains(&removal.object))
        .collect();
    let copies: u64 = guarded.iter().map(|r| r.destinations.len()).sum();
    let mut touched = Destinations::new();
    for removal in &guarded {
        touched |= &removal.destinations;
    }
    let total = now.objects.len() as u64 * assigned.len() + guard.elsewhere;
    let held = if copies > 0 && exceeds(guard, copies, touched.len(), total) {
        let token = token(&guarded, identity);
        (guard.confirmed.as_deref() != Some(&token)).then(|| Held {
            copies,
            destinations: touched.len(),
            examples: touched.iter().take(3).map(Destination).collect(),
            token,
        })
    } else {
        None
    };

    let mut next = Placed {
        objects: wanted.objects.clone(),
        assigned: &assigned - &leaving_destinations,
    };
    if held.is_some() {
        // What would go by change stays as it is; what was deleted goes all the same.
        next.objects.extend(
            leaving_objects
                .iter()
                .filter(|o| !wanted.deleted.contains(o)),
        );
        next.assigned = &assigned - wanted.purging;
        by_change.clear();
        touched.clear();
    }
    let added_objects = next.objects.difference(&now.objects).copied().collect();
    next.assigned |= &added;
    let removed_by_change = if held.is_some() {
        (0, 0)
    } else {
        (copies, touched.len())
    };
    explicit_removals.append(&mut by_change);
    if wanted.policy_deleted {
        next = Placed::default();
    }
    Plan {
        next,
        added,
        added_objects,
        removals: explicit_removals,
        held,
        removed_by_change,
    }
}

fn exceeds(guard: &Guard, copies: u64, destinations: u64, total: u64) -> bool {
    let copies = copies + guard.recent_copies;
    let destinations = destinations + guard.recent_destinations;
    let total = total + guard.recent_copies;
    match guard.limit {
        Some(RemovalLimit::Count(limit)) => copies > limit,
        Some(RemovalLimit::Percent(percent)) => copies * 100 > total * u64::from(percent),
        None => {
            destinations > DEFAULT_FREE_DESTINATIONS
                && copies * 100 > total * u64::from(DEFAULT_PERCENT)
        }
    }
}

fn token(removals: &[&Removal], identity: &dyn Fn(ObjectIndex) -> String) -> String {
    let mut lines: Vec<(String, &Destinations)> = removals
        .iter()
        .map(|r| (identity(r.object), &r.destinations))
        .collect();
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    let mut hasher = Sha256::new();
    for (identity, destinations) in lines {
        hasher.update(identity.as_bytes());
        hasher.update([0]);
        for destination in destinations {
            hasher.update(destination.to_be_bytes());
        }
        hasher.update([0xff]);
    }
    // A letter first: YAML takes 760626e142 for a number.
    format!("r{}", hex::encode(&hasher.finalize()[..6]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(items: impl IntoIterator<Item = u32>) -> Destinations {
        items.into_iter().collect()
    }

    fn objects(items: &[u32]) -> BTreeSet<ObjectIndex> {
        items.iter().map(|i| ObjectIndex(*i)).collect()
    }

    fn id(object: ObjectIndex) -> String {
        object.0.to_string()
    }

    fn nobody(_: ObjectIndex, _: &Destinations) -> Destinations {
        Destinations::new()
    }

    struct Case {
        now: Placed,
        objects: BTreeSet<ObjectIndex>,
        deleted: BTreeSet<ObjectIndex>,
        selected: Destinations,
        all: Destinations,
        purging: Destinations,
    }

    impl Case {
        fn new(now: (&[u32], Destinations), wanted: (&[u32], Destinations)) -> Self {
            let all = &now.1 | &wanted.1;
            Case {
                now: Placed {
                    objects: objects(now.0),
                    assigned: now.1,
                },
                objects: objects(wanted.0),
                deleted: BTreeSet::new(),
                selected: wanted.1,
                all,
                purging: Destinations::new(),
            }
        }

        fn wanted(&self) -> Wanted<'_> {
            Wanted {
                objects: self.objects.clone(),
                deleted: self.deleted.clone(),
                let_go: BTreeSet::new(),
                selected: self.selected.clone(),
                accepted: &self.all,
                existing: &self.all,
                purging: &self.purging,
                consent: true,
                policy_deleted: false,
            }
        }
    }

    #[test]
    fn a_label_change_moves_one_destination() {
        let case = Case::new((&[1, 2], set([1, 2])), (&[1, 2], set([2, 3])));
        let plan = plan(&case.now, &case.wanted(), &Guard::default(), &nobody, &id);
        assert_eq!(plan.added, set([3]));
        assert_eq!(plan.next.assigned, set([2, 3]));
        assert_eq!(plan.removals.len(), 2);
        assert!(plan.removals.iter().all(|r| r.destinations == set([1])));
        assert_eq!(plan.held, None);
    }

    #[test]
    fn what_is_let_go_is_not_counted_by_the_guard() {
        let case = Case::new((&[1, 2], set([1])), (&[], set([1])));
        let wanted = Wanted {
            let_go: objects(&[2]),
            ..case.wanted()
        };
        let guard = |limit| Guard {
            limit: Some(RemovalLimit::Count(limit)),
            ..Guard::default()
        };
        let free = plan(&case.now, &wanted, &guard(1), &nobody, &id);
        assert_eq!((free.held, free.removals.len()), (None, 2));
        let held = plan(&case.now, &wanted, &guard(0), &nobody, &id);
        assert_eq!(held.held.unwrap().copies, 1);
        assert!(held.removals.is_empty());
    }

    #[test]
    fn what_another_policy_covers_is_not_removed() {
        let case = Case::new((&[1], set([1, 2])), (&[1], set([])));
        let plan = plan(
            &case.now,
            &case.wanted(),
            &Guard::default(),
            &|_, _| set([2]),
            &id,
        );
        assert_eq!(
            plan.removals,
            [Removal {
                object: ObjectIndex(1),
                destinations: set([1]),
                explicit: false
            }]
        );
    }

    #[test]
    fn a_big_removal_is_held_until_its_own_token_is_confirmed() {
        let case = Case::new((&[1], set(0..100)), (&[1], set(0..10)));
        let held_plan = plan(&case.now, &case.wanted(), &Guard::default(), &nobody, &id);
        let held = held_plan.held.clone().unwrap();
        assert_eq!(
            (held.copies, held.destinations, held.examples.len()),
            (90, 90, 3)
        );
        assert_eq!(held_plan.next, case.now);
        assert!(held_plan.removals.is_empty());
        // It is written into YAML as it is: it must not be a number there.
        assert!(held.token.starts_with(|c: char| c.is_ascii_alphabetic()));
        let confirmed = Guard {
            confirmed: Some(held.token),
            ..Guard::default()
        };
        assert_eq!(
            plan(&case.now, &case.wanted(), &confirmed, &nobody, &id)
                .next
                .assigned,
            set(0..10)
        );
        let other = Guard {
            confirmed: Some("other".into()),
            ..Guard::default()
        };
        assert!(
            plan(&case.now, &case.wanted(), &other, &nobody, &id)
                .held
                .is_some()
        );
    }

    #[test]
    fn limits() {
        for (limit, removed, held) in [
            (None, 50, false),
            (None, 51, true),
            (Some(RemovalLimit::Count(5)), 5, false),
            (Some(RemovalLimit::Count(5)), 6, true),
            (Some(RemovalLimit::Percent(10)), 10, false),
            (Some(RemovalLimit::Percent(10)), 11, true),
            (Some(RemovalLimit::Percent(100)), 100, false),
            (Some(RemovalLimit::Count(0)), 1, true),
        ] {
            let case = Case::new((&[1], set(0..100)), (&[1], set(removed..100)));
            let guard = Guard {
                limit,
                ..Guard::default()
            };
            assert_eq!(
                plan(&case.now, &case.wanted(), &guard, &nobody, &id)
                    .held
                    .is_some(),
                held,
                "{limit:?} {removed}"
            );
        }
        // Few destinations are never held by default.
        let case = Case::new((&[1], set(0..10)), (&[1], set([])));
        assert!(
            plan(&case.now, &case.wanted(), &Guard::default(), &nobody, &id)
                .held
                .is_none()
        );
    }

    #[test]
    fn many_small_steps_are_one_big_one() {
        let case = Case::new((&[1], set(0..60)), (&[1], set(1..60)));
        let guard = Guard {
            recent_copies: 60,
            recent_destinations: 60,
            ..Guard::default()
        };
        assert!(
            plan(&case.now, &case.wanted(), &guard, &nobody, &id)
                .held
                .is_some()
        );
    }

    #[test]
    fn deletion_is_explicit_and_never_held() {
        let mut case = Case::new((&[1], set(0..100)), (&[], set(0..100)));
        case.deleted = objects(&[1]);
        let plan_object = plan(&case.now, &case.wanted(), &Guard::default(), &nobody, &id);
        assert!(plan_object.held.is_none() && plan_object.removals[0].explicit);
        let wanted = Wanted {
            policy_deleted: true,
            ..case.wanted()
        };
        let plan_policy = plan(&case.now, &wanted, &Guard::default(), &nobody, &id);
        assert!(plan_policy.held.is_none() && plan_policy.next == Placed::default());
        assert_eq!(plan_policy.removals[0].destinations.len(), 100);
    }

    #[test]
    fn consent_and_acceptance_stop_additions_and_remove_nothing() {
        let case = Case::new((&[1], set([1])), (&[1], set([1, 2])));
        let wanted = Wanted {
            consent: false,
            ..case.wanted()
        };
        let without = plan(&case.now, &wanted, &Guard::default(), &nobody, &id);
        assert_eq!(
            (without.next.assigned, without.removals.len()),
            (set([1]), 0)
        );
        let none = Destinations::new();
        let wanted = Wanted {
            accepted: &none,
            ..case.wanted()
        };
        let refused = plan(&case.now, &wanted, &Guard::default(), &nobody, &id);
        assert_eq!(
            (refused.next.assigned, refused.removals.len()),
            (set([1]), 0)
        );
    }

    #[test]
    fn a_destination_that_is_emptied_on_purpose_is_never_held() {
        let mut case = Case::new((&[1], set(0..100)), (&[1], set(90..100)));
        case.purging = set([95]);
        let plan = plan(&case.now, &case.wanted(), &Guard::default(), &nobody, &id);
        assert_eq!(plan.held.as_ref().map(|h| h.copies), Some(90));
        assert_eq!(
            plan.removals,
            [Removal {
                object: ObjectIndex(1),
                destinations: set([95]),
                explicit: true
            }]
        );
        assert_eq!(plan.next.assigned.len(), 99);
    }

    #[test]
    fn a_detached_destination_is_forgotten_without_a_removal() {
        let case = Case::new((&[1], set([1, 2])), (&[1], set([2])));
        let existing = set([2]);
        let wanted = Wanted {
            existing: &existing,
            ..case.wanted()
        };
        let plan = plan(&case.now, &wanted, &Guard::default(), &nobody, &id);
        assert!(plan.removals.is_empty());
        assert_eq!(plan.next.assigned, set([2]));
    }

    proptest! {
        /// Every copy is either placed next, removed, covered by another policy or detached; nothing is both placed and removed.
        #[test]
        fn no_copy_is_lost_or_both_kept_and_removed(
            now_objects in proptest::collection::btree_set(0u32..5, 0..5), wanted_objects in proptest::collection::btree_set(0u32..5, 0..5),
            deleted in proptest::collection::btree_set(0u32..5, 0..3), assigned in proptest::collection::btree_set(0u32..30, 0..30),
            selected in proptest::collection::btree_set(0u32..30, 0..30), cover in proptest::collection::btree_set(0u32..30, 0..10),
            existing in proptest::collection::btree_set(0u32..30, 10..30), limit in proptest::option::of(0u64..40),
        ) {
            let collect = |s: &BTreeSet<u32>| -> BTreeSet<ObjectIndex> { s.iter().map(|i| ObjectIndex(*i)).collect() };
            let (cover, existing) = (set(cover), set(existing));
            let wanted_objects: BTreeSet<u32> = wanted_objects.difference(&deleted).copied().collect();
            let now = Placed { objects: collect(&now_objects), assigned: set(assigned) };
            let wanted = Wanted { objects: collect(&wanted_objects), deleted: collect(&deleted), selected: &set(selected) & &existing,
                accepted: &existing, existing: &existing, purging: &Destinations::new(), let_go: BTreeSet::new(), consent: true, policy_deleted: false };
            let guard = Guard { limit: limit.map(RemovalLimit::Count), ..Guard::default() };
            let plan = plan(&now, &wanted, &guard, &|_, _| cover.clone(), &id);
            for object in 0..5u32 {
                for destination in 0..30u32 {
                    let had = now.objects.contains(&ObjectIndex(object)) && now.assigned.contains(destination);
                    let keeps = plan.next.objects.contains(&ObjectIndex(object)) && plan.next.assigned.contains(destination);
                    let removed = plan.removals.iter().any(|r| r.object.0 == object && r.destinations.contains(destination));
                    prop_assert!(!(keeps && removed));
                    if had && !keeps && existing.contains(destination) && !cover.contains(destination) {
                        prop_assert!(removed, "copy {object}@{destination} is lost without a removal");
                    }
                    if removed { prop_assert!(had); }
                }
            }
        }
    }
}
