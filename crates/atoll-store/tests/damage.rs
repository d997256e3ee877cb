//! Torn ends are cut, damage is refused with a reason, and a disk that fails stops the store before it lies.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use atoll_store::conformance::{events_after, key, put};
use atoll_store::embedded::{self, EmbeddedStore, Faults, OpenError, Options};
use atoll_store::{AppendError, At, Prefix, Revision, Store, WatchItem};
use common::copy_tree;

/// A store's files as kill -9 leaves them, and where each append's frame begins in the newest segment.
struct Corpse {
    directory: tempfile::TempDir,
    segment: PathBuf,
    /// Offsets at which the frames end, with the revision each holds.
    ends: Vec<(u64, Revision)>,
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    found
}

fn name(n: usize) -> atoll_store::Key {
    key("things", "root", &format!("n{n}"))
}

async fn corpse(appends: usize, tune: fn(&mut Options)) -> Corpse {
    let living = tempfile::tempdir().unwrap();
    let mut options = Options::new(living.path());
    tune(&mut options);
    let store = embedded::open(options).unwrap();
    let mut ends = Vec::new();
    for n in 0..appends {
        let revision = store
            .append(put(&name(n), &format!("row {n}")))
            .await
            .unwrap();
        let segment = segments(living.path()).pop().unwrap();
        ends.push((std::fs::metadata(segment).unwrap().len(), revision));
    }
    let directory = tempfile::tempdir().unwrap();
    copy_tree(living.path(), directory.path());
    drop(store);
    let segment = segments(directory.path()).pop().unwrap();
    Corpse {
        directory,
        segment,
        ends,
    }
}

impl Corpse {
    /// A copy with its newest segment changed.
    fn changed(&self, change: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
        self.changed_file(&self.segment, change)
    }

    fn changed_file(&self, file: &Path, change: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_tree(self.directory.path(), copy.path());
        let path = copy
            .path()
            .join(file.strip_prefix(self.directory.path()).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        change(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        copy
    }
}

fn open(directory: &Path) -> Result<Arc<EmbeddedStore>, OpenError> {
    embedded::open(Options::new(directory))
}

fn rows(store: &EmbeddedStore) -> usize {
    store
        .snapshot(At::Latest)
        .unwrap()
        .range(&Prefix::all(), None)
        .map(Result::unwrap)
        .count()
}

#[tokio::test]
async fn a_log_cut_at_any_byte_of_its_end_keeps_all_whole_frames() {
    let corpse = corpse(5, |_| {}).await;
    let (from, to) = (corpse.ends[2].0, corpse.ends[4].0);
    for len in from..=to {
        let copy = corpse.changed(|bytes| bytes.truncate(len as usize));
        let whole = corpse.ends.iter().filter(|(end, _)| *end <= len).count();
        let store = open(copy.path()).unwrap_or_else(|error| panic!("cut at {len}: {error}"));
        assert_eq!(rows(&store), whole, "cut at {len}");
        // What was cut is not in the way of what comes.
        let last = corpse.ends[whole - 1].1;
        let next = store.append(put(&name(100), "after")).await.unwrap();
        assert!(next > last);
        drop(store);
        let store = open(copy.path()).unwrap();
        let events = events_after(&*store, Prefix::all(), last).await;
        assert_eq!(
            events
                .iter()
                .map(|event| event.revision)
                .collect::<Vec<_>>(),
            [next],
            "cut at {len}"
        );
    }
}

#[tokio::test]
async fn a_scrambled_last_frame_is_cut() {
    let corpse = corpse(4, |_| {}).await;
    let (from, to) = (corpse.ends[2].0, corpse.ends[3].0);
    for at in from..to {
        let copy = corpse.changed(|bytes| bytes[at as usize] ^= 0x55);
        let store = open(copy.path()).unwrap_or_else(|error| panic!("byte {at}: {error}"));
        assert_eq!(rows(&store), 3, "byte {at}");
    }
}

#[tokio::test]
async fn zeros_behind_the_end_are_cut() {
    let corpse = corpse(3, |_| {}).await;
    let copy = corpse.changed(|bytes| bytes.extend_from_slice(&[0; 5000]));
    assert_eq!(rows(&open(copy.path()).unwrap()), 3);
}

/// Asserts that opening is refused because of `file`, and that the message helps.
fn refused(directory: &Path, file_name: &str, expected_offset: Option<u64>) {
    match open(directory) {
        Err(error @ OpenError::Damaged { .. }) => {
            let message = error.to_string();
            let OpenError::Damaged { file, offset, .. } = error else {
                unreachable!()
            };
            assert_eq!(
                file.file_name().unwrap().to_str(),
                Some(file_name),
                "{message}"
            );
            assert!(
                expected_offset.is_none_or(|expected| expected == offset),
                "{message}"
            );
            assert!(
                message.contains("atoll restore") && message.contains(file_name),
                "{message}"
            );
        }
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("the store started"),
    }
}

#[tokio::test]
async fn damage_before_the_end_is_refused() {
    let corpse = corpse(4, |_| {}).await;
    let file = corpse.segment.file_name().unwrap().to_str().unwrap();
    let (from, to) = (corpse.ends[0].0, corpse.ends[1].0);
    for at in from..to {
        let copy = corpse.changed(|bytes| bytes[at as usize] ^= 0x55);
        refused(copy.path(), file, Some(from));
    }
    let copy = corpse.changed(|bytes| bytes[3] ^= 0x55);
    refused(copy.path(), file, Some(0));
    let copy = corpse.changed(|bytes| drop(bytes.drain(from as usize..to as usize)));
    refused(copy.path(), file, Some(from));
}

#[tokio::test]
async fn a_missing_or_damaged_older_segment_is_refused() {
    let corpse = corpse(60, |options| options.segment_bytes = 1 << 10).await;
    let files = segments(corpse.directory.path());
    assert!(files.len() > 4);
    let middle = files[1].file_name().unwrap().to_str().unwrap().to_owned();
    let behind = files[2].file_name().unwrap().to_str().unwrap().to_owned();
    let last_byte = std::fs::metadata(&files[1]).unwrap().len() as usize - 1;
    refused(
        corpse
            .changed_file(&files[1], |bytes| bytes[last_byte] ^= 1)
            .path(),
        &middle,
        None,
    );
    // Even its end: later segments prove that it was acknowledged.
    refused(
        corpse
            .changed_file(&files[1], |bytes| bytes.truncate(last_byte))
            .path(),
        &middle,
        None,
    );
    let copy = corpse.changed(|_| {});
    std::fs::remove_file(copy.path().join("log").join(&middle)).unwrap();
    refused(copy.path(), &behind, None);
}

#[tokio::test]
async fn a_store_whose_log_is_gone_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    store.append(put(&name(0), "row")).await.unwrap();
    drop(store);
    for segment in segments(directory.path()) {
        std::fs::remove_file(segment).unwrap();
    }
    refused(directory.path(), "log", None);
}

#[tokio::test]
async fn a_damaged_replica_is_made_anew_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    for n in 0..50 {
        store.append(put(&name(n), "row")).await.unwrap();
    }
    let spoil = || std::fs::write(directory.path().join("replica/current"), b"nonsense").unwrap();
    drop(store);
    spoil();
    // The log still has everything.
    let store = open(directory.path()).unwrap();
    assert_eq!(rows(&store), 50);
    // Now it has not.
    let mut options = Options::new(directory.path());
    options.segment_bytes = 1;
    drop(store);
    let store = embedded::open(options).unwrap();
    store.append(put(&name(0), "row")).await.unwrap();
    store.forget_history().await.unwrap();
    store.compact().unwrap();
    drop(store);
    spoil();
    let error = open(directory.path()).unwrap_err();
    assert!(
        matches!(error, OpenError::Replica { .. }) && error.to_string().contains("atoll restore"),
        "{error}"
    );
}

#[test]
fn a_store_is_opened_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).unwrap();
    assert!(matches!(
        open(directory.path()),
        Err(OpenError::Locked { .. })
    ));
    store.close();
    drop(open(directory.path()).unwrap());
}

/// Fails after so many writes or fsyncs.
#[derive(Debug)]
struct FailAfter {
    writes: AtomicI64,
    syncs: AtomicI64,
    /// Bytes that get through of the write that fails.
    partial: usize,
}

impl Faults for FailAfter {
    fn write(&self, _: usize) -> Option<(usize, io::Error)> {
        let left = self.writes.fetch_sub(1, Ordering::SeqCst);
        (left <= 0).then(|| (self.partial, io::Error::from(io::ErrorKind::StorageFull)))
    }

    fn sync(&self) -> Option<io::Error> {
        let left = self.syncs.fetch_sub(1, Ordering::SeqCst);
        (left <= 0).then(|| io::Error::other("injected fsync failure"))
    }
}

/// Appends until the disk fails; nobody may have seen what was not acknowledged, and all that was is there afterwards.
async fn survive(faults: FailAfter) {
    let directory = tempfile::tempdir().unwrap();
    let fatal = Arc::new(AtomicUsize::new(0));
    let mut options = Options::new(directory.path());
    options.hooks.faults = Some(Arc::new(faults));
    let counted = Arc::clone(&fatal);
    options.hooks.fatal = Some(Arc::new(move |message| {
        assert!(message.contains("start again"), "{message}");
        counted.fetch_add(1, Ordering::SeqCst);
    }));
    let store = embedded::open(options).unwrap();
    let start = store.head();
    let mut watch = store.watch(Prefix::all(), start).unwrap();
    let mut acknowledged = Vec::new();
    loop {
        match store.append(put(&name(acknowledged.len()), "row")).await {
            Ok(revision) => acknowledged.push(revision),
            Err(AppendError::Stopped) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(fatal.load(Ordering::SeqCst), 1);
    assert!(!acknowledged.is_empty());
    let mut told = Vec::new();
    while let WatchItem::Event(event) = watch.next().await {
        told.push(event.revision);
    }
    assert_eq!(told, acknowledged);
    assert_eq!(rows(&store), acknowledged.len());
    drop((watch, store));
    let store = open(directory.path()).unwrap();
    let events = events_after(&*store, Prefix::all(), start).await;
    let kept: Vec<Revision> = events.iter().map(|event| event.revision).collect();
    assert_eq!(kept[..acknowledged.len()], acknowledged);
    assert!(
        kept.len() <= acknowledged.len() + 1,
        "at most the one append under way"
    );
}

#[tokio::test]
async fn a_failed_fsync_stops_the_store() {
    survive(FailAfter {
        writes: AtomicI64::new(1000),
        syncs: AtomicI64::new(9),
        partial: 0,
    })
    .await;
}

#[tokio::test]
async fn a_full_disk_stops_the_store() {
    for partial in [0, 1, 11, 12, 13, 40] {
        survive(FailAfter {
            writes: AtomicI64::new(9),
            syncs: AtomicI64::new(1000),
            partial,
        })
        .await;
    }
}
