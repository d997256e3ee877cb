//! Nobody gives what they do not have: writing a role needs its rules, or `escalate`; writing a binding needs the rules
//! of its role, or `bind`. As in Kubernetes.

use std::fmt::Write as _;
use std::sync::Arc;

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status, UserInfo, meta};
use atoll_registry::{Hook, Operation, Registry, Review};
use serde_json::Value;

use crate::kinds::{self, GROUP_MASTERS, RBAC, RBAC_RESOURCES};
use crate::rbac::{Rule, bootstrap, cluster_roles, uncovered};
use crate::rows;
use crate::shared::{Ask, Workspaces, forbidden};

/// A refusal names at most this many missing rules.
const SHOWN: usize = 20;

pub(crate) struct EscalationHook(pub(crate) Workspaces);

#[async_trait]
impl Hook for EscalationHook {
    fn resources(&self) -> Vec<GroupResource> {
        RBAC_RESOURCES
            .map(|resource| GroupResource::new(RBAC, resource))
            .into()
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let writes = matches!(review.operation, Operation::Create | Operation::Update);
        if !writes || !review.kind.acts() || review.call.user.is_in(GROUP_MASTERS) {
            return Ok(());
        }
        if review.call.resource.resource.ends_with("bindings") {
            self.binding(review)
        } else {
            self.role(review)
        }
    }
}

impl EscalationHook {
    fn role(&self, review: &Review<'_>) -> Result<(), Status> {
        let (before, after) = (review.old.unwrap_or(&Value::Null), &*review.object);
        if before.get("rules") == after.get("rules")
            && before.get("aggregationRule") == after.get("aggregationRule")
        {
            return Ok(());
        }
        let resource = review.call.resource.resource.as_str();
        let name = review.name();
        if self.has_verb(review, "escalate", resource, name) {
            return Ok(());
        }
        if after
            .get("aggregationRule")
            .is_some_and(|rule| !rule.is_null())
        {
            let all = bootstrap()
                .roles
                .get("cluster-admin")
                .map(|rules| rules.to_vec())
                .unwrap_or_default();
            if !self.missing(review, &all)?.is_empty() {
                let why = "must have cluster-admin privileges to use an aggregationRule";
                return Err(forbidden(RBAC, resource, name, why));
            }
        }
        self.check(review, &Rule::all_of(after))
    }

    fn binding(&self, review: &Review<'_>) -> Result<(), Status> {
        let (before, after) = (review.old.unwrap_or(&Value::Null), &*review.object);
        if before.get("roleRef") == after.get("roleRef")
            && before.get("subjects") == after.get("subjects")
        {
            return Ok(());
        }
        let text = |field: &str| {
            after
                .pointer("/roleRef")
                .and_then(|r| r.get(field)?.as_str())
                .unwrap_or("")
        };
        let resource = if text("kind") == "Role" {
            "roles"
        } else {
            "clusterroles"
        };
        let role = text("name");
        if self.has_verb(review, "bind", resource, role) {
            return Ok(());
        }
        let rules = self.rules_of_role(review, resource, role)?;
        self.check(review, &rules)
    }

    fn rules_of_role(
        &self,
        review: &Review<'_>,
        resource: &str,
        role: &str,
    ) -> Result<Vec<Rule>, Status> {
        let cluster = review.cluster.as_str();
        let id = kinds::rbac(resource);
        let found = if resource == "roles" {
            let stored = rows::find(&**review.snapshot, &id, cluster, review.namespace(), role)?;
            stored.map(|stored| Rule::all_of(&stored.value))
        } else {
            let local = cluster_roles(&rows::all(&**review.snapshot, &id, cluster)?);
            local
                .get(role)
                .or_else(|| bootstrap().roles.get(role))
                .map(|rules| rules.to_vec())
        };
        found.ok_or_else(|| Status::not_found(&kinds::group_resource(&id), role))
    }

    fn has_verb(&self, review: &Review<'_>, verb: &str, resource: &str, name: &str) -> bool {
        let ask = Ask {
            verb,
            group: RBAC,
            resource,
            namespace: review.namespace(),
            name,
        };
        self.0.may(&review.call.user, review.cluster.as_str(), ask)
    }

    fn missing(&self, review: &Review<'_>, rules: &[Rule]) -> Result<Vec<Rule>, Status> {
        let namespace = review.namespace().unwrap_or("");
        let owned =
            self.0
                .access
                .rules_of(&review.call.user, review.cluster.as_str(), namespace)?;
        Ok(uncovered(&owned.rules, rules))
    }

    fn check(&self, review: &Review<'_>, rules: &[Rule]) -> Result<(), Status> {
        let missing = self.missing(review, rules)?;
        if missing.is_empty() {
            return Ok(());
        }
        let resource = &review.call.resource.resource;
        Err(forbidden(
            RBAC,
            resource,
            meta::name(review.object),
            refusal(&review.call.user, &missing),
        ))
    }
}

fn refusal(user: &Arc<UserInfo>, missing: &[Rule]) -> String {
    let groups: Vec<String> = user
        .groups
        .iter()
        .map(|group| format!("{group:?}"))
        .collect();
    let mut text = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:",
        user.username,
        groups.join(" ")
    );
    for rule in missing.iter().take(SHOWN) {
        let _ = write!(text, "\n{}", rule.describe());
    }
    if missing.len() > SHOWN {
        let _ = write!(text, "\nand {} more", missing.len() - SHOWN);
    }
    text
}
