//! Get: one row of one snapshot.
//!
//! Hot path: no JSON is parsed; the object is handed on as stored bytes.

use atoll_kube::{Status, definition::Verb};
use serde_json::Value;

use super::{
    target::{Target, name_of},
    versions,
};
use crate::{Call, GetOptions, Object, Registry};

pub(crate) async fn get(
    registry: &Registry,
    call: &Call,
    options: &GetOptions,
) -> Result<Object, Status> {
    if let Some(computed) = registry.computed(&call.resource) {
        return computed.get(registry, call, options).await;
    }
    let wanted = versions::for_get(options.resource_version.as_deref())?;
    let snapshot = versions::snapshot(&registry.inner.store, wanted).await?;
    let target = Target::resolve(registry, snapshot.as_ref(), call, Verb::Get)?;
    let place = target.place()?;
    let name = name_of(call)?;
    let key = target
        .id
        .key(place.cluster.as_str(), call.namespace.as_deref(), name);
    let version = snapshot
        .get(&key)
        .map_err(super::read_error)?
        .ok_or_else(|| Status::not_found(&target.group_resource(), name))?;
    let object = Object {
        key,
        revision: version.modified,
        row: version.row,
        served: target.served,
    };
    crate::convert::shown(object)
}

pub(crate) async fn get_scale(
    registry: &Registry,
    call: &Call,
    options: &GetOptions,
) -> Result<Value, Status> {
    crate::write::scale::read(&get(registry, call, options).await?)
}
