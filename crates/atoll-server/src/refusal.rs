//! How a refusal is worded: as Kubernetes does.

use atoll_kube::status::{Status, quote};
use atoll_kube::{GroupResource, UserInfo};
use atoll_registry::Attributes;

/// The 403 for a request, with the reason at its end when there is one.
pub(crate) fn refusal(asked: &Attributes, reason: &str) -> Status {
    let UserInfo { username, .. } = asked.user.as_ref();
    let (user, verb) = (quote(username), &asked.verb);
    let because = if reason.is_empty() {
        String::new()
    } else {
        format!(": {reason}")
    };
    if let Some(path) = &asked.path {
        let message = format!("User {user} cannot {verb} path {}{because}", quote(path));
        return Status::forbidden(&GroupResource::default(), "", message);
    }
    let resource = match &asked.subresource {
        Some(subresource) => format!("{}/{subresource}", asked.resource),
        None => asked.resource.clone(),
    };
    let place = match &asked.namespace {
        Some(namespace) => format!("in the namespace {}", quote(namespace)),
        None => "at the cluster scope".to_owned(),
    };
    let message = format!(
        "User {user} cannot {verb} resource {} in API group {} {place}{because}",
        quote(&resource),
        quote(&asked.group),
    );
    let about = GroupResource::new(asked.group.as_str(), asked.resource.as_str());
    Status::forbidden(&about, asked.name.as_deref().unwrap_or_default(), message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use atoll_registry::{ClusterName, Clusters};

    #[test]
    fn refusals_read_as_kubernetes_writes_them() {
        let list = Attributes {
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
        let scale = Attributes {
            verb: "update".into(),
            group: "apps".into(),
            resource: "deployments".into(),
            subresource: Some("scale".into()),
            namespace: None,
            name: Some("web".into()),
            ..list.clone()
        };
        let path = Attributes {
            verb: "get".into(),
            path: Some("/metrics".into()),
            ..list.clone()
        };
        for (asked, reason, expected) in [
            (
                &list,
                "access denied",
                r#"configmaps is forbidden: User "x" cannot list resource "configmaps" in API group "" in the namespace "default": access denied"#,
            ),
            (
                &scale,
                "",
                r#"deployments.apps "web" is forbidden: User "x" cannot update resource "deployments/scale" in API group "apps" at the cluster scope"#,
            ),
            (
                &path,
                "",
                r#"forbidden: User "x" cannot get path "/metrics""#,
            ),
        ] {
            let status = refusal(asked, reason);
            assert_eq!((status.code, status.message.as_ref()), (403, expected));
        }
    }
}
