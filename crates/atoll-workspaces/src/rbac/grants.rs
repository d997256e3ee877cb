//! The compiled RBAC of one logical cluster: subject -> what is granted, by which binding.
//!
//! Immutable once built. Bindings are resolved to their role's rules when compiling, roles shared among bindings, so a
//! decision is one lookup for the user's name and one for each group, and then a walk over rules.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atoll_kube::LabelSelector;
use atoll_kube::UserInfo;
use serde_json::Value;

use super::rule::{Ask, Rule};

/// One binding seen from one of its subjects.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Which binding gives which role to whom, worded as Kubernetes words it.
    pub source: Arc<str>,
    /// The role's rules.
    pub rules: Arc<[Rule]>,
}

/// What the RBAC objects of a logical cluster grant.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    cluster: Subjects,
    namespaces: HashMap<Box<str>, Subjects>,
    weight: usize,
}

#[derive(Clone, Debug, Default)]
struct Subjects {
    users: HashMap<Box<str>, Vec<Grant>>,
    groups: HashMap<Box<str>, Vec<Grant>>,
}

impl Subjects {
    fn of<'a, 'u>(&'a self, user: &'u UserInfo) -> impl Iterator<Item = &'a Grant> + use<'a, 'u> {
        let by_name = self.users.get(user.username.as_str()).into_iter().flatten();
        let by_group = user
            .groups
            .iter()
            .filter_map(|group| self.groups.get(group.as_str()))
            .flatten();
        by_name.chain(by_group)
    }
}

impl Grants {
    /// The first grant that allows what a user asks in a namespace (empty: at the cluster scope).
    pub fn find(&self, user: &UserInfo, namespace: &str, ask: &Ask<'_>) -> Option<&Grant> {
        self.of(user, namespace)
            .find(|grant| grant.rules.iter().any(|rule| rule.allows(ask)))
    }

    /// Everything granted to a user that counts in a namespace (empty: at the cluster scope only).
    pub fn of<'a, 'u>(
        &'a self,
        user: &'u UserInfo,
        namespace: &str,
    ) -> impl Iterator<Item = &'a Grant> + use<'a, 'u> {
        let here = (!namespace.is_empty())
            .then(|| self.namespaces.get(namespace))
            .flatten();
        self.cluster
            .of(user)
            .chain(here.into_iter().flat_map(move |subjects| subjects.of(user)))
    }

    /// Bytes held, for cache budgets.
    pub fn weight(&self) -> usize {
        self.weight
    }
}

/// Named ClusterRoles with their effective rules, aggregation done.
pub type ClusterRoles = BTreeMap<String, Arc<[Rule]>>;

/// The effective rules of ClusterRoles: their own, or those of the roles an aggregationRule selects, which may be
/// aggregated themselves.
pub fn cluster_roles<'a>(roles: impl IntoIterator<Item = &'a Value>) -> ClusterRoles {
    let roles: Vec<&Value> = roles.into_iter().collect();
    let mut effective = ClusterRoles::new();
    for role in &roles {
        let mut rules = Vec::new();
        collect(role, &roles, &mut Vec::new(), &mut rules);
        effective.insert(name(role).to_owned(), rules.into());
    }
    effective
}

/// Adds a role's effective rules. `path` holds the roles being aggregated, so that a circle ends.
fn collect<'a>(
    role: &'a Value,
    roles: &[&'a Value],
    path: &mut Vec<&'a str>,
    rules: &mut Vec<Rule>,
) {
    let selectors = role
        .pointer("/aggregationRule/clusterRoleSelectors")
        .and_then(Value::as_array);
    let Some(selectors) = selectors else {
        for rule in Rule::all_of(role) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        return;
    };
    let selectors: Vec<LabelSelector> = selectors
        .iter()
        .filter_map(|s| LabelSelector::from_value(s, "aggregationRule").ok())
        .collect();
    path.push(name(role));
    for candidate in roles {
        let label = |key: &str| {
            candidate
                .pointer("/metadata/labels")
                .and_then(|labels| labels.get(key)?.as_str())
        };
        if !path.contains(&name(candidate))
            && selectors.iter().any(|selector| selector.matches(label))
        {
            collect(candidate, roles, path, rules);
        }
    }
    path.pop();
}

/// Compiles the bindings of a logical cluster. `fallback` answers for ClusterRoles that the cluster itself lacks.
pub fn compile<'a>(
    cluster_roles: &ClusterRoles,
    fallback: Option<&ClusterRoles>,
    roles: impl IntoIterator<Item = &'a Value>,
    cluster_bindings: impl IntoIterator<Item = &'a Value>,
    bindings: impl IntoIterator<Item = &'a Value>,
) -> Grants {
    let find_cluster_role = |name: &str| {
        cluster_roles
            .get(name)
            .or_else(|| fallback.and_then(|fallback| fallback.get(name)))
            .cloned()
    };
    let mut local: HashMap<(&str, &str), Arc<[Rule]>> = HashMap::new();
    for role in roles {
        local.insert((namespace(role), name(role)), Rule::all_of(role).into());
    }
    let mut grants = Grants::default();
    for binding in cluster_bindings {
        if let Some(rules) = find_cluster_role(role_ref(binding).1) {
            let title = format!("ClusterRoleBinding {:?}", name(binding));
            add(
                &mut grants.cluster,
                &mut grants.weight,
                &title,
                binding,
                "",
                &rules,
            );
        }
    }
    for binding in bindings {
        let (kind, role) = role_ref(binding);
        let place = namespace(binding);
        let rules = if kind == "Role" {
            local.get(&(place, role)).cloned()
        } else {
            find_cluster_role(role)
        };
        if let Some(rules) = rules {
            let title = format!("RoleBinding {:?}", format!("{}/{place}", name(binding)));
            let subjects = grants.namespaces.entry(place.into()).or_default();
            add(subjects, &mut grants.weight, &title, binding, place, &rules);
        }
    }
    let shared: usize = cluster_roles
        .values()
        .chain(local.values())
        .flat_map(|rules| rules.iter())
        .map(Rule::weight)
        .sum();
    grants.weight += shared + size_of::<Grants>() + grants.namespaces.len() * 64;
    grants
}

fn add(
    subjects: &mut Subjects,
    weight: &mut usize,
    title: &str,
    binding: &Value,
    place: &str,
    rules: &Arc<[Rule]>,
) {
    let (kind, role) = role_ref(binding);
    for subject in binding
        .get("subjects")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let text = |field: &str| subject.get(field).and_then(Value::as_str).unwrap_or("");
        let who = text("name");
        let (map, key, shown) = match text("kind") {
            "User" => (&mut subjects.users, who.to_owned(), format!("User {who:?}")),
            "Group" => (
                &mut subjects.groups,
                who.to_owned(),
                format!("Group {who:?}"),
            ),
            "ServiceAccount" => {
                let home = if text("namespace").is_empty() {
                    place
                } else {
                    text("namespace")
                };
                let user = format!("system:serviceaccount:{home}:{who}");
                (
                    &mut subjects.users,
                    user,
                    format!("ServiceAccount {:?}", format!("{who}/{home}")),
                )
            }
            _ => continue,
        };
        let source: Arc<str> = format!("{title} of {kind} {role:?} to {shown}").into();
        *weight += source.len() + key.len() + 96;
        map.entry(key.into()).or_default().push(Grant {
            source,
            rules: rules.clone(),
        });
    }
}

fn role_ref(binding: &Value) -> (&str, &str) {
    let text = |field: &str| {
        binding
            .pointer("/roleRef")
            .and_then(|r| r.get(field)?.as_str())
            .unwrap_or("")
    };
    (text("kind"), text("name"))
}

fn name(object: &Value) -> &str {
    object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or("")
}

fn namespace(object: &Value) -> &str {
    object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::Target;
    use serde_json::json;

    fn get<'a>(resource: &'a str) -> Ask<'a> {
        Ask {
            verb: "get",
            target: Target::Resource {
                group: "",
                resource,
                subresource: "",
                name: "x",
            },
        }
    }

    fn role(name: &str, namespace: Option<&str>, labels: Value, resource: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": namespace, "labels": labels},
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]})
    }

    fn binding(
        name: &str,
        namespace: Option<&str>,
        kind: &str,
        role: &str,
        subjects: Value,
    ) -> Value {
        json!({"metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}, "subjects": subjects})
    }

    #[test]
    fn bindings_reach_exactly_their_subjects_in_their_scope() {
        let cluster = [role("pods", None, json!({}), "pods")];
        let locals = [role("maps", Some("a"), json!({}), "configmaps")];
        let user = json!([{"kind": "User", "name": "u"}]);
        let group = json!([{"kind": "Group", "name": "g"}]);
        let account = json!([{"kind": "ServiceAccount", "name": "s", "namespace": "b"}]);
        let cluster_bindings = [binding("all", None, "ClusterRole", "pods", group.clone())];
        let bindings = [
            binding("one", Some("a"), "Role", "maps", user.clone()),
            binding("two", Some("b"), "ClusterRole", "pods", account),
            binding("dangling", Some("b"), "Role", "maps", user),
            binding("theirs", Some("a"), "ClusterRole", "secrets", group),
        ];
        let fallback = cluster_roles(&[role("secrets", None, json!({}), "secrets")]);
        let grants = compile(
            &cluster_roles(&cluster),
            Some(&fallback),
            &locals,
            &cluster_bindings,
            &bindings,
        );
        let user = |name: &str, groups: &[&str]| UserInfo::new(name, groups.iter().copied());
        let rows = [
            (
                user("u", &[]),
                "a",
                "configmaps",
                Some("RoleBinding \"one/a\" of Role \"maps\" to User \"u\""),
            ),
            (user("u", &[]), "b", "configmaps", None),
            (user("u", &[]), "", "configmaps", None),
            (
                user("x", &["g"]),
                "",
                "pods",
                Some("ClusterRoleBinding \"all\" of ClusterRole \"pods\" to Group \"g\""),
            ),
            (
                user("x", &["g"]),
                "b",
                "pods",
                Some("ClusterRoleBinding \"all\" of ClusterRole \"pods\" to Group \"g\""),
            ),
            (
                user("x", &["g"]),
                "a",
                "secrets",
                Some("RoleBinding \"theirs/a\" of ClusterRole \"secrets\" to Group \"g\""),
            ),
            (user("g", &[]), "", "pods", None),
            (
                user("system:serviceaccount:b:s", &[]),
                "b",
                "pods",
                Some("RoleBinding \"two/b\" of ClusterRole \"pods\" to ServiceAccount \"s/b\""),
            ),
            (user("system:serviceaccount:b:s", &[]), "a", "pods", None),
        ];
        for (user, namespace, resource, expected) in rows {
            let found = grants
                .find(&user, namespace, &get(resource))
                .map(|grant| &*grant.source);
            assert_eq!(found, expected, "{user:?} {namespace} {resource}");
        }
    }

    #[test]
    fn aggregated_roles_hold_what_their_selectors_select() {
        let mut whole = role("whole", None, json!({"to": "whole"}), "own");
        whole["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {"to": "whole"}}]});
        let mut outer = role("outer", None, json!({"to": "whole"}), "own");
        outer["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {"to": "whole"}}]});
        let roles = [
            whole,
            outer,
            role("in", None, json!({"to": "whole"}), "pods"),
            role("same", None, json!({"to": "whole"}), "pods"),
            role("out", None, json!({"to": "other"}), "secrets"),
        ];
        let effective = cluster_roles(&roles);
        let resources: Vec<&str> = effective["whole"]
            .iter()
            .map(|rule| &*rule.resources[0])
            .collect();
        assert_eq!(resources, ["pods"]);
        assert_eq!(effective["outer"], effective["whole"], "a circle ends");
    }
}
