//! What a center says in a session.

use bytes::Bytes;

use super::{CopyId, Cursor, ObjectRef};

/// One message of a session's downward direction.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ToAgent {
    /// The destination's uid; empty for [`Pong`], and where `handles` say whom it is for.
    #[prost(string, tag = "1")]
    pub destination: String,
    /// What it says.
    #[prost(
        oneof = "to_agent::Message",
        tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14"
    )]
    pub message: Option<to_agent::Message>,
    /// To a hub: each of these has the message said to it, as if it had been sent to it alone.
    #[prost(uint32, repeated, tag = "13")]
    pub handles: Vec<u32>,
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
        #[prost(message, tag = "14")]
        Gather(super::Gather),
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
    /// Of [`Hello::others`](super::Hello::others), those that are no destinations of this center (any more): copies of this center's objects that they left may be taken over.
    #[prost(string, repeated, tag = "5")]
    pub gone: Vec<String>,
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
    /// The body itself, when no other destination has the same: asking for it would be a round trip that saves nothing.
    #[prost(bytes = "bytes", tag = "13")]
    pub body: Bytes,
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

/// Which objects that were born at the edge are to be told of ([`Born`](super::Born)). Replaces what was said before; without clauses, none.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Gather {
    /// Any of these.
    #[prost(message, repeated, tag = "1")]
    pub clauses: Vec<GatherClause>,
    /// At most so many objects.
    #[prost(uint32, tag = "2")]
    pub most: u32,
    /// None that is larger than so many bytes.
    #[prost(uint32, tag = "3")]
    pub most_bytes: u32,
}

/// Objects by their identity: all tests must hold; an empty list holds for all, and so does the entry `*`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Message)]
pub struct GatherClause {
    /// Of any group; else of `group`.
    #[prost(bool, tag = "1")]
    pub any_group: bool,
    /// The API group; empty is Kubernetes' core.
    #[prost(string, tag = "2")]
    pub group: String,
    /// Plural names.
    #[prost(string, repeated, tag = "3")]
    pub resources: Vec<String>,
    /// Namespaces; with entries, objects without a namespace do not match unless one is `*`.
    #[prost(string, repeated, tag = "4")]
    pub namespaces: Vec<String>,
    /// Names.
    #[prost(string, repeated, tag = "5")]
    pub names: Vec<String>,
}

/// Kinds that `*` does not mean: secrets, and what is a flood. Whoever wants them names them.
const NOT_BY_WILDCARD: [&str; 3] = ["secrets", "events", "leases"];

fn listed(list: &[String], value: &str) -> bool {
    list.is_empty() || list.iter().any(|entry| entry == "*" || entry == value)
}

impl GatherClause {
    /// Whether objects of a resource may match.
    pub fn has_resource(&self, group: &str, resource: &str) -> bool {
        let named = self.resources.iter().any(|r| r == resource);
        (self.any_group || self.group == group)
            && (named
                || (listed(&self.resources, resource) && !NOT_BY_WILDCARD.contains(&resource)))
    }

    /// Whether an object matches.
    pub fn has(&self, object: &ObjectRef) -> bool {
        self.has_resource(&object.group, &object.resource)
            && listed(&self.names, &object.name)
            && match object.namespaced {
                true => listed(&self.namespaces, &object.namespace),
                false => self.namespaces.is_empty() || self.namespaces.iter().any(|n| n == "*"),
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_matches_by_identity() {
        let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let object = |group: &str, resource: &str, namespace: &str, name: &str| ObjectRef {
            group: group.into(),
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
            namespaced: !namespace.is_empty(),
            ..ObjectRef::default()
        };
        let clause =
            |group: Option<&str>, resources: &[&str], namespaces: &[&str], names: &[&str]| {
                GatherClause {
                    any_group: group.is_none(),
                    group: group.unwrap_or_default().into(),
                    resources: texts(resources),
                    namespaces: texts(namespaces),
                    names: texts(names),
                }
            };
        let sprockets = clause(
            Some("g1"),
            &["sprockets"],
            &["orbital"],
            &["george", "cosmo"],
        );
        let widgets = clause(Some("g3"), &["widgets"], &[], &["*"]);
        let all = clause(None, &["*"], &["*"], &[]);
        for (clause, object, expected) in [
            (
                &sprockets,
                object("g1", "sprockets", "orbital", "cosmo"),
                true,
            ),
            (
                &sprockets,
                object("g1", "sprockets", "orbital", "jane"),
                false,
            ),
            (&sprockets, object("g1", "sprockets", "", "cosmo"), false),
            (
                &sprockets,
                object("g2", "sprockets", "orbital", "cosmo"),
                false,
            ),
            (&widgets, object("g3", "widgets", "", "any"), true),
            (&widgets, object("g3", "widgets", "anywhere", "any"), true),
            (&all, object("g3", "widgets", "", "any"), true),
            (&all, object("", "secrets", "a", "b"), false),
            (
                &clause(Some(""), &["secrets"], &[], &[]),
                object("", "secrets", "a", "b"),
                true,
            ),
        ] {
            assert_eq!(clause.has(&object), expected, "{clause:?} {object:?}");
        }
    }
}
