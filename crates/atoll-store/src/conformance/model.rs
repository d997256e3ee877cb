//! A store as naively as it can be written, and the comparison of an engine with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{Engine, drain, events_after, key};
use crate::{
    Append, AppendError, At, Check, Event, Key, Prefix, ReadError, Revision, Store, Version, Watch,
    Write,
};

/// One step of a history.
#[derive(Clone, Debug)]
pub enum Op {
    /// Puts (row) and deletes (none) of distinct families in one append. The check, if any, is on the first key:
    /// absent, present, or at the revision it really has.
    Append(Vec<(usize, Option<String>)>, Option<CheckKind>),
    /// Such appends without checks, all in flight at once.
    Together(Vec<Vec<(usize, Option<String>)>>),
    /// Close and open.
    Reopen,
    /// Die and open.
    Crash,
    /// Forget history.
    Forget,
    /// A watcher that has been there from the start reads on.
    Read,
}

/// The check of an [`Op::Append`].
#[derive(Clone, Copy, Debug)]
pub enum CheckKind {
    /// The key must not exist.
    Absent,
    /// The key must exist.
    Exists,
    /// The key must be at the revision the model knows, or at 1 if it has none.
    Current,
}

/// How many keys [`Op`]s range over.
pub const KEYS: usize = 24;

/// The `n`th key: three families, two clusters, four names.
pub fn nth_key(n: usize) -> Key {
    let resource = ["pods", "things", "widgets"][n % 3];
    let cluster = ["root", "other"][n / 3 % 2];
    key(resource, cluster, ["a", "a-b", "b", "c"][n / 6 % 4])
}

#[derive(Debug, Default)]
struct Model {
    /// All versions of each key, deletions as `None`.
    versions: BTreeMap<Key, Vec<(Revision, Option<Version>)>>,
    events: Vec<Told>,
    revisions: Vec<Revision>,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
struct Told {
    revision: Revision,
    key: Key,
    created: Revision,
    current: Option<Bytes>,
    shown: Option<Bytes>,
    previous: Option<Version>,
}

impl From<&Arc<Event>> for Told {
    fn from(event: &Arc<Event>) -> Told {
        Told {
            revision: event.revision,
            key: event.key.clone(),
            created: event.created,
            current: event.current.clone(),
            shown: event.row().cloned(),
            previous: event.previous.clone(),
        }
    }
}

impl Model {
    fn current(&self, key: &Key) -> Option<Version> {
        self.versions.get(key)?.last()?.1.clone()
    }

    fn state(&self, at: Revision) -> BTreeMap<Key, Version> {
        let visible = |versions: &[(Revision, Option<Version>)]| {
            versions
                .iter()
                .rev()
                .find(|(revision, _)| *revision <= at)
                .and_then(|(_, version)| version.clone())
        };
        self.versions
            .iter()
            .filter_map(|(key, versions)| Some((key.clone(), visible(versions)?)))
            .collect()
    }

    fn apply(&mut self, revision: Revision, writes: &[Write]) {
        self.revisions.push(revision);
        for write in writes {
            let previous = self.current(write.key());
            let (version, row) = match write {
                Write::Put(_, row) => {
                    let created = previous
                        .as_ref()
                        .map_or(revision, |version| version.created);
                    (
                        Some(Version {
                            created,
                            modified: revision,
                            row: row.clone(),
                        }),
                        Some(row.clone()),
                    )
                }
                Write::Delete(..) if previous.is_none() => continue,
                Write::Delete(_, _) => (None, None),
            };
            let created = version
                .as_ref()
                .or(previous.as_ref())
                .map_or(revision, |version| version.created);
            let shown = row
                .clone()
                .or(previous.as_ref().map(|version| version.row.clone()));
            self.events.push(Told {
                revision,
                key: write.key().clone(),
                created,
                current: row,
                shown,
                previous,
            });
            self.versions
                .entry(write.key().clone())
                .or_default()
                .push((revision, version));
        }
    }

    fn told_after(&self, prefix: &Prefix, after: Revision) -> Vec<Told> {
        let concerns = |told: &&Told| told.revision > after && told.key.starts_with(prefix);
        let mut told: Vec<Told> = self.events.iter().filter(concerns).cloned().collect();
        told.sort_by_key(|told| told.revision);
        told
    }
}

/// Runs the operations on the engine and the model side by side; panics at the first difference.
pub async fn agrees(engine: &mut dyn Engine, ops: &[Op]) {
    let mut store = engine.open().await;
    let mut model = Model::default();
    let mut floor = Revision::ZERO;
    let mut reader = Reader::new(&*store, store.head());
    for op in ops {
        match op {
            Op::Append(changes, check) => append(&*store, &mut model, changes, *check).await,
            Op::Together(appends) => together(&store, &mut model, appends).await,
            Op::Reopen | Op::Crash => {
                reader.read(&model).await;
                let position = reader.watch.progress();
                drop((store, reader));
                store = if matches!(op, Op::Crash) {
                    engine.crash().await
                } else {
                    engine.open().await
                };
                reader = Reader::new(&*store, position);
            }
            Op::Forget => {
                reader.read(&model).await;
                engine.forget().await;
                floor = model.revisions.last().copied().unwrap_or(floor);
            }
            Op::Read => reader.read(&model).await,
        }
    }
    reader.read(&model).await;
    compare(&*store, &model, floor).await;
}

/// The writes of an append: the first of each family.
fn writes(changes: &[(usize, Option<String>)]) -> Vec<Write> {
    let mut writes: Vec<Write> = Vec::new();
    for (n, row) in changes {
        let key = nth_key(*n);
        if writes
            .iter()
            .all(|write| write.key().family() != key.family())
        {
            writes.push(match row {
                Some(row) => Write::Put(key, Bytes::from(row.clone())),
                None => Write::Delete(key, None),
            });
        }
    }
    writes
}

/// The engine says in which order they happened.
async fn together(
    store: &Arc<dyn Store>,
    model: &mut Model,
    appends: &[Vec<(usize, Option<String>)>],
) {
    let mut running = tokio::task::JoinSet::new();
    for writes in appends.iter().map(|changes| writes(changes)) {
        let store = Arc::clone(store);
        running.spawn(async move {
            let append = Append {
                checks: Vec::new(),
                writes: writes.clone(),
            };
            (store.append(append).await, writes)
        });
    }
    let mut done = BTreeMap::new();
    while let Some(Ok((revision, writes))) = running.join_next().await {
        let revision = revision.unwrap_or_else(|error| panic!("{error}"));
        assert!(
            done.insert(revision, writes).is_none(),
            "two got {revision}"
        );
    }
    assert_eq!(done.len(), appends.len(), "all have answers");
    for (revision, writes) in done {
        model.apply(revision, &writes);
    }
}

async fn append(
    store: &dyn Store,
    model: &mut Model,
    changes: &[(usize, Option<String>)],
    check: Option<CheckKind>,
) {
    let writes = writes(changes);
    let Some(first) = writes.first().map(|write| write.key().clone()) else {
        return;
    };
    let current = model.current(&first).map(|version| version.modified);
    let check = check.map(|kind| match kind {
        CheckKind::Absent => Check::Absent(first),
        CheckKind::Exists => Check::Exists(first),
        CheckKind::Current => Check::At(first, current.unwrap_or(Revision(1))),
    });
    let expected = check.as_ref().is_none_or(|check| check.holds(current));
    let checks = check.into_iter().collect();
    match store
        .append(Append {
            checks,
            writes: writes.clone(),
        })
        .await
    {
        Ok(revision) => {
            assert!(expected, "the check should have failed");
            assert!(
                model.revisions.last().is_none_or(|last| *last < revision),
                "revisions grow"
            );
            model.apply(revision, &writes);
        }
        Err(AppendError::Failed { check, current }) => {
            assert!(!expected, "{check:?} should have held");
            assert_eq!(current, model.current(check.key()));
        }
        Err(error) => panic!("{error}"),
    }
}

/// A watcher that reads now and then.
struct Reader {
    watch: Watch,
    position: Revision,
}

impl Reader {
    fn new(store: &dyn Store, position: Revision) -> Reader {
        let watch = store.watch(Prefix::new(["group", "things", ""]), position);
        Reader {
            watch: watch.unwrap_or_else(|error| panic!("watch after {position}: {error}")),
            position,
        }
    }

    async fn read(&mut self, model: &Model) {
        let told: Vec<Told> = drain(&mut self.watch)
            .await
            .iter()
            .map(Told::from)
            .collect();
        assert_eq!(
            told,
            model.told_after(&Prefix::new(["group", "things", ""]), self.position)
        );
        self.position = self.watch.progress();
    }
}

fn prefixes() -> Vec<Prefix> {
    let deepest = nth_key(1);
    (0..=6).filter_map(|depth| deepest.prefix(depth)).collect()
}

async fn compare(store: &dyn Store, model: &Model, floor: Revision) {
    let head = store.head();
    for revision in model.revisions.iter().copied().chain([head]) {
        if revision < floor {
            assert_eq!(
                store.snapshot(At::Exact(revision)).map(drop),
                Err(ReadError::Compacted { oldest: floor })
            );
            assert_eq!(
                store.watch(Prefix::all(), revision).map(drop),
                Err(ReadError::Compacted { oldest: floor })
            );
            continue;
        }
        let snapshot = store
            .snapshot(At::Exact(revision))
            .unwrap_or_else(|error| panic!("at {revision}: {error}"));
        let expected = model.state(revision);
        for prefix in prefixes() {
            let found: Result<BTreeMap<Key, Version>, ReadError> =
                snapshot.range(&prefix, None).collect();
            let expected: BTreeMap<Key, Version> = expected
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix))
                .map(|(key, version)| (key.clone(), version.clone()))
                .collect();
            assert_eq!(found.as_ref(), Ok(&expected), "{prefix} at {revision}");
            assert_eq!(
                snapshot.count(&prefix),
                Ok(expected.len() as u64),
                "count of {prefix} at {revision}"
            );
        }
        for n in 0..KEYS {
            assert_eq!(
                snapshot.get(&nth_key(n)),
                Ok(expected.get(&nth_key(n)).cloned()),
                "{} at {revision}",
                nth_key(n)
            );
        }
        for prefix in prefixes() {
            let told: Vec<Told> = events_after(store, prefix.clone(), revision)
                .await
                .iter()
                .map(Told::from)
                .collect();
            assert_eq!(
                told,
                model.told_after(&prefix, revision),
                "{prefix} after {revision}"
            );
        }
    }
    compare_indexes(store, &model.state(head));
}

fn compare_indexes(store: &dyn Store, state: &BTreeMap<Key, Version>) {
    let snapshot = store
        .snapshot(At::Latest)
        .unwrap_or_else(|error| panic!("{error}"));
    let mut words: BTreeMap<Vec<u8>, Vec<Key>> = BTreeMap::new();
    for (key, version) in state {
        let mut of_row: Vec<&[u8]> = version
            .row
            .split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty())
            .collect();
        of_row.sort_unstable();
        of_row.dedup();
        for word in of_row {
            words.entry(word.to_vec()).or_default().push(key.clone());
        }
    }
    for (word, keys) in &words {
        let found: Result<Vec<Key>, ReadError> = snapshot.index("words", word, None).collect();
        assert_eq!(found.as_ref(), Ok(keys), "{}", word.escape_ascii());
    }
    for index in ["words", "word-counts"] {
        let counts: Result<Vec<(Vec<u8>, u64)>, ReadError> =
            snapshot.index_values(index, b"").collect();
        let expected: Vec<(Vec<u8>, u64)> = words
            .iter()
            .map(|(word, keys)| (word.clone(), keys.len() as u64))
            .collect();
        assert_eq!(counts, Ok(expected), "{index}");
    }
}
