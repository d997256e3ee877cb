//! What a destination should have and was not sent: the heart of a session, without any sending.

use atoll_placement::place::ObjectIndex;
use atoll_wire::{Item, RemovalMode, Tombstone};
use bytes::Bytes;

use super::{Mode, Session};
use crate::model::{DesiredCopy, World};

impl Session {
    pub(super) fn difference(&mut self) -> (Vec<Tombstone>, Vec<Item>, atoll_wire::Cursor) {
        let world = self.shared.world.read();
        let desired = world.desired(self.destination);
        let mut items = Vec::new();
        for (index, copy) in &desired {
            self.tombstoned.remove(index);
            let sent = self.sent.get(index);
            let may = self.mode == Mode::Live || sent.is_none() || self.introduced.contains(index);
            let news = may && sent != Some(&copy.render);
            if !news {
                continue;
            }
            if let Some(item) = item(&world, *index, copy) {
                items.push(item);
                if self.mode == Mode::Held {
                    self.introduced.insert(*index);
                }
                self.sent.insert(*index, copy.render);
            }
        }
        items.sort_by(|a, b| (a.order, &a.object).cmp(&(b.order, &b.object)));
        let mut tombstones = Vec::new();
        if self.mode == Mode::Live {
            for (index, tombstone) in &world.tombstones {
                let orphan = tombstone.orphan.contains(self.destination.0);
                if !(orphan || tombstone.remove.contains(self.destination.0))
                    || desired.contains_key(index)
                    || !self.tombstoned.insert(*index)
                {
                    continue;
                }
                self.sent.remove(index);
                let Some(object) = world.objects.get(index) else {
                    continue;
                };
                tombstones.push(Tombstone {
                    copy: Some(object.copy.clone()),
                    object: Some(object.reference.clone()),
                    mode: if orphan {
                        RemovalMode::Orphan
                    } else {
                        RemovalMode::Remove
                    } as i32,
                    order: u32::from(object.order.0),
                    cursor: None,
                });
            }
        }
        tombstones.sort_by(|a, b| (b.order, &b.object).cmp(&(a.order, &a.object)));
        (tombstones, items, self.shared.cursor(world.applied))
    }
}

fn item(world: &World, index: ObjectIndex, copy: &DesiredCopy) -> Option<Item> {
    let object = world.objects.get(&index)?;
    let content = &copy.content;
    Some(Item {
        copy: Some(object.copy.clone()),
        object: Some(object.reference.clone()),
        order: u32::from(object.order.0),
        render_hash: Bytes::copy_from_slice(&copy.render),
        body_hash: Bytes::copy_from_slice(&content.body),
        body_size: content.size,
        create_only: copy.flags.create_only,
        adopt: copy.flags.adopt,
        replace: content.replace,
        implicit: copy.flags.implicit,
        edge_owned: content.edge_owned.clone(),
        initial_only: content.initial_only.clone(),
        body: Bytes::new(),
    })
}
