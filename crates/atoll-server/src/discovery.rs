//! Discovery and OpenAPI of a surface: documents, made once per surface and form.
//!
//! The documents themselves are made by `atoll-kube`; here they are cached, tagged and put into the form asked for.

use std::sync::Arc;

use atoll_kube::status::Status;
use atoll_kube::{Definition, discovery, openapi};
use bytes::Bytes;
use http::header::{HeaderValue, LOCATION};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::answer::{self, Documents, Fresh, Reply};
use crate::request::{Accept, Encoding, NonResource, Query, openapi_v2_form};

const JSON: &str = "application/json";

/// One request for a document.
pub(crate) struct Ask<'a> {
    /// Names what is served: equal ids, equal documents.
    pub(crate) id: &'a str,
    pub(crate) definitions: &'a [Arc<Definition>],
    pub(crate) accept: &'a Accept,
    pub(crate) query: &'a Query,
    pub(crate) headers: &'a HeaderMap,
    /// The request's path, to redirect to.
    pub(crate) path: &'a str,
    /// `host:port`, for `serverAddressByClientCIDRs`.
    pub(crate) address: &'a str,
}

/// The document at a path; `None` when the path is none of a document.
pub(crate) fn answer(
    documents: &Documents,
    ask: &Ask<'_>,
    what: &NonResource,
) -> Option<Result<Reply, Status>> {
    Some(match what {
        NonResource::CoreVersions => root(documents, ask, discovery::Root::Api),
        NonResource::Groups => root(documents, ask, discovery::Root::Apis),
        NonResource::Group(group) => plain(documents, ask, &format!("group {group}"), || {
            discovery::api_group(group, ask.definitions)
        }),
        NonResource::GroupVersion(group, version) => plain(
            documents,
            ask,
            &format!("resources {group}/{version}"),
            || discovery::api_resource_list(group, version, ask.definitions),
        ),
        NonResource::OpenApiIndex => plain(documents, ask, "openapi/v3", || {
            Some(index(ask.definitions))
        }),
        NonResource::OpenApi(group, version) => openapi_v3(documents, ask, group, version),
        NonResource::OpenApiV2 => openapi_v2(documents, ask),
        _ => return None,
    })
}

fn root(documents: &Documents, ask: &Ask<'_>, root: discovery::Root) -> Result<Reply, Status> {
    let definitions = ask.definitions;
    match ask.accept.aggregated_discovery() {
        Some(version @ "v2") => aggregated(documents, ask, root, version, || {
            discovery::aggregated_v2(root, definitions)
        }),
        Some(version) => aggregated(documents, ask, root, version, || {
            discovery::aggregated_v2beta1(root, definitions)
        }),
        None if root == discovery::Root::Api => plain(documents, ask, "api", || {
            Some(discovery::api_versions(definitions, ask.address))
        }),
        None => plain(documents, ask, "apis", || {
            Some(discovery::api_group_list(definitions))
        }),
    }
}

fn aggregated(
    documents: &Documents,
    ask: &Ask<'_>,
    root: discovery::Root,
    version: &str,
    make: impl FnOnce() -> Value,
) -> Result<Reply, Status> {
    let content_type = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    let form = format!("aggregated {root:?} {version}");
    let made = documents.get(ask.id, &form, || Ok(make().to_string().into()))?;
    Ok(answer::document(
        &made,
        content_type,
        Fresh::AskAgain,
        ask.headers,
    ))
}

/// A document in JSON, or YAML for those who ask; 404 when there is none.
fn plain(
    documents: &Documents,
    ask: &Ask<'_>,
    form: &str,
    make: impl FnOnce() -> Option<Value>,
) -> Result<Reply, Status> {
    let encoding = ask.accept.plain()?;
    let made = documents.get(ask.id, form, || {
        make()
            .map(|value| Bytes::from(value.to_string()))
            .ok_or_else(Status::no_such_path)
    })?;
    Ok(match encoding {
        Encoding::Json => answer::document(&made, JSON, Fresh::AskAgain, ask.headers),
        Encoding::Yaml => answer::encoded(StatusCode::OK, Encoding::Yaml, made.bytes),
    })
}

fn index(definitions: &[Arc<Definition>]) -> Value {
    openapi::v3_index(definitions)
}

/// A group version's document. A URL that names the hash of its content may be kept for ever; one that names another
/// hash leads to the right one.
fn openapi_v3(
    documents: &Documents,
    ask: &Ask<'_>,
    group: &str,
    version: &str,
) -> Result<Reply, Status> {
    let mut fresh = Fresh::AskAgain;
    if let Some(asked) = ask.query.get("hash") {
        let index = documents.get(ask.id, "openapi/v3", || {
            Ok(index(ask.definitions).to_string().into())
        })?;
        match current_hash(&index.bytes, group, version) {
            Some(current) if current == asked => fresh = Fresh::Forever,
            Some(current) => return Ok(moved(&format!("{}?hash={current}", ask.path))),
            None => return Err(Status::no_such_path()),
        }
    }
    let form = format!("openapi/v3 {group}/{version}");
    let made = documents.get(ask.id, &form, || {
        let document = openapi::v3_document(group, version, ask.definitions);
        document
            .map(|value| Bytes::from(value.to_string()))
            .ok_or_else(Status::no_such_path)
    })?;
    Ok(answer::document(&made, JSON, fresh, ask.headers))
}

fn current_hash(index: &[u8], group: &str, version: &str) -> Option<String> {
    let index: Value = serde_json::from_slice(index).ok()?;
    let key = if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    };
    let url = index
        .get("paths")?
        .get(&key)?
        .get("serverRelativeURL")?
        .as_str()?;
    url.split_once("hash=").map(|(_, hash)| hash.to_owned())
}

fn moved(location: &str) -> Reply {
    let mut reply = answer::text(StatusCode::MOVED_PERMANENTLY, "");
    if let Ok(location) = HeaderValue::from_str(location) {
        reply.headers_mut().insert(LOCATION, location);
    }
    reply
}

fn openapi_v2(documents: &Documents, ask: &Ask<'_>) -> Result<Reply, Status> {
    let json = || {
        documents.get(ask.id, "openapi/v2", || {
            Ok(openapi::v2_document(ask.definitions).to_string().into())
        })
    };
    let Some(content_type) = openapi_v2_form(ask.accept) else {
        return Ok(answer::document(
            &json()?,
            JSON,
            Fresh::AskAgain,
            ask.headers,
        ));
    };
    let made = documents.get(ask.id, "openapi/v2 protobuf", || {
        let document: Value = serde_json::from_slice(&json()?.bytes)
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(openapi::v2_protobuf(&document).into())
    })?;
    Ok(answer::document(
        &made,
        content_type,
        Fresh::AskAgain,
        ask.headers,
    ))
}
