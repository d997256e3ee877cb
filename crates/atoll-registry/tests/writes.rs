//! Create, update and patch: what is stamped, kept, refused.

#![allow(clippy::unwrap_used)] // in helpers too

mod support;

use atoll_kube::{GroupResource, Status, meta};
use atoll_registry::{Body, FieldValidation, Hook, PatchType, Registry, Review, WriteOptions};
use serde_json::{Value, json};
use support::*;

#[tokio::test]
async fn a_new_object_is_stamped_and_shown_where_it_is() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let mut sent = config_map("a");
    sent["metadata"]["uid"] = "mine".into();
    sent["metadata"]["creationTimestamp"] = Value::Null;
    let made = at.create(sent).await.unwrap();
    assert_eq!(made["apiVersion"], "v1");
    assert_eq!(made["kind"], "ConfigMap");
    assert_eq!(made["metadata"]["namespace"], "default");
    assert_eq!(
        made["metadata"]["creationTimestamp"],
        "2027-01-15T08:00:00Z"
    );
    assert_eq!(made["metadata"]["annotations"]["kcp.io/cluster"], "u1");
    assert!(
        made["metadata"]["uid"]
            .as_str()
            .unwrap()
            .starts_with("00000000-")
    );
    assert_eq!(made["metadata"]["managedFields"][0]["manager"], "test");
    assert_eq!(
        made["metadata"].get("generation"),
        None,
        "ConfigMaps have none"
    );
    assert_eq!(at.get("a").await.unwrap(), made);
    assert_eq!(
        w.at("u2/default", "v1/configmaps")
            .get("a")
            .await
            .unwrap_err()
            .code,
        404
    );
    let again = at.create(config_map("a")).await.unwrap_err();
    assert_eq!((again.code, again.reason.as_str()), (409, "AlreadyExists"));
    assert_eq!(again.message, "configmaps \"a\" already exists");
}

#[tokio::test]
async fn bad_input_is_a_clear_status() {
    let w = World::new().await;
    let rows = [
        (
            json!({"metadata": {"name": "A"}}),
            422,
            "metadata.name: Invalid value",
        ),
        (
            json!({"metadata": {}}),
            422,
            "metadata.name: Required value: name or generateName is required",
        ),
        (
            json!({"metadata": {"name": "a", "namespace": "other"}}),
            400,
            "does not match the namespace",
        ),
        (
            json!({"kind": "Secret", "metadata": {"name": "a"}}),
            400,
            "does not match",
        ),
        (
            json!({"apiVersion": "v2", "metadata": {"name": "a"}}),
            400,
            "API version",
        ),
        (
            json!({"metadata": {"name": "a", "resourceVersion": "7"}}),
            400,
            "resourceVersion should not be set",
        ),
        (
            json!({"metadata": {"name": "a", "labels": {"a b": "c"}}}),
            422,
            "metadata.labels",
        ),
        (json!([]), 400, "unrecognized"),
        (
            json!({"metadata": {"name": "a\u{0}b"}}),
            422,
            "metadata.name",
        ),
    ];
    for (body, code, text) in rows {
        let status = w
            .at("u1/default", "v1/configmaps")
            .create(body.clone())
            .await
            .unwrap_err();
        assert_eq!(status.code, code, "{body}: {status}");
        assert!(status.message.contains(text), "{body}: {status}");
    }
    let status = w
        .at("u1/nowhere", "v1/configmaps")
        .create(config_map("a"))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code, &*status.message),
        (404, "namespaces \"nowhere\" not found")
    );
    for (place, resource) in [
        ("u1/default", "v1/pods"),
        ("u1/default", "v9/configmaps"),
        ("u1/default", "v1/namespaces"),
    ] {
        let status = w
            .at(place, resource)
            .create(config_map("a"))
            .await
            .unwrap_err();
        assert_eq!(status.code, 404, "{place} {resource}");
    }
}

#[tokio::test]
async fn unknown_and_duplicate_fields_are_ignored_warned_of_or_refused() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let mut sent = config_map("a");
    sent["dada"] = json!({"x": 1});
    for (validation, warnings) in [(FieldValidation::Ignore, 0), (FieldValidation::Warn, 1)] {
        let options = WriteOptions {
            field_validation: validation,
            dry_run: true,
            ..options()
        };
        let answer = at.create_with(sent.clone(), options).await.unwrap();
        assert_eq!(
            answer.warnings.len(),
            warnings,
            "{validation:?} {:?}",
            answer.warnings
        );
        assert_eq!(answer.value().unwrap().get("dada"), None);
    }
    let strict = WriteOptions {
        field_validation: FieldValidation::Strict,
        ..options()
    };
    let status = at.create_with(sent, strict).await.unwrap_err();
    assert_eq!(status.code, 400);
    assert!(
        status
            .message
            .contains("strict decoding error: unknown field \"dada\""),
        "{status}"
    );
}

#[tokio::test]
async fn generated_names_try_until_one_is_free() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let mut names = Vec::new();
    for _ in 0..6 {
        let made = at
            .create(json!({"metadata": {"generateName": "a-"}}))
            .await
            .unwrap();
        names.push(made["metadata"]["name"].as_str().unwrap().to_owned());
    }
    // The test's random numbers repeat, so some names were taken.
    names.dedup();
    assert_eq!(names.len(), 6, "{names:?}");
    assert!(
        names.iter().all(|n| n.starts_with("a-") && n.len() == 7),
        "{names:?}"
    );
}

#[tokio::test]
async fn dry_run_does_everything_but_store() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let head = w.store.head();
    let dry = WriteOptions {
        dry_run: true,
        ..options()
    };
    let answer = at.create_with(config_map("a"), dry.clone()).await.unwrap();
    assert!(answer.created);
    assert_eq!(at.get("a").await.unwrap_err().code, 404);
    assert_eq!(w.store.head(), head);
    at.create(config_map("a")).await.unwrap();
    assert_eq!(
        at.create_with(config_map("a"), dry.clone())
            .await
            .unwrap_err()
            .code,
        409
    );
    let mut changed = at.get("a").await.unwrap();
    changed["data"]["k"] = "w".into();
    assert_eq!(
        at.update_with(changed, dry).await.unwrap().value().unwrap()["data"]["k"],
        "w"
    );
    assert_eq!(at.get("a").await.unwrap()["data"]["k"], "v");
}

#[tokio::test]
async fn updates_are_optimistic_when_they_name_a_revision() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let first = at.create(config_map("a")).await.unwrap();
    let mut second = first.clone();
    second["data"]["k"] = "w".into();
    let second = at.update(second).await.unwrap();
    assert!(version(&second) > version(&first));
    assert_eq!(second["metadata"]["uid"], first["metadata"]["uid"]);
    let mut stale = first.clone();
    stale["data"]["k"] = "x".into();
    let status = at.update(stale.clone()).await.unwrap_err();
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    stale["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    assert_eq!(
        at.update(stale.clone()).await.unwrap()["data"]["k"],
        "x",
        "unconditional"
    );
    stale["metadata"]["uid"] = "other".into();
    assert_eq!(at.update(stale).await.unwrap_err().code, 409);
    assert_eq!(at.update(config_map("b")).await.unwrap_err().code, 404);
}

#[tokio::test]
async fn an_update_without_effect_writes_nothing() {
    let w = World::new().await;
    let at = w.at("u1/default", "v1/configmaps");
    let made = at.create(config_map("a")).await.unwrap();
    w.advance(60);
    assert_eq!(at.update(made.clone()).await.unwrap(), made);
    assert_eq!(
        at.patch("a", PatchType::Merge, json!({"data": {"k": "v"}}))
            .await
            .unwrap(),
        made
    );
    assert_eq!(
        at.patch("a", PatchType::Json, json!([])).await.unwrap(),
        made
    );
    assert_eq!(w.store.head().0, version(&made));
}

#[tokio::test]
async fn some_kinds_are_created_by_update() {
    let w = World::new().await;
    let role = json!({"metadata": {"name": "r"}, "rules": []});
    let answer = w
        .at("u1/default", "rbac.authorization.k8s.io/v1/roles")
        .update_with(role, options())
        .await
        .unwrap();
    assert!(answer.created);
}

#[tokio::test]
async fn status_and_the_rest_are_written_apart() {
    let w = World::new().await;
    let at = w.at("k1/default", "apps/v1/deployments");
    let status_at = w.at("k1/default", "apps/v1/deployments/status");
    let mut made = at.create(deployment("web")).await.unwrap();
    assert_eq!(made["metadata"]["generation"], 1);
    made["status"] = json!({"replicas": 9});
    let after = at.update(made.clone()).await.unwrap();
    assert_ne!(
        after.pointer("/status/replicas"),
        Some(&json!(9)),
        "the main resource leaves status alone"
    );
    assert_eq!(version(&after), version(&made));
    made["spec"]["replicas"] = 7.into();
    made["metadata"]["labels"] = json!({"from": "status"});
    let after = status_at.update(made).await.unwrap();
    assert_eq!(after["status"]["replicas"], 9);
    assert_ne!(after["spec"]["replicas"], 7, "status leaves the rest alone");
    assert_eq!(after["metadata"].get("labels"), None);
    assert_eq!(after["metadata"]["generation"], 1, "status does not count");
    let patched = at
        .patch("web", PatchType::Merge, json!({"spec": {"replicas": 3}}))
        .await
        .unwrap();
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(patched["status"]["replicas"], 9);
    let labelled = at
        .patch(
            "web",
            PatchType::Merge,
            json!({"metadata": {"labels": {"a": "b"}}}),
        )
        .await
        .unwrap();
    assert_eq!(
        labelled["metadata"]["generation"], 2,
        "metadata does not count"
    );
}

fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    }})
}

#[tokio::test]
async fn scale_reads_and_writes_replicas() {
    let w = World::new().await;
    w.at("k1/default", "apps/v1/deployments")
        .create(deployment("web"))
        .await
        .unwrap();
    let at = w.at("k1/default", "apps/v1/deployments/scale");
    let call = at.call(Some("web"));
    let scale = w
        .registry
        .get_scale(&call, &atoll_registry::GetOptions::default())
        .await
        .unwrap();
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["status"]["selector"], "app=web");
    let mut wanted = scale.clone();
    wanted["spec"]["replicas"] = 5.into();
    assert_eq!(
        at.update(wanted.clone()).await.unwrap()["spec"]["replicas"],
        5
    );
    assert_eq!(
        at.update(wanted.clone()).await.unwrap_err().code,
        409,
        "the old resourceVersion"
    );
    let patched = at
        .patch("web", PatchType::Merge, json!({"spec": {"replicas": 2}}))
        .await
        .unwrap();
    assert_eq!(patched["spec"]["replicas"], 2);
    let stored = w
        .at("k1/default", "apps/v1/deployments")
        .get("web")
        .await
        .unwrap();
    assert_eq!(stored["spec"]["replicas"], 2);
    wanted["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    wanted["spec"]["replicas"] = (-1).into();
    assert_eq!(at.update(wanted).await.unwrap_err().code, 422);
}

#[tokio::test]
async fn who_applies_a_scale_owns_the_replicas() {
    let w = World::new().await;
    let deployments = w.at("k1/default", "apps/v1/deployments");
    let at = w.at("k1/default", "apps/v1/deployments/scale");
    let by = |manager: &str, force| WriteOptions {
        field_manager: Some(manager.into()),
        force,
        ..WriteOptions::default()
    };
    let mut web = deployment("web");
    web["spec"]["replicas"] = 1.into();
    deployments
        .create_with(web, by("creator", false))
        .await
        .unwrap();
    let scale = |n: i64| {
        let config = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": n}});
        Body::Json(config.to_string().into())
    };
    let call = at.call(Some("web"));
    let apply = |n, options: WriteOptions| {
        let (registry, call) = (&w.registry, &call);
        let body = scale(n);
        async move {
            registry
                .patch(call, PatchType::Apply, body, &options)
                .await?
                .value()
        }
    };
    let conflict = apply(3, by("scaler", false)).await.unwrap_err();
    assert_eq!(conflict.code, 409);
    assert!(
        conflict.message.contains("\"creator\"") && conflict.message.contains(".spec.replicas"),
        "{conflict}"
    );
    assert_eq!(
        apply(3, by("scaler", true)).await.unwrap()["spec"]["replicas"],
        3
    );
    let owners = async || {
        let web = deployments.get("web").await.unwrap();
        assert_eq!(web["spec"]["replicas"], 3);
        let entries = web["metadata"]["managedFields"].as_array().unwrap().clone();
        let mut owners = Vec::new();
        for entry in entries {
            if entry.pointer("/fieldsV1/f:spec/f:replicas").is_some() {
                owners.push(format!(
                    "{} {} {} {}",
                    entry["manager"].as_str().unwrap(),
                    entry["operation"].as_str().unwrap(),
                    entry["apiVersion"].as_str().unwrap(),
                    entry["subresource"].as_str().unwrap_or_default()
                ));
            }
        }
        owners
    };
    assert_eq!(owners().await, ["scaler Apply apps/v1 scale"]);
    // The same once more changes nothing, and a second applier with the same value shares it.
    apply(3, by("scaler", false)).await.unwrap();
    apply(3, by("other", false)).await.unwrap();
    let mut both = owners().await;
    both.sort();
    assert_eq!(
        both,
        ["other Apply apps/v1 scale", "scaler Apply apps/v1 scale"]
    );
}

/// Labels what is written.
struct Labels;

#[async_trait::async_trait]
impl Hook for Labels {
    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new("", "configmaps")]
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        meta::set_label(review.object, "stamped", "yes");
        Ok(())
    }
}

#[tokio::test]
async fn what_admission_adds_is_not_the_clients() {
    let w = World::with(|builder| builder.hook(std::sync::Arc::new(Labels)), |_| ()).await;
    let at = w.at("u1/default", "v1/configmaps");
    let made = at.create(config_map("a")).await.unwrap();
    let mut bare = made.clone();
    meta::remove(&mut bare, "labels");
    bare["data"]["b"] = "2".into();
    let updated = at.update(bare).await.unwrap();
    for object in [made, updated] {
        assert_eq!(object["metadata"]["labels"]["stamped"], "yes");
        let record = object["metadata"]["managedFields"].to_string();
        assert!(record.contains("f:data"), "{record}");
        assert!(!record.contains("f:labels"), "{record}");
    }
}

#[tokio::test]
async fn immutable_fields_stay_where_kinds_act() {
    let w = World::new().await;
    let rows = [
        (
            "u1/default",
            "v1/secrets",
            json!({"metadata": {"name": "s"}, "type": "a/b"}),
            json!({"type": "c/d"}),
            422,
        ),
        (
            "u1/default",
            "v1/configmaps",
            json!({"metadata": {"name": "c"}, "immutable": true}),
            json!({"data": {"a": "b"}}),
            422,
        ),
        (
            "k1/default",
            "apps/v1/deployments",
            deployment("d"),
            json!({"spec": {"selector": {"matchLabels": {"x": "y"}}}}),
            422,
        ),
        (
            "p1/default",
            "apps/v1/deployments",
            deployment("d"),
            json!({"spec": {"selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}}}),
            200,
        ),
        // What contradicts itself is refused everywhere, before it travels.
        (
            "p1/default",
            "apps/v1/deployments",
            deployment("e"),
            json!({"spec": {"selector": {"matchLabels": {"x": "y"}}}}),
            422,
        ),
    ];
    for (place, resource, object, patch, code) in rows {
        let at = w.at(place, resource);
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        at.create(object).await.unwrap();
        let found = at
            .patch(&name, PatchType::Merge, patch)
            .await
            .map_or_else(|s| s.code, |_| 200);
        assert_eq!(found, code, "{place} {resource}");
    }
}

#[tokio::test]
async fn payload_is_stored_as_written_and_kubernetes_is_completed() {
    let w = World::new().await;
    let payload = w
        .at("p1/default", "apps/v1/deployments")
        .create(deployment("web"))
        .await
        .unwrap();
    assert_eq!(
        payload["spec"],
        deployment("web")["spec"],
        "nothing is added"
    );
    let edge = w
        .at("k1/default", "apps/v1/deployments")
        .create(deployment("web"))
        .await
        .unwrap();
    assert_eq!(edge["spec"]["replicas"], 1, "defaults act at an edge");
}

#[tokio::test]
async fn string_data_is_encoded_everywhere() {
    let w = World::new().await;
    for place in ["u1/default", "p1/default"] {
        let secret = json!({"metadata": {"name": "s"}, "stringData": {"a": "x"}});
        let made = w.at(place, "v1/secrets").create(secret).await.unwrap();
        assert_eq!(made["data"]["a"], "eA==");
        assert_eq!(made.get("stringData"), None);
    }
}

#[tokio::test]
async fn a_certificate_is_asked_for_by_whoever_asks() {
    let w = World::new().await;
    let at = w.at("u1", "certificates.k8s.io/v1/certificatesigningrequests");
    let asked = json!({"metadata": {"name": "c"}, "spec": {"request": "eA==", "signerName": "a.b/c", "usages": ["client auth"],
        "username": "root", "uid": "1", "groups": ["system:masters"]}});
    let made = at.create(asked).await.unwrap();
    assert_eq!(made["spec"]["username"], "alice");
    assert_eq!(made["spec"]["groups"], json!(["system:authenticated"]));
    assert_eq!(made["spec"].get("uid"), None);
    let other = json!({"spec": {"username": "root", "request": "eQ=="}});
    let after = at.patch("c", PatchType::Merge, other).await.unwrap();
    assert_eq!(after["spec"], made["spec"]);
}

#[tokio::test]
async fn what_does_not_act_yet_says_so() {
    let w = World::new().await;
    let policy = json!({"metadata": {"name": "p"}, "spec": {"reinvocationPolicy": "Never"}});
    for (cluster, warned) in [("u1", true), ("p1", false)] {
        let at = w.at(
            cluster,
            "admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
        );
        let answer = at.create_with(policy.clone(), options()).await.unwrap();
        let says = answer.warnings.iter().any(|w| w.contains("not evaluated"));
        assert_eq!(
            says, warned,
            "payload is not ours to judge: {:?}",
            answer.warnings
        );
    }
    let collector = json!({"metadata": {"name": "c"}, "spec": {"limit": 3}});
    let answer = w
        .at("p1", "control.kubestellar.io/v1alpha1/statuscollectors")
        .create_with(collector, options())
        .await
        .unwrap();
    assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
}
