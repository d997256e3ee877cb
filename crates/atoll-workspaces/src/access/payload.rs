//! Who may do what in a payload workspace.
//!
//! RBAC stored there is on its way to edges and grants nothing here. Entry is decided in the parent by the verbs `view`,
//! `edit` and `admin` on `workspaces/content`; this module says what each of the three lets people do. Pure.

use crate::kinds::{CORE, RBAC};
use crate::rbac::{Ask, Target};

/// What somebody is in a payload workspace. The order is that of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Reads everything but Secrets.
    View,
    /// Reads and writes all but what gives power at the edges or here.
    Edit,
    /// Everything.
    Admin,
}

impl Level {
    /// From the most powerful down.
    pub const ALL: [Level; 3] = [Level::Admin, Level::Edit, Level::View];

    /// The verb on `workspaces/content` that gives it.
    pub fn verb(self) -> &'static str {
        match self {
            Level::View => "view",
            Level::Edit => "edit",
            Level::Admin => "admin",
        }
    }

    /// Whether it allows what is asked.
    pub fn allows(self, ask: &Ask<'_>) -> bool {
        let reads = matches!(ask.verb, "get" | "list" | "watch");
        match ask.target {
            Target::Path(_) => self == Level::Admin || ask.verb == "get" || ask.verb == "access",
            Target::Resource {
                group, resource, ..
            } => match self {
                Level::Admin => true,
                _ if is_self_review(group, resource) => ask.verb == "create",
                Level::Edit if reads => true,
                Level::Edit => writes(ask.verb) && !gives_power(group, resource),
                Level::View => reads && !(group.is_empty() && resource == "secrets"),
            },
        }
    }
}

fn writes(verb: &str) -> bool {
    matches!(
        verb,
        "create" | "update" | "patch" | "delete" | "deletecollection"
    )
}

fn is_self_review(group: &str, resource: &str) -> bool {
    matches!(group, "authorization.k8s.io" | "authentication.k8s.io")
        && resource.starts_with("selfsubject")
}

fn gives_power(group: &str, resource: &str) -> bool {
    matches!(
        group,
        RBAC | CORE
            | "admissionregistration.k8s.io"
            | "apiregistration.k8s.io"
            | "authorization.k8s.io"
    ) || matches!(
        (group, resource),
        ("authentication.k8s.io", _) | ("certificates.k8s.io", _)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_allows_what_its_name_says() {
        let ask = |verb, group, resource| Ask {
            verb,
            target: Target::Resource {
                group,
                resource,
                subresource: "",
                name: "",
            },
        };
        let rows = [
            (ask("get", "", "configmaps"), [true, true, true]),
            (ask("list", "", "secrets"), [true, true, false]),
            (ask("create", "apps", "deployments"), [true, true, false]),
            (
                ask("create", "rbac.authorization.k8s.io", "clusterroles"),
                [true, false, false],
            ),
            (
                ask("get", "rbac.authorization.k8s.io", "clusterroles"),
                [true, true, true],
            ),
            (
                ask("delete", "core.kcp.io", "logicalclusters"),
                [true, false, false],
            ),
            (ask("impersonate", "", "users"), [true, false, false]),
            (
                ask("create", "authorization.k8s.io", "selfsubjectaccessreviews"),
                [true, true, true],
            ),
            (
                ask("create", "authorization.k8s.io", "subjectaccessreviews"),
                [true, false, false],
            ),
            (
                Ask {
                    verb: "get",
                    target: Target::Path("/api"),
                },
                [true, true, true],
            ),
        ];
        for (ask, expected) in rows {
            let got = Level::ALL.map(|level| level.allows(&ask));
            assert_eq!(got, expected, "{ask:?}");
        }
    }
}
