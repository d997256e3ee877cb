//! From a URL path to a place: which logical cluster, and what in it.
//!
//! Only the first `/clusters/` is special: a resource may well be called `clusters`. A path that means nothing is an
//! error of its own, never a resource with an odd name.

use atoll_registry::ResourceRef;
use http::Method;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    /// Which logical cluster, as the URL says it.
    pub(crate) place: Place,
    /// What in it.
    pub(crate) target: Target,
    /// The path inside the place, as authorization sees non-resource paths.
    pub(crate) path: String,
}

/// The part of the URL before the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// No prefix.
    Bare,
    /// `/clusters/<path or name>`.
    Cluster(String),
    /// `/clusters/*`.
    Everywhere,
    /// `/services/<name>/…`: the name and the segments after it.
    Service(Vec<String>),
}

/// The part of the URL that is the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Something that is no resource.
    NonResource(NonResource),
    /// A resource.
    Resource(ResourcePath),
    /// Nothing is served there.
    Nothing,
}

/// Paths that are no resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NonResource {
    /// `/livez`, `/readyz`, `/healthz`, and one check of them.
    Health(&'static str, Option<String>),
    /// `/version`.
    Version,
    /// `/metrics`.
    Metrics,
    /// `/`.
    Index,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/<group>`.
    Group(String),
    /// `/api/v1` and `/apis/<group>/<version>`: group and version.
    GroupVersion(String, String),
    /// `/openapi/v3`.
    OpenApiIndex,
    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/<group>/<version>`: group and version.
    OpenApi(String, String),
    /// `/openapi/v2`.
    OpenApiV2,
}

/// A resource path, with what the path itself says about the verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) resource: ResourceRef,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    /// The old `/watch/` prefix.
    pub(crate) watch_prefix: bool,
}

impl ResourcePath {
    /// Kubernetes' verb for a method on this path. `None` when the method has no meaning.
    pub(crate) fn verb(&self, method: &Method, watch: bool) -> Option<&'static str> {
        Some(match (method.as_str(), &self.name) {
            ("GET" | "HEAD", _) if watch || self.watch_prefix => "watch",
            ("GET" | "HEAD", Some(_)) => "get",
            ("GET" | "HEAD", None) => "list",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", Some(_)) => "delete",
            ("DELETE", None) => "deletecollection",
            _ => return None,
        })
    }
}

/// Where a path leads. `Err` is a path that is not well-formed.
pub(crate) fn locate(path: &str) -> Result<Location, String> {
    let mut segments = Vec::new();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let decoded = percent_decode(segment)
            .ok_or_else(|| format!("the path {path:?} is not well-formed"))?;
        segments.push(decoded);
    }
    let (place, rest) = match segments.split_first() {
        Some((first, rest)) if first == "clusters" => match rest.split_first() {
            Some((cluster, rest)) if cluster == "*" => (Place::Everywhere, rest),
            Some((cluster, rest)) => (Place::Cluster(cluster.clone()), rest),
            None => return Err("the path ends where a logical cluster was expected".to_owned()),
        },
        Some((first, rest)) if first == "services" => (Place::Service(rest.to_vec()), &[][..]),
        _ => (Place::Bare, &segments[..]),
    };
    let target = target(rest);
    Ok(Location {
        place,
        target,
        path: format!("/{}", rest.join("/")),
    })
}

/// What the segments after the place are.
pub(crate) fn target(segments: &[String]) -> Target {
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let non_resource = match parts.as_slice() {
        [] => NonResource::Index,
        ["livez", check @ ..] if check.len() < 2 => health("livez", check),
        ["readyz", check @ ..] if check.len() < 2 => health("readyz", check),
        ["healthz", check @ ..] if check.len() < 2 => health("healthz", check),
        ["version"] => NonResource::Version,
        ["metrics"] => NonResource::Metrics,
        ["api"] => NonResource::CoreVersions,
        ["apis"] => NonResource::Groups,
        ["apis", group] => NonResource::Group((*group).to_owned()),
        ["api", version] => NonResource::GroupVersion(String::new(), (*version).to_owned()),
        ["apis", group, version] => {
            NonResource::GroupVersion((*group).to_owned(), (*version).to_owned())
        }
        ["openapi", "v3"] => NonResource::OpenApiIndex,
        ["openapi", "v3", "api", version] => {
            NonResource::OpenApi(String::new(), (*version).to_owned())
        }
        ["openapi", "v3", "apis", group, version] => {
            NonResource::OpenApi((*group).to_owned(), (*version).to_owned())
        }
        ["openapi", "v2"] => NonResource::OpenApiV2,
        ["api", version, rest @ ..] => return resource("", version, rest),
        ["apis", group, version, rest @ ..] => return resource(group, version, rest),
        _ => return Target::Nothing,
    };
    Target::NonResource(non_resource)
}

fn health(endpoint: &'static str, check: &[&str]) -> NonResource {
    NonResource::Health(endpoint, check.first().map(|check| (*check).to_owned()))
}

fn resource(group: &str, version: &str, parts: &[&str]) -> Target {
    let (watch_prefix, parts) = match parts {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        _ => (false, parts),
    };
    // `namespaces/NAME/status` and `/finalize` are subresources of the Namespace itself.
    let (namespace, parts) = match parts {
        ["namespaces", _] | ["namespaces", _, "status" | "finalize"] => (None, parts),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
            (Some((*namespace).to_owned()), rest)
        }
        _ => (None, parts),
    };
    let (plural, name, subresource) = match parts {
        [plural] => (*plural, None, None),
        [plural, name] => (*plural, Some((*name).to_owned()), None),
        [plural, name, subresource @ ..] if !subresource.is_empty() => (
            *plural,
            Some((*name).to_owned()),
            Some(subresource.join("/")),
        ),
        _ => return Target::Nothing,
    };
    let resource = ResourceRef {
        group: group.to_owned(),
        version: version.to_owned(),
        resource: plural.to_owned(),
        subresource,
    };
    Target::Resource(ResourcePath {
        resource,
        namespace,
        name,
        watch_prefix,
    })
}

/// Undoes percent-encoding; `None` when it is malformed or hides bytes that are no UTF-8.
pub(crate) fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(path: &str) -> String {
        let location = match locate(path) {
            Ok(location) => location,
            Err(_) => return "bad".to_owned(),
        };
        let place = match location.place {
            Place::Bare => String::new(),
            Place::Cluster(cluster) => format!("{cluster}: "),
            Place::Everywhere => "*: ".to_owned(),
            Place::Service(segments) => return format!("service {}", segments.join(" ")),
        };
        let target = match location.target {
            Target::Nothing => "nothing".to_owned(),
            Target::NonResource(other) => format!("{other:?}"),
            Target::Resource(path) => format!(
                "{}/{} {}{} ns={} name={}{}",
                path.resource.group,
                path.resource.version,
                path.resource.resource,
                path.resource
                    .subresource
                    .map(|sub| format!("/{sub}"))
                    .unwrap_or_default(),
                path.namespace.unwrap_or_default(),
                path.name.unwrap_or_default(),
                if path.watch_prefix { " watch" } else { "" },
            ),
        };
        format!("{place}{target}")
    }

    #[test]
    fn paths() {
        for (path, expected) in [
            ("/", "Index"),
            ("/clusters/root", "root: Index"),
            ("/livez", "Health(\"livez\", None)"),
            (
                "/clusters/root/readyz/ping",
                "root: Health(\"readyz\", Some(\"ping\"))",
            ),
            ("/readyz/a/b", "nothing"),
            ("/api/v1", "GroupVersion(\"\", \"v1\")"),
            ("/apis/apps", "Group(\"apps\")"),
            ("/openapi/v3/apis/apps/v1", "OpenApi(\"apps\", \"v1\")"),
            ("/api/v1/namespaces", "/v1 namespaces ns= name="),
            ("/api/v1/namespaces/a", "/v1 namespaces ns= name=a"),
            (
                "/api/v1/namespaces/a/finalize",
                "/v1 namespaces/finalize ns= name=a",
            ),
            ("/api/v1/namespaces/a/pods", "/v1 pods ns=a name="),
            ("/api/v1/namespaces/a/status/x", "/v1 status ns=a name=x"),
            (
                "/api/v1/namespaces/a/pods/p/log",
                "/v1 pods/log ns=a name=p",
            ),
            (
                "/api/v1/namespaces/a/pods/p/proxy/x/y",
                "/v1 pods/proxy/x/y ns=a name=p",
            ),
            (
                "/apis/apps/v1/watch/namespaces/a/deployments",
                "apps/v1 deployments ns=a name= watch",
            ),
            (
                "/apis/tenancy.kcp.io/v1alpha1/workspaces/~",
                "tenancy.kcp.io/v1alpha1 workspaces ns= name=~",
            ),
            (
                "/clusters/root:a:b/apis/x.io/v1/clusters/c",
                "root:a:b: x.io/v1 clusters ns= name=c",
            ),
            ("/clusters/a/clusters/b/api", "a: nothing"),
            (
                "/clusters/*/api/v1/configmaps",
                "*: /v1 configmaps ns= name=",
            ),
            ("/clusters/root%3Aa/api", "root:a: CoreVersions"),
            ("/clusters", "bad"),
            ("/api/v1/namespaces/%zz", "bad"),
            (
                "/services/mailbox/root:inv/edge/api",
                "service mailbox root:inv edge api",
            ),
            ("/nothing/here", "nothing"),
            ("//api//v1/", "GroupVersion(\"\", \"v1\")"),
        ] {
            assert_eq!(show(path), expected, "{path}");
        }
    }
}
