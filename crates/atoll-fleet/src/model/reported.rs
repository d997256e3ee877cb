//! What copies reported, and how they stand: compared with what is wanted there now.
//!
//! Hot path. Always true: each policy's counts equal judging its copies one by one. So whatever changes how copies stand (a report, an assignment, a render that fails) is done between taking
//! the copies concerned out of the counts and putting them in again ([`World::recounted`]); the cost follows from those copies alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use atoll_placement::bundle::{CopyFlags, RenderHash};
use atoll_placement::columns::{Reported, Seen, UNKNOWN, ValueId};
use atoll_placement::place::ObjectIndex;
use atoll_placement::render::Renderer;
use atoll_placement::summary::{self, Counts, Standing};
use atoll_placement::{Destination, Destinations};

use super::{DesiredCopy, PolicyIndex, PolicyState, World};

/// Some copies: of each object, at which destinations.
pub(crate) type Copies = BTreeMap<ObjectIndex, Destinations>;

/// The copies of one object at one destination.
fn one(object: ObjectIndex, destination: Destination) -> Copies {
    Copies::from([(object, [destination.0].into_iter().collect())])
}

/// Which renders a destination's copies reported, of objects whose copies are not the same everywhere.
pub(crate) struct OwnRenders(Vec<(ObjectIndex, RenderHash)>);

impl DesiredCopy {
    /// How a copy stands that reported this.
    pub(crate) fn judge(&self, reported: Option<&Reported>) -> Standing {
        summary::judge(reported, self.render, self.content.vary.is_some())
    }
}

impl World {
    /// What a copy reported.
    pub(crate) fn reported_at(
        &self,
        object: ObjectIndex,
        destination: Destination,
    ) -> Option<&Arc<Reported>> {
        let id = self.columns.get(&object)?.get(destination)?;
        self.values.get(id)
    }

    /// How an object's copies stand at those of some destinations where it is wanted: disjoint sets, each with its value.
    pub(crate) fn judged(
        &self,
        object: ObjectIndex,
        within: &Destinations,
        visit: &mut dyn FnMut(Standing, Option<ValueId>, &Destinations),
    ) {
        let column = self.columns.get(&object);
        for (copy, mut rest) in self.wanted_within(object, within) {
            for bad in self.checks.bad(object, copy.render) {
                let here = bad & &rest;
                if !here.is_empty() {
                    rest -= &here;
                    visit(Standing::Failed, None, &here);
                }
            }
            let sets = column.map(|column| column.sets_within(&rest));
            for (id, set) in sets.into_iter().flatten() {
                rest -= &set;
                let value = self.values.get(id).map(Arc::as_ref);
                visit(copy.judge(value), Some(id), &set);
            }
            if !rest.is_empty() {
                visit(Standing::Unreported, None, &rest);
            }
        }
    }

    /// Changes how copies stand.
    pub(crate) fn recounted<T>(
        &mut self,
        copies: &Copies,
        change: impl FnOnce(&mut World) -> T,
    ) -> T {
        self.count(copies, false);
        let changed = change(self);
        self.count(copies, true);
        changed
    }

    /// Takes copies into the counts of their policies (`add`), or out.
    pub(crate) fn count(&mut self, copies: &Copies, add: bool) {
        let mut found: Vec<(PolicyIndex, Standing, u64)> = Vec::new();
        for (object, within) in copies {
            let Some(record) = self.objects.get(object) else {
                continue;
            };
            self.judged(*object, within, &mut |standing, _, set| {
                let policies = record.policies.iter();
                found.extend(policies.filter_map(|index| {
                    let copies = self.policies.get(index)?.placed_of(*object, set);
                    (copies > 0).then_some((*index, standing, copies))
                }));
            });
        }
        for (index, standing, copies) in found {
            if let Some(policy) = self.policies.get_mut(&index) {
                match add {
                    true => policy.counts.add(standing, copies),
                    false => policy.counts.retract(standing, copies),
                }
            }
        }
    }

    /// What [`PolicyState::counts`](super::PolicyState::counts) has to be.
    pub(crate) fn recount(&self, policy: &PolicyState) -> Counts {
        let mut counts = Counts::default();
        for object in policy.objects() {
            self.judged(object, &policy.placed(object), &mut |standing, _, set| {
                counts.add(standing, set.len());
            });
        }
        counts
    }

    /// Those of some destinations where this version of an object is wanted.
    pub(crate) fn wanting(
        &self,
        object: ObjectIndex,
        version: RenderHash,
        within: &Destinations,
    ) -> Destinations {
        let wanted = self.wanted_within(object, within).into_iter();
        let wanted = wanted.filter(|(copy, _)| copy.render == version);
        wanted.fold(Destinations::new(), |all, (_, set)| all | set)
    }

    /// Counts everything: after a start.
    pub(crate) fn count_all(&mut self) {
        for policy in self.policies.values_mut() {
            policy.counts = Counts::default();
        }
        let objects: Vec<ObjectIndex> = self.objects.keys().copied().collect();
        for object in objects {
            let placed = self.placed(object);
            self.count(&Copies::from([(object, placed)]), true);
        }
    }

    /// Enters what copies of one object reported (`None`: they are gone). Whoever shows it has to be told.
    pub(crate) fn report(
        &mut self,
        object: ObjectIndex,
        news: &[(Option<Arc<Reported>>, Destinations)],
    ) {
        if !self.objects.contains_key(&object) {
            return;
        }
        let all = news.iter().map(|(_, set)| set);
        let all = all.fold(Destinations::new(), |all, set| all | set);
        let before = self.before_report(object, &all);
        self.recounted(&Copies::from([(object, all.clone())]), |world| {
            let column = world.columns.entry(object).or_default();
            for (value, set) in news {
                if value.is_none() {
                    for destination in set {
                        world.tombstones.confirm(object, Destination(destination));
                    }
                }
                for destination in &(set & &world.existing) {
                    column.set(&mut world.values, Destination(destination), value.as_ref());
                }
            }
        });
        self.after_report(object, &all, before);
    }

    /// A destination is gone, with all that it reported.
    pub(crate) fn forget_reports(&mut self, destination: Destination) {
        let objects = self.columns.iter();
        let there = objects.filter(|(_, column)| column.get(destination).is_some());
        let set = || [destination.0].into_iter().collect();
        let copies: Copies = there.map(|(object, _)| (*object, set())).collect();
        let before = copies.keys().map(|o| self.before_report(*o, &set()));
        let before: Vec<_> = before.collect();
        self.recounted(&copies, |world| {
            for object in copies.keys() {
                if let Some(column) = world.columns.get_mut(object) {
                    column.set(&mut world.values, destination, None);
                }
            }
        });
        for (object, before) in copies.keys().zip(before) {
            self.after_report(*object, &set(), before);
        }
    }

    /// Which render a destination reported, given what it should have and what it was sent of this object before.
    pub(crate) fn see(
        &self,
        destination: Destination,
        object: ObjectIndex,
        wanted: Option<&DesiredCopy>,
        render: RenderHash,
    ) -> Seen {
        if !self.varying.contains(&object) {
            return Seen::Shared(render);
        }
        if let Some(copy) = wanted
            && self.render_at(destination, copy) == render
        {
            return match copy.content.vary {
                Some(_) => Seen::Version(copy.render),
                None => Seen::Shared(render),
            };
        }
        // An older one, or with the flags that another policy's wish gave it.
        for content in self.contents(object) {
            let Some(renderer) = &content.vary else {
                if all_flags().any(|flags| content.render(flags) == render) {
                    return Seen::Shared(render);
                }
                continue;
            };
            let mut all = all_flags();
            let same =
                |flags: &CopyFlags| self.render_of(destination, renderer, *flags) == Some(render);
            if let Some(flags) = all.find(same) {
                return Seen::Version(renderer.content(flags));
            }
        }
        Seen::Other(render)
    }

    /// What an object looked like in the revisions that are kept: each once.
    fn contents(&self, object: ObjectIndex) -> Vec<Arc<super::Content>> {
        let mut found: Vec<Arc<super::Content>> = Vec::new();
        let policies = self.objects.get(&object).map(|o| &o.policies);
        let policies = policies.into_iter().flatten();
        let revisions = policies
            .filter_map(|p| self.policies.get(p))
            .flat_map(|p| p.revisions.values().rev());
        for entry in revisions.filter_map(|r| r.cut.entries.get(&object)) {
            if found
                .iter()
                .all(|content| !content.looks_like(&entry.content))
            {
                found.push(entry.content.clone());
            }
        }
        found
    }

    /// Of a version that is kept: what makes it.
    fn version(
        &self,
        object: ObjectIndex,
        version: RenderHash,
    ) -> Option<(Arc<Renderer>, CopyFlags)> {
        let renderers = self.contents(object).into_iter();
        let mut renderers = renderers.filter_map(|content| content.vary.clone());
        renderers.find_map(|renderer| {
            let flags = all_flags().find(|flags| renderer.content(*flags) == version)?;
            Some((renderer, flags))
        })
    }

    /// The versions of an object that are kept.
    pub(super) fn versions(&self, object: ObjectIndex) -> Vec<RenderHash> {
        let renderers = self.contents(object).into_iter();
        let renderers = renderers.filter_map(|content| content.vary.clone());
        renderers
            .flat_map(|renderer| all_flags().map(move |flags| renderer.content(flags)))
            .collect()
    }

    /// What a destination's own copies reported: to be asked before anything that they depend on changes.
    pub(crate) fn own_renders(&self, destination: Destination) -> OwnRenders {
        let mut found = Vec::new();
        for object in &self.varying {
            let Some(reported) = self.reported_at(*object, destination) else {
                continue;
            };
            let render = match reported.seen {
                Seen::Shared(_) => continue,
                Seen::Other(render) => render,
                Seen::Version(version) => self
                    .version(*object, version)
                    .and_then(|(renderer, flags)| self.render_of(destination, &renderer, flags))
                    .unwrap_or(UNKNOWN),
            };
            found.push((*object, render));
        }
        OwnRenders(found)
    }

    /// What is known of a destination changed: its copies look different now, so what they reported is not what they should be any more, or is again.
    pub(crate) fn look_changed(&mut self, destination: Destination, before: OwnRenders) {
        self.looks += 1;
        for (object, render) in before.0 {
            self.see_again(object, destination, render);
        }
        for object in self.checks.forget_at(destination) {
            self.unchecked.insert(object);
        }
    }

    fn see_again(&mut self, object: ObjectIndex, destination: Destination, render: RenderHash) {
        let wanted = self.desired_copy(destination, object);
        let seen = self.see(destination, object, wanted.as_ref(), render);
        let held = self.reported_at(object, destination);
        let Some(held) = held.filter(|held| held.seen != seen) else {
            return;
        };
        let moved = Arc::new(Reported {
            seen,
            ..held.as_ref().clone()
        });
        if seen == Seen::Other(UNKNOWN) {
            self.doubted.insert(destination.0);
        }
        self.recounted(&one(object, destination), |world| {
            let column = world.columns.entry(object).or_default();
            column.set(&mut world.values, destination, Some(&moved));
        });
        self.moved.entry(object).or_default().insert(destination.0);
    }

    /// A destination changed, nobody knows from what: what it reported of copies that are its own may be anything.
    pub(crate) fn doubt(&mut self, destination: Destination) {
        for object in self.varying.clone() {
            let held = self.reported_at(object, destination);
            if matches!(held.map(|held| held.seen), Some(Seen::Version(_))) {
                self.see_again(object, destination, UNKNOWN);
            }
        }
    }

    /// A version came (back): some of those who reported what was not known then may have just that.
    pub(crate) fn see_exceptions(&mut self, object: ObjectIndex) {
        let Some(column) = self.columns.get(&object) else {
            return;
        };
        let seen = |id| self.values.get(id).map(|value| value.seen);
        let other = |id| matches!(seen(id), Some(Seen::Other(render)) if render != UNKNOWN);
        for (id, set) in column.sets_of(other) {
            if let Some(Seen::Other(render)) = self.values.get(id).map(|value| value.seen) {
                for destination in &set {
                    self.see_again(object, Destination(destination), render);
                }
            }
        }
    }

    /// Whether a destination's agent has to report everything, because what it reported cannot be told from other renders any more.
    pub(crate) fn doubts(&mut self, destination: Destination) -> bool {
        if !self.doubted.contains(destination.0) {
            return false;
        }
        let unknown = |object: &ObjectIndex| {
            let held = self.reported_at(*object, destination);
            held.is_some_and(|held| held.seen == Seen::Other(UNKNOWN))
        };
        if self.varying.iter().any(unknown) {
            return true;
        }
        self.doubted.remove(destination.0);
        false
    }
}

fn all_flags() -> impl Iterator<Item = CopyFlags> {
    (0..CopyFlags::KINDS).map(|bits| CopyFlags::from_bits(bits as u8))
}

#[cfg(test)]
mod tests;
