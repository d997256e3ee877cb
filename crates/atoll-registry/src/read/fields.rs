//! Field selectors: which fields each kind lets one select by, and where they are in the stored object.

use std::borrow::Cow;

use atoll_kube::{Status, definition::Source, jsonpath::JsonPath, selector::FieldSelector};
use serde_json::Value;

use crate::{ObjectKey, Served};

/// One requirement, ready to be tested.
#[derive(Clone, Debug)]
pub(crate) struct FieldTest {
    place: Place,
    value: String,
    negated: bool,
}

#[derive(Clone, Debug)]
enum Place {
    Name,
    Namespace,
    /// The first of these JSON pointers that is there and not empty; else the text.
    First(&'static [&'static str], &'static str),
    Path(JsonPath),
}

/// label, JSON pointers, text when absent
type Field = (&'static str, &'static [&'static str], &'static str);

const POD: &[Field] = &[
    ("spec.nodeName", &["/spec/nodeName"], ""),
    ("spec.restartPolicy", &["/spec/restartPolicy"], ""),
    ("spec.schedulerName", &["/spec/schedulerName"], ""),
    ("spec.serviceAccountName", &["/spec/serviceAccountName"], ""),
    ("spec.hostNetwork", &["/spec/hostNetwork"], "false"),
    ("status.phase", &["/status/phase"], ""),
    ("status.podIP", &["/status/podIP"], ""),
    (
        "status.nominatedNodeName",
        &["/status/nominatedNodeName"],
        "",
    ),
];
/// Both groups of events: the stored form is core/v1.
const EVENT: &[Field] = &[
    ("involvedObject.kind", &["/involvedObject/kind"], ""),
    (
        "involvedObject.namespace",
        &["/involvedObject/namespace"],
        "",
    ),
    ("involvedObject.name", &["/involvedObject/name"], ""),
    ("involvedObject.uid", &["/involvedObject/uid"], ""),
    (
        "involvedObject.apiVersion",
        &["/involvedObject/apiVersion"],
        "",
    ),
    (
        "involvedObject.resourceVersion",
        &["/involvedObject/resourceVersion"],
        "",
    ),
    (
        "involvedObject.fieldPath",
        &["/involvedObject/fieldPath"],
        "",
    ),
    ("regarding.kind", &["/involvedObject/kind"], ""),
    ("regarding.namespace", &["/involvedObject/namespace"], ""),
    ("regarding.name", &["/involvedObject/name"], ""),
    ("regarding.uid", &["/involvedObject/uid"], ""),
    ("regarding.apiVersion", &["/involvedObject/apiVersion"], ""),
    (
        "regarding.resourceVersion",
        &["/involvedObject/resourceVersion"],
        "",
    ),
    ("regarding.fieldPath", &["/involvedObject/fieldPath"], ""),
    ("reason", &["/reason"], ""),
    ("reportingComponent", &["/reportingComponent"], ""),
    ("reportingController", &["/reportingComponent"], ""),
    ("source", &["/source/component", "/reportingComponent"], ""),
    ("type", &["/type"], ""),
];

fn selectable(group: &str, resource: &str) -> &'static [Field] {
    match (group, resource) {
        ("", "pods") => POD,
        ("" | "events.k8s.io", "events") => EVENT,
        ("", "secrets") => &[("type", &["/type"], "")],
        ("", "namespaces") => &[("status.phase", &["/status/phase"], "")],
        ("", "nodes") => &[("spec.unschedulable", &["/spec/unschedulable"], "false")],
        ("", "services") => &[
            ("spec.clusterIP", &["/spec/clusterIP"], ""),
            ("spec.type", &["/spec/type"], ""),
        ],
        ("", "replicationcontrollers") | ("apps", "replicasets") => {
            &[("status.replicas", &["/status/replicas"], "0")]
        }
        ("batch", "jobs") => &[("status.successful", &["/status/succeeded"], "0")],
        ("certificates.k8s.io", "certificatesigningrequests") => {
            &[("spec.signerName", &["/spec/signerName"], "")]
        }
        ("certificates.k8s.io", "clustertrustbundles") => {
            &[("spec.signerName", &["/spec/signerName"], "")]
        }
        ("resource.k8s.io", "resourceslices") => &[
            ("spec.nodeName", &["/spec/nodeName"], ""),
            ("spec.driver", &["/spec/driver"], ""),
        ],
        _ => &[],
    }
}

/// Compiles a selector for a resource, or says as Kubernetes does which field it cannot select by.
pub(crate) fn compile(served: &Served, selector: &FieldSelector) -> Result<Vec<FieldTest>, Status> {
    let definition = &served.definition;
    let known = match definition.source {
        Source::Builtin => selectable(&definition.group, &definition.names.plural),
        Source::Crd => &[],
    };
    let place = |field: &str| -> Option<Place> {
        match field {
            "metadata.name" => return Some(Place::Name),
            // Namespaces and nodes had a short form once.
            "name"
                if matches!(
                    definition.names.plural.as_str(),
                    "namespaces" | "persistentvolumes"
                ) =>
            {
                return Some(Place::Name);
            }
            "metadata.namespace" => return Some(Place::Namespace),
            _ => {}
        }
        if let Some((_, pointers, absent)) = known.iter().find(|(label, ..)| *label == field) {
            return Some(Place::First(pointers, absent));
        }
        let dotted = format!(".{field}");
        let declared = served.version().selectable_fields.iter();
        declared
            .into_iter()
            .find(|p| {
                let text = p.to_string();
                text == dotted || text == field
            })
            .cloned()
            .map(Place::Path)
    };
    selector
        .requirements
        .iter()
        .map(|r| match place(&r.field) {
            Some(place) => Ok(FieldTest { place, value: r.value.clone(), negated: r.negated }),
            None if known.is_empty() && definition.source == Source::Builtin => Err(Status::bad_request(format!(
                "{:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                r.field
            ))),
            None => Err(Status::bad_request(format!("field label not supported: {}", r.field))),
        })
        .collect()
}

fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(s) => Cow::Borrowed(s),
        Value::Null => Cow::Borrowed(""),
        other => Cow::Owned(other.to_string()),
    }
}

impl FieldTest {
    /// Whether the test needs more of the object than its key.
    pub(crate) fn needs_body(&self) -> bool {
        !matches!(self.place, Place::Name | Place::Namespace)
    }

    /// The name that the object must have, when the test says so.
    pub(crate) fn exact_name(&self) -> Option<&str> {
        (matches!(self.place, Place::Name) && !self.negated).then_some(&self.value)
    }

    /// Whether the object passes; `body` is needed only where [`Self::needs_body`].
    pub(crate) fn passes(&self, key: &ObjectKey<'_>, body: Option<&Value>) -> bool {
        let found = match &self.place {
            Place::Name => Cow::Borrowed(key.name),
            Place::Namespace => Cow::Borrowed(key.namespace),
            Place::First(pointers, absent) => pointers
                .iter()
                .filter_map(|p| body?.pointer(p).map(text))
                .find(|t| !t.is_empty())
                .unwrap_or(Cow::Borrowed(absent)),
            Place::Path(path) => body
                .and_then(|b| path.first(b))
                .map_or(Cow::Borrowed(""), text),
        };
        (found == self.value.as_str()) != self.negated
    }
}
