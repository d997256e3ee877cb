//! How a refusal is worded: as Kubernetes does. Pure.

use atoll_kube::{GroupResource, Status};
use atoll_registry::Attributes;

/// The 403 for a request, with the reason at its end when there is one.
pub fn refusal(asked: &Attributes, reason: &str) -> Status {
    let user = &asked.user.username;
    let verb = &asked.verb;
    let mut why = match &asked.path {
        Some(path) => format!("User {user:?} cannot {verb} path {path:?}"),
        None => {
            let mut resource = asked.resource.clone();
            if let Some(subresource) = asked.subresource.as_deref().filter(|s| !s.is_empty()) {
                resource.push('/');
                resource.push_str(subresource);
            }
            let place = match asked.namespace.as_deref().filter(|s| !s.is_empty()) {
                Some(namespace) => format!("in the namespace {namespace:?}"),
                None => "at the cluster scope".to_owned(),
            };
            format!("User {user:?} cannot {verb} resource {resource:?} in API group {:?} {place}", asked.group)
        }
    };
    if !reason.is_empty() {
        why.push_str(": ");
        why.push_str(reason);
    }
    match asked.path {
        Some(_) => Status::forbidden(&GroupResource::default(), "", why),
        None => Status::forbidden(
            &GroupResource::new(asked.group.as_str(), asked.resource.as_str()),
            asked.name.as_deref().unwrap_or(""),
            why,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use atoll_kube::UserInfo;
    use atoll_registry::{ClusterName, Clusters};

    #[test]
    fn refusals_read_as_kubernetes_writes_them() {
        let base = Attributes {
            user: UserInfo::new("x", ["g"]).into(),
            verb: "list".into(),
            clusters: Clusters::One(ClusterName::new("root")),
            group: String::new(),
            version: "v1".into(),
            resource: "configmaps".into(),
            subresource: None,
            namespace: Some("default".into()),
            name: None,
            path: None,
        };
        let named = Attributes {
            verb: "update".into(), group: "apps".into(), resource: "deployments".into(), subresource: Some("scale".into()),
            namespace: None, name: Some("web".into()), ..base.clone()
        };
        let path = Attributes { verb: "get".into(), path: Some("/metrics".into()), ..base.clone() };
        let rows = [
            (&base, "access denied", r#"configmaps is forbidden: User "x" cannot list resource "configmaps" in API group "" in the namespace "default": access denied"#),
            (&named, "", r#"deployments.apps "web" is forbidden: User "x" cannot update resource "deployments/scale" in API group "apps" at the cluster scope"#),
            (&path, "", r#"forbidden: User "x" cannot get path "/metrics""#),
        ];
        for (asked, reason, expected) in rows {
            let status = refusal(asked, reason);
            assert_eq!((status.code, status.message.as_ref()), (403, expected));
        }
    }
}
