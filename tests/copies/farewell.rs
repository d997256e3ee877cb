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
