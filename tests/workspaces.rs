//! Workspaces: made Ready by one request, entered, isolated, deleted with all that is in them.

use serde_json::json;

use crate::harness::{ATOLL, Answer, Center, eventually, scratch};

fn center() -> (tempfile::TempDir, Center) {
    let scratch = scratch();
    let center = Center::start(&scratch.path().join("center"));
    (scratch, center)
}

fn create(center: &Center, parent: &str, name: &str, kind: &str) -> serde_json::Value {
    let spec = if kind.is_empty() {
        String::new()
    } else {
        format!("spec: {{type: {{name: {kind}, path: root}}}}\n")
    };
    let manifest = format!(
        "apiVersion: tenancy.kcp.io/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\n{spec}"
    );
    center
        .kubectl_in(parent, &["create", "-f", "-", "-o", "json"], &manifest)
        .json()
        .unwrap()
}

#[test]
fn the_very_next_request_succeeds() {
    let (_scratch, center) = center();
    for n in 0..5 {
        let name = format!("w-{n}");
        let workspace = create(&center, "root", &name, "universal");
        let path = format!("root:{name}");
        center
            .kubectl(&path, &["create", "configmap", "c"])
            .expect();
        let cluster = workspace["spec"]["cluster"].as_str().unwrap().to_owned();
        assert_eq!(cluster.len(), 16);
        assert_eq!(
            center.get(&cluster, &["configmap", "c"]).unwrap()["metadata"]["annotations"]["kcp.io/cluster"],
            json!(cluster)
        );
        assert!(
            workspace["spec"]["URL"]
                .as_str()
                .unwrap()
                .ends_with(&format!("/clusters/{path}"))
        );
    }
}

#[test]
fn types_and_parents_follow_kcps_rules() {
    let (_scratch, center) = center();
    assert_eq!(
        create(&center, "root", "org", "")["spec"]["type"],
        json!({"name": "organization", "path": "root"})
    );
    assert_eq!(
        create(&center, "root:org", "any", "")["spec"]["type"]["name"],
        "universal"
    );
    create(&center, "root:org", "team", "team");
    create(&center, "root:org:team", "deep", "universal");
    create(&center, "root:org:team", "load", "payload");
    let refused = |parent: &str, kind: &str| {
        let manifest = format!(
            "apiVersion: tenancy.kcp.io/v1alpha1\nkind: Workspace\nmetadata: {{name: x}}\nspec: {{type: {{name: {kind}, path: root}}}}\n"
        );
        center
            .kubectl_in(parent, &["create", "-f", "-"], &manifest)
            .refused()
    };
    assert!(refused("root:org", "organization").contains("organization"));
    refused("root:org:team:load", "universal");
    let unknown = refused("root", "nonsense");
    assert!(unknown.contains("nonsense"), "{unknown}");
    let absent = center
        .kubectl(
            "root",
            &["get", "--raw", "/clusters/root:absent/api/v1/namespaces"],
        )
        .refused();
    assert!(
        absent.contains("workspaces.tenancy.kcp.io \"root:absent\" not found"),
        "{absent}"
    );
}

#[test]
fn atoll_ws_walks_the_tree() {
    let (_scratch, center) = center();
    let ws = |arguments: &[&str]| {
        let mut all = vec!["ws"];
        all.extend_from_slice(arguments);
        center.atoll(&all).expect()
    };
    assert!(ws(&["."]).contains("Current workspace is 'root'."));
    ws(&["create", "org", "--type", "organization", "--enter"]);
    assert!(ws(&["."]).contains("'root:org'"));
    ws(&["create", "app"]);
    assert!(ws(&["app"]).contains("Current workspace is 'root:org:app' (type root:universal)."));
    assert!(ws(&[".."]).contains("'root:org'"));
    assert!(ws(&["-"]).contains("'root:org:app'"));
    assert!(ws(&[":root"]).contains("'root'"));
    let tree = ws(&["tree"]);
    assert!(tree.contains("org") && tree.contains("app"), "{tree}");
    assert!(!center.atoll(&["ws", "nowhere"]).ok);
    assert!(ws(&["~"]).contains("Current workspace is"));
}

#[test]
fn one_workspace_does_not_see_another() {
    let (_scratch, center) = center();
    center.workspace("root", "a", "universal");
    center.workspace("root", "b", "universal");
    center
        .kubectl("root:a", &["create", "configmap", "secret-plan"])
        .expect();
    assert!(
        !center
            .kubectl("root:b", &["get", "cm", "-A"])
            .expect()
            .contains("secret-plan")
    );
    center
        .kubectl("root:b", &["get", "cm", "secret-plan"])
        .refused();
}

#[test]
fn rbac_acts_in_a_universal_workspace_and_not_in_a_payload() {
    let (_scratch, center) = center();
    center.workspace("root", "u", "universal");
    center.workspace("root", "p", "payload");
    let as_ann = |path: &str, arguments: &[&str]| {
        let mut all = vec!["--as=ann", "--as-group=system:authenticated"];
        all.extend_from_slice(arguments);
        center.kubectl(path, &all)
    };
    as_ann("root:u", &["get", "cm"]).refused();
    for (path, role) in [("root:u", "view"), ("root:p", "cluster-admin")] {
        let binding = [
            "create",
            "clusterrolebinding",
            "ann",
            &format!("--clusterrole={role}"),
            "--user=ann",
        ];
        center.kubectl(path, &binding).expect();
    }
    let access = [
        "create",
        "clusterrolebinding",
        "ann-enters",
        "--clusterrole=system:kcp:workspace:access",
        "--user=ann",
    ];
    center.kubectl("root:u", &access).expect();
    as_ann("root:u", &["get", "cm"]).expect();
    let why = as_ann("root:u", &["create", "configmap", "x"]).refused();
    assert!(why.contains("forbidden") && why.contains("ann"), "{why}");
    as_ann("root:p", &["get", "cm"]).refused();
    let content = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: p-editors}\nrules: [{apiGroups: [tenancy.kcp.io], resources: [workspaces/content], resourceNames: [p], verbs: [edit]}]\n";
    center.apply("root", content);
    center
        .kubectl(
            "root",
            &[
                "create",
                "clusterrolebinding",
                "ann-edits",
                "--clusterrole=p-editors",
                "--user=ann",
            ],
        )
        .expect();
    as_ann("root:p", &["create", "configmap", "x"]).expect();
}

#[test]
fn deletion_empties_children_first_and_honours_finalizers() {
    let (_scratch, center) = center();
    center.workspace("root", "top", "universal");
    center.workspace("root:top", "child", "universal");
    let held =
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.com/hold]}\n";
    center.apply("root:top:child", held);
    center
        .kubectl("root:top", &["create", "configmap", "plain"])
        .expect();
    center
        .kubectl("root", &["delete", "workspace", "top", "--wait=false"])
        .expect();
    eventually("the finalizer is named", || {
        let cluster = center.get("root:top:child", &["logicalcluster", "cluster"])?;
        let text = cluster["status"]["conditions"].to_string();
        if text.contains("WorkspaceContentDeleted") && text.contains("example.com/hold") {
            Ok(())
        } else {
            Err(text)
        }
    });
    let release = r#"[{"op":"remove","path":"/metadata/finalizers"}]"#;
    center
        .kubectl(
            "root:top:child",
            &["patch", "cm", "held", "--type=json", "-p", release],
        )
        .expect();
    eventually("the workspace is gone", || {
        match center.get("root", &["workspace", "top"]) {
            Err(why) if why.contains("NotFound") => Ok(()),
            other => Err(other),
        }
    });
}

#[test]
fn a_deletion_goes_on_after_kill_9() {
    let (_scratch, mut center) = center();
    center.workspace("root", "big", "universal");
    let many: String = (0..300)
        .map(|n| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c-{n}}}\n"))
        .collect();
    center
        .kubectl_in("root:big", &["create", "-f", "-"], &many)
        .expect();
    center
        .kubectl("root", &["delete", "workspace", "big", "--wait=false"])
        .expect();
    center.restart();
    eventually("the workspace is gone", || {
        match center.get("root", &["workspace", "big"]) {
            Err(why) if why.contains("NotFound") => Ok(()),
            other => Err(other),
        }
    });
}

#[test]
fn the_binary_is_a_kubectl_plugin_under_another_name() {
    let (scratch, center) = center();
    let plugin = scratch.path().join("kubectl-ws");
    std::os::unix::fs::symlink(ATOLL, &plugin).unwrap();
    let path = format!(
        "{}:{}",
        scratch.path().display(),
        std::env::var("PATH").unwrap()
    );
    let mut kubectl = std::process::Command::new("kubectl");
    kubectl
        .args(["ws", "."])
        .env("PATH", path)
        .env("KUBECONFIG", center.kubeconfig());
    assert_eq!(
        Answer::of(&mut kubectl).expect().trim(),
        "Current workspace is 'root'."
    );
}

#[test]
fn an_unknown_type_is_answered_with_those_there_are() {
    let (_scratch, center) = center();
    let why = center
        .atoll(&["ws", "create", "app", "--type", "nosuch"])
        .refused();
    for known in ["nosuch", "universal", "payload", "inventory"] {
        assert!(why.contains(known), "{why}");
    }
}
