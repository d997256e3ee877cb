//! Before a payload workspace with copies can go, somebody says what becomes of them.

use super::{SHOP, config_map, policy};
use crate::{edges::Fleet, harness::eventually};

#[test]
fn a_workspace_with_copies_goes_only_with_an_answer() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.center.workspace("root", "q", "payload");
    for (workspace, app) in [("root:p", "a"), ("root:q", "b")] {
        fleet.center.apply(
            workspace,
            &(SHOP.to_owned() + &config_map(app, app, "", "k: v")),
        );
        fleet.center.apply(workspace, &policy(app, "", ""));
        eventually("the copies are current", || {
            let status = fleet.center.get(workspace, &["bindingpolicy", app])?["status"].clone();
            if status["counts"]["current"] == 2 {
                Ok(())
            } else {
                Err(status.to_string())
            }
        });
    }
    let annotate = |name: &str, answer: &str| {
        let annotation = format!("edge.atoll.dev/deletion-policy={answer}");
        fleet
            .center
            .kubectl(
                "root",
                &["annotate", "workspace", name, "--overwrite", &annotation],
            )
            .expect();
    };
    let delete = |name: &str| {
        fleet
            .center
            .kubectl("root", &["delete", "workspace", name, "--wait=false"])
    };
    let gone = |name: &str| {
        eventually("the workspace is gone", || {
            match fleet.center.get("root", &["workspace", name]) {
                Err(why) if why.contains("NotFound") => Ok(()),
                other => Err(other),
            }
        });
    };
    let why = delete("p").refused();
    assert!(
        why.contains("edge.atoll.dev/deletion-policy") && why.contains("2 copies"),
        "{why}"
    );
    annotate("p", "Perhaps");
    let why = delete("p").refused();
    assert!(why.contains("Orphan") && why.contains("Remove"), "{why}");
    annotate("p", "Remove");
    delete("p").expect();
    gone("p");
    fleet.edge_lacks(&["cm", "a", "-n", "shop"]);
    annotate("q", "Orphan");
    delete("q").expect();
    gone("q");
    fleet.is_released(&["cm", "b", "-n", "shop"]);
}

#[test]
fn a_parent_goes_only_when_those_below_are_answered_for() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.center.workspace("root", "org", "organization");
    fleet.center.workspace("root:org", "below", "payload");
    let inside = "root:org:below";
    let objects = SHOP.to_owned() + &config_map("a", "a", "", "k: v");
    fleet.center.apply(inside, &objects);
    let policy = policy("a", "", "  inventory: root:inventory\n");
    fleet.center.apply(inside, &policy);
    fleet.edge_shows(
        &["cm", "a", "-n", "shop"],
        "/data/k",
        &serde_json::json!("v"),
    );
    let delete = || {
        let what = ["delete", "workspace", "org", "--wait=false"];
        fleet.center.kubectl("root", &what)
    };
    let why = delete().refused();
    assert!(
        why.contains("org:below (2)") && why.contains("edge.atoll.dev/deletion-policy"),
        "{why}"
    );
    // Nothing has begun.
    fleet
        .center
        .get(inside, &["cm", "a", "-n", "shop"])
        .unwrap();
    let annotation = "edge.atoll.dev/deletion-policy=Remove";
    let annotate = ["annotate", "workspace", "below", annotation];
    fleet.center.kubectl("root:org", &annotate).expect();
    delete().expect();
    eventually("the workspaces are gone", || {
        match fleet.center.get("root", &["workspace", "org"]) {
            Err(why) if why.contains("NotFound") => Ok(()),
            other => Err(other),
        }
    });
    fleet.edge_lacks(&["cm", "a", "-n", "shop"]);
}
