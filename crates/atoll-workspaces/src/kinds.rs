//! The resources, labels, annotations and finalizers this crate speaks of, each named once.

use atoll_kube::GroupResource;
use atoll_registry::{ResourceId, ResourceRef};

/// Group of Workspace and WorkspaceType.
pub const TENANCY: &str = "tenancy.kcp.io";
/// Group of LogicalCluster.
pub const CORE: &str = "core.kcp.io";
/// Group of Roles and bindings.
pub const RBAC: &str = "rbac.authorization.k8s.io";
/// Group of APIExport and its kin, which are served empty for now.
pub const APIS: &str = "apis.kcp.io";

/// JSON of the user who made a workspace.
pub const ANNOTATION_OWNER: &str = "experimental.tenancy.kcp.io/owner";
/// The type of a logical cluster as `<path>:<name>`.
pub const ANNOTATION_TYPE: &str = "internal.tenancy.kcp.io/type";
/// The logical cluster a Workspace is scheduled as.
pub const ANNOTATION_CLUSTER: &str = "internal.tenancy.kcp.io/cluster";
/// Hash of the shard a Workspace is scheduled on.
pub const ANNOTATION_SHARD_HASH: &str = "internal.tenancy.kcp.io/shard";
/// Name of the shard.
pub const ANNOTATION_SHARD: &str = "core.kcp.io/shard";
/// The canonical path of the logical cluster an object is in.
pub const ANNOTATION_PATH: &str = "kcp.io/path";
/// Groups a user has to be in: `,` is and, `;` is or.
pub const ANNOTATION_REQUIRED_GROUPS: &str = "authorization.kcp.io/required-groups";
/// Ours: `payload` or `inventory` where a logical cluster is one, by its type or by what its type extends.
pub const ANNOTATION_KIND: &str = "internal.atoll.dev/kind";
/// Repeats `status.phase`, for selectors.
pub const LABEL_PHASE: &str = "tenancy.kcp.io/phase";
/// Keeps a Workspace until its logical cluster is gone.
pub const FINALIZER_WORKSPACE: &str = "core.kcp.io/logicalcluster";
/// Keeps a LogicalCluster until its content is gone.
pub const FINALIZER_LOGICAL_CLUSTER: &str = "core.kcp.io/logicalcluster-deletion";

/// The binding that makes a workspace's creator its administrator.
pub const WORKSPACE_ADMIN: &str = "workspace-admin";

/// Who managedFields name for what the system writes.
pub(crate) const MANAGER: &str = "atoll";

/// The only shard there is.
pub const SHARD: &str = "root";

/// Members of this group are not subject to authorization.
pub const GROUP_MASTERS: &str = "system:masters";
/// Everybody who proved who they are.
pub const GROUP_AUTHENTICATED: &str = "system:authenticated";
/// Passes the check of who may enter.
pub const GROUP_LOGICAL_CLUSTER_ADMIN: &str = "system:kcp:logical-cluster-admin";
/// Administrators of every logical cluster.
pub const GROUP_ADMIN: &str = "system:kcp:admin";

/// Workspaces.
pub fn workspaces() -> ResourceId {
    ResourceId::builtin(TENANCY, "workspaces")
}

/// WorkspaceTypes.
pub fn workspace_types() -> ResourceId {
    ResourceId::builtin(TENANCY, "workspacetypes")
}

/// LogicalClusters.
pub fn logical_clusters() -> ResourceId {
    ResourceId::builtin(CORE, "logicalclusters")
}

/// Namespaces.
pub fn namespaces() -> ResourceId {
    ResourceId::builtin("", "namespaces")
}

/// A kind of RBAC object, by plural.
pub fn rbac(resource: &str) -> ResourceId {
    ResourceId::builtin(RBAC, resource)
}

/// The plurals of RBAC's four kinds.
pub const RBAC_RESOURCES: [&str; 4] = [
    "clusterroles",
    "clusterrolebindings",
    "roles",
    "rolebindings",
];

/// Group and plural of an identity.
pub fn group_resource(id: &ResourceId) -> GroupResource {
    GroupResource::new(id.group.as_str(), id.resource.as_str())
}

/// How controllers and bootstrap address a resource: at its storage version.
pub fn at_storage_version(id: &ResourceId) -> ResourceRef {
    ResourceRef::new(&id.group, "", &id.resource)
}
