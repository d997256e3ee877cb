//! Reports on their way into the log: one append per batch, about four a second at most, and only what changed.
//!
//! Hot path. A report is acknowledged when its batch is durable and in the picture, never before. Batches go into a ring of rows; now and then the columns they changed are
//! written as a whole ("folded") and the ring's slots are free again. Replaying a batch over newer columns changes nothing, so a crash at any point is harmless.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use atoll_placement::columns::Reported;
use atoll_placement::place::ObjectIndex;
use atoll_placement::{Destination, Destinations};
use atoll_store::{AppendError, Revision, Write};
use atoll_wire::{CopyId, ToAgent};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::decide;
use crate::load::{ReportPosition, apply_change};
use crate::model::{Tombstone, World};
use crate::rows::{self, ChangeRow, ColumnRow, FoldedRow, REPORT_SLOTS, ReportRow, ValueRow};
use crate::shared::Shared;

/// The least time between two appends of reports.
const PACE: Duration = Duration::from_millis(250);
/// The most changes in one append.
const MOST_CHANGES: usize = 20_000;
/// How many unfolded batches start a fold.
const FOLD_FROM: u64 = REPORT_SLOTS / 4;
/// Quiet for so long, and what is left is folded.
const FOLD_WHEN_QUIET: Duration = Duration::from_secs(10);
/// Columns (and their tombstones) in one append of a fold.
const OBJECTS_PER_FOLD: usize = 30;

/// One copy's news.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) destination: Destination,
    pub(crate) object: ObjectIndex,
    pub(crate) copy: CopyId,
    /// `None`: the copy is gone.
    pub(crate) value: Option<Reported>,
    /// The status as it came, for an object that shows it. It is shown when what is kept of it is durable, never before.
    pub(crate) raw: Option<Bytes>,
}

/// What one message of an agent said, and what to answer when that is durable.
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    pub(crate) answer: ToAgent,
    pub(crate) to: mpsc::UnboundedSender<ToAgent>,
}

/// Where sessions hand reports in.
#[derive(Clone)]
pub(crate) struct Reports(mpsc::Sender<Batch>);

impl Reports {
    /// Waits for room: a flood from one edge slows that edge.
    pub(crate) async fn send(&self, batch: Batch) -> Result<(), ()> {
        self.0.send(batch).await.map_err(|_| ())
    }
}

/// The task that writes reports.
pub(crate) struct Reporter {
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Batch>,
    position: ReportPosition,
    /// Objects whose columns are newer than their rows.
    touched: BTreeSet<ObjectIndex>,
    /// Copies of touched objects that are forgotten meanwhile: their rows go.
    forgotten: HashMap<ObjectIndex, (CopyId, Option<Arc<str>>)>,
    last_append: Instant,
}

impl Reporter {
    /// A reporter that goes on where the last one stopped.
    pub(crate) fn new(shared: Arc<Shared>, position: ReportPosition) -> (Self, Reports) {
        let (sender, inbox) = mpsc::channel(1024);
        let touched = if position.last > position.folded {
            shared.world.read().columns.keys().copied().collect()
        } else {
            BTreeSet::new()
        };
        let last_append = Instant::now()
            .checked_sub(PACE)
            .unwrap_or_else(Instant::now);
        (
            Reporter {
                shared,
                inbox,
                position,
                touched,
                forgotten: HashMap::new(),
                last_append,
            },
            Reports(sender),
        )
    }

    /// Runs until the sessions are gone or the store stops.
    pub(crate) async fn run(mut self) {
        loop {
            let first = match tokio::time::timeout(FOLD_WHEN_QUIET, self.inbox.recv()).await {
                Ok(Some(batch)) => Some(batch),
                Ok(None) => return,
                Err(_) => None,
            };
            let outcome = match first {
                Some(first) => self.write(first).await,
                None if self.position.last > self.position.folded => self.fold().await,
                None => Ok(()),
            };
            match outcome {
                Ok(()) => {}
                Err(AppendError::Stopped) => return,
                // The agents were not answered: they report again.
                Err(error) => tracing::error!(%error, "reports could not be written"),
            }
        }
    }

    async fn write(&mut self, first: Batch) -> Result<(), AppendError> {
        let mut size = first.changes.len();
        let mut batches = vec![first];
        let due = self.last_append + PACE;
        while size < MOST_CHANGES {
            match tokio::time::timeout_at(due, self.inbox.recv()).await {
                Ok(Some(batch)) => {
                    size += batch.changes.len();
                    batches.push(batch);
                }
                Ok(None) | Err(_) => break,
            }
        }
        if self.position.last + 1 >= self.position.folded + REPORT_SLOTS {
            self.fold().await?;
        }
        let changes = self.news(&batches);
        let revision = if changes.is_empty() {
            Revision(0)
        } else {
            self.append(&changes).await?
        };
        self.show_raw(&mut batches);
        self.take_over(changes, revision);
        for batch in batches {
            // A session that ended meanwhile needs no answer.
            let _ = batch.to.send(batch.answer);
        }
        if self.position.last >= self.position.folded + FOLD_FROM {
            self.fold().await?;
        }
        Ok(())
    }

    /// The last word on each copy, where it differs from the picture.
    fn news(&self, batches: &[Batch]) -> Vec<Change> {
        let world = self.shared.world.read();
        let mut last: HashMap<(ObjectIndex, Destination), &Change> = HashMap::new();
        for change in batches.iter().flat_map(|b| &b.changes) {
            last.insert((change.object, change.destination), change);
        }
        let mut news: Vec<Change> = last
            .into_values()
            .filter(|change| is_news(&world, change))
            .cloned()
            .collect();
        news.sort_by_key(|c| (c.object, c.destination));
        news
    }

    async fn append(&mut self, changes: &[Change]) -> Result<Revision, AppendError> {
        let sequence = self.position.last + 1;
        let row = ReportRow {
            sequence,
            changes: changes
                .iter()
                .map(|c| ChangeRow {
                    destination: c.destination.0,
                    cluster: c.copy.cluster.clone(),
                    uid: c.copy.uid.clone(),
                    value: c.value.as_ref().map(ValueRow::of),
                })
                .collect(),
        };
        self.last_append = Instant::now();
        let revision = self
            .shared
            .append(
                Vec::new(),
                vec![Write::Put(rows::report(sequence), rows::encode(&row))],
            )
            .await?;
        self.shared
            .figures
            .report_appends
            .fetch_add(1, Ordering::Relaxed);
        self.position.last = sequence;
        Ok(revision)
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
    fn take_over(&mut self, changes: Vec<Change>, revision: Revision) {
        if changes.is_empty() {
            return;
        }
        let mut touched: HashMap<ObjectIndex, Destinations> = HashMap::new();
        let mut world = self.shared.world.write();
        for change in changes {
            let gone = change.value.is_none();
            apply_change(&mut world, change.object, change.destination, change.value);
            touched
                .entry(change.object)
                .or_default()
                .insert(change.destination.0);
            self.touched.insert(change.object);
            if gone
                && world
                    .destinations
                    .get(&change.destination)
                    .is_some_and(|d| d.purge)
            {
                self.shared.lifecycle.add(change.destination);
            }
            if gone {
                let inventory = world
                    .tombstones
                    .get(&change.object)
                    .map(|t| t.inventory.clone());
                decide::forget_settled(&mut world, change.object);
                if !world.objects.contains_key(&change.object)
                    || !world.tombstones.contains_key(&change.object)
                {
                    self.forgotten
                        .insert(change.object, (change.copy, inventory));
                }
            }
        }
        world.applied = world.applied.max(revision);
        // A list may have been answered with a newer revision and without these: for a watch from there they are news.
        let revision = world.applied;
        for (object, destinations) in touched {
            world.reported.insert(object, revision);
            if let Some(record) = world.objects.get(&object) {
                for policy in &record.policies {
                    self.shared.policy_status.add(*policy);
                }
            }
            self.shared.touched(object, &destinations, revision);
        }
    }

    /// Writes whole columns, and frees the ring up to now.
    async fn fold(&mut self) -> Result<(), AppendError> {
        let sequence = self.position.last;
        let objects: Vec<ObjectIndex> = std::mem::take(&mut self.touched).into_iter().collect();
        let forgotten = std::mem::take(&mut self.forgotten);
        for part in objects.chunks(OBJECTS_PER_FOLD) {
            let writes: Vec<Write> = {
                let world = self.shared.world.read();
                part.iter()
                    .flat_map(|object| fold_writes(&world, *object, &forgotten))
                    .collect()
            };
            if !writes.is_empty()
                && let Err(error) = self.shared.append(Vec::new(), writes).await
            {
                self.touched.extend(objects);
                self.forgotten.extend(forgotten);
                return Err(error);
            }
        }
        let row = FoldedRow { sequence };
        self.shared
            .append(
                Vec::new(),
                vec![Write::Put(rows::folded(), rows::encode(&row))],
            )
            .await?;
        self.position.folded = sequence;
        Ok(())
    }
}

fn is_news(world: &World, change: &Change) -> bool {
    let held = world
        .columns
        .get(&change.object)
        .and_then(|c| c.get(change.destination))
        .and_then(|id| world.values.get(id));
    match &change.value {
        Some(value) => held.map(|v| v.as_ref()) != Some(value),
        None => {
            let tombstone = world.tombstones.get(&change.object);
            let waiting = tombstone.is_some_and(|t| t.concerns(change.destination));
            held.is_some() || waiting
        }
    }
}

fn fold_writes(
    world: &World,
    object: ObjectIndex,
    forgotten: &HashMap<ObjectIndex, (CopyId, Option<Arc<str>>)>,
) -> Vec<Write> {
    let mut writes = Vec::new();
    if let Some((copy, inventory)) = forgotten.get(&object)
        && !world.tombstones.contains_key(&object)
        && let Some(inventory) = inventory
    {
        writes.push(Write::Delete(
            rows::tombstone(inventory, &copy.cluster, &copy.uid),
            None,
        ));
    }
    match (world.objects.get(&object), world.columns.get(&object)) {
        (Some(record), Some(column)) if !column.is_empty() => {
            let values = column
                .sets()
                .into_iter()
                .filter_map(|(id, set)| {
                    let value = world.values.get(id)?;
                    Some(ValueRow {
                        destinations: rows::set_to_bytes(&set),
                        ..ValueRow::of(value)
                    })
                })
                .collect();
            let key = rows::column(&record.copy.cluster, &record.copy.uid);
            writes.push(Write::Put(key, rows::encode(&ColumnRow { values })));
        }
        (Some(record), _) => writes.push(Write::Delete(
            rows::column(&record.copy.cluster, &record.copy.uid),
            None,
        )),
        (None, _) => {
            if let Some((copy, _)) = forgotten.get(&object) {
                writes.push(Write::Delete(rows::column(&copy.cluster, &copy.uid), None));
            }
        }
    }
    let tombstone: Option<&Tombstone> = world.tombstones.get(&object);
    writes.extend(tombstone.and_then(|t| decide::tombstone_write(world, t)));
    writes
}
