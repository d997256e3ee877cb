//! The rows of values: a status that many copies report is written once, and rows of batches and columns name it by its hash.
//!
//! Always true: a value's row is durable before any row that names it, and is deleted only after the last one that did was overwritten. Values of few copies are written where they are
//! reported: most of them are gone soon.

use std::collections::{BTreeMap, HashMap, HashSet};

use atoll_placement::Destinations;
use atoll_placement::columns::Reported;
use atoll_placement::place::ObjectIndex;
use atoll_store::Write;
use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::rows::{self, HeldRow, ValueRow};

/// Names a value.
pub(crate) type ValueHash = [u8; 16];

/// Values of so few destinations are not written apart.
const FEW: u64 = 4;
/// Nor are values that are as short as this: their names would not be much shorter.
const SHORT: usize = 48;

/// Values that some rows name.
pub(super) type Named = BTreeMap<ValueHash, Bytes>;

/// A value and who has it, as rows of batches and columns say it; what they name is added to `named`.
pub(super) fn held(value: &Reported, destinations: &Destinations, named: &mut Named) -> HeldRow {
    let row = ValueRow::of(value);
    let mut held = HeldRow {
        destinations: rows::set_to_bytes(destinations),
        ..HeldRow::default()
    };
    if destinations.len() < FEW || row.encoded_len() <= SHORT {
        held.value = Some(row);
        return held;
    }
    let bytes = rows::encode(&row);
    let full: [u8; 32] = Sha256::digest(&bytes).into();
    let mut hash = ValueHash::default();
    hash.copy_from_slice(&full[..16]);
    held.hash = Bytes::copy_from_slice(&hash);
    named.insert(hash, bytes);
    held
}

/// Which values have rows, and which rows name them.
#[derive(Debug, Default)]
pub(crate) struct StoredValues {
    rows: HashSet<ValueHash>,
    /// How many rows name a value.
    names: HashMap<ValueHash, u32>,
    /// By batch.
    batches: BTreeMap<u64, Vec<ValueHash>>,
    /// By object and chunk of its column; all that have a row are here.
    columns: HashMap<ObjectIndex, BTreeMap<u16, Vec<ValueHash>>>,
}

impl StoredValues {
    /// The rows that have to be durable before those that name these.
    pub(super) fn missing(&self, named: &Named) -> Vec<Write> {
        let missing = named.iter().filter(|(hash, _)| !self.rows.contains(*hash));
        missing
            .map(|(hash, row)| Write::Put(rows::value(hash), row.clone()))
            .collect()
    }

    /// A value's row is durable.
    pub(crate) fn wrote(&mut self, hash: ValueHash) {
        self.rows.insert(hash);
    }

    fn name(&mut self, hashes: &[ValueHash]) {
        for hash in hashes {
            *self.names.entry(*hash).or_default() += 1;
        }
    }

    fn unname(&mut self, hashes: &[ValueHash]) {
        for hash in hashes {
            if let Some(count) = self.names.get_mut(hash) {
                *count -= 1;
                if *count == 0 {
                    self.names.remove(hash);
                }
            }
        }
    }

    /// The row of a batch names these.
    pub(crate) fn batch(&mut self, sequence: u64, hashes: Vec<ValueHash>) {
        self.name(&hashes);
        self.batches.insert(sequence, hashes);
    }

    /// Batches up to here are of no account any more.
    pub(super) fn folded(&mut self, sequence: u64) {
        let later = self.batches.split_off(&(sequence + 1));
        for hashes in std::mem::replace(&mut self.batches, later).into_values() {
            self.unname(&hashes);
        }
    }

    /// The row of a chunk names these; `None`: it has no row.
    pub(crate) fn column(
        &mut self,
        object: ObjectIndex,
        chunk: u16,
        hashes: Option<Vec<ValueHash>>,
    ) {
        if let Some(hashes) = &hashes {
            self.name(hashes);
        }
        let chunks = self.columns.entry(object).or_default();
        let before = match hashes {
            Some(hashes) => chunks.insert(chunk, hashes),
            None => chunks.remove(&chunk),
        };
        if chunks.is_empty() {
            self.columns.remove(&object);
        }
        self.unname(&before.unwrap_or_default());
    }

    /// The chunks of an object's column that have rows.
    pub(super) fn chunks(&self, object: ObjectIndex) -> Vec<u16> {
        let chunks = self.columns.get(&object);
        chunks.into_iter().flat_map(|c| c.keys().copied()).collect()
    }

    /// Takes out the values that no row names any more: theirs may go.
    pub(super) fn take_unused(&mut self) -> Vec<ValueHash> {
        let unused = self
            .rows
            .iter()
            .filter(|hash| !self.names.contains_key(*hash));
        let unused: Vec<ValueHash> = unused.copied().collect();
        for hash in &unused {
            self.rows.remove(hash);
        }
        unused
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use atoll_placement::columns::Seen;
    use atoll_placement::health::Health;
    use proptest::prelude::*;

    use super::*;

    fn reported(status: &str) -> Reported {
        Reported {
            seen: Seen::Shared([7; 16]),
            error: 0,
            message: "".into(),
            health: Health::Healthy,
            observed: Some(true),
            status: Arc::from(status),
        }
    }

    #[test]
    fn only_what_is_long_and_common_is_written_apart() {
        let long = "x".repeat(100);
        for (status, copies, apart) in [("", 9, false), (&*long, 3, false), (&*long, 4, true)] {
            let mut named = Named::new();
            let row = held(&reported(status), &(0..copies).collect(), &mut named);
            assert_eq!(!named.is_empty(), apart, "{copies}");
            assert_eq!(row.value.is_none(), apart);
            let again = held(&reported(status), &(0..copies).collect(), &mut named);
            assert_eq!(row, again);
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Batch(Vec<u8>),
        Column(u32, u16, Option<Vec<u8>>),
        Fold,
    }

    fn step() -> impl Strategy<Value = Step> {
        let hashes = || proptest::collection::vec(0u8..5, 0..4);
        prop_oneof![
            hashes().prop_map(Step::Batch),
            (0u32..2, 0u16..2, proptest::option::of(hashes()))
                .prop_map(|(o, c, h)| Step::Column(o, c, h)),
            Just(Step::Fold),
        ]
    }

    proptest! {
        /// What some row names has a row, and nothing else keeps one.
        #[test]
        fn a_value_stays_while_a_row_names_it(steps in proptest::collection::vec(step(), 0..40)) {
            let mut stored = StoredValues::default();
            let (mut batches, mut columns) = (Vec::new(), BTreeMap::new());
            let of = |all: &[u8]| -> Vec<ValueHash> { all.iter().map(|n| [*n; 16]).collect() };
            for step in steps {
                let write = |stored: &mut StoredValues, hashes: &[ValueHash]| {
                    let named: Named = hashes.iter().map(|h| (*h, Bytes::new())).collect();
                    for write in stored.missing(&named) {
                        let hash = rows::value_of(write.key()).unwrap();
                        stored.wrote(hash);
                    }
                };
                match step {
                    Step::Batch(all) => {
                        write(&mut stored, &of(&all));
                        batches.push(of(&all));
                        stored.batch(batches.len() as u64, of(&all));
                    }
                    Step::Column(o, c, all) => {
                        let hashes = all.as_deref().map(of);
                        write(&mut stored, hashes.as_deref().unwrap_or_default());
                        stored.column(ObjectIndex(o), c, hashes.clone());
                        match hashes {
                            Some(hashes) => drop(columns.insert((o, c), hashes)),
                            None => drop(columns.remove(&(o, c))),
                        }
                    }
                    Step::Fold => {
                        stored.folded(batches.len() as u64);
                        stored.take_unused();
                        batches.iter_mut().for_each(Vec::clear);
                        let named: HashSet<ValueHash> = columns.values().flatten().copied().collect();
                        prop_assert_eq!(&stored.rows, &named);
                    }
                }
                let named: HashSet<ValueHash> = columns.values().flatten().chain(batches.iter().flatten()).copied().collect();
                prop_assert!(named.is_subset(&stored.rows));
            }
        }
    }
}
