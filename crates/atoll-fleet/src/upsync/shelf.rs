//! What came up: per edge its objects by identity, each with its hash; bodies stay in their rows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use atoll_placement::Destination;
use atoll_registry::INTERNAL_GROUP;
use atoll_store::{Key, Prefix, Revision, Snapshot};
use atoll_wire::ObjectRef;
use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::model::{PolicyIndex, World};

/// A born object as its row keeps it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct BornRow {
    /// The uid of the ManagedCluster.
    #[prost(string, tag = "1")]
    pub(crate) destination: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) object: Option<ObjectRef>,
    /// Its uid at the edge.
    #[prost(string, tag = "3")]
    pub(crate) uid: String,
    /// Empty: it is gone at the edge, and its real objects are still to go.
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) body: Bytes,
    /// The real objects that were made of it, or may have been.
    #[prost(message, repeated, tag = "5")]
    pub(crate) made: Vec<MadeRow>,
}

/// A real object.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Message)]
pub(crate) struct MadeRow {
    /// The logical cluster.
    #[prost(string, tag = "1")]
    pub(crate) cluster: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
    #[prost(string, tag = "3")]
    pub(crate) namespace: String,
    #[prost(string, tag = "4")]
    pub(crate) name: String,
}

/// Which object of an edge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl From<&ObjectRef> for Identity {
    fn from(object: &ObjectRef) -> Self {
        Identity {
            group: object.group.clone(),
            resource: object.resource.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
        }
    }
}

/// A born object.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Names it among all, for views.
    pub(crate) id: u32,
    pub(crate) object: ObjectRef,
    pub(crate) uid: String,
    pub(crate) hash: [u8; 32],
    pub(crate) gone: bool,
    pub(crate) revision: Revision,
    pub(crate) made: BTreeSet<MadeRow>,
    /// Real objects that are as this hash says, as far as this process knows.
    pub(crate) fresh: BTreeMap<String, [u8; 32]>,
    pub(crate) key: Key,
}

/// Everything that came up.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// Policies that ask for something.
    pub(crate) policies: BTreeSet<PolicyIndex>,
    pub(crate) records: HashMap<Destination, BTreeMap<Identity, Record>>,
    pub(crate) by_id: HashMap<u32, (Destination, Identity)>,
    next: u32,
    /// How many objects of an edge were left out.
    pub(crate) beyond: BTreeMap<Destination, u32>,
    /// What went wrong, by policy: said in its status.
    pub(crate) problems: BTreeMap<PolicyIndex, BTreeSet<String>>,
    /// Rows of edges that are gone: what was made of them is still to go.
    pub(crate) left: Vec<(Key, BornRow)>,
}

pub(crate) fn hash(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// The row of an object of an edge: an identity of its own, so that several fit into one append.
pub(crate) fn row_key(inventory: &str, destination: &str, object: &Identity) -> Key {
    let Identity {
        group,
        resource,
        namespace,
        name,
    } = object;
    let text = format!("{destination}\n{group}\n{resource}\n{namespace}\n{name}");
    let identity = hex::encode(&Sha256::digest(text.as_bytes())[..16]);
    Key::new([
        INTERNAL_GROUP,
        "born",
        &identity,
        inventory,
        "",
        destination,
    ])
}

impl Shelf {
    /// The objects of an edge that are there.
    pub(crate) fn of(
        &self,
        destination: Destination,
    ) -> impl Iterator<Item = (&Identity, &Record)> {
        let records = self.records.get(&destination).into_iter().flatten();
        records.filter(|(_, record)| !record.gone)
    }

    /// An object by its number.
    pub(crate) fn get(&self, id: u32) -> Option<(Destination, &Record)> {
        let (destination, identity) = self.by_id.get(&id)?;
        let record = self.records.get(destination)?.get(identity)?;
        Some((*destination, record))
    }

    /// Enters what its row says.
    pub(crate) fn put(&mut self, destination: Destination, key: Key, row: &BornRow, at: Revision) {
        let Some(object) = row.object.clone() else {
            return;
        };
        let identity = Identity::from(&object);
        let records = self.records.entry(destination).or_default();
        let known = records.get(&identity);
        let id = known.map_or(self.next, |record| record.id);
        let fresh = known.map(|r| r.fresh.clone()).unwrap_or_default();
        if id == self.next {
            self.next += 1;
        }
        let record = Record {
            id,
            object,
            uid: row.uid.clone(),
            hash: hash(&row.body),
            gone: row.body.is_empty(),
            revision: at,
            made: row.made.iter().cloned().collect(),
            fresh,
            key,
        };
        self.by_id.insert(id, (destination, identity.clone()));
        records.insert(identity, record);
    }

    /// Forgets an object whose row is deleted.
    pub(crate) fn remove(&mut self, destination: Destination, identity: &Identity) {
        let Some(records) = self.records.get_mut(&destination) else {
            return;
        };
        if let Some(record) = records.remove(identity) {
            self.by_id.remove(&record.id);
        }
        if records.is_empty() {
            self.records.remove(&destination);
        }
    }
}

/// Reads the rows at start. Returns the edges that have any: what was made of their objects is looked at again.
pub(crate) fn load(world: &mut World, snapshot: &dyn Snapshot) -> Result<Vec<Destination>, String> {
    let mut found = BTreeSet::new();
    for item in snapshot.range(&Prefix::new([INTERNAL_GROUP, "born"]), None) {
        let (key, version) = item.map_err(|e| e.to_string())?;
        let row = BornRow::decode(version.row.clone())
            .map_err(|e| format!("row {key} is damaged: {e}"))?;
        match world.destinations.by_uid(&row.destination) {
            Some(destination) => {
                world.born.put(destination, key, &row, version.modified);
                found.insert(destination);
            }
            None => world.born.left.push((key, row)),
        }
    }
    Ok(found.into_iter().collect())
}
