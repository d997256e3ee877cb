//! Which built-in kinds a logical cluster has by birth.
//!
//! The sets follow kcp for everything that people administer; a payload workspace has all that Kubernetes can keep, and a
//! sandbox edge the whole of Kubernetes.

use std::sync::{Arc, LazyLock};

use super::{definitions, is_persisted};
use crate::definition::Definition;

/// A set of built-in kinds, chosen by the kind of a logical cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SurfaceSet {
    /// kcp's minimal set, with workspaces: `universal`, `organization`, `team`, `home` and system clusters.
    Universal,
    /// Universal and what only `root` has.
    Root,
    /// All that Kubernetes keeps, and the fleet's control kinds.
    Payload,
    /// Universal and the destinations.
    Inventory,
    /// The whole of Kubernetes, as a real cluster serves it.
    Kubernetes,
}

const KCP_GROUPS: [&str; 4] = [
    "tenancy.kcp.io",
    "core.kcp.io",
    "topology.kcp.io",
    "apis.kcp.io",
];
const OUR_GROUPS: [&str; 3] = [
    "cluster.open-cluster-management.io",
    "control.kubestellar.io",
    "edge.atoll.dev",
];

/// The groups of Kubernetes that a kcp workspace serves whole.
const UNIVERSAL_GROUPS: [&str; 8] = [
    "rbac.authorization.k8s.io",
    "authorization.k8s.io",
    "authentication.k8s.io",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "events.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
];
/// Of the core group it serves these.
const UNIVERSAL_CORE: [&str; 6] = [
    "namespaces",
    "configmaps",
    "secrets",
    "events",
    "resourcequotas",
    "serviceaccounts",
];
/// Kinds that live where the payload is.
const PAYLOAD_KINDS: [&str; 8] = [
    "bindingpolicies",
    "bindings",
    "customtransforms",
    "statuscollectors",
    "combinedstatuses",
    "rolloutpolicies",
    "rollouts",
    "customizers",
];
/// kcp's kinds in a payload workspace: its own, and the two that kcp's plugins list everywhere.
const PAYLOAD_KCP: [&str; 3] = ["logicalclusters", "apibindings", "workspaces"];
/// Kinds that live where the destinations are.
const INVENTORY_KINDS: [&str; 5] = [
    "managedclusters",
    "signals",
    "disruptionbudgets",
    "inventories",
    "workstatuses",
];

impl SurfaceSet {
    /// Every set.
    pub const ALL: [Self; 5] = [
        Self::Universal,
        Self::Root,
        Self::Payload,
        Self::Inventory,
        Self::Kubernetes,
    ];

    /// Whether a definition belongs to this set.
    fn has(self, definition: &Definition) -> bool {
        let (group, plural) = (definition.group.as_str(), definition.names.plural.as_str());
        let kcp = KCP_GROUPS.contains(&group);
        let ours = OUR_GROUPS.contains(&group);
        let universal = match group {
            "" => UNIVERSAL_CORE.contains(&plural),
            "core.kcp.io" => plural == "logicalclusters",
            _ => kcp || UNIVERSAL_GROUPS.contains(&group),
        };
        match self {
            Self::Universal => universal,
            Self::Root => universal || plural == "shards",
            Self::Inventory => universal || (ours && INVENTORY_KINDS.contains(&plural)),
            Self::Payload if ours => PAYLOAD_KINDS.contains(&plural),
            Self::Payload if kcp => PAYLOAD_KCP.contains(&plural),
            Self::Payload => is_persisted(definition) || plural.ends_with("reviews"),
            Self::Kubernetes => !kcp && !ours,
        }
    }
}

static SETS: LazyLock<[Vec<Arc<Definition>>; 5]> = LazyLock::new(|| {
    SurfaceSet::ALL.map(|set| {
        let all = definitions().iter();
        all.filter(|d| set.has(d)).cloned().collect()
    })
});

/// The definitions of a set.
pub fn set(set: SurfaceSet) -> &'static [Arc<Definition>] {
    &SETS[set as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(which: SurfaceSet) -> Vec<String> {
        let all = set(which).iter();
        all.map(|d| d.group_resource().to_string()).collect()
    }

    #[test]
    fn each_set_has_its_kinds_and_not_the_others() {
        use SurfaceSet::{Inventory, Kubernetes, Payload, Root, Universal};
        let rows = [
            ("namespaces", "URPIK"),
            ("pods", "PK"),
            ("services", "PK"),
            ("bindings", "K"),
            ("componentstatuses", "K"),
            ("nodes", "PK"),
            ("deployments.apps", "PK"),
            ("events.events.k8s.io", "URPIK"),
            ("selfsubjectaccessreviews.authorization.k8s.io", "URPIK"),
            ("selfsubjectreviews.authentication.k8s.io", "URPIK"),
            ("clusterroles.rbac.authorization.k8s.io", "URPIK"),
            ("apiservices.apiregistration.k8s.io", "PK"),
            ("customresourcedefinitions.apiextensions.k8s.io", "URPIK"),
            ("workspaces.tenancy.kcp.io", "URPI"),
            ("workspacetypes.tenancy.kcp.io", "URI"),
            ("logicalclusters.core.kcp.io", "URPI"),
            ("shards.core.kcp.io", "R"),
            ("apibindings.apis.kcp.io", "URPI"),
            ("managedclusters.cluster.open-cluster-management.io", "I"),
            ("workstatuses.control.kubestellar.io", "I"),
            ("bindingpolicies.control.kubestellar.io", "P"),
            ("rollouts.edge.atoll.dev", "P"),
            ("inventories.edge.atoll.dev", "I"),
        ];
        for (name, sets) in rows {
            for (letter, which) in [
                ('U', Universal),
                ('R', Root),
                ('P', Payload),
                ('I', Inventory),
                ('K', Kubernetes),
            ] {
                let has = names(which).iter().any(|n| n == name);
                assert_eq!(has, sets.contains(letter), "{name} in {which:?}");
            }
        }
    }
}
