//! What an agent says in a session.

use bytes::Bytes;

use super::{CopyId, Cursor, ObjectRef};

/// One message of a session's upward direction.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ToCenter {
    /// The destination's uid; empty for [`Ping`], and where `handles` say whom it is about.
    #[prost(string, tag = "1")]
    pub destination: String,
    /// What it says.
    #[prost(oneof = "to_center::Message", tags = "2, 3, 4, 5, 6, 7, 8, 9, 11, 12")]
    pub message: Option<to_center::Message>,
    /// A hub's short names for its destinations. With a [`Hello`] (and its `destination`) it gives one; afterwards a message is about each that it lists.
    #[prost(uint32, repeated, tag = "10")]
    pub handles: Vec<u32>,
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
        #[prost(message, tag = "11")]
        Leave(super::Leave),
        #[prost(message, tag = "12")]
        Born(super::Born),
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
    /// Other destinations whose agents left records at this edge.
    #[prost(string, repeated, tag = "6")]
    pub others: Vec<String>,
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
    /// Why it has not ended.
    #[prost(enumeration = "ErrorKind", tag = "4")]
    pub error: i32,
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

/// A hub lost its destination: its logical session ends, the stream goes on.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Leave {}

/// Objects that were born at the edge and that [`Gather`](super::Gather) names: what changed since the last one.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Born {
    /// As they are now, or that they are gone.
    #[prost(message, repeated, tag = "1")]
    pub objects: Vec<BornObject>,
    /// With `complete`: all that there are. Whatever else the center knows of is gone.
    #[prost(message, repeated, tag = "2")]
    pub present: Vec<ObjectRef>,
    /// Everything was looked at since [`Gather`](super::Gather) was heard.
    #[prost(bool, tag = "3")]
    pub complete: bool,
    /// How many are left out, because there are more than may be.
    #[prost(uint32, tag = "4")]
    pub beyond: u32,
}

/// One object that was born at the edge.
#[derive(Clone, PartialEq, prost::Message)]
pub struct BornObject {
    /// Which one.
    #[prost(message, optional, tag = "1")]
    pub object: Option<ObjectRef>,
    /// Its uid at the edge.
    #[prost(string, tag = "2")]
    pub uid: String,
    /// The object as JSON, without what the API server adds for itself; empty: it is gone.
    #[prost(bytes = "bytes", tag = "3")]
    pub body: Bytes,
}
