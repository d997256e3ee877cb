//! Rollouts through the fleet: stages, health, pauses, approvals, budgets, late joiners, undoing, and kills in the middle.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a failing test may panic anywhere

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use atoll_registry::{PatchType, ResourceRef};
use atoll_wire::ErrorKind;
use serde_json::{Value, json};
use support::{Center, Disk, Edge, Live, Timeline, configs, eventually};

fn rollouts() -> ResourceRef {
    ResourceRef::new("edge.atoll.dev", "v1alpha1", "rollouts")
}

async fn rollout_policy(center: &Center, name: &str, spec: Value) {
    let resource = ResourceRef::new("edge.atoll.dev", "v1alpha1", "rolloutpolicies");
    let object = json!({"apiVersion": "edge.atoll.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": name}, "spec": spec});
    center.client("p1").create(&resource, object).await.unwrap();
}

/// The Rollout of a revision, once it is as waited for.
async fn rollout(center: &Center, revision: u64, ready: impl Fn(&Value) -> bool) -> Value {
    let name = format!("bp-{revision}");
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let found = center
            .client("p1")
            .find(&rollouts(), None, &name)
            .await
            .unwrap();
        if let Some(found) = found.as_ref().filter(|f| ready(f)) {
            return found.clone();
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "still not: {found:#?}"
        );
        // Polls a state that has no event of its own here; nothing depends on how long this is.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn patch(center: &Center, revision: u64, spec: Value) {
    let name = format!("bp-{revision}");
    let patch = json!({"spec": spec});
    let client = center.client("p1");
    client
        .patch(&rollouts(), None, &name, PatchType::Merge, patch)
        .await
        .unwrap();
}

fn phase(phase: &'static str) -> impl Fn(&Value) -> bool {
    move |rollout| rollout["status"]["phase"] == phase
}

/// Complete, and that many have it. (Whoever is away when a stage is through catches up.)
fn complete(current: u64) -> impl Fn(&Value) -> bool {
    move |r| r["status"]["phase"] == "Completed" && r["status"]["counts"]["current"] == current
}

fn bound(rollout_policy: &str) -> Value {
    json!({"clusterSelectors": [{"matchLabels": {"fleet": "x"}}], "rolloutPolicy": rollout_policy,
        "downsync": [{"objectSelectors": [{"matchLabels": {"app": "web"}}]}]})
}

/// A center with edges that live: names, and whether they take what they get.
struct Stage {
    center: Center,
    timeline: Timeline,
    edges: BTreeMap<String, Live>,
    /// Edges where what is applied fails.
    ill: BTreeMap<String, Arc<AtomicBool>>,
}

impl Stage {
    async fn new(directory: &std::path::Path, names: &[&str]) -> Stage {
        let mut stage = Stage {
            center: Center::open(directory).await,
            timeline: Timeline::default(),
            edges: BTreeMap::new(),
            ill: BTreeMap::new(),
        };
        stage.center.config("p1", "web", "1").await;
        for name in names {
            stage.join(name).await;
        }
        stage
    }

    async fn join(&mut self, name: &str) {
        let labels = json!({"fleet": "x", "name": name, "site": name[..1]});
        let uid = self.center.destination(name, labels).await;
        self.connect(name, &uid, Disk::default()).await;
    }

    async fn connect(&mut self, name: &str, uid: &str, disk: Disk) {
        let ill = self.ill.entry(name.to_owned()).or_default().clone();
        let edge = Edge::connect(&self.center, uid, disk)
            .await
            .behaving(move |_| {
                let error = match ill.load(Ordering::SeqCst) {
                    true => ErrorKind::Invalid,
                    false => ErrorKind::None,
                };
                (error, Value::Null)
            });
        self.edges
            .insert(name.to_owned(), edge.live(&self.timeline));
    }

    fn value(&self, name: &str) -> Option<String> {
        self.edges[name].configs().get("web").cloned()
    }

    fn all_have(&self, value: &str) -> bool {
        self.edges
            .keys()
            .all(|name| self.value(name).as_deref() == Some(value))
    }

    async fn everywhere(&self, value: &str) {
        for _ in 0..1000 {
            if self.all_have(value) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        let all = self
            .center
            .client("p1")
            .find(&rollouts(), None, "bp-2")
            .await
            .unwrap();
        let have: Vec<_> = self.edges.keys().map(|n| (n, self.value(n))).collect();
        panic!(
            "never {value} everywhere: {have:?} {:#}",
            all.unwrap()["status"]
        );
    }

    /// Every edge is known to be here.
    async fn here(&self) {
        for name in self.edges.keys() {
            let available = |o: &Value| {
                let conditions = o["status"]["conditions"].as_array();
                let mut conditions = conditions.into_iter().flatten();
                conditions.any(|c| {
                    c["type"] == "ManagedClusterConditionAvailable" && c["status"] == "True"
                })
            };
            let clusters = support::managed_clusters();
            let client = self.center.client("i1");
            while !available(&client.get(&clusters, None, name).await.unwrap()) {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
    }

    /// Kills the center as a crash would and starts it again; edges find back.
    async fn crash(self, directory: &std::path::Path, back: bool) -> Stage {
        let Stage {
            center,
            timeline,
            edges,
            ill,
        } = self;
        let mut disks = Vec::new();
        for (name, edge) in edges {
            let uid = edge.uid.clone();
            disks.push((name, uid, edge.cut().await));
        }
        center.crash().await;
        let mut stage = Stage {
            center: Center::open(directory).await,
            timeline,
            edges: BTreeMap::new(),
            ill,
        };
        for (name, uid, disk) in disks {
            if back {
                stage.connect(&name, &uid, disk).await;
            }
        }
        stage
    }
}

fn canary_then_rest() -> Value {
    json!({"settle": "0s", "stages": [{"name": "canary", "selector": {"matchLabels": {"name": "a1"}}}]})
}

#[test]
fn a_failing_canary_pauses_and_nobody_else_changes() {
    support::run(|directory| async move {
        let stage = Stage::new(&directory, &["a1", "a2", "b1"]).await;
        rollout_policy(&stage.center, "rp", canary_then_rest()).await;
        stage.center.policy("p1", "bp", bound("rp")).await;
        stage.everywhere("1").await;
        rollout(&stage.center, 1, complete(3)).await;
        stage.ill["a1"].store(true, Ordering::SeqCst);
        stage.center.config("p1", "web", "2").await;
        let paused = rollout(&stage.center, 2, phase("Paused")).await;
        let status = &paused["status"];
        assert_eq!(status["stage"], "canary");
        assert_eq!(status["stages"][0]["failing"], json!(["a1"]));
        assert!(
            status["message"]
                .as_str()
                .unwrap()
                .contains("1 failed in stage canary"),
            "{status}"
        );
        assert_eq!(
            [stage.value("a1"), stage.value("a2"), stage.value("b1")].map(Option::unwrap),
            ["2", "1", "1"]
        );
        // A person looked: it goes on.
        let seen = status["pausedAt"].clone();
        patch(&stage.center, 2, json!({"resumedAt": seen})).await;
        stage.everywhere("2").await;
        // Undone: everybody goes back.
        stage.ill["a1"].store(false, Ordering::SeqCst);
        patch(&stage.center, 2, json!({"rollbackTo": {"revision": 1}})).await;
        stage.everywhere("1").await;
        rollout(&stage.center, 3, phase("Completed")).await;
        // The content that was undone is what is there; it does not come again by itself, another one does.
        stage.center.config("p1", "web", "3").await;
        stage.everywhere("3").await;
    });
}

#[test]
fn a_failing_canary_rolls_back() {
    support::run(|directory| async move {
        let mut spec = canary_then_rest();
        spec["onFailure"] = json!("rollback");
        let stage = Stage::new(&directory, &["a1", "a2"]).await;
        rollout_policy(&stage.center, "rp", spec).await;
        stage.center.policy("p1", "bp", bound("rp")).await;
        rollout(&stage.center, 1, complete(2)).await;
        stage.ill["a1"].store(true, Ordering::SeqCst);
        stage.center.config("p1", "web", "2").await;
        rollout(&stage.center, 2, phase("RolledBack")).await;
        stage.ill["a1"].store(false, Ordering::SeqCst);
        stage.everywhere("1").await;
        let timeline = stage.timeline.0.lock().clone();
        let two: Vec<&String> = timeline
            .iter()
            .filter(|(_, c)| *c == configs(&[("web", "2")]))
            .map(|(uid, _)| uid)
            .collect();
        assert_eq!(two, [&stage.edges["a1"].uid], "only the canary ever had it");
    });
}

#[test]
fn a_gate_waits_for_approval_and_says_who_gave_it() {
    support::run(|directory| async move {
        let stage = Stage::new(&directory, &["a1", "a2"]).await;
        let mut spec = canary_then_rest();
        spec["stages"][0]["gates"] = json!({"after": [{"name": "look", "approval": {}}]});
        rollout_policy(&stage.center, "rp", spec).await;
        stage.center.policy("p1", "bp", bound("rp")).await;
        let waits = |r: &Value| {
            r["status"]["stages"][0]["waitingFor"]
                .to_string()
                .contains("waits for approval")
        };
        rollout(&stage.center, 1, waits).await;
        assert_eq!(
            (stage.value("a1").as_deref(), stage.value("a2")),
            (Some("1"), None)
        );
        patch(
            &stage.center,
            1,
            json!({"approvals": [{"stage": "canary", "gate": "look"}]}),
        )
        .await;
        stage.everywhere("1").await;
        let done = rollout(&stage.center, 1, complete(2)).await;
        assert!(done["spec"]["approvals"][0]["by"].is_string(), "{done}");
    });
}

#[test]
fn one_at_a_time_also_when_the_center_is_killed() {
    support::run(|directory| async move {
        let names = ["a1", "a2", "a3", "a4", "b1", "b2"];
        let mut stage = Stage::new(&directory, &names).await;
        let spec = json!({"settle": "0s", "maxConcurrency": 1, "disruptionBudgets": [{"groupBy": ["site"], "maxUnavailable": 1}]});
        rollout_policy(&stage.center, "rp", spec).await;
        stage.center.policy("p1", "bp", bound("rp")).await;
        rollout(&stage.center, 1, complete(6)).await;
        // Whoever gets it first is ill for as long as it takes to look: it keeps its slot or counts as failed, and nobody else may start.
        for ill in stage.ill.values() {
            ill.store(true, Ordering::SeqCst);
        }
        stage.center.config("p1", "web", "2").await;
        rollout(&stage.center, 2, phase("Paused")).await;
        for round in 0..3 {
            stage = stage.crash(&directory, true).await;
            let paused = rollout(&stage.center, 2, phase("Paused")).await;
            assert_eq!(
                paused["status"]["counts"]["failed"], 1,
                "round {round}: {paused:#}"
            );
            let has: Vec<_> = names
                .iter()
                .filter(|n| stage.value(n).as_deref() == Some("2"))
                .collect();
            assert_eq!(has.len(), 1, "round {round}: {has:?}");
        }
        for ill in stage.ill.values() {
            ill.store(false, Ordering::SeqCst);
        }
        let paused = rollout(&stage.center, 2, phase("Paused")).await;
        patch(
            &stage.center,
            2,
            json!({"resumedAt": paused["status"]["pausedAt"]}),
        )
        .await;
        stage = stage.crash(&directory, true).await;
        // Whoever failed counts as unavailable in its site until it is well again.
        stage.edges.values().for_each(Live::report);
        stage.everywhere("2").await;
        // The timeline of each edge's own eyes: one after the other.
        let timeline = stage.timeline.0.lock().clone();
        let mut seen = Vec::new();
        for (uid, _) in timeline
            .iter()
            .filter(|(_, c)| *c == configs(&[("web", "2")]))
        {
            assert!(!seen.contains(uid), "nobody was sent it twice");
            seen.push(uid.clone());
        }
        assert_eq!(seen.len(), 6);
    });
}

#[test]
fn a_late_joiner_gets_what_is_complete_until_its_stage_opens() {
    support::run(|directory| async move {
        let mut stage = Stage::new(&directory, &["a1", "a2"]).await;
        let mut spec = canary_then_rest();
        spec["stages"][0]["gates"] = json!({"after": [{"name": "look", "approval": {}}]});
        rollout_policy(&stage.center, "rp", spec).await;
        stage.center.policy("p1", "bp", bound("rp")).await;
        patch_when(&stage, 1).await;
        stage.everywhere("1").await;
        rollout(&stage.center, 1, complete(2)).await;
        stage.center.config("p1", "web", "2").await;
        eventually("the canary", || stage.value("a1").as_deref() == Some("2")).await;
        stage.join("b9").await;
        eventually("the joiner", || stage.value("b9").is_some()).await;
        assert_eq!(
            stage.value("b9").as_deref(),
            Some("1"),
            "the last completed revision"
        );
        patch_when(&stage, 2).await;
        stage.everywhere("2").await;
    });
}

async fn patch_when(stage: &Stage, revision: u64) {
    let waits = |r: &Value| {
        r["status"]["stages"][0]["waitingFor"]
            .to_string()
            .contains("waits for approval")
    };
    rollout(&stage.center, revision, waits).await;
    let approval = json!({"approvals": [{"stage": "canary", "gate": "look"}]});
    patch(&stage.center, revision, approval).await;
}

#[test]
fn a_policy_gains_and_loses_its_rollout_policy() {
    support::run(|directory| async move {
        let mut stage = Stage::new(&directory, &["a1", "a2"]).await;
        let mut free = bound("rp");
        free.as_object_mut().unwrap().remove("rolloutPolicy");
        stage.center.policy("p1", "bp", free).await;
        stage.everywhere("1").await;
        stage.center.config("p1", "web", "2").await;
        stage.everywhere("2").await;
        stage.here().await;
        rollout_policy(&stage.center, "rp", canary_then_rest()).await;
        let gain = json!({"spec": {"rolloutPolicy": "rp"}});
        change(&stage.center, gain).await;
        stage.ill["a1"].store(true, Ordering::SeqCst);
        stage.center.config("p1", "web", "3").await;
        rollout(&stage.center, 3, phase("Paused")).await;
        assert_eq!(stage.value("a2").as_deref(), Some("2"));
        stage = stage.crash(&directory, true).await;
        rollout(&stage.center, 3, phase("Paused")).await;
        let lose = json!({"spec": {"rolloutPolicy": null}});
        change(&stage.center, lose).await;
        stage.center.config("p1", "web", "4").await;
        stage.everywhere("4").await;
        stage
            .center
            .delete("p1", &support::policies(), None, "bp")
            .await;
        eventually("removed", || {
            stage.edges.values().all(|e| e.configs().is_empty())
        })
        .await;
        eventually_gone(&stage.center).await;
    });
}

/// Changes the policy.
async fn change(center: &Center, patch: Value) {
    let client = center.client("p1");
    client
        .patch(&support::policies(), None, "bp", PatchType::Merge, patch)
        .await
        .unwrap();
}

async fn eventually_gone(center: &Center) {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let left = center
            .client("p1")
            .find(&rollouts(), None, "bp-4")
            .await
            .unwrap();
        if left.is_none() {
            return;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "still there: {left:#?}"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[test]
fn an_inventorys_budget_binds_policies_without_a_rollout_policy() {
    support::run(|directory| async move {
        let mut stage = Stage::new(&directory, &["a1", "a2", "a3", "b1", "b2"]).await;
        let mut free = bound("rp");
        free.as_object_mut().unwrap().remove("rolloutPolicy");
        stage.center.policy("p1", "bp", free).await;
        stage.everywhere("1").await;
        stage.here().await;
        let budgets = ResourceRef::new("edge.atoll.dev", "v1alpha1", "disruptionbudgets");
        let object = json!({"apiVersion": "edge.atoll.dev/v1alpha1", "kind": "DisruptionBudget", "metadata": {"name": "one"}, "spec": {"groupBy": ["site"], "maxUnavailable": 1}});
        stage
            .center
            .client("i1")
            .create(&budgets, object)
            .await
            .unwrap();
        let shown = |o: &Value| {
            o["status"]["groups"]
                .as_array()
                .is_some_and(|g| g.len() == 2)
        };
        stage
            .center
            .object_when("i1", &budgets, None, "one", shown)
            .await;
        stage
            .ill
            .values()
            .for_each(|ill| ill.store(true, Ordering::SeqCst));
        stage.center.config("p1", "web", "2").await;
        // One of each site has it, fails, and counts as unavailable from then on.
        let failing = |o: &Value| {
            let mut groups = o["status"]["groups"].as_array().into_iter().flatten();
            groups.all(|g| g["unavailable"] == 1 && g["allowed"] == 1)
        };
        stage
            .center
            .object_when("i1", &budgets, None, "one", failing)
            .await;
        let waits = |r: &Value| {
            r["status"]["stages"][0]["waitingFor"] == json!(["3 for the inventory budget"])
        };
        rollout(&stage.center, 2, waits).await;
        stage = stage.crash(&directory, true).await;
        rollout(&stage.center, 2, waits).await;
        let have = stage
            .edges
            .keys()
            .filter(|n| stage.value(n).as_deref() == Some("2"));
        let mut sites: Vec<&str> = have.map(|n| &n[..1]).collect();
        sites.sort_unstable();
        assert_eq!(sites, ["a", "b"]);
        stage
            .ill
            .values()
            .for_each(|ill| ill.store(false, Ordering::SeqCst));
        stage.edges.values().for_each(Live::report);
        stage.everywhere("2").await;
    });
}

#[test]
fn of_two_policies_on_one_object_the_most_conservative_counts() {
    support::run(|directory| async move {
        let stage = Stage::new(&directory, &["a1", "a2"]).await;
        let mut free = bound("rp");
        free.as_object_mut().unwrap().remove("rolloutPolicy");
        stage.center.policy("p1", "free", free).await;
        stage.everywhere("1").await;
        stage.here().await;
        rollout_policy(&stage.center, "rp", canary_then_rest()).await;
        stage.center.policy("p1", "bp", bound("rp")).await;
        rollout(&stage.center, 1, complete(2)).await;
        stage.ill["a1"].store(true, Ordering::SeqCst);
        stage.center.config("p1", "web", "2").await;
        rollout(&stage.center, 2, phase("Paused")).await;
        // The other policy has its second revision everywhere, and the copies wait all the same.
        let second = |s: &Value| s["revision"] == 2;
        stage.center.status_when("p1", "free", second).await;
        assert_eq!(stage.value("a2").as_deref(), Some("1"));
        // It goes: nobody holds anything back any more, and nothing is removed.
        stage
            .center
            .delete("p1", &support::policies(), None, "bp")
            .await;
        stage.everywhere("2").await;
    });
}

#[test]
fn who_leaves_stays_until_its_replacement_is_healthy() {
    support::run(|directory| async move {
        let stage = Stage::new(&directory, &["a1", "a2"]).await;
        rollout_policy(
            &stage.center,
            "rp",
            json!({"settle": "0s", "move": {"make-before-break": true}}),
        )
        .await;
        stage.center.label("a1", json!({"turn": "first"})).await;
        stage.center.label("a2", json!({"turn": "second"})).await;
        let whose = |turn: &str| {
            let mut spec = bound("rp");
            spec["clusterSelectors"] = json!([{"matchLabels": {"fleet": "x", "turn": turn}}]);
            spec
        };
        stage.center.policy("p1", "bp", whose("first")).await;
        rollout(&stage.center, 1, complete(1)).await;
        stage.ill["a2"].store(true, Ordering::SeqCst);
        // In one decision: who leaves while nobody comes has nobody to wait for.
        let change = json!({"spec": {"clusterSelectors": whose("second")["clusterSelectors"]}});
        let client = stage.center.client("p1");
        client
            .patch(&support::policies(), None, "bp", PatchType::Merge, change)
            .await
            .unwrap();
        eventually("the new one has it", || stage.value("a2").is_some()).await;
        let failed = |r: &Value| r["status"]["counts"]["failed"] == 1;
        rollout(&stage.center, 1, failed).await;
        assert_eq!(
            stage.value("a1").as_deref(),
            Some("1"),
            "it is not healthy there yet"
        );
        stage.ill["a2"].store(false, Ordering::SeqCst);
        stage.edges["a2"].report();
        eventually("the old one lets go", || stage.value("a1").is_none()).await;
        assert_eq!(stage.value("a2").as_deref(), Some("1"));
    });
}

/// A service that answers each request with what is in the cell; nothing in it hangs. Its URL and its certificate.
async fn service(says: Arc<parking_lot::Mutex<Option<String>>>) -> (String, String) {
    use base64::Engine as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key =
        rustls_pki_types::PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![signed.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/gate", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (says, acceptor) = (says.clone(), acceptor.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut request = vec![0; 16 << 10];
                let _ = stream.read(&mut request).await;
                let said = says.lock().clone();
                let Some(body) = said else {
                    return std::future::pending().await;
                };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (
        url,
        base64::engine::general_purpose::STANDARD.encode(signed.cert.pem()),
    )
}

#[test]
fn a_webhook_that_hangs_or_lies_keeps_its_gate_closed() {
    support::run(|directory| async move {
        let stage = Stage::new(&directory, &["a1"]).await;
        let says = Arc::new(parking_lot::Mutex::new(None));
        let (url, authority) = service(says.clone()).await;
        let hook = json!({"url": url, "caBundle": authority, "timeoutSeconds": 1, "every": "1s"});
        let spec = json!({"settle": "0s", "gates": [{"name": "ask", "webhook": hook}]});
        rollout_policy(&stage.center, "rp", spec).await;
        stage.center.policy("p1", "bp", bound("rp")).await;
        let waits = |words: &'static str| {
            move |r: &Value| {
                r["status"]["stages"][0]["waitingFor"]
                    .to_string()
                    .contains(words)
            }
        };
        rollout(&stage.center, 1, waits("cannot be asked: no answer from")).await;
        *says.lock() = Some("{\"answer\": \"perhaps\"}".to_owned());
        rollout(&stage.center, 1, waits("did not answer")).await;
        *says.lock() = Some("{\"answer\": \"wait\", \"message\": \"freeze\"}".to_owned());
        rollout(&stage.center, 1, waits("freeze")).await;
        assert_eq!(stage.value("a1"), None);
        *says.lock() = Some("{\"answer\": \"go\"}".to_owned());
        stage.everywhere("1").await;
    });
}

#[test]
fn an_expression_over_signals_and_counts_opens_a_gate() {
    support::run(|directory| async move {
        let stage = Stage::new(&directory, &["a1", "a2"]).await;
        let mut spec = canary_then_rest();
        let expression = "summary.stages.canary.current == 1 && signals.threat[?'a'].orValue('high') != 'high' && now > timestamp('2020-01-01T00:00:00Z')";
        spec["stages"][0]["gates"] = json!({"after": [{"name": "calm", "expression": {"expression": expression, "every": "1s"}}]});
        rollout_policy(&stage.center, "rp", spec).await;
        stage.center.policy("p1", "bp", bound("rp")).await;
        let waits = |r: &Value| {
            r["status"]["stages"][0]["waitingFor"]
                .to_string()
                .contains("gate \\\"calm\\\"")
        };
        rollout(&stage.center, 1, waits).await;
        assert_eq!(stage.value("a2"), None);
        let signals = ResourceRef::new("edge.atoll.dev", "v1alpha1", "signals");
        let signal = json!({"apiVersion": "edge.atoll.dev/v1alpha1", "kind": "Signal", "metadata": {"name": "threat"}, "spec": {"labelKey": "site", "values": {"a": "low"}}});
        stage
            .center
            .client("i1")
            .create(&signals, signal)
            .await
            .unwrap();
        stage.everywhere("1").await;
    });
}

#[test]
fn specs_that_cannot_be_run_are_refused() {
    support::run(|directory| async move {
        let center = Center::open(&directory).await;
        let resource = ResourceRef::new("edge.atoll.dev", "v1alpha1", "rolloutpolicies");
        for (spec, words) in [
            (json!({"maxConcurrency": 0}), "spec.maxConcurrency"),
            (
                json!({"stages": [{"name": "a", "expression": "cluster.name = 'x'"}]}),
                "spec.stages[0].expression",
            ),
            (
                json!({"gates": [{"name": "g", "expression": {"expression": "summary.failed"}}], "healthy": [{"expression": "1 + 1"}]}),
                "spec.healthy[0].expression",
            ),
        ] {
            let object = json!({"apiVersion": "edge.atoll.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": "rp"}, "spec": spec});
            let refused = center
                .client("p1")
                .create(&resource, object)
                .await
                .unwrap_err();
            assert!(refused.message.contains(words), "{}", refused.message);
        }
        let budgets = ResourceRef::new("edge.atoll.dev", "v1alpha1", "disruptionbudgets");
        let object = json!({"apiVersion": "edge.atoll.dev/v1alpha1", "kind": "DisruptionBudget", "metadata": {"name": "b"}, "spec": {"maxUnavailable": 0}});
        let refused = center
            .client("i1")
            .create(&budgets, object)
            .await
            .unwrap_err();
        assert!(
            refused.message.contains("0 would let nothing change, ever"),
            "{}",
            refused.message
        );
    });
}
