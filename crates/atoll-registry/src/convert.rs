//! Version conversion, for the few kinds whose versions or groups differ by more than apiVersion.
//!
//! Objects are stored at one version. Where all versions have the same fields (every custom resource, nearly every
//! built-in), showing another version is only another apiVersion and costs nothing here.

use atoll_kube::{Row, Status, builtin, definition::Conversion};
use serde_json::Value;

use crate::{Object, Served};

/// The apiVersion at which objects shown as `served` are stored, when their fields differ from it.
fn stored_version(served: &Served) -> Option<String> {
    let definition = &served.definition;
    let stored = match builtin::hooks::storage_resource(&definition.group_resource()) {
        // Cohabiting groups are stored as the core group's v1.
        Some(_) => "v1".to_owned(),
        None if definition.conversion == Conversion::Builtin => {
            definition.api_version(&definition.storage_version().name)
        }
        None => return None,
    };
    (stored != served.api_version()).then_some(stored)
}

/// The object with its fields as its served version has them.
pub(crate) fn shown(mut object: Object) -> Result<Object, Status> {
    if let Some(stored) = stored_version(&object.served) {
        let mut value = object
            .row()?
            .value(&stored, object.served.kind(), object.revision.0, None);
        builtin::convert::to_api_version(&mut value, &object.served.api_version());
        object.row = Row::encode(&value);
    }
    Ok(object)
}

/// A value at its served version, as it is stored.
pub(crate) fn stored(served: &Served, value: &mut Value) {
    if let Some(stored) = stored_version(served) {
        builtin::convert::to_api_version(value, &stored);
    }
}

/// A stored value (labelled with its stored version) at its served version.
pub(crate) fn served(served: &Served, row: atoll_kube::RowRef<'_>, revision: u64) -> Value {
    match stored_version(served) {
        None => row.value(&served.api_version(), served.kind(), revision, None),
        Some(stored) => {
            let mut value = row.value(&stored, served.kind(), revision, None);
            builtin::convert::to_api_version(&mut value, &served.api_version());
            value
        }
    }
}

/// A value at one served version, at another.
pub(crate) fn between(from: &Served, to: &Served, mut value: Value) -> Value {
    if from.definition.conversion == Conversion::Builtin {
        builtin::convert::to_api_version(&mut value, &to.api_version());
    }
    value["apiVersion"] = to.api_version().into();
    value
}
