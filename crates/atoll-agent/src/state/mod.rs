//! What an agent knows for certain: the copies it was given, which of them it owns, and up to where it heard its center.
//!
//! [`State`] is plain data that only [`Fact`]s change, so the state after a restart is the facts of the journal applied again.
//! It knows no files (that is [`journal`]), no edge and no center.

pub mod journal;

use std::collections::BTreeMap;

use atoll_wire::{CopyId, Cursor, Item, RemovalMode, digest::SetDigest};
use bytes::Bytes;

/// One durable step.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Fact {
    /// What happened.
    #[prost(oneof = "fact::Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<fact::Kind>,
}

/// The contents of a [`Fact`].
pub mod fact {
    /// What happened.
    #[derive(Clone, PartialEq, prost::Oneof)]
    #[allow(missing_docs)] // each variant is documented at its message
    pub enum Kind {
        #[prost(message, tag = "1")]
        Desired(super::Item),
        #[prost(message, tag = "2")]
        Doomed(super::Doomed),
        #[prost(message, tag = "3")]
        Owned(super::Owned),
        #[prost(message, tag = "4")]
        Forgotten(super::CopyId),
        #[prost(message, tag = "5")]
        Heard(super::Cursor),
        /// The center does not know this edge (any more), or knows it again.
        #[prost(bool, tag = "6")]
        Detached(bool),
    }
}

impl From<fact::Kind> for Fact {
    fn from(kind: fact::Kind) -> Self {
        Fact { kind: Some(kind) }
    }
}

/// A tombstone was received.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Doomed {
    /// Which copy.
    #[prost(message, optional, tag = "1")]
    pub copy: Option<CopyId>,
    /// The object, for a copy that was not known.
    #[prost(message, optional, tag = "2")]
    pub object: Option<atoll_wire::ObjectRef>,
    /// What to do with it.
    #[prost(enumeration = "RemovalMode", tag = "3")]
    pub mode: i32,
    /// Its order class.
    #[prost(uint32, tag = "4")]
    pub order: u32,
}

/// A copy stands at the edge, and is ours.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Owned {
    /// Which copy.
    #[prost(message, optional, tag = "1")]
    pub copy: Option<CopyId>,
    /// The object's uid at the edge; empty when only the intention to make it was recorded.
    #[prost(string, tag = "2")]
    pub edge_uid: String,
    /// It was there before us: released, never deleted.
    #[prost(bool, tag = "3")]
    pub adopted: bool,
    /// The render that was applied completely; empty when none was.
    #[prost(bytes = "bytes", tag = "4")]
    pub applied: Bytes,
    /// The generation that the apply returned.
    #[prost(int64, tag = "5")]
    pub generation: i64,
}

/// One copy as it is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// As the center last described it. For a copy known only from a tombstone or from the records at the edge, the hashes are empty.
    pub item: Item,
    /// Set once a tombstone named it.
    pub removal: Option<RemovalMode>,
    /// Set once it is (about to be) ours at the edge.
    pub owned: Option<Owned>,
}

impl Copy {
    /// Whether the newest render stands at the edge, as far as we know.
    pub fn is_applied(&self) -> bool {
        self.owned
            .as_ref()
            .is_some_and(|o| !o.applied.is_empty() && o.applied == self.item.render_hash)
    }
}

/// All that is recorded.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Up to where the center's word is recorded.
    pub cursor: Option<Cursor>,
    /// The copies.
    pub copies: BTreeMap<CopyId, Copy>,
    /// The center said last that it does not know this edge: everything stays as it is.
    pub detached: bool,
}

impl State {
    /// Takes one fact in.
    pub fn apply(&mut self, fact: &Fact) {
        match &fact.kind {
            None => {}
            Some(fact::Kind::Heard(cursor)) => self.cursor = Some(cursor.clone()),
            Some(fact::Kind::Detached(detached)) => self.detached = *detached,
            Some(fact::Kind::Forgotten(copy)) => {
                self.copies.remove(copy);
            }
            Some(fact::Kind::Desired(item)) => {
                let Some(id) = item.copy.clone() else { return };
                match self.copies.get_mut(&id) {
                    // Desired again after a tombstone: it is to stay.
                    Some(copy) => {
                        copy.item = item.clone();
                        copy.removal = None;
                    }
                    None => {
                        self.copies.insert(
                            id,
                            Copy {
                                item: item.clone(),
                                removal: None,
                                owned: None,
                            },
                        );
                    }
                }
            }
            Some(fact::Kind::Doomed(doomed)) => {
                let Some(id) = doomed.copy.clone() else {
                    return;
                };
                let mode = RemovalMode::try_from(doomed.mode).unwrap_or(RemovalMode::Orphan);
                let copy = self.copies.entry(id).or_insert_with(|| Copy {
                    item: Item {
                        copy: doomed.copy.clone(),
                        object: doomed.object.clone(),
                        order: doomed.order,
                        ..Item::default()
                    },
                    removal: None,
                    owned: None,
                });
                copy.removal = Some(mode);
            }
            Some(fact::Kind::Owned(owned)) => {
                if let Some(copy) = owned.copy.as_ref().and_then(|id| self.copies.get_mut(id)) {
                    copy.owned = Some(owned.clone());
                }
            }
        }
    }

    /// The digest that both sides compare: everything recorded and not doomed.
    pub fn digest(&self) -> SetDigest {
        let mut digest = SetDigest::EMPTY;
        for (id, copy) in self.copies.iter().filter(|(_, c)| c.removal.is_none()) {
            digest.add(id, &copy.item.render_hash);
        }
        digest
    }

    /// The fewest facts that give this state: what a rewritten journal holds.
    pub fn facts(&self) -> impl Iterator<Item = Fact> + '_ {
        let copies = self.copies.values().flat_map(|copy| {
            let desired = Some(fact::Kind::Desired(copy.item.clone()));
            let owned = copy.owned.clone().map(fact::Kind::Owned);
            let doomed = copy.removal.map(|mode| {
                fact::Kind::Doomed(Doomed {
                    copy: copy.item.copy.clone(),
                    object: copy.item.object.clone(),
                    mode: mode.into(),
                    order: copy.item.order,
                })
            });
            desired.into_iter().chain(owned).chain(doomed)
        });
        copies
            .chain(self.cursor.clone().map(fact::Kind::Heard))
            .chain(self.detached.then_some(fact::Kind::Detached(true)))
            .map(Fact::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(uid: &str) -> CopyId {
        CopyId {
            cluster: "c".into(),
            uid: uid.into(),
        }
    }

    fn desired(uid: &str, hash: &'static [u8]) -> Fact {
        fact::Kind::Desired(Item {
            copy: Some(id(uid)),
            render_hash: Bytes::from_static(hash),
            ..Item::default()
        })
        .into()
    }

    fn doomed(uid: &str) -> Fact {
        fact::Kind::Doomed(Doomed {
            copy: Some(id(uid)),
            ..Doomed::default()
        })
        .into()
    }

    fn state(facts: &[Fact]) -> State {
        let mut state = State::default();
        facts.iter().for_each(|f| state.apply(f));
        state
    }

    #[test]
    fn a_doomed_copy_leaves_the_digest_at_once_and_the_state_when_forgotten() {
        let mut both = state(&[desired("a", b"1"), desired("b", b"2"), doomed("b")]);
        assert_eq!(both.digest(), state(&[desired("a", b"1")]).digest());
        assert!(both.copies.contains_key(&id("b")));
        both.apply(&fact::Kind::Forgotten(id("b")).into());
        assert!(!both.copies.contains_key(&id("b")));
    }

    #[test]
    fn desired_again_undoes_a_tombstone() {
        let again = state(&[desired("a", b"1"), doomed("a"), desired("a", b"2")]);
        assert_eq!(again.copies[&id("a")].removal, None);
    }

    #[test]
    fn its_own_facts_rebuild_a_state() {
        let owned = fact::Kind::Owned(Owned {
            copy: Some(id("a")),
            edge_uid: "u".into(),
            ..Owned::default()
        });
        let heard = fact::Kind::Heard(Cursor {
            store: "s".into(),
            incarnation: "i".into(),
            revision: 7,
        });
        let one = state(&[
            desired("a", b"1"),
            owned.into(),
            desired("b", b"2"),
            doomed("b"),
            doomed("x"),
            heard.into(),
            fact::Kind::Detached(true).into(),
        ]);
        let mut two = state(&one.facts().collect::<Vec<_>>());
        assert_eq!(
            (one.copies, one.cursor),
            (two.copies.clone(), two.cursor.clone())
        );
        assert!(two.detached);
        two.apply(&fact::Kind::Detached(false).into());
        assert!(!two.detached);
    }
}
