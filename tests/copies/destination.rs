//! A ManagedCluster's acceptance and identity: who may speak for it, and that its end removes nothing at the edge.

use serde_json::{Value, json};

use super::{SHOP, agent, config_map, refused_agent, says};
use crate::{
    edges::Fleet,
    harness::{eventually, read},
};

fn placed() -> Option<Fleet> {
    let fleet = Fleet::start()?;
    fleet.center.apply(
        "root:p",
        &(SHOP.to_owned() + &config_map("c", "a", "", "k: old")),
    );
    fleet.policy("a", "");
    fleet.is_current("a", 2);
    Some(fleet)
}

const C: [&str; 4] = ["cm", "c", "-n", "shop"];

#[test]
fn an_edge_that_is_not_accepted_keeps_what_it_has() {
    let Some(mut fleet) = placed() else { return };
    let accept = |fleet: &Fleet, yes: bool| {
        let change = format!(r#"{{"spec":{{"hubAcceptsClient":{yes}}}}}"#);
        fleet
            .center
            .kubectl(
                "root:inventory",
                &[
                    "patch",
                    "managedcluster",
                    "e1",
                    "--type=merge",
                    "-p",
                    &change,
                ],
            )
            .expect();
    };
    accept(&fleet, false);
    eventually("it is said", || {
        let condition = fleet.condition("e1", "HubAcceptedManagedCluster")?;
        if condition["status"] == "False" {
            Ok(())
        } else {
            Err(condition.to_string())
        }
    });
    let log = fleet.scratch.path().join("agent.log");
    eventually("the session ends", || {
        let said = read(&log);
        if said.contains("hubAcceptsClient") {
            Ok(())
        } else {
            Err(said)
        }
    });
    fleet
        .center
        .apply("root:p", &config_map("c", "a", "", "k: new"));
    // The edge goes on alone, with what it last heard.
    fleet
        .edge
        .kubectl(&["delete", "cm", "c", "-n", "shop"])
        .expect();
    fleet.edge_shows(&C, "/data/k", &json!("old"));
    accept(&fleet, true);
    fleet.kill_agent();
    fleet.start_agent();
    fleet.edge_shows(&C, "/data/k", &json!("new"));
}

#[test]
fn an_edge_registered_anew_takes_over_what_its_predecessor_left() {
    let Some(mut fleet) = placed() else { return };
    fleet
        .edge
        .kubectl(&["create", "configmap", "theirs", "-n", "shop"])
        .expect();
    let adopted = config_map("theirs", "b", "", "k: old");
    fleet.center.apply("root:p", &adopted);
    fleet.policy("b", "    takeover: Adopt\n");
    fleet.is_current("b", 2);
    let uid = fleet.edge.get(&C).unwrap()["metadata"]["uid"].clone();
    fleet
        .center
        .atoll(&["edges", "remove", "e1", "--inventory", "root:inventory"])
        .expect();
    // The running agent is sent away; what runs stays, and is nobody's to heal.
    let log = fleet.scratch.path().join("agent.log");
    eventually("the old agent is detached", || {
        let said = read(&log);
        if said.contains("detached") {
            Ok(())
        } else {
            Err(said)
        }
    });
    fleet.at_the_edge(&C, r#"{"data":{"k":"drift"}}"#);
    let old_join = fleet.scratch.path().join("old.join.yaml");
    std::fs::copy(fleet.join_file("e1"), &old_join).unwrap();
    fleet.join("e1", &["place=here"]).expect();
    // The old agent, started again with all that it has, is not the new edge, and still heals nothing.
    fleet.kill_agent();
    let old = agent(
        &old_join,
        &fleet.edge.kubeconfig(),
        &fleet.state_directory(),
    );
    says(&old, "does not exist (any more)");
    fleet.edge_shows(&C, "/data/k", &json!("drift"));
    assert!(fleet.condition("e1", "ManagedClusterJoined").is_err());
    drop(old);
    // Nor are its state directory and key good for it.
    let why = refused_agent(
        &fleet.join_file("e1"),
        &fleet.edge.kubeconfig(),
        &fleet.state_directory(),
    );
    assert!(why.contains("belongs to destination"), "{why}");
    let fresh = fleet.scratch.path().join("fresh");
    let _new = agent(&fleet.join_file("e1"), &fleet.edge.kubeconfig(), &fresh);
    fleet.is_available("e1");
    // The copies of the center's own objects are the new destination's, the objects as they were.
    fleet.is_current("a", 2);
    fleet.is_current("b", 2);
    fleet.edge_shows(&C, "/data/k", &json!("old"));
    assert_eq!(fleet.edge.get(&C).unwrap()["metadata"]["uid"], uid);
    fleet
        .center
        .apply("root:p", &config_map("c", "a", "", "k: new"));
    fleet.edge_shows(&C, "/data/k", &json!("new"));
    // It is in charge of them as its predecessor was: what was adopted is released, all else removed.
    for policy in ["a", "b"] {
        fleet
            .center
            .kubectl("root:p", &["delete", "bindingpolicy", policy])
            .expect();
    }
    fleet.edge_lacks(&C);
    fleet.is_released(&["cm", "theirs", "-n", "shop"]);
}

#[test]
fn wrong_expired_and_foreign_papers_are_refused() {
    let Some(fleet) = Fleet::start() else { return };
    let edge = fleet.edge.kubeconfig();
    let at = |name: &str| fleet.scratch.path().join(name);
    fleet.join("e2", &["place=elsewhere"]).expect();
    let mut join: Value = serde_json::from_str(&read(&fleet.join_file("e2"))).unwrap();
    let destination = join["destination"].as_str().unwrap().to_owned();

    join["token"] = json!("0".repeat(64));
    std::fs::write(at("wrong.yaml"), join.to_string()).unwrap();
    let why = refused_agent(&at("wrong.yaml"), &edge, &at("wrong"));
    assert!(why.contains("token is not valid"), "{why}");

    std::fs::write(at("broken.yaml"), "kind: Something\n").unwrap();
    let why = refused_agent(&at("broken.yaml"), &edge, &at("broken"));
    assert!(why.contains("broken.yaml"), "{why}");

    let expired = at("expired.yaml");
    fleet
        .center
        .atoll(&[
            "edges",
            "add",
            "late",
            "--inventory",
            "root:inventory",
            "-o",
            expired.to_str().unwrap(),
        ])
        .expect();
    let yesterday = "edge.atoll.dev/join-token-expires=2026-01-01T00:00:00Z";
    fleet
        .center
        .kubectl(
            "root:inventory",
            &[
                "annotate",
                "--overwrite",
                "managedcluster",
                "late",
                yesterday,
            ],
        )
        .expect();
    let why = refused_agent(&expired, &edge, &at("expired"));
    assert!(
        why.contains("expired") && why.contains("atoll edges add"),
        "{why}"
    );

    // The first edge's certificate, presented as the second's.
    let mut identity: Value =
        serde_json::from_str(&read(&fleet.state_directory().join("identity.json"))).unwrap();
    identity["destination"] = json!(destination);
    std::fs::create_dir(at("forged")).unwrap();
    std::fs::write(at("forged/identity.json"), identity.to_string()).unwrap();
    let forged = agent(&fleet.join_file("e2"), &edge, &at("forged"));
    says(&forged, "speaks for another");
    assert!(fleet.condition("e2", "ManagedClusterJoined").is_err());
}
