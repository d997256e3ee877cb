//! One table of objects and what upstream says of them, and that the rules' file is read whole.

use serde_json::{Value, json};

use super::{check, check_change, cron, table};
use crate::builtin;
use crate::ids::GroupResource;

fn resource(name: &str) -> GroupResource {
    let (plural, group) = name.split_once('.').unwrap_or((name, ""));
    GroupResource::new(group, plural)
}

fn said(kind: &str, object: Value) -> Vec<String> {
    let errors = check(&resource(kind), &object);
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn every_line_means_something_and_is_about_something() {
    let (table, bad) = table::read(include_str!("../data/rules.txt"));
    assert_eq!(bad, Vec::<&str>::new());
    for kind in table.kinds.keys() {
        assert!(builtin::lookup(&resource(kind)).is_some(), "{kind}");
    }
    let all = table.kinds.values().chain(table.shapes.values()).flatten();
    for rule in all {
        if let table::Demand::Shape(name) = &rule.demand {
            assert!(table.shapes.contains_key(name), "{name}");
        }
    }
    for bad in [
        "spec.a",
        "spec.a nonsense",
        "spec.a at-least x",
        "spec.a is nothing",
    ] {
        assert_eq!(
            table::read(&format!("kind pods\n  {bad}")).1.len(),
            1,
            "{bad}"
        );
    }
}

/// A Deployment whose pod template is `pod`.
fn deployment(pod: Value) -> Value {
    json!({"spec": {"selector": {"matchLabels": {"app": "a"}}, "template": {"metadata": {"labels": {"app": "a"}}, "spec": pod}}})
}

fn container(more: Value) -> Value {
    let mut container = json!({"name": "c", "image": "i"});
    for (key, value) in more.as_object().unwrap() {
        container[key] = value.clone();
    }
    container
}

#[test]
fn what_is_right_is_left_alone() {
    let whole = json!({
        "volumes": [{"name": "v", "configMap": {"name": "x"}}, {"name": "w"}],
        "initContainers": [container(json!({"name": "i"}))],
        "containers": [container(json!({
            "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 81, "hostPort": 0}],
            "env": [{"name": "A.b-c", "value": ""}, {"name": "D", "valueFrom": {"fieldRef": {}}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}],
            "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "1Gi"}},
        }))],
    });
    assert_eq!(said("deployments.apps", deployment(whole)), [""; 0]);
    for (kind, object) in [
        (
            "configmaps",
            json!({"data": {"a.b_C": "x"}, "binaryData": {"d": "AA=="}}),
        ),
        ("services", json!({"spec": {"ports": [{"port": 80}]}})),
        ("services", json!({"spec": {"clusterIP": "None"}})),
        (
            "services",
            json!({"spec": {"ports": [{"port": 53, "name": "a", "protocol": "UDP"}, {"port": 53, "name": "b"}]}}),
        ),
        (
            "roles.rbac.authorization.k8s.io",
            json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
        ),
        (
            "clusterroles.rbac.authorization.k8s.io",
            json!({"rules": [{"nonResourceURLs": ["/x"], "verbs": ["get"]}]}),
        ),
    ] {
        assert_eq!(said(kind, object.clone()), [""; 0], "{object}");
    }
}

#[test]
fn a_pod_template_is_refused_as_upstream_refuses_it() {
    let at = "spec.template.spec.containers[0]";
    let with = |more: Value| json!({"containers": [container(more)]});
    let rows: Vec<(Value, String)> = vec![
        (json!({"containers": []}), "spec.template.spec.containers: Required value".into()),
        (json!({"containers": [{"name": "c"}]}), format!("{at}.image: Required value")),
        (with(json!({"name": "C"})), format!("{at}.name: Invalid value: \"C\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')")),
        (json!({"containers": [container(json!({})), container(json!({}))]}), "spec.template.spec.containers[1].name: Duplicate value: \"c\"".into()),
        (json!({"containers": [container(json!({}))], "initContainers": [container(json!({}))]}), "spec.template.spec.initContainers[0].name: Duplicate value: \"c\"".into()),
        (with(json!({"ports": [{"containerPort": 70000}]})), format!("{at}.ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive")),
        (with(json!({"ports": [{"containerPort": 1, "name": "x"}, {"containerPort": 2, "name": "x"}]})), format!("{at}.ports[1].name: Duplicate value: \"x\"")),
        (with(json!({"ports": [{"containerPort": 1, "name": "1"}]})), format!("{at}.ports[0].name: Invalid value: \"1\": must contain at least one letter (a-z)")),
        (with(json!({"env": [{"name": "A=B"}]})), format!("{at}.env[0].name: Invalid value: \"A=B\": a valid environment variable name must consist only of printable ASCII characters other than '='")),
        (with(json!({"env": [{"name": "A", "value": "1", "valueFrom": {"fieldRef": {}}}]})), format!("{at}.env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty")),
        (with(json!({"volumeMounts": [{"name": "nope", "mountPath": "/x"}]})), format!("{at}.volumeMounts[0].name: Not found: \"nope\"")),
        (with(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})), format!("{at}.resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1")),
        (with(json!({"resources": {"limits": {"memory": "-1"}}})), format!("{at}.resources.limits[memory]: Invalid value: \"-1\": must be greater than or equal to 0")),
        (json!({"containers": [container(json!({}))], "volumes": [{"name": "v"}, {"name": "v"}]}), "spec.template.spec.volumes[1].name: Duplicate value: \"v\"".into()),
        (json!({"containers": [container(json!({}))], "volumes": [{"name": "v", "secret": {}, "configMap": {}}]}), "spec.template.spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type".into()),
        (json!({"containers": [container(json!({}))], "restartPolicy": "Never"}), "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"".into()),
    ];
    for (pod, words) in rows {
        assert_eq!(said("deployments.apps", deployment(pod)), [words]);
    }
    let mounts = json!([{"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x"}]);
    let pod = json!({"volumes": [{"name": "v"}], "containers": [container(json!({"volumeMounts": mounts}))]});
    assert_eq!(
        said("pods", json!({"spec": pod})),
        ["spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/x\": must be unique"]
    );
}

#[test]
fn kinds_are_refused_as_upstream_refuses_them() {
    let mut other = deployment(json!({"containers": [container(json!({}))]}));
    other["spec"]["template"]["metadata"]["labels"] = json!({"app": "b"});
    let mut everything = deployment(json!({"containers": [container(json!({}))]}));
    everything["spec"]["selector"] = json!({});
    let mut both = deployment(json!({"containers": [container(json!({}))]}));
    both["spec"]["strategy"] = json!({"type": "Recreate", "rollingUpdate": {"maxSurge": 1}});
    both["spec"]["replicas"] = json!(-1);
    let job = json!({"template": {"spec": {"containers": [container(json!({}))]}}});
    let big = "x".repeat((1 << 20) + 1);
    let rows: Vec<(&str, Value, &[&str])> = vec![
        (
            "deployments.apps",
            other,
            &[
                "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`",
            ],
        ),
        (
            "deployments.apps",
            everything,
            &["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        ),
        (
            "deployments.apps",
            both,
            &[
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ],
        ),
        (
            "jobs.batch",
            json!({"spec": job}),
            &[
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ],
        ),
        (
            "cronjobs.batch",
            json!({"metadata": {"name": "x"}, "spec": {"schedule": "* * * *"}}),
            &[
                "spec.schedule: Invalid value: \"* * * *\": expected exactly 5 fields, found 4: [* * * *]",
            ],
        ),
        (
            "services",
            json!({"spec": {}}),
            &["spec.ports: Required value"],
        ),
        (
            "services",
            json!({"spec": {"ports": [{"port": 80, "name": "a"}, {"port": 80, "name": "a"}]}}),
            &[
                "spec.ports[1].name: Duplicate value: \"a\"",
                "spec.ports[1]: Duplicate value: {\"AppProtocol\":null,\"Name\":\"\",\"NodePort\":0,\"Port\":80,\"Protocol\":\"TCP\",\"TargetPort\":0}",
            ],
        ),
        (
            "services",
            json!({"spec": {"ports": [{"port": 0}]}}),
            &["spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"],
        ),
        (
            "services",
            json!({"spec": {"type": "ExternalName"}}),
            &["spec.externalName: Required value"],
        ),
        (
            "horizontalpodautoscalers.autoscaling",
            json!({"spec": {"minReplicas": 3, "maxReplicas": 2}}),
            &["spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`"],
        ),
        (
            "ingresses.networking.k8s.io",
            json!({"spec": {"rules": [{"http": {"paths": [{"path": "y"}, {"path": "x", "pathType": "Exact"}]}}]}}),
            &[
                "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
                "spec.rules[0].http.paths[1].path: Invalid value: \"x\": must be an absolute path",
            ],
        ),
        (
            "persistentvolumeclaims",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {}}}}),
            &["spec.resources[storage]: Required value"],
        ),
        (
            "configmaps",
            json!({"data": {"a b": ""}}),
            &[
                "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            ],
        ),
        (
            "configmaps",
            json!({"data": {"a": ""}, "binaryData": {"a": ""}}),
            &["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"],
        ),
        (
            "configmaps",
            json!({"data": {"a": big}}),
            &["[]: Too long: may not be more than 1048576 bytes"],
        ),
        (
            "secrets",
            json!({"data": {"a": "A".repeat(4 << 20)}}),
            &["data: Too long: may not be more than 1048576 bytes"],
        ),
        (
            "secrets",
            json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}),
            &["data[tls.key]: Required value"],
        ),
        (
            "roles.rbac.authorization.k8s.io",
            json!({"rules": [{"verbs": ["get"], "resources": ["pods"]}]}),
            &[
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
            ],
        ),
    ];
    for (kind, object, words) in rows {
        assert_eq!(said(kind, object), words, "{kind}");
    }
}

#[test]
fn what_is_fixed_is_named() {
    let rows: Vec<(&str, Value, Value, &[&str])> = vec![
        (
            "deployments.apps",
            json!({"spec": {"selector": {"a": 1}}}),
            json!({"spec": {"selector": {"a": 2}}}),
            &["spec.selector: Invalid value: {\"a\":2}: field is immutable"],
        ),
        (
            "deployments.apps",
            json!({"spec": {}}),
            json!({"spec": {"selector": {"a": 2}}}),
            &[],
        ),
        (
            "configmaps",
            json!({"data": {"a": "1"}}),
            json!({"data": {"a": "2"}}),
            &[],
        ),
        (
            "configmaps",
            json!({"immutable": true}),
            json!({"immutable": true, "data": {"a": "2"}}),
            &["data: Forbidden: field is immutable when `immutable` is set"],
        ),
        (
            "statefulsets.apps",
            json!({"spec": {"serviceName": "a", "replicas": 1}}),
            json!({"spec": {"serviceName": "a", "replicas": 2}}),
            &[],
        ),
        (
            "statefulsets.apps",
            json!({"spec": {"serviceName": "a"}}),
            json!({"spec": {"serviceName": "b"}}),
            &[
                "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
            ],
        ),
    ];
    for (kind, old, new, words) in rows {
        let errors = check_change(&resource(kind), &old, &new);
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(said, words, "{kind} {new}");
    }
}

#[test]
fn schedules() {
    for right in [
        "*/5 * * * *",
        "0 0 1 jan mon-fri",
        "@daily",
        "@every 1h30m",
        "1,2,3-9/2 ? * * *",
    ] {
        assert_eq!(cron::check(right), Ok(()), "{right}");
    }
    for (wrong, words) in [
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        (
            "5-1 * * * *",
            "beginning of range (5) beyond end of range (1): 5-1",
        ),
        (
            "x * * * *",
            "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "*/0 * * * *",
            "step of range should be a positive number: */0",
        ),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("@often", "unrecognized descriptor: @often"),
        (
            "TZ=UTC * * * * *",
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ),
    ] {
        assert_eq!(cron::check(wrong), Err(words.to_owned()), "{wrong}");
    }
}

/// Where ours is known to say something else: the beginning of what upstream says.
const OTHERWISE: [&str; 5] = [
    // Its own struct, whose fields are not in the order of the alphabet.
    "spec.ports[1]: Duplicate value: ",
    // Go's own words.
    "data[.dockerconfigjson]: ",
    // Of fields that upstream's defaults set.
    "spec.ports[0].targetPort: Invalid value: 0",
    // Not looked at here.
    "spec.scaleTargetRef.apiVersion: ",
    "spec.metrics: ",
];

/// `testdata/rules.jsonl` is what a genuine kube-apiserver 1.36 says of these objects; `tests/rules.rs` asks one again.
#[test]
fn what_a_genuine_server_says_is_what_is_said_here() {
    let (mut rows, mut wrong) = (0, String::new());
    for line in include_str!("../testdata/rules.jsonl").lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let path: Vec<&str> = row["path"].as_str().unwrap().split('/').collect();
        let group = if path[1] == "apis" { path[2] } else { "" };
        let resource = GroupResource::new(group, *path.last().unwrap());
        let known = |text: &String| !OTHERWISE.iter().any(|o| text.starts_with(o));
        let said = check(&resource, &row["object"]);
        let mut said: Vec<String> = said.iter().map(ToString::to_string).filter(known).collect();
        let says = row["says"].as_array().unwrap().iter();
        let mut says: Vec<String> = says
            .map(|s| s.as_str().unwrap().to_owned())
            .filter(known)
            .collect();
        said.sort();
        says.sort();
        if said != says {
            wrong += &format!("{line}\n  here: {said:#?}\n  there: {says:#?}\n");
        }
        rows += 1;
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(rows > 100, "{rows}");
}
