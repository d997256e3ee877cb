//! What the expressions of admission may speak of, and as what types.

use std::sync::LazyLock;

use atoll_cel::{Environment, ObjectType, Type};

/// Which variables there are besides those that are always there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Offers {
    pub(crate) params: bool,
    pub(crate) authorizer: bool,
}

/// The environment of an expression.
pub(crate) fn environment(offers: Offers) -> Environment {
    static BASE: LazyLock<Environment> = LazyLock::new(|| {
        Environment::kubernetes()
            .variable("object", Type::Dyn)
            .variable("oldObject", Type::Dyn)
            .variable("request", request())
            .variable("namespaceObject", namespace())
    });
    let mut environment = BASE.clone();
    if offers.params {
        environment = environment.variable("params", Type::Dyn);
    }
    if offers.authorizer {
        environment = environment
            .variable(
                "authorizer",
                Type::Opaque("kubernetes.authorization.Authorizer"),
            )
            .variable(
                "authorizer.requestResource",
                Type::Opaque("kubernetes.authorization.ResourceCheck"),
            );
    }
    environment
}

fn object(name: &str, fields: &[(&str, Type)]) -> Type {
    let object = ObjectType::new(name);
    let add = |object: ObjectType, (name, of): &(&str, Type)| object.unescaped(*name, of.clone());
    fields.iter().fold(object, add).into()
}

fn request() -> Type {
    use Type::{Bool, Dyn, String};
    let kind = object(
        "kubernetes.GroupVersionKind",
        &[("group", String), ("version", String), ("kind", String)],
    );
    let resource = object(
        "kubernetes.GroupVersionResource",
        &[("group", String), ("version", String), ("resource", String)],
    );
    let user = object(
        "kubernetes.UserInfo",
        &[
            ("username", String),
            ("uid", String),
            ("groups", Type::list(String)),
            ("extra", Type::map(Type::list(String))),
        ],
    );
    object(
        "kubernetes.AdmissionRequest",
        &[
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", String),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", String),
            ("name", String),
            ("namespace", String),
            ("operation", String),
            ("userInfo", user),
            ("dryRun", Bool),
            ("options", Dyn),
        ],
    )
}

fn namespace() -> Type {
    use Type::{Int, String, Timestamp};
    let condition = object(
        "kubernetes.NamespaceCondition",
        &[
            ("status", String),
            ("type", String),
            ("lastTransitionTime", Timestamp),
            ("message", String),
            ("reason", String),
        ],
    );
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        &[
            ("name", String),
            ("generateName", String),
            ("namespace", String),
            ("labels", Type::map(String)),
            ("annotations", Type::map(String)),
            ("UID", String),
            ("creationTimestamp", Timestamp),
            ("deletionGracePeriodSeconds", Int),
            ("deletionTimestamp", Timestamp),
            ("generation", Int),
            ("resourceVersion", String),
            ("finalizers", Type::list(String)),
        ],
    );
    object(
        "kubernetes.Namespace",
        &[
            ("metadata", metadata),
            (
                "spec",
                object(
                    "kubernetes.NamespaceSpec",
                    &[("finalizers", Type::list(String))],
                ),
            ),
            (
                "status",
                object(
                    "kubernetes.NamespaceStatus",
                    &[("conditions", Type::list(condition)), ("phase", String)],
                ),
            ),
        ],
    )
}
