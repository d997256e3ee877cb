//! What is created and changed: everything a function of the seed, so that a run can be had again.
//!
//! The shape of the reference load: each destination has ten labels, one of them its own; policies are few and of very different size, sharing about
//! [`Load::copies`] copies per destination among them equally, and say where in different ways; a tenth of the objects differ per destination, and some destinations are
//! excepted by a Customizer.

use atoll_wire::join;
use serde_json::{Value, json};

/// Values of the label `bucket`, by which policies select.
const BUCKETS: u64 = 400;
/// Values of the label `rack`, by which exceptions are made.
const RACKS: u64 = 200;
/// The StatusCollector's name.
const COLLECTOR: &str = "ready-by-region";
/// The object of each policy that exceptions are made of.
const EXCEPTIONAL: u32 = 3;

/// The parameters of a run.
#[derive(Debug, Clone)]
pub struct Load {
    /// How many destinations there are.
    pub destinations: u32,
    /// How many hubs carry them; without any, each has an agent of its own.
    pub hubs: u32,
    /// How many policies there are.
    pub policies: u32,
    /// The fewest and the most objects of a policy.
    pub objects: (u32, u32),
    /// About how many copies a destination has.
    pub copies: u32,
    /// Every so-manieth object differs per destination; 0: none does.
    pub templated_every: u32,
    /// How many policies have a RolloutPolicy: so many destinations at a time as [`Load::at_once`] says.
    pub rollouts: u32,
    /// The share of destinations for which Customizers make exceptions.
    pub exceptions: f64,
    /// The share of destinations that are away.
    pub offline: f64,
    /// The share of copies that fail.
    pub failing: f64,
    /// Fixes everything.
    pub seed: u64,
}

/// How a policy says where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// By label selector.
    Labels,
    /// By CEL over a label that few values are seen of.
    Folded,
    /// By CEL over the label that every destination has a value of its own of.
    Unfolded,
}

/// One policy of the load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyPlan {
    /// Its name; its objects carry it in the label `policy`.
    pub name: String,
    /// How many objects it has.
    pub objects: u32,
    /// The values of `bucket` that it selects.
    pub buckets: Vec<u64>,
    /// How it selects them.
    pub says: Says,
    /// It has a RolloutPolicy.
    pub staged: bool,
}

/// A pseudo-random number for a purpose (splitmix64 over what it is for).
pub fn dice(seed: u64, purpose: &str, n: u64) -> u64 {
    let mut state = seed ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in purpose.bytes() {
        state = state.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte);
    }
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn one_of<'a>(values: &[&'a str], n: u64) -> &'a str {
    values.get(n as usize).copied().unwrap_or_default()
}

impl Load {
    fn dice(&self, purpose: &str, n: u64) -> u64 {
        dice(self.seed, purpose, n)
    }

    /// Whether something of a certain share happens to the n-th.
    pub fn happens(&self, purpose: &str, n: u64, share: f64) -> bool {
        // 53 bits are what a double holds exactly.
        let unit = (self.dice(purpose, n) >> 11) as f64 / (1u64 << 53) as f64;
        unit < share
    }

    /// A hub's name.
    pub fn hub_name(hub: u32) -> String {
        format!("hub-{hub:03}")
    }

    /// A destination's name.
    pub fn destination_name(n: u32) -> String {
        format!("edge-{n:07}")
    }

    /// The destinations of a hub.
    pub fn carried(&self, hub: u32) -> std::ops::Range<u32> {
        let at = |h: u32| {
            let before = u64::from(self.destinations) * u64::from(h) / u64::from(self.hubs.max(1));
            u32::try_from(before).unwrap_or(u32::MAX)
        };
        at(hub)..at(hub + 1)
    }

    /// The join token of a destination that has an agent of its own.
    pub fn token(&self, n: u32) -> String {
        format!("{:016x}", self.dice("token", u64::from(n)))
    }

    /// The ManagedCluster of a destination.
    pub fn destination(&self, n: u32, hub: Option<u32>) -> Value {
        let at = |purpose: &str, values: u64| self.dice(purpose, u64::from(n)) % values;
        let annotations = match hub {
            Some(hub) => json!({atoll_wire::HUB_ANNOTATION: Self::hub_name(hub)}),
            None => {
                json!({join::TOKEN_HASH: join::token_hash(&self.token(n)), join::TOKEN_EXPIRES: "2100-01-01T00:00:00Z"})
            }
        };
        json!({
            "apiVersion": "cluster.open-cluster-management.io/v1",
            "kind": "ManagedCluster",
            "metadata": {
                "name": Self::destination_name(n),
                "labels": {
                    "fleet": "simulated",
                    "site": format!("site-{n:07}"),
                    "bucket": at("bucket", BUCKETS).to_string(),
                    "region": format!("region-{:02}", at("region", 20)),
                    "cloud": one_of(&["north", "south", "east", "west"], at("cloud", 4)),
                    "ring": at("ring", 10).to_string(),
                    "tier": one_of(&["gold", "silver", "bronze"], at("tier", 3)),
                    "arch": one_of(&["amd64", "arm64"], at("arch", 2)),
                    "customer": format!("customer-{:03}", at("customer", 1000)),
                    "rack": at("rack", RACKS).to_string(),
                },
                "annotations": annotations,
            },
            "spec": {"hubAcceptsClient": true},
        })
    }

    /// The policies.
    pub fn policy_plans(&self) -> Vec<PolicyPlan> {
        let (fewest, most) = self.objects;
        let share = f64::from(self.copies) / f64::from(self.policies.max(1));
        (0..self.policies)
            .map(|p| {
                // Sizes grow by a constant factor; the larger a policy, the fewer have it.
                let place = f64::from(p) / f64::from((self.policies - 1).max(1));
                let ratio = f64::from(most.max(1)) / f64::from(fewest.max(1));
                let objects = (f64::from(fewest.max(1)) * ratio.powf(place)).round();
                let wanted = (share / objects * BUCKETS as f64)
                    .round()
                    .clamp(1.0, BUCKETS as f64);
                let first = self.dice("first bucket", u64::from(p)) % BUCKETS;
                PolicyPlan {
                    name: format!("policy-{p:02}"),
                    objects: objects as u32,
                    buckets: (0..wanted as u64).map(|i| (first + i) % BUCKETS).collect(),
                    says: match p % 5 {
                        1 => Says::Folded,
                        2 => Says::Unfolded,
                        _ => Says::Labels,
                    },
                    staged: p < self.rollouts,
                }
            })
            .collect()
    }

    /// A policy as an object.
    pub fn policy(plan: &PolicyPlan, inventory: &str) -> Value {
        let list = |quote: &str| {
            let quoted = plan.buckets.iter().map(|b| format!("{quote}{b}{quote}"));
            quoted.collect::<Vec<_>>().join(", ")
        };
        let everyone = json!([{"matchLabels": {"fleet": "simulated"}}]);
        let (selectors, expressions) = match plan.says {
            Says::Labels => {
                let values: Vec<String> = plan.buckets.iter().map(u64::to_string).collect();
                let expression = json!({"key": "bucket", "operator": "In", "values": values});
                (json!([{"matchExpressions": [expression]}]), json!([]))
            }
            Says::Folded => (
                everyone,
                json!([format!("cluster.labels['bucket'] in [{}]", list("'"))]),
            ),
            Says::Unfolded => {
                let number = format!("int(cluster.labels['site'].substring(5)) % {BUCKETS}");
                (everyone, json!([format!("{number} in [{}]", list(""))]))
            }
        };
        let mut policy = json!({
            "apiVersion": "control.kubestellar.io/v1alpha1",
            "kind": "BindingPolicy",
            "metadata": {"name": plan.name},
            "spec": {
                "inventory": inventory,
                "clusterSelectors": selectors,
                "clusterExpressions": expressions,
                "downsync": [{
                    "objectSelectors": [{"matchLabels": {"policy": plan.name}}],
                    "statusCollectors": [COLLECTOR],
                }],
            },
        });
        if plan.staged {
            policy["spec"]["rolloutPolicy"] = "simulated".into();
        }
        policy
    }

    /// The StatusCollector that all policies name: copies and their ready replicas, by region.
    pub fn collector() -> Value {
        json!({
            "apiVersion": "control.kubestellar.io/v1alpha1",
            "kind": "StatusCollector",
            "metadata": {"name": COLLECTOR},
            "spec": {
                "groupBy": [{"name": "region", "def": "inventory.labels['region']"}],
                "combinedFields": [{"name": "copies", "type": "COUNT"}, {"name": "ready", "type": "SUM", "subject": "returned.status.readyReplicas"}],
                "limit": 100,
            },
        })
    }

    /// How many destinations of a policy with a RolloutPolicy change at a time.
    pub fn at_once(&self) -> u32 {
        (self.destinations / 20).max(2)
    }

    /// The RolloutPolicy. Whoever is away holds nobody up for long.
    pub fn rollout_policy(&self) -> Option<Value> {
        (self.rollouts > 0).then(|| {
            json!({
                "apiVersion": "edge.atoll.dev/v1alpha1",
                "kind": "RolloutPolicy",
                "metadata": {"name": "simulated"},
                "spec": {"settle": "0s", "maxConcurrency": self.at_once(), "onFailure": "continue", "progressDeadline": "3s"},
            })
        })
    }

    /// The Customizer that makes the exceptions: for some racks, in one object of each policy.
    pub fn customizer(&self) -> Option<Value> {
        let racks = (self.exceptions * RACKS as f64).round() as u64;
        let racks: Vec<String> = (0..racks).map(|r| r.to_string()).collect();
        (!racks.is_empty()).then(|| {
            json!({
                "apiVersion": "edge.atoll.dev/v1alpha1",
                "kind": "Customizer",
                "metadata": {"name": "racks"},
                "spec": {
                    "clusterSelectors": [{"matchExpressions": [{"key": "rack", "operator": "In", "values": racks}]}],
                    "targets": [{"objectSelectors": [{"matchLabels": {"exceptions": "yes"}}]}],
                    "patches": [{"merge": {"data": {"cooling": "liquid"}}}, {"path": "$.data.rack", "value": "cluster.labels['rack']"}],
                },
            })
        })
    }

    /// Whether an object is a workload, which has a status; the others are configuration.
    pub fn is_workload(object: u32) -> bool {
        object % 5 == 1
    }

    /// Whether an object differs per destination.
    pub fn is_templated(&self, object: u32) -> bool {
        self.templated_every > 0
            && object.is_multiple_of(self.templated_every)
            && !Self::is_workload(object)
    }

    /// An object of a policy, about 1 KB, in a version.
    pub fn object(&self, policy: &str, object: u32, version: u32) -> Value {
        let name = format!("{policy}-{object:03}");
        let filler: String = (0..12u64)
            .map(|i| format!("{:016x} ", self.dice(&name, u64::from(version) * 100 + i)))
            .collect();
        let mut metadata =
            json!({"name": name, "namespace": "simulated", "labels": {"policy": policy}});
        if object == EXCEPTIONAL {
            metadata["labels"]["exceptions"] = json!("yes");
        }
        if Self::is_workload(object) {
            return json!({
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": metadata,
                "spec": {
                    "replicas": 2,
                    "selector": {"matchLabels": {"app": name}},
                    "template": {
                        "metadata": {"labels": {"app": name}, "annotations": {"filler": filler.repeat(3)}},
                        "spec": {"containers": [{"name": "main", "image": format!("example.org/{name}:{version}")}]},
                    },
                },
            });
        }
        let mut data = json!({"version": version.to_string(), "filler": filler.repeat(4)});
        if self.is_templated(object) {
            metadata["annotations"] = json!({"control.kubestellar.io/expand-templates": "true"});
            data["site"] = json!("{{.site}} in {{.region}}");
        }
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
    }

    /// The path of an object in its workspace.
    pub fn object_path(policy: &str, object: u32) -> String {
        let kind = if Self::is_workload(object) {
            "/apis/apps/v1/namespaces/simulated/deployments"
        } else {
            "/api/v1/namespaces/simulated/configmaps"
        };
        format!("{kind}/{policy}-{object:03}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(destinations: u32) -> Load {
        Load {
            destinations,
            hubs: 7,
            policies: 20,
            objects: (10, 200),
            copies: 50,
            templated_every: 10,
            rollouts: 0,
            exceptions: 0.05,
            offline: 0.1,
            failing: 0.01,
            seed: 1,
        }
    }

    #[test]
    fn every_destination_is_carried_once() {
        let load = load(1000);
        let all: Vec<u32> = (0..load.hubs).flat_map(|h| load.carried(h)).collect();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn the_load_has_about_the_copies_asked_for() {
        let load = load(4000);
        let plans = load.policy_plans();
        assert_eq!((plans[0].objects, plans[19].objects), (10, 200));
        let mut copies = 0u64;
        for n in 0..load.destinations {
            let labels = &load.destination(n, Some(0))["metadata"]["labels"];
            let bucket: u64 = labels["bucket"]
                .as_str()
                .unwrap_or_default()
                .parse()
                .unwrap_or(0);
            let selects = |p: &PolicyPlan| match p.says {
                Says::Unfolded => p.buckets.contains(&(u64::from(n) % BUCKETS)),
                _ => p.buckets.contains(&bucket),
            };
            let has = plans.iter().filter(|p| selects(p));
            copies += has.map(|p| u64::from(p.objects)).sum::<u64>();
        }
        let each = copies / u64::from(load.destinations);
        assert!((40..=60).contains(&each), "{each}");
    }

    #[test]
    fn the_seed_decides() {
        let (a, b) = (load(10), load(10));
        assert_eq!(a.destination(3, Some(1)), b.destination(3, Some(1)));
        assert_eq!(a.object("policy-01", 10, 2), b.object("policy-01", 10, 2));
        assert_ne!(a.object("policy-01", 10, 2), a.object("policy-01", 10, 3));
    }
}
