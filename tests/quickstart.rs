//! The README's first command.

use std::process::Command;

use crate::harness::{ATOLL, Answer, real_edge::RealEdge, scratch};

#[test]
fn all_is_healthy_and_a_second_run_goes_on() {
    let scratch = scratch();
    for _ in 0..2 {
        let mut quickstart = Command::new(ATOLL);
        quickstart
            .args([
                "quickstart",
                "--once",
                "--timeout",
                "120",
                "--edges",
                "2",
                "--root-directory",
            ])
            .arg(scratch.path());
        let shown = Answer::of(&mut quickstart).expect();
        assert!(shown.contains("only pretends"), "{shown}");
        assert!(
            shown.contains("copies: 16 expected, 16 current, 0 outdated, 0 failed, 0 unreported"),
            "{shown}"
        );
        assert!(shown.contains("All is healthy."), "{shown}");
    }
}

#[test]
fn it_says_why_not_all_is_healthy() {
    let scratch = scratch();
    let mut quickstart = Command::new(ATOLL);
    quickstart
        .args([
            "quickstart",
            "--once",
            "--timeout",
            "1",
            "--edge-context",
            "nowhere",
            "--root-directory",
        ])
        .arg(scratch.path());
    quickstart.env("KUBECONFIG", scratch.path().join("absent"));
    let why = Answer::of(&mut quickstart).refused();
    assert!(why.contains("nowhere"), "{why}");
}

#[test]
fn a_real_cluster_of_the_users_kubeconfig_is_an_edge_too() {
    let scratch = scratch();
    let Some(edge) = RealEdge::start(&scratch.path().join("edge")) else {
        return;
    };
    let context = edge.kubectl(&["config", "current-context"]).expect();
    let mut quickstart = Command::new(ATOLL);
    quickstart.args(["quickstart", "--once", "--timeout", "120"]);
    quickstart.args(["--edge-context", context.trim(), "--root-directory"]);
    quickstart.arg(scratch.path().join("root"));
    quickstart.env("KUBECONFIG", edge.kubeconfig());
    let shown = Answer::of(&mut quickstart).expect();
    assert!(shown.contains("copies: 8 expected, 8 current"), "{shown}");
    let menu = edge.get(&["menu", "today", "-n", "shop"]).unwrap();
    assert_eq!(menu["spec"]["dishes"][0], "soup");
}
