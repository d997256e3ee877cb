//! Backup of a running center, restore, and damage that is refused.

use std::{fs, process::Command};

use serde_json::json;

use crate::harness::{ATOLL, Answer, Center, scratch};

fn config_map(colour: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\ndata: {{colour: {colour}}}\n"
    )
}

#[test]
fn a_backup_of_a_running_center_is_restored_with_revisions_that_never_repeat() {
    let scratch = scratch();
    let path = |name: &str| scratch.path().join(name);
    let mut center = Center::start(&path("center"));
    center.workspace("root", "u", "universal");
    center.apply("root:u", &config_map("before"));
    let atoll = |verb: &str, root: &str, backup: &str| {
        Answer::of(
            Command::new(ATOLL)
                .args([verb, "--root-directory"])
                .arg(path(root))
                .arg(path(backup)),
        )
    };
    atoll("backup", "center", "backup").expect();
    center.apply("root:u", &config_map("after"));
    let last = center.get("root:u", &["cm", "settings"]).unwrap();
    center.kill();

    atoll("restore", "restored", "backup").expect();
    let refused = atoll("restore", "restored", "backup").refused();
    assert!(refused.contains("restored"), "{refused}");
    let restored = Center::start(&path("restored"));
    let settings = restored.get("root:u", &["cm", "settings"]).unwrap();
    assert_eq!(settings["data"]["colour"], json!("before"));
    restored.apply("root:u", &config_map("again"));
    let revision = |object: &serde_json::Value| {
        object["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let again = restored.get("root:u", &["cm", "settings"]).unwrap();
    assert!(revision(&again) > revision(&last) + 1_000_000, "{again}");
}

#[test]
fn a_damaged_log_is_refused_with_a_remedy() {
    let scratch = scratch();
    let mut center = Center::start(&scratch.path().join("center"));
    center.workspace("root", "u", "universal");
    for n in 0..20 {
        center.apply("root:u", &config_map(&format!("c{n}")));
    }
    center.kill();
    let log = center.directory.join("store").join("log");
    let segment = fs::read_dir(&log)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.is_file())
        .min()
        .unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&segment, bytes).unwrap();
    let mut start = Command::new("timeout");
    start
        .args([
            "20",
            ATOLL,
            "start",
            "--bind-address",
            "127.0.0.1",
            "--secure-port",
            "0",
            "--root-directory",
        ])
        .arg(&center.directory);
    let why = Answer::of(&mut start).refused();
    assert!(
        why.contains("atoll restore") && why.contains("store"),
        "{why}"
    );
}
