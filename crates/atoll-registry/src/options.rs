//! The options beside a [`Call`](crate::Call): the query parameters of Kubernetes' API, typed.
//!
//! resourceVersion stays text here because its meaning depends on the verb; the verb's own module parses it.

use atoll_kube::selector::{FieldSelector, LabelSelector};

/// Options of get.
#[derive(Clone, Debug, Default)]
pub struct GetOptions {
    /// `resourceVersion`: absent = most recent, `0` = whatever is here, else not older than.
    pub resource_version: Option<String>,
}

/// `resourceVersionMatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    /// Exactly that revision.
    Exact,
    /// That revision or newer.
    NotOlderThan,
}

/// Options of list (and of deletecollection's selection).
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// `labelSelector`.
    pub labels: LabelSelector,
    /// `fieldSelector`.
    pub fields: FieldSelector,
    /// `limit`; 0 = no limit.
    pub limit: u64,
    /// `continue`, the opaque token of the page before.
    pub continue_token: Option<String>,
    /// `resourceVersion`.
    pub resource_version: Option<String>,
    /// `resourceVersionMatch`.
    pub version_match: Option<VersionMatch>,
}

/// Options of watch.
#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    /// `labelSelector`.
    pub labels: LabelSelector,
    /// `fieldSelector`.
    pub fields: FieldSelector,
    /// `resourceVersion` to start after; absent or `0` starts with the present objects as ADDED.
    pub resource_version: Option<String>,
    /// `resourceVersionMatch`; only with `send_initial_events`.
    pub version_match: Option<VersionMatch>,
    /// `allowWatchBookmarks`.
    pub bookmarks: bool,
    /// `sendInitialEvents`.
    pub send_initial_events: Option<bool>,
}

/// `fieldValidation`: what happens to unknown and duplicate fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Dropped silently.
    Ignore,
    /// Dropped, with a warning each (Kubernetes' default).
    #[default]
    Warn,
    /// The request is refused.
    Strict,
}

/// Options of create, update and patch.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// `dryRun=All`: everything but the append.
    pub dry_run: bool,
    /// `fieldManager`; absent = derived from the user agent.
    pub field_manager: Option<String>,
    /// `fieldValidation`.
    pub field_validation: FieldValidation,
    /// `force`, for apply patches.
    pub force: bool,
}

/// `propagationPolicy`: what happens to an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Dependents are left, without the owner reference.
    Orphan,
    /// Dependents go after the owner.
    Background,
    /// Dependents go before the owner.
    Foreground,
}

/// Options of delete and deletecollection.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// Precondition: the object's uid.
    pub uid: Option<String>,
    /// Precondition: the object's resourceVersion.
    pub resource_version: Option<String>,
    /// `propagationPolicy`.
    pub propagation: Option<Propagation>,
    /// `gracePeriodSeconds`.
    pub grace_period_seconds: Option<i64>,
    /// `dryRun=All`.
    pub dry_run: bool,
}
