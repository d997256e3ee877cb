//! Mistakes that people make, and what they are told.

use super::{policy_says, refused_agent};
use crate::harness::{Center, scratch};

#[test]
fn what_a_policy_names_in_vain_is_said_at_once_and_later() {
    let scratch = scratch();
    let center = Center::start(&scratch.path().join("center"));
    center.workspace("root", "inventory", "inventory");
    center.workspace("root", "p", "payload");
    let policy = |name: &str, more: &str| {
        let policy = format!(
            "apiVersion: control.kubestellar.io/v1alpha1\nkind: BindingPolicy\nmetadata: {{name: {name}}}\nspec:\n  clusterSelectors: [{{matchLabels: {{place: here}}}}]\n{more}"
        );
        center.kubectl_in("root:p", &["apply", "-f", "-"], &policy)
    };
    for (name, resource, words) in [
        ("nodes", "nodes", "are never placed at edges"),
        ("events", "events", "are never placed at edges"),
        ("gizmos", "gizmos", "this workspace serves no \"gizmos\""),
        ("kind", "Deployment", "write the plural, \"deployments\""),
    ] {
        let clause = format!("  downsync: [{{resources: [configmaps, {resource}]}}]\n");
        let answer = policy(name, &clause);
        assert!(answer.ok, "{}", answer.stderr);
        assert!(
            answer.stderr.contains("Warning:") && answer.stderr.contains(words),
            "{}",
            answer.stderr
        );
        let status = policy_says(&center, "root:p", name, &words.replace('"', "\\\""));
        let conditions = status["conditions"].as_array().unwrap();
        let satisfied = conditions
            .iter()
            .find(|c| c["type"] == "BindingPolicySatisfied")
            .unwrap();
        assert_eq!(satisfied["status"], "False");
        assert!(satisfied["message"].as_str().unwrap().contains(words));
    }
    // A definition that comes later ends the complaint.
    let kind = super::definition("gizmos", "Gizmo", "");
    center.apply("root:p", &kind);
    policy_says(&center, "root:p", "gizmos", "\"Satisfied\"");

    let why = policy("bad", "  inventory: Root::x\n").refused();
    assert!(
        why.contains("spec.inventory") && why.contains("root:inventory"),
        "{why}"
    );
}

#[test]
fn an_agent_says_what_is_wrong_with_its_files() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    std::fs::write(
        at("cut.yaml"),
        "apiVersion: edge.atoll.dev/v1alpha1\nkind: Join\nserver: https://127.0.0.1:1\n",
    )
    .unwrap();
    std::fs::write(at("noise.yaml"), [0xff, 0xfe, 0x00, 0x01]).unwrap();
    std::fs::write(
        at("kube.yaml"),
        "apiVersion: v1\nkind: Config\ncontexts: []\n",
    )
    .unwrap();
    for (file, words) in [
        ("cut.yaml", "no certificateAuthorityData"),
        ("noise.yaml", "no text"),
        ("kube.yaml", "it is a kubeconfig: that goes to --kubeconfig"),
        ("missing.yaml", "No such file"),
    ] {
        let why = refused_agent(&at(file), &at("kube.yaml"), &at("state"));
        for words in [words, file, "atoll edges add"] {
            assert!(why.contains(words), "{words}: {why}");
        }
    }
    let center = Center::start(&at("center"));
    center.workspace("root", "inventory", "inventory");
    let join = at("e1.yaml");
    let add = ["edges", "add", "e1", "--inventory", "root:inventory", "-o"];
    let add = [add.as_slice(), &[join.to_str().unwrap()]].concat();
    center.atoll(&add).expect();
    for (kubeconfig, words) in [
        ("nope", "No such file"),
        ("kube.yaml", "no current context"),
        ("noise.yaml", "noise.yaml"),
    ] {
        let why = refused_agent(&join, &at(kubeconfig), &at("state"));
        assert!(why.contains(words) && why.contains(kubeconfig), "{why}");
        assert!(!at("state").exists(), "a refused start changes nothing");
    }
    // The easiest mistake: the center's own kubeconfig, which is what KUBECONFIG names in that terminal.
    let why = refused_agent(&join, &center.kubeconfig(), &at("state"));
    assert!(why.contains("not to an edge"), "{why}");
    assert!(!at("state").exists(), "a refused start changes nothing");
}
