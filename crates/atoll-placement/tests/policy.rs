//! BindingPolicy's tests of objects, as tables; and the index that finds the policies an event may concern.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

use atoll_placement::policy::{Candidate, DeletionPolicy, Policy, RemovalLimit};
use atoll_placement::what::WhatIndex;
use proptest::prelude::*;
use serde_json::{Value, json};

type Labels<'a> = &'a [(&'a str, &'a str)];

fn lookup<'a>(labels: Labels<'a>) -> impl Fn(&str) -> Option<String> + 'a {
    move |key| {
        labels
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| (*v).to_owned())
    }
}

fn selects(
    clause: Value,
    group: &str,
    resource: &str,
    namespace: Option<&str>,
    name: &str,
    labels: Labels<'_>,
    ns: Labels<'_>,
) -> bool {
    let policy = Policy::parse(&json!({"clusterSelectors": [{}], "downsync": [clause]})).unwrap();
    let (labels, ns) = (lookup(labels), lookup(ns));
    policy
        .select(&Candidate {
            group,
            resource,
            namespace,
            name,
            labels: &labels,
            namespace_labels: &ns,
        })
        .is_some()
}

#[test]
fn an_inventory_is_named_by_a_path() {
    for (path, good) in [
        ("root:inventory", true),
        ("2xqj8a", true),
        ("user:alice:things", true),
        ("Root::x", false),
        ("root:", false),
        ("", false),
        ("root/inventory", false),
    ] {
        let parsed = Policy::parse(&json!({"inventory": path}));
        assert_eq!(parsed.is_ok(), good, "{path}");
        if let Err(errors) = parsed {
            let said = errors[0].to_string();
            assert!(
                said.contains("spec.inventory") && said.contains("root:inventory"),
                "{said}"
            );
        }
    }
}

#[test]
fn every_test_of_a_clause() {
    let app: Labels<'_> = &[("app", "web")];
    let prod: Labels<'_> = &[("env", "prod")];
    let web = json!({"matchLabels": {"app": "web"}});
    for (clause, namespace, labels, ns, expected) in [
        (json!({"apiGroup": "apps"}), Some("a"), app, prod, true),
        (json!({"apiGroup": ""}), Some("a"), app, prod, false),
        (
            json!({"resources": ["deployments"]}),
            Some("a"),
            app,
            prod,
            true,
        ),
        (
            json!({"resources": ["*"], "objectNames": ["web"]}),
            Some("a"),
            app,
            prod,
            true,
        ),
        (
            json!({"resources": ["services", "deployments"]}),
            Some("a"),
            app,
            prod,
            true,
        ),
        (
            json!({"resources": ["services"]}),
            Some("a"),
            app,
            prod,
            false,
        ),
        (
            json!({"namespaces": ["a", "b"]}),
            Some("a"),
            app,
            prod,
            true,
        ),
        (json!({"namespaces": ["b"]}), Some("a"), app, prod, false),
        (json!({"objectNames": ["web"]}), Some("a"), app, prod, true),
        (
            json!({"objectNames": ["other"]}),
            Some("a"),
            app,
            prod,
            false,
        ),
        (
            json!({"objectSelectors": [web]}),
            Some("a"),
            app,
            prod,
            true,
        ),
        (
            json!({"objectSelectors": [{"matchLabels": {"app": "db"}}, web]}),
            Some("a"),
            app,
            prod,
            true,
        ),
        (
            json!({"objectSelectors": [web]}),
            Some("a"),
            &[],
            prod,
            false,
        ),
        (
            json!({"objectSelectors": [{"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}]}),
            Some("a"),
            app,
            prod,
            false,
        ),
        (
            json!({"namespaceSelectors": [{"matchLabels": {"env": "prod"}}]}),
            Some("a"),
            app,
            prod,
            true,
        ),
        (
            json!({"namespaceSelectors": [{"matchLabels": {"env": "prod"}}]}),
            Some("a"),
            app,
            &[],
            false,
        ),
        (
            json!({"resources": ["deployments"], "objectSelectors": [web], "namespaces": ["b"]}),
            Some("a"),
            app,
            prod,
            false,
        ),
        // Cluster-scoped: only if namespaces are not restricted.
        (json!({"objectSelectors": [web]}), None, app, prod, true),
        (json!({"namespaces": ["a"]}), None, app, prod, false),
        (
            json!({"namespaces": ["*"], "objectSelectors": [web]}),
            None,
            app,
            prod,
            true,
        ),
        (
            json!({"namespaceSelectors": [{"matchLabels": {"env": "prod"}}]}),
            None,
            app,
            prod,
            false,
        ),
        (
            json!({"namespaceSelectors": [{}], "objectSelectors": [web]}),
            None,
            app,
            prod,
            true,
        ),
    ] {
        assert_eq!(
            selects(
                clause.clone(),
                "apps",
                "deployments",
                namespace,
                "web",
                labels,
                ns
            ),
            expected,
            "{clause} {namespace:?}"
        );
    }
}

#[test]
fn clauses_join_and_control_kinds_never_match() {
    let policy = Policy::parse(&json!({"clusterSelectors": [{}], "downsync": [
        {"resources": ["deployments"], "createOnly": true, "statusCollectors": ["a"]},
        {"namespaces": ["x"], "wantSingletonReportedState": true, "statusCollectors": ["b"], "takeover": "Adopt"},
        {"objectNames": ["other"], "wantMultiWECReportedState": true},
    ]}))
    .unwrap();
    let none = lookup(&[]);
    let candidate = |group: &'static str, resource: &'static str| Candidate {
        group,
        resource,
        namespace: Some("x"),
        name: "n",
        labels: &none,
        namespace_labels: &none,
    };
    let found = policy.select(&candidate("apps", "deployments")).unwrap();
    assert!(found.create_only && found.want_singleton && found.adopt && !found.want_multi);
    assert_eq!(found.collectors.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    assert!(policy.select(&candidate("", "events")).is_none());
    assert!(
        policy
            .select(&candidate("control.kubestellar.io", "customtransforms"))
            .is_none()
    );
}

#[test]
fn our_fields_and_what_is_wrong_with_them() {
    let policy = Policy::parse(&json!({"suspend": true, "maxRemovals": "20%", "deletionPolicy": "Orphan", "inventory": "root:inv"})).unwrap();
    assert!(policy.suspend);
    assert_eq!(policy.max_removals, Some(RemovalLimit::Percent(20)));
    assert_eq!(policy.deletion, DeletionPolicy::Orphan);
    assert_eq!(policy.inventory.as_deref(), Some("root:inv"));
    assert_eq!(Policy::parse(&Value::Null).unwrap(), Policy::default());
    for (spec, field) in [
        (json!([]), "spec"),
        (json!({"maxRemovals": "many"}), "spec.maxRemovals"),
        (json!({"maxRemovals": "101%"}), "spec.maxRemovals"),
        (json!({"deletionPolicy": "Keep"}), "spec.deletionPolicy"),
        (json!({"downsync": {}}), "spec.downsync"),
        (json!({"downsync": [{}]}), "spec.downsync[0]"),
        (
            json!({"downsync": [{"resources": "x"}]}),
            "spec.downsync[0].resources",
        ),
        (
            json!({"downsync": [{"resources": ["x"], "takeover": "Steal"}]}),
            "spec.downsync[0].takeover",
        ),
        (
            json!({"downsync": [{"resources": ["x"], "createOnly": "yes"}]}),
            "spec.downsync[0].createOnly",
        ),
        (json!({"numberOfClusters": 0}), "spec.numberOfClusters"),
        (
            json!({"clusterSelectors": [{"matchExpressions": [{"key": "a", "operator": "Near", "values": ["b"]}]}]}),
            "spec.clusterSelectors[0]",
        ),
    ] {
        let errors = Policy::parse(&spec).unwrap_err();
        assert!(
            errors.iter().any(|e| e.field.starts_with(field)),
            "{spec}: {errors:?}"
        );
    }
}

fn clause() -> impl Strategy<Value = Value> {
    let group = proptest::option::of(proptest::sample::select(vec!["", "apps", "x.io"]));
    let resources =
        proptest::sample::subsequence(vec!["deployments", "configmaps", "things", "*"], 0..3);
    (group, resources).prop_map(|(group, resources)| {
        let mut clause = json!({"objectSelectors": [{}], "resources": resources});
        if let Some(group) = group {
            clause["apiGroup"] = json!(group);
        }
        clause
    })
}

proptest! {
    /// The index may name too many policies, never too few, also after removals.
    #[test]
    fn the_index_misses_no_policy(specs in proptest::collection::vec((proptest::collection::vec(clause(), 0..3), any::<bool>()), 0..8)) {
        let mut index = WhatIndex::default();
        let mut live = Vec::new();
        for (id, (clauses, keep)) in specs.iter().enumerate() {
            let policy = Policy::parse(&json!({"downsync": clauses})).unwrap();
            index.add("c", id, &policy);
            if *keep { live.push((id, policy)); } else { index.remove("c", id, &policy); }
        }
        let none = lookup(&[]);
        for (group, resource) in [("apps", "deployments"), ("", "configmaps"), ("x.io", "things"), ("y.io", "others")] {
            let candidates = index.candidates("c", group, resource);
            for (id, policy) in &live {
                let candidate = Candidate { group, resource, namespace: Some("n"), name: "o", labels: &none, namespace_labels: &none };
                if policy.select(&candidate).is_some() { prop_assert!(candidates.contains(id)); }
            }
            prop_assert!(candidates.iter().all(|id| live.iter().any(|(l, _)| l == id)));
        }
    }
}
