//! Invariant 2, systematically: for somebody of one workspace, another workspace and one that does not exist are the same.
//!
//! Every kind that the other workspace serves is asked for with every verb, form and subresource, by somebody who is an administrator of a
//! workspace of the same type. What answers is compared, byte by byte, with what answers for a workspace that is not there.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{
    Center,
    http::{Ask, Http, Reply},
    scratch,
};

const TYPES: [&str; 3] = ["universal", "payload", "inventory"];

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const PARTIAL_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
const DISCOVERY: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// One served resource of a workspace, as its own discovery tells.
#[derive(Clone)]
struct Resource {
    group_version: String,
    kind: String,
    plural: String,
    namespaced: bool,
    verbs: Vec<String>,
    subresources: Vec<String>,
}

impl Resource {
    fn root(&self) -> String {
        match self.group_version.contains('/') {
            true => format!("/apis/{}", self.group_version),
            false => format!("/api/{}", self.group_version),
        }
    }

    fn collection(&self) -> String {
        match self.namespaced {
            true => format!("{}/namespaces/default/{}", self.root(), self.plural),
            false => format!("{}/{}", self.root(), self.plural),
        }
    }

    fn object(&self) -> Value {
        json!({"apiVersion": self.group_version, "kind": self.kind, "metadata": {"name": "target"}})
    }

    fn lists(&self) -> bool {
        self.verbs.iter().any(|verb| verb == "list")
    }

    fn watches(&self) -> bool {
        self.verbs.iter().any(|verb| verb == "watch")
    }
}

/// All that a workspace serves.
fn resources(admin: &Http, place: &str) -> Vec<Resource> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = Vec::new();
    for root in ["api", "apis"] {
        let answer = admin.send("GET", &format!("{place}/{root}"), DISCOVERY, &Value::Null);
        for group in answer.expect(200)["items"].as_array().unwrap() {
            let name = text(&group["metadata"]["name"]);
            for version in group["versions"].as_array().unwrap() {
                let group_version = match name.as_str() {
                    "" => text(&version["version"]),
                    group => format!("{group}/{}", text(&version["version"])),
                };
                for resource in version["resources"].as_array().unwrap() {
                    let subresources = resource["subresources"].as_array();
                    found.push(Resource {
                        group_version: group_version.clone(),
                        kind: text(&resource["responseKind"]["kind"]),
                        plural: text(&resource["resource"]),
                        namespaced: resource["scope"] == "Namespaced",
                        verbs: resource["verbs"]
                            .as_array()
                            .unwrap()
                            .iter()
                            .map(text)
                            .collect(),
                        subresources: subresources
                            .into_iter()
                            .flatten()
                            .map(|sub| text(&sub["subresource"]))
                            .collect(),
                    });
                }
            }
        }
    }
    assert!(found.len() > 15, "{} resources in {place}", found.len());
    found
}

/// Everything that can be asked about one resource.
fn about(resource: &Resource, asks: &mut Vec<Ask>) {
    let (all, object) = (resource.collection(), resource.object());
    let one = format!("{all}/target");
    for accept in ["application/json", TABLE, PARTIAL_LIST, "application/yaml"] {
        asks.push(Ask::get(&all).accept(accept));
    }
    for query in [
        "limit=1&resourceVersion=0",
        "fieldSelector=metadata.name%3Dtarget",
        "labelSelector=a%3Db",
        "watch=1&timeoutSeconds=1",
        "watch=1&timeoutSeconds=1&resourceVersion=1",
        "watch=1&timeoutSeconds=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan",
    ] {
        asks.push(Ask::get(&format!("{all}?{query}")));
    }
    let watched = match resource.namespaced {
        true => format!(
            "{}/watch/namespaces/default/{}",
            resource.root(),
            resource.plural
        ),
        false => format!("{}/watch/{}", resource.root(), resource.plural),
    };
    asks.push(Ask::get(&format!("{watched}?timeoutSeconds=1")));
    if resource.namespaced {
        asks.push(Ask::get(&format!(
            "{}/{}",
            resource.root(),
            resource.plural
        )));
    }
    for accept in ["application/json", TABLE, PARTIAL] {
        asks.push(Ask::get(&one).accept(accept));
    }
    asks.push(Ask::new("HEAD", &one));
    asks.push(Ask::new("POST", &all).json(&object));
    asks.push(Ask::new("POST", &format!("{all}?dryRun=All")).json(&object));
    asks.push(Ask::new("PUT", &one).json(&object));
    asks.push(Ask::new("DELETE", &one));
    asks.push(Ask::new("DELETE", &all));
    let mut parts = vec![one.clone()];
    parts.extend(
        resource
            .subresources
            .iter()
            .map(|sub| format!("{one}/{sub}")),
    );
    for part in parts {
        for (kind, body) in [
            ("application/merge-patch+json", object.clone()),
            ("application/strategic-merge-patch+json", object.clone()),
            ("application/json-patch+json", json!([])),
            ("application/apply-patch+yaml", object.clone()),
        ] {
            let path = format!("{part}?fieldManager=m");
            asks.push(Ask::new("PATCH", &path).body(kind, &body));
        }
        if part != one {
            asks.push(Ask::get(&part));
            asks.push(Ask::new("PUT", &part).json(&object));
            asks.push(Ask::new("POST", &part).json(&object));
        }
    }
}

/// What is not about a resource.
fn about_the_rest(resources: &[Resource], asks: &mut Vec<Ask>) {
    let mut paths: Vec<String> = [
        "/",
        "/api",
        "/apis",
        "/openapi/v2",
        "/openapi/v3",
        "/version",
        "/healthz",
        "/livez/ping",
        "/metrics",
        "/nothing/here",
        "/api/v1/nothings",
        "/apis/nothing.io/v1/things/x",
        "/apis/tenancy.kcp.io/v1alpha1/workspaces/~",
    ]
    .map(str::to_owned)
    .into();
    for resource in resources {
        let root = resource.root();
        paths.push(format!("/openapi/v3{root}"));
        paths.push(root);
    }
    paths.sort();
    paths.dedup();
    for path in &paths {
        asks.push(Ask::get(path));
    }
    asks.push(Ask::get("/apis").accept(DISCOVERY));
    for (header, value) in [
        ("impersonate-user", "kcp-admin"),
        ("impersonate-user", "system:serviceaccount:default:default"),
    ] {
        asks.push(Ask::get("/api/v1/namespaces/default/configmaps").header(header, value));
    }
}

fn at(place: &str, asks: &[Ask]) -> Vec<Ask> {
    asks.iter().map(|ask| ask.below(place)).collect()
}

/// The objects of a workspace, without what controllers may be writing to them.
fn contents(admin: &Http, place: &str, resources: &[Resource]) -> BTreeMap<String, Value> {
    let lists = resources.iter().filter(|resource| resource.lists());
    let paths: Vec<String> = lists
        .map(|r| format!("{place}{}/{}", r.root(), r.plural))
        .collect();
    let asks: Vec<Ask> = paths.iter().map(|path| Ask::get(path)).collect();
    let replies = admin.send_all(&asks);
    paths
        .into_iter()
        .zip(replies)
        .map(|(path, reply)| {
            let mut items = reply.expect(200)["items"].take();
            for item in items.as_array_mut().unwrap() {
                item.as_object_mut().unwrap().remove("status");
                let metadata = item["metadata"].as_object_mut().unwrap();
                metadata.remove("resourceVersion");
                metadata.remove("managedFields");
            }
            (path, items)
        })
        .collect()
}

struct House {
    center: Center,
    admin: Http,
    ann: Http,
    _scratch: tempfile::TempDir,
}

/// For each type a workspace `a-…` of which ann is an administrator, and `b-…` with objects that are none of her business.
fn house() -> House {
    let scratch = scratch();
    let tokens = scratch.path().join("tokens.csv");
    std::fs::write(&tokens, "ann-token,ann,ann\n").unwrap();
    let center = Center::start_with(
        &scratch.path().join("center"),
        &["--token-auth-file", tokens.to_str().unwrap()],
    );
    for kind in TYPES {
        for side in ["a", "b"] {
            center.workspace("root", &format!("{side}-{kind}"), kind);
        }
        if kind != "payload" {
            let binding = [
                "create",
                "clusterrolebinding",
                "ann",
                "--clusterrole=cluster-admin",
                "--user=ann",
            ];
            center.kubectl(&format!("root:a-{kind}"), &binding).expect();
        }
    }
    center.apply(
        "root",
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: a-admins}\nrules: [{apiGroups: [tenancy.kcp.io], resources: [workspaces/content], resourceNames: [a-payload], verbs: [admin]}]\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: a-admins}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: a-admins}\nsubjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: ann}]\n",
    );
    let kubeconfig = center.kubeconfig();
    House {
        admin: Http::new(&kubeconfig, "base"),
        ann: Http::with_token(&kubeconfig, "base", "ann-token"),
        center,
        _scratch: scratch,
    }
}

impl House {
    fn name_of(&self, workspace: &str) -> String {
        let found = self.center.get("root", &["workspace", workspace]).unwrap();
        found["spec"]["cluster"].as_str().unwrap().to_owned()
    }

    /// An object of every kind that takes one so small, and a kind of its own with an object. Returns how many.
    fn furnish(&self, place: &str, resources: &[Resource]) -> usize {
        let creates: Vec<Ask> = resources
            .iter()
            .filter(|r| r.verbs.iter().any(|verb| verb == "create") && r.lists())
            .map(|r| Ask::new("POST", &format!("{place}{}", r.collection())).json(&r.object()))
            .collect();
        let replies = self.admin.send_all(&creates);
        replies.iter().filter(|reply| reply.code == 201).count()
    }

    fn widgets(&self, workspace: &str) {
        let path = format!("root:{workspace}");
        self.center.apply(
            &path,
            "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\nspec:\n  group: example.com\n  scope: Namespaced\n  names: {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}\n  versions: [{name: v1, served: true, storage: true, subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]\n",
        );
        self.center.apply(
            &path,
            "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: target, namespace: default}\n",
        );
    }
}

/// What two places answered to the same questions, apart from the names of the places.
fn compare(asks: &[Ask], there: (&str, Vec<Reply>), nowhere: (&str, Vec<Reply>)) {
    for ((ask, found), absent) in asks.iter().zip(there.1).zip(nowhere.1) {
        let show = |reply: &Reply, place: &str| {
            let place = place.trim_start_matches("/clusters/");
            (
                reply.code,
                reply.content_type.clone(),
                reply.headers.clone(),
                reply.text.replace(place, "PLACE"),
            )
        };
        let (found, absent) = (show(&found, there.0), show(&absent, nowhere.0));
        assert_eq!(found, absent, "{ask:?}: {} and {}", there.0, nowhere.0);
        let open = ["/version", "/healthz", "/livez/ping"].contains(&ask.path());
        assert!(
            open || matches!(found.0, 403 | 405),
            "{ask:?} in {}: {found:?}",
            there.0
        );
    }
}

#[test]
fn a_workspace_one_may_not_enter_is_like_one_that_is_not_there() {
    let house = house();
    for kind in TYPES {
        let (mine, other) = (format!("a-{kind}"), format!("b-{kind}"));
        house.widgets(&other);
        let place = format!("/clusters/root:{other}");
        let resources = resources(&house.admin, &place);
        let made = house.furnish(&place, &resources);
        assert!(made > 8, "{made} objects in {other}");
        let before = contents(&house.admin, &place, &resources);

        let mut asks = Vec::new();
        for resource in &resources {
            about(resource, &mut asks);
        }
        about_the_rest(&resources, &mut asks);
        let nowhere = "/clusters/root:nowhere";
        let absent = house.ann.send_all(&at(nowhere, &asks));
        let found = house.ann.send_all(&at(&place, &asks));
        compare(&asks, (&place, found), (nowhere, absent.clone()));
        // By the name of its logical cluster, and a child of it: the same.
        let by_name = format!("/clusters/{}", house.name_of(&other));
        let found = house.ann.send_all(&at(&by_name, &asks));
        let no_name = "/clusters/2x4jz8qk9m1n7b5v";
        let absent_name = house.ann.send_all(&at(no_name, &asks));
        compare(&asks, (&by_name, found), (no_name, absent_name));
        let few: Vec<Ask> = asks.iter().step_by(97).cloned().collect();
        let child = format!("{place}:child");
        let found = house.ann.send_all(&at(&child, &few));
        let absent = house
            .ann
            .send_all(&at("/clusters/root:nowhere:child", &few));
        compare(
            &few,
            (&child, found),
            ("/clusters/root:nowhere:child", absent),
        );

        // All logical clusters at once, and views of edges.
        for reply in house.ann.send_all(&at("/clusters/*", &asks)) {
            assert!(matches!(reply.code, 200 | 403 | 405), "{}", reply.text);
            assert!(!reply.text.contains("target"), "{}", reply.text);
        }
        let mailbox = |inventory: &str| {
            let place = format!("/services/mailbox/{inventory}/target");
            let asks = at(&place, &few);
            (house.ann.send_all(&asks), place)
        };
        let ((found, place_there), (absent, place_absent)) =
            (mailbox(&format!("root:{other}")), mailbox("root:nowhere"));
        for (found, absent) in found.iter().zip(&absent) {
            let shown =
                |reply: &Reply, place: &str| (reply.code, reply.text.replace(place, "PLACE"));
            assert_eq!(shown(found, &place_there), shown(absent, &place_absent));
        }

        let reading = |workspace: &str| {
            let place = format!("/services/fleet/{workspace}");
            let asks: Vec<Ask> = [
                "history?policy=p",
                "copies",
                "explain?resource=configmaps&name=target",
                "desired?destination=d",
            ]
            .iter()
            .map(|question| Ask::get(&format!("{place}/{question}")))
            .collect();
            (house.ann.send_all(&asks), workspace.to_owned())
        };
        let ((found, there), (absent, nowhere)) =
            (reading(&format!("root:{other}")), reading("root:nowhere"));
        for (found, absent) in found.iter().zip(&absent) {
            let shown =
                |reply: &Reply, place: &str| (reply.code, reply.text.replace(place, "PLACE"));
            assert_eq!(found.code, 403, "{}", found.text);
            assert_eq!(shown(found, &there), shown(absent, &nowhere));
        }

        assert_eq!(
            before,
            contents(&house.admin, &place, &resources),
            "{other}"
        );
        // The questions are good ones: in her own workspace they are answered.
        let own: Vec<Ask> = resources
            .iter()
            .filter(|r| r.lists() && r.plural != "widgets")
            .map(|r| Ask::get(&r.collection()))
            .collect();
        for (ask, reply) in own.iter().zip(
            house
                .ann
                .send_all(&at(&format!("/clusters/root:{mine}"), &own)),
        ) {
            assert_eq!(reply.code, 200, "{ask:?}: {}", reply.text);
        }
    }
}

#[test]
fn what_happens_in_one_workspace_is_seen_by_no_watch_of_another() {
    let house = house();
    for kind in TYPES {
        let (mine, other) = (
            format!("/clusters/root:a-{kind}"),
            format!("/clusters/root:b-{kind}"),
        );
        let resources = resources(&house.admin, &mine);
        let head = house
            .ann
            .get(&format!("{mine}/api/v1/namespaces/default/configmaps"))
            .expect(200)["metadata"]["resourceVersion"]
            .as_str()
            .unwrap()
            .to_owned();
        house.widgets(&format!("b-{kind}"));
        house.furnish(&other, &resources);
        house.furnish(&mine, &resources);
        // From before all that; and while it goes on, since the watches are open for a while.
        let watched: Vec<&Resource> = resources.iter().filter(|r| r.watches()).collect();
        let asks: Vec<Ask> = watched
            .iter()
            .map(|r| {
                Ask::get(&format!(
                    "{mine}{}/{}?watch=1&resourceVersion={head}&timeoutSeconds=1",
                    r.root(),
                    r.plural
                ))
            })
            .collect();
        let watching = house.ann.begin_all(&asks);
        for n in 0..20 {
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("late-{n}")}});
            let path = format!("{other}/api/v1/namespaces/default/configmaps");
            house.admin.post(&path, &object).expect(201);
        }
        let name = house.name_of(&format!("a-{kind}"));
        let mut events = 0;
        for (ask, reply) in asks.iter().zip(house.ann.finish(watching)) {
            if matches!(reply.code, 405) {
                continue;
            }
            assert_eq!(reply.code, 200, "{ask:?} {}", reply.text);
            for line in reply.text.lines() {
                let event: Value = serde_json::from_str(line).unwrap();
                let from = &event["object"]["metadata"]["annotations"]["kcp.io/cluster"];
                assert_eq!(from, &json!(name), "{ask:?}: {line}");
                events += 1;
            }
        }
        assert!(events > 8, "{events} events of her own");
        // The kind that the other workspace defined is not even known here.
        for path in [
            "/apis/example.com",
            "/apis/example.com/v1/widgets",
            "/openapi/v3/apis/example.com/v1",
        ] {
            assert_eq!(house.ann.get(&format!("{mine}{path}")).code, 404, "{path}");
        }
        for path in ["/apis", "/openapi/v2", "/openapi/v3"] {
            let text = house.ann.get(&format!("{mine}{path}")).text;
            assert!(!text.contains("example.com"), "{path}");
        }
    }
}

#[test]
fn nothing_said_in_one_workspace_asks_about_another() {
    let house = house();
    let (universal, payload) = ("/clusters/root:a-universal", "/clusters/root:a-payload");
    house.center.apply(
        "root:b-universal",
        "apiVersion: tenancy.kcp.io/v1alpha1\nkind: WorkspaceType\nmetadata: {name: special}\n",
    );
    let same =
        |path: &str, body: &dyn Fn(&str) -> Value, places: &[&str], header: &[(&str, &str)]| {
            let answers = places.iter().map(|place| {
                let mut ask = Ask::new("POST", path).json(&body(place));
                for (name, value) in header {
                    ask = ask.header(name, value);
                }
                let reply = house.ann.send_all(&[ask]).remove(0);
                assert_eq!(reply.code, 403, "{}", reply.text);
                reply.text.replace(place, "PLACE")
            });
            let mut answers: Vec<String> = answers.collect();
            answers.dedup();
            assert_eq!(answers.len(), 1, "{answers:#?}");
        };
    // A workspace of a type that is there, or not.
    let places = [
        "root:b-universal",
        "root:b-payload",
        "root:nowhere",
        "2x4jz8qk9m1n7b5v",
    ];
    let workspace = |of: Value| json!({"apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace", "metadata": {"name": "w"}, "spec": {"type": of}});
    let workspaces = format!("{universal}/apis/tenancy.kcp.io/v1alpha1/workspaces");
    same(
        &workspaces,
        &|place| workspace(json!({"name": "special", "path": place})),
        &places,
        &[],
    );
    // The same through a type of her own that extends it.
    let types = format!("{universal}/apis/tenancy.kcp.io/v1alpha1/workspacetypes");
    for (n, place) in places.iter().enumerate() {
        let body = json!({"apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "WorkspaceType", "metadata": {"name": format!("t{n}")},
            "spec": {"extend": {"with": [{"name": "special", "path": place}]}}});
        house.ann.post(&types, &body).expect(201);
    }
    let mut answers: Vec<String> = (0..places.len())
        .map(|n| {
            let body = workspace(json!({"name": format!("t{n}"), "path": "root:a-universal"}));
            let reply = house.ann.post(&workspaces, &body);
            assert_eq!(reply.code, 403, "{}", reply.text);
            reply.text.replace(places[n], "PLACE")
        })
        .collect();
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:#?}");
    // A policy for an inventory that is one, or is none, or is not there.
    let policy = |place: &str| {
        json!({"apiVersion": "control.kubestellar.io/v1alpha1", "kind": "BindingPolicy", "metadata": {"name": "p"},
            "spec": {"inventory": place, "clusterSelectors": [{"matchLabels": {"a": "b"}}], "downsync": [{"apiGroup": "", "resources": ["configmaps"]}]}})
    };
    let policies = format!("{payload}/apis/control.kubestellar.io/v1alpha1/bindingpolicies");
    let inventories = [
        "root:b-inventory",
        "root:b-universal",
        "root:nowhere",
        "2x4jz8qk9m1n7b5v",
    ];
    same(&policies, &policy, &inventories, &[]);
    // Nor as somebody else: who is acted as counts only where that is done, and a warrant is not for her to give.
    let admin = [("impersonate-user", "kcp-admin")];
    same(&policies, &policy, &inventories, &admin);
    let warrant =
        json!({"username": "kcp-admin", "groups": ["system:kcp:admin", "system:masters"]})
            .to_string();
    let warrant = [
        ("impersonate-user", "ann"),
        (
            "impersonate-extra-authorization.kcp.io%2fwarrant",
            warrant.as_str(),
        ),
    ];
    same(&policies, &policy, &inventories, &warrant);
    // A token to go on with a list of another workspace reads nothing of it.
    let list = |place: &str| format!("{place}/api/v1/namespaces/default/configmaps");
    let other = "/clusters/root:b-universal";
    for n in 0..3 {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("theirs-{n}")}});
        house.admin.post(&list(other), &object).expect(201);
    }
    let page = house
        .admin
        .get(&format!("{}?limit=1", list(other)))
        .expect(200);
    let token = page["metadata"]["continue"].as_str().unwrap();
    let reply = house.ann.get(&format!(
        "{}?limit=1&continue={}",
        list(universal),
        token.replace('=', "%3D")
    ));
    assert!(!reply.text.contains("theirs"), "{}", reply.text);
    // A name that is no name leads nowhere else.
    for path in [
        "/api/v1/namespaces/default%00x/configmaps/target",
        "/api/v1/namespaces/default%00x/resourcequotas/target/status",
        "/api/v1/namespaces/default/resourcequotas/a%00b/status",
        "/api/v1/namespaces/..%2Fdefault/configmaps/target",
    ] {
        let reply = house.ann.get(&format!("{universal}{path}"));
        assert!(matches!(reply.code, 400 | 404), "{path}: {}", reply.text);
    }
}
