//! What a workload would have made: the ReplicaSet of a Deployment, the Pods of the others. Pure, and the same for the same workload, so that
//! what is there already is recognized by its name.

use atoll_kube::{meta, names};
use serde_json::{Value, json};

use super::Workload;

/// The label by which a Deployment tells its ReplicaSets apart.
const HASH: &str = "pod-template-hash";

/// More pods than this of one workload show nothing new.
const MOST_PODS: i64 = 10;

/// The kind of what a workload makes, if it makes anything here.
pub fn made_by(workload: Workload) -> Option<Workload> {
    match workload {
        Workload::Deployment => Some(Workload::ReplicaSet),
        Workload::ReplicaSet | Workload::StatefulSet | Workload::DaemonSet => Some(Workload::Pod),
        Workload::Job | Workload::Pod => None,
    }
}

/// The objects that a workload has made.
pub fn children(workload: Workload, object: &Value) -> Vec<Value> {
    let template = &object["spec"]["template"];
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(1);
    match workload {
        Workload::Deployment => vec![replica_set(object, template, replicas)],
        Workload::ReplicaSet => (0..replicas.min(MOST_PODS))
            .map(|n| {
                let random = hash(&json!([meta::uid(object), n]));
                let name = format!("{}-{}", meta::name(object), names::suffix(random));
                pod(object, template, &name)
            })
            .collect(),
        Workload::StatefulSet => (0..replicas.min(MOST_PODS))
            .map(|n| {
                let name = format!("{}-{n}", meta::name(object));
                let mut pod = pod(object, template, &name);
                meta::set_label(&mut pod, "apps.kubernetes.io/pod-index", &n.to_string());
                meta::set_label(&mut pod, "statefulset.kubernetes.io/pod-name", &name);
                pod
            })
            .collect(),
        // A sandbox has one pretend node.
        Workload::DaemonSet => {
            let random = hash(&json!([meta::uid(object), 0]));
            let name = format!("{}-{}", meta::name(object), names::suffix(random));
            vec![pod(object, template, &name)]
        }
        Workload::Job | Workload::Pod => Vec::new(),
    }
}

fn replica_set(deployment: &Value, template: &Value, replicas: i64) -> Value {
    let random = hash(template);
    let hash = names::suffix(random) + &names::suffix(random.rotate_left(32));
    let mut template = template.clone();
    meta::set_label(&mut template, HASH, &hash);
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"][HASH] = json!(hash);
    let name = format!("{}-{hash}", meta::name(deployment));
    let mut set = made("apps/v1", "ReplicaSet", deployment, &name);
    set["metadata"]["labels"] = template["metadata"]["labels"].clone();
    set["spec"] = json!({"replicas": replicas, "selector": selector, "template": template});
    set
}

fn pod(owner: &Value, template: &Value, name: &str) -> Value {
    let mut pod = made("v1", "Pod", owner, name);
    for field in ["labels", "annotations"] {
        let value = &template["metadata"][field];
        if !value.is_null() {
            pod["metadata"][field] = value.clone();
        }
    }
    pod["spec"] = template["spec"].clone();
    pod
}

fn made(api_version: &str, kind: &str, owner: &Value, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {
        "name": name, "namespace": meta::namespace(owner),
        "ownerReferences": [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": meta::name(owner), "uid": meta::uid(owner),
            "controller": true, "blockOwnerDeletion": true}],
    }})
}

/// FNV-1a of the value's text: the same everywhere and always.
pub(crate) fn hash(value: &Value) -> u64 {
    let text = value.to_string();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(kind: &str, replicas: i64) -> Value {
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web", "namespace": "shop", "uid": "u1"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
    }

    #[test]
    fn a_deployment_has_a_replica_set_that_has_its_pods() {
        let deployment = workload("Deployment", 3);
        let sets = children(Workload::Deployment, &deployment);
        let [set] = &sets[..] else { panic!("{sets:?}") };
        let hash = set["metadata"]["labels"][HASH].as_str().unwrap().to_owned();
        assert_eq!(meta::name(set), format!("web-{hash}"));
        assert_eq!(set["spec"]["selector"]["matchLabels"][HASH], json!(hash));
        assert_eq!(set["metadata"]["ownerReferences"][0]["uid"], "u1");
        assert_eq!(sets, children(Workload::Deployment, &deployment));

        let mut live = set.clone();
        live["metadata"]["uid"] = json!("u2");
        let pods = children(Workload::ReplicaSet, &live);
        assert_eq!(pods.len(), 3);
        for pod in &pods {
            assert!(meta::name(pod).starts_with(&format!("web-{hash}-")));
            assert_eq!(pod["metadata"]["labels"][HASH], json!(hash));
            assert_eq!(pod["spec"]["containers"][0]["image"], "i");
        }
        // Another template is another set.
        let mut changed = deployment.clone();
        changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("j");
        let other = children(Workload::Deployment, &changed);
        assert_ne!(meta::name(&other[0]), meta::name(set));
    }

    #[test]
    fn others_have_pods_of_their_own() {
        let names = |workload, object: &Value| -> Vec<String> {
            let all = children(workload, object);
            all.iter().map(|o| meta::name(o).to_owned()).collect()
        };
        assert_eq!(
            names(Workload::StatefulSet, &self::workload("StatefulSet", 2)),
            ["web-0", "web-1"]
        );
        assert_eq!(
            names(Workload::DaemonSet, &self::workload("DaemonSet", 9)).len(),
            1
        );
        assert_eq!(
            names(Workload::StatefulSet, &self::workload("StatefulSet", 99)).len(),
            10
        );
        assert!(names(Workload::Job, &self::workload("Job", 1)).is_empty());
    }
}
