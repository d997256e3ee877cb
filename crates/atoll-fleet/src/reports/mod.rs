//! Reports on their way into the log: one append per batch, about four a second at most, and only what changed.
//!
//! Hot path. A report is acknowledged when its batch is durable and in the picture, never before. Batches go into a ring of rows, grouped by object and value; now and then the chunks of columns
//! that they changed are written as a whole ("folded") and the ring's slots are free again. Replaying a batch over newer columns changes nothing, so a crash at any point is harmless.
//!
//! What a copy of an object that is not the same everywhere reported is kept as a version, which is true for what was known of its destination then. So each row says up to which revision
//! that was; when it changes, the copies that ceased to be of their version are written, too. A start looks again at destinations that changed after the last such revision.

mod batch;
mod fold;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use atoll_placement::Destinations;
use atoll_placement::place::ObjectIndex;
use atoll_store::{AppendError, Revision, Write};
use atoll_wire::ToAgent;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

pub(crate) use batch::Change;
use batch::News;
pub(crate) use fold::Unfolded;
pub(crate) use values::{StoredValues, ValueHash};

use crate::decide;
use crate::load::ReportPosition;
use crate::model::World;
use crate::rows::{self, FoldedRow, REPORT_SLOTS, ReportRow};
use crate::shared::Shared;

/// The least time between two appends of reports.
const PACE: Duration = Duration::from_millis(250);
/// The most changes in one append.
const MOST_CHANGES: usize = 20_000;
/// How many unfolded batches start a fold.
const FOLD_FROM: u64 = REPORT_SLOTS * 3 / 4;
/// Quiet for so long, and what is left is folded.
const FOLD_WHEN_QUIET: Duration = Duration::from_secs(10);
/// Chunks of columns that are looked at under one lock.
const CHUNKS_PER_FOLD: usize = 60;

/// What one message of an agent said, and what to answer when that is durable.
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    pub(crate) answer: ToAgent,
    pub(crate) to: mpsc::UnboundedSender<ToAgent>,
}

/// Batches that wait, and the room that they take until they are answered.
type Waiting = (Batch, OwnedSemaphorePermit);

/// Where sessions hand reports in.
#[derive(Clone)]
pub(crate) struct Reports {
    inbox: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

impl Reports {
    /// Waits for room: a flood from one edge slows that edge.
    pub(crate) async fn send(&self, batch: Batch) -> Result<(), ()> {
        let changes = batch.changes.len().clamp(1, MOST_CHANGES);
        let room = self.room.clone().acquire_many_owned(changes as u32);
        let room = room.await.map_err(drop)?;
        self.inbox.send((batch, room)).await.map_err(drop)
    }
}

/// A batch that is ready to be durable.
struct Prepared {
    news: BTreeMap<ObjectIndex, News>,
    row: ReportRow,
    /// The values that the row names.
    named: values::Named,
    looks: u64,
    /// What it says of copies that moved.
    moved: BTreeMap<ObjectIndex, Destinations>,
}

/// The task that writes reports.
pub(crate) struct Reporter {
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Waiting>,
    position: ReportPosition,
    last_append: Instant,
}

impl Reporter {
    /// A reporter that goes on where the last one stopped.
    pub(crate) fn new(shared: Arc<Shared>, position: ReportPosition) -> (Self, Reports) {
        let (sender, inbox) = mpsc::channel(1024);
        let last_append = Instant::now()
            .checked_sub(PACE)
            .unwrap_or_else(Instant::now);
        (
            Reporter {
                shared,
                inbox,
                position,
                last_append,
            },
            Reports {
                inbox: sender,
                // One batch being written, and another one on its way.
                room: Arc::new(Semaphore::new(2 * MOST_CHANGES)),
            },
        )
    }

    /// Runs until the sessions are gone or the store stops.
    pub(crate) async fn run(mut self) {
        loop {
            let shared = self.shared.clone();
            let outcome = tokio::select! {
                batch = self.inbox.recv() => match batch {
                    Some(first) => self.write(first).await,
                    None => return,
                },
                () = shared.moved.notified() => {
                    tokio::time::sleep_until(self.last_append + PACE).await;
                    match self.make_room().await {
                        Ok(()) => self.report(&[]).await,
                        error => error,
                    }
                }
                () = tokio::time::sleep(FOLD_WHEN_QUIET) => self.rest().await,
            };
            match outcome {
                Ok(()) => {}
                Err(AppendError::Stopped) => return,
                // The agents were not answered: they report again.
                Err(error) => tracing::error!(%error, "reports could not be written"),
            }
        }
    }

    /// Nothing was reported for a while.
    async fn rest(&mut self) -> Result<(), AppendError> {
        let more = {
            let world = self.shared.world.read();
            let behind = !world.varying.is_empty() && world.told > self.position.known;
            behind || !world.dropped.is_empty()
        };
        if more || self.position.last > self.position.folded {
            self.fold().await?;
        }
        Ok(())
    }

    /// The ring has a free slot afterwards.
    async fn make_room(&mut self) -> Result<(), AppendError> {
        match self.position.last + 1 >= self.position.folded + REPORT_SLOTS {
            true => self.fold().await,
            false => Ok(()),
        }
    }

    async fn write(&mut self, first: Waiting) -> Result<(), AppendError> {
        let mut size = first.0.changes.len();
        let (mut batches, mut rooms) = (vec![first.0], vec![first.1]);
        let due = self.last_append + PACE;
        while size < MOST_CHANGES {
            match tokio::time::timeout_at(due, self.inbox.recv()).await {
                Ok(Some((batch, room))) => {
                    size += batch.changes.len();
                    batches.push(batch);
                    rooms.push(room);
                }
                Ok(None) | Err(_) => break,
            }
        }
        self.make_room().await?;
        self.report(&batches).await?;
        self.show_raw(&mut batches);
        for batch in batches {
            // A session that ended meanwhile needs no answer.
            let _ = batch.to.send(batch.answer);
        }
        drop(rooms);
        if self.position.last >= self.position.folded + FOLD_FROM {
            self.fold().await?;
        }
        Ok(())
    }

    /// Makes what is news durable, and then lets it enter the picture.
    async fn report(&mut self, batches: &[Batch]) -> Result<(), AppendError> {
        let prepared = self.prepare(batches);
        if prepared.row.objects.is_empty() {
            return Ok(());
        }
        self.last_append = Instant::now();
        let (sequence, known) = (prepared.row.sequence, prepared.row.known);
        let revision = match self.append(&prepared).await {
            Ok(revision) => revision,
            Err(error) => {
                self.move_again(prepared.moved);
                return Err(error);
            }
        };
        self.shared
            .figures
            .report_appends
            .fetch_add(1, Ordering::Relaxed);
        self.position.last = sequence;
        self.position.known = Revision(known);
        for (object, destinations) in &prepared.moved {
            self.position.unfolded.note(*object, destinations);
        }
        self.take_over(prepared, batches, revision);
        Ok(())
    }

    async fn append(&mut self, prepared: &Prepared) -> Result<Revision, AppendError> {
        self.write_values(&prepared.named).await?;
        let sequence = prepared.row.sequence;
        let write = Write::Put(rows::report(sequence), rows::encode(&prepared.row));
        let revision = self.shared.append(Vec::new(), vec![write]).await?;
        let hashes = prepared.named.keys().copied().collect();
        self.position.stored.batch(sequence, hashes);
        Ok(revision)
    }

    /// Writes values that have no row yet.
    async fn write_values(&mut self, named: &values::Named) -> Result<(), AppendError> {
        let missing = self.position.stored.missing(named);
        self.shared.append_all(missing).await?;
        for hash in named.keys() {
            self.position.stored.wrote(*hash);
        }
        Ok(())
    }

    fn prepare(&self, batches: &[Batch]) -> Prepared {
        let mut world = self.shared.world.write();
        let moved = std::mem::take(&mut world.moved);
        for (object, destinations) in &moved {
            self.shared.news.reported(&world, *object, destinations);
        }
        let news = batch::news(&world, batches.iter().flat_map(|b| &b.changes));
        // What moved comes first: what is reported now is newer.
        let held = moved.iter().map(|(object, destinations)| {
            let held = batch::held(&world, *object, destinations);
            (*object, held)
        });
        let held: Vec<(ObjectIndex, News)> = held.collect();
        let all = held.iter().map(|(o, n)| (o, n)).chain(&news);
        let mut named = values::Named::new();
        let rows = all.filter_map(|(o, n)| batch::row(&world, *o, n, &mut named));
        let row = ReportRow {
            sequence: self.position.last + 1,
            objects: rows.collect(),
            known: world.applied.0,
        };
        Prepared {
            news,
            row,
            named,
            looks: world.looks,
            moved,
        }
    }

    fn move_again(&self, moved: BTreeMap<ObjectIndex, Destinations>) {
        let mut world = self.shared.world.write();
        for (object, destinations) in moved {
            *world.moved.entry(object).or_default() |= destinations;
        }
    }

    /// Statuses as they came, also where nothing that is kept of them changed.
    fn show_raw(&self, batches: &mut [Batch]) {
        let raw =
            |change: &mut Change| Some((change.object, change.destination, change.raw.take()?));
        let changes = batches.iter_mut().flat_map(|b| &mut b.changes);
        let mut found = changes.filter_map(raw).peekable();
        if found.peek().is_some() {
            let mut world = self.shared.world.write();
            for (object, destination, status) in found {
                if world.objects.contains_key(&object) {
                    world.raw.insert(object, (destination, status));
                }
            }
        }
    }

    /// What is durable enters the picture, and whoever shows it is told.
    fn take_over(&mut self, prepared: Prepared, batches: &[Batch], revision: Revision) {
        let shared = self.shared.clone();
        let world = &mut *shared.world.write();
        let mut news = prepared.news;
        if world.looks != prepared.looks {
            // Some destination changed while the row was written: what it says there is corrected by the next one.
            let current = batch::news(world, batches.iter().flat_map(|b| &b.changes));
            for (object, current) in &current {
                let written = news.get(object);
                for (value, set) in current {
                    let same = written.and_then(|w| w.iter().find(|(v, _)| v == value));
                    let other = same.map_or_else(|| set.clone(), |(_, same)| set - same);
                    if value.is_some() && !other.is_empty() {
                        *world.moved.entry(*object).or_default() |= other;
                    }
                }
            }
            news = current;
        }
        world.applied = world.applied.max(revision);
        // A list may have been answered with a newer revision and without these: for a watch from there they are news.
        let revision = world.applied;
        for (object, news) in news {
            world.report(object, &news);
            let all = news.iter().map(|(_, set)| set);
            let all = all.fold(Destinations::new(), |all, set| all | set);
            self.position.unfolded.note(object, &all);
            if let Some((_, gone)) = news.iter().find(|(value, _)| value.is_none()) {
                self.confirm(world, object, gone);
            }
            world.reported.insert(object, revision);
            if let Some(record) = world.objects.get(&object) {
                for policy in &record.policies {
                    self.shared.policy_status.add(*policy);
                }
            }
            self.shared.touched(object, &all, revision);
            self.shared.news.reported(world, object, &all);
        }
        if !world.collected.is_idle() {
            self.shared.collecting.notify_one();
        }
    }

    /// Copies are gone, as a tombstone asked.
    fn confirm(&mut self, world: &mut World, object: ObjectIndex, gone: &Destinations) {
        self.shared.news.removed(world, gone);
        for destination in &(gone & &world.purging) {
            let destination = atoll_placement::Destination(destination);
            self.shared.lifecycle.add(destination);
        }
        let tombstone = world.tombstones.get(&object);
        let inventory = tombstone.map(|t| t.inventory.clone());
        let copy = world.objects.get(&object).map(|o| o.copy.clone());
        if let (Some(inventory), Some(copy)) = (inventory, copy) {
            let confirmed = &mut self.position.unfolded.confirmed;
            confirmed.insert(object, (copy, inventory));
        }
        decide::forget_settled(world, object);
    }

    /// Writes what changed of columns, and frees the ring up to now.
    async fn fold(&mut self) -> Result<(), AppendError> {
        let sequence = self.position.last;
        let unfolded = std::mem::take(&mut self.position.unfolded);
        let (known, dropped) = {
            let mut world = self.shared.world.write();
            // What moved and is in no row yet makes its destinations be looked at again.
            let known = match world.moved.is_empty() {
                true => world.applied,
                false => self.position.known,
            };
            (known, std::mem::take(&mut world.dropped))
        };
        let folded = self
            .write_columns(&unfolded, &dropped, sequence, known)
            .await;
        match &folded {
            Ok(()) => {
                self.position.folded = sequence;
                self.position.known = known;
            }
            Err(_) => {
                self.position.unfolded.again(unfolded);
                self.shared.world.write().dropped.extend(dropped);
            }
        }
        folded
    }

    async fn write_columns(
        &mut self,
        unfolded: &Unfolded,
        dropped: &[(ObjectIndex, atoll_wire::CopyId)],
        sequence: u64,
        known: Revision,
    ) -> Result<(), AppendError> {
        let chunks: Vec<(ObjectIndex, u16)> = unfolded.columns.iter().copied().collect();
        for part in chunks.chunks(CHUNKS_PER_FOLD) {
            let chunks = fold::columns(&self.shared.world.read(), part);
            self.write_chunks(chunks).await?;
        }
        let writes = fold::tombstones(&self.shared.world.read(), &unfolded.confirmed);
        self.shared.append_all(writes).await?;
        let chunks = fold::dropped(&self.position.stored, dropped);
        self.write_chunks(chunks).await?;
        let row = FoldedRow {
            sequence,
            known: known.0,
        };
        let write = Write::Put(rows::folded(), rows::encode(&row));
        self.shared.append(Vec::new(), vec![write]).await?;
        self.position.stored.folded(sequence);
        let unused = self.position.stored.take_unused();
        let unused = unused.iter().map(|h| Write::Delete(rows::value(h), None));
        // One that stays is found at the next start.
        self.shared.append_all(unused.collect()).await
    }

    async fn write_chunks(&mut self, chunks: fold::Chunks) -> Result<(), AppendError> {
        self.write_values(&chunks.named).await?;
        self.shared.append_all(chunks.writes).await?;
        for (object, chunk, names) in chunks.names {
            self.position.stored.column(object, chunk, names);
        }
        Ok(())
    }
}
