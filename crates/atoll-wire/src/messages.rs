//! The messages, as protocol-buffer structs written by hand. Field numbers are the contract: never reuse one.
//!
//! The crate's documentation tells the conversation they form.

use bytes::Bytes;

// ── Enrolment ────────────────────────────────────────────────────────────────────────────────────────────────────────

/// A new agent asks for its first certificate.
#[derive(Clone, PartialEq, prost::Message)]
pub struct EnrolRequest {
    /// The join file's inventory.
    #[prost(string, tag = "1")]
    pub inventory: String,
    /// The join file's destination uid.
    #[prost(string, tag = "2")]
    pub destination: String,
    /// The join token.
    #[prost(string, tag = "3")]
    pub token: String,
    /// A PKCS#10 signing request (DER). Only its public key is used; the center chooses the subject.
    #[prost(bytes = "bytes", tag = "4")]
    pub csr_der: Bytes,
}

/// An agent asks for the next certificate, authenticated by the present (possibly expired) one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RenewRequest {
    /// A PKCS#10 signing request (DER), with the old key or a new one.
    #[prost(bytes = "bytes", tag = "1")]
    pub csr_der: Bytes,
}

/// What enrolment and renewal answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Certificates {
    /// The client certificate and its issuers, PEM, leaf first.
    #[prost(string, tag = "1")]
    pub chain_pem: String,
    /// The authority to verify the center with from now on, PEM.
    #[prost(string, tag = "2")]
    pub center_ca_pem: String,
    /// When the certificate expires.
    #[prost(int64, tag = "3")]
    pub not_after_unix: i64,
    /// When to renew it (about two thirds of its life).
    #[prost(int64, tag = "4")]
    pub renew_after_unix: i64,
}

// ── Identities ───────────────────────────────────────────────────────────────────────────────────────────────────────

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

// ── Agent to center ──────────────────────────────────────────────────────────────────────────────────────────────────

/// One message of a session's upward direction.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ToCenter {
    /// The destination's uid; empty only for [`Ping`].
    #[prost(string, tag = "1")]
    pub destination: String,
    /// What it says.
    #[prost(oneof = "to_center::Message", tags = "2, 3, 4, 5, 6, 7, 8, 9")]
    pub message: Option<to_center::Message>,
}

/// The contents of [`ToCenter`].
pub mod to_center {
    /// What an agent says.
    #[derive(Clone, PartialEq, prost::Oneof)]
    #[allow(missing_docs)] // each variant is documented at its message
    pub enum Message {
        #[prost(message, tag = "2")]
        Hello(super::Hello),
        #[prost(message, tag = "3")]
        Holding(super::Holding),
        #[prost(message, tag = "4")]
        Need(super::Need),
        #[prost(message, tag = "5")]
        Progress(super::Progress),
        #[prost(message, tag = "6")]
        Report(super::Report),
        #[prost(message, tag = "7")]
        TombstoneDone(super::TombstoneDone),
        #[prost(message, tag = "8")]
        RawStatus(super::RawStatus),
        #[prost(message, tag = "9")]
        Ping(super::Ping),
    }
}

/// The first message for a destination.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    /// Up to where the desired state was recorded; absent when the agent has no state.
    #[prost(message, optional, tag = "1")]
    pub cursor: Option<Cursor>,
    /// The [`crate::digest::SetDigest`] of what is recorded, in wire form.
    #[prost(bytes = "bytes", tag = "2")]
    pub digest: Bytes,
    /// The agent's version.
    #[prost(string, tag = "3")]
    pub agent_version: String,
    /// The edge's Kubernetes version (`v1.36.1`); empty while its API server cannot be reached.
    #[prost(string, tag = "4")]
    pub kubernetes_version: String,
    /// Facts about the edge, for `ManagedCluster.status.clusterClaims`.
    #[prost(btree_map = "string, string", tag = "5")]
    pub claims: std::collections::BTreeMap<String, String>,
}

/// The answer to [`List`]: what the agent has recorded. May be split; the last part says so.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Holding {
    /// Recorded copies.
    #[prost(message, repeated, tag = "1")]
    pub copies: Vec<Held>,
    /// Nothing more follows.
    #[prost(bool, tag = "2")]
    pub last: bool,
}

/// One recorded copy.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Held {
    /// Which copy.
    #[prost(message, optional, tag = "1")]
    pub copy: Option<CopyId>,
    /// The render hash recorded for it.
    #[prost(bytes = "bytes", tag = "2")]
    pub render_hash: Bytes,
    /// The object it is, so that an orphan can be shown to a person.
    #[prost(message, optional, tag = "3")]
    pub object: Option<ObjectRef>,
}

/// Asks for bodies that the agent does not hold.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Need {
    /// Their hashes, as named by items.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub hashes: Vec<Bytes>,
}

/// Everything up to the cursor is durably recorded at the edge.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Progress {
    /// The newest cursor covered.
    #[prost(message, optional, tag = "1")]
    pub cursor: Option<Cursor>,
    /// The digest of what is recorded now.
    #[prost(bytes = "bytes", tag = "2")]
    pub digest: Bytes,
}

/// The state of some copies.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Report {
    /// Grows by one per report of this session and destination; acknowledged by it.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    /// The copies that changed.
    #[prost(message, repeated, tag = "2")]
    pub copies: Vec<CopyReport>,
    /// Together with the earlier ones of this session these are all copies the agent has: sent once after an agent's restart.
    #[prost(bool, tag = "3")]
    pub complete: bool,
}

/// The newest state of one copy.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CopyReport {
    /// Which copy.
    #[prost(message, optional, tag = "1")]
    pub copy: Option<CopyId>,
    /// The render hash that this is about: the newest one that was tried.
    #[prost(bytes = "bytes", tag = "2")]
    pub render_hash: Bytes,
    /// The last render that was applied completely; differs from `render_hash` while there is an error.
    #[prost(bytes = "bytes", tag = "3")]
    pub applied_hash: Bytes,
    /// Why it is not applied; [`ErrorKind::None`] when it is.
    #[prost(enumeration = "ErrorKind", tag = "4")]
    pub error: i32,
    /// The error in the edge's words, at most 1 KiB.
    #[prost(string, tag = "5")]
    pub message: String,
    /// `status.observedGeneration` (where the kind has it) is at least the generation that the apply returned.
    #[prost(bool, tag = "6")]
    pub observed: bool,
    /// The object's `.status` at the edge as JSON; empty when it has none. Raw: the center projects it.
    #[prost(bytes = "bytes", tag = "7")]
    pub status: Bytes,
    /// The object's `metadata.generation` at the edge.
    #[prost(int64, tag = "8")]
    pub generation: i64,
}

/// Why a copy is not applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum ErrorKind {
    /// It is applied.
    None = 0,
    /// Anything not listed below.
    Other = 1,
    /// The edge's authorization refused the agent.
    Forbidden = 2,
    /// The edge's validation or admission refused the object.
    Invalid = 3,
    /// An object not made by us is there, and the clause does not say `takeover: Adopt`.
    AlreadyExists = 4,
    /// Another payload object (or another center) has this identity at the edge.
    Conflict = 5,
    /// The edge does not serve the kind.
    KindNotServed = 6,
    /// The edge's API server cannot be reached.
    Unreachable = 7,
    /// Something it depends on (Namespace, CRD, webhook backend) is not ready.
    Waiting = 8,
    /// It touches the agent's own namespace, RBAC or records.
    Refused = 9,
    /// A change to an immutable field, without `edge.atoll.dev/replace`.
    Immutable = 10,
    /// A tombstoned Namespace or CRD still holds what is not ours or not tombstoned.
    NotEmpty = 11,
    /// The object is being deleted at the edge (finalizers).
    Terminating = 12,
}

/// A tombstone was carried out, or cannot be for now.
#[derive(Clone, PartialEq, prost::Message)]
pub struct TombstoneDone {
    /// Which copy.
    #[prost(message, optional, tag = "1")]
    pub copy: Option<CopyId>,
    /// How it ended.
    #[prost(enumeration = "TombstoneOutcome", tag = "2")]
    pub outcome: i32,
    /// For people: what blocks it.
    #[prost(string, tag = "3")]
    pub message: String,
}

/// How a tombstone ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum TombstoneOutcome {
    /// Not ended: removal goes on or is blocked (finalizers, a Namespace that is not empty). Sent to show progress; another follows.
    Pending = 0,
    /// The object is gone.
    Removed = 1,
    /// There was no such copy.
    Absent = 2,
    /// The record was dropped and the object left as it is (Orphan, adopted, or not ours any more).
    Orphaned = 3,
}

/// The answer to [`FetchStatus`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct RawStatus {
    /// The request's number.
    #[prost(uint64, tag = "1")]
    pub request: u64,
    /// Whether the object exists at the edge.
    #[prost(bool, tag = "2")]
    pub found: bool,
    /// Its `.status` as JSON, or empty.
    #[prost(bytes = "bytes", tag = "3")]
    pub status: Bytes,
    /// When the agent last saw it change.
    #[prost(int64, tag = "4")]
    pub observed_unix_ms: i64,
}

/// "I am here."
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ping {}

// ── Center to agent ──────────────────────────────────────────────────────────────────────────────────────────────────

/// One message of a session's downward direction.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ToAgent {
    /// The destination's uid; empty only for [`Pong`].
    #[prost(string, tag = "1")]
    pub destination: String,
    /// What it says.
    #[prost(
        oneof = "to_agent::Message",
        tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"
    )]
    pub message: Option<to_agent::Message>,
}

/// The contents of [`ToAgent`].
pub mod to_agent {
    /// What a center says.
    #[derive(Clone, PartialEq, prost::Oneof)]
    #[allow(missing_docs)] // each variant is documented at its message
    pub enum Message {
        #[prost(message, tag = "2")]
        Welcome(super::Welcome),
        #[prost(message, tag = "3")]
        List(super::List),
        #[prost(message, tag = "4")]
        Desired(super::Desired),
        #[prost(message, tag = "5")]
        Bodies(super::Bodies),
        #[prost(message, tag = "6")]
        Tombstone(super::Tombstone),
        #[prost(message, tag = "7")]
        Released(super::Released),
        #[prost(message, tag = "8")]
        ReportAck(super::ReportAck),
        #[prost(message, tag = "9")]
        FetchStatus(super::FetchStatus),
        #[prost(message, tag = "10")]
        Resumed(super::Resumed),
        #[prost(message, tag = "11")]
        Refused(super::Refused),
        #[prost(message, tag = "12")]
        Pong(super::Pong),
    }
}

/// The answer to [`Hello`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Welcome {
    /// The center's store, the incarnation now running and its head.
    #[prost(message, optional, tag = "1")]
    pub cursor: Option<Cursor>,
    /// Whether the agent's past is known here.
    #[prost(enumeration = "Resumption", tag = "2")]
    pub resumption: i32,
    /// Why it is held, for people.
    #[prost(string, tag = "3")]
    pub reason: String,
    /// The agent must report every copy once (the center may have lost acknowledged reports).
    #[prost(bool, tag = "4")]
    pub report_everything: bool,
}

/// Whether a session may change what the edge holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Resumption {
    /// The cursor is known (or the agent has none): go on.
    Normal = 0,
    /// The center's log does not contain the cursor: keep everything until [`Resumed`].
    Held = 1,
}

/// Asks for [`Holding`]: the digests differ.
#[derive(Clone, PartialEq, prost::Message)]
pub struct List {}

/// Copies that the destination should have, or have differently.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Desired {
    /// With these items recorded, the agent has what was desired at this point.
    #[prost(message, optional, tag = "1")]
    pub cursor: Option<Cursor>,
    /// Upserts, in apply order.
    #[prost(message, repeated, tag = "2")]
    pub items: Vec<Item>,
}

/// One copy as it should be.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Item {
    /// Which copy.
    #[prost(message, optional, tag = "1")]
    pub copy: Option<CopyId>,
    /// The object it is.
    #[prost(message, optional, tag = "2")]
    pub object: Option<ObjectRef>,
    /// When to apply it: lower classes first, removal in reverse (`atoll_placement::order`).
    #[prost(uint32, tag = "3")]
    pub order: u32,
    /// Names body and flags together; reports name it.
    #[prost(bytes = "bytes", tag = "4")]
    pub render_hash: Bytes,
    /// SHA-256 of the body.
    #[prost(bytes = "bytes", tag = "5")]
    pub body_hash: Bytes,
    /// How many bytes the body has.
    #[prost(uint32, tag = "6")]
    pub body_size: u32,
    /// Create it when absent and never change it.
    #[prost(bool, tag = "7")]
    pub create_only: bool,
    /// An existing object not made by us may be taken over.
    #[prost(bool, tag = "8")]
    pub adopt: bool,
    /// A change to an immutable field may delete and create it anew.
    #[prost(bool, tag = "9")]
    pub replace: bool,
    /// Came along because other copies need it (a Namespace, a CRD): never removed.
    #[prost(bool, tag = "10")]
    pub implicit: bool,
    /// Field paths (`.spec.replicas`) that are the edge's from the start.
    #[prost(string, repeated, tag = "11")]
    pub edge_owned: Vec<String>,
    /// Field paths that are given at creation and the edge's afterwards.
    #[prost(string, repeated, tag = "12")]
    pub initial_only: Vec<String>,
}

/// Bodies that were asked for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Bodies {
    /// Each with its hash.
    #[prost(message, repeated, tag = "1")]
    pub bodies: Vec<Body>,
    /// Hashes asked for that no item of this destination names (any more): stop waiting for them.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub unknown: Vec<Bytes>,
}

/// One body.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Body {
    /// Its SHA-256.
    #[prost(bytes = "bytes", tag = "1")]
    pub hash: Bytes,
    /// The object as JSON, complete with apiVersion and kind.
    #[prost(bytes = "bytes", tag = "2")]
    pub bytes: Bytes,
}

/// One copy must go. The only message that ever removes anything.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Tombstone {
    /// Which copy.
    #[prost(message, optional, tag = "1")]
    pub copy: Option<CopyId>,
    /// The object it was, for an agent that lost its records (it deletes only what its records at the edge own).
    #[prost(message, optional, tag = "2")]
    pub object: Option<ObjectRef>,
    /// What to do with the object.
    #[prost(enumeration = "RemovalMode", tag = "3")]
    pub mode: i32,
    /// The item's order class; removal goes from high to low.
    #[prost(uint32, tag = "4")]
    pub order: u32,
    /// With this recorded, the agent has what was desired at this point.
    #[prost(message, optional, tag = "5")]
    pub cursor: Option<Cursor>,
}

/// What a tombstone does to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum RemovalMode {
    /// Delete it at the edge.
    Remove = 0,
    /// Leave it there and forget that it was ours.
    Orphan = 1,
}

/// The center has noted durably that these are done: the edge may forget them.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Released {
    /// Which copies.
    #[prost(message, repeated, tag = "1")]
    pub copies: Vec<CopyId>,
}

/// Reports up to this sequence are durable at the center.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReportAck {
    /// The report's sequence.
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
}

/// Asks for one copy's status as it is now.
#[derive(Clone, PartialEq, prost::Message)]
pub struct FetchStatus {
    /// Numbered by the center.
    #[prost(uint64, tag = "1")]
    pub request: u64,
    /// Which copy.
    #[prost(message, optional, tag = "2")]
    pub copy: Option<CopyId>,
}

/// A person said to go on after [`Resumption::Held`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Resumed {
    /// The point from which the center goes on.
    #[prost(message, optional, tag = "1")]
    pub cursor: Option<Cursor>,
}

/// This destination gets no session now. On a stream that carries many, the others go on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Refused {
    /// Why.
    #[prost(enumeration = "RefusedReason", tag = "1")]
    pub reason: i32,
    /// In words, with the remedy.
    #[prost(string, tag = "2")]
    pub message: String,
    /// When to try again; 0: only after something changed at the center.
    #[prost(uint32, tag = "3")]
    pub retry_after_seconds: u32,
}

/// Why a destination was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum RefusedReason {
    /// See the message.
    Unspecified = 0,
    /// `spec.hubAcceptsClient` is false.
    NotAccepted = 1,
    /// The ManagedCluster is gone, or was made again under the same name.
    Unknown = 2,
    /// The certificate speaks for another destination.
    WrongIdentity = 3,
    /// Another session for this destination is newer.
    Superseded = 4,
    /// The protocol was not followed.
    Protocol = 5,
    /// The center is starting or overloaded.
    Unavailable = 6,
}

/// "So am I."
#[derive(Clone, PartialEq, prost::Message)]
pub struct Pong {}

// ── Conveniences ─────────────────────────────────────────────────────────────────────────────────────────────────────

macro_rules! wrap {
    ($outer:ident, $module:ident, $($inner:ident),+) => {$(
        impl From<$inner> for $module::Message {
            fn from(message: $inner) -> Self { $module::Message::$inner(message) }
        }
    )+
        impl $outer {
            /// Addresses a message to, or speaks it for, a destination.
            pub fn new(destination: impl Into<String>, message: impl Into<$module::Message>) -> Self {
                Self { destination: destination.into(), message: Some(message.into()) }
            }
        }
    };
}
wrap!(
    ToCenter,
    to_center,
    Hello,
    Holding,
    Need,
    Progress,
    Report,
    TombstoneDone,
    RawStatus,
    Ping
);
wrap!(
    ToAgent,
    to_agent,
    Welcome,
    List,
    Desired,
    Bodies,
    Tombstone,
    Released,
    ReportAck,
    FetchStatus,
    Resumed,
    Refused,
    Pong
);

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.store, self.incarnation, self.revision)
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ErrorKind::None => "None",
            ErrorKind::Other => "Error",
            ErrorKind::Forbidden => "Forbidden",
            ErrorKind::Invalid => "Invalid",
            ErrorKind::AlreadyExists => "AlreadyExists",
            ErrorKind::Conflict => "Conflict",
            ErrorKind::KindNotServed => "KindNotServed",
            ErrorKind::Unreachable => "Unreachable",
            ErrorKind::Waiting => "Waiting",
            ErrorKind::Refused => "Refused",
            ErrorKind::Immutable => "Immutable",
            ErrorKind::NotEmpty => "NotEmpty",
            ErrorKind::Terminating => "Terminating",
        })
    }
}
