//! Placing on an inventory needs its owner's consent; withdrawing it stops what is new and removes nothing.

use serde_json::json;

use super::{SHOP, config_map, policy, policy_says};
use crate::{edges::Fleet, harness::scratch};

#[test]
fn consent_is_needed_to_place_and_not_to_stay() {
    // A user of her own: one that an administrator impersonates counts only in the workspace where that is done.
    let tokens = scratch();
    let file = tokens.path().join("tokens.csv");
    std::fs::write(&file, "ann-token,ann,ann\n").unwrap();
    let with = ["--token-auth-file", file.to_str().unwrap()];
    let Some(fleet) = Fleet::start_with(&with) else {
        return;
    };
    let role = |name: &str, rule: &str| {
        format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {{name: {name}}}\nrules: [{{{rule}}}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {{name: {name}}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {name}}}\nsubjects: [{{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}}]\n"
        )
    };
    fleet.center.apply(
        "root",
        &role(
            "p-editors",
            "apiGroups: [tenancy.kcp.io], resources: [workspaces/content], resourceNames: [p], verbs: [edit]",
        ),
    );
    let ann = ["--token=ann-token", "apply", "-f", "-"];
    let as_ann = |manifest: &str| fleet.center.kubectl_in("root:p", &ann, manifest);
    as_ann(&(SHOP.to_owned() + &config_map("c", "a", "", "k: old"))).expect();
    let why = as_ann(&policy("a", "", "")).refused();
    assert!(
        why.contains("place") && why.contains("inventories.edge.atoll.dev"),
        "{why}"
    );
    fleet.center.apply(
        "root:inventory",
        &role(
            "placers",
            "apiGroups: [edge.atoll.dev], resources: [inventories], resourceNames: [cluster], verbs: [place]",
        ),
    );
    as_ann(&policy("a", "", "")).expect();
    fleet.is_current("a", 2);
    fleet
        .center
        .kubectl(
            "root:inventory",
            &["delete", "clusterrolebinding", "placers"],
        )
        .expect();
    // A new edge gets nothing; the old one keeps what it has and follows its changes.
    fleet.join("e2", &["place=here"]).expect();
    policy_says(&fleet.center, "root:p", "a", "ConsentMissing");
    as_ann(&config_map("c", "a", "", "k: new")).expect();
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/k", &json!("new"));
    fleet.is_current("a", 2);
}
