//! Which fields are the payload's, which are the edge's, and when.

use std::process::Command;

use serde_json::json;

use super::{SHOP, config_map, deployment, policy, policy_says};
use crate::{
    edges::Fleet,
    harness::{eventually, real_edge},
};

#[test]
fn create_only_and_initial_only_are_given_once() {
    let Some(fleet) = Fleet::start() else { return };
    let initial = ", annotations: {edge.atoll.dev/initial-only: .data.colour}";
    let plain = "colour: blue, size: s";
    let objects = |data: &str| {
        config_map("once", "a", "", data)
            + &config_map("first", "b", initial, data)
            + &config_map("later", "b", "", data)
    };
    fleet
        .center
        .apply("root:p", &(SHOP.to_owned() + &objects(plain)));
    fleet
        .center
        .apply("root:p", &policy("a", "    createOnly: true\n", ""));
    fleet.center.apply("root:p", &policy("b", "", ""));
    fleet.is_current("a", 2);
    fleet.is_current("b", 3);
    for name in ["once", "first"] {
        fleet.at_the_edge(
            &["cm", name, "-n", "shop"],
            r#"{"data":{"colour":"the edge's"}}"#,
        );
    }
    fleet
        .center
        .apply("root:p", &objects("colour: green, size: m"));
    fleet.edge_shows(
        &["cm", "first", "-n", "shop"],
        "/data",
        &json!({"colour": "the edge's", "size": "m"}),
    );
    fleet.edge_shows(
        &["cm", "later", "-n", "shop"],
        "/data",
        &json!({"colour": "green", "size": "m"}),
    );
    fleet.is_current("a", 2);
    fleet.edge_shows(
        &["cm", "once", "-n", "shop"],
        "/data",
        &json!({"colour": "the edge's", "size": "s"}),
    );
    // A field that is handed to the edge keeps the value it had, and the payload's no longer counts.
    let handed = ", annotations: {edge.atoll.dev/edge-owned: .data.colour}";
    fleet.center.apply(
        "root:p",
        &config_map("later", "b", handed, "colour: red, size: l"),
    );
    fleet.edge_shows(
        &["cm", "later", "-n", "shop"],
        "/data",
        &json!({"colour": "green", "size": "l"}),
    );
    // And back.
    fleet.center.apply(
        "root:p",
        &config_map("later", "b", "", "colour: red, size: l"),
    );
    fleet.edge_shows(
        &["cm", "later", "-n", "shop"],
        "/data",
        &json!({"colour": "red", "size": "l"}),
    );
    fleet
        .center
        .apply("root:p", &config_map("later", "b", "", "size: l"));
    fleet.edge_shows(
        &["cm", "later", "-n", "shop"],
        "/data",
        &json!({"size": "l"}),
    );
}

#[test]
fn what_leaves_the_payload_leaves_the_edge_and_an_edit_there_is_healed() {
    let Some(fleet) = Fleet::start() else { return };
    let full = config_map(
        "c",
        "a",
        ", annotations: {note: hello}",
        "colour: blue, size: s",
    )
    .replace("labels: {app: a}", "labels: {app: a, tier: web}");
    fleet.center.apply("root:p", &(SHOP.to_owned() + &full));
    fleet.policy("a", "");
    fleet.is_current("a", 2);
    fleet.at_the_edge(
        &["cm", "c", "-n", "shop"],
        r#"{"metadata":{"labels":{"theirs":"yes"},"annotations":{"theirs":"yes"}}}"#,
    );
    fleet
        .center
        .apply("root:p", &config_map("c", "a", "", "colour: blue"));
    eventually("label, annotation and field are gone", || {
        let object = fleet.edge.get(&["cm", "c", "-n", "shop"])?;
        let (metadata, data) = (&object["metadata"], &object["data"]);
        let as_it_should = metadata["labels"]["tier"].is_null()
            && metadata["labels"]["theirs"] == "yes"
            && metadata["annotations"] == json!({"theirs": "yes"})
            && *data == json!({"colour": "blue"});
        if as_it_should {
            Ok(())
        } else {
            Err(object.to_string())
        }
    });
    // A person with an editor changes one of our fields and adds one.
    let kubectl = real_edge::tools().unwrap().join("kubectl");
    let edited = Command::new(kubectl)
        .env(
            "KUBE_EDITOR",
            r"sed -i -e 's/^\( *\)colour: blue/\1colour: red\n\1mine: kept/'",
        )
        .arg("--kubeconfig")
        .arg(fleet.edge.kubeconfig())
        .args(["edit", "cm", "c", "-n", "shop"])
        .output()
        .unwrap();
    assert!(edited.status.success(), "{edited:?}");
    fleet.edge_shows(
        &["cm", "c", "-n", "shop"],
        "/data",
        &json!({"colour": "blue", "mine": "kept"}),
    );
}

#[test]
fn an_immutable_field_is_an_error_or_a_replacement() {
    let Some(fleet) = Fleet::start() else { return };
    let binding = |role: &str, more: &str| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {{name: r, namespace: shop, labels: {{app: a}}{more}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}}\nsubjects: []\n"
        )
    };
    let web = deployment("web", "a", 1);
    fleet
        .center
        .apply("root:p", &(SHOP.to_owned() + &web + &binding("view", "")));
    fleet.policy("a", "");
    fleet.is_current("a", 3);
    let uid = |what: &[&str]| fleet.edge.get(what).unwrap()["metadata"]["uid"].clone();
    let (deployments, bindings) = (
        ["deployment", "web", "-n", "shop"],
        ["rolebinding", "r", "-n", "shop"],
    );
    let before = [uid(&deployments), uid(&bindings)];
    let changed = web.replace("d: web", "d: other");
    let replace = ", annotations: {edge.atoll.dev/replace: \"true\"}";
    fleet
        .center
        .apply("root:p", &(changed.clone() + &binding("edit", "")));
    let status = policy_says(&fleet.center, "root:p", "a", "Immutable");
    assert!(status["problems"].is_array(), "{status}");
    let remedy = "edge.atoll.dev/replace";
    assert!(status.to_string().contains(remedy), "{status}");
    policy_says(&fleet.center, "root:p", "a", "roleRef");
    assert_eq!([uid(&deployments), uid(&bindings)], before);
    fleet.center.apply(
        "root:p",
        &(changed.replace("labels: {app: a}", &format!("labels: {{app: a}}{replace}"))
            + &binding("edit", replace)),
    );
    fleet.edge_shows(
        &deployments,
        "/spec/selector/matchLabels/d",
        &json!("other"),
    );
    fleet.edge_shows(&bindings, "/roleRef/name", &json!("edit"));
    fleet.is_current("a", 3);
    assert_ne!(uid(&deployments), before[0]);
}

#[test]
fn replicas_are_the_autoscalers() {
    let Some(fleet) = Fleet::start() else { return };
    let web = deployment("web", "a", 2);
    fleet.center.apply("root:p", &(SHOP.to_owned() + &web));
    fleet.policy("a", "");
    fleet.is_current("a", 2);
    // Comes later: until now the replicas were ours.
    fleet.center.apply("root:p", "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web, namespace: shop, labels: {app: a}}\nspec: {minReplicas: 3, maxReplicas: 9, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n");
    let what = ["deployment", "web", "-n", "shop"];
    // The genuine autoscaler at the edge.
    fleet.edge_shows(&what, "/spec/replicas", &json!(3));
    fleet
        .edge
        .kubectl(&["scale", "deployment", "web", "-n", "shop", "--replicas=5"])
        .expect();
    fleet.center.apply(
        "root:p",
        &web.replace("image: nginx", "image: nginx:2")
            .replace("replicas: 2", "replicas: 1"),
    );
    fleet.edge_shows(
        &what,
        "/spec/template/spec/containers/0/image",
        &json!("nginx:2"),
    );
    fleet.edge_shows(&what, "/spec/replicas", &json!(5));
    fleet.is_current("a", 3);
    fleet.edge_shows(&what, "/spec/replicas", &json!(5));
}
