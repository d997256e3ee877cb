//! The open sessions as the rest of the fleet sees them: who is there, whom to wake, whom to ask.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use atoll_kube::Timestamp;
use atoll_placement::{Destination, Destinations};
use atoll_wire::{CopyId, RawStatus};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::shared::Shared;

/// One open session, as others see it.
pub(crate) struct Handle {
    pub(super) id: u64,
    pub(super) wake: Notify,
    pub(super) superseded: AtomicBool,
    pub(super) last_heard: AtomicI64,
    fetches: mpsc::Sender<(CopyId, oneshot::Sender<RawStatus>)>,
}

/// All open sessions.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<Destination, Arc<Handle>>>,
    next: AtomicU64,
}

impl Sessions {
    pub(crate) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Wakes the sessions of a set: cost follows the smaller of the two.
    pub(crate) fn wake(&self, destinations: &Destinations) {
        let open = self.open.lock();
        if destinations.len() < open.len() as u64 {
            for handle in destinations
                .iter()
                .filter_map(|d| open.get(&Destination(d)))
            {
                handle.wake.notify_one();
            }
        } else {
            for (_, handle) in open.iter().filter(|(d, _)| destinations.contains(d.0)) {
                handle.wake.notify_one();
            }
        }
    }

    pub(crate) fn wake_one(&self, destination: Destination) {
        if let Some(handle) = self.open.lock().get(&destination) {
            handle.wake.notify_one();
        }
    }

    /// When a destination was last heard of in its open session.
    pub(crate) fn last_heard(&self, destination: Destination) -> Option<i64> {
        self.open
            .lock()
            .get(&destination)
            .map(|h| h.last_heard.load(Ordering::Relaxed))
    }

    /// Asks an edge for one copy's status as it is now.
    pub(crate) async fn fetch(&self, destination: Destination, copy: CopyId) -> Option<RawStatus> {
        let (answer, answered) = oneshot::channel();
        let handle = self.open.lock().get(&destination).cloned()?;
        handle.fetches.send((copy, answer)).await.ok()?;
        tokio::time::timeout(std::time::Duration::from_secs(5), answered)
            .await
            .ok()?
            .ok()
    }

    pub(super) fn enter(
        &self,
        destination: Destination,
        fetches: mpsc::Sender<(CopyId, oneshot::Sender<RawStatus>)>,
        now: i64,
    ) -> Arc<Handle> {
        let handle = Arc::new(Handle {
            id: self.next.fetch_add(1, Ordering::Relaxed),
            wake: Notify::new(),
            superseded: false.into(),
            last_heard: now.into(),
            fetches,
        });
        if let Some(older) = self.open.lock().insert(destination, handle.clone()) {
            older.superseded.store(true, Ordering::Relaxed);
            older.wake.notify_one();
        }
        handle
    }

    /// True when this was the destination's session.
    pub(super) fn leave(&self, destination: Destination, id: u64) -> bool {
        let mut open = self.open.lock();
        let mine = open.get(&destination).is_some_and(|h| h.id == id);
        if mine {
            open.remove(&destination);
        }
        mine
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
