//! The property that clients live by: a list and a watch from its revision, or a watch from any revision at all, always
//! add up to what a fresh list shows.

#![allow(clippy::unwrap_used)] // in helpers too

mod support;

use std::collections::BTreeMap;

use atoll_registry::{DeleteOptions, EventKind, ListOptions, PatchType, WatchItem, WatchOptions};
use atoll_store::Revision;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::*;

#[derive(Clone, Debug)]
enum Step {
    /// Creates, or relabels what is there.
    Put {
        name: u8,
        label: u8,
        value: u8,
    },
    /// Creates with a finalizer.
    Hold {
        name: u8,
    },
    Delete {
        name: u8,
    },
    /// Takes all finalizers.
    Release {
        name: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0u8..5;
    prop_oneof![
        4 => (name.clone(), 0u8..3, 0u8..3).prop_map(|(name, label, value)| Step::Put { name, label, value }),
        1 => name.clone().prop_map(|name| Step::Hold { name }),
        2 => name.clone().prop_map(|name| Step::Delete { name }),
        1 => name.prop_map(|name| Step::Release { name }),
    ]
}

async fn run(at: &At<'_>, step: &Step) {
    let (Step::Put { name, .. }
    | Step::Hold { name }
    | Step::Delete { name }
    | Step::Release { name }) = step;
    let name = format!("o{name}");
    let mut object = config_map(&name);
    // Every outcome is fine here, refusals too: what counts is that all readers agree on it.
    match step {
        Step::Put { label, value, .. } => {
            object["metadata"]["labels"] = json!({"l": label.to_string()});
            object["data"] = json!({"v": value.to_string()});
            let patch = json!({"metadata": {"labels": object["metadata"]["labels"]}, "data": object["data"]});
            if at.create(object).await.is_err() {
                let _ = at.patch(&name, PatchType::Merge, patch).await;
            }
        }
        Step::Hold { .. } => {
            object["metadata"]["finalizers"] = json!(["example.dev/wait"]);
            let _ = at.create(object).await;
        }
        Step::Delete { .. } => {
            let _ = at.delete_with(&name, DeleteOptions::default()).await;
        }
        Step::Release { .. } => {
            let _ = at
                .patch(
                    &name,
                    PatchType::Merge,
                    json!({"metadata": {"finalizers": null}}),
                )
                .await;
        }
    }
}

type State = BTreeMap<String, Value>;

async fn listed(at: &At<'_>, options: ListOptions) -> State {
    let list = at.list_with(options).await.unwrap();
    list.objects
        .iter()
        .map(|o| (o.name().to_owned(), o.value().unwrap()))
        .collect()
}

/// Follows a watch from `start` on `state` until it has reached `head`, checking each step's sense.
async fn followed(
    at: &At<'_>,
    mut state: State,
    start: Revision,
    head: Revision,
    selector: &str,
) -> State {
    let options = WatchOptions {
        resource_version: Some(start.to_string()),
        labels: labels(selector),
        ..WatchOptions::default()
    };
    let mut stream = at.watch(options).await.unwrap();
    let mut seen = start;
    // A last write that every selector sees marks the end.
    while seen < head {
        let Some(WatchItem::Event { kind, object, .. }) = stream.next().await else {
            panic!("the watch ended")
        };
        assert!(object.revision > seen, "in order, once");
        seen = object.revision;
        let (name, value) = (object.name().to_owned(), object.value().unwrap());
        let before = match kind {
            EventKind::Deleted => state.remove(&name).is_some(),
            EventKind::Added | EventKind::Modified => state.insert(name.clone(), value).is_some(),
        };
        assert_eq!(before, kind != EventKind::Added, "{kind:?} of {name}");
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn list_and_watch_from_any_revision_equal_a_fresh_list(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let w = World::new().await;
            let at = w.at("u1/default", "v1/configmaps");
            let mut starts = vec![w.store.head()];
            for step in &steps {
                run(&at, step).await;
                starts.push(w.store.head());
            }
            starts.dedup();
            let mut end = config_map("end");
            end["metadata"]["labels"] = json!({"l": "1"});
            at.create(end).await.unwrap();
            let head = w.store.head();
            for selector in ["", "l=1", "l in (1,2)"] {
                let all = ListOptions { labels: labels(selector), ..ListOptions::default() };
                let fresh = listed(&at, all.clone()).await;
                for start in &starts {
                    let exact = ListOptions {
                        resource_version: Some(start.to_string()),
                        version_match: Some(atoll_registry::VersionMatch::Exact),
                        ..all.clone()
                    };
                    let state = listed(&at, exact).await;
                    assert_eq!(followed(&at, state, *start, head, selector).await, fresh, "from {start} by {selector:?}");
                }
            }
        });
    }
}
