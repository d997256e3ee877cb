//! Bodies that an agent asks for: rendered once per distinct content, given only to a destination that should have it (invariant 9).

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use atoll_store::At;
use atoll_wire::{BODIES_PER_MESSAGE, Bodies, Body, Need};
use bytes::Bytes;

use super::{End, Session};
use crate::source;

impl Session {
    /// Bodies, but only those that this destination should have (invariant 9).
    pub(super) async fn give(&mut self, need: Need) -> Result<(), End> {
        let snapshot = self
            .shared
            .store
            .snapshot(At::Latest)
            .map_err(|_| End(None))?;
        let (mut ready, mut unknown): (Vec<Body>, Vec<Bytes>) = (Vec::new(), Vec::new());
        {
            let asked: BTreeSet<Bytes> = need.hashes.into_iter().collect();
            let mut found: HashMap<Bytes, (atoll_store::Key, bool, bool)> = HashMap::new();
            let world = self.shared.world.read();
            for (index, copy) in world.desired(self.destination) {
                let Some(object) = world.objects.get(&index) else {
                    continue;
                };
                let Some(rendered) = &object.form(copy.flags).rendered else {
                    continue;
                };
                let hash = Bytes::copy_from_slice(&rendered.body_hash);
                if asked.contains(&hash) {
                    let r = &object.reference;
                    let scaled =
                        world.is_scaled(&object.copy.cluster, &r.namespace, &r.kind, &r.name);
                    let bare = copy.flags.implicit && object.bare.rendered.is_some();
                    found.insert(hash, (object.key.clone(), bare, scaled));
                }
            }
            drop(world);
            for hash in asked {
                let body = found.get(&hash).and_then(|(key, bare, scaled)| {
                    self.body(snapshot.as_ref(), &hash, key, *bare, *scaled)
                });
                match body {
                    Some(bytes) => ready.push(Body { hash, bytes }),
                    None => unknown.push(hash),
                }
            }
        }
        drop(snapshot);
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

    fn body(
        &self,
        snapshot: &dyn atoll_store::Snapshot,
        hash: &Bytes,
        key: &atoll_store::Key,
        bare: bool,
        scaled: bool,
    ) -> Option<Bytes> {
        let wanted: [u8; 32] = hash.as_ref().try_into().ok()?;
        if let Some(body) = self.shared.bodies.get(&wanted) {
            return Some(body);
        }
        let rendered = match source::body(&self.shared.registry, snapshot, key, bare, scaled) {
            Ok(rendered) => rendered?,
            Err(error) => {
                tracing::error!(%key, %error, "a body could not be read");
                return None;
            }
        };
        // The object changed since the item was sent: the next item names the new body.
        let body: Bytes = (rendered.body_hash == wanted).then(|| rendered.body.into())?;
        self.shared.bodies.put(wanted, body.clone());
        Some(body)
    }
}
