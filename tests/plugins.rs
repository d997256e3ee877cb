//! kcp's own kubectl plugins, replayed: kubectl-ws, kubectl-create_workspace and kubectl-kcp cannot be built here (their modules
//! are not to be had from the Go module proxy), so what they were seen to send is sent again, in their order and form, and each
//! answer is held against what they read in it.

use std::{thread, time::Duration};

use serde_json::{Value, json};

use crate::harness::{Center, eventually, http::Http, scratch};

/// What the plugins' typed clients and their discovery ask for.
const JSON: &str = "application/json, */*";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

fn center() -> (tempfile::TempDir, Center, Http) {
    let scratch = scratch();
    let center = Center::start(&scratch.path().join("center"));
    let http = Http::new(&center.kubeconfig(), "base");
    (scratch, center, http)
}

fn workspaces(parent: &str) -> String {
    format!("/clusters/{parent}/apis/tenancy.kcp.io/v1alpha1/workspaces")
}

/// The pair of discovery requests that comes before most others.
fn discovery(http: &Http, path: &str) -> [crate::harness::http::Reply; 2] {
    ["api", "apis"].map(|end| {
        let path = format!("/clusters/{path}/{end}");
        http.send("GET", &path, AGGREGATED, &Value::Null)
    })
}

/// `kubectl create workspace`: the POST, and GETs until the phase is Ready.
fn create(http: &Http, parent: &str, name: &str, spec: Value) -> Value {
    let body = json!({"kind": "Workspace", "apiVersion": "tenancy.kcp.io/v1alpha1", "metadata": {"name": name}, "spec": spec, "status": {}});
    let made = http.post(&workspaces(parent), &body).expect(201);
    assert!(
        made["spec"]["type"]["name"].is_string(),
        "the type is in the first answer: {made}"
    );
    ready(http, parent, name)
}

fn ready(http: &Http, parent: &str, name: &str) -> Value {
    eventually("the workspace is Ready", || {
        let seen = http
            .get(&format!("{}/{name}", workspaces(parent)))
            .expect(200);
        if seen["status"]["phase"] == "Ready" {
            Ok(seen)
        } else {
            Err(seen)
        }
    })
}

/// `kubectl ws <path>`; returns the type that the message names.
fn enter(http: &Http, path: &str) -> Option<String> {
    for answer in discovery(http, path) {
        assert!(
            answer.content_type.starts_with("application/json"),
            "{answer:?}"
        );
        answer.expect(200);
    }
    let bindings = format!("/clusters/{path}/apis/apis.kcp.io/v1alpha2/apibindings");
    let bindings = http.get(&bindings).expect(200);
    assert_eq!(bindings["kind"], "APIBindingList");
    assert!(bindings["items"].is_array());
    let (parent, name) = path.rsplit_once(':')?;
    let workspace = http
        .get(&format!("{}/{name}", workspaces(parent)))
        .expect(200);
    let kind = &workspace["spec"]["type"];
    Some(format!(
        "{}:{}",
        kind["path"].as_str()?,
        kind["name"].as_str()?
    ))
}

#[test]
fn ws_enters_a_workspace_by_its_path() {
    let (_scratch, _center, http) = center();
    create(&http, "root", "org", json!({}));
    create(&http, "root:org", "app", json!({}));
    assert_eq!(enter(&http, "root"), None);
    assert_eq!(enter(&http, "root:org").unwrap(), "root:organization");
    assert_eq!(enter(&http, "root:org:app").unwrap(), "root:universal");
    for answer in discovery(&http, "root:org:absent") {
        let status = answer.expect(404);
        assert_eq!(status["reason"], "NotFound");
        assert_eq!(
            status["message"],
            "workspaces.tenancy.kcp.io \"root:org:absent\" not found"
        );
        assert_eq!(status["details"]["group"], "tenancy.kcp.io");
        assert_eq!(status["details"]["kind"], "workspaces");
    }
}

#[test]
fn ws_goes_home() {
    let (_scratch, center, http) = center();
    let home = eventually("there is a home", || {
        let answer = http.get(&format!("{}/~", workspaces("root")));
        match answer.code {
            200 => Ok(answer.body),
            429 => Err(answer), // "come again": client-go does so by itself
            _ => panic!("{answer:?}"),
        }
    });
    assert_eq!(home["metadata"]["name"], "cluster");
    assert!(home["metadata"]["uid"].is_null() && home["metadata"]["resourceVersion"].is_null());
    assert_eq!(home["status"]["phase"], "Ready");
    let cluster = home["spec"]["cluster"].as_str().unwrap();
    let url = format!("https://127.0.0.1:{}/clusters/{cluster}", center.port);
    assert_eq!(home["spec"]["URL"], url);
    assert_eq!(enter(&http, cluster), None);
    // The plugin asks for the parent of a path that has none: anything but a success is passed over.
    let malformed = http.get(&format!(
        "/clusters/apis/tenancy.kcp.io/v1alpha1/workspaces/{cluster}"
    ));
    assert_eq!(malformed.code, 403);
}

#[test]
fn ws_draws_the_tree() {
    fn walk(http: &Http, path: &str, found: &mut Vec<String>) {
        let cluster = format!("/clusters/{path}/apis/core.kcp.io/v1alpha1/logicalclusters/cluster");
        assert_eq!(http.get(&cluster).expect(200)["status"]["phase"], "Ready");
        found.push(path.to_owned());
        let list = http.get(&workspaces(path)).expect(200);
        assert_eq!(list["kind"], "WorkspaceList");
        for child in list["items"].as_array().unwrap() {
            assert_eq!(child["status"]["phase"], "Ready");
            let name = child["metadata"]["name"].as_str().unwrap();
            walk(http, &format!("{path}:{name}"), found);
        }
    }
    let (_scratch, _center, http) = center();
    create(&http, "root", "org", json!({}));
    for name in ["one", "two"] {
        create(&http, "root:org", name, json!({}));
    }
    create(&http, "root:org:one", "deep", json!({}));
    let mut found = Vec::new();
    walk(&http, "root", &mut found);
    assert_eq!(
        found,
        [
            "root",
            "root:org",
            "root:org:one",
            "root:org:one:deep",
            "root:org:two"
        ]
    );
}

#[test]
fn create_workspace_with_its_flags() {
    let (_scratch, center, http) = center();
    let kind = |workspace: &Value| workspace["spec"]["type"].clone();
    let universal = json!({"name": "universal", "path": "root"});
    let org = create(&http, "root", "org", json!({}));
    assert_eq!(kind(&org), json!({"name": "organization", "path": "root"}));
    let url = format!("https://127.0.0.1:{}/clusters/root:org", center.port);
    assert_eq!(org["spec"]["URL"], url, "--enter goes there");
    let named = create(
        &http,
        "root:org",
        "named",
        json!({"type": {"name": "universal"}}),
    );
    assert_eq!(kind(&named), universal);
    assert_eq!(
        kind(&create(
            &http,
            "root:org",
            "full",
            json!({"type": universal})
        )),
        universal
    );
    let location = json!({"selector": {"matchLabels": {"name": "root"}}});
    let located = create(&http, "root:org", "located", json!({"location": location}));
    assert_eq!(located["spec"]["location"], location);

    let again = |name: &str, spec: Value| {
        let body = json!({"kind": "Workspace", "apiVersion": "tenancy.kcp.io/v1alpha1", "metadata": {"name": name}, "spec": spec, "status": {}});
        http.post(&workspaces("root:org"), &body)
    };
    let taken = again("named", json!({})).expect(409);
    assert_eq!(taken["reason"], "AlreadyExists");
    assert!(
        taken["message"]
            .as_str()
            .unwrap()
            .contains("already exists")
    );
    ready(&http, "root:org", "named"); // --ignore-existing goes on with this
    for (name, spec) in [
        ("x", json!({"type": {"name": "nonsense"}})),
        ("x", json!({"type": {"name": "nonsense", "path": "root"}})),
        (
            "x",
            json!({"type": {"name": "nonsense", "path": "root:nowhere"}}),
        ),
    ] {
        let unknown = again(name, spec).expect(403);
        assert_eq!(unknown["reason"], "Forbidden");
        assert!(
            unknown["message"].as_str().unwrap().contains("nonsense"),
            "{unknown}"
        );
    }
}

#[test]
fn the_rest_mapper_finds_every_group_version_one_by_one() {
    let (_scratch, _center, http) = center();
    create(
        &http,
        "root",
        "u",
        json!({"type": {"name": "universal", "path": "root"}}),
    );
    let groups = http.send(
        "GET",
        "/clusters/root:u/apis?timeout=32s",
        JSON,
        &Value::Null,
    );
    let groups = groups.expect(200);
    assert_eq!(groups["kind"], "APIGroupList");
    let mut seen = 0;
    for group in groups["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            let version = version["groupVersion"].as_str().unwrap();
            let list = http.get(&format!("/clusters/root:u/apis/{version}?timeout=32s"));
            let list = list.expect(200);
            assert_eq!(list["groupVersion"], version);
            assert!(!list["resources"].as_array().unwrap().is_empty());
            seen += 1;
        }
    }
    assert!(seen >= 12, "{groups}");
}

#[test]
fn binding_claims_and_exports_are_refused_by_name() {
    let (_scratch, _center, http) = center();
    create(
        &http,
        "root",
        "u",
        json!({"type": {"name": "universal", "path": "root"}}),
    );
    let apis = |version: &str, resource: &str| {
        format!("/clusters/root:u/apis/apis.kcp.io/{version}/{resource}")
    };
    let export = http
        .get(&apis("v1alpha1", "apiexports/widgets"))
        .expect(404);
    assert_eq!(
        export["message"],
        "apiexports.apis.kcp.io \"widgets\" not found"
    );
    let binding = json!({"kind": "APIBinding", "apiVersion": "apis.kcp.io/v1alpha2", "metadata": {"name": "widgets"},
        "spec": {"reference": {"export": {"path": "root:prov", "name": "widgets"}},
            "permissionClaims": [{"resource": "configmaps", "verbs": ["*"], "selector": {"matchAll": true}, "state": "Accepted"}]}, "status": {}});
    let schema = json!({"kind": "APIResourceSchema", "apiVersion": "apis.kcp.io/v1alpha1", "metadata": {"name": "v1.widgets.example.com"}, "spec": {}});
    let export = json!({"kind": "APIExport", "apiVersion": "apis.kcp.io/v1alpha2", "metadata": {"name": "widgets"}, "spec": {}, "status": {}});
    for (path, body) in [
        (apis("v1alpha2", "apibindings"), binding),
        (apis("v1alpha1", "apiresourceschemas"), schema),
        (apis("v1alpha2", "apiexports"), export),
    ] {
        let why = http.post(&path, &body).expect(405);
        assert_eq!(why["reason"], "MethodNotAllowed");
        assert!(
            why["message"].as_str().unwrap().contains("not built yet"),
            "{why}"
        );
    }
    // claims get: nothing to show, nothing wrong.
    let bindings = http.get(&apis("v1alpha2", "apibindings")).expect(200);
    assert_eq!(bindings["items"], json!([]));
    http.get(&apis("v1alpha2", "apibindings/widgets"))
        .expect(404);
}

#[test]
fn quickstart_makes_its_workspaces_and_cleans_up() {
    let (_scratch, _center, http) = center();
    let make = |parent: &str, name: &str, kind: &str| {
        let labels = json!({"kcp.io/quickstart": "true", "kcp.io/quickstart-prefix": "quickstart"});
        let body = json!({"kind": "Workspace", "apiVersion": "tenancy.kcp.io/v1alpha1", "metadata": {"name": name, "labels": labels},
            "spec": {"type": {"name": kind, "path": "root"}}, "status": {}});
        http.post(&workspaces(parent), &body).expect(201);
        ready(&http, parent, name)
    };
    let org = make("root", "quickstart-org", "organization");
    assert_eq!(org["metadata"]["labels"]["kcp.io/quickstart"], "true");
    make("root:quickstart-org", "quickstart-provider", "universal");
    make("root:quickstart-org", "quickstart-consumer", "universal");
    let path = format!("{}/quickstart-org", workspaces("root"));
    let options = json!({"kind": "DeleteOptions", "apiVersion": "tenancy.kcp.io/v1alpha1"});
    http.send("DELETE", &path, JSON, &options).expect(200);
    while http.get(&path).code != 404 {
        thread::sleep(Duration::from_millis(50));
    }
    enter(&http, "root");
}
