//! What a destination should have: a function of assignments and revisions, read and never stored.
//!
//! The same copy wanted by several policies is one copy (invariant 10). Of what they ask for, an explicit wish beats one that came along; then the newest content of the object
//! counts, so that a policy that is suspended holds back no other.

use std::collections::BTreeMap;
use std::sync::Arc;

use atoll_placement::bundle::{CopyFlags, RenderHash};
use atoll_placement::place::ObjectIndex;
use atoll_placement::{Destination, Destinations};

use super::{Content, Cut, Entry, PolicyIndex, World};

/// What one destination should have of one object.
#[derive(Debug, Clone)]
pub(crate) struct DesiredCopy {
    pub(crate) flags: CopyFlags,
    pub(crate) content: Arc<Content>,
    /// Of a copy that is not the same everywhere: its version.
    pub(crate) render: RenderHash,
}

impl DesiredCopy {
    fn of(entry: &Entry) -> Self {
        DesiredCopy {
            flags: entry.flags,
            content: entry.content.clone(),
            render: entry.render,
        }
    }

    /// With another policy's wish for the same copy.
    fn join(&mut self, entry: &Entry) {
        let before = self.flags;
        self.flags = before.join(entry.flags);
        let theirs = if before.implicit == entry.flags.implicit {
            entry.content.written > self.content.written
        } else {
            before.implicit
        };
        if theirs {
            self.content = entry.content.clone();
            self.render = entry.render;
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
    for (index, entry) in cuts.iter().flat_map(|cut| &cut.entries) {
        wanted
            .entry(*index)
            .and_modify(|copy| copy.join(entry))
            .or_insert_with(|| DesiredCopy::of(entry));
    }
    wanted
}

/// Which copy these wishes for one object give where, together.
pub(crate) fn grouped<'a>(
    wishes: impl Iterator<Item = (&'a Entry, Destinations)>,
) -> Vec<(DesiredCopy, Destinations)> {
    let mut groups: Vec<(DesiredCopy, Destinations)> = Vec::new();
    for (entry, mut rest) in wishes.filter(|(_, set)| !set.is_empty()) {
        let mut split = Vec::new();
        for (other, set) in &mut groups {
            let both = &*set & &rest;
            if !both.is_empty() {
                *set -= &both;
                rest -= &both;
                let mut joined = other.clone();
                joined.join(entry);
                split.push((joined, both));
            }
        }
        groups.extend(split);
        groups.push((DesiredCopy::of(entry), rest));
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
                .and_then(|(_, r)| r.cut.entries.get(&object));
            match (&mut found, entry) {
                (Some(copy), Some(entry)) => copy.join(entry),
                (None, Some(entry)) => found = Some(DesiredCopy::of(entry)),
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
            .filter_map(|(_, r)| Some((r.cut.entries.get(&index)?, &r.assigned & within)));
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
        fn order_of_policies_does_not_matter(entries in proptest::collection::vec(some_entry(), 1..5), rotate in 0usize..5) {
            let join = |list: &[Entry]| {
                let mut copy = DesiredCopy::of(&list[0]);
                for entry in &list[1..] {
                    copy.join(entry);
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
    fn a_suspended_policy_holds_back_no_other() {
        let flags = CopyFlags::default();
        let mut copy = DesiredCopy::of(&entry(1, 5, flags));
        copy.join(&entry(2, 7, flags));
        assert_eq!(copy.render, entry(2, 7, flags).render);
        let only = CopyFlags {
            create_only: true,
            ..flags
        };
        let mut copy = DesiredCopy::of(&entry(2, 7, only));
        copy.join(&entry(1, 5, flags));
        assert_eq!(
            copy.render,
            entry(2, 7, flags).render,
            "create-only only if all say so"
        );
    }
}
