//! The open streams as the rest of the fleet sees them: who is there, whom to wake, whom to ask.
//!
//! A destination is reached through one stream at a time: the newest. Waking is a bit in its stream's set, and one bell per stream.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use atoll_kube::Timestamp;
use atoll_placement::{Destination, Destinations};
use atoll_wire::{CopyId, RawStatus};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::shared::Shared;

/// Asks for one copy's status as it is now.
pub(crate) struct Fetch {
    pub(super) destination: Destination,
    pub(super) copy: CopyId,
    pub(super) answer: oneshot::Sender<RawStatus>,
}

/// One open stream, as others see it.
pub(crate) struct Handle {
    id: u64,
    pub(super) wake: Notify,
    pub(super) last_heard: AtomicI64,
    news: Mutex<News>,
    fetches: mpsc::Sender<Fetch>,
}

/// What a stream is told.
#[derive(Default)]
pub(super) struct News {
    /// Whom something concerns.
    pub(super) dirty: Destinations,
    /// Whom a newer stream has taken over.
    pub(super) taken: Destinations,
}

impl Handle {
    pub(super) fn take_news(&self) -> News {
        std::mem::take(&mut self.news.lock())
    }
}

/// All open streams, and through which each destination is reached.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<Open>,
    next: AtomicU64,
}

#[derive(Default)]
struct Open {
    streams: HashMap<u64, Stream>,
    routes: HashMap<Destination, u64>,
}

struct Stream {
    handle: Arc<Handle>,
    members: Destinations,
}

impl Sessions {
    /// How many destinations are reached.
    pub(crate) fn len(&self) -> usize {
        self.open.lock().routes.len()
    }

    /// Tells the sessions of a set that something concerns them: cost follows the smaller of the set and the streams.
    pub(crate) fn wake(&self, destinations: &Destinations) {
        let open = self.open.lock();
        if destinations.len() < open.streams.len() as u64 {
            for destination in destinations.iter().map(Destination) {
                if let Some(stream) = open.stream_of(destination) {
                    stream.handle.news.lock().dirty.insert(destination.0);
                    stream.handle.wake.notify_one();
                }
            }
        } else {
            for stream in open.streams.values() {
                let concerned = &stream.members & destinations;
                if !concerned.is_empty() {
                    stream.handle.news.lock().dirty |= concerned;
                    stream.handle.wake.notify_one();
                }
            }
        }
    }

    pub(crate) fn wake_one(&self, destination: Destination) {
        self.wake(&[destination.0].into_iter().collect());
    }

    /// When a destination was last heard of in its open session.
    pub(crate) fn last_heard(&self, destination: Destination) -> Option<i64> {
        let open = self.open.lock();
        let stream = open.stream_of(destination)?;
        Some(stream.handle.last_heard.load(Ordering::Relaxed))
    }

    /// Asks an edge for one copy's status as it is now.
    pub(crate) async fn fetch(&self, destination: Destination, copy: CopyId) -> Option<RawStatus> {
        let (answer, answered) = oneshot::channel();
        let handle = self.open.lock().stream_of(destination)?.handle.clone();
        let fetch = Fetch {
            destination,
            copy,
            answer,
        };
        handle.fetches.send(fetch).await.ok()?;
        tokio::time::timeout(std::time::Duration::from_secs(5), answered)
            .await
            .ok()?
            .ok()
    }

    /// A stream begins; it reaches nobody yet.
    pub(super) fn begin(&self, fetches: mpsc::Sender<Fetch>, now: i64) -> Arc<Handle> {
        let handle = Arc::new(Handle {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            wake: Notify::new(),
            last_heard: now.into(),
            news: Mutex::default(),
            fetches,
        });
        let stream = Stream {
            handle: handle.clone(),
            members: Destinations::new(),
        };
        self.open.lock().streams.insert(handle.id, stream);
        handle
    }

    /// From now on these are reached through this stream; the streams that did are told.
    pub(super) fn enter(&self, handle: &Handle, destinations: &Destinations) {
        let mut open = self.open.lock();
        for destination in destinations.iter().map(Destination) {
            let older = open.routes.insert(destination, handle.id);
            let Some(older) = older.filter(|id| *id != handle.id) else {
                continue;
            };
            if let Some(stream) = open.streams.get_mut(&older) {
                stream.members.remove(destination.0);
                stream.handle.news.lock().taken.insert(destination.0);
                stream.handle.wake.notify_one();
            }
        }
        if let Some(stream) = open.streams.get_mut(&handle.id) {
            stream.members |= destinations;
        }
    }

    /// These are not reached through this stream any more. Returns those that are not reached at all now.
    pub(super) fn leave(&self, handle: &Handle, destinations: &Destinations) -> Destinations {
        let mut open = self.open.lock();
        let mut left = Destinations::new();
        for destination in destinations.iter().map(Destination) {
            if open.routes.get(&destination) == Some(&handle.id) {
                open.routes.remove(&destination);
                left.insert(destination.0);
            }
        }
        if let Some(stream) = open.streams.get_mut(&handle.id) {
            stream.members -= destinations;
        }
        left
    }

    /// A stream ended. Returns whom nobody reaches now.
    pub(super) fn end(&self, handle: &Handle) -> Destinations {
        let members = {
            let open = self.open.lock();
            open.streams.get(&handle.id).map(|s| s.members.clone())
        };
        let left = self.leave(handle, &members.unwrap_or_default());
        self.open.lock().streams.remove(&handle.id);
        left
    }
}

impl Open {
    fn stream_of(&self, destination: Destination) -> Option<&Stream> {
        self.streams.get(self.routes.get(&destination)?)
    }
}

/// What an agent said about itself, kept while it is connected.
#[derive(Debug, Clone, Default)]
pub(crate) struct About {
    pub(crate) agent_version: String,
    pub(crate) kubernetes_version: String,
    pub(crate) claims: BTreeMap<String, String>,
}

impl Shared {
    /// When a destination was last heard of.
    pub(crate) fn last_seen(&self, destination: Destination) -> Option<Timestamp> {
        let heard = self.sessions.last_heard(destination);
        let at = heard.or_else(|| {
            self.world
                .read()
                .destinations
                .get(&destination)
                .map(|d| d.last_seen)
        })?;
        (at > 0).then_some(Timestamp(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(of: &[u32]) -> Destinations {
        of.iter().copied().collect()
    }

    #[test]
    fn the_newest_stream_reaches_a_destination_and_the_older_is_told() {
        let sessions = Sessions::default();
        let stream = || sessions.begin(mpsc::channel(1).0, 1);
        let (old, new) = (stream(), stream());
        sessions.enter(&old, &set(&[1, 2, 3]));
        sessions.enter(&new, &set(&[3, 4]));
        assert_eq!(old.take_news().taken, set(&[3]));
        assert_eq!(sessions.len(), 4);
        for woken in [set(&[3]), set(&[1, 2, 3, 4, 5, 6])] {
            sessions.wake(&woken);
            assert_eq!(old.take_news().dirty, &woken & &set(&[1, 2]));
            assert_eq!(new.take_news().dirty, &woken & &set(&[3, 4]));
        }
        assert_eq!(
            sessions.leave(&old, &set(&[3])),
            set(&[]),
            "it is not the old one's any more"
        );
        assert_eq!(sessions.end(&old), set(&[1, 2]));
        assert_eq!(sessions.end(&new), set(&[3, 4]));
        assert_eq!(sessions.len(), 0);
    }
}
