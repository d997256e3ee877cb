//! What was born at the edge and is to come up: told as it changes, each version once.
//!
//! Nothing of it is recorded: with each connection the center says what it asks for, everything is looked at again, and the center compares.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use atoll_wire::{Born, BornObject, Gather, ObjectRef};
use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

use super::Agent;
use crate::edge::born::{self, BornSight};

/// Changes are gathered for so long: an object that changes all the time is told no oftener.
const GATHER: Duration = Duration::from_millis(500);
/// Bytes of one message, about.
const MESSAGE_BYTES: usize = 512 << 10;

/// Which object.
type Identity = (String, String, String, String);

fn identity(object: &ObjectRef) -> Identity {
    let ObjectRef {
        group,
        resource,
        namespace,
        name,
        ..
    } = object.clone();
    (group, resource, namespace, name)
}

/// What the center asks for, and what was told of it.
pub(super) struct Gathering {
    asked: Gather,
    sights: mpsc::Receiver<BornSight>,
    lookout: JoinHandle<()>,
    /// What is there, by what was last seen of it.
    there: BTreeMap<Identity, (ObjectRef, u64)>,
    /// Left out: there are too many, or they are too large.
    beyond: BTreeSet<Identity>,
    due: BTreeMap<Identity, BornObject>,
    flush_at: Option<Instant>,
    /// The kinds that there are, and those whose objects were all told.
    kinds: Option<BTreeSet<String>>,
    listed: BTreeSet<String>,
    complete: bool,
}

impl Drop for Gathering {
    fn drop(&mut self) {
        self.lookout.abort();
    }
}

impl Gathering {
    /// When something is to be told.
    pub(super) fn flush_at(this: &Option<Gathering>) -> Option<Instant> {
        this.as_ref().and_then(|gathering| gathering.flush_at)
    }

    /// What is seen next; never, when nothing is asked for.
    pub(super) async fn next(this: &mut Option<Gathering>) -> Option<BornSight> {
        match this {
            Some(gathering) => gathering.sights.recv().await,
            None => std::future::pending().await,
        }
    }

    fn see(&mut self, sight: BornSight) {
        match sight {
            BornSight::Kinds(kinds) => self.kinds = Some(kinds),
            BornSight::Seen(object) => self.seen(object),
            BornSight::Gone(object) => self.gone(&identity(&object)),
            BornSight::Listed(key, objects) => {
                let now: BTreeSet<Identity> = objects.iter().map(identity).collect();
                let all = self.there.iter();
                let of_kind = all.filter(|(_, (object, _))| born::key(object) == key);
                let lost: Vec<Identity> = of_kind
                    .map(|(identity, _)| identity.clone())
                    .filter(|identity| !now.contains(identity))
                    .collect();
                lost.iter().for_each(|identity| self.gone(identity));
                self.listed.insert(key);
            }
        }
        let first = !self.complete && self.is_complete();
        if first || !self.due.is_empty() {
            self.flush_at.get_or_insert_with(|| Instant::now() + GATHER);
        }
    }

    fn is_complete(&self) -> bool {
        let kinds = self.kinds.as_ref();
        kinds.is_some_and(|kinds| kinds.is_subset(&self.listed))
    }

    fn seen(&mut self, object: BornObject) {
        let Some(reference) = object.object.clone() else {
            return;
        };
        if !self.asked.clauses.iter().any(|c| c.has(&reference)) {
            return;
        }
        let identity = identity(&reference);
        let known = self.there.get(&identity);
        let room = known.is_some() || self.there.len() < self.asked.most as usize;
        if !room || object.body.len() > self.asked.most_bytes as usize {
            self.gone(&identity);
            self.beyond.insert(identity);
            return;
        }
        let mut hasher = DefaultHasher::new();
        (&object.uid, &object.body).hash(&mut hasher);
        let hash = hasher.finish();
        if known.is_some_and(|(_, before)| *before == hash) {
            return;
        }
        self.beyond.remove(&identity);
        self.there.insert(identity.clone(), (reference, hash));
        self.due.insert(identity, object);
    }

    fn gone(&mut self, identity: &Identity) {
        self.beyond.remove(identity);
        if let Some((object, _)) = self.there.remove(identity) {
            let gone = BornObject {
                object: Some(object),
                uid: String::new(),
                body: Bytes::new(),
            };
            self.due.insert(identity.clone(), gone);
        }
    }

    /// The messages that are due.
    fn messages(&mut self) -> Vec<Born> {
        self.flush_at = None;
        let mut messages = Vec::new();
        let (mut part, mut bytes) = (Born::default(), 0);
        for object in std::mem::take(&mut self.due).into_values() {
            bytes += object.body.len() + 200;
            part.objects.push(object);
            if bytes > MESSAGE_BYTES {
                messages.push(std::mem::take(&mut part));
                bytes = 0;
            }
        }
        if self.is_complete() && !self.complete {
            self.complete = true;
            part.complete = true;
            part.present = self.there.values().map(|(o, _)| o.clone()).collect();
        }
        part.beyond = u32::try_from(self.beyond.len()).unwrap_or(u32::MAX);
        if part.complete || !part.objects.is_empty() {
            messages.push(part);
        }
        messages
    }
}

impl Agent {
    /// The center asks for what was born here.
    pub(super) fn gather(&mut self, asked: Gather) {
        self.gathering = None;
        if asked.clauses.is_empty() {
            return;
        }
        let (tell, sights) = mpsc::channel(64);
        let lookout = born::look_out(self.edge.clone(), asked.clauses.clone(), tell);
        self.gathering = Some(Gathering {
            asked,
            sights,
            lookout: tokio::spawn(lookout),
            there: BTreeMap::new(),
            beyond: BTreeSet::new(),
            due: BTreeMap::new(),
            flush_at: None,
            kinds: None,
            listed: BTreeSet::new(),
            complete: false,
        });
    }

    /// Takes in what was seen.
    pub(super) fn see_born(&mut self, sight: BornSight) {
        if let Some(gathering) = &mut self.gathering {
            gathering.see(sight);
        }
    }

    /// Tells what is due.
    pub(super) async fn flush_born(&mut self) {
        let messages = self.gathering.as_mut().map(Gathering::messages);
        for message in messages.unwrap_or_default() {
            self.say(message).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use atoll_wire::GatherClause;

    fn object(name: &str, body: &str) -> BornObject {
        BornObject {
            object: Some(ObjectRef {
                resource: "reports".into(),
                name: name.into(),
                ..ObjectRef::default()
            }),
            uid: "u".into(),
            body: body.to_owned().into(),
        }
    }

    fn gathering(most: u32) -> Gathering {
        let clause = GatherClause {
            any_group: true,
            resources: vec!["reports".into()],
            ..GatherClause::default()
        };
        let (_, sights) = mpsc::channel(1);
        Gathering {
            asked: Gather {
                clauses: vec![clause],
                most,
                most_bytes: 10,
            },
            sights,
            lookout: tokio::spawn(async {}),
            there: BTreeMap::new(),
            beyond: BTreeSet::new(),
            due: BTreeMap::new(),
            flush_at: None,
            kinds: None,
            listed: BTreeSet::new(),
            complete: false,
        }
    }

    #[tokio::test]
    async fn each_version_is_told_once_and_all_is_said_when_all_was_seen() {
        let mut g = gathering(2);
        g.see(BornSight::Seen(object("a", "1")));
        g.see(BornSight::Seen(object("a", "2")));
        let told = g.messages();
        assert_eq!(told.len(), 1);
        assert_eq!((told[0].objects.len(), told[0].complete), (1, false));
        assert_eq!(told[0].objects[0].body, "2");
        g.see(BornSight::Seen(object("a", "2")));
        assert!(g.messages().is_empty(), "nothing new");

        // One too many, and one too large.
        g.see(BornSight::Seen(object("b", "1")));
        g.see(BornSight::Seen(object("c", "1")));
        g.see(BornSight::Seen(object("b", "much too large")));
        let keys: BTreeSet<String> = ["/reports".to_owned()].into();
        g.see(BornSight::Kinds(keys));
        let refs = ["a", "b", "c"].map(|n| object(n, "").object.unwrap());
        g.see(BornSight::Listed("/reports".into(), refs.to_vec()));
        let told = g.messages().pop().unwrap();
        assert!(told.complete);
        assert_eq!((told.present.len(), told.beyond), (1, 2));
        g.see(BornSight::Gone(object("a", "").object.unwrap()));
        let told = g.messages().pop().unwrap();
        assert!(told.objects[0].body.is_empty() && !told.complete);
    }
}
