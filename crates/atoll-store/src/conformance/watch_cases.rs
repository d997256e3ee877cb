//! The rules of watches, by example. They run with the other [cases](super::cases).

use bytes::Bytes;

use super::cases::append;
use super::{Engine, delete, drain, events_after, key, put};
use crate::{Append, Prefix, WatchItem, Write};

pub(super) async fn a_watch_tells_every_event_once_in_order(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let (a, b, other) = (
        key("things", "root", "a"),
        key("things", "other", "b"),
        key("others", "root", "a"),
    );
    let start = store.head();
    let prefixes = [
        Prefix::all(),
        Prefix::new(["group", "things", ""]),
        Prefix::new(["group", "things", "", "root"]),
        Prefix::from(&a),
    ];
    let mut live: Vec<_> = prefixes
        .iter()
        .map(|prefix| store.watch(prefix.clone(), start).unwrap())
        .collect();
    for key in [&a, &b, &other] {
        append(&*store, put(key, "one")).await;
    }
    let last = append(&*store, put(&a, "two")).await;
    for ((prefix, watch), expected) in prefixes.iter().zip(&mut live).zip([4, 3, 2, 2]) {
        let events = drain(watch).await;
        assert_eq!(events.len(), expected, "{prefix}");
        assert!(
            events.is_sorted_by(|x, y| x.revision < y.revision),
            "{prefix}"
        );
        assert!(watch.progress() >= last);
        let replayed = events_after(&*store, prefix.clone(), start).await;
        assert_eq!(replayed.len(), expected, "{prefix}, replayed");
        let event = events.last().unwrap();
        assert_eq!(
            (event.revision, event.current.as_deref()),
            (last, Some(&b"two"[..]))
        );
        let previous = event.previous.as_ref().unwrap();
        assert_eq!(
            (&previous.row[..], previous.modified, event.created),
            (&b"one"[..], previous.created, previous.created)
        );
    }
}

pub(super) async fn a_deletion_shows_its_final_row(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let a = key("things", "root", "a");
    let start = store.head();
    let created = append(&*store, put(&a, "one")).await;
    append(&*store, delete(&a)).await;
    append(&*store, put(&a, "two")).await;
    let writes = vec![Write::Delete(a.clone(), Some(Bytes::from_static(b"final")))];
    append(
        &*store,
        Append {
            checks: vec![],
            writes,
        },
    )
    .await;
    drop(store);
    let store = engine.open().await;
    let events = events_after(&*store, Prefix::from(&a), start).await;
    let shown: Vec<_> = events
        .iter()
        .map(|e| {
            (
                e.is_delete(),
                String::from_utf8_lossy(e.row().unwrap()).into_owned(),
            )
        })
        .collect();
    let expected = [
        (false, "one"),
        (true, "one"),
        (false, "two"),
        (true, "final"),
    ];
    assert_eq!(
        shown,
        expected.map(|(deleted, row)| (deleted, row.to_owned()))
    );
    assert_eq!(events[1].created, created);
    assert_eq!(&events[3].previous.as_ref().unwrap().row[..], b"two");
}

pub(super) async fn watches_resume_across_a_restart(engine: &mut dyn Engine) {
    let mut store = engine.open().await;
    let a = key("things", "root", "a");
    let mut seen = store.head();
    for round in 0..4 {
        let mut expected = Vec::new();
        for i in 0..10 {
            expected.push(append(&*store, put(&a, &format!("{round} {i}"))).await);
        }
        drop(store);
        store = if round % 2 == 0 {
            engine.open().await
        } else {
            engine.crash().await
        };
        let events = events_after(&*store, Prefix::new(["group"]), seen).await;
        assert_eq!(
            events
                .iter()
                .map(|event| event.revision)
                .collect::<Vec<_>>(),
            expected
        );
        seen = *expected.last().unwrap();
    }
}

pub(super) async fn a_slow_watcher_misses_nothing(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let start = store.head();
    let mut watch = store
        .watch(Prefix::new(["group", "things", ""]), start)
        .unwrap();
    let mut expected = Vec::new();
    let mut seen = Vec::new();
    for i in 0..3000 {
        let resource = if i % 2 == 0 { "things" } else { "others" };
        let revision = append(
            &*store,
            put(
                &key(resource, "root", &format!("n{}", i % 7)),
                &format!("{i}"),
            ),
        )
        .await;
        if i % 2 == 0 {
            expected.push(revision);
        }
        // It reads one event for every four that concern it.
        if i % 8 == 0
            && let WatchItem::Event(event) = watch.next().await
        {
            seen.push(event.revision);
        }
    }
    seen.extend(drain(&mut watch).await.iter().map(|event| event.revision));
    assert_eq!(seen, expected);
}

pub(super) async fn deleting_what_is_not_there_tells_nobody(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let a = key("things", "root", "a");
    let start = store.head();
    append(&*store, delete(&a)).await;
    append(&*store, put(&a, "one")).await;
    let events = events_after(&*store, Prefix::all(), start).await;
    assert_eq!(events.len(), 1);
    assert!(!events[0].is_delete());
}
