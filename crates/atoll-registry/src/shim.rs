//! Stand-ins for parts of atoll-kube that land in a few minutes.
pub(crate) mod meta {
    use serde_json::Value;
    pub(crate) fn name(object: &Value) -> &str {
        object
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("")
    }
    pub(crate) fn namespace(object: &Value) -> &str {
        object
            .pointer("/metadata/namespace")
            .and_then(Value::as_str)
            .unwrap_or("")
    }
}
pub(crate) mod builtin {
    use atoll_kube::Definition;
    use std::sync::Arc;
    #[derive(Debug, Clone, Copy)]
    pub(crate) enum SurfaceSet {
        Universal,
        Root,
        Payload,
        Inventory,
        Kubernetes,
    }
    pub(crate) fn set(_: SurfaceSet) -> &'static [Arc<Definition>] {
        &[]
    }
    pub(crate) fn definitions() -> &'static [Arc<Definition>] {
        &[]
    }
}
