//! What is removed, what never is, and what waits for a person.

use serde_json::json;

use super::{SHOP, config_map, definition, policy, policy_says};
use crate::{edges::Fleet, harness::eventually};

const BLOCKED: &str = "edge.atoll.dev/RemovalBlocked";

fn gadget(name: &str, app: &str) -> String {
    format!(
        "---\napiVersion: example.com/v1\nkind: Gadget\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {app}}}}}\nspec: {{size: 1}}\n"
    )
}

#[test]
fn namespaces_and_definitions_go_last_and_only_when_empty() {
    let Some(fleet) = Fleet::start() else { return };
    let mine = SHOP.replace("name: shop", "name: mine, labels: {app: c}");
    let inside = config_map("ours", "c", "", "k: v").replace("shop", "mine");
    fleet.center.apply(
        "root:p",
        &(SHOP.to_owned()
            + &definition("gadgets", "Gadget", "")
            + &definition("gizmos", "Gizmo", "app: c")
            + &mine
            + &inside),
    );
    eventually("the kind is served", || {
        let answer = fleet
            .center
            .kubectl_in("root:p", &["apply", "-f", "-"], &gadget("g", "b"));
        if answer.ok {
            Ok(())
        } else {
            Err(answer.stderr)
        }
    });
    fleet.policy("b", "");
    fleet.policy("c", "");
    // The Namespace and the CRD came along.
    fleet.is_current("b", 3);
    fleet.is_current("c", 3);
    fleet
        .center
        .kubectl("root:p", &["delete", "bindingpolicy", "b"])
        .expect();
    fleet.edge_lacks(&["gadgets.example.com", "g", "-n", "shop"]);
    fleet.edge.get(&["crd", "gadgets.example.com"]).unwrap();
    fleet.edge.get(&["namespace", "shop"]).unwrap();

    // What was selected goes when it is empty, and not before.
    fleet
        .edge
        .kubectl(&["create", "configmap", "theirs", "-n", "mine"])
        .expect();
    let theirs = gadget("theirs", "x")
        .replace("Gadget", "Gizmo")
        .replace("namespace: shop", "namespace: mine");
    let file = fleet.scratch.path().join("theirs.yaml");
    std::fs::write(&file, theirs).unwrap();
    fleet
        .edge
        .kubectl(&["apply", "-f", file.to_str().unwrap()])
        .expect();
    fleet
        .center
        .kubectl("root:p", &["delete", "bindingpolicy", "c"])
        .expect();
    fleet.edge_lacks(&["cm", "ours", "-n", "mine"]);
    let blocked = |words: &str| {
        eventually("the edge's condition says what is in the way", || {
            let condition = fleet.condition("e1", BLOCKED)?.to_string();
            if condition.contains("NotEmpty") && condition.contains(words) {
                Ok(())
            } else {
                Err(condition)
            }
        });
    };
    blocked("configmaps/theirs");
    blocked("gizmos/theirs");
    fleet.edge.get(&["namespace", "mine"]).unwrap();
    fleet.edge.get(&["crd", "gizmos.example.com"]).unwrap();
    for what in ["gizmos.example.com", "configmap"] {
        fleet
            .edge
            .kubectl(&["delete", what, "theirs", "-n", "mine"])
            .expect();
    }
    fleet.edge_lacks(&["crd", "gizmos.example.com"]);
    fleet.edge_lacks(&["namespace", "mine"]);
    eventually("the condition is gone", || {
        match fleet.condition("e1", BLOCKED) {
            Err(_) => Ok(()),
            Ok(condition) => Err(condition),
        }
    });
}

#[test]
fn orphaned_copies_stay_and_suspended_ones_do_not_change() {
    let Some(fleet) = Fleet::start() else { return };
    let maps = |value: &str| {
        ["a", "b", "s", "t"]
            .map(|name| {
                let app = if name < "s" { "a" } else { "s" };
                config_map(name, app, "", &format!("k: {value}"))
            })
            .concat()
    };
    fleet
        .center
        .apply("root:p", &(SHOP.to_owned() + &maps("old")));
    fleet
        .center
        .apply("root:p", &policy("a", "", "  deletionPolicy: Orphan\n"));
    fleet.center.apply("root:p", &policy("s", "", ""));
    fleet.is_current("a", 3);
    fleet.is_current("s", 3);
    let delete = |what: &[&str]| {
        let mut arguments = vec!["delete"];
        arguments.extend_from_slice(what);
        fleet.center.kubectl("root:p", &arguments).expect();
    };
    delete(&["cm", "a", "-n", "shop"]);
    fleet.is_released(&["cm", "a", "-n", "shop"]);
    delete(&["bindingpolicy", "a"]);
    fleet.is_released(&["cm", "b", "-n", "shop"]);

    fleet
        .center
        .apply("root:p", &policy("s", "", "  suspend: true\n"));
    policy_says(&fleet.center, "root:p", "s", "Suspended");
    fleet.center.apply("root:p", &maps("new"));
    delete(&["cm", "t", "-n", "shop"]);
    // Another policy shows that the change has come as far as the edge by now.
    fleet
        .center
        .apply("root:p", &config_map("witness", "w", "", "k: v"));
    fleet.policy("w", "");
    fleet.is_current("w", 2);
    fleet.edge_shows(&["cm", "s", "-n", "shop"], "/data/k", &json!("old"));
    fleet.edge_shows(&["cm", "t", "-n", "shop"], "/data/k", &json!("old"));
    fleet.center.apply("root:p", &policy("s", "", ""));
    fleet.edge_shows(&["cm", "s", "-n", "shop"], "/data/k", &json!("new"));
    fleet.edge_lacks(&["cm", "t", "-n", "shop"]);
}

#[test]
fn a_removal_that_looks_like_an_accident_is_held() {
    let Some(fleet) = Fleet::start() else { return };
    let maps: String = ["a", "b", "c", "d"]
        .map(|name| config_map(name, "a", "", "k: v"))
        .concat();
    fleet.center.apply("root:p", &(SHOP.to_owned() + &maps));
    let limit = "  maxRemovals: 0\n";
    fleet.center.apply("root:p", &policy("a", "", limit));
    fleet.is_current("a", 5);
    // A label that is taken off by mistake.
    fleet
        .center
        .kubectl(
            "root:p",
            &[
                "label",
                "cm",
                "a",
                "b",
                "-n",
                "shop",
                "app=x",
                "--overwrite",
            ],
        )
        .expect();
    let status = policy_says(&fleet.center, "root:p", "a", "\"removalHeld\":{");
    let held = &status["removalHeld"];
    assert_eq!(held["examples"], json!(["e1"]), "{status}");
    assert!(status.to_string().contains("RemovalHeld"), "{status}");
    // An explicit delete is not held, not even now.
    fleet
        .center
        .kubectl("root:p", &["delete", "cm", "c", "d", "-n", "shop"])
        .expect();
    fleet.edge_lacks(&["cm", "c", "-n", "shop"]);
    fleet.edge_lacks(&["cm", "d", "-n", "shop"]);
    for name in ["a", "b"] {
        fleet.edge.get(&["cm", name, "-n", "shop"]).unwrap();
    }
    let token = eventually("the token names what is held now", || {
        let status = fleet.center.get("root:p", &["bindingpolicy", "a"])?["status"].clone();
        match (
            &status["removalHeld"]["count"],
            status["removalHeld"]["token"].as_str(),
        ) {
            (count, Some(token)) if *count == 2 => Ok(token.to_owned()),
            _ => Err(status.to_string()),
        }
    });
    let confirmed = format!("{limit}  confirmRemoval: {token}\n");
    fleet.center.apply("root:p", &policy("a", "", &confirmed));
    for name in ["a", "b"] {
        fleet.edge_lacks(&["cm", name, "-n", "shop"]);
    }
    eventually("nothing is held", || {
        let status = fleet.center.get("root:p", &["bindingpolicy", "a"])?["status"].to_string();
        if status.contains("RemovalHeld") {
            Err(status)
        } else {
            Ok(())
        }
    });
}

#[test]
fn an_edge_is_emptied_before_it_leaves_when_that_is_asked_for() {
    let Some(fleet) = Fleet::start() else { return };
    fleet
        .edge
        .kubectl(&["create", "namespace", "shop"])
        .expect();
    fleet
        .edge
        .kubectl(&["create", "configmap", "theirs", "-n", "shop"])
        .expect();
    let objects = config_map("c", "a", "", "k: v") + &config_map("theirs", "b", "", "k: v");
    fleet
        .center
        .apply("root:p", &(SHOP.to_owned() + &objects + &gadgets()));
    fleet.policy("a", "");
    fleet.policy("b", "    takeover: Adopt\n");
    fleet.is_current("a", 3);
    fleet.is_current("b", 2);
    let remove = |more: &[&str]| {
        let mut arguments = vec!["edges", "remove", "e1", "--inventory", "root:inventory"];
        arguments.extend_from_slice(more);
        fleet.center.atoll(&arguments)
    };
    // Something at the edge is in the way: the edge stays in the fleet, and says why.
    let hold = r#"{"metadata":{"finalizers":["example.com/wait"]}}"#;
    fleet.at_the_edge(&["cm", "c", "-n", "shop"], hold);
    let why = remove(&["--purge", "--timeout", "3"]).refused();
    assert!(why.contains("has not confirmed"), "{why}");
    fleet
        .center
        .get("root:inventory", &["managedcluster", "e1"])
        .unwrap();
    let free = r#"{"metadata":{"finalizers":null}}"#;
    fleet.at_the_edge(&["cm", "c", "-n", "shop"], free);
    let said = remove(&["--purge"]).expect();
    assert!(said.contains("is removed"), "{said}");
    // Gone when the command has ended, not some time later.
    let cm = fleet.edge.get(&["cm", "c", "-n", "shop"]);
    assert!(cm.unwrap_err().contains("NotFound"));
    // What came along, what was adopted and what was never ours stays.
    fleet.edge.get(&["namespace", "shop"]).unwrap();
    fleet.edge.get(&["cm", "theirs", "-n", "shop"]).unwrap();
    fleet.is_released(&["cm", "theirs", "-n", "shop"]);
    let gone = fleet
        .center
        .get("root:inventory", &["managedcluster", "e1"]);
    assert!(gone.unwrap_err().contains("NotFound"));
    let status = fleet.center.get("root:p", &["bindingpolicy", "a"]).unwrap();
    assert_eq!(status["status"]["counts"]["expected"], 0);
}

/// A CRD that is selected itself.
fn gadgets() -> String {
    definition("gadgets", "Gadget", "app: a")
}
