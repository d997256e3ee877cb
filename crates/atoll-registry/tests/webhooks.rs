//! Admission webhooks: which are asked, in which order, and what their answers do. The other side is a table of answers, not a network.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use atoll_registry::{Caller, Endpoint, EndpointPlace, WriteOptions};
use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};
use support::*;

const GROUP: &str = "admissionregistration.k8s.io/v1";

/// Answers by the path of the URL, and remembers who was asked.
#[derive(Default)]
struct Table {
    answers: BTreeMap<&'static str, Value>,
    asked: Mutex<Vec<String>>,
    requests: Mutex<Vec<Value>>,
}

#[async_trait]
impl Caller for Table {
    async fn call(
        &self,
        endpoint: &Endpoint,
        body: Bytes,
        timeout: Duration,
    ) -> Result<(u16, Bytes), String> {
        assert_eq!(timeout, Duration::from_secs(7));
        let EndpointPlace::Url(url) = &endpoint.place else {
            return Err("service not found".into());
        };
        let path = url.rsplit('/').next().unwrap();
        let review: Value = serde_json::from_slice(&body).unwrap();
        self.asked.lock().unwrap().push(path.to_owned());
        self.requests
            .lock()
            .unwrap()
            .push(review["request"].clone());
        let Some(answer) = self.answers.get(path) else {
            return Err("connection refused".into());
        };
        let mut response = answer.clone();
        response["uid"] = review["request"]["uid"].clone();
        if let Some(patch) = response.get("patch").cloned() {
            let text = patch.to_string();
            response["patch"] = base64::engine::general_purpose::STANDARD
                .encode(text)
                .into();
            response["patchType"] = "JSONPatch".into();
        }
        let answer = json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response});
        Ok((200, answer.to_string().into()))
    }
}

fn hook(path: &str, more: Value) -> Value {
    let mut hook = json!({
        "name": format!("{path}.example.dev"),
        "clientConfig": {"url": format!("https://hooks.example.dev/{path}")},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}],
        "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 7,
    });
    for (name, value) in more.as_object().unwrap() {
        hook[name] = value.clone();
    }
    hook
}

async fn world(answers: &[(&'static str, Value)]) -> (World, Arc<Table>) {
    let table = Arc::new(Table {
        answers: answers.iter().cloned().collect(),
        ..Table::default()
    });
    let caller = table.clone();
    (World::with(|b| b.caller(caller), |_| ()).await, table)
}

async fn configure(w: &World, cluster: &str, kind: &str, hooks: Vec<Value>) {
    let at = w.at(cluster, &format!("{GROUP}/{kind}webhookconfigurations"));
    at.create(json!({"metadata": {"name": "c"}, "webhooks": hooks}))
        .await
        .unwrap();
}

fn asked(table: &Table) -> Vec<String> {
    std::mem::take(&mut table.asked.lock().unwrap())
}

#[tokio::test]
async fn a_validating_webhook_is_asked_about_every_write_and_may_refuse_it() {
    let deny = json!({"allowed": false, "status": {"code": 403, "message": "not today", "reason": "Forbidden"}, "warnings": ["w"]});
    let (w, table) = world(&[
        ("yes", json!({"allowed": true, "warnings": ["mind this"]})),
        ("no", deny),
    ])
    .await;
    configure(&w, "u1", "validating", vec![hook("yes", json!({}))]).await;
    let at = w.at("u1/default", "v1/configmaps");
    let answer = at.create_with(config_map("a"), options()).await.unwrap();
    assert_eq!(answer.warnings, ["mind this"]);
    at.delete("a").await.unwrap();
    let requests = std::mem::take(&mut *table.requests.lock().unwrap());
    let seen: Vec<_> = requests
        .iter()
        .map(|r| {
            (
                r["operation"].as_str().unwrap(),
                r["object"].is_null(),
                r["oldObject"].is_null(),
            )
        })
        .collect();
    assert_eq!(seen, [("CREATE", false, true), ("DELETE", true, false)]);
    let first = &requests[0];
    assert_eq!(
        first["kind"],
        json!({"group": "", "version": "v1", "kind": "ConfigMap"})
    );
    assert_eq!(first["userInfo"]["username"], "alice");
    assert_eq!(
        (&first["namespace"], &first["dryRun"]),
        (&json!("default"), &json!(false))
    );

    configure(
        &w,
        "u2",
        "validating",
        vec![hook("no", json!({})), hook("yes", json!({}))],
    )
    .await;
    let status = w
        .at("u2/default", "v1/configmaps")
        .create(config_map("a"))
        .await
        .unwrap_err();
    assert_eq!(status.code, 403);
    assert_eq!(
        status.message,
        "admission webhook \"no.example.dev\" denied the request: not today"
    );
    assert!(
        w.at("u2/default", "v1/secrets")
            .create(json!({"metadata": {"name": "s"}}))
            .await
            .is_ok(),
        "no rule names it"
    );
}

#[tokio::test]
async fn mutating_webhooks_change_in_turn_and_are_asked_again_when_a_later_one_changed() {
    let add = |key: &str| json!({"allowed": true, "patch": [{"op": "add", "path": format!("/data/{key}"), "value": "x"}]});
    let (w, table) = world(&[
        ("one", add("one")),
        ("two", add("two")),
        ("idle", json!({"allowed": true})),
    ])
    .await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    configure(
        &w,
        "u1",
        "mutating",
        vec![
            hook("one", again.clone()),
            hook("idle", json!({})),
            hook("two", again),
        ],
    )
    .await;
    let at = w.at("u1/default", "v1/configmaps");
    let made = at
        .create(json!({"metadata": {"name": "a"}, "data": {"k": "v"}}))
        .await
        .unwrap();
    assert_eq!(made["data"], json!({"k": "v", "one": "x", "two": "x"}));
    assert_eq!(asked(&table), ["one", "idle", "two", "one"]);
    let owned = serde_json::to_string(&made["metadata"]["managedFields"]).unwrap();
    assert!(
        owned.contains("f:k") && !owned.contains("f:one"),
        "what admission changed is nobody's: {owned}"
    );
}

#[tokio::test]
async fn what_a_webhook_makes_of_an_object_is_validated() {
    let spoil =
        json!({"allowed": true, "patch": [{"op": "add", "path": "/data", "value": {"a/b": "x"}}]});
    let (w, _) = world(&[("spoil", spoil)]).await;
    configure(&w, "u1", "mutating", vec![hook("spoil", json!({}))]).await;
    let status = w
        .at("u1/default", "v1/configmaps")
        .create(config_map("a"))
        .await
        .unwrap_err();
    assert_eq!(status.code, 422, "{status}");
}

#[tokio::test]
async fn a_webhook_that_cannot_be_asked_refuses_or_does_not_matter() {
    let (w, table) = world(&[]).await;
    configure(&w, "u1", "validating", vec![hook("gone", json!({}))]).await;
    let status = w
        .at("u1/default", "v1/configmaps")
        .create(config_map("a"))
        .await
        .unwrap_err();
    assert_eq!(status.code, 500);
    assert_eq!(
        status.message,
        "Internal error occurred: failed calling webhook \"gone.example.dev\": failed to call webhook: connection refused"
    );
    configure(
        &w,
        "u2",
        "validating",
        vec![hook("gone", json!({"failurePolicy": "Ignore"}))],
    )
    .await;
    w.at("u2/default", "v1/configmaps")
        .create(config_map("a"))
        .await
        .unwrap();
    assert_eq!(asked(&table), ["gone", "gone"]);
}

#[tokio::test]
async fn conditions_selectors_and_dry_runs_spare_webhooks() {
    let (w, table) = world(&[("yes", json!({"allowed": true}))]).await;
    let hooks = vec![
        hook(
            "yes",
            json!({"matchConditions": [{"name": "c", "expression": "object.metadata.name == 'wanted'"}]}),
        ),
        hook(
            "yes2",
            json!({"objectSelector": {"matchLabels": {"x": "y"}}}),
        ),
        hook(
            "yes3",
            json!({"sideEffects": "NoneOnDryRun", "namespaceSelector": {"matchLabels": {"no": "such"}}}),
        ),
    ];
    configure(&w, "u1", "validating", hooks).await;
    let at = w.at("u1/default", "v1/configmaps");
    at.create(config_map("other")).await.unwrap();
    assert_eq!(asked(&table), [""; 0]);
    at.create(config_map("wanted")).await.unwrap();
    assert_eq!(asked(&table), ["yes"]);
    let dry = WriteOptions {
        dry_run: true,
        ..options()
    };
    at.create_with(config_map("dry"), dry.clone())
        .await
        .unwrap();
    let before = w.at("u1", &format!("{GROUP}/validatingwebhookconfigurations"));
    before
        .create_with(
            json!({"metadata": {"name": "dry"}, "webhooks": [hook("z", json!({}))]}),
            dry,
        )
        .await
        .unwrap();
    at.create(config_map("after")).await.unwrap();
    assert_eq!(
        asked(&table),
        [""; 0],
        "a configuration of a dry run does not act"
    );
}

#[tokio::test]
async fn configurations_are_data_in_payload_and_gone_when_deleted() {
    let (w, table) = world(&[]).await;
    configure(&w, "p1", "validating", vec![hook("gone", json!({}))]).await;
    w.at("p1/default", "v1/configmaps")
        .create(config_map("a"))
        .await
        .unwrap();
    configure(&w, "u1", "validating", vec![hook("gone", json!({}))]).await;
    assert!(
        w.at("u1/default", "v1/configmaps")
            .create(config_map("a"))
            .await
            .is_err()
    );
    w.at("u1", &format!("{GROUP}/validatingwebhookconfigurations"))
        .delete("c")
        .await
        .unwrap();
    w.at("u1/default", "v1/configmaps")
        .create(config_map("a"))
        .await
        .unwrap();
    assert_eq!(asked(&table), ["gone"]);
}

#[tokio::test]
async fn bad_configurations_name_the_field() {
    let (w, _) = world(&[]).await;
    let at = w.at("u1", &format!("{GROUP}/validatingwebhookconfigurations"));
    for (change, says) in [
        (
            json!({"name": "short"}),
            "webhooks[0].name: Invalid value: \"short\": should be a domain with at least three segments separated by dots",
        ),
        (
            json!({"sideEffects": "Some"}),
            "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
        ),
        (
            json!({"admissionReviewVersions": ["v2"]}),
            "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
        ),
        (
            json!({"timeoutSeconds": 31}),
            "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
        ),
        (
            json!({"clientConfig": {}}),
            "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
        ),
        (
            json!({"clientConfig": {"url": "http://a.b/"}}),
            "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
        ),
        (
            json!({"matchConditions": [{"name": "x", "expression": "1"}]}),
            "webhooks[0].matchConditions[0].expression: Invalid value: \"1\": must evaluate to bool but got int",
        ),
    ] {
        let status = at
            .create(json!({"metadata": {"name": "c"}, "webhooks": [hook("a", change)]}))
            .await
            .unwrap_err();
        assert_eq!(status.code, 422);
        assert!(status.message.contains(says), "{}", status.message);
    }
}

#[tokio::test]
async fn a_webhook_changes_only_what_the_request_may_change() {
    let spoil = json!({"allowed": true, "patch": [
        {"op": "add", "path": "/status", "value": {"replicas": 9}},
        {"op": "add", "path": "/metadata/uid", "value": "mine"},
        {"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}},
        {"op": "replace", "path": "/spec/color", "value": "blue"}]});
    let (w, _) = world(&[("spoil", spoil)]).await;
    w.at("u1", "apiextensions.k8s.io/v1/customresourcedefinitions")
        .create(crd("widgets", "Widget"))
        .await
        .unwrap();
    let rules = json!([{"apiGroups": ["example.dev"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["widgets", "widgets/status"]}]);
    let at = w.at("u1/default", "example.dev/v1/widgets");
    let made = at
        .create(json!({"metadata": {"name": "before"}, "spec": {"size": 3, "color": "red"}}))
        .await
        .unwrap();
    configure(
        &w,
        "u1",
        "mutating",
        vec![hook("spoil", json!({"rules": rules}))],
    )
    .await;
    let new = at
        .create(json!({"metadata": {"name": "new"}, "spec": {"size": 3, "color": "red"}}))
        .await
        .unwrap();
    assert_eq!(
        (&new["spec"]["color"], new.get("status")),
        (&json!("blue"), None)
    );
    assert_ne!(new["metadata"]["uid"], "mine");
    let status = w.at("u1/default", "example.dev/v1/widgets/status");
    let mut changed = made.clone();
    changed["status"] = json!({"replicas": 1});
    let after = status.update(changed).await.unwrap();
    assert_eq!(
        after["spec"], made["spec"],
        "a request about status changes no spec"
    );
    assert_eq!(after["status"]["replicas"], 9, "but its status");
}
