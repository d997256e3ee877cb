//! What messages name: points in a log, copies, objects.

/// A point in a center's log, as the agent remembers it.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Cursor {
    /// Which store (a uuid that lives as long as the log).
    #[prost(string, tag = "1")]
    pub store: String,
    /// Which start of the center made it (random per start, itself in the log).
    #[prost(string, tag = "2")]
    pub incarnation: String,
    /// The log's revision.
    #[prost(uint64, tag = "3")]
    pub revision: u64,
}

/// Which payload object a copy is of. Together with the store and the destination this is a copy's owner.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct CopyId {
    /// The payload workspace's logical cluster.
    #[prost(string, tag = "1")]
    pub cluster: String,
    /// The payload object's uid.
    #[prost(string, tag = "2")]
    pub uid: String,
}

/// The object that a copy is at the edge.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct ObjectRef {
    /// API group, empty for core.
    #[prost(string, tag = "1")]
    pub group: String,
    /// API version that the body is written in; the edge may serve another one.
    #[prost(string, tag = "2")]
    pub version: String,
    /// Kind.
    #[prost(string, tag = "3")]
    pub kind: String,
    /// Plural resource name.
    #[prost(string, tag = "4")]
    pub resource: String,
    /// Namespace; empty when `namespaced` is false.
    #[prost(string, tag = "5")]
    pub namespace: String,
    /// Name.
    #[prost(string, tag = "6")]
    pub name: String,
    /// Whether the kind lives in namespaces.
    #[prost(bool, tag = "7")]
    pub namespaced: bool,
}
