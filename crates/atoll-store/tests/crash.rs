//! kill -9 at random moments under concurrent load, again and again on the same store.
//!
//! The child is this test binary itself. It tells every acknowledged write through its standard output; the parent kills
//! it, opens the store, and holds it to what it heard: every acknowledged write is there, revisions only grow, and a watch
//! that goes on where it was tells every event once. `ATOLL_CRASH_ROUNDS` sets how often (default 15).
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use atoll_store::conformance::{delete, events_after, indexes, key, put};
use atoll_store::embedded::{self, EmbeddedStore, Options};
use atoll_store::{At, Key, Prefix, Revision, Store};
use bytes::Bytes;

const WORKERS: u64 = 16;
const NAMES: u64 = 8;

fn options(directory: &Path, round: u64) -> Options {
    let mut options = Options::new(directory);
    options.indexes = indexes();
    // Sizes at which every kill has a fair chance to hit a flush, a compaction or a new segment.
    if round % 2 == 1 {
        options.segment_bytes = 16 << 10;
        options.memtable_bytes = 32 << 10;
        options.window_bytes = 4 << 10;
    }
    options.sync_delay = [
        None,
        Some(Duration::from_millis(1)),
        Some(Duration::from_millis(5)),
    ][round as usize % 3];
    options
}

/// Each worker has names of its own, so that the order of the writes of one key is known.
fn worker_key(worker: u64, n: u64) -> Key {
    key(
        &format!("kind{}", worker % 3),
        "root",
        &format!("w{worker}-{}", n % NAMES),
    )
}

fn row(worker: u64, n: u64) -> String {
    format!("{worker} {n} {}", "x".repeat((n % 300) as usize))
}

/// Whether the worker's `n`th write deletes.
fn deletes(n: u64) -> bool {
    n % 7 == 6
}

/// The child: runs until it is killed.
#[test]
fn child() {
    let Ok(directory) = std::env::var("ATOLL_CRASH_DIRECTORY") else {
        return;
    };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (round, from) = (number("ATOLL_CRASH_ROUND"), number("ATOLL_CRASH_FROM"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = embedded::open(options(Path::new(&directory), round)).unwrap();
        let mut workers = Vec::new();
        for worker in 0..WORKERS {
            let store = Arc::clone(&store);
            workers.push(tokio::spawn(async move {
                for n in from.. {
                    let key = worker_key(worker, n);
                    let append = if deletes(n) {
                        delete(&key)
                    } else {
                        put(&key, &row(worker, n))
                    };
                    let revision = store.append(append).await.unwrap();
                    // One write of a short line to a pipe is whole or not there.
                    std::io::stdout()
                        .lock()
                        .write_all(format!("\nack {worker} {n} {revision}\n").as_bytes())
                        .unwrap();
                    if n % 50 == 49 && worker == 0 {
                        store.forget_history().await.unwrap();
                    }
                }
            }));
        }
        for worker in workers {
            worker.await.unwrap();
        }
    });
}

/// What the parent heard in one round: (worker, n) -> revision.
fn run_child(
    directory: &Path,
    round: u64,
    from: u64,
    life: Duration,
) -> BTreeMap<(u64, u64), Revision> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env("ATOLL_CRASH_DIRECTORY", directory)
        .env("ATOLL_CRASH_ROUND", round.to_string())
        .env("ATOLL_CRASH_FROM", from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut heard = BTreeMap::new();
    let mut hear = |line: String| {
        if let Some(ack) = line.strip_prefix("ack ") {
            let numbers: Vec<u64> = ack.split(' ').filter_map(|n| n.parse().ok()).collect();
            if let [worker, n, revision] = numbers[..] {
                heard.insert((worker, n), Revision(revision));
            }
            return true;
        }
        false
    };
    // Its life begins with its first acknowledged write.
    for line in lines.by_ref().map_while(Result::ok) {
        if hear(line) {
            break;
        }
    }
    let killer = std::thread::spawn(move || {
        std::thread::sleep(life);
        child.kill().unwrap();
        child.wait().unwrap();
    });
    lines.map_while(Result::ok).for_each(|line| {
        hear(line);
    });
    killer.join().unwrap();
    heard
}

/// What the parent knows from all rounds.
struct Ledger {
    /// The last acknowledged write of each worker in the last round, and the first number of that round.
    from: u64,
    seen: Revision,
    highest: Revision,
    state: BTreeMap<Key, Bytes>,
}

impl Ledger {
    async fn check(&mut self, store: &EmbeddedStore, heard: &BTreeMap<(u64, u64), Revision>) {
        assert!(
            heard.values().all(|revision| *revision > self.highest),
            "revisions grow across rounds"
        );
        let distinct: BTreeSet<_> = heard.values().collect();
        assert_eq!(
            distinct.len(),
            heard.len(),
            "no revision is given out twice"
        );

        // The watch that goes on tells each write once, in order, and all that were acknowledged.
        let oldest = store.stats().oldest;
        let complete = oldest <= self.seen;
        let events = events_after(store, Prefix::all(), self.seen.max(oldest)).await;
        assert!(
            events.is_sorted_by(|a, b| a.revision < b.revision),
            "each event once and in order"
        );
        let told: BTreeMap<Revision, _> =
            events.iter().map(|event| (event.revision, event)).collect();
        for ((worker, n), revision) in heard.iter().filter(|(_, revision)| **revision > oldest) {
            // Deleting what is not there tells nobody; a deletion here always follows a put that may be in an earlier round.
            if let Some(event) = told.get(revision) {
                assert_eq!(
                    (&event.key, event.is_delete()),
                    (&worker_key(*worker, *n), deletes(*n))
                );
            } else {
                assert!(
                    deletes(*n),
                    "write {n} of worker {worker} at {revision} was not told"
                );
            }
        }

        // The state is what the writes make of it; at most one write of each worker is beyond what was acknowledged.
        for worker in 0..WORKERS {
            let acknowledged = heard
                .keys()
                .filter(|(by, _)| *by == worker)
                .map(|(_, n)| n + 1)
                .max()
                .unwrap_or(self.from);
            for n in self.from..acknowledged {
                self.make(worker, n);
            }
            let beyond = worker_key(worker, acknowledged);
            let found = store
                .snapshot(At::Latest)
                .unwrap()
                .get(&beyond)
                .unwrap()
                .map(|version| version.row);
            let before = self.state.get(&beyond).cloned();
            if found != before {
                self.make(worker, acknowledged);
                assert_eq!(found, self.state.get(&beyond).cloned(), "{beyond}");
            }
        }
        let found: BTreeMap<Key, Bytes> = store
            .snapshot(At::Latest)
            .unwrap()
            .range(&Prefix::all(), None)
            .map(|row| row.map(|(key, version)| (key, version.row)).unwrap())
            .collect();
        assert_eq!(found, self.state);
        if complete {
            self.check_events_make_the_state(store, &events);
        }
        self.check_indexes(store);
        self.from = heard
            .keys()
            .map(|(_, n)| n + 2)
            .max()
            .unwrap_or(self.from)
            .max(self.from);
        self.seen = store.head();
        self.highest = store.head();
    }

    fn make(&mut self, worker: u64, n: u64) {
        let key = worker_key(worker, n);
        match deletes(n) {
            true => self.state.remove(&key),
            false => self.state.insert(key, Bytes::from(row(worker, n))),
        };
    }

    fn check_events_make_the_state(
        &self,
        store: &EmbeddedStore,
        events: &[Arc<atoll_store::Event>],
    ) {
        let snapshot = store.snapshot(At::Latest).unwrap();
        let last: BTreeMap<&Key, _> = events.iter().map(|event| (&event.key, event)).collect();
        for (key, event) in last {
            let found = snapshot
                .get(key)
                .unwrap()
                .map(|version| (version.modified, version.row));
            assert_eq!(
                found,
                event.current.clone().map(|row| (event.revision, row)),
                "{key}"
            );
        }
    }

    fn check_indexes(&self, store: &EmbeddedStore) {
        let snapshot = store.snapshot(At::Latest).unwrap();
        let mut words: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for row in self.state.values() {
            let of_row: BTreeSet<&[u8]> = row
                .split(|byte| *byte == b' ')
                .filter(|word| !word.is_empty())
                .collect();
            for word in of_row {
                *words.entry(word.to_vec()).or_default() += 1;
            }
        }
        for index in ["words", "word-counts"] {
            let found: Result<BTreeMap<Vec<u8>, u64>, _> =
                snapshot.index_values(index, b"").collect();
            assert_eq!(found.unwrap(), words, "{index}");
        }
        assert_eq!(
            snapshot.count(&Prefix::all()).unwrap(),
            self.state.len() as u64
        );
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_9() {
    let rounds: u64 = std::env::var("ATOLL_CRASH_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(15);
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut ledger = Ledger {
        from: 0,
        seen: Revision::ZERO,
        highest: Revision::ZERO,
        state: BTreeMap::new(),
    };
    let mut total = 0;
    for round in 0..rounds {
        let bits = uuid::Uuid::new_v4().as_u128();
        let life = Duration::from_millis(1 + (bits % 200) as u64);
        let heard = run_child(directory.path(), round, ledger.from, life);
        total += heard.len();
        // Every other time a copy is looked at, so that the next child finds what the kill left and not a clean stop.
        let copy = tempfile::tempdir().unwrap();
        let looked_at = if round % 2 == 0 {
            directory.path()
        } else {
            copy.path()
        };
        if round % 2 == 1 {
            common::copy_tree(directory.path(), copy.path());
        }
        let store = embedded::open(options(looked_at, round + 1)).unwrap();
        runtime.block_on(ledger.check(&store, &heard));
        eprintln!(
            "round {round}: killed after {life:?}, {} acknowledged writes",
            heard.len()
        );
        drop(store);
    }
    eprintln!("{rounds} kills, {total} acknowledged writes, none lost");
}
