//! Everything a user may do, as rules: for SelfSubjectRulesReview and for the check that nobody grants what they lack.

use std::sync::Arc;

use atoll_kube::{Status, UserInfo};
use atoll_registry::ClusterKind;

use super::{Access, Level, effective};
use crate::rbac::{Rule, bootstrap};

/// The rules that count for a user in one place.
#[derive(Clone, Debug, Default)]
pub struct GrantedRules {
    /// Bootstrap policy first, then the cluster's own, each source once and in order.
    pub rules: Vec<Rule>,
}

impl Access {
    /// The rules granted to a user in a logical cluster and namespace (empty: at the cluster scope).
    pub fn rules_of(
        &self,
        user: &UserInfo,
        cluster: &str,
        namespace: &str,
    ) -> Result<GrantedRules, Status> {
        let mut granted = GrantedRules::default();
        let Some(facts) = self.tree.facts(cluster)? else {
            return Ok(granted);
        };
        let effective = effective(user, cluster);
        let mut seen: Vec<Arc<[Rule]>> = Vec::new();
        let mut add = |rules: &Arc<[Rule]>| {
            if !seen.iter().any(|have| Arc::ptr_eq(have, rules)) {
                seen.push(rules.clone());
            }
        };
        if facts.kind == ClusterKind::Payload {
            for user in effective.users() {
                if let Some(level) = self.payload_level(user, &facts)? {
                    granted.rules.extend(level_rules(level));
                }
            }
            return Ok(granted);
        }
        // Read anew: what is granted must be known exactly where it decides what may be granted on.
        let compiled = self.compiled.load(cluster, || self.compile(cluster))?;
        for user in effective.users() {
            bootstrap()
                .grants
                .of(user, namespace)
                .for_each(|grant| add(&grant.rules));
            if let Some(compiled) = &compiled {
                compiled
                    .grants
                    .of(user, namespace)
                    .for_each(|grant| add(&grant.rules));
            }
        }
        granted.rules = seen
            .iter()
            .flat_map(|rules| rules.iter().cloned())
            .collect();
        Ok(granted)
    }
}

/// What a level allows, as nearly as rules can say it (they cannot say "all but").
fn level_rules(level: Level) -> Vec<Rule> {
    let list =
        |items: &[&str]| -> Box<[Box<str>]> { items.iter().map(|item| Box::from(*item)).collect() };
    let verbs: &[&str] = match level {
        Level::Admin => &["*"],
        Level::Edit => &[
            "get",
            "list",
            "watch",
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection",
        ],
        Level::View => &["get", "list", "watch"],
    };
    vec![
        Rule {
            verbs: list(verbs),
            groups: list(&["*"]),
            resources: list(&["*"]),
            ..Rule::default()
        },
        Rule {
            verbs: list(&["get"]),
            paths: list(&["*"]),
            ..Rule::default()
        },
    ]
}
