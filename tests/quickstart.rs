//! The README's first command.

use std::process::Command;

use crate::harness::{ATOLL, Answer, scratch};

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
