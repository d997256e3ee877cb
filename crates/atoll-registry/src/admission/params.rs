//! The parameters that a binding gives its policy: objects of any kind, built-in or custom.

use atoll_kube::{LabelSelector, meta};
use serde_json::Value;

use super::policy::ParamKind;
use super::request::Request;
use crate::{Clusters, Served, convert, read::row};

/// The most parameters one binding may select.
const MOST: usize = 1_000;

/// The parameters to evaluate a policy with, one after the other; one `None` where it takes none. Errors are upstream's words.
pub(crate) fn collect(
    request: &Request<'_>,
    kind: Option<&ParamKind>,
    reference: Option<&Value>,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(kind), Some(reference)) = (kind, reference) else {
        return Ok(vec![None]);
    };
    let entry = request
        .place
        .surface
        .kind(&kind.group, &kind.kind)
        .ok_or_else(|| kind.unknown())?;
    let served =
        Served::new(entry.definition.clone(), &kind.version).ok_or_else(|| kind.unknown())?;
    let text = |name: &str| {
        reference
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let namespace = match (
        served.definition.namespaced(),
        text("namespace"),
        request.namespace(),
    ) {
        (false, "", _) => None,
        (false, ..) => {
            return Err(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`"
                    .to_owned(),
            );
        }
        (true, "", "") => {
            return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned());
        }
        (true, "", own) => Some(own),
        (true, named, _) => Some(named),
    };
    let cluster = &request.place.cluster;
    let shown = |bytes: &[u8], revision: u64| {
        let row = row(bytes).map_err(|e| e.message.to_string())?;
        Ok::<_, String>(Some(convert::served(&served, row, revision)))
    };
    let mut found = Vec::new();
    match (text("name"), reference.get("selector")) {
        ("", Some(selector)) => {
            let selector = LabelSelector::from_value(selector, "selector")
                .map_err(|e| e.first().map(ToString::to_string).unwrap_or_default())?;
            let prefix = entry
                .id()
                .prefix(&Clusters::One(cluster.clone()), namespace, None);
            for item in request.snapshot.range(&prefix, None) {
                let (_, version) = item.map_err(|e| format!("{e:?}"))?;
                let param = shown(&version.row, version.modified.0)?;
                if param.as_ref().is_some_and(|p| selector.matches_object(p)) {
                    found.push(param);
                }
                if found.len() > MOST {
                    return Err(format!(
                        "the selector of paramRef selects more than {MOST} objects"
                    ));
                }
            }
        }
        (name, _) => {
            let version = entry
                .id()
                .read(&*request.snapshot, cluster.as_str(), namespace, name);
            if let Some(version) = version.map_err(|e| e.message.to_string())? {
                found.push(shown(&version.row, version.modified.0)?);
            }
        }
    }
    if found.is_empty() && text("parameterNotFoundAction") == "Deny" {
        return Err(
            "no params found for policy binding with `Deny` parameterNotFoundAction".to_owned(),
        );
    }
    found.sort_by_key(|p| p.as_ref().map(|p| meta::name(p).to_owned()));
    Ok(found)
}
