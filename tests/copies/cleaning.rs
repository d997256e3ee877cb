//! Objects exported from a living cluster arrive as a person would have written them.

use serde_json::{Value, json};

use super::SHOP;
use crate::{edges::Fleet, harness::eventually};

const LIVING: &str = "---\napiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: shop}\nspec: {type: NodePort, selector: {d: x}, ports: [{port: 80}]}\n---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: j, namespace: shop}\nspec: {template: {spec: {restartPolicy: Never, containers: [{name: main, image: busybox}]}}}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: v, namespace: shop}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: p, namespace: shop}\nspec: {containers: [{name: main, image: nginx}]}\n";

const KINDS: [(&str, &str); 4] = [
    ("service", "s"),
    ("job", "j"),
    ("persistentvolumeclaim", "v"),
    ("pod", "p"),
];

#[test]
fn an_export_of_a_living_cluster_arrives_clean() {
    let Some(fleet) = Fleet::start() else { return };
    let file = fleet.scratch.path().join("living.yaml");
    std::fs::write(&file, SHOP.to_owned() + LIVING).unwrap();
    fleet
        .edge
        .kubectl(&["apply", "-f", file.to_str().unwrap()])
        .expect();
    // Exported when its controllers have left their marks, and then gone: the edge plays the cluster it comes from too.
    eventually("the pod is scheduled", || {
        match fleet.edge.get(&["pod", "p", "-n", "shop"])?["spec"]["nodeName"].as_str() {
            Some(_) => Ok(()),
            None => Err("not yet".to_owned()),
        }
    });
    let export = |(kind, name): (&str, &str)| -> Value {
        let mut object = fleet.edge.get(&[kind, name, "-n", "shop"]).unwrap();
        object["metadata"]["labels"]["app"] = json!("a");
        object["metadata"]["ownerReferences"] = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "0b2d6f7a-2b6e-4f0e-8a43-3f4f4f0c1c11"}]);
        // A create with them is refused, here as everywhere.
        for field in ["resourceVersion", "uid"] {
            object["metadata"].as_object_mut().unwrap().remove(field);
        }
        match kind {
            "pod" => object["spec"]["nodeName"] = json!("node-of-another-cluster"),
            "persistentvolumeclaim" => {
                object["spec"]["volumeName"] = json!("volume-of-another-cluster");
                object["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = json!("yes");
            }
            _ => {}
        }
        object
    };
    let exported = KINDS.map(export);
    fleet
        .edge
        .kubectl(&["delete", "-f", file.to_str().unwrap(), "--now"])
        .expect();
    fleet.edge_lacks(&["namespace", "shop"]);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": exported});
    fleet.center.apply("root:p", SHOP);
    fleet.center.apply("root:p", &list.to_string());
    fleet.policy("a", "");
    fleet.is_current("a", 5);

    let arrived = KINDS.map(|(kind, name)| fleet.edge.get(&[kind, name, "-n", "shop"]).unwrap());
    for (object, before) in arrived.iter().zip(&exported) {
        let metadata = &object["metadata"];
        assert_eq!(metadata["ownerReferences"], Value::Null, "{object}");
        let annotations = metadata["annotations"].to_string();
        assert!(!annotations.contains("last-applied"), "{object}");
        assert!(!annotations.contains("bind-completed"), "{object}");
        assert_ne!(
            metadata["creationTimestamp"], before["metadata"]["creationTimestamp"],
            "{object}"
        );
    }
    let [service, job, claim, pod] = arrived;
    let managed = service["metadata"]["managedFields"].to_string();
    assert!(
        !managed.contains("f:clusterIP") && !managed.contains("f:nodePort"),
        "{managed}"
    );
    let labels = &job["spec"]["template"]["metadata"]["labels"];
    assert_eq!(
        labels["batch.kubernetes.io/controller-uid"],
        job["metadata"]["uid"]
    );
    assert_ne!(
        job["metadata"]["uid"],
        exported[1]["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/controller-uid"]
    );
    assert_eq!(claim["spec"]["volumeName"], Value::Null);
    assert_ne!(pod["spec"]["nodeName"], "node-of-another-cluster");
}
