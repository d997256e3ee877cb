//! Copies are made in the order in which they need each other.

use serde_json::json;

use super::{SHOP, config_map, deployment, policy_says};
use crate::edges::Fleet;

const ACCESS: &str = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: hook, namespace: shop, labels: {app: a}}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: hook, labels: {app: a}}\nrules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: hook, labels: {app: a}}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: hook}\nsubjects: [{kind: ServiceAccount, name: hook, namespace: shop}]\n";
const INTERCEPTORS: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: hook, namespace: shop, labels: {app: a}}\nspec: {selector: {d: hook}, ports: [{port: 443}]}\n---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\nmetadata: {name: hook, labels: {app: a}}\nwebhooks: [{name: hook.example.com, sideEffects: None, admissionReviewVersions: [v1], failurePolicy: Fail, clientConfig: {service: {name: hook, namespace: shop}}, rules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}]\n---\napiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {name: v1.aggregated.example.com, labels: {app: a}}\nspec: {group: aggregated.example.com, version: v1, insecureSkipTLSVerify: true, groupPriorityMinimum: 1000, versionPriority: 15, service: {name: hook, namespace: shop}}\n";

#[test]
fn what_intercepts_requests_waits_for_its_backend() {
    let Some(fleet) = Fleet::start() else { return };
    // A webhook for Deployments whose backend is a Deployment: made at once, it would lock itself out.
    let hook = |replicas| {
        deployment("hook", "a", replicas).replace(
            "spec: {containers",
            "spec: {serviceAccountName: hook, containers",
        )
    };
    fleet.center.apply(
        "root:p",
        &(SHOP.to_owned() + INTERCEPTORS + ACCESS + &hook(0)),
    );
    fleet.policy("a", "");
    let status = policy_says(&fleet.center, "root:p", "a", "has a ready endpoint");
    assert!(status.to_string().contains("Waiting"), "{status}");
    fleet.edge_shows(
        &["deployment", "hook", "-n", "shop"],
        "/spec/replicas",
        &json!(0),
    );
    fleet.edge.get(&["clusterrolebinding", "hook"]).unwrap();
    fleet.edge_lacks(&["validatingwebhookconfiguration", "hook"]);
    fleet.edge_lacks(&["apiservice", "v1.aggregated.example.com"]);
    fleet.center.apply("root:p", &hook(1));
    fleet.edge_shows(
        &["validatingwebhookconfiguration", "hook"],
        "/metadata/name",
        &json!("hook"),
    );
    fleet.edge_shows(
        &["apiservice", "v1.aggregated.example.com"],
        "/spec/service/name",
        &json!("hook"),
    );
    fleet.is_current("a", 8);
}

#[test]
fn a_failing_object_holds_back_only_what_depends_on_it() {
    let Some(fleet) = Fleet::start() else { return };
    // A Namespace that cannot be used: it is being deleted at the edge, and something holds it.
    fleet
        .edge
        .kubectl(&["create", "namespace", "held"])
        .expect();
    fleet
        .edge
        .kubectl(&["create", "configmap", "holder", "-n", "held"])
        .expect();
    let finalizer = |list: &str| {
        fleet.at_the_edge(
            &["cm", "holder", "-n", "held"],
            &format!(r#"{{"metadata":{{"finalizers":{list}}}}}"#),
        );
    };
    finalizer(r#"["example.com/hold"]"#);
    fleet
        .edge
        .kubectl(&["delete", "namespace", "held", "--wait=false"])
        .expect();
    fleet.center.apply(
        "root:p",
        &(SHOP.replace("shop", "held")
            + &config_map("inside", "a", "", "k: v").replace("shop", "held")
            + SHOP
            + &config_map("beside", "a", "", "k: v")),
    );
    fleet.policy("a", "");
    fleet.edge_shows(&["cm", "beside", "-n", "shop"], "/data/k", &json!("v"));
    policy_says(&fleet.center, "root:p", "a", "Terminating");
    policy_says(&fleet.center, "root:p", "a", "waits for Namespace held");
    finalizer("null");
    fleet.edge_shows(&["cm", "inside", "-n", "held"], "/data/k", &json!("v"));
    fleet.is_current("a", 4);
}
