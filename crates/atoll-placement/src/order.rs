//! The order in which copies are applied, and in reverse removed.
//!
//! Lower classes first. Within a class nothing depends on anything, and one failing object holds back only what depends on it.

/// When a copy is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderClass(pub u8);

/// CustomResourceDefinitions: awaited until Established.
pub const DEFINITIONS: OrderClass = OrderClass(10);
/// Namespaces.
pub const NAMESPACES: OrderClass = OrderClass(20);
/// Roles and bindings.
pub const ACCESS: OrderClass = OrderClass(30);
/// ServiceAccounts.
pub const ACCOUNTS: OrderClass = OrderClass(40);
/// What workloads read or are limited by.
pub const CONFIG: OrderClass = OrderClass(50);
/// Workloads, Services and what steers them.
pub const WORKLOADS: OrderClass = OrderClass(60);
/// Objects of kinds that the workspace defined itself.
pub const CUSTOM: OrderClass = OrderClass(70);
/// What intercepts other requests: only once its backend can be ready.
pub const INTERCEPTORS: OrderClass = OrderClass(80);

/// The class of a resource.
pub fn of(group: &str, resource: &str) -> OrderClass {
    match (group, resource) {
        ("apiextensions.k8s.io", _) => DEFINITIONS,
        ("", "namespaces") => NAMESPACES,
        ("rbac.authorization.k8s.io", _) => ACCESS,
        ("", "serviceaccounts") => ACCOUNTS,
        ("apiregistration.k8s.io" | "admissionregistration.k8s.io", _) => INTERCEPTORS,
        ("", "pods" | "services" | "replicationcontrollers" | "podtemplates") => WORKLOADS,
        ("", _) => CONFIG,
        ("apps" | "batch" | "autoscaling" | "policy", _) => WORKLOADS,
        ("networking.k8s.io", "ingresses") => WORKLOADS,
        (
            "scheduling.k8s.io"
            | "storage.k8s.io"
            | "node.k8s.io"
            | "networking.k8s.io"
            | "flowcontrol.apiserver.k8s.io"
            | "resource.k8s.io"
            | "certificates.k8s.io",
            _,
        ) => CONFIG,
        _ => CUSTOM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first() {
        let sequence = [
            ("apiextensions.k8s.io", "customresourcedefinitions"),
            ("", "namespaces"),
            ("rbac.authorization.k8s.io", "clusterroles"),
            ("", "serviceaccounts"),
            ("", "configmaps"),
            ("apps", "deployments"),
            ("stable.example.com", "crontabs"),
            (
                "admissionregistration.k8s.io",
                "validatingwebhookconfigurations",
            ),
        ];
        assert!(
            sequence
                .windows(2)
                .all(|pair| of(pair[0].0, pair[0].1) < of(pair[1].0, pair[1].1))
        );
        assert_eq!(of("", "secrets"), of("storage.k8s.io", "storageclasses"));
        assert_eq!(of("", "services"), of("batch", "jobs"));
        assert_eq!(of("apiregistration.k8s.io", "apiservices"), INTERCEPTORS);
    }
}
