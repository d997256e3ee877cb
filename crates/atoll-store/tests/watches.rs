//! Many watches are cheap, and those that do not concern an event cost nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Instant;

use atoll_store::conformance::{key, put};
use atoll_store::embedded::{self, Options};
use atoll_store::{Prefix, Store, WatchItem};

fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<usize>()
        .unwrap()
        * 4096
}

#[tokio::test]
async fn a_hundred_thousand_idle_watches() {
    const WATCHES: usize = 100_000;
    let directory = tempfile::tempdir().unwrap();
    let store = embedded::open(Options::new(directory.path())).unwrap();
    let prefix = |n: usize| Prefix::new(["group", "things", "", &format!("cluster{n}")]);
    let mut watches = Vec::with_capacity(WATCHES);
    let before = resident_bytes();
    for n in 0..WATCHES {
        watches.push(store.watch(prefix(n), store.head()).unwrap());
    }
    let each = (resident_bytes().saturating_sub(before)) / WATCHES;
    assert!(
        each < 700,
        "{each} bytes for each idle watch, its handle included"
    );
    assert_eq!(store.stats().watches, WATCHES as u64);

    // An event for one of them reaches that one alone.
    let wanted = WATCHES / 2;
    let revision = store
        .append(put(&key("things", &format!("cluster{wanted}"), "a"), "row"))
        .await
        .unwrap();
    let told = watches[wanted].next().await;
    assert!(matches!(told, WatchItem::Event(event) if event.revision == revision));
    for n in [0, wanted - 1, wanted + 1, WATCHES - 1] {
        watches[n].request_progress();
        assert!(matches!(watches[n].next().await, WatchItem::Progress(up_to) if up_to >= revision));
    }

    let start = Instant::now();
    drop(watches);
    assert_eq!(store.stats().watches, 0);
    eprintln!("{each} bytes each; closed in {:?}", start.elapsed());
}

#[tokio::test]
async fn watches_of_one_prefix_come_and_go_in_any_order() {
    let directory = tempfile::tempdir().unwrap();
    let store = embedded::open(Options::new(directory.path())).unwrap();
    let prefix = Prefix::new(["group", "things", ""]);
    let mut watches: Vec<_> = (0..1000)
        .map(|_| store.watch(prefix.clone(), store.head()).unwrap())
        .collect();
    for n in [0, 998, 3, 3, 500, 0] {
        drop(watches.swap_remove(n % watches.len()));
        let revision = store
            .append(put(&key("things", "root", &format!("{n}")), "row"))
            .await
            .unwrap();
        for watch in &mut watches {
            assert!(
                matches!(watch.next().await, WatchItem::Event(event) if event.revision == revision)
            );
        }
    }
    assert_eq!(store.stats().watches, 994);
}

#[tokio::test]
async fn next_may_be_dropped_at_any_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path());
    // Everything has to be caught up from the log.
    options.window_bytes = 1;
    options.watch_queue = 1;
    let store = embedded::open(options).unwrap();
    let mut watch = store.watch(Prefix::all(), store.head()).unwrap();
    let mut expected = Vec::new();
    for n in 0..500 {
        expected.push(
            store
                .append(put(&key("things", "root", &format!("{n}")), "row"))
                .await
                .unwrap(),
        );
    }
    let mut seen = Vec::new();
    let mut dropped = 0;
    while seen.len() < expected.len() {
        tokio::select! {
            biased;
            item = watch.next() => match item {
                WatchItem::Event(event) => seen.push(event.revision),
                other => panic!("{other:?}"),
            },
            () = tokio::task::yield_now() => dropped += 1,
        }
    }
    assert_eq!(seen, expected);
    assert!(dropped > 0, "nothing was ever dropped");
    store.close();
    assert!(matches!(watch.next().await, WatchItem::Lost(_)));
}

#[tokio::test]
async fn a_watch_of_what_did_not_change_resumes_without_reading_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let store = embedded::open(Options::new(directory.path())).unwrap();
    let a = store
        .append(put(&key("things", "quiet", "a"), "row"))
        .await
        .unwrap();
    let b = store
        .append(put(&key("things", "quiet", "a"), "row again"))
        .await
        .unwrap();
    for n in 0..100 {
        store
            .append(put(&key("others", "busy", &format!("{n}")), "row"))
            .await
            .unwrap();
    }
    drop(store);
    let store = embedded::open(Options::new(directory.path())).unwrap();
    // Whoever reads the log now fails.
    for segment in std::fs::read_dir(directory.path().join("log")).unwrap() {
        std::fs::write(segment.unwrap().path(), b"").unwrap();
    }
    let first = |prefix: Prefix, after| {
        let mut watch = store.watch(prefix, after).unwrap();
        watch.request_progress();
        async move { watch.next().await }
    };
    let (quiet, things) = (
        Prefix::new(["group", "things", "", "quiet"]),
        Prefix::new(["group", "things", ""]),
    );
    for prefix in [
        quiet.clone(),
        things.clone(),
        Prefix::from(&key("things", "quiet", "a")),
        Prefix::new(["group", "none", ""]),
    ] {
        let item = first(prefix.clone(), b).await;
        assert!(
            matches!(item, WatchItem::Progress(up_to) if up_to >= store.head()),
            "{prefix}: {item:?}"
        );
    }
    for (prefix, after) in [
        (quiet, a),
        (things, a),
        (Prefix::new(["group", "others", ""]), b),
        (Prefix::all(), b),
    ] {
        let item = first(prefix.clone(), after).await;
        assert!(matches!(item, WatchItem::Lost(_)), "{prefix}: {item:?}");
    }
}
