//! What the fleet keeps in the log: row types, their keys, and nothing that acts.
//!
//! All families are of the group `internal.atoll.dev` and never served. Sets of destinations are compressed bitmaps; no row is about one
//! object *and* one destination.
//!
//! | family | one row per | holds |
//! |---|---|---|
//! | `destinations` | ManagedCluster | its dense index, the key its join token is bound to |
//! | `bodies` | distinct body | one object as it travels (or, where copies differ, its recipe), by the hash of its content |
//! | `placements` | policy | its name and inventory, and what is known when it is gone |
//! | `revisions` | policy and ordinal | what it selected then: objects, flags and the bodies' hashes |
//! | `assignments` | policy and 65,536 destinations | who has which revision or may have been sent it |
//! | `rollouts` | policy under control and step | what the rollout engine recorded: who has which revision, stages, slots, clocks (instead of `assignments`) |
//! | `tombstones` | object | destinations that have not confirmed its removal |
//! | `values` | distinct value that several copies report | what they report, by its hash |
//! | `reports` | slot of a ring | a batch of reports, newer than the columns |
//! | `columns` | object and 65,536 destinations | reported value -> destinations |
//! | `folded` | – | up to which batch the columns are complete, and what was known of destinations then |
//! | `returned` | object | whose `.status` we wrote, and so have to clear |
//! | `consents` | policy | who wrote it last: whose permission placements use |
//! | `born` | object that was born at an edge and came up | its body, and what was made of it (`upsync`) |
//! | `farewells` | payload workspace | what happens to copies when it is deleted |
//!
//! An append may write one row of each family. Where several rows of one kind have to go into one append, what tells them apart is their identity component, which makes
//! each a family of its own: nobody watches them, so nobody can lose half a revision.

use atoll_placement::Destinations;
use atoll_placement::assign::Ordinal;
use atoll_placement::bundle::BodyHash;
use atoll_placement::columns::{Reported, Seen};
use atoll_placement::health::Health;
use atoll_registry::INTERNAL_GROUP;
use atoll_store::{Key, Prefix};
use atoll_wire::ObjectRef;
use bytes::Bytes;
use prost::Message;

/// How many batches of reports fit before the oldest must be folded.
pub(crate) const REPORT_SLOTS: u64 = 128;

fn key(family: &str, identity: &str, cluster: &str, name: &str) -> Key {
    Key::new([INTERNAL_GROUP, family, identity, cluster, "", name])
}

/// All rows of a family.
pub(crate) fn family(family: &str) -> Prefix {
    Prefix::new([INTERNAL_GROUP, family])
}

pub(crate) fn destination(inventory: &str, uid: &str) -> Key {
    key("destinations", "", inventory, uid)
}

pub(crate) fn body(hash: &BodyHash) -> Key {
    key("bodies", &hex::encode(hash), "system", "body")
}

/// The hash that a body's key names.
pub(crate) fn body_of(key: &Key) -> Option<BodyHash> {
    let mut hash = BodyHash::default();
    hex::decode_to_slice(key.component(2)?, &mut hash).ok()?;
    Some(hash)
}

pub(crate) fn placement(cluster: &str, policy_uid: &str) -> Key {
    key("placements", "", cluster, policy_uid)
}

pub(crate) fn revision(cluster: &str, policy_uid: &str, ordinal: Ordinal) -> Key {
    let identity = format!("{policy_uid}.{ordinal}");
    key("revisions", &identity, cluster, policy_uid)
}

pub(crate) fn assignment(cluster: &str, policy_uid: &str, chunk: u16) -> Key {
    let identity = format!("{policy_uid}.{chunk}");
    key("assignments", &identity, cluster, policy_uid)
}

/// A step of a policy's rollouts, or (the first one that is kept) their whole state.
pub(crate) fn rollout(cluster: &str, policy_uid: &str, number: u64) -> Key {
    let identity = format!("{policy_uid}.{number}");
    key("rollouts", &identity, cluster, policy_uid)
}

/// The number in a key of [`rollout`].
pub(crate) fn rollout_number(key: &Key) -> Option<u64> {
    let identity = std::str::from_utf8(key.component(2)?).ok()?;
    identity.rsplit_once('.')?.1.parse().ok()
}

pub(crate) fn consent(cluster: &str, policy: &str) -> Key {
    key("consents", "", cluster, policy)
}

pub(crate) fn farewell(cluster: &str) -> Key {
    key("farewells", "", cluster, "copies")
}

pub(crate) fn tombstone(inventory: &str, cluster: &str, uid: &str) -> Key {
    key("tombstones", uid, inventory, cluster)
}

pub(crate) fn value(hash: &[u8; 16]) -> Key {
    key("values", &hex::encode(hash), "system", "value")
}

/// The hash that a value's key names.
pub(crate) fn value_of(key: &Key) -> Option<[u8; 16]> {
    let mut hash = [0; 16];
    hex::decode_to_slice(key.component(2)?, &mut hash).ok()?;
    Some(hash)
}

pub(crate) fn report(sequence: u64) -> Key {
    key(
        "reports",
        "",
        "system",
        &format!("{:03}", sequence % REPORT_SLOTS),
    )
}

pub(crate) fn column(cluster: &str, uid: &str, chunk: u16) -> Key {
    key("columns", &format!("{uid}.{chunk}"), "system", cluster)
}

/// The object (cluster, uid) and the chunk that a column's key names.
pub(crate) fn column_of(key: &Key) -> Option<(atoll_wire::CopyId, u16)> {
    let text = |n: usize| std::str::from_utf8(key.component(n)?).ok();
    let (uid, chunk) = text(2)?.rsplit_once('.')?;
    let copy = atoll_wire::CopyId {
        cluster: text(5)?.to_owned(),
        uid: uid.to_owned(),
    };
    Some((copy, chunk.parse().ok()?))
}

pub(crate) fn returned(cluster: &str, uid: &str) -> Key {
    key("returned", uid, "system", cluster)
}

pub(crate) fn folded() -> Key {
    key("folded", "", "system", "reports")
}

/// A destination.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct DestinationRow {
    #[prost(uint32, tag = "1")]
    pub(crate) index: u32,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    /// SHA-256 of the first public key that used the join token.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) first_key: Bytes,
    /// SHA-256 of the join token that the key is bound to: a new token may be used with a new key.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) token: Bytes,
}

/// An object, as it is remembered when it is gone.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ObjectRow {
    #[prost(string, tag = "1")]
    pub(crate) uid: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) object: Option<ObjectRef>,
    /// The identity component of its key.
    #[prost(string, tag = "3")]
    pub(crate) identity: String,
    #[prost(uint32, tag = "4")]
    pub(crate) order: u32,
}

/// One object of a revision.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct EntryRow {
    #[prost(message, optional, tag = "1")]
    pub(crate) object: Option<ObjectRow>,
    /// [`atoll_placement::bundle::CopyFlags::bits`].
    #[prost(uint32, tag = "2")]
    pub(crate) flags: u32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) body: Bytes,
    #[prost(uint32, tag = "4")]
    pub(crate) size: u32,
    #[prost(bool, tag = "5")]
    pub(crate) replace: bool,
    #[prost(string, repeated, tag = "6")]
    pub(crate) edge_owned: Vec<String>,
    #[prost(string, repeated, tag = "7")]
    pub(crate) initial_only: Vec<String>,
    /// What health rules read of the object, as JSON.
    #[prost(string, tag = "8")]
    pub(crate) health_input: String,
    /// Where the object was written when it was read.
    #[prost(uint64, tag = "9")]
    pub(crate) written: u64,
    /// The body is a recipe: copies are not the same everywhere.
    #[prost(bool, tag = "10")]
    pub(crate) varies: bool,
}

/// A policy that has placed something.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct PlacementRow {
    #[prost(string, tag = "1")]
    pub(crate) policy: String,
    #[prost(string, tag = "2")]
    pub(crate) inventory: String,
    /// Copies are kept when the policy goes: remembered, because a deleted policy cannot be asked.
    #[prost(bool, tag = "3")]
    pub(crate) orphan: bool,
}

/// What a policy selected at one moment.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RevisionRow {
    #[prost(uint64, tag = "1")]
    pub(crate) ordinal: u64,
    #[prost(string, tag = "2")]
    pub(crate) content: String,
    /// When it was cut, in milliseconds.
    #[prost(int64, tag = "3")]
    pub(crate) at: i64,
    #[prost(message, repeated, tag = "4")]
    pub(crate) entries: Vec<EntryRow>,
}

/// Who of 65,536 destinations has which revision of a policy.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AssignmentRow {
    #[prost(message, repeated, tag = "1")]
    pub(crate) revisions: Vec<AssignedRow>,
}

/// Who has one revision.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct AssignedRow {
    #[prost(uint64, tag = "1")]
    pub(crate) ordinal: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) destinations: Bytes,
}

/// Copies of one object that must go.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TombstoneRow {
    #[prost(message, optional, tag = "1")]
    pub(crate) object: Option<ObjectRow>,
    /// Destinations that have not confirmed a removal.
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) remove: Bytes,
    /// Destinations that have not confirmed letting go.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) orphan: Bytes,
}

/// A batch of reports.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReportRow {
    #[prost(uint64, tag = "1")]
    pub(crate) sequence: u64,
    #[prost(message, repeated, tag = "2")]
    pub(crate) objects: Vec<ObjectReportsRow>,
    /// What was known of destinations up to this revision is behind the values here.
    #[prost(uint64, tag = "3")]
    pub(crate) known: u64,
}

/// One object's copies in a batch.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ObjectReportsRow {
    #[prost(string, tag = "1")]
    pub(crate) cluster: String,
    #[prost(string, tag = "2")]
    pub(crate) uid: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) values: Vec<HeldRow>,
    /// Where the copy is gone and its tombstone confirmed.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) gone: Bytes,
}

/// A value, here or by its hash, and who reported it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct HeldRow {
    #[prost(message, optional, tag = "1")]
    pub(crate) value: Option<ValueRow>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) hash: Bytes,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) destinations: Bytes,
}

/// [`atoll_placement::columns::Reported`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueRow {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) render: Bytes,
    #[prost(uint32, tag = "2")]
    pub(crate) error: u32,
    #[prost(string, tag = "3")]
    pub(crate) message: String,
    #[prost(uint32, tag = "4")]
    pub(crate) health: u32,
    #[prost(string, tag = "5")]
    pub(crate) status: String,
    #[prost(bool, optional, tag = "7")]
    pub(crate) observed: Option<bool>,
    /// [`atoll_placement::columns::Seen::parts`], the hash being `render`.
    #[prost(uint32, tag = "8")]
    pub(crate) seen: u32,
}

/// One object's reported state at 65,536 destinations.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ColumnRow {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<HeldRow>,
}

/// Batches up to here are in the columns.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct FoldedRow {
    #[prost(uint64, tag = "1")]
    pub(crate) sequence: u64,
    /// As [`ReportRow::known`].
    #[prost(uint64, tag = "2")]
    pub(crate) known: u64,
}

/// A message as a row.
pub(crate) fn encode(row: &impl Message) -> Bytes {
    row.encode_to_vec().into()
}

/// A set as bytes.
pub(crate) fn set_to_bytes(set: &Destinations) -> Bytes {
    let mut set = set.clone();
    set.optimize();
    let mut out = Vec::with_capacity(set.serialized_size());
    // Writing into memory does not fail.
    let _ = set.serialize_into(&mut out);
    out.into()
}

/// A set from bytes; a damaged one is an error, never an empty set.
pub(crate) fn set_from_bytes(bytes: &[u8]) -> Result<Destinations, String> {
    if bytes.is_empty() {
        return Ok(Destinations::new());
    }
    Destinations::deserialize_from(bytes).map_err(|e| format!("damaged bitmap: {e}"))
}

/// A render hash from a row; a damaged one equals no other.
pub(crate) fn render_from(bytes: &[u8]) -> atoll_placement::bundle::RenderHash {
    bytes.try_into().unwrap_or([0xff; 16])
}

impl ValueRow {
    pub(crate) fn of(value: &Reported) -> Self {
        let (seen, render) = value.seen.parts();
        ValueRow {
            render: Bytes::copy_from_slice(&render),
            error: u32::from(value.error),
            message: value.message.to_string(),
            health: u32::from(value.health.code()),
            status: value.status.to_string(),
            observed: value.observed,
            seen: u32::from(seen),
        }
    }

    pub(crate) fn value(&self) -> Reported {
        let seen = u8::try_from(self.seen).unwrap_or(u8::MAX);
        Reported {
            seen: Seen::from_parts(seen, render_from(&self.render)),
            error: u8::try_from(self.error).unwrap_or(1),
            message: self.message.as_str().into(),
            health: Health::from_code(u8::try_from(self.health).unwrap_or(1)),
            observed: self.observed,
            status: self.status.as_str().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_round_trip_and_damage_is_no_empty_set() {
        let set: Destinations = [1, 5, 70_000].into_iter().collect();
        assert_eq!(set_from_bytes(&set_to_bytes(&set)), Ok(set));
        assert_eq!(set_from_bytes(&[]), Ok(Destinations::new()));
        assert!(set_from_bytes(b"xx").is_err());
    }

    #[test]
    fn tombstones_of_different_objects_fit_one_append() {
        assert_ne!(
            tombstone("i", "c", "a").family(),
            tombstone("i", "c", "b").family()
        );
        assert_ne!(column("c", "a", 0).family(), column("c", "b", 0).family());
        assert_ne!(column("c", "a", 0).family(), column("c", "a", 1).family());
        let copy = atoll_wire::CopyId {
            cluster: "c".into(),
            uid: "a.b".into(),
        };
        assert_eq!(column_of(&column("c", "a.b", 7)), Some((copy, 7)));
        assert_ne!(
            assignment("c", "p", 0).family(),
            assignment("c", "p", 1).family()
        );
        assert_ne!(
            revision("c", "p", 1).family(),
            revision("c", "p", 2).family()
        );
        assert_eq!(report(3), report(3 + REPORT_SLOTS));
        assert_eq!(value_of(&value(&[7; 16])), Some([7; 16]));
        assert_eq!(body_of(&body(&[7; 32])), Some([7; 32]));
    }
}
