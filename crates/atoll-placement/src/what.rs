//! Which policies an object event may concern, without asking all of them.
//!
//! An index over the resources and groups that clauses name, per payload workspace. It may name a policy that then does not select the object; it never misses one.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use crate::policy::Policy;

/// The index; `Id` is what the caller calls a policy.
#[derive(Debug)]
pub struct WhatIndex<Id> {
    clusters: HashMap<String, Policies<Id>>,
}

#[derive(Debug)]
struct Policies<Id> {
    /// Policies with a clause that names the resource.
    by_resource: HashMap<String, BTreeSet<Id>>,
    /// Policies with a clause that names a group but no resource.
    by_group: HashMap<String, BTreeSet<Id>>,
    /// Policies with a clause that names neither.
    broad: BTreeSet<Id>,
    all: BTreeSet<Id>,
}

impl<Id> Default for Policies<Id> {
    fn default() -> Self {
        Policies {
            by_resource: HashMap::new(),
            by_group: HashMap::new(),
            broad: BTreeSet::new(),
            all: BTreeSet::new(),
        }
    }
}

impl<Id> Default for WhatIndex<Id> {
    fn default() -> Self {
        WhatIndex {
            clusters: HashMap::new(),
        }
    }
}

enum Place<'a> {
    Resource(&'a str),
    Group(&'a str),
    Broad,
}

fn places(policy: &Policy) -> impl Iterator<Item = Place<'_>> {
    policy.downsync.iter().flat_map(|clause| {
        let named = &clause.test.resources;
        if !named.is_empty() && !named.iter().any(|r| r == "*") {
            named.iter().map(|r| Place::Resource(r)).collect::<Vec<_>>()
        } else if let Some(group) = &clause.test.api_group {
            vec![Place::Group(group)]
        } else {
            vec![Place::Broad]
        }
    })
}

impl<Id: Ord + Copy + Hash> WhatIndex<Id> {
    /// Adds a policy of a payload workspace.
    pub fn add(&mut self, cluster: &str, id: Id, policy: &Policy) {
        let policies = self.clusters.entry(cluster.to_owned()).or_default();
        policies.all.insert(id);
        for place in places(policy) {
            match place {
                Place::Resource(name) => policies
                    .by_resource
                    .entry(name.to_owned())
                    .or_default()
                    .insert(id),
                Place::Group(name) => policies
                    .by_group
                    .entry(name.to_owned())
                    .or_default()
                    .insert(id),
                Place::Broad => policies.broad.insert(id),
            };
        }
    }

    /// Takes a policy out, as it was added.
    pub fn remove(&mut self, cluster: &str, id: Id, policy: &Policy) {
        let Some(policies) = self.clusters.get_mut(cluster) else {
            return;
        };
        policies.all.remove(&id);
        for place in places(policy) {
            let (map, name) = match place {
                Place::Resource(name) => (&mut policies.by_resource, name),
                Place::Group(name) => (&mut policies.by_group, name),
                Place::Broad => {
                    policies.broad.remove(&id);
                    continue;
                }
            };
            if let Some(set) = map.get_mut(name) {
                set.remove(&id);
                if set.is_empty() {
                    map.remove(name);
                }
            }
        }
        if policies.all.is_empty() {
            self.clusters.remove(cluster);
        }
    }

    /// Whether any policy lives in the workspace.
    pub fn knows(&self, cluster: &str) -> bool {
        self.clusters.contains_key(cluster)
    }

    /// All policies of a workspace.
    pub fn of_cluster(&self, cluster: &str) -> Vec<Id> {
        self.clusters
            .get(cluster)
            .map(|p| p.all.iter().copied().collect())
            .unwrap_or_default()
    }

    /// The policies that may select objects of a resource.
    pub fn candidates(&self, cluster: &str, group: &str, resource: &str) -> BTreeSet<Id> {
        let Some(policies) = self.clusters.get(cluster) else {
            return BTreeSet::new();
        };
        let mut found = policies.broad.clone();
        found.extend(policies.by_resource.get(resource).into_iter().flatten());
        found.extend(policies.by_group.get(group).into_iter().flatten());
        found
    }
}
