//! Deleting workspaces over a real registry and store: children first, finalizers honoured, also after a restart.

#![allow(clippy::unwrap_used)] // a test that cannot set itself up should end

mod common;

use atoll_kube::meta;
use atoll_registry::ClusterResolver as _;
use common::{Center, admin, config_map, message, run, user};
use serde_json::{Value, json};

/// What the store still holds of a logical cluster, family by family.
fn left_behind(center: &Center, cluster: &str) -> Vec<(Vec<u8>, u64)> {
    let snapshot = center
        .registry
        .store()
        .snapshot(atoll_store::At::Latest)
        .unwrap();
    let from = atoll_store::families_of(cluster.as_bytes());
    let all = snapshot
        .index_values(atoll_store::FAMILIES, &from)
        .map(Result::unwrap);
    all.take_while(|(value, _)| value.starts_with(&from))
        .collect()
}

#[test]
fn deletion_empties_children_first_and_frees_the_name() {
    run(|directory| async move {
        let center = Center::start(&directory).await;
        let first = center
            .workspace(&admin(), "root", "a", "universal")
            .await
            .unwrap();
        center
            .workspace(&admin(), "root:a", "b", "universal")
            .await
            .unwrap();
        for n in 0..30 {
            center
                .create(
                    &admin(),
                    "root:a:b",
                    "configmaps",
                    config_map(&format!("c{n}"), "default"),
                )
                .await
                .unwrap();
        }
        let (outer, inner) = (center.cluster("root:a"), center.cluster("root:a:b"));
        let marked = center
            .delete(&admin(), "root", "workspaces", "", "a")
            .await
            .unwrap();
        assert_eq!(marked["status"]["phase"], "Deleting");
        assert_eq!(
            meta::label(&marked, "tenancy.kcp.io/phase"),
            Some("Deleting")
        );
        let gone = |path: &str| center.workspaces.tree.resolve(path).is_err();
        center.until("root:a is gone", || gone("root:a")).await;
        for cluster in [outer, inner] {
            assert_eq!(left_behind(&center, cluster.as_str()), [], "{cluster}");
        }
        let again = center
            .workspace(&admin(), "root", "a", "universal")
            .await
            .unwrap();
        assert_ne!(again["spec"]["cluster"], first["spec"]["cluster"]);
        center
            .create(&admin(), "root:a", "configmaps", config_map("c", "default"))
            .await
            .unwrap();
    });
}

#[test]
fn definitions_their_objects_and_namespaces_go_too() {
    run(|directory| async move {
        let center = Center::start(&directory).await;
        center
            .workspace(&admin(), "root", "a", "universal")
            .await
            .unwrap();
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced",
                "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
        center
            .create(&admin(), "root:a", "customresourcedefinitions", crd)
            .await
            .unwrap();
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "x"}});
        center
            .create(&admin(), "root:a", "namespaces", namespace)
            .await
            .unwrap();
        for n in 0..3 {
            let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget",
                "metadata": {"name": format!("w{n}"), "namespace": "x"}});
            center
                .create(&admin(), "root:a", "widgets", widget)
                .await
                .unwrap();
        }
        let cluster = center.cluster("root:a");
        center
            .delete(&admin(), "root", "workspaces", "", "a")
            .await
            .unwrap();
        let tree = center.workspaces.tree.clone();
        center
            .until("root:a is gone", || tree.resolve("root:a").is_err())
            .await;
        assert_eq!(left_behind(&center, cluster.as_str()), []);
    });
}

#[test]
fn finalizers_are_waited_for_and_named_also_after_a_restart() {
    run(|directory| async move {
        let mut held = config_map("held", "default");
        held["metadata"]["finalizers"] = json!(["example.com/wait"]);
        {
            let center = Center::start_with(&directory, false).await;
            center
                .workspace(&admin(), "root", "a", "universal")
                .await
                .unwrap();
            center
                .create(&admin(), "root:a", "configmaps", held)
                .await
                .unwrap();
            center
                .create(
                    &admin(),
                    "root:a",
                    "configmaps",
                    config_map("free", "default"),
                )
                .await
                .unwrap();
            center
                .delete(&admin(), "root", "workspaces", "", "a")
                .await
                .unwrap();
            let refused = center
                .create(
                    &admin(),
                    "root:a",
                    "configmaps",
                    config_map("late", "default"),
                )
                .await;
            assert_eq!(
                message(refused).0,
                403,
                "nothing new in what is being deleted"
            );
            center.stop().await;
        }
        let center = Center::start(&directory).await;
        let tree = center.workspaces.tree.clone();
        let condition = |object: &Value| {
            let conditions = object["status"]["conditions"].as_array().unwrap();
            conditions
                .iter()
                .find(|c| c["type"] == "WorkspaceContentDeleted")
                .map(|c| c["message"].as_str().unwrap().to_owned())
        };
        let mut said = None;
        for _ in 0..400 {
            said = condition(
                &center
                    .get(&admin(), "root", "workspaces", "", "a")
                    .await
                    .unwrap(),
            );
            if said
                .as_deref()
                .is_some_and(|text| text.contains("finalizers"))
            {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let said = said.expect("the Workspace says what remains");
        assert!(
            said.contains("configmaps. has 1 resource instances"),
            "{said}"
        );
        assert!(
            said.contains("finalizers remaining: example.com/wait in 1 resource instances"),
            "{said}"
        );
        let mut held = center
            .get(&admin(), "root:a", "configmaps", "default", "held")
            .await
            .unwrap();
        assert!(meta::is_deleting(&held));
        held["metadata"]["finalizers"] = json!([]);
        center
            .update(&admin(), "root:a", "configmaps", held)
            .await
            .unwrap();
        center
            .until("root:a is gone", || tree.resolve("root:a").is_err())
            .await;
    });
}

#[test]
fn a_logical_cluster_is_deleted_directly_only_where_that_is_allowed() {
    run(|directory| async move {
        let center = Center::start(&directory).await;
        center
            .workspace(&admin(), "root", "a", "universal")
            .await
            .unwrap();
        let refused = message(
            center
                .delete(&admin(), "root:a", "logicalclusters", "", "cluster")
                .await,
        );
        assert_eq!(refused.0, 403);
        assert_eq!(
            message(
                center
                    .delete(
                        &user("m", &["system:masters"]),
                        "root",
                        "logicalclusters",
                        "",
                        "cluster"
                    )
                    .await
            )
            .0,
            403
        );
        center
            .delete(
                &user("m", &["system:masters"]),
                "root:a",
                "logicalclusters",
                "",
                "cluster",
            )
            .await
            .unwrap();
        let tree = center.workspaces.tree.clone();
        center
            .until("its Workspace is gone too", || {
                tree.resolve("root:a").is_err()
            })
            .await;
    });
}
