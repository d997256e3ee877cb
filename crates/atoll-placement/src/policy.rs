//! A BindingPolicy, parsed once: which objects and which destinations it binds, and how.
//!
//! KubeStellar's spec unmodified, plus our optional fields. Parsing is total: whatever is wrong is said with the path of the field, all of it at once.

use std::collections::BTreeSet;

use atoll_kube::names;
use atoll_kube::selector::LabelSelector;
use atoll_kube::status::FieldError;
use serde_json::Value;

use crate::choose::spec::Where;
use crate::clean;
use crate::fields::{flag, list, names, text};
use crate::upsync::{UPSYNCED_FROM, Upsync};

/// What happens to copies when an object or the policy is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeletionPolicy {
    /// They are removed.
    #[default]
    Remove,
    /// They stay and stop being ours.
    Orphan,
}

/// How many copies one change may remove before it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalLimit {
    /// So many copies.
    Count(u64),
    /// So many percent of the policy's copies.
    Percent(u8),
}

/// How matching objects travel. Clauses that match one object are joined: booleans by or, collectors by union.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modulation {
    /// Create copies and never change them.
    pub create_only: bool,
    /// Take over objects that are there already.
    pub adopt: bool,
    /// Return the status when there is exactly one copy.
    pub want_singleton: bool,
    /// Return an aggregate when there are several.
    pub want_multi: bool,
    /// Names of StatusCollectors.
    pub collectors: BTreeSet<String>,
}

impl Modulation {
    /// Joins another clause's modulation into this one.
    pub fn join(&mut self, other: &Modulation) {
        self.create_only |= other.create_only;
        self.adopt |= other.adopt;
        self.want_singleton |= other.want_singleton;
        self.want_multi |= other.want_multi;
        self.collectors.extend(other.collectors.iter().cloned());
    }
}

/// The tests of one clause: all must hold; within one, any entry; an empty one holds for all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObjectTest {
    /// `None` is any group.
    pub api_group: Option<String>,
    /// Plural names; `*` is any.
    pub resources: Vec<String>,
    /// Namespaces; `*` is any, and the only entry that lets a cluster-scoped object through.
    pub namespaces: Vec<String>,
    /// Selectors over the labels of the object's Namespace; a cluster-scoped object needs an empty one among them.
    pub namespace_selectors: Vec<LabelSelector>,
    /// Selectors over the object's labels.
    pub object_selectors: Vec<LabelSelector>,
    /// Names; `*` is any.
    pub object_names: Vec<String>,
}

/// What a clause tests: the identity and labels of an object, and of its namespace.
pub struct Candidate<'a> {
    /// API group.
    pub group: &'a str,
    /// Plural resource.
    pub resource: &'a str,
    /// Namespace, `None` for a cluster-scoped object.
    pub namespace: Option<&'a str>,
    /// Name.
    pub name: &'a str,
    /// The object's labels.
    pub labels: &'a dyn Fn(&str) -> Option<String>,
    /// The labels of its Namespace object.
    pub namespace_labels: &'a dyn Fn(&str) -> Option<String>,
}

/// A clause of `downsync`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clause {
    /// Which objects.
    pub test: ObjectTest,
    /// How they travel.
    pub modulation: Modulation,
}

/// A parsed BindingPolicy.spec.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Policy {
    /// Which destinations: any of them.
    pub clusters: Vec<LabelSelector>,
    /// What else it asks of destinations.
    pub asked: Where,
    /// Which objects: any of them.
    pub downsync: Vec<Clause>,
    /// The inventory workspace's path, when named.
    pub inventory: Option<String>,
    /// Which objects that are born at its destinations come to the center.
    pub upsync: Vec<Upsync>,
    /// Nothing is changed at any destination while true.
    pub suspend: bool,
    /// How much one change may remove.
    pub max_removals: Option<RemovalLimit>,
    /// What deleting does.
    pub deletion: DeletionPolicy,
    /// The token of a held removal that may go on.
    pub confirm_removal: Option<String>,
    /// The RolloutPolicy of its workspace by which changes reach destinations; `None`: at once.
    pub rollout: Option<String>,
}

impl Policy {
    /// Parses `spec`. All that is wrong is reported, each with its path.
    pub fn parse(spec: &Value) -> Result<Policy, Vec<FieldError>> {
        let mut errors = Vec::new();
        let mut policy = Policy::default();
        if !spec.is_object() && !spec.is_null() {
            return Err(vec![FieldError::type_invalid(
                "spec",
                spec.clone(),
                "must be an object",
            )]);
        }
        policy.clusters = selectors(spec, "clusterSelectors", "spec", &mut errors);
        policy.asked = Where::parse(spec, &mut errors);
        for (i, clause) in list(spec, "downsync", "spec", &mut errors)
            .iter()
            .enumerate()
        {
            policy.downsync.push(parse_clause(
                clause,
                &format!("spec.downsync[{i}]"),
                &mut errors,
            ));
        }
        for (i, item) in list(spec, "upsync", "spec", &mut errors).iter().enumerate() {
            let path = format!("spec.upsync[{i}]");
            policy.upsync.push(Upsync::parse(item, &path, &mut errors));
        }
        policy.inventory = text(spec, "inventory", "spec", &mut errors);
        if let Some(path) = &policy.inventory
            && !path
                .split(':')
                .all(|name| names::is_dns1123_label(name).is_ok())
        {
            errors.push(FieldError::invalid(
                "spec.inventory",
                path.clone(),
                "must be the path of a workspace: lower-case names joined by colons, such as \"root:inventory\"",
            ));
        }
        policy.confirm_removal = text(spec, "confirmRemoval", "spec", &mut errors);
        policy.rollout = text(spec, "rolloutPolicy", "spec", &mut errors).filter(|n| !n.is_empty());
        if let Some(name) = &policy.rollout
            && let Err(why) = names::is_dns1123_subdomain(name)
        {
            errors.push(FieldError::invalid("spec.rolloutPolicy", name.clone(), why));
        }
        policy.suspend = flag(spec, "suspend", "spec", &mut errors);
        policy.max_removals = match spec.get("maxRemovals") {
            None | Some(Value::Null) => None,
            Some(value) => match removal_limit(value) {
                Some(limit) => Some(limit),
                None => {
                    errors.push(FieldError::invalid(
                        "spec.maxRemovals",
                        value.clone(),
                        "must be a number of copies (10) or a share of them (\"50%\")",
                    ));
                    None
                }
            },
        };
        match spec.get("deletionPolicy").map(|v| (v, v.as_str())) {
            None | Some((Value::Null, _) | (_, Some("" | "Remove"))) => {}
            Some((_, Some("Orphan"))) => policy.deletion = DeletionPolicy::Orphan,
            Some((value, _)) => {
                errors.push(FieldError::not_supported(
                    "spec.deletionPolicy",
                    value.clone(),
                    ["Orphan", "Remove"],
                ));
            }
        }
        if errors.is_empty() {
            Ok(policy)
        } else {
            Err(errors)
        }
    }

    /// The joined modulation of the clauses that match an object; `None` when none does.
    pub fn select(&self, candidate: &Candidate<'_>) -> Option<Modulation> {
        let came_up = (candidate.labels)(UPSYNCED_FROM).is_some();
        if came_up || !clean::travels(candidate.group, candidate.resource) {
            return None;
        }
        let mut found: Option<Modulation> = None;
        for clause in self
            .downsync
            .iter()
            .filter(|clause| clause.test.holds(candidate))
        {
            found
                .get_or_insert_with(Modulation::default)
                .join(&clause.modulation);
        }
        found
    }

    /// The clauses that match an object, by their index.
    pub fn matching(&self, candidate: &Candidate<'_>) -> Vec<usize> {
        let clauses = self.downsync.iter().enumerate();
        let matching = clauses.filter(|(_, clause)| clause.test.holds(candidate));
        matching.map(|(at, _)| at).collect()
    }

    /// Whether label selectors alone say which destinations.
    pub fn asks_labels_only(&self) -> bool {
        self.asked == Where::default()
    }

    /// Whether a change of a Namespace's labels can change what is selected.
    pub fn reads_namespace_labels(&self) -> bool {
        self.downsync.iter().any(|c| {
            c.test
                .namespace_selectors
                .iter()
                .any(|s| !s.is_everything())
        })
    }
}

impl ObjectTest {
    /// Whether the object passes every test.
    pub fn holds(&self, candidate: &Candidate<'_>) -> bool {
        let listed = |list: &[String], value: &str| {
            list.is_empty() || list.iter().any(|e| e == "*" || e == value)
        };
        let labelled = |selectors: &[LabelSelector], labels: &dyn Fn(&str) -> Option<String>| {
            selectors.is_empty() || selectors.iter().any(|s| matches(s, labels))
        };
        self.api_group
            .as_deref()
            .is_none_or(|group| group == candidate.group)
            && listed(&self.resources, candidate.resource)
            && listed(&self.object_names, candidate.name)
            && match candidate.namespace {
                Some(namespace) => {
                    listed(&self.namespaces, namespace)
                        && labelled(&self.namespace_selectors, candidate.namespace_labels)
                }
                None => {
                    (self.namespaces.is_empty() || self.namespaces.iter().any(|n| n == "*"))
                        && (self.namespace_selectors.is_empty()
                            || self
                                .namespace_selectors
                                .iter()
                                .any(LabelSelector::is_everything))
                }
            }
            && labelled(&self.object_selectors, candidate.labels)
    }

    /// The field of the first test that an object does not pass; `None` when it passes all.
    pub fn refusal(&self, candidate: &Candidate<'_>) -> Option<&'static str> {
        let only = |test: ObjectTest| test.holds(candidate);
        let none = ObjectTest::default;
        let tests = [
            (
                "apiGroup",
                ObjectTest {
                    api_group: self.api_group.clone(),
                    ..none()
                },
            ),
            (
                "resources",
                ObjectTest {
                    resources: self.resources.clone(),
                    ..none()
                },
            ),
            (
                "namespaces",
                ObjectTest {
                    namespaces: self.namespaces.clone(),
                    ..none()
                },
            ),
            (
                "namespaceSelectors",
                ObjectTest {
                    namespace_selectors: self.namespace_selectors.clone(),
                    ..none()
                },
            ),
            (
                "objectNames",
                ObjectTest {
                    object_names: self.object_names.clone(),
                    ..none()
                },
            ),
            (
                "objectSelectors",
                ObjectTest {
                    object_selectors: self.object_selectors.clone(),
                    ..none()
                },
            ),
        ];
        let failed = tests.into_iter().find(|(_, test)| !only(test.clone()));
        failed.map(|(field, _)| field)
    }

    /// Whether any field discriminates.
    pub fn discriminates(&self) -> bool {
        let some = |list: &[String]| !list.is_empty() && !list.iter().any(|e| e == "*");
        let selects = |list: &[LabelSelector]| {
            !list.is_empty() && !list.iter().any(LabelSelector::is_everything)
        };
        self.api_group.is_some()
            || some(&self.resources)
            || some(&self.namespaces)
            || some(&self.object_names)
            || selects(&self.namespace_selectors)
            || selects(&self.object_selectors)
    }
}

/// Tests a selector with owned label values.
fn matches(selector: &LabelSelector, labels: &dyn Fn(&str) -> Option<String>) -> bool {
    // The selector borrows what it compares; collect what it asks for first.
    let held: Vec<(&str, Option<String>)> = selector
        .requirements
        .iter()
        .map(|r| (r.key.as_str(), labels(&r.key)))
        .collect();
    selector.matches(|key| {
        held.iter()
            .find(|(k, _)| *k == key)
            .and_then(|(_, v)| v.as_deref())
    })
}

/// The tests of a clause, of a policy's or of anything else that chooses objects the same way.
pub(crate) fn parse_test(value: &Value, path: &str, errors: &mut Vec<FieldError>) -> ObjectTest {
    let mut test = ObjectTest::default();
    if !value.is_object() {
        errors.push(FieldError::type_invalid(
            path,
            value.clone(),
            "must be an object",
        ));
        return test;
    }
    test.api_group = match value.get("apiGroup") {
        None | Some(Value::Null) => None,
        Some(Value::String(group)) => Some(group.clone()),
        Some(other) => {
            errors.push(FieldError::type_invalid(
                format!("{path}.apiGroup"),
                other.clone(),
                "must be a string",
            ));
            None
        }
    };
    test.resources = names(value, "resources", path, errors);
    test.namespaces = names(value, "namespaces", path, errors);
    test.object_names = names(value, "objectNames", path, errors);
    test.namespace_selectors = selectors(value, "namespaceSelectors", path, errors);
    test.object_selectors = selectors(value, "objectSelectors", path, errors);
    if !test.discriminates() && errors.is_empty() && !selects_all_on_purpose(value) {
        errors.push(FieldError::invalid(
            path,
            value.clone(),
            "every object would match: at least one test must discriminate (to mean it, write objectSelectors: [{}])",
        ));
    }
    test
}

fn parse_clause(value: &Value, path: &str, errors: &mut Vec<FieldError>) -> Clause {
    let mut clause = Clause {
        test: parse_test(value, path, errors),
        modulation: Modulation::default(),
    };
    let modulation = &mut clause.modulation;
    modulation.create_only = flag(value, "createOnly", path, errors);
    modulation.want_singleton = flag(value, "wantSingletonReportedState", path, errors);
    modulation.want_multi = flag(value, "wantMultiWECReportedState", path, errors);
    modulation.collectors = names(value, "statusCollectors", path, errors)
        .into_iter()
        .collect();
    match text(value, "takeover", path, errors).as_deref() {
        None | Some("" | "Never") => {}
        Some("Adopt") => modulation.adopt = true,
        Some(other) => {
            errors.push(FieldError::not_supported(
                format!("{path}.takeover"),
                other.to_owned(),
                ["Adopt", "Never"],
            ));
        }
    }
    clause
}

/// KubeStellar's own examples use an explicit empty selector to say "everything".
fn selects_all_on_purpose(clause: &Value) -> bool {
    [
        "objectSelectors",
        "namespaceSelectors",
        "namespaces",
        "objectNames",
        "resources",
    ]
    .iter()
    .any(|field| {
        clause
            .get(field)
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty())
    })
}

pub(crate) fn selectors(
    value: &Value,
    field: &str,
    path: &str,
    errors: &mut Vec<FieldError>,
) -> Vec<LabelSelector> {
    let mut found = Vec::new();
    for (i, item) in list(value, field, path, errors).iter().enumerate() {
        match LabelSelector::from_value(item, &format!("{path}.{field}[{i}]")) {
            Ok(selector) => found.push(selector),
            Err(wrong) => errors.extend(wrong),
        }
    }
    found
}

fn removal_limit(value: &Value) -> Option<RemovalLimit> {
    if let Some(count) = value.as_u64() {
        return Some(RemovalLimit::Count(count));
    }
    let percent: u8 = value.as_str()?.strip_suffix('%')?.parse().ok()?;
    (percent <= 100).then_some(RemovalLimit::Percent(percent))
}
