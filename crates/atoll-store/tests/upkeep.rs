//! What happens behind the requests: indexes are rebuilt, history is forgotten, files shrink, backups restore.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use atoll_store::backup::{self, BackupError};
use atoll_store::conformance::{delete, events_after, key, put};
use atoll_store::embedded::{self, EmbeddedStore, Options};
use atoll_store::{At, IndexSpec, Keep, Key, Prefix, ReadError, Revision, Store};

fn name(n: usize) -> Key {
    key("things", "root", &format!("n{n:04}"))
}

fn rows(store: &EmbeddedStore) -> Vec<String> {
    let snapshot = store.snapshot(At::Latest).unwrap();
    snapshot
        .range(&Prefix::all(), None)
        .map(|row| String::from_utf8_lossy(&row.unwrap().1.row).into_owned())
        .collect()
}

/// Waits for what the store's own threads bring about in their time.
fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < until, "not within a minute: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn first_byte(_: &Key, row: &[u8], emit: &mut dyn FnMut(&[u8])) {
    row.first().into_iter().for_each(|byte| emit(&[*byte]));
}

fn last_byte(_: &Key, row: &[u8], emit: &mut dyn FnMut(&[u8])) {
    row.last().into_iter().for_each(|byte| emit(&[*byte]));
}

fn open(directory: &Path, indexes: &[IndexSpec]) -> Arc<EmbeddedStore> {
    let mut options = Options::new(directory);
    options.indexes = indexes.to_vec();
    options.memtable_bytes = 16 << 10;
    embedded::open(options).unwrap()
}

fn values(store: &EmbeddedStore, index: &str) -> Result<Vec<(String, u64)>, ReadError> {
    let snapshot = store.snapshot(At::Latest).unwrap();
    let values = snapshot.index_values(index, b"");
    values
        .map(|value| value.map(|(value, count)| (String::from_utf8(value).unwrap(), count)))
        .collect()
}

#[tokio::test]
async fn indexes_are_rebuilt_when_they_are_new_or_changed() {
    let directory = tempfile::tempdir().unwrap();
    let spec = |version, keep, extract| IndexSpec {
        name: "byte",
        version,
        keep,
        extract,
    };
    let store = open(directory.path(), &[]);
    for n in 0..300 {
        store
            .append(put(&name(n), if n % 3 == 0 { "a-z" } else { "b-y" }))
            .await
            .unwrap();
    }
    store.append(delete(&name(0))).await.unwrap();
    assert!(values(&store, "byte").is_err());
    drop(store);
    let expect = |pairs: &[(&str, u64)]| {
        Ok(pairs
            .iter()
            .map(|(value, count)| ((*value).to_owned(), *count))
            .collect::<Vec<_>>())
    };
    for (version, keep, extract, expected) in [
        (
            1,
            Keep::Keys,
            first_byte as fn(&Key, &[u8], &mut dyn FnMut(&[u8])),
            [("a", 99), ("b", 200)],
        ),
        (2, Keep::Keys, last_byte, [("y", 200), ("z", 99)]),
        (2, Keep::Counts, last_byte, [("y", 200), ("z", 99)]),
        (3, Keep::Counts, first_byte, [("a", 99), ("b", 200)]),
        (4, Keep::Keys, first_byte, [("a", 99), ("b", 200)]),
    ] {
        // Twice: the second time it is there already.
        for _ in 0..2 {
            let store = open(directory.path(), &[spec(version, keep, extract)]);
            assert_eq!(
                values(&store, "byte"),
                expect(&expected),
                "version {version}"
            );
        }
    }
    let store = open(directory.path(), &[spec(4, Keep::Keys, first_byte)]);
    store.append(put(&name(1), "a")).await.unwrap();
    assert_eq!(values(&store, "byte"), expect(&[("a", 100), ("b", 199)]));
    let snapshot = store.snapshot(At::Latest).unwrap();
    assert_eq!(snapshot.index("byte", b"a", None).count(), 100);
    assert_eq!(
        snapshot.count(&Prefix::new(["group", "things", "", "root"])),
        Ok(299)
    );
}

#[tokio::test]
async fn history_is_forgotten_by_time_and_files_shrink() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path());
    options.retention = Duration::ZERO;
    options.segment_bytes = 64 << 10;
    options.memtable_bytes = 64 << 10;
    let store = embedded::open(options).unwrap();
    let held = store.snapshot(At::Latest).unwrap();
    let padding = uuid_text(2000);
    for n in 0..400 {
        store
            .append(put(&name(n % 10), &format!("{n} {padding}")))
            .await
            .unwrap();
    }
    let last = store.append(put(&name(0), "last")).await.unwrap();
    eventually("history is forgotten", || store.stats().oldest == last);
    assert!(
        matches!(store.snapshot(At::Exact(last.previous())), Err(ReadError::Compacted { oldest }) if oldest == last)
    );
    assert_eq!(held.get(&name(1)), Ok(None), "who reads goes on reading");
    assert!(store.stats().log_bytes > 800 << 10, "and holds the log");
    drop(held);
    store.compact().unwrap();
    eventually("old segments go", || store.stats().log_bytes < 128 << 10);
    assert!(
        store.stats().replica_bytes < 64 << 10,
        "{:?}",
        store.stats()
    );
    // A quiet store does not forget its last state, however long ago it was.
    assert_eq!(store.stats().oldest, last);
    assert_eq!(events_after(&*store, Prefix::all(), last).await.len(), 0);
    assert_eq!(rows(&store).len(), 10);
}

/// Text that does not compress.
fn uuid_text(bytes: usize) -> String {
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(&uuid::Uuid::new_v4().to_string());
    }
    text
}

#[tokio::test]
async fn history_is_forgotten_by_size() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path());
    options.segment_bytes = 16 << 10;
    options.memtable_bytes = 16 << 10;
    options.history_bytes = 100 << 10;
    let store = embedded::open(options).unwrap();
    let padding = uuid_text(2000);
    for n in 0..300 {
        store.append(put(&name(n), &padding)).await.unwrap();
    }
    eventually("the log is within its budget", || {
        store.stats().log_bytes < 140 << 10
    });
    let stats = store.stats();
    assert!(
        stats.oldest > Revision::ZERO && stats.oldest < stats.head,
        "{stats:?}"
    );
    assert!(
        events_after(&*store, Prefix::all(), stats.oldest)
            .await
            .len()
            > 20
    );
    drop(store);
    assert_eq!(rows(&open(directory.path(), &[])).len(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_busy_store_restores_as_a_new_life() {
    let (directory, backups, targets) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let store = open(directory.path(), &[]);
    let busy = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for n in 0.. {
                if store
                    .append(put(&name(n % 500), &format!("{n}")))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        })
    };
    for round in 0..5 {
        let before = store
            .append(put(&key("others", "root", "mark"), &format!("{round}")))
            .await
            .unwrap();
        let backup = backups.path().join(format!("{round}"));
        let summary = {
            let (from, to) = (directory.path().to_owned(), backup.clone());
            tokio::task::spawn_blocking(move || backup::backup(&from, &to))
                .await
                .unwrap()
                .unwrap()
        };
        assert!(summary.files >= 2 && summary.bytes > 0);
        let after = store
            .append(put(&key("others", "root", "mark"), "later"))
            .await
            .unwrap();

        let target = targets.path().join(format!("{round}"));
        let restored = backup::restore(&backup, &target).unwrap();
        assert!(restored.backup_head >= before && restored.backup_head < after);
        assert!(
            restored.begins.0 >= after.0 + (1 << 31),
            "revisions never repeat"
        );
        let copy = open(&target, &[]);
        assert_eq!(copy.identity().store, store.identity().store);
        assert!(copy.head() > restored.begins);
        let mark = copy
            .snapshot(At::Latest)
            .unwrap()
            .get(&key("others", "root", "mark"))
            .unwrap()
            .unwrap();
        assert_eq!(
            (mark.modified, &mark.row[..]),
            (before, round.to_string().as_bytes())
        );
        // A cursor from the lost time is refused, and its life does not contain it.
        for lost in [after, Revision(after.0 + 1000)] {
            assert!(matches!(
                copy.watch(Prefix::all(), lost),
                Err(ReadError::Compacted { .. })
            ));
            let span = copy
                .incarnation_span(&store.identity().incarnation)
                .unwrap();
            assert!(span.contains(before) && span.ended == Some(restored.begins));
        }
        let head = copy.head();
        copy.append(put(&name(1), "goes on")).await.unwrap();
        assert_eq!(events_after(&*copy, Prefix::all(), head).await.len(), 1);
        drop(copy);
        drop(open(&target, &[]));
    }
    store.close();
    busy.await.unwrap();
    drop(store);
    // Of a stopped store too.
    let summary = backup::backup(directory.path(), &backups.path().join("stopped")).unwrap();
    assert!(summary.files >= 3);
    let left: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 3, "nothing is left behind: {left:?}");
}

#[tokio::test]
async fn a_backup_says_what_is_wrong_with_it() {
    let (directory, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path(), &[]);
    store.append(put(&name(1), "row")).await.unwrap();
    let backup = other.path().join("backup");
    backup::backup(directory.path(), &backup).unwrap();
    let error = |result: Result<_, BackupError>| result.map(|_: ()| ()).unwrap_err().to_string();
    assert!(error(backup::backup(directory.path(), &backup).map(drop)).contains("is not empty"));
    assert!(
        error(backup::backup(other.path(), &other.path().join("new")).map(drop))
            .contains("holds no store")
    );
    assert!(error(backup::restore(&backup, directory.path()).map(drop)).contains("is not empty"));
    let segment = std::fs::read_dir(backup.join("log"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    assert!(
        error(backup::restore(&backup, &other.path().join("a")).map(drop))
            .contains("is not as it was written")
    );
    std::fs::remove_file(segment).unwrap();
    assert!(
        error(backup::restore(&backup, &other.path().join("b")).map(drop)).contains("cannot open")
    );
}
