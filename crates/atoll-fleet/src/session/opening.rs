//! Who may speak for whom, and a destination's first word: does the center know its past, and does it have what it should?

use std::collections::BTreeMap;

use atoll_placement::{Destination, Destinations};
use atoll_wire::digest::SetDigest;
use atoll_wire::identity::AgentIdentity;
use atoll_wire::{Hello, List, Refused, RefusedReason, Resumption, Welcome};

use super::logical::{Address, Logical, Mode, Sent};
use super::recall::{Has, recall};
use super::{About, End, Stream, mark_stale, refused};
use crate::model::World;
use crate::shared::Shared;

const HELD: &str = "this center's log does not contain your cursor: it was restored from a backup, or is another center";

/// The most destinations that an agent can ask after.
const MOST_OTHERS: usize = 256;

/// A Hello and who says it.
pub(super) struct FirstWord {
    /// The destination's uid; empty: the stream's own.
    pub(super) destination: String,
    /// The name that a hub gives it.
    pub(super) handle: Option<u32>,
    pub(super) hello: Hello,
}

/// The destination that a certificate names, if it may have a stream. Who was registered this moment is waited for.
pub(super) async fn owner(
    shared: &Shared,
    identity: &AgentIdentity,
) -> Result<Destination, Refused> {
    let look = || admit(&shared.world.read(), identity, &identity.destination);
    if look().is_err() {
        shared.caught_up().await;
    }
    look()
}

/// Whether a destination that a stream carries may go on.
pub(super) fn stays(
    world: &World,
    identity: &AgentIdentity,
    own: Destination,
    destination: Destination,
) -> Result<(), Refused> {
    match world.destinations.get(&destination) {
        Some(state) => admit(world, identity, &state.uid.to_string()).map(|_| ()),
        // Its index is free again: it is gone.
        None if destination == own => admit(world, identity, &identity.destination).map(|_| ()),
        None => Err(unknown()),
    }
}

fn unknown() -> Refused {
    refused(
        RefusedReason::Unknown,
        "this ManagedCluster does not exist (any more); register the edge anew",
        300,
    )
}

/// The destination of this uid, if a stream of this identity may carry it.
fn admit(world: &World, identity: &AgentIdentity, uid: &str) -> Result<Destination, Refused> {
    let index = world.destinations.by_uid(uid).ok_or_else(unknown)?;
    let state = world.destinations.get(&index).ok_or_else(unknown)?;
    if *state.inventory != *identity.inventory {
        return Err(refused(
            RefusedReason::WrongIdentity,
            "this certificate speaks for another inventory",
            0,
        ));
    }
    if uid != identity.destination {
        let hub = world
            .destinations
            .by_uid(&identity.destination)
            .and_then(|h| world.destinations.get(&h));
        if hub.is_none() || state.hub.as_deref() != hub.map(|h| &*h.name) {
            return Err(refused(
                RefusedReason::WrongIdentity,
                format!(
                    "this certificate speaks for another destination, and that is not named as the hub of this ManagedCluster in its annotation {}",
                    atoll_wire::HUB_ANNOTATION
                ),
                60,
            ));
        }
    }
    if !state.accepted {
        return Err(refused(
            RefusedReason::NotAccepted,
            "spec.hubAcceptsClient of the ManagedCluster is not true",
            60,
        ));
    }
    Ok(index)
}

/// An opened destination, on its way to its Welcome.
struct Opened {
    destination: Destination,
    address: Address,
    resumption: Resumption,
    /// The agent is to report everything that it has.
    everything: bool,
    /// The agent has something, and not what it should.
    differs: bool,
    /// Of the destinations that the agent asked after, those that there are not (any more).
    gone: Vec<String>,
}

impl Stream {
    /// Opens the sessions of destinations that said Hello.
    pub(super) async fn open(&mut self, words: Vec<FirstWord>) -> Result<(), End> {
        if words.is_empty() {
            return Ok(());
        }
        let mut admitted = Vec::with_capacity(words.len());
        let mut late = self.admit_all(words, &mut admitted);
        if !late.is_empty() {
            // Some may have been registered this moment.
            self.shared.caught_up().await;
            let words = late.drain(..).map(|(word, _)| word).collect();
            late = self.admit_all(words, &mut admitted);
        }
        for (word, refusal) in late {
            match word.handle {
                Some(handle) => self.say(Address::Handle(handle), refusal).await?,
                None => return Err(End(Some(refusal))),
            }
        }
        if admitted.iter().any(|(_, w)| !w.hello.others.is_empty()) {
            // Who is being registered this moment is not gone.
            self.shared.caught_up().await;
        }
        let set: Destinations = admitted.iter().map(|(d, _)| d.0).collect();
        if set.contains(self.own.0) && self.carried.contains_key(&self.own) {
            return Err(End(Some(refused(
                RefusedReason::Protocol,
                "a second Hello",
                30,
            ))));
        }
        self.shared.sessions.enter(&self.handle, &set);
        let (revision, opened) = self.enter(admitted, &set);
        self.welcome(revision, &opened).await?;
        let differs = |o: &&Opened| o.differs;
        let listing: Vec<Address> = opened.iter().filter(differs).map(|o| o.address).collect();
        if !listing.is_empty() {
            self.say_all(&listing, List {}).await?;
        }
        let live = opened.iter().filter(|o| !o.differs);
        self.owe(live.map(|o| o.destination));
        Ok(())
    }

    /// Adds those that may to `admitted`, and returns the others with the reason.
    fn admit_all(
        &self,
        words: Vec<FirstWord>,
        admitted: &mut Vec<(Destination, FirstWord)>,
    ) -> Vec<(FirstWord, Refused)> {
        let world = self.shared.world.read();
        let mut not = Vec::new();
        for word in words {
            let uid = match word.destination.as_str() {
                "" => &self.identity.destination,
                uid => uid,
            };
            match admit(&world, &self.identity, uid) {
                Ok(destination) if destination == self.own || word.handle.is_some() => {
                    admitted.push((destination, word));
                }
                Ok(_) => not.push((
                    word,
                    refused(
                        RefusedReason::Protocol,
                        "a hub gives each destination a handle with its Hello",
                        0,
                    ),
                )),
                Err(why) => not.push((word, why)),
            }
        }
        not
    }

    /// They are connected; what they have is compared with what they should have.
    fn enter(
        &mut self,
        admitted: Vec<(Destination, FirstWord)>,
        set: &Destinations,
    ) -> (atoll_store::Revision, Vec<Opened>) {
        let held: Vec<(bool, Has, bool)> = {
            let world = self.shared.world.read();
            let has = |(destination, word): &(Destination, FirstWord)| {
                let cursor = word.hello.cursor.as_ref();
                let known = cursor.is_none_or(|c| self.shared.knows(c));
                let digest = SetDigest::from_bytes(&word.hello.digest).unwrap_or_default();
                let (has, current) = recall(&self.shared, &world, *destination, digest, known);
                (known, has, current)
            };
            admitted.iter().map(has).collect()
        };
        let mut world = self.shared.world.write();
        world.connected |= set;
        mark_stale(&self.shared, &world, set);
        let mut opened = Vec::with_capacity(admitted.len());
        for ((destination, word), (known, has, current)) in admitted.into_iter().zip(held) {
            let address = word.handle.map_or(Address::Own, Address::Handle);
            let hello = word.hello;
            let others = hello.others.into_iter().take(MOST_OTHERS);
            let gone = others.filter(|uid| world.destinations.by_uid(uid).is_none());
            let gone = gone.collect();
            let differs = matches!(has, Has::Unknown);
            let empty = matches!(has, Has::Nothing);
            let (mode, sent, personal) = match has {
                Has::All(vector, mark) => (Mode::Live, Sent::All(vector), mark),
                Has::Nothing => (Mode::Live, Sent::Copies(BTreeMap::new()), 0),
                Has::Unknown => (Mode::Listing { known }, Sent::Copies(BTreeMap::new()), 0),
            };
            let mut logical = Logical::new(address, mode, sent);
            logical.personal = personal;
            if let Some(cursor) = hello.cursor.filter(|_| !known) {
                logical.rare().cursor = cursor.to_string();
            }
            self.shared.about(
                destination,
                About {
                    agent_version: hello.agent_version,
                    kubernetes_version: hello.kubernetes_version,
                    claims: hello.claims,
                },
            );
            if let Address::Handle(handle) = address {
                self.by_handle.insert(handle, destination);
            }
            self.carried.insert(destination, logical);
            let doubted = world.doubts(destination);
            opened.push(Opened {
                destination,
                address,
                everything: !known || doubted,
                resumption: if known || current || empty {
                    Resumption::Normal
                } else {
                    Resumption::Held
                },
                differs,
                gone,
            });
        }
        (world.applied, opened)
    }

    async fn welcome(&self, revision: atoll_store::Revision, opened: &[Opened]) -> Result<(), End> {
        let mut alike: BTreeMap<(i32, bool, &[String]), Vec<Address>> = BTreeMap::new();
        for one in opened {
            let key = (one.resumption as i32, one.everything, one.gone.as_slice());
            alike.entry(key).or_default().push(one.address);
        }
        for ((resumption, report_everything, gone), addresses) in alike {
            let held = resumption == Resumption::Held as i32;
            let welcome = Welcome {
                cursor: Some(self.shared.cursor(revision)),
                resumption,
                reason: if held { HELD.to_owned() } else { String::new() },
                report_everything,
                gone: gone.to_vec(),
            };
            self.say_all(&addresses, welcome).await?;
        }
        Ok(())
    }
}
