//! What every engine has to pass.
//!
//! [`cases`] are rules by example, one idea each. [`model`] compares an engine with a naive model after any sequence of
//! operations; the caller makes the sequences (proptest does for the embedded engine).
//!
//! An engine offers itself through [`Engine`] and runs [`run`] and [`model::agrees`].

#![allow(clippy::unwrap_used, reason = "a suite of tests")]

pub mod cases;
pub mod model;
mod watch_cases;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Append, Check, Event, IndexSpec, Keep, Key, Prefix, Revision, Store, Watch, WatchItem, Write,
};

/// An engine under test: one store, which it can open again and again, always with [`indexes`].
#[async_trait]
pub trait Engine: Send {
    /// Opens the store (empty the first time). A handle given out before is closed first.
    async fn open(&mut self) -> Arc<dyn Store>;

    /// Opens the store as after the death of the process at this instant.
    async fn crash(&mut self) -> Arc<dyn Store> {
        self.open().await
    }

    /// Makes the open store forget what is older than its newest client append, and tidy up as thoroughly as it can.
    async fn forget(&mut self);
}

/// The indexes that an engine under test has to be opened with: the words of a row.
pub fn indexes() -> Vec<IndexSpec> {
    fn words(_: &Key, row: &[u8], emit: &mut dyn FnMut(&[u8])) {
        row.split(|byte| *byte == b' ')
            .filter(|word| !word.is_empty())
            .for_each(emit);
    }
    let spec = |name, keep| IndexSpec {
        name,
        version: 1,
        keep,
        extract: words,
    };
    vec![spec("words", Keep::Keys), spec("word-counts", Keep::Counts)]
}

/// Runs all [`cases`], each on a fresh engine.
pub async fn run<E: Engine>(mut fresh: impl FnMut() -> E) {
    for (name, case) in cases::ALL {
        eprintln!("case {name}");
        case(&mut fresh()).await;
    }
}

// Shorthands for cases and callers.

/// The key of an object-like thing.
pub fn key(resource: &str, cluster: &str, name: &str) -> Key {
    Key::new(["group", resource, "", cluster, "default", name])
}

/// An append of one put.
pub fn put(key: &Key, row: &str) -> Append {
    Append {
        checks: vec![],
        writes: vec![Write::Put(
            key.clone(),
            Bytes::copy_from_slice(row.as_bytes()),
        )],
    }
}

/// An append of one delete.
pub fn delete(key: &Key) -> Append {
    Append {
        checks: vec![],
        writes: vec![Write::Delete(key.clone(), None)],
    }
}

/// An append of one put under one check.
pub fn put_if(check: Check, key: &Key, row: &str) -> Append {
    Append {
        checks: vec![check],
        ..put(key, row)
    }
}

/// Everything a watch has to say by now.
pub async fn drain(watch: &mut Watch) -> Vec<Arc<Event>> {
    let mut events = Vec::new();
    watch.request_progress();
    loop {
        match watch.next().await {
            WatchItem::Event(event) => events.push(event),
            WatchItem::Progress(_) => return events,
            WatchItem::Lost(error) => panic!("the watch was lost: {error}"),
        }
    }
}

/// The events of a watch opened now.
pub async fn events_after(store: &dyn Store, prefix: Prefix, after: Revision) -> Vec<Arc<Event>> {
    let mut watch = store
        .watch(prefix, after)
        .unwrap_or_else(|error| panic!("watch after {after}: {error}"));
    drain(&mut watch).await
}
