//! What a destination should have: a function of assignments and revisions, read and never stored.
//!
//! The same copy wanted by several policies is one copy (invariant 10). Of what they ask for, an explicit wish beats one that came along; then a policy with a RolloutPolicy beats one
//! without, and of several the oldest content counts: a copy advances only to what each of them allows there. Where none has one the newest content counts, so that a policy that is
//! suspended holds back no other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use atoll_placement::bundle::{CopyFlags, RenderHash};
use atoll_placement::place::ObjectIndex;
use atoll_placement::{Destination, Destinations};

use super::{Content, Cut, Entry, PolicyIndex, World};

/// What a destination has of a policy, and what it may have had: the newest first; `None`: nothing.
type Steps = (Option<Arc<Cut>>, Vec<Option<Arc<Cut>>>);

/// How many earlier revisions of a policy are tried to find out what a destination has.
const EARLIER: usize = 2;
/// How many combinations of them.
const MOST_TRIED: usize = 24;

/// What one destination should have of one object.
#[derive(Debug, Clone)]
pub(crate) struct DesiredCopy {
    pub(crate) flags: CopyFlags,
    pub(crate) content: Arc<Content>,
    /// Of a copy that is not the same everywhere: its version.
    pub(crate) render: RenderHash,
    /// The policy whose content it is has a RolloutPolicy.
    pub(crate) holds: bool,
}

impl DesiredCopy {
    fn of(entry: &Entry, holds: bool) -> Self {
        DesiredCopy {
            flags: entry.flags,
            content: entry.content.clone(),
            render: entry.render,
            holds,
        }
    }

    /// With another policy's wish for the same copy.
    fn join(&mut self, entry: &Entry, holds: bool) {
        let before = self.flags;
        self.flags = before.join(entry.flags);
        let (mine, other) = (self.content.written, entry.content.written);
        let theirs = match (before.implicit, entry.flags.implicit) {
            (a, b) if a != b => before.implicit,
            _ if self.holds != holds => holds,
            _ if holds => other < mine,
            _ => other > mine,
        };
        if theirs {
            self.content = entry.content.clone();
            self.render = entry.render;
            self.holds = holds;
        }
        let own = if theirs { entry.flags } else { before };
        if own != self.flags {
            self.render = self.content.render(self.flags);
        }
    }
}

/// What these revisions together ask for.
pub(crate) fn joined(cuts: &[Arc<Cut>]) -> BTreeMap<ObjectIndex, DesiredCopy> {
    let mut wanted: BTreeMap<ObjectIndex, DesiredCopy> = BTreeMap::new();
    for cut in cuts {
        for (index, entry) in &cut.entries {
            wanted
                .entry(*index)
                .and_modify(|copy| copy.join(entry, cut.holds))
                .or_insert_with(|| DesiredCopy::of(entry, cut.holds));
        }
    }
    wanted
}

/// Which copy these wishes for one object (each with whether its policy has a RolloutPolicy) give where, together.
pub(crate) fn grouped<'a>(
    wishes: impl Iterator<Item = (&'a Entry, bool, Destinations)>,
) -> Vec<(DesiredCopy, Destinations)> {
    let mut groups: Vec<(DesiredCopy, Destinations)> = Vec::new();
    for (entry, holds, mut rest) in wishes.filter(|(_, _, set)| !set.is_empty()) {
        let mut split = Vec::new();
        for (other, set) in &mut groups {
            let both = &*set & &rest;
            if !both.is_empty() {
                *set -= &both;
                rest -= &both;
                let mut joined = other.clone();
                joined.join(entry, holds);
                split.push((joined, both));
            }
        }
        groups.extend(split);
        groups.push((DesiredCopy::of(entry, holds), rest));
        groups.retain(|(_, set)| !set.is_empty());
    }
    groups
}

impl World {
    /// The revisions that a destination has, in the order of their policies.
    pub(crate) fn cuts(&self, destination: Destination) -> Vec<Arc<Cut>> {
        let inventory = self
            .destinations
            .get(&destination)
            .and_then(|state| self.inventories.get(&state.inventory));
        inventory
            .into_iter()
            .flat_map(|i| &i.policies)
            .filter_map(|p| self.policies.get(p)?.at(destination))
            .map(|(_, revision)| revision.cut.clone())
            .collect()
    }

    /// The revisions that a destination may have had a little earlier: the likeliest first, none of them those that it has.
    pub(crate) fn earlier_cuts(&self, destination: Destination) -> Vec<Vec<Arc<Cut>>> {
        let state = self.destinations.get(&destination);
        let inventory = state.and_then(|state| self.inventories.get(&state.inventory));
        let policies = inventory.into_iter().flat_map(|i| &i.policies);
        let leaving: BTreeSet<ObjectIndex> =
            self.tombstones.at(destination).map(|t| t.object).collect();
        // Of each policy: what it has now, and what it may have had, the newest first.
        let mut known: Vec<Steps> = Vec::new();
        for policy in policies.filter_map(|p| self.policies.get(p)) {
            let now = policy.at(destination);
            let older = policy.revisions.iter().rev();
            let older = older.filter(|(ordinal, _)| now.is_none_or(|(o, _)| **ordinal < o));
            let older = older.map(|(_, revision)| revision.cut.clone());
            let had: Vec<Option<Arc<Cut>>> = match now {
                Some(_) => older.take(EARLIER).map(Some).chain([None]).collect(),
                // It lost what has to be removed there.
                None => {
                    let lost = older.filter(|cut| !cut.objects.is_disjoint(&leaving));
                    lost.take(EARLIER).map(Some).collect()
                }
            };
            if now.is_some() || !had.is_empty() {
                known.push((now.map(|(_, r)| r.cut.clone()), had));
            }
        }
        let with = |choose: &dyn Fn(usize) -> Option<Arc<Cut>>| -> Vec<Arc<Cut>> {
            (0..known.len()).filter_map(choose).collect()
        };
        let mut found = Vec::new();
        // One of them was different; or all were one step behind.
        for step in 0..=EARLIER {
            for (at, (_, had)) in known.iter().enumerate() {
                if let Some(had) = had.get(step) {
                    found.push(with(&|i| match i == at {
                        true => had.clone(),
                        false => known[i].0.clone(),
                    }));
                }
            }
            if step == 0 && known.len() > 1 {
                found.push(with(&|i| match known[i].1.first() {
                    Some(Some(had)) => Some(had.clone()),
                    _ => known[i].0.clone(),
                }));
            }
        }
        found.truncate(MOST_TRIED);
        found
    }

    /// What a destination should have.
    pub(crate) fn desired(&self, destination: Destination) -> BTreeMap<ObjectIndex, DesiredCopy> {
        joined(&self.cuts(destination))
    }

    /// What a destination should have of one object.
    pub(crate) fn desired_copy(
        &self,
        destination: Destination,
        object: ObjectIndex,
    ) -> Option<DesiredCopy> {
        let state = self.destinations.get(&destination)?;
        let inventory = self.inventories.get(&state.inventory)?;
        let mut found: Option<DesiredCopy> = None;
        let policies = &self.objects.get(&object)?.policies;
        for policy in policies
            .iter()
            .filter(|p| inventory.policies.contains(p))
            .filter_map(|p| self.policies.get(p))
        {
            let entry = policy
                .at(destination)
                .and_then(|(_, r)| Some((r.cut.entries.get(&object)?, r.cut.holds)));
            match (&mut found, entry) {
                (Some(copy), Some((entry, holds))) => copy.join(entry, holds),
                (None, Some((entry, holds))) => found = Some(DesiredCopy::of(entry, holds)),
                (_, None) => {}
            }
        }
        found
    }

    /// Which copy of an object is wanted at which of some destinations, by all policies together.
    pub(crate) fn wanted_within(
        &self,
        index: ObjectIndex,
        within: &Destinations,
    ) -> Vec<(DesiredCopy, Destinations)> {
        let Some(object) = self.objects.get(&index) else {
            return Vec::new();
        };
        let policies = object.policies.iter();
        let policies = policies.filter_map(|p| self.policies.get(p));
        let wishes = policies
            .flat_map(|policy| policy.in_use())
            .filter_map(|(_, r)| {
                let entry = r.cut.entries.get(&index)?;
                Some((entry, r.cut.holds, &r.assigned & within))
            });
        grouped(wishes)
    }

    /// Those of some destinations where an object is wanted by policies other than one.
    pub(crate) fn covered(
        &self,
        object: ObjectIndex,
        except: PolicyIndex,
        within: &Destinations,
    ) -> Destinations {
        let mut covered = Destinations::new();
        let Some(record) = self.objects.get(&object) else {
            return covered;
        };
        for policy in record
            .policies
            .iter()
            .filter(|p| **p != except)
            .filter_map(|p| self.policies.get(p))
        {
            for (_, revision) in policy.in_use() {
                if revision.cut.objects.contains(&object) {
                    covered |= &revision.assigned & within;
                }
            }
        }
        covered
    }

    /// Where an object is placed, by all policies together.
    pub(crate) fn placed(&self, object: ObjectIndex) -> Destinations {
        let mut placed = Destinations::new();
        let policies = self.objects.get(&object).map(|o| &o.policies);
        for policy in policies.into_iter().flatten() {
            if let Some(policy) = self.policies.get(policy) {
                placed |= policy.placed(object);
            }
        }
        placed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use atoll_placement::policy::Candidate;
    use atoll_placement::render::{Object, Recipe};
    use atoll_store::Revision;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn entry(value: u64, written: u64, flags: CopyFlags) -> Entry {
        let object = json!({"metadata": {"name": "a"}, "data": {"v": value.to_string()}});
        let object = Object {
            candidate: Candidate {
                group: "",
                resource: "configmaps",
                namespace: None,
                name: "a",
                labels: &|_| None,
                namespace_labels: &|_| None,
            },
            body: &object,
            scaled: false,
        };
        let recipe = Recipe::of(&object, &[], &[]);
        let (content, _) = Content::of(recipe, Value::Null, Revision(written));
        Entry::new(flags, Arc::new(content))
    }

    fn some_entry() -> impl Strategy<Value = Entry> {
        // One object has one content at one revision of the log, in each of its two forms.
        (1u64..4, any::<(bool, bool, bool)>()).prop_map(
            |(written, (create_only, adopt, implicit))| {
                let flags = CopyFlags {
                    create_only,
                    adopt,
                    implicit,
                };
                entry(written + 10 * u64::from(implicit), written, flags)
            },
        )
    }

    proptest! {
        /// In whatever order policies are joined, the copy is the same, and its hash is that of its content and flags.
        #[test]
        fn order_of_policies_does_not_matter(entries in proptest::collection::vec((some_entry(), any::<bool>()), 1..5), rotate in 0usize..5) {
            let join = |list: &[(Entry, bool)]| {
                let mut copy = DesiredCopy::of(&list[0].0, list[0].1);
                for (entry, holds) in &list[1..] {
                    copy.join(entry, *holds);
                }
                copy
            };
            let one = join(&entries);
            let mut other = entries.clone();
            let by = rotate % other.len();
            other.rotate_left(by);
            let other = join(&other);
            prop_assert_eq!((one.flags, one.render), (other.flags, other.render));
            prop_assert_eq!(one.render, one.content.render(one.flags));
        }
    }

    #[test]
    fn the_most_conservative_of_those_with_a_rollout_policy_counts() {
        let flags = CopyFlags::default();
        let join = |list: &[(u64, bool)]| {
            let mut copy = DesiredCopy::of(&entry(list[0].0, list[0].0, flags), list[0].1);
            for (written, holds) in &list[1..] {
                copy.join(&entry(*written, *written, flags), *holds);
            }
            copy.content.written.0
        };
        for (wishes, expected) in [
            (&[(5, false), (7, false)][..], 7),
            (&[(5, true), (7, false)], 5),
            (&[(5, false), (7, true)], 7),
            (&[(5, true), (7, true), (9, false)], 5),
        ] {
            assert_eq!(join(wishes), expected, "{wishes:?}");
        }
    }

    #[test]
    fn a_suspended_policy_holds_back_no_other() {
        let flags = CopyFlags::default();
        let mut copy = DesiredCopy::of(&entry(1, 5, flags), false);
        copy.join(&entry(2, 7, flags), false);
        assert_eq!(copy.render, entry(2, 7, flags).render);
        let only = CopyFlags {
            create_only: true,
            ..flags
        };
        let mut copy = DesiredCopy::of(&entry(2, 7, only), false);
        copy.join(&entry(1, 5, flags), false);
        assert_eq!(
            copy.render,
            entry(2, 7, flags).render,
            "create-only only if all say so"
        );
    }
}
