//! Workspaces over a real registry and store: born in one append, of the right type, known by path and name.

#![allow(clippy::unwrap_used)] // a test that cannot set itself up should end

mod common;

use atoll_kube::meta;
use atoll_registry::ClusterResolver as _;
use common::{Center, admin, config_map, message, run, user, workspace};
use serde_json::{Value, json};

#[test]
fn a_workspace_is_ready_in_the_answer_and_the_next_request_works() {
    run(|directory| async move {
        let center = Center::start(&directory).await;
        let head = center.registry.store().head();
        let made = center
            .workspace(&admin(), "root", "a", "universal")
            .await
            .unwrap();
        assert_eq!(center.registry.store().head().0, head.0 + 1, "one append");
        assert_eq!(made["status"]["phase"], "Ready");
        assert_eq!(
            made["spec"]["type"],
            json!({"name": "universal", "path": "root"})
        );
        assert_eq!(
            made["spec"]["URL"],
            format!("{}/clusters/root:a", common::URL)
        );
        assert_eq!(meta::label(&made, "tenancy.kcp.io/phase"), Some("Ready"));
        assert_eq!(
            meta::finalizers(&made).collect::<Vec<_>>(),
            ["core.kcp.io/logicalcluster"]
        );
        let cluster = made["spec"]["cluster"].as_str().unwrap();
        assert_eq!(
            meta::annotation(&made, "internal.tenancy.kcp.io/cluster"),
            Some(cluster)
        );
        assert_eq!(
            meta::annotation(&made, "experimental.tenancy.kcp.io/owner"),
            Some("{\"username\":\"kcp-admin\"}")
        );

        center
            .create(&admin(), "root:a", "configmaps", config_map("c", "default"))
            .await
            .unwrap();
        center
            .get(&admin(), cluster, "configmaps", "default", "c")
            .await
            .unwrap();
        let lc = center
            .get(&admin(), "root:a", "logicalclusters", "", "cluster")
            .await
            .unwrap();
        assert_eq!(lc["spec"]["owner"]["uid"], made["metadata"]["uid"]);
        assert_eq!(lc["status"]["phase"], "Ready");
        assert_eq!(meta::annotation(&lc, "kcp.io/path"), Some("root:a"));
        assert_eq!(meta::annotation(&lc, "kcp.io/cluster"), Some(cluster));
        let binding = center
            .get(
                &admin(),
                "root:a",
                "clusterrolebindings",
                "",
                "workspace-admin",
            )
            .await
            .unwrap();
        assert_eq!(binding["subjects"][0]["name"], "kcp-admin");
    });
}

#[test]
fn types_are_defaulted_resolved_and_restricted() {
    run(|directory| async move {
        let center = Center::start(&directory).await;
        let defaulted = center.workspace(&admin(), "root", "org", "").await.unwrap();
        assert_eq!(defaulted["spec"]["type"]["name"], "organization");
        let below = center
            .workspace(&admin(), "root:org", "w", "")
            .await
            .unwrap();
        assert_eq!(
            below["spec"]["type"],
            json!({"name": "universal", "path": "root"})
        );
        center
            .workspace(&admin(), "root:org", "team", "team")
            .await
            .unwrap();
        center
            .workspace(&admin(), "root:org:w", "deeper", "")
            .await
            .unwrap();
        center
            .workspace(&admin(), "root:org:team", "pay", "payload")
            .await
            .unwrap();

        let own = json!({"apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "WorkspaceType", "metadata": {"name": "mine"},
            "spec": {"extend": {"with": [{"name": "payload", "path": "root"}]}, "additionalWorkspaceLabels": {"l": "v"}}});
        center
            .create(&admin(), "root:org", "workspacetypes", own)
            .await
            .unwrap();
        let mine = center
            .workspace(&admin(), "root:org:team", "p2", "mine")
            .await
            .unwrap();
        assert_eq!(
            mine["spec"]["type"],
            json!({"name": "mine", "path": "root:org"})
        );
        assert_eq!(meta::label(&mine, "l"), Some("v"));
        let kind = center
            .workspaces
            .tree
            .kind(&center.cluster("root:org:team:p2"))
            .unwrap();
        assert_eq!(
            kind,
            atoll_registry::ClusterKind::Payload,
            "a type that extends payload is one"
        );

        let rows = [
            (
                "root",
                "nosuch",
                403,
                "workspaces.tenancy.kcp.io \"x\" is forbidden: workspace type \"nosuch\" cannot be resolved",
            ),
            (
                "root",
                "team",
                403,
                "workspaces.tenancy.kcp.io \"x\" is forbidden: workspace type root:team only allows [root:organization root:team] parent workspaces, but parent type root:root only implements [root:root]",
            ),
            (
                "root",
                "home",
                403,
                "workspaces.tenancy.kcp.io \"x\" is forbidden: workspace type root:home does not allow parents",
            ),
            (
                "root:org:team:pay",
                "universal",
                403,
                "workspaces.tenancy.kcp.io \"x\" is forbidden: workspace type root:payload does not allow children",
            ),
        ];
        for (parent, of_type, code, text) in rows {
            let answer = message(center.workspace(&admin(), parent, "x", of_type).await);
            assert_eq!(
                (answer.0, answer.1.as_str()),
                (code, text),
                "{of_type} in {parent}"
            );
        }
        let set = workspace("x", json!({"cluster": "mine"}));
        assert_eq!(
            message(center.create(&admin(), "root", "workspaces", set).await).0,
            422
        );
        let taken = message(center.workspace(&admin(), "root", "org", "").await);
        assert_eq!(
            taken,
            (
                409,
                "workspaces.tenancy.kcp.io \"org\" already exists".to_owned()
            )
        );
    });
}

#[test]
fn what_the_system_filled_in_stays() {
    run(|directory| async move {
        let center = Center::start(&directory).await;
        let made = center
            .workspace(&admin(), "root", "a", "universal")
            .await
            .unwrap();
        let mut plain = workspace("a", json!({}));
        plain["metadata"]["labels"] = json!({"x": "y", "tenancy.kcp.io/phase": "Lies"});
        plain["metadata"]["annotations"] =
            json!({"experimental.tenancy.kcp.io/owner": "{\"username\":\"mallory\"}"});
        let updated = center
            .update(&admin(), "root", "workspaces", plain)
            .await
            .unwrap();
        assert_eq!(updated["spec"], made["spec"]);
        assert_eq!(
            updated["metadata"]["finalizers"],
            made["metadata"]["finalizers"]
        );
        let annotation = |object: &Value| {
            object["metadata"]["annotations"]["experimental.tenancy.kcp.io/owner"].clone()
        };
        assert_eq!(annotation(&updated), annotation(&made));
        assert_eq!(
            updated["metadata"]["labels"],
            json!({"x": "y", "tenancy.kcp.io/phase": "Ready"})
        );
        let mut other = updated.clone();
        other["spec"]["type"]["name"] = json!("organization");
        assert_eq!(
            message(center.update(&admin(), "root", "workspaces", other).await).0,
            422
        );
    });
}

#[test]
fn paths_and_names_resolve_or_say_why_not() {
    run(|directory| async move {
        let center = Center::start(&directory).await;
        let made = center.workspace(&admin(), "root", "a", "").await.unwrap();
        center.workspace(&admin(), "root:a", "b", "").await.unwrap();
        let cluster = made["spec"]["cluster"].as_str().unwrap();
        let tree = &center.workspaces.tree;
        assert_eq!(tree.resolve("root:a").unwrap().as_str(), cluster);
        assert_eq!(
            tree.resolve(&format!("{cluster}:b")).unwrap(),
            tree.resolve("root:a:b").unwrap()
        );
        let rows = [
            (
                "Root",
                400,
                "invalid cluster: \"Root\" does not match the regex ^[a-z0-9]([-a-z0-9]*[a-z0-9])?(:[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
            ),
            (
                "root:x",
                404,
                "workspaces.tenancy.kcp.io \"root:x\" not found",
            ),
            (
                "root:a:x:y",
                404,
                "workspaces.tenancy.kcp.io \"root:a:x:y\" not found",
            ),
            (
                "user:nobody",
                404,
                "workspaces.tenancy.kcp.io \"user:nobody\" not found",
            ),
            ("nosuch", 403, "forbidden: LogicalCluster not found"),
            (
                "system:nosuch",
                404,
                "workspaces.tenancy.kcp.io \"system:nosuch\" not found",
            ),
        ];
        for (path, code, text) in rows {
            let status = tree.resolve(path).unwrap_err();
            assert_eq!(
                (status.code, status.message.as_ref()),
                (code, text),
                "{path}"
            );
        }
    });
}

#[test]
fn homes_are_made_on_first_sight_and_are_their_owners() {
    run(|directory| async move {
        let center = Center::start(&directory).await;
        let alice = user("alice", &[]);
        let home = center
            .workspaces
            .home(&center.registry, &alice)
            .await
            .unwrap();
        assert_eq!(home["metadata"]["name"], "cluster");
        assert_eq!(
            home["spec"],
            json!({"cluster": "v1u4alow0iv9", "URL": format!("{}/clusters/v1u4alow0iv9", common::URL)})
        );
        assert_eq!(home["status"]["phase"], "Ready");
        assert_eq!(
            center
                .workspaces
                .home(&center.registry, &alice)
                .await
                .unwrap(),
            home
        );
        center
            .create(
                &alice,
                "user:alice",
                "configmaps",
                config_map("c", "default"),
            )
            .await
            .unwrap();
        let below = center
            .workspace(&alice, "user:alice", "w", "")
            .await
            .unwrap();
        assert_eq!(below["spec"]["type"]["name"], "universal");
        center
            .create(
                &alice,
                "user:alice:w",
                "configmaps",
                config_map("c", "default"),
            )
            .await
            .unwrap();
        assert_eq!(
            message(
                center
                    .get(
                        &user("bob", &[]),
                        "user:alice",
                        "configmaps",
                        "default",
                        "c"
                    )
                    .await
            )
            .0,
            403
        );

        let stranger = std::sync::Arc::new(atoll_kube::UserInfo::new("user-2", ["somebody"]));
        let refused = message(center.workspaces.home(&center.registry, &stranger).await);
        assert_eq!(refused, (403, "workspaces.tenancy.kcp.io \"~\" is forbidden: User \"user-2\" cannot create resource \"workspaces\" in API group \"tenancy.kcp.io\" at the cluster scope: workspace access not permitted".to_owned()));
    });
}

#[test]
fn a_second_start_writes_nothing_but_what_is_missing() {
    run(|directory| async move {
        let first = Center::start(&directory).await;
        let head = first.registry.store().head();
        first.stop().await;
        let center = Center::start_with(&directory, false).await;
        let now = center.registry.store().head();
        assert!(
            now.0 <= head.0 + 1,
            "at most the store's own mark of a start: {head:?} {now:?}"
        );
        let roles = center
            .get(
                &user("m", &["system:masters"]),
                "system:admin",
                "clusterroles",
                "",
                "cluster-admin",
            )
            .await
            .unwrap();
        assert_eq!(roles["rules"][0]["verbs"], json!(["*"]));
    });
}

#[test]
fn what_cannot_act_yet_is_refused() {
    run(|directory| async move {
        let center = Center::start(&directory).await;
        let binding = json!({"apiVersion": "apis.kcp.io/v1alpha2", "kind": "APIBinding", "metadata": {"name": "b"},
            "spec": {"reference": {"export": {"path": "root", "name": "x"}}}});
        let (code, text) = message(
            center
                .create(&admin(), "root", "apibindings", binding)
                .await,
        );
        assert!(
            code == 405 && text.contains("not built yet"),
            "{code} {text}"
        );
    });
}
