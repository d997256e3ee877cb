//! The bootstrap policy: ClusterRoles and ClusterRoleBindings that count in every logical cluster.
//!
//! They are data compiled into the program, so that no write can break them. They are also stored as objects of
//! `system:admin`, to be read by people; authorization never reads those.

use std::sync::LazyLock;

use serde_json::Value;

use super::grants::{ClusterRoles, Grants, cluster_roles, compile};

/// The policy in all its forms.
pub struct Bootstrap {
    /// The ClusterRoles as objects, without apiVersion and kind.
    pub cluster_roles: Vec<Value>,
    /// The ClusterRoleBindings as objects, without apiVersion and kind.
    pub cluster_role_bindings: Vec<Value>,
    /// Effective rules by name; local bindings may refer to them.
    pub roles: ClusterRoles,
    /// The bindings, compiled.
    pub grants: Grants,
}

static BOOTSTRAP: LazyLock<Bootstrap> = LazyLock::new(|| {
    let mut data: Value = serde_json::from_str(include_str!("bootstrap.json")).unwrap_or_default();
    let mut take = |field: &str| match data.get_mut(field).map(Value::take) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    };
    let objects = take("clusterRoles");
    let bindings = take("clusterRoleBindings");
    let roles = cluster_roles(&objects);
    let grants = compile(&roles, None, [], &bindings, []);
    Bootstrap {
        cluster_roles: objects,
        cluster_role_bindings: bindings,
        roles,
        grants,
    }
});

/// The bootstrap policy.
pub fn bootstrap() -> &'static Bootstrap {
    &BOOTSTRAP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rbac::{Ask, Target};
    use atoll_kube::UserInfo;

    #[test]
    fn every_binding_finds_its_role_and_every_aggregate_has_rules() {
        let policy = bootstrap();
        assert!(policy.cluster_roles.len() > 15);
        for binding in &policy.cluster_role_bindings {
            let role = binding["roleRef"]["name"].as_str().unwrap();
            assert!(policy.roles.contains_key(role), "{role}");
        }
        for name in ["admin", "edit", "view"] {
            assert!(policy.roles[name].len() > 5, "{name}");
        }
    }

    #[test]
    fn who_may_what_without_any_local_rbac() {
        let path = |path| Ask {
            verb: "get",
            target: Target::Path(path),
        };
        let access = Ask {
            verb: "access",
            target: Target::Path("/"),
        };
        let pods = Ask {
            verb: "get",
            target: Target::Resource {
                group: "",
                resource: "pods",
                subresource: "",
                name: "",
            },
        };
        let review = Ask {
            verb: "create",
            target: Target::Resource {
                group: "authorization.k8s.io",
                resource: "selfsubjectaccessreviews",
                subresource: "",
                name: "",
            },
        };
        let rows = [
            ("system:kcp:admin", &pods, true),
            ("system:kcp:admin", &access, true),
            ("system:authenticated", &path("/apis/apps/v1"), true),
            ("system:authenticated", &review, true),
            ("system:authenticated", &pods, false),
            ("system:authenticated", &access, false),
            ("system:unauthenticated", &path("/version"), true),
            ("system:unauthenticated", &path("/api"), false),
            ("system:kcp:logical-cluster-admin", &access, true),
        ];
        for (group, ask, expected) in rows {
            let user = UserInfo::new("somebody", [group]);
            assert_eq!(
                bootstrap().grants.find(&user, "", ask).is_some(),
                expected,
                "{group} {ask:?}"
            );
        }
    }
}
