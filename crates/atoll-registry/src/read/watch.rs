//! Watch: the store's events under a prefix, told as Kubernetes tells them.
//!
//! Hot path. An idle watch is one registration in the store and this struct; no task, no timer wheel entry of its own
//! besides the one of the future that waits, no copy of any object.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use atoll_kube::{Status, definition::Verb};
use atoll_store::{
    At, Event, Key, Prefix, ReadError, Revision, Snapshot, Watch, WatchItem as StoreItem,
};
use bytes::Bytes;
use tokio::{sync::mpsc, time::Instant};

use super::{
    filter::Filter,
    read_error,
    target::{Showing, Target},
    versions::{self, Start},
};
use futures::FutureExt as _;

use crate::{Call, ClusterName, INTERNAL_GROUP, Object, ObjectKey, Registry, Served, WatchOptions};

/// Between two bookmarks, give or take a tenth.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// Objects of the initial state read at a time.
const CHUNK: usize = 256;

/// What happened, as the watcher's selectors see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// It is there, or began to match.
    Added,
    /// It changed and still matches.
    Modified,
    /// It is gone, or ceased to match.
    Deleted,
}

impl EventKind {
    /// The `type` of the event on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One item of a watch.
#[derive(Clone, Debug)]
pub enum WatchItem {
    /// An object changed.
    Event {
        /// How.
        kind: EventKind,
        /// The object to show. A deleted one has the revision of its deletion.
        object: Object,
        /// The store's event, whose memo may keep encodings for other watchers; `None` for the initial objects. The same
        /// event may have another `kind` and other bytes for a watcher with other selectors: both belong in the form.
        event: Option<Arc<Event>>,
    },
    /// Nothing of interest up to this revision.
    Bookmark {
        /// The revision.
        revision: Revision,
        /// It marks the end of the initial objects (`k8s.io/initial-events-end`).
        initial_end: bool,
        /// How the bookmark's object is shown.
        served: Served,
    },
    /// The watch ends, with this Status.
    Error(Status),
}

/// A running watch. Dropping it ends it.
pub struct WatchStream {
    source: Source,
}

enum Source {
    Store(Box<StoreWatch>),
    Channel(mpsc::Receiver<WatchItem>),
    Ended,
}

/// The sending half of a watch of a computed kind.
pub type WatchSender = mpsc::Sender<WatchItem>;

impl WatchStream {
    /// A watch fed by hand: for computed kinds. The sender notices when the watcher has gone.
    pub fn channel(capacity: usize) -> (WatchSender, Self) {
        let (sender, receiver) = mpsc::channel(capacity);
        (
            sender,
            Self {
                source: Source::Channel(receiver),
            },
        )
    }

    /// The next item; `None` after the end. Cancel safe.
    pub async fn next(&mut self) -> Option<WatchItem> {
        let item = match &mut self.source {
            Source::Store(watch) => watch.next().await,
            Source::Channel(receiver) => receiver.recv().await,
            Source::Ended => None,
        };
        if !matches!(
            item,
            Some(WatchItem::Event { .. } | WatchItem::Bookmark { .. })
        ) {
            self.source = Source::Ended;
        }
        item
    }
}

struct StoreWatch {
    registry: Registry,
    watch: Watch,
    filter: Filter,
    showing: Showing,
    /// Of a custom resource of one cluster: the changes of that cluster's surface.
    surface: Option<(ClusterName, Watch)>,
    initial: Option<Initial>,
    bookmarks: Option<Instant>,
    after: Revision,
}

/// The objects of the state a watch begins with, read a chunk at a time.
struct Initial {
    snapshot: Arc<dyn Snapshot>,
    prefixes: VecDeque<Prefix>,
    last: Option<Key>,
    ready: VecDeque<Object>,
    bookmark: bool,
}

pub(crate) async fn watch(
    registry: &Registry,
    call: &Call,
    options: &WatchOptions,
) -> Result<WatchStream, Status> {
    if let Some(computed) = registry.computed(&call.resource) {
        return computed.watch(registry, call, options).await;
    }
    let store = &registry.inner.store;
    let start = versions::for_watch(options)?;
    let (snapshot, after) = match start {
        Start::State { wanted, .. } => {
            let snapshot = versions::snapshot(store, wanted).await?;
            let revision = snapshot.revision();
            (snapshot, revision)
        }
        Start::After(revision) => {
            versions::wait_for(store.as_ref(), revision).await?;
            (store.snapshot(At::Latest).map_err(read_error)?, revision)
        }
        Start::Now => {
            let now = store.barrier().await;
            (store.snapshot(At::Latest).map_err(read_error)?, now)
        }
    };
    let target = Target::resolve(registry, snapshot.as_ref(), call, Verb::Watch)?;
    let filter = Filter::new(&target, call, &options.labels, &options.fields)?;
    let watch = match store.watch(filter.prefix(&target), after) {
        Ok(watch) => watch,
        Err(error) => return Ok(ended(error, after)),
    };
    let surface = match &target.place {
        Some(place) if !target.id.identity.is_empty() => {
            let revision = snapshot.revision();
            match store.watch(surface_prefix(&place.cluster), revision) {
                Ok(watch) => Some((place.cluster.clone(), watch)),
                Err(error) => return Ok(ended(error, revision)),
            }
        }
        _ => None,
    };
    let initial = match start {
        Start::State { bookmark, .. } => Some(Initial {
            prefixes: filter.prefixes(&target).into(),
            snapshot,
            last: None,
            ready: VecDeque::new(),
            bookmark,
        }),
        Start::After(_) | Start::Now => None,
    };
    let bookmarks = options.bookmarks.then(next_bookmark);
    let watch = StoreWatch {
        registry: registry.clone(),
        watch,
        filter,
        showing: Showing::new(&target),
        surface,
        initial,
        bookmarks,
        after,
    };
    Ok(WatchStream {
        source: Source::Store(Box::new(watch)),
    })
}

/// Too old a start is told as the first and only event, as Kubernetes does.
fn ended(error: ReadError, after: Revision) -> WatchStream {
    let (sender, stream) = WatchStream::channel(1);
    // The channel is empty and open: there is room.
    let _ = sender.try_send(WatchItem::Error(lost(error, after)));
    stream
}

fn lost(error: ReadError, after: Revision) -> Status {
    match error {
        ReadError::Compacted { oldest } => Status::expired_watch(after.0, oldest.0),
        other => read_error(other),
    }
}

fn next_bookmark() -> Instant {
    let spread = BOOKMARK_EVERY / 10;
    Instant::now() + BOOKMARK_EVERY - spread + rand::random_range(Duration::ZERO..2 * spread)
}

fn surface_prefix(cluster: &ClusterName) -> Prefix {
    Prefix::new([INTERNAL_GROUP, "surfaces", "", cluster.as_str()])
}

/// The next change of the surface; never, where none is looked at.
async fn changed(surface: &mut Option<(ClusterName, Watch)>) -> StoreItem {
    match surface {
        Some((_, watch)) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// When it is time for a bookmark; never, when none was asked for.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl StoreWatch {
    async fn next(&mut self) -> Option<WatchItem> {
        if let Some(item) = self.next_initial() {
            return Some(item.unwrap_or_else(WatchItem::Error));
        }
        loop {
            let item = tokio::select! {
                biased;
                item = self.watch.next() => item,
                // Events before the change were queued before it: they have been told.
                item = changed(&mut self.surface) => {
                    match self.renew(&item) {
                        Ok(true) => continue,
                        Ok(false) => return None,
                        Err(status) => return Some(WatchItem::Error(status)),
                    }
                }
                () = due(self.bookmarks) => {
                    self.bookmarks = Some(next_bookmark());
                    let revision = self.watch.progress().max(self.after);
                    let served = self.showing.served.clone();
                    return Some(WatchItem::Bookmark { revision, initial_end: false, served });
                }
            };
            match item {
                StoreItem::Event(event) => {
                    // A change of columns in between is one that this event is to be shown with.
                    if let Some(item) = changed(&mut self.surface).now_or_never() {
                        match self.renew(&item) {
                            Ok(_) => {}
                            Err(status) => return Some(WatchItem::Error(status)),
                        }
                    }
                    match self.tell(event) {
                        Ok(Some(item)) => return Some(item),
                        Ok(None) => {}
                        Err(status) => return Some(WatchItem::Error(status)),
                    }
                }
                StoreItem::Progress(_) => {}
                StoreItem::Lost(error) => {
                    return Some(WatchItem::Error(lost(error, self.watch.progress())));
                }
            }
        }
    }

    /// After a change of the cluster's surface: shows objects as they are defined now; false when the resource is no
    /// longer served, which ends the watch, as Kubernetes ends it.
    fn renew(&mut self, item: &StoreItem) -> Result<bool, Status> {
        let Some((cluster, watch)) = &mut self.surface else {
            return Ok(true);
        };
        if let StoreItem::Lost(error) = item {
            tracing::debug!(%cluster, %error, "a watch missed changes of definitions; looked at them anew");
            *watch = self
                .registry
                .inner
                .store
                .watch(surface_prefix(cluster), self.registry.inner.store.head())
                .map_err(read_error)?;
        }
        let snapshot = self
            .registry
            .inner
            .store
            .snapshot(At::Latest)
            .map_err(read_error)?;
        let renewed = self
            .showing
            .renew(&self.registry, snapshot.as_ref(), cluster)?;
        Ok(renewed.is_some())
    }

    /// The next of the initial objects, then the bookmark behind them, then nothing ever again.
    fn next_initial(&mut self) -> Option<Result<WatchItem, Status>> {
        let initial = self.initial.as_mut()?;
        match initial.next(&self.registry, &self.filter, &mut self.showing) {
            Err(status) => Some(Err(status)),
            Ok(Some(object)) => Some(Ok(WatchItem::Event {
                kind: EventKind::Added,
                object,
                event: None,
            })),
            Ok(None) => {
                let (bookmark, revision) = (initial.bookmark, initial.snapshot.revision());
                self.initial = None;
                let served = self.showing.served.clone();
                self.showing.forget();
                bookmark.then_some(Ok(WatchItem::Bookmark {
                    revision,
                    initial_end: true,
                    served,
                }))
            }
        }
    }

    /// An event as this watcher's selectors see it.
    fn tell(&mut self, event: Arc<Event>) -> Result<Option<WatchItem>, Status> {
        let Some(key) = ObjectKey::parse(&event.key) else {
            return Ok(None);
        };
        if !self.filter.matches_key(&key) {
            return Ok(None);
        }
        let matches = |row: &Bytes| self.filter.matches(&key, row);
        let now = match &event.current {
            Some(row) => matches(row)?,
            None => false,
        };
        let before = match &event.previous {
            // Without selectors what matches now matched before.
            Some(_) if !self.filter.selects() => true,
            Some(version) => matches(&version.row)?,
            None => false,
        };
        let (kind, row) = match (before, now) {
            (false, false) => return Ok(None),
            (false, true) => (EventKind::Added, event.current.as_ref()),
            (true, true) => (EventKind::Modified, event.current.as_ref()),
            (true, false) => {
                let previous = event.previous.as_ref().map(|v| &v.row);
                (
                    EventKind::Deleted,
                    if event.is_delete() {
                        event.last.as_ref().or(previous)
                    } else {
                        previous
                    },
                )
            }
        };
        let Some(row) = row.cloned() else {
            return Ok(None);
        };
        let served = self.showing.now(&self.registry, key.cluster)?;
        let object = Object {
            key: event.key.clone(),
            revision: event.revision,
            row,
            served,
        };
        Ok(Some(WatchItem::Event {
            kind,
            object: crate::convert::shown(object)?,
            event: Some(event),
        }))
    }
}

impl Initial {
    fn next(
        &mut self,
        registry: &Registry,
        filter: &Filter,
        showing: &mut Showing,
    ) -> Result<Option<Object>, Status> {
        loop {
            if let Some(object) = self.ready.pop_front() {
                return crate::convert::shown(object).map(Some);
            }
            let Some(prefix) = self.prefixes.front() else {
                return Ok(None);
            };
            let mut read = 0;
            let from = self.last.take();
            for item in self.snapshot.range(prefix, from.as_ref()).take(CHUNK) {
                let (key, version) = item.map_err(read_error)?;
                read += 1;
                if let Some(parts) = ObjectKey::parse(&key)
                    && filter.matches(&parts, &version.row)?
                {
                    let served = showing.of(registry, self.snapshot.as_ref(), parts.cluster)?;
                    self.ready.push_back(Object {
                        key: key.clone(),
                        revision: version.modified,
                        row: version.row,
                        served,
                    });
                }
                self.last = Some(key);
            }
            if read < CHUNK {
                self.prefixes.pop_front();
                self.last = None;
            }
        }
    }
}
