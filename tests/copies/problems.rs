//! What an edge cannot or will not do is said, and the rest goes on.

use serde_json::json;

use super::{SHOP, agent, config_map, definition, deployment, policy, policy_says};
use crate::{
    edges::Fleet,
    harness::{Center, eventually},
};

#[test]
fn a_kind_that_is_not_served_and_an_edge_that_cannot_be_reached() {
    let Some(mut fleet) = Fleet::start() else {
        return;
    };
    // The same resource means something else there.
    let other = definition("gadgets", "Machine", "");
    let file = fleet.scratch.path().join("other.yaml");
    std::fs::write(&file, other).unwrap();
    fleet
        .edge
        .kubectl(&["apply", "-f", file.to_str().unwrap()])
        .expect();
    fleet.center.apply(
        "root:p",
        &(SHOP.to_owned()
            + &definition("gadgets", "Gadget", "")
            + &config_map("c", "a", "", "k: old")),
    );
    let gadget = "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g, namespace: shop, labels: {app: a}}\nspec: {size: 1}\n";
    eventually("the kind is served", || {
        let answer = fleet
            .center
            .kubectl_in("root:p", &["apply", "-f", "-"], gadget);
        if answer.ok {
            Ok(())
        } else {
            Err(answer.stderr)
        }
    });
    fleet.policy("a", "");
    let status = policy_says(&fleet.center, "root:p", "a", "KindNotServed");
    let problem = status["problems"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["reason"] == "KindNotServed")
        .unwrap_or_else(|| panic!("{status}"));
    assert_eq!(problem["examples"], json!(["e1"]));
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/k", &json!("old"));

    fleet.edge.kill();
    fleet
        .center
        .apply("root:p", &config_map("c", "a", "", "k: new"));
    policy_says(&fleet.center, "root:p", "a", "Unreachable");
    fleet.edge.restart();
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/k", &json!("new"));
    eventually("the problem is over", || {
        let status = fleet.center.get("root:p", &["bindingpolicy", "a"])?["status"].to_string();
        if status.contains("Unreachable") {
            Err(status)
        } else {
            Ok(())
        }
    });
}

/// What the agent itself needs, and ConfigMaps; no workloads.
const NARROW: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: atoll-agent}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: narrow, namespace: atoll-agent}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: narrow}\nrules: [{apiGroups: [\"\"], resources: [namespaces, configmaps, secrets], verbs: [\"*\"]}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: narrow}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: narrow}\nsubjects: [{kind: ServiceAccount, name: narrow, namespace: atoll-agent}]\n";

#[test]
fn an_agent_without_permission_says_so() {
    let Some(mut fleet) = Fleet::start() else {
        return;
    };
    fleet.kill_agent();
    let file = fleet.scratch.path().join("narrow.yaml");
    std::fs::write(&file, NARROW).unwrap();
    fleet
        .edge
        .kubectl(&["apply", "-f", file.to_str().unwrap()])
        .expect();
    let token = fleet
        .edge
        .kubectl(&["create", "token", "narrow", "-n", "atoll-agent"])
        .expect();
    let kubeconfig = fleet.scratch.path().join("narrow.kubeconfig");
    std::fs::copy(fleet.edge.kubeconfig(), &kubeconfig).unwrap();
    let configure = |arguments: &[&str]| {
        crate::harness::kubectl(&kubeconfig, arguments).expect();
    };
    configure(&[
        "config",
        "set-credentials",
        "narrow",
        &format!("--token={}", token.trim()),
    ]);
    configure(&["config", "set-context", "--current", "--user=narrow"]);
    let state = fleet.state_directory();
    let _agent = agent(&fleet.join_file("e1"), &kubeconfig, &state);
    fleet.center.apply(
        "root:p",
        &(SHOP.to_owned() + &config_map("c", "a", "", "k: v") + &deployment("web", "a", 1)),
    );
    fleet.policy("a", "");
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/k", &json!("v"));
    let status = policy_says(&fleet.center, "root:p", "a", "Forbidden");
    assert!(
        status.to_string().contains("deployments") && status.to_string().contains("e1"),
        "{status}"
    );
    fleet
        .edge
        .kubectl(&[
            "create",
            "clusterrolebinding",
            "wide",
            "--clusterrole=cluster-admin",
            "--serviceaccount=atoll-agent:narrow",
        ])
        .expect();
    fleet.is_current("a", 3);
}

#[test]
fn a_second_center_on_the_same_edge_overwrites_nothing() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.center.apply(
        "root:p",
        &(SHOP.to_owned() + &config_map("c", "a", "", "k: first")),
    );
    fleet.policy("a", "");
    fleet.is_current("a", 2);

    let second = Center::start(&fleet.scratch.path().join("second"));
    second.workspace("root", "inventory", "inventory");
    second.workspace("root", "p", "payload");
    let join = fleet.scratch.path().join("second.join.yaml");
    second
        .atoll(&[
            "edges",
            "add",
            "same",
            "--label",
            "place=here",
            "--inventory",
            "root:inventory",
            "-o",
            join.to_str().unwrap(),
        ])
        .expect();
    let _agent = agent(
        &join,
        &fleet.edge.kubeconfig(),
        &fleet.scratch.path().join("second-agent"),
    );
    let objects = |value: &str| {
        config_map("c", "a", "", &format!("k: {value}"))
            + &config_map("d", "a", "", &format!("k: {value}"))
    };
    second.apply("root:p", &(SHOP.to_owned() + &objects("second")));
    second.apply("root:p", &policy("a", "", ""));
    policy_says(&second, "root:p", "a", "Conflict");
    fleet.edge_shows(&["cm", "d", "-n", "shop"], "/data/k", &json!("second"));
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/k", &json!("first"));
    // Both go on.
    fleet
        .center
        .apply("root:p", &config_map("c", "a", "", "k: first again"));
    second.apply("root:p", &objects("second again"));
    fleet.edge_shows(
        &["cm", "d", "-n", "shop"],
        "/data/k",
        &json!("second again"),
    );
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/k", &json!("first again"));
    second
        .kubectl("root:p", &["delete", "bindingpolicy", "a"])
        .expect();
    fleet.edge_lacks(&["cm", "d", "-n", "shop"]);
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/k", &json!("first again"));
    fleet.is_current("a", 2);
}
