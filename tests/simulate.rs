//! A small simulated fleet, with everything the large one has: hubs, churn, edges that are away, and kill -9 of the center in the middle of a change.

use std::process::Command;

use serde_json::Value;

use crate::harness::{ATOLL, Answer, scratch};

fn simulate(arguments: &[&str]) -> Answer {
    let scratch = scratch();
    let directory = scratch.path().join("center");
    Answer::of(
        Command::new(ATOLL)
            .args(["simulate", "--json", "--timeout", "120", "--root-directory"])
            .arg(&directory)
            .args(arguments),
    )
}

#[test]
fn every_destination_gets_what_the_oracle_expects() {
    let answer = simulate(&[
        "--destinations=400",
        "--hubs=5",
        "--policies=6",
        "--objects=4-20",
        "--copies=12",
        "--churn=2",
        "--templated=5",
    ]);
    let report: Value = serde_json::from_str(&answer.expect()).unwrap();
    assert_eq!(report["faults"], serde_json::json!([]));
    let figure = |what: &str| {
        let figures = report["figures"].as_array().unwrap();
        let found = figures.iter().find(|f| f["what"] == what);
        found.and_then(|f| f["value"].as_f64()).unwrap()
    };
    assert_eq!(figure("sent again to who had it"), 0.0);
    assert!(figure("copies held and acknowledged") > 1000.0);
    assert_eq!(
        figure("copies reported"),
        figure("copies acknowledged"),
        "what was reported is durable"
    );
}

#[test]
fn no_rollout_policy_lets_more_change_at_a_time_than_it_may() {
    let answer = simulate(&[
        "--destinations=300",
        "--hubs=4",
        "--policies=4",
        "--objects=4-10",
        "--copies=10",
        "--rollouts=2",
        "--failure-rate=0",
        "--offline=0.03",
        "--churn=1",
    ]);
    let report: Value = serde_json::from_str(&answer.expect()).unwrap();
    assert_eq!(report["faults"], serde_json::json!([]));
    let figures = report["figures"].as_array().unwrap();
    let watched = figures
        .iter()
        .filter(|f| f["what"].as_str().unwrap().contains("at a time, policy-"));
    assert_eq!(
        watched.count(),
        4,
        "two policies, two changes: {figures:#?}"
    );
}

#[test]
fn a_directory_that_is_used_is_left_alone() {
    let scratch = scratch();
    std::fs::write(scratch.path().join("mine"), "precious").unwrap();
    let refused = Answer::of(
        Command::new(ATOLL)
            .args(["simulate", "--destinations=1", "--root-directory"])
            .arg(scratch.path()),
    )
    .refused();
    assert!(refused.contains("not empty"), "{refused}");
}
