//! What is stored but does not act yet says so: a `Warning:` for each write of it.

use atoll_kube::{Definition, definition::Source};

use crate::ClusterKind;

/// The warning a write of this object deserves, if any.
pub(crate) fn unenforced(kind: ClusterKind, definition: &Definition) -> Option<String> {
    if definition.source != Source::Builtin {
        return None;
    }
    let what = match (definition.group.as_str(), definition.names.plural.as_str()) {
        _ if !kind.warns_of_unenforced() => return None,
        (
            "admissionregistration.k8s.io",
            "mutatingadmissionpolicies" | "mutatingadmissionpolicybindings",
        ) => "mutating admission policies are not evaluated",
        ("", "limitranges") => "limit ranges are not enforced",
        _ => return None,
    };
    Some(format!(
        "{} is stored, but {what} by this server yet",
        definition.names.kind
    ))
}
