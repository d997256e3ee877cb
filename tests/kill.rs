//! Kill anything, at any time, in any order: it converges, nothing acknowledged is lost, nothing that should stay is deleted.

use serde_json::json;

use crate::{edges::Fleet, harness::eventually};

const NAMESPACE: &str = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";

fn config_map(name: &str, value: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop, labels: {{app: a}}}}\ndata: {{colour: {value}}}\n"
    )
}

/// A fleet with ConfigMaps `c-0` to `c-4` placed on its edge.
fn placed() -> Option<Fleet> {
    let fleet = Fleet::start()?;
    let maps: String = (0..5)
        .map(|n| config_map(&format!("c-{n}"), "blue"))
        .collect();
    fleet
        .center
        .apply("root:p", &(NAMESPACE.to_owned() + &maps));
    fleet.policy("a", "");
    fleet.is_current("a", 6);
    Some(fleet)
}

#[test]
fn killed_in_any_order_it_converges() {
    let Some(mut fleet) = placed() else { return };
    for round in 0..4 {
        let colour = format!("colour-{round}");
        fleet.center.apply("root:p", &config_map("c-0", &colour));
        match round {
            0 => fleet.center.restart(),
            1 => {
                fleet.kill_agent();
                fleet.center.apply("root:p", &config_map("c-1", &colour));
                fleet.start_agent();
            }
            2 => {
                fleet.kill_agent();
                fleet.center.restart();
                fleet.start_agent();
            }
            _ => {
                fleet.edge.restart();
                fleet.center.restart();
            }
        }
        fleet.edge_shows(&["cm", "c-0", "-n", "shop"], "/data/colour", &json!(colour));
        fleet.is_current("a", 6);
    }
    fleet.edge_shows(
        &["cm", "c-1", "-n", "shop"],
        "/data/colour",
        &json!("colour-1"),
    );
}

#[test]
fn without_a_center_the_edge_goes_on() {
    let Some(mut fleet) = placed() else { return };
    fleet.center.kill();
    fleet
        .edge
        .kubectl(&["delete", "cm", "c-0", "-n", "shop"])
        .expect();
    fleet.edge_shows(&["cm", "c-0", "-n", "shop"], "/data/colour", &json!("blue"));
    // Also when it starts anew.
    fleet.kill_agent();
    fleet
        .edge
        .kubectl(&["delete", "cm", "c-1", "-n", "shop"])
        .expect();
    fleet.start_agent();
    fleet.edge_shows(&["cm", "c-1", "-n", "shop"], "/data/colour", &json!("blue"));
    fleet.center.restart();
    fleet.is_current("a", 6);
}

#[test]
fn counts_read_as_before_while_every_edge_is_away() {
    let Some(mut fleet) = placed() else { return };
    fleet.kill_agent();
    let counts = |fleet: &Fleet| {
        let mut counts =
            fleet.center.get("root:p", &["bindingpolicy", "a"]).unwrap()["status"]["counts"]
                .clone();
        // Only freshness ages.
        counts.as_object_mut().unwrap().remove("stale");
        counts
    };
    let before = counts(&fleet);
    fleet.center.restart();
    assert_eq!(counts(&fleet), before);
}

#[test]
fn a_lost_state_directory_deletes_nothing_and_loses_no_ownership() {
    let Some(mut fleet) = placed() else { return };
    fleet.kill_agent();
    std::fs::remove_dir_all(fleet.state_directory()).unwrap();
    // What was removed at the center meanwhile goes, what was not stays.
    fleet
        .center
        .kubectl("root:p", &["delete", "cm", "c-4", "-n", "shop"])
        .expect();
    fleet.start_agent();
    fleet.edge_lacks(&["cm", "c-4", "-n", "shop"]);
    fleet.is_current("a", 5);
    fleet.center.apply("root:p", &config_map("c-0", "green"));
    fleet.edge_shows(
        &["cm", "c-0", "-n", "shop"],
        "/data/colour",
        &json!("green"),
    );
    for n in 1..4 {
        fleet
            .edge
            .get(&["cm", &format!("c-{n}"), "-n", "shop"])
            .unwrap();
    }
}

#[test]
fn a_center_from_an_old_copy_deletes_nothing_at_the_edge() {
    let Some(mut fleet) = placed() else { return };
    fleet.kill_agent();
    fleet.center.kill();
    let copy = fleet.scratch.path().join("copy");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(&fleet.center.directory)
        .arg(&copy)
        .status()
        .unwrap();
    assert!(copied.success());
    fleet.center.restart();
    fleet.start_agent();
    fleet.center.apply("root:p", &config_map("late", "blue"));
    fleet.edge_shows(
        &["cm", "late", "-n", "shop"],
        "/data/colour",
        &json!("blue"),
    );
    fleet.is_current("a", 7);

    // The center's disk is lost; a plain copy from before `late` takes its place and is written to.
    fleet.center.kill();
    std::fs::remove_dir_all(&fleet.center.directory).unwrap();
    std::fs::rename(&copy, &fleet.center.directory).unwrap();
    fleet.center.restart();
    for n in 0..30 {
        fleet
            .center
            .apply("root:p", &config_map("other", &format!("n{n}")));
    }
    fleet
        .center
        .kubectl("root:p", &["delete", "cm", "c-0", "-n", "shop"])
        .expect();
    let token = eventually("the edge is held and says how to go on", || {
        let cluster = fleet
            .center
            .get("root:inventory", &["managedcluster", "e1"])?;
        let conditions = cluster["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let held = conditions.iter().find(|c| {
            c["type"].as_str().is_some_and(|t| t.ends_with("Held")) && c["status"] == "True"
        });
        let message = held
            .and_then(|c| c["message"].as_str())
            .ok_or(format!("{conditions:?}"))?;
        let token = message
            .split_once("edge.atoll.dev/resume=")
            .map(|(_, rest)| rest.trim_end_matches([')', '.', ' ']).to_owned());
        token.ok_or(message.to_owned())
    });
    for name in ["late", "c-0", "c-1"] {
        fleet.edge.get(&["cm", name, "-n", "shop"]).unwrap();
    }
    fleet
        .center
        .atoll(&[
            "edges",
            "resume",
            "e1",
            &token,
            "--inventory",
            "root:inventory",
        ])
        .expect();
    fleet.edge_lacks(&["cm", "c-0", "-n", "shop"]);
    fleet.edge_shows(
        &["cm", "other", "-n", "shop"],
        "/data/colour",
        &json!("n29"),
    );
    // Nobody ever asked to remove it.
    fleet.edge.get(&["cm", "late", "-n", "shop"]).unwrap();
}
