//! Who may do what, over a real registry and store.

#![allow(clippy::unwrap_used)] // a test that cannot set itself up should end

mod common;

use std::sync::Arc;

use atoll_kube::UserInfo;
use atoll_registry::{Body, Decision, WriteOptions};
use common::{Center, admin, config_map, resource, run, user};
use serde_json::{Value, json};

fn cluster_role(name: &str, rules: Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules})
}

fn cluster_binding(name: &str, role: &str, users: &[&str]) -> Value {
    let subjects: Vec<Value> = users
        .iter()
        .map(|u| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": u}))
        .collect();
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}, "subjects": subjects})
}

fn binding(name: &str, namespace: &str, role: &str, user: &str) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]})
}

/// An organization with one user who may enter and read ConfigMaps in `default`, one who holds rights but may not enter.
async fn center(directory: &std::path::Path) -> Center {
    let center = Center::start(directory).await;
    center
        .workspace(&admin(), "root", "a", "universal")
        .await
        .unwrap();
    let objects = [
        (
            "clusterrolebindings",
            cluster_binding("enter", "system:kcp:workspace:access", &["reader"]),
        ),
        ("rolebindings", binding("read", "default", "view", "reader")),
        (
            "rolebindings",
            binding("inside", "default", "view", "outsider"),
        ),
    ];
    for (kind, object) in objects {
        center
            .create(&admin(), "root:a", kind, object)
            .await
            .unwrap();
    }
    center
}

#[test]
fn the_chain_decides_entry_before_rights() {
    run(|directory| async move {
        let center = center(&directory).await;
        let account = |home: &str| {
            let mut user = UserInfo::new(
                "system:serviceaccount:default:sa",
                ["system:serviceaccounts"],
            );
            user.extra.insert(
                "authentication.kcp.io/cluster-name".into(),
                vec![home.to_owned()],
            );
            Arc::new(user)
        };
        let here = center.cluster("root:a");
        center
            .create(
                &admin(),
                "root:a",
                "rolebindings",
                binding("sa", "default", "view", "system:serviceaccount:default:sa"),
            )
            .await
            .unwrap();
        let no = |why: &str| Decision::NoOpinion(why.to_owned());
        let (denied, shut) = (no("access denied"), no("workspace access not permitted"));
        let rows = [
            (
                admin(),
                "root:a",
                "list",
                "configmaps",
                "default",
                Decision::Allow,
            ),
            (
                user("reader", &[]),
                "root:a",
                "list",
                "configmaps",
                "default",
                Decision::Allow,
            ),
            (
                user("reader", &[]),
                "root:a",
                "create",
                "configmaps",
                "default",
                denied.clone(),
            ),
            (
                user("reader", &[]),
                "root:a",
                "list",
                "configmaps",
                "",
                denied.clone(),
            ),
            (
                user("reader", &[]),
                "root:a",
                "list",
                "secrets",
                "default",
                denied.clone(),
            ),
            (
                user("reader", &[]),
                "root",
                "list",
                "configmaps",
                "default",
                denied.clone(),
            ),
            (
                user("reader", &[]),
                "system:admin",
                "list",
                "clusterroles",
                "",
                denied.clone(),
            ),
            (
                user("outsider", &[]),
                "root:a",
                "list",
                "configmaps",
                "default",
                shut.clone(),
            ),
            (
                user("m", &["system:masters"]),
                "system:admin",
                "list",
                "clusterroles",
                "",
                Decision::Allow,
            ),
            (
                user("lca", &["system:kcp:logical-cluster-admin"]),
                "root:a",
                "delete",
                "logicalclusters",
                "",
                Decision::Allow,
            ),
            (
                account(here.as_str()),
                "root:a",
                "list",
                "configmaps",
                "default",
                Decision::Allow,
            ),
            (
                account("elsewhere"),
                "root:a",
                "list",
                "configmaps",
                "default",
                shut.clone(),
            ),
            (
                user("reader", &[]),
                "root:a",
                "create",
                "selfsubjectaccessreviews",
                "",
                Decision::Allow,
            ),
            (
                user("outsider", &[]),
                "root:a",
                "create",
                "selfsubjectaccessreviews",
                "",
                shut,
            ),
            (
                admin(),
                "root",
                "update",
                "workspaces/status",
                "",
                Decision::Allow,
            ),
        ];
        for (user, path, verb, kind, namespace, expected) in rows {
            let got = center.decide(&user, path, verb, kind, namespace, "");
            assert_eq!(
                got, expected,
                "{} {verb} {kind} in {path}/{namespace}",
                user.username
            );
        }
    });
}

#[test]
fn a_grant_counts_at_once_and_a_withdrawal_soon() {
    run(|directory| async move {
        let center = center(&directory).await;
        let reader = user("reader", &[]);
        let may = || {
            center.decide(&reader, "root:a", "create", "configmaps", "default", "")
                == Decision::Allow
        };
        assert!(!may());
        center
            .create(
                &admin(),
                "root:a",
                "rolebindings",
                binding("more", "default", "edit", "reader"),
            )
            .await
            .unwrap();
        assert!(may(), "the very next decision");
        center
            .delete(&admin(), "root:a", "rolebindings", "default", "more")
            .await
            .unwrap();
        for _ in 0..500 {
            if !may() {
                return;
            }
            tokio::task::yield_now().await;
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        panic!("a withdrawn right still counts");
    });
}

#[test]
fn required_groups_are_inherited_and_shut_out_others() {
    run(|directory| async move {
        let center = Center::start(&directory).await;
        let master = user("m", &["system:masters"]);
        let mut guarded = common::workspace("g", json!({"type": {"name": "universal"}}));
        guarded["metadata"]["annotations"] =
            json!({"authorization.kcp.io/required-groups": "red,blue;green"});
        center
            .create(&master, "root", "workspaces", guarded.clone())
            .await
            .unwrap();
        let child = center
            .workspace(&master, "root:g", "child", "universal")
            .await
            .unwrap();
        assert_eq!(
            child["metadata"]["annotations"]["authorization.kcp.io/required-groups"],
            "red,blue;green"
        );
        let denied = Decision::NoOpinion("workspace access not permitted".into());
        let member = |groups: &[&str]| user("somebody", &[&["system:kcp:admin"], groups].concat());
        for path in ["root:g", "root:g:child"] {
            for (groups, expected) in [
                (&[][..], &denied),
                (&["red"], &denied),
                (&["red", "blue"], &Decision::Allow),
                (&["green"], &Decision::Allow),
            ] {
                let got = center.decide(&member(groups), path, "list", "configmaps", "", "");
                assert_eq!(&got, expected, "{groups:?} in {path}");
            }
        }
        // Others cannot set it for themselves.
        guarded["metadata"]["name"] = json!("h");
        let made = center
            .create(&admin(), "root", "workspaces", guarded)
            .await
            .unwrap();
        assert!(
            made["metadata"]["annotations"]
                .get("authorization.kcp.io/required-groups")
                .is_none()
        );
    });
}

#[test]
fn payload_workspaces_are_entered_by_the_parents_word() {
    run(|directory| async move {
        let center = Center::start(&directory).await;
        center.workspace(&admin(), "root", "org", "").await.unwrap();
        let owner = user("owner", &[]);
        center
            .create(
                &admin(),
                "root:org",
                "clusterrolebindings",
                cluster_binding("owner", "cluster-admin", &["owner"]),
            )
            .await
            .unwrap();
        center
            .workspace(&owner, "root:org", "pay", "payload")
            .await
            .unwrap();
        for (level, name) in [("view", "pay"), ("edit", "pay"), ("admin", "other")] {
            let rules = json!([{"apiGroups": ["tenancy.kcp.io"], "resources": ["workspaces/content"], "verbs": [level], "resourceNames": [name]}]);
            center
                .create(
                    &admin(),
                    "root:org",
                    "clusterroles",
                    cluster_role(level, rules),
                )
                .await
                .unwrap();
            let to = cluster_binding(level, level, &[&format!("{level}er")]);
            center
                .create(&admin(), "root:org", "clusterrolebindings", to)
                .await
                .unwrap();
        }
        // RBAC stored in the payload workspace grants nothing there, and needs nothing to be stored.
        let inert = cluster_binding("inert", "cluster-admin", &["nobody"]);
        center
            .create(&owner, "root:org:pay", "clusterrolebindings", inert)
            .await
            .unwrap();
        let no = |why: &str| Decision::NoOpinion(why.to_owned());
        let (denied, shut) = (no("access denied"), no("workspace access not permitted"));
        let rows = [
            ("owner", "create", "clusterroles", Decision::Allow),
            ("viewer", "list", "deployments", Decision::Allow),
            ("viewer", "list", "secrets", denied.clone()),
            ("viewer", "create", "deployments", denied.clone()),
            ("editer", "create", "deployments", Decision::Allow),
            ("editer", "create", "clusterroles", denied),
            ("adminer", "list", "deployments", shut.clone()),
            ("nobody", "list", "deployments", shut),
            ("kcp-admin", "delete", "secrets", Decision::Allow),
        ];
        for (name, verb, kind, expected) in rows {
            let who = if name == "kcp-admin" {
                admin()
            } else {
                user(name, &[])
            };
            assert_eq!(
                center.decide(&who, "root:org:pay", verb, kind, "", ""),
                expected,
                "{name} {verb} {kind}"
            );
        }
        assert!(
            center
                .get(
                    &owner,
                    "root:org:pay",
                    "clusterrolebindings",
                    "",
                    "workspace-admin"
                )
                .await
                .is_err()
        );
    });
}

#[test]
fn nobody_grants_what_they_do_not_have() {
    run(|directory| async move {
        let center = center(&directory).await;
        let rules = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create", "update"]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]);
        center
            .create(
                &admin(),
                "root:a",
                "clusterroles",
                cluster_role("grantor", rules),
            )
            .await
            .unwrap();
        center
            .create(
                &admin(),
                "root:a",
                "clusterrolebindings",
                cluster_binding("grantor", "grantor", &["reader"]),
            )
            .await
            .unwrap();
        let reader = user("reader", &[]);
        let maps = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]);
        let secrets = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]);
        center
            .create(&reader, "root:a", "clusterroles", cluster_role("own", maps))
            .await
            .unwrap();
        let refused = center
            .create(
                &reader,
                "root:a",
                "clusterroles",
                cluster_role("more", secrets),
            )
            .await
            .unwrap_err();
        assert_eq!(
            refused.message,
            "clusterroles.rbac.authorization.k8s.io \"more\" is forbidden: user \"reader\" (groups=[\"system:authenticated\"]) \
             is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}"
        );
        center
            .create(
                &reader,
                "root:a",
                "clusterrolebindings",
                cluster_binding("own", "own", &["x"]),
            )
            .await
            .unwrap();
        let whole = center
            .create(
                &reader,
                "root:a",
                "clusterrolebindings",
                cluster_binding("whole", "cluster-admin", &["x"]),
            )
            .await;
        assert_eq!(whole.unwrap_err().code, 403);
        let missing = center
            .create(
                &reader,
                "root:a",
                "clusterrolebindings",
                cluster_binding("none", "nosuch", &["x"]),
            )
            .await;
        assert_eq!(missing.unwrap_err().code, 404);
    });
}

#[test]
fn workspace_types_need_use_in_their_own_cluster() {
    run(|directory| async move {
        let center = center(&directory).await;
        let own = json!({"apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "WorkspaceType", "metadata": {"name": "mine"}, "spec": {}});
        center
            .create(&admin(), "root", "workspacetypes", own)
            .await
            .unwrap();
        let rules = json!([{"apiGroups": ["tenancy.kcp.io"], "resources": ["workspaces"], "verbs": ["create"]}]);
        center
            .create(
                &admin(),
                "root:a",
                "clusterroles",
                cluster_role("maker", rules),
            )
            .await
            .unwrap();
        center
            .create(
                &admin(),
                "root:a",
                "clusterrolebindings",
                cluster_binding("maker", "maker", &["reader"]),
            )
            .await
            .unwrap();
        let reader = user("reader", &[]);
        center
            .workspace(&reader, "root:a", "w", "universal")
            .await
            .unwrap();
        let refused = center
            .workspace(&reader, "root:a", "v", "mine")
            .await
            .unwrap_err();
        // Whether a workspace above has such a type is not for them to know.
        assert_eq!(
            refused.message,
            "workspaces.tenancy.kcp.io \"v\" is forbidden: workspace type \"mine\" cannot be resolved"
        );
        // The maker is the administrator of what they made, and of nothing above.
        center
            .create(
                &reader,
                "root:a:w",
                "configmaps",
                config_map("c", "default"),
            )
            .await
            .unwrap();
    });
}

#[test]
fn reviews_answer_as_the_authorizer_does() {
    run(|directory| async move {
        let center = center(&directory).await;
        let ask = async |who: &Arc<UserInfo>, kind: &str, body: Value| {
            let call = center.call(
                who,
                "root:a",
                &resource(kind),
                body["metadata"]["namespace"].as_str().unwrap_or(""),
                "",
            );
            center
                .registry
                .create(&call, Body::Value(body), &WriteOptions::default())
                .await
                .and_then(|a| a.value())
        };
        let reader = user("reader", &[]);
        let review = |kind: &str, spec: Value| json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "metadata": {}, "spec": spec});
        let get = |verb: &str| json!({"resourceAttributes": {"namespace": "default", "verb": verb, "version": "v1", "resource": "configmaps"}});
        let own = ask(
            &reader,
            "selfsubjectaccessreviews",
            review("SelfSubjectAccessReview", get("get")),
        )
        .await
        .unwrap();
        assert_eq!(
            own["status"],
            json!({"allowed": true,
            "reason": "RBAC: allowed by RoleBinding \"read/default\" of ClusterRole \"view\" to User \"reader\""})
        );
        let own = ask(
            &reader,
            "selfsubjectaccessreviews",
            review("SelfSubjectAccessReview", get("create")),
        )
        .await
        .unwrap();
        assert_eq!(
            own["status"],
            json!({"allowed": false, "reason": "access denied"})
        );
        let mut spec = get("get");
        spec["user"] = json!("reader");
        let any = ask(
            &admin(),
            "subjectaccessreviews",
            review("SubjectAccessReview", spec.clone()),
        )
        .await
        .unwrap();
        assert_eq!(any["status"]["allowed"], true);
        let mut local = review("LocalSubjectAccessReview", spec);
        local["metadata"]["namespace"] = json!("other");
        assert_eq!(
            ask(&admin(), "localsubjectaccessreviews", local)
                .await
                .unwrap_err()
                .code,
            422
        );
        let rules = ask(
            &user("nobody", &[]),
            "selfsubjectrulesreviews",
            review("SelfSubjectRulesReview", json!({"namespace": "default"})),
        )
        .await
        .unwrap();
        assert_eq!(
            rules["status"]["resourceRules"].as_array().unwrap().len(),
            2
        );
        let who = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}});
        let who = ask(&reader, "selfsubjectreviews", who).await.unwrap();
        assert_eq!(
            who["status"]["userInfo"],
            json!({"username": "reader", "groups": ["system:authenticated"]})
        );
    });
}
