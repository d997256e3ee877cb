//! Bodies that an agent asks for: from the body store, given only to a destination that should have them (invariant 9).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use atoll_placement::Destination;
use atoll_placement::bundle::BodyHash;
use atoll_wire::{BODIES_PER_MESSAGE, Bodies, Body, Need};
use bytes::Bytes;

use super::logical::Address;
use super::{End, Stream};

impl Stream {
    /// Bodies, but only those that one of these destinations should have: a hub asks once for all that share one.
    pub(super) async fn give(&mut self, about: &[Destination], need: Need) -> Result<(), End> {
        let addresses: Vec<Address> = about
            .iter()
            .filter_map(|d| Some(self.carried.get(d)?.address))
            .collect();
        let asked: BTreeSet<Bytes> = need.hashes.into_iter().collect();
        let mut own: BTreeMap<BodyHash, Bytes> = BTreeMap::new();
        let wanted: BTreeSet<BodyHash> = {
            let world = self.shared.world.read();
            let mut bodies = BTreeSet::new();
            for destination in about {
                let vector = self.shared.vectors.of(&world, *destination);
                let wanted = self.shared.vectors.wanted(&world, &vector);
                for copy in wanted.copies.values() {
                    // What varies came with its item; who asks all the same lost it.
                    match world.rendered_at(*destination, copy) {
                        None => drop(bodies.insert(copy.content.body)),
                        Some(Ok(rendered)) => {
                            own.insert(rendered.body_hash, rendered.body.into());
                        }
                        Some(Err(_)) => {}
                    }
                }
            }
            bodies
        };
        let (mut ready, mut unknown): (Vec<Body>, Vec<Bytes>) = (Vec::new(), Vec::new());
        for hash in asked {
            let named = BodyHash::try_from(hash.as_ref()).ok();
            let known = named.filter(|h| wanted.contains(h));
            let own = named.and_then(|h| own.remove(&h));
            match own.or_else(|| self.shared.body(&known?)) {
                Some(bytes) => ready.push(Body { hash, bytes }),
                None => unknown.push(hash),
            }
        }
        self.shared
            .figures
            .bodies_sent
            .fetch_add(ready.len() as u64, Ordering::Relaxed);
        let (mut part, mut size) = (Vec::new(), 0);
        for body in ready {
            size += body.bytes.len();
            part.push(body);
            if size >= BODIES_PER_MESSAGE {
                size = 0;
                let bodies = Bodies {
                    bodies: std::mem::take(&mut part),
                    unknown: Vec::new(),
                };
                self.say_all(&addresses, bodies).await?;
            }
        }
        if part.is_empty() && unknown.is_empty() {
            return Ok(());
        }
        let bodies = Bodies {
            bodies: part,
            unknown,
        };
        self.say_all(&addresses, bodies).await
    }
}
