//! One RBAC rule: what it matches and what it covers.
//!
//! Pure, and on the path of every request: matching compares borrowed strings and allocates nothing.

use serde_json::Value;

/// What a subject asks to do, without saying who or where.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The verb.
    pub verb: &'a str,
    /// What it is done to.
    pub target: Target<'a>,
}

/// What a verb is done to.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A resource of the API.
    Resource {
        /// API group; empty for the core group.
        group: &'a str,
        /// Plural.
        resource: &'a str,
        /// Subresource; empty for none.
        subresource: &'a str,
        /// Object name; empty for collections.
        name: &'a str,
    },
    /// A path that is no resource.
    Path(&'a str),
}

/// A PolicyRule, parsed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rule {
    /// Verbs; `*` is all.
    pub verbs: Box<[Box<str>]>,
    /// API groups; `*` is all.
    pub groups: Box<[Box<str>]>,
    /// `resource`, `resource/subresource`, `*/subresource` or `*`.
    pub resources: Box<[Box<str>]>,
    /// Object names; empty is all.
    pub names: Box<[Box<str>]>,
    /// Paths, with `*` at the end only.
    pub paths: Box<[Box<str>]>,
}

impl Rule {
    /// From the JSON of a PolicyRule.
    pub fn from_value(value: &Value) -> Self {
        Rule {
            verbs: strings(value, "verbs"),
            groups: strings(value, "apiGroups"),
            resources: strings(value, "resources"),
            names: strings(value, "resourceNames"),
            paths: strings(value, "nonResourceURLs"),
        }
    }

    /// The rules of a Role or ClusterRole.
    pub fn all_of(role: &Value) -> Vec<Self> {
        role.get("rules")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(Self::from_value)
            .collect()
    }

    /// The JSON of a PolicyRule.
    pub fn to_value(&self) -> Value {
        let mut out = serde_json::Map::new();
        let lists = [
            ("verbs", &self.verbs),
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("resourceNames", &self.names),
            ("nonResourceURLs", &self.paths),
        ];
        for (field, list) in lists {
            if field == "verbs" || !list.is_empty() {
                out.insert(
                    field.to_owned(),
                    list.iter().map(|s| Value::from(&**s)).collect(),
                );
            }
        }
        Value::Object(out)
    }

    /// Whether the rule allows what is asked.
    pub fn allows(&self, ask: &Ask<'_>) -> bool {
        if !has_or_any(&self.verbs, ask.verb) {
            return false;
        }
        match ask.target {
            Target::Path(path) => self.paths.iter().any(|rule| path_matches(rule, path)),
            Target::Resource {
                group,
                resource,
                subresource,
                name,
            } => {
                has_or_any(&self.groups, group)
                    && self
                        .resources
                        .iter()
                        .any(|rule| resource_matches(rule, resource, subresource))
                    && (self.names.is_empty() || has(&self.names, name))
            }
        }
    }

    /// Whether everything that `asked` (a rule with one verb, group, resource, name or path) grants, this grants too.
    fn covers_atom(&self, asked: &Rule) -> bool {
        let all = |have: &[Box<str>], want: &[Box<str>]| {
            has(have, "*") || want.iter().all(|item| has(have, item))
        };
        let resources = has(&self.resources, "*")
            || asked.resources.iter().all(|want| {
                has(&self.resources, want)
                    || want.split_once('/').is_some_and(|(_, sub)| {
                        self.resources
                            .iter()
                            .any(|have| have.strip_prefix("*/").is_some_and(|have| have == sub))
                    })
            });
        let names = if asked.names.is_empty() {
            self.names.is_empty()
        } else {
            self.names.is_empty() || asked.names.iter().all(|want| has(&self.names, want))
        };
        let paths = asked.paths.iter().all(|want| {
            self.paths
                .iter()
                .any(|have| have == want || path_matches(have, want))
        });
        all(&self.verbs, &asked.verbs)
            && all(&self.groups, &asked.groups)
            && resources
            && names
            && paths
    }

    /// The rule taken apart into rules of one verb and one target each.
    fn atoms(&self) -> Vec<Rule> {
        let one = |s: &str| -> Box<[Box<str>]> { Box::new([s.into()]) };
        let mut atoms = Vec::new();
        for verb in &self.verbs {
            for path in &self.paths {
                atoms.push(Rule {
                    verbs: one(verb),
                    paths: one(path),
                    ..Rule::default()
                });
            }
            for group in &self.groups {
                for resource in &self.resources {
                    let atom = Rule {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        ..Rule::default()
                    };
                    if self.names.is_empty() {
                        atoms.push(atom);
                    } else {
                        atoms.extend(self.names.iter().map(|name| Rule {
                            names: one(name),
                            ..atom.clone()
                        }));
                    }
                }
            }
        }
        atoms
    }

    /// How a rule is written in a refusal to grant it.
    pub fn describe(&self) -> String {
        let mut parts = Vec::new();
        let lists = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.paths),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        for (field, list) in lists {
            if !list.is_empty() {
                let items: Vec<String> = list.iter().map(|item| format!("{item:?}")).collect();
                parts.push(format!("{field}:[{}]", items.join(" ")));
            }
        }
        format!("{{{}}}", parts.join(", "))
    }

    /// Bytes held, for cache budgets.
    pub(crate) fn weight(&self) -> usize {
        let lists = [
            &self.verbs,
            &self.groups,
            &self.resources,
            &self.names,
            &self.paths,
        ];
        let texts: usize = lists
            .iter()
            .flat_map(|list| list.iter())
            .map(|text| text.len() + 24)
            .sum();
        size_of::<Rule>() + texts
    }
}

/// The parts of `asked` that `owned` does not cover, smallest pieces first; empty when it covers everything.
pub fn uncovered(owned: &[Rule], asked: &[Rule]) -> Vec<Rule> {
    let mut missing: Vec<Rule> = Vec::new();
    for atom in asked.iter().flat_map(Rule::atoms) {
        if !owned.iter().any(|rule| rule.covers_atom(&atom)) && !missing.contains(&atom) {
            missing.push(atom);
        }
    }
    missing
}

fn strings(value: &Value, field: &str) -> Box<[Box<str>]> {
    let items = value
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    items.filter_map(Value::as_str).map(Box::from).collect()
}

fn has(list: &[Box<str>], item: &str) -> bool {
    list.iter().any(|have| &**have == item)
}

fn has_or_any(list: &[Box<str>], item: &str) -> bool {
    list.iter().any(|have| &**have == "*" || &**have == item)
}

fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == "*" {
        return true;
    }
    match rule.split_once('/') {
        None => subresource.is_empty() && rule == resource,
        Some((of, sub)) => {
            !subresource.is_empty() && sub == subresource && (of == "*" || of == resource)
        }
    }
}

fn path_matches(rule: &str, path: &str) -> bool {
    rule == "*"
        || rule == path
        || rule
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn resource<'a>(verb: &'a str, group: &'a str, resource: &'a str, name: &'a str) -> Ask<'a> {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Ask {
            verb,
            target: Target::Resource {
                group,
                resource,
                subresource,
                name,
            },
        }
    }

    #[test]
    fn a_rule_matches_verb_group_resource_and_name_together() {
        let rule = |value: Value| Rule::from_value(&value);
        let pods =
            rule(json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}));
        let log = rule(json!({"verbs": ["*"], "apiGroups": [""], "resources": ["pods/log"]}));
        let scale =
            rule(json!({"verbs": ["update"], "apiGroups": ["*"], "resources": ["*/scale"]}));
        let named = rule(
            json!({"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"]}),
        );
        let all = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        let rows = [
            (&pods, resource("get", "", "pods", "x"), true),
            (&pods, resource("delete", "", "pods", "x"), false),
            (&pods, resource("get", "apps", "pods", "x"), false),
            (&pods, resource("get", "", "pods/log", "x"), false),
            (&log, resource("get", "", "pods/log", "x"), true),
            (&log, resource("get", "", "pods", "x"), false),
            (
                &scale,
                resource("update", "apps", "deployments/scale", "x"),
                true,
            ),
            (
                &scale,
                resource("update", "apps", "deployments", "x"),
                false,
            ),
            (
                &scale,
                resource("update", "apps", "deployments/status", "x"),
                false,
            ),
            (&named, resource("get", "", "secrets", "a"), true),
            (&named, resource("get", "", "secrets", "b"), false),
            (&named, resource("get", "", "secrets", ""), false),
            (&all, resource("anything", "g", "r/s", "n"), true),
            (
                &all,
                Ask {
                    verb: "get",
                    target: Target::Path("/metrics"),
                },
                false,
            ),
        ];
        for (rule, ask, expected) in rows {
            assert_eq!(rule.allows(&ask), expected, "{rule:?} {ask:?}");
        }
    }

    #[test]
    fn paths_match_exactly_or_by_a_star_at_the_end() {
        let rule =
            Rule::from_value(&json!({"verbs": ["get"], "nonResourceURLs": ["/version", "/api/*"]}));
        for (path, expected) in [
            ("/version", true),
            ("/version/", false),
            ("/api/v1", true),
            ("/api", false),
            ("/apis/x", false),
        ] {
            assert_eq!(
                rule.allows(&Ask {
                    verb: "get",
                    target: Target::Path(path)
                }),
                expected,
                "{path}"
            );
        }
    }

    #[test]
    fn nobody_covers_more_than_they_have() {
        let rules = |value: Value| -> Vec<Rule> {
            value
                .as_array()
                .unwrap()
                .iter()
                .map(Rule::from_value)
                .collect()
        };
        let star = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
        let read =
            json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "services"]}]);
        let one = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}]);
        let split = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
            {"verbs": ["get"], "apiGroups": [""], "resources": ["services"]}]);
        let scale = json!([{"verbs": ["get"], "apiGroups": ["*"], "resources": ["*/scale"]}]);
        let deploy_scale =
            json!([{"verbs": ["get"], "apiGroups": ["apps"], "resources": ["deployments/scale"]}]);
        let paths = json!([{"verbs": ["get"], "nonResourceURLs": ["/a/*"]}]);
        let path = json!([{"verbs": ["get"], "nonResourceURLs": ["/a/b"]}]);
        let rows = [
            (&star, &read, 0),
            (&read, &star, 1),
            (&read, &split, 0),
            (&split, &read, 0),
            (&read, &one, 0),
            (&one, &read, 2),
            (&scale, &deploy_scale, 0),
            (&deploy_scale, &scale, 1),
            (&paths, &path, 0),
            (&path, &paths, 1),
            (&star, &path, 1),
            (&json!([]), &read, 2),
            (&json!([]), &json!([]), 0),
        ];
        for (owned, asked, missing) in rows {
            assert_eq!(
                uncovered(&rules(owned.clone()), &rules(asked.clone())).len(),
                missing,
                "{owned} {asked}"
            );
        }
    }

    #[test]
    fn rules_survive_a_round_trip() {
        let value = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]});
        assert_eq!(Rule::from_value(&value).to_value(), value);
    }
}
