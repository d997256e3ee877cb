//! Volumes, claims and what provides them.

use serde_json::{Value, json};

use super::text::{UNSET, count, flag, joined, list, or, string, string_or};

pub(super) fn cell(kind: &str, heading: &str, o: &Value) -> Option<Value> {
    Some(match (kind, heading) {
        ("PersistentVolume" | "PersistentVolumeClaim", _) => return volume(kind, heading, o),
        ("StorageClass", "Name") => {
            let annotations = &o["metadata"]["annotations"];
            let is_default = [
                "/storageclass.kubernetes.io~1is-default-class",
                "/storageclass.beta.kubernetes.io~1is-default-class",
            ];
            let is_default = is_default
                .iter()
                .any(|key| string(annotations, key) == "true");
            default_name(o, is_default)
        }
        ("StorageClass", "Provisioner") => json!(string(o, "/provisioner")),
        ("StorageClass", "ReclaimPolicy") => string_or(o, "/reclaimPolicy", "Delete"),
        ("StorageClass", "VolumeBindingMode") => string_or(o, "/volumeBindingMode", UNSET),
        ("StorageClass", "AllowVolumeExpansion") => flag(o, "/allowVolumeExpansion").into(),
        ("CSIDriver", "AttachRequired") => {
            (o.pointer("/spec/attachRequired") != Some(&Value::Bool(false))).into()
        }
        ("CSIDriver", "PodInfoOnMount") => flag(o, "/spec/podInfoOnMount").into(),
        ("CSIDriver", "StorageCapacity") => flag(o, "/spec/storageCapacity").into(),
        ("CSIDriver", "TokenRequests") => {
            let all = list(o, "/spec/tokenRequests").iter();
            let all = all.map(|t| string(t, "/audience"));
            or(all.collect::<Vec<_>>().join(","), UNSET)
        }
        ("CSIDriver", "RequiresRepublish") => flag(o, "/spec/requiresRepublish").into(),
        ("CSIDriver", "Modes") => or(joined(o, "/spec/volumeLifecycleModes"), "<none>"),
        ("CSINode", "Drivers") => count(o, "/spec/drivers").into(),
        ("VolumeAttachment", "Attacher") => json!(string(o, "/spec/attacher")),
        ("VolumeAttachment", "PV") => json!(string(o, "/spec/source/persistentVolumeName")),
        ("VolumeAttachment", "Node") => json!(string(o, "/spec/nodeName")),
        ("VolumeAttachment", "Attached") => flag(o, "/status/attached").into(),
        ("VolumeAttributesClass", "Name") => {
            let annotations = &o["metadata"]["annotations"];
            let key = "/storageclass.kubernetes.io~1is-default-class";
            default_name(o, string(annotations, key) == "true")
        }
        ("VolumeAttributesClass", "DriverName") => json!(string(o, "/driverName")),
        _ => return None,
    })
}

fn default_name(o: &Value, is_default: bool) -> Value {
    let name = string(o, "/metadata/name");
    if is_default {
        format!("{name} (default)").into()
    } else {
        name.into()
    }
}

fn volume(kind: &str, heading: &str, o: &Value) -> Option<Value> {
    let is_claim = kind == "PersistentVolumeClaim";
    // A claim shows what it got, once it is bound.
    let bound = !is_claim || !string(o, "/spec/volumeName").is_empty();
    Some(match heading {
        "Status" => {
            let deleting = !o["metadata"]["deletionTimestamp"].is_null();
            if deleting {
                "Terminating".into()
            } else {
                json!(string(o, "/status/phase"))
            }
        }
        "Volume" => json!(string(o, "/spec/volumeName")),
        "Capacity" if is_claim && bound => json!(string(o, "/status/capacity/storage")),
        "Capacity" => json!(string(o, "/spec/capacity/storage")),
        "Access Modes" if is_claim && bound => modes(o, "/status/accessModes").into(),
        "Access Modes" if is_claim => "".into(),
        "Access Modes" => modes(o, "/spec/accessModes").into(),
        "Reclaim Policy" => json!(string(o, "/spec/persistentVolumeReclaimPolicy")),
        "Claim" => match o.pointer("/spec/claimRef") {
            Some(claim) => {
                format!("{}/{}", string(claim, "/namespace"), string(claim, "/name")).into()
            }
            None => "".into(),
        },
        "StorageClass" => {
            let annotations = &o["metadata"]["annotations"];
            match string(annotations, "/volume.beta.kubernetes.io~1storage-class") {
                "" => json!(string(o, "/spec/storageClassName")),
                class => class.into(),
            }
        }
        "VolumeAttributesClass" if is_claim => {
            string_or(o, "/status/currentVolumeAttributesClassName", UNSET)
        }
        "VolumeAttributesClass" => string_or(o, "/spec/volumeAttributesClassName", UNSET),
        "Reason" => json!(string(o, "/status/reason")),
        "VolumeMode" => string_or(o, "/spec/volumeMode", UNSET),
        _ => return None,
    })
}

fn modes(o: &Value, pointer: &str) -> String {
    let all = list(o, pointer);
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let has = |mode: &str| all.iter().any(|m| m == mode);
    let short = short.iter().filter(|(mode, _)| has(mode));
    short.map(|(_, s)| *s).collect::<Vec<_>>().join(",")
}
