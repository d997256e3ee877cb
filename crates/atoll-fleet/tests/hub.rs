//! Hubs: one stream that carries many destinations.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use atoll_registry::PatchType;
use atoll_wire::digest::SetDigest;
use atoll_wire::identity::AgentIdentity;
use atoll_wire::{
    CopyReport, Hello, Item, Leave, Need, RefusedReason, Report, ToAgent, ToCenter, TombstoneDone,
    TombstoneOutcome, to_agent, to_center,
};
use serde_json::{Value, json};
use support::{Center, managed_clusters, run};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

const PATIENCE: Duration = Duration::from_secs(20);

/// A hub without edges behind it: it holds what each of its destinations was sent.
struct Hub {
    to_center: mpsc::Sender<Result<ToCenter, tonic::Status>>,
    from_center: ReceiverStream<Result<ToAgent, tonic::Status>>,
    held: BTreeMap<u32, BTreeMap<String, Item>>,
    /// Every message, as (for whom, what).
    heard: Vec<(Vec<u32>, to_agent::Message)>,
}

impl Hub {
    fn connect(center: &Center, uid: &str) -> Hub {
        let (to_center, inbound) = mpsc::channel(64);
        let identity = AgentIdentity {
            inventory: "i1".into(),
            destination: uid.into(),
        };
        let service = center.fleet.agent_service();
        let from_center = service.connect(identity, ReceiverStream::new(inbound));
        Hub {
            to_center,
            from_center,
            held: BTreeMap::new(),
            heard: Vec::new(),
        }
    }

    async fn open(&self, uid: &str, handle: u32) {
        let mut digest = SetDigest::EMPTY;
        for item in self.held.get(&handle).into_iter().flat_map(|h| h.values()) {
            digest.add(item.copy.as_ref().unwrap(), &item.render_hash);
        }
        let hello = Hello {
            cursor: None,
            digest: digest.to_bytes().into(),
            ..Hello::default()
        };
        let mut message = ToCenter::new(uid, hello);
        message.handles = vec![handle];
        self.to_center.send(Ok(message)).await.unwrap();
    }

    async fn say(&self, handles: &[u32], message: impl Into<to_center::Message>) {
        let message = ToCenter::for_handles(handles.to_vec(), message);
        self.to_center.send(Ok(message)).await.unwrap();
    }

    /// Hears until something is as waited for.
    async fn until(&mut self, what: &str, ready: impl Fn(&Hub) -> bool) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !ready(self) {
            let message = match tokio::time::timeout_at(deadline, self.from_center.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(_) => panic!("the stream ended while waiting for: {what}"),
                Err(_) => panic!("never: {what}; heard {:#?}", self.heard),
            };
            let content = message.message.unwrap();
            for handle in &message.handles {
                let held = self.held.entry(*handle).or_default();
                if let to_agent::Message::Desired(desired) = &content {
                    for item in &desired.items {
                        let name = item.object.as_ref().unwrap().name.clone();
                        held.insert(name, item.clone());
                    }
                }
                if let to_agent::Message::Tombstone(tombstone) = &content {
                    held.remove(&tombstone.object.as_ref().unwrap().name);
                }
            }
            self.heard.push((message.handles, content));
        }
    }

    /// For whom messages of a sort were, one set per message.
    fn addressed(&self, sort: impl Fn(&to_agent::Message) -> bool) -> Vec<BTreeSet<u32>> {
        self.heard
            .iter()
            .filter(|(_, m)| sort(m))
            .map(|(handles, _)| handles.iter().copied().collect())
            .collect()
    }

    fn has(&self, handles: std::ops::RangeInclusive<u32>, name: &str) -> bool {
        handles.into_iter().all(|h| {
            self.held
                .get(&h)
                .is_some_and(|held| held.contains_key(name))
        })
    }
}

async fn member(center: &Center, name: &str, hub: &str) -> String {
    let uid = center.destination(name, json!({"role": "edge"})).await;
    named_hub(center, name, json!(hub)).await;
    uid
}

async fn named_hub(center: &Center, name: &str, hub: Value) {
    let patch = json!({"metadata": {"annotations": {atoll_wire::HUB_ANNOTATION: hub}}});
    center
        .client("i1")
        .patch(&managed_clusters(), None, name, PatchType::Merge, patch)
        .await
        .unwrap();
}

async fn placed(center: &Center) {
    center.config("p1", "a", "1").await;
    center
        .policy(
            "p1",
            "everywhere",
            json!({
                "clusterSelectors": [{"matchLabels": {"role": "edge"}}],
                "downsync": [{"apiGroup": "", "resources": ["configmaps"], "objectNames": ["a", "b"]}],
            }),
        )
        .await;
}

fn is_desired(message: &to_agent::Message) -> bool {
    matches!(message, to_agent::Message::Desired(_))
}

#[test]
fn a_stream_carries_many_and_says_the_same_once() {
    run(async |directory| {
        let center = Center::open(&directory).await;
        let hub_uid = center.destination("hub", json!({})).await;
        let mut members = Vec::new();
        for i in 1..=5u32 {
            members.push(member(&center, &format!("e{i}"), "hub").await);
        }
        placed(&center).await;
        center
            .status_when("p1", "everywhere", |s| s["counts"]["expected"] == 5)
            .await;
        let mut hub = Hub::connect(&center, &hub_uid);
        for (uid, handle) in members.iter().zip(1u32..) {
            hub.open(uid, handle).await;
        }
        hub.until("everybody has what it should", |h| h.has(1..=5, "a"))
            .await;
        let first = hub.held[&1]["a"].render_hash.clone();
        center.config("p1", "a", "changed").await;
        hub.until("the change", |h| {
            h.held.values().all(|held| held["a"].render_hash != first)
        })
        .await;
        assert_eq!(
            hub.addressed(is_desired).last(),
            Some(&BTreeSet::from([1, 2, 3, 4, 5])),
            "one message for all"
        );

        let hashes = vec![hub.held[&1]["a"].body_hash.clone()];
        hub.say(&[1], Need { hashes }).await;
        hub.until("the body", |h| {
            h.heard
                .iter()
                .any(|(_, m)| matches!(m, to_agent::Message::Bodies(b) if b.bodies.len() == 1))
        })
        .await;

        let copies = hub.held[&1]
            .values()
            .map(|item| CopyReport {
                copy: item.copy.clone(),
                render_hash: item.render_hash.clone(),
                applied_hash: item.render_hash.clone(),
                observed: true,
                ..CopyReport::default()
            })
            .collect();
        let report = Report {
            sequence: 1,
            copies,
            complete: false,
        };
        hub.say(&[1, 2, 3, 4, 5], report).await;
        hub.until("acknowledged", |h| {
            let acks = h.addressed(|m| matches!(m, to_agent::Message::ReportAck(_)));
            acks == [BTreeSet::from([1, 2, 3, 4, 5])]
        })
        .await;
        center
            .status_when("p1", "everywhere", |s| s["counts"]["current"] == 5)
            .await;

        // One is not selected any more: it alone is told.
        center.label("e3", json!({"role": null})).await;
        hub.until("gone at one", |h| !h.has(3..=3, "a")).await;
        assert_eq!(
            hub.addressed(|m| matches!(m, to_agent::Message::Tombstone(_)))
                .into_iter()
                .flatten()
                .collect::<BTreeSet<_>>(),
            BTreeSet::from([3])
        );
        let copy = hub.heard.iter().find_map(|(_, m)| match m {
            to_agent::Message::Tombstone(t) => t.copy.clone(),
            _ => None,
        });
        let done = TombstoneDone {
            copy,
            outcome: TombstoneOutcome::Removed as i32,
            ..TombstoneDone::default()
        };
        hub.say(&[3], done).await;
        hub.until("released", |h| {
            h.addressed(|m| matches!(m, to_agent::Message::Released(_))) == [BTreeSet::from([3])]
        })
        .await;

        // Who comes back with what it should have is sent nothing.
        let held = hub.held.clone();
        let before = hub.heard.len();
        drop(hub);
        let mut hub = Hub::connect(&center, &hub_uid);
        hub.held = held;
        for (uid, handle) in members.iter().zip(1u32..) {
            if handle != 3 {
                hub.open(uid, handle).await;
            }
        }
        center.config("p1", "b", "2").await;
        hub.until("the new object", |h| h.has(1..=2, "b") && h.has(4..=5, "b"))
            .await;
        let names: BTreeSet<String> = hub
            .heard
            .iter()
            .filter_map(|(_, m)| match m {
                to_agent::Message::Desired(d) => Some(&d.items),
                _ => None,
            })
            .flatten()
            .map(|item| item.object.as_ref().unwrap().name.clone())
            .collect();
        assert_eq!(
            names,
            BTreeSet::from(["b".to_owned()]),
            "after {before} messages"
        );
    });
}

#[test]
fn a_hub_speaks_only_for_those_that_name_it() {
    run(async |directory| {
        let center = Center::open(&directory).await;
        let hub_uid = center.destination("hub", json!({})).await;
        let mine = member(&center, "mine", "hub").await;
        let other = member(&center, "other", "another-hub").await;
        let nobodys = center.destination("nobodys", json!({"role": "edge"})).await;
        placed(&center).await;
        let mut hub = Hub::connect(&center, &hub_uid);
        hub.open(&mine, 1).await;
        hub.open(&other, 2).await;
        hub.open(&nobodys, 3).await;
        hub.open("no-such-uid", 4).await;
        let refused = |h: &Hub| -> BTreeMap<u32, RefusedReason> {
            let words = h.heard.iter().filter_map(|(handles, m)| match m {
                to_agent::Message::Refused(word) => Some((handles, word.reason())),
                _ => None,
            });
            words
                .flat_map(|(handles, reason)| handles.iter().map(move |h| (*h, reason)))
                .collect()
        };
        hub.until("mine is served, the others are refused", |h| {
            h.has(1..=1, "a") && refused(h).len() == 3
        })
        .await;
        assert_eq!(
            refused(&hub),
            BTreeMap::from([
                (2, RefusedReason::WrongIdentity),
                (3, RefusedReason::WrongIdentity),
                (4, RefusedReason::Unknown),
            ])
        );
        // A message about one that is not open here is left alone: no body, no report.
        let hashes = vec![hub.held[&1]["a"].body_hash.clone()];
        hub.say(&[2], Need { hashes }).await;
        hub.say(&[1], Leave {}).await;
        hub.open(&mine, 7).await;
        hub.until("opened again under another handle", |h| h.has(7..=7, "a"))
            .await;
        assert!(
            !hub.heard
                .iter()
                .any(|(_, m)| matches!(m, to_agent::Message::Bodies(b) if !b.bodies.is_empty())),
            "no body for who is not carried"
        );

        // The ManagedCluster names another hub: this one loses it, and nothing else.
        named_hub(&center, "mine", json!("another-hub")).await;
        hub.until("refused", |h| refused(h).contains_key(&7)).await;
        let ping = ToCenter::new("", atoll_wire::Ping {});
        hub.to_center.send(Ok(ping)).await.unwrap();
        hub.until("the stream goes on", |h| {
            matches!(h.heard.last(), Some((_, to_agent::Message::Pong(_))))
        })
        .await;
    });
}
