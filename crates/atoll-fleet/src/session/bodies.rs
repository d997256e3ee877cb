//! Bodies that an agent asks for: from the body store, given only to a destination that should have them (invariant 9).

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use atoll_placement::bundle::BodyHash;
use atoll_wire::{BODIES_PER_MESSAGE, Bodies, Body, Need};
use bytes::Bytes;

use super::{End, Session};

impl Session {
    /// Bodies, but only those that this destination should have (invariant 9).
    pub(super) async fn give(&mut self, need: Need) -> Result<(), End> {
        let asked: BTreeSet<Bytes> = need.hashes.into_iter().collect();
        let wanted: BTreeSet<BodyHash> = {
            let world = self.shared.world.read();
            let desired = world.desired(self.destination);
            desired.values().map(|copy| copy.content.body).collect()
        };
        let (mut ready, mut unknown): (Vec<Body>, Vec<Bytes>) = (Vec::new(), Vec::new());
        for hash in asked {
            let known = BodyHash::try_from(hash.as_ref())
                .ok()
                .filter(|h| wanted.contains(h));
            match known.and_then(|h| self.shared.body(&h)) {
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
                self.say(Bodies {
                    bodies: std::mem::take(&mut part),
                    unknown: Vec::new(),
                })
                .await?;
            }
        }
        if part.is_empty() && unknown.is_empty() {
            Ok(())
        } else {
            self.say(Bodies {
                bodies: part,
                unknown,
            })
            .await
        }
    }
}
