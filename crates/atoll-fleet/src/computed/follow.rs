//! Watching a view: what changed since a revision, then what changes, by one small task that ends with its watcher.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use atoll_kube::Status;
use atoll_registry::{EventKind, WatchItem, WatchOptions, WatchSender, WatchStream};
use atoll_store::Revision;

use super::{Filter, Item, Place, Shelf};

/// Between two bookmarks.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Events waiting for a slow watcher before its task waits.
const OUTBOX: usize = 64;

struct Follower {
    shelf: Shelf,
    filter: Filter,
    sender: WatchSender,
    position: u64,
    /// What the watcher has, or may have from an earlier list.
    known: HashMap<Item, Place>,
    /// The newest revision told.
    told: Revision,
    bookmarks: bool,
}

/// Nobody listens any more, or the watch had to end.
struct Ended;

pub(super) fn watch(
    shelf: Shelf,
    filter: Filter,
    options: &WatchOptions,
) -> Result<WatchStream, Status> {
    let from = match options.resource_version.as_deref() {
        None | Some("" | "0") => None,
        Some(text) => Some(Revision(text.parse().map_err(|_| {
            Status::bad_request(format!("invalid resource version: {text:?}"))
        })?)),
    };
    let (sender, stream) = WatchStream::channel(OUTBOX);
    let initial = options.send_initial_events == Some(true) || from.is_none();
    let (position, known, objects, applied) = {
        let world = shelf.shared.world.read();
        // The position is taken with the picture locked: what changes later is behind it.
        let position = match from {
            Some(revision) if !initial => shelf.shared.feed.position_after(revision),
            _ => Ok(shelf.shared.feed.position()),
        };
        let mut known = HashMap::new();
        let mut objects = Vec::new();
        for item in shelf.view.items(&world) {
            let Some(place) = shelf.view.place(&world, item).filter(|p| filter.place(p)) else {
                continue;
            };
            if let Some(object) = shelf.object(&world, item, &filter) {
                known.insert(item, place);
                if initial {
                    objects.push(object);
                }
            }
        }
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        (position, known, objects, world.applied)
    };
    let position = match position {
        Ok(position) => position,
        Err(forgotten) => {
            let status = Status::expired_watch(from.unwrap_or_default().0, forgotten.oldest.0);
            // The channel is new: there is room.
            let _ = sender.try_send(WatchItem::Error(status));
            return Ok(stream);
        }
    };
    let follower = Follower {
        shelf,
        filter,
        sender,
        position,
        known,
        told: from.unwrap_or(applied),
        bookmarks: options.bookmarks,
    };
    let end_mark = options.send_initial_events == Some(true);
    tokio::spawn(async move {
        let _ = follower
            .run(objects, end_mark.then_some(applied), !initial)
            .await;
    });
    Ok(stream)
}

impl Follower {
    async fn run(
        mut self,
        initial: Vec<atoll_registry::Object>,
        end_mark: Option<Revision>,
        mut replaying: bool,
    ) -> Result<(), Ended> {
        for object in initial {
            self.tell(EventKind::Added, object).await?;
        }
        if let Some(revision) = end_mark {
            self.bookmark(revision, true).await?;
        }
        let mut bell = self.shelf.shared.feed.bell();
        let mut due = tokio::time::Instant::now() + BOOKMARK_EVERY;
        loop {
            bell.mark_unchanged();
            self.catch_up(replaying).await?;
            replaying = false;
            tokio::select! {
                rung = bell.changed() => rung.map_err(|_| Ended)?,
                () = self.sender.closed() => return Err(Ended),
                () = tokio::time::sleep_until(due) => {
                    due = tokio::time::Instant::now() + BOOKMARK_EVERY;
                    if self.bookmarks {
                        // Everything that is in the picture and in the feed was told: nothing is waiting.
                        let revision = self.shelf.shared.world.read().applied;
                        self.catch_up(false).await?;
                        self.bookmark(revision, false).await?;
                    }
                }
            }
        }
    }

    /// Tells what changed since the position, each item once.
    async fn catch_up(&mut self, replaying: bool) -> Result<(), Ended> {
        let events = match self.events(replaying) {
            Ok(events) => events,
            Err(status) => {
                let _ = self.sender.send(WatchItem::Error(status)).await;
                return Err(Ended);
            }
        };
        for (kind, object) in events {
            self.tell(kind, object).await?;
        }
        Ok(())
    }

    fn events(
        &mut self,
        replaying: bool,
    ) -> Result<Vec<(EventKind, atoll_registry::Object)>, Status> {
        let shelf = &self.shelf;
        let world = shelf.shared.world.read();
        let (changes, next) = shelf
            .shared
            .feed
            .since(self.position)
            .map_err(|f| Status::expired_watch(self.told.0, f.oldest.0))?;
        self.position = next;
        let mut touched: BTreeMap<Item, Revision> = BTreeMap::new();
        for (revision, change) in changes {
            for item in shelf.view.concerned(&world, &change) {
                let newest = touched.entry(item).or_default();
                *newest = revision.max(*newest);
            }
        }
        let mut touched: Vec<(Revision, Item)> = touched
            .into_iter()
            .map(|(item, revision)| (revision, item))
            .collect();
        touched.sort_unstable();
        let mut events = Vec::new();
        for (revision, item) in touched {
            let revision = revision.max(self.told);
            match (
                shelf.object(&world, item, &self.filter),
                self.known.contains_key(&item),
            ) {
                (Some(mut object), known) => {
                    object.revision = revision;
                    if let Some(place) = shelf.view.place(&world, item) {
                        self.known.insert(item, place);
                    }
                    events.push((
                        if known {
                            EventKind::Modified
                        } else {
                            EventKind::Added
                        },
                        object,
                    ));
                }
                (None, true) => {
                    if let Some(place) = self.known.remove(&item) {
                        events.push((EventKind::Deleted, shelf.ghost(&place, revision)));
                    }
                }
                // It may have been there at the revision that the client knows.
                (None, false) if replaying => match shelf.view.place(&world, item) {
                    Some(place) if self.filter.place(&place) => {
                        events.push((EventKind::Deleted, shelf.ghost(&place, revision)))
                    }
                    Some(_) => {}
                    None => return Err(Status::expired_watch(self.told.0, revision.0)),
                },
                (None, false) => {}
            }
            self.told = revision;
        }
        Ok(events)
    }

    async fn tell(&self, kind: EventKind, object: atoll_registry::Object) -> Result<(), Ended> {
        self.sender
            .send(WatchItem::Event {
                kind,
                object,
                event: None,
            })
            .await
            .map_err(|_| Ended)
    }

    async fn bookmark(&self, revision: Revision, initial_end: bool) -> Result<(), Ended> {
        let served = self.shelf.served.clone();
        self.sender
            .send(WatchItem::Bookmark {
                revision,
                initial_end,
                served,
            })
            .await
            .map_err(|_| Ended)
    }
}
