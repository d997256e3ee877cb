//! The rules of a store, by example.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::watch_cases::{
    a_deletion_shows_its_final_row, a_slow_watcher_misses_nothing,
    a_watch_tells_every_event_once_in_order, deleting_what_is_not_there_tells_nobody,
    watches_resume_across_a_restart,
};
use super::{Engine, delete, events_after, key, put, put_if};
use crate::{
    Append, AppendError, At, Check, FAMILIES, Key, Prefix, ReadError, Revision, Snapshot, Store,
    Write, families_of,
};

/// A case: it panics when the engine breaks the rule.
pub type Case = for<'a> fn(&'a mut dyn Engine) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// All cases by name.
        pub const ALL: &[(&str, Case)] = &[$((stringify!($name), |engine| Box::pin($name(engine)))),*];
    };
}

cases! {
    a_write_is_readable_when_it_is_answered,
    checks_see_the_state_just_before,
    an_append_happens_whole_or_not_at_all,
    invalid_appends_are_refused,
    deleting_what_is_not_there_tells_nobody,
    created_restarts_with_a_new_life,
    old_revisions_stay_readable,
    ranges_are_ordered_and_continue_behind_a_key,
    counts_agree_with_ranges,
    indexes_follow_rows,
    a_watch_tells_every_event_once_in_order,
    a_deletion_shows_its_final_row,
    watches_resume_across_a_restart,
    forgotten_history_is_refused_not_guessed,
    the_future_is_refused,
    waiting_for_a_revision,
    each_life_is_known_with_its_span,
    concurrent_appends_get_distinct_revisions,
    a_slow_watcher_misses_nothing,
}

pub(super) async fn append(store: &dyn Store, append: Append) -> Revision {
    store
        .append(append)
        .await
        .unwrap_or_else(|error| panic!("append: {error}"))
}

fn latest(store: &dyn Store) -> std::sync::Arc<dyn Snapshot> {
    store
        .snapshot(At::Latest)
        .unwrap_or_else(|error| panic!("snapshot: {error}"))
}

fn row(store: &dyn Store, at: At, key: &Key) -> Option<String> {
    let snapshot = store
        .snapshot(at)
        .unwrap_or_else(|error| panic!("snapshot {at:?}: {error}"));
    let version = snapshot
        .get(key)
        .unwrap_or_else(|error| panic!("get: {error}"));
    version.map(|version| String::from_utf8_lossy(&version.row).into_owned())
}

fn names(snapshot: &dyn Snapshot, prefix: &Prefix, after: Option<&Key>) -> Vec<String> {
    let name =
        |key: &Key| String::from_utf8_lossy(key.component(5).unwrap_or_default()).into_owned();
    let rows = snapshot.range(prefix, after);
    rows.map(|row| {
        row.map(|(key, _)| name(&key))
            .unwrap_or_else(|error| panic!("range: {error}"))
    })
    .collect()
}

async fn a_write_is_readable_when_it_is_answered(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let a = key("things", "root", "a");
    let before = store.head();
    let revision = append(&*store, put(&a, "one")).await;
    assert!(revision > before && store.head() >= revision && store.barrier().await >= revision);
    let version = latest(&*store).get(&a).unwrap().unwrap();
    assert_eq!(
        (version.created, version.modified, &version.row[..]),
        (revision, revision, &b"one"[..])
    );
}

async fn checks_see_the_state_just_before(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let (a, b) = (key("things", "root", "a"), key("things", "root", "b"));
    let first = append(&*store, put_if(Check::Absent(a.clone()), &a, "one")).await;
    for check in [Check::Absent(a.clone()), Check::At(a.clone(), first.next())] {
        match store.append(put_if(check.clone(), &a, "two")).await {
            Err(AppendError::Failed {
                check: failed,
                current: Some(current),
            }) => {
                assert_eq!((failed, current.modified), (check, first));
            }
            other => panic!("{check:?}: {other:?}"),
        }
    }
    for check in [Check::Exists(b.clone()), Check::At(b.clone(), first)] {
        let refused = store.append(put_if(check.clone(), &a, "two")).await;
        assert_eq!(
            refused,
            Err(AppendError::Failed {
                check,
                current: None
            })
        );
    }
    // A check may be on a key that is not written.
    let second = append(&*store, put_if(Check::At(a.clone(), first), &b, "other")).await;
    append(&*store, put_if(Check::Exists(a.clone()), &a, "two")).await;
    assert_eq!(row(&*store, At::Exact(second), &a).as_deref(), Some("one"));
}

async fn an_append_happens_whole_or_not_at_all(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let (a, b) = (key("things", "root", "a"), key("others", "root", "b"));
    let writes = vec![
        Write::Put(a.clone(), Bytes::from_static(b"1")),
        Write::Put(b.clone(), Bytes::from_static(b"2")),
    ];
    let checks = vec![Check::Absent(a.clone()), Check::Exists(b.clone())];
    assert!(
        store
            .append(Append {
                checks,
                writes: writes.clone()
            })
            .await
            .is_err()
    );
    assert_eq!(
        (row(&*store, At::Latest, &a), row(&*store, At::Latest, &b)),
        (None, None)
    );
    let revision = append(
        &*store,
        Append {
            checks: vec![],
            writes,
        },
    )
    .await;
    let snapshot = latest(&*store);
    assert_eq!(snapshot.get(&a).unwrap().unwrap().modified, revision);
    assert_eq!(snapshot.get(&b).unwrap().unwrap().modified, revision);
    assert_eq!(row(&*store, At::Exact(revision.previous()), &b), None);
}

async fn invalid_appends_are_refused(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let same_family = vec![
        Write::Delete(key("things", "root", "a"), None),
        Write::Delete(key("things", "other", "b"), None),
    ];
    let too_many = (0..65)
        .map(|i| Write::Put(key(&format!("kind{i}"), "root", "a"), Bytes::new()))
        .collect();
    for writes in [vec![], same_family, too_many] {
        let count = writes.len();
        let result = store
            .append(Append {
                checks: vec![],
                writes,
            })
            .await;
        assert!(
            matches!(result, Err(AppendError::Invalid(_))),
            "{count} writes: {result:?}"
        );
    }
}

async fn created_restarts_with_a_new_life(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let a = key("things", "root", "a");
    let first = append(&*store, put(&a, "one")).await;
    let second = append(&*store, put(&a, "two")).await;
    assert_eq!(latest(&*store).get(&a).unwrap().unwrap().created, first);
    append(&*store, delete(&a)).await;
    assert_eq!(row(&*store, At::Latest, &a), None);
    let fourth = append(&*store, put(&a, "three")).await;
    let version = latest(&*store).get(&a).unwrap().unwrap();
    assert_eq!((version.created, version.modified), (fourth, fourth));
    assert!(first < second && second < fourth);
}

async fn old_revisions_stay_readable(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let a = key("things", "root", "a");
    let held = latest(&*store);
    let mut revisions = Vec::new();
    for i in 0..20 {
        revisions.push((
            append(&*store, put(&a, &format!("row {i}"))).await,
            Some(format!("row {i}")),
        ));
        if i % 5 == 4 {
            revisions.push((append(&*store, delete(&a)).await, None));
        }
    }
    drop(store);
    let store = engine.open().await;
    for (revision, expected) in &revisions {
        assert_eq!(
            row(&*store, At::Exact(*revision), &a),
            *expected,
            "at {revision}"
        );
    }
    assert_eq!(held.get(&a).unwrap(), None, "a snapshot does not change");
}

async fn ranges_are_ordered_and_continue_behind_a_key(engine: &mut dyn Engine) {
    let store = engine.open().await;
    for (resource, cluster, name) in [
        ("things", "root", "b"),
        ("things", "root", "a"),
        ("things", "root-2", "c"),
        ("thing", "root", "d"),
        ("things", "root", "a-1"),
    ] {
        append(&*store, put(&key(resource, cluster, name), "row")).await;
    }
    let snapshot = latest(&*store);
    let root = Prefix::new(["group", "things", "", "root"]);
    assert_eq!(names(&*snapshot, &root, None), ["a", "a-1", "b"]);
    assert_eq!(
        names(&*snapshot, &Prefix::new(["group", "things", ""]), None),
        ["a", "a-1", "b", "c"]
    );
    assert_eq!(
        names(&*snapshot, &Prefix::all(), None),
        ["d", "a", "a-1", "b", "c"]
    );
    assert_eq!(
        names(&*snapshot, &root, Some(&key("things", "root", "a"))),
        ["a-1", "b"]
    );
    assert_eq!(
        names(&*snapshot, &root, Some(&key("things", "root", "aa"))),
        ["b"]
    );
    assert_eq!(
        names(&*snapshot, &root, Some(&key("things", "root-2", "c"))),
        [""; 0]
    );
    assert_eq!(
        names(&*snapshot, &root, Some(&key("a", "root", "a"))),
        ["a", "a-1", "b"]
    );
}

async fn counts_agree_with_ranges(engine: &mut dyn Engine) {
    let store = engine.open().await;
    for i in 0..30 {
        let cluster = if i % 3 == 0 { "root" } else { "other" };
        let resource = if i % 2 == 0 { "things" } else { "others" };
        append(
            &*store,
            put(&key(resource, cluster, &format!("n{i}")), "row"),
        )
        .await;
        append(
            &*store,
            put(&key(resource, cluster, &format!("n{i}")), "row again"),
        )
        .await;
        if i % 5 == 0 {
            append(&*store, delete(&key(resource, cluster, &format!("n{i}")))).await;
        }
    }
    let snapshot = latest(&*store);
    let components = ["group", "things", "", "root", "default", "n6"];
    for depth in 0..=components.len() {
        let prefix = Prefix::new(&components[..depth]);
        let counted = snapshot.count(&prefix).unwrap();
        assert_eq!(
            counted,
            snapshot.range(&prefix, None).count() as u64,
            "{prefix}"
        );
        assert!(counted > 0, "{prefix}");
    }
    let families: Vec<(Vec<u8>, u64)> = snapshot
        .index_values(FAMILIES, &families_of(b"root"))
        .map(Result::unwrap)
        .filter(|(value, _)| value.starts_with(b"root\0"))
        .collect();
    let things = snapshot.count(&Prefix::new(&components[..4])).unwrap();
    assert_eq!(families.len(), 2);
    assert_eq!(families[1], (b"root\0group\0things\0\0".to_vec(), things));
}

async fn indexes_follow_rows(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let (a, b) = (key("things", "root", "a"), key("things", "root", "b"));
    append(&*store, put(&a, "red blue")).await;
    append(&*store, put(&b, "blue")).await;
    let found = |store: &dyn Store, word: &str, after: Option<&Key>| -> Vec<Key> {
        latest(store)
            .index("words", word.as_bytes(), after)
            .map(Result::unwrap)
            .collect()
    };
    assert_eq!(found(&*store, "blue", None), [a.clone(), b.clone()]);
    assert_eq!(found(&*store, "blue", Some(&a)), std::slice::from_ref(&b));
    assert_eq!(found(&*store, "blu", None), []);
    append(&*store, put(&a, "green")).await;
    append(&*store, delete(&b)).await;
    drop(store);
    let store = engine.open().await;
    assert_eq!(found(&*store, "blue", None), []);
    assert_eq!(found(&*store, "green", None), [a]);
    for index in ["words", "word-counts"] {
        let values: Vec<_> = latest(&*store)
            .index_values(index, b"")
            .map(Result::unwrap)
            .collect();
        assert_eq!(values, [(b"green".to_vec(), 1)], "{index}");
    }
    assert!(
        latest(&*store)
            .index("no such index", b"", None)
            .next()
            .is_some_and(|first| first.is_err())
    );
}

async fn forgotten_history_is_refused_not_guessed(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let (a, b) = (key("things", "root", "a"), key("things", "root", "b"));
    append(&*store, put(&b, "gone")).await;
    append(&*store, delete(&b)).await;
    let old = append(&*store, put(&a, "one")).await;
    let held = store.snapshot(At::Exact(old)).unwrap();
    let new = append(&*store, put(&a, "two")).await;
    engine.forget().await;
    assert_eq!(
        &held.get(&a).unwrap().unwrap().row[..],
        b"one",
        "a snapshot keeps its history"
    );
    let compacted = |result: Result<(), ReadError>| {
        assert_eq!(result, Err(ReadError::Compacted { oldest: new }))
    };
    compacted(store.snapshot(At::Exact(old)).map(drop));
    compacted(store.watch(Prefix::all(), old).map(drop));
    assert_eq!(row(&*store, At::Exact(new), &a).as_deref(), Some("two"));
    assert_eq!(store.stats().oldest, new);
    drop((store, held));
    let store = engine.open().await;
    compacted(store.watch(Prefix::all(), old).map(drop));
    assert_eq!(row(&*store, At::Exact(new), &a).as_deref(), Some("two"));
    assert_eq!(row(&*store, At::Latest, &b), None);
    assert_eq!(events_after(&*store, Prefix::all(), new).await.len(), 0);
}

async fn the_future_is_refused(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let head = store.head();
    let future = Err(ReadError::Future { head });
    assert_eq!(store.snapshot(At::Exact(head.next())).map(drop), future);
    assert_eq!(store.watch(Prefix::all(), head.next()).map(drop), future);
    assert_eq!(
        store.wait_for(head.next(), Duration::from_millis(1)).await,
        future
    );
}

async fn waiting_for_a_revision(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let next = store.head().next();
    let waiting = {
        let store = store.clone();
        tokio::spawn(async move { store.wait_for(next, Duration::from_secs(30)).await })
    };
    append(&*store, put(&key("things", "root", "a"), "row")).await;
    assert_eq!(waiting.await.unwrap(), Ok(()));
    assert_eq!(store.wait_for(Revision::ZERO, Duration::ZERO).await, Ok(()));
}

async fn each_life_is_known_with_its_span(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let first = store.identity();
    let revision = append(&*store, put(&key("things", "root", "a"), "row")).await;
    assert_eq!(
        store.incarnation_span(&first.incarnation).unwrap().ended,
        None
    );
    drop(store);
    let store = engine.crash().await;
    let second = store.identity();
    assert_eq!(first.store, second.store);
    assert_ne!(first.incarnation, second.incarnation);
    let span = store.incarnation_span(&first.incarnation).unwrap();
    assert!(span.contains(revision) && !span.contains(store.head()));
    assert!(store.incarnation_known(&second.incarnation));
    assert!(!store.incarnation_known(&crate::Incarnation(uuid::Uuid::from_u128(1))));
}

async fn concurrent_appends_get_distinct_revisions(engine: &mut dyn Engine) {
    let store = engine.open().await;
    let counter = key("things", "root", "counter");
    append(&*store, put(&counter, "0")).await;
    let workers: Vec<_> = (0..16)
        .map(|worker| {
            let (store, counter) = (store.clone(), counter.clone());
            tokio::spawn(async move {
                let mut revisions = Vec::new();
                for i in 0..20 {
                    revisions.push(
                        append(
                            &*store,
                            put(&key("others", "root", &format!("{worker}-{i}")), "row"),
                        )
                        .await,
                    );
                    // A read, a conditional write, again on conflict: no increment may be lost.
                    loop {
                        let version = latest(&*store).get(&counter).unwrap().unwrap();
                        let count: u64 =
                            std::str::from_utf8(&version.row).unwrap().parse().unwrap();
                        let check = Check::At(counter.clone(), version.modified);
                        match store
                            .append(put_if(check, &counter, &(count + 1).to_string()))
                            .await
                        {
                            Ok(revision) => break revisions.push(revision),
                            Err(AppendError::Failed { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
                revisions
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 16 * 40);
    assert_eq!(row(&*store, At::Latest, &counter).as_deref(), Some("320"));
}
