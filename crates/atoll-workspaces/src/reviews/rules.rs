//! SelfSubjectRulesReview: everything the caller may do in a namespace, as rules.

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status};
use atoll_registry::{Call, Registry, Virtual};
use serde_json::{Value, json};

use super::AUTHORIZATION;
use crate::rbac::Rule;
use crate::shared::Workspaces;

pub(crate) struct RulesReviews(pub(crate) Workspaces);

#[async_trait]
impl Virtual for RulesReviews {
    fn resources(&self) -> Vec<(GroupResource, Option<String>)> {
        vec![(
            GroupResource::new(AUTHORIZATION, "selfsubjectrulesreviews"),
            None,
        )]
    }

    async fn create(&self, _: &Registry, call: &Call, mut object: Value) -> Result<Value, Status> {
        let namespace = object
            .pointer("/spec/namespace")
            .and_then(Value::as_str)
            .unwrap_or("");
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let Some(cluster) = call.clusters.one() else {
            return Err(Status::bad_request(
                "rules are reviewed in one logical cluster",
            ));
        };
        let granted = self
            .0
            .access
            .rules_of(&call.user, cluster.as_str(), namespace)?;
        let (resources, paths) = shown(&granted.rules);
        object["status"] =
            json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": false});
        Ok(object)
    }
}

/// Rules about resources and rules about paths, each in the shape of the review's status.
fn shown(rules: &[Rule]) -> (Vec<Value>, Vec<Value>) {
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in rules {
        let mut value = rule.to_value();
        if rule.paths.is_empty() {
            resources.push(value);
        } else if let Some(map) = value.as_object_mut() {
            map.retain(|field, _| field == "verbs" || field == "nonResourceURLs");
            paths.push(value);
        }
    }
    (resources, paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::bootstrap;
    use atoll_kube::UserInfo;

    #[test]
    fn somebody_without_rights_may_only_ask_who_they_are_and_what_they_may() {
        let user = UserInfo::new("u", ["system:authenticated"]);
        let rules: Vec<Rule> = bootstrap()
            .grants
            .of(&user, "default")
            .flat_map(|grant| grant.rules.iter().cloned())
            .collect();
        let (resources, paths) = shown(&rules);
        assert_eq!(
            resources,
            [
                json!({"verbs": ["create"], "apiGroups": ["authorization.k8s.io"],
                    "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]}),
                json!({"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]}),
            ]
        );
        assert!(paths.iter().all(|rule| rule["verbs"] == json!(["get"])));
    }
}
