//! Issue: "the center": what a start gives, and what is there without asking who you are.

use std::process::Command;

use crate::harness::{ATOLL, Answer, Center, kubectl, read, scratch};

#[test]
fn a_start_writes_kcps_kubeconfig_and_is_ready() {
    let scratch = scratch();
    let mut center = Center::start(&scratch.path().join("center"));
    let kubeconfig = center.kubeconfig();
    let contexts = kubectl(&kubeconfig, &["config", "get-contexts", "-o", "name"]).expect();
    let mut contexts: Vec<&str> = contexts.lines().collect();
    contexts.sort_unstable();
    assert_eq!(contexts, ["base", "root", "shard-base", "system:admin"]);
    assert_eq!(
        kubectl(&kubeconfig, &["config", "current-context"])
            .expect()
            .trim(),
        "root"
    );
    for name in [
        "apiserver.crt",
        "apiserver.key",
        "sa.key",
        ".admin-token-store",
    ] {
        assert!(center.directory.join(name).exists(), "{name}");
    }
    assert_eq!(
        std::fs::read(center.directory.join(".admin-token-store"))
            .unwrap()
            .len(),
        32
    );
    for path in ["/livez", "/readyz", "/healthz"] {
        assert_eq!(
            kubectl(&kubeconfig, &["get", "--raw", path])
                .expect()
                .trim(),
            "ok",
            "{path}"
        );
    }
    assert!(
        kubectl(&kubeconfig, &["get", "--raw", "/readyz?verbose"])
            .expect()
            .contains("[+]ping ok")
    );
    let version = kubectl(&kubeconfig, &["version", "-o", "json"]).expect();
    assert!(version.contains("\"gitVersion\": \"v1.36."), "{version}");
    assert!(center.terminate(), "SIGTERM ends it cleanly");
}

#[test]
fn the_admin_token_is_new_at_each_start_and_the_shard_admins_stays() {
    let scratch = scratch();
    let mut center = Center::start(&scratch.path().join("center"));
    let tokens = |text: &str| -> Vec<String> {
        text.lines()
            .filter_map(|l| l.trim().strip_prefix("token: "))
            .map(str::to_owned)
            .collect()
    };
    let first = tokens(&read(&center.kubeconfig()));
    center.restart();
    let second = tokens(&read(&center.kubeconfig()));
    assert_eq!((first.len(), second.len()), (2, 2));
    assert_eq!(first.iter().filter(|t| second.contains(t)).count(), 1);
}

#[test]
fn strangers_get_health_and_version_and_nothing_else() {
    let scratch = scratch();
    let center = Center::start(&scratch.path().join("center"));
    let server = format!("https://127.0.0.1:{}", center.port);
    let nobody = |path: &str| {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--fail-with-body",
            "--insecure",
            "--max-time",
            "20",
        ]);
        Answer::of(curl.arg(format!("{server}{path}")))
    };
    for path in ["/livez", "/readyz", "/version"] {
        nobody(path).expect();
    }
    for path in [
        "/metrics",
        "/clusters/root/api",
        "/clusters/root/api/v1/namespaces",
        "/clusters/root/openapi/v3",
    ] {
        let answer = nobody(path);
        assert!(
            !answer.ok && answer.stdout.contains("\"kind\":\"Status\""),
            "{path}: {answer:?}"
        );
    }
}

#[test]
fn kcps_flags_are_accepted_and_the_pointless_ones_named() {
    let scratch = scratch();
    let center = Center::start_with(
        &scratch.path().join("center"),
        &[
            "--embedded-etcd-client-port=2379",
            "--v=2",
            "--shard-name=root",
        ],
    );
    assert!(
        center
            .process()
            .output()
            .contains("embedded-etcd-client-port"),
        "{}",
        center.process().output()
    );
}

#[test]
fn metrics_do_not_grow_with_workspaces() {
    let scratch = scratch();
    let center = Center::start(&scratch.path().join("center"));
    let series = || {
        let admin = ["--context", "shard-base", "get", "--raw", "/metrics"];
        let text = kubectl(&center.kubeconfig(), &admin).expect();
        let names = text
            .lines()
            .filter(|l| !l.starts_with('#'))
            .filter_map(|l| l.rsplit_once(' '));
        names
            .map(|(name, _)| name.to_owned())
            .collect::<std::collections::BTreeSet<String>>()
    };
    let touch = |name: &str| {
        center.workspace("root", name, "universal");
        center
            .kubectl(&format!("root:{name}"), &["get", "configmaps"])
            .expect();
    };
    // Twice, so that every kind of answer that these requests may get was seen.
    touch("first");
    touch("second");
    series();
    let before = series();
    for n in 0..5 {
        touch(&format!("more-{n}"));
    }
    let more: Vec<String> = series().difference(&before).cloned().collect();
    assert_eq!(more, Vec::<String>::new());
}

#[test]
fn a_second_center_on_the_same_directory_is_refused() {
    let scratch = scratch();
    let center = Center::start(&scratch.path().join("center"));
    let mut second = Command::new(ATOLL);
    second
        .arg("start")
        .arg("--root-directory")
        .arg(&center.directory)
        .args(["--bind-address", "127.0.0.1", "--secure-port", "0"]);
    let why = Answer::of(&mut second).refused();
    assert!(why.contains("error:"), "{why}");
    // ... and has changed nothing: the administrator's token is still the first one's.
    kubectl(&center.kubeconfig(), &["get", "workspaces"]).expect();
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_sending() {
    let scratch = scratch();
    let center = Center::start(&scratch.path().join("center"));
    let body = scratch.path().join("body");
    std::fs::write(&body, "x".repeat(2 << 20)).unwrap();
    for _ in 0..5 {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--show-error",
            "--insecure",
            "--max-time",
            "20",
            "--http2",
        ]);
        curl.args([
            "-X",
            "POST",
            "-H",
            "Authorization: Bearer wrong",
            "--data-binary",
        ]);
        curl.arg(format!("@{}", body.display()));
        curl.arg(format!(
            "https://127.0.0.1:{}/clusters/root/api/v1/namespaces",
            center.port
        ));
        let answer = Answer::of(&mut curl).expect();
        assert!(answer.contains("Unauthorized"), "{answer}");
    }
}
