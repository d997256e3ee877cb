//! One stream that carries many simulated destinations: what a hub would say for edges that do what they are told.
//!
//! A destination reports a copy only when it holds its decoded body. Configuration reports alike everywhere and is reported for many at once; workloads have a status of about
//! a kilobyte with times and names of their own, and some of them fail.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use atoll_agent::uplink::{Identity, Uplink};
use atoll_wire::{
    AgentClient, CopyReport, Desired, ErrorKind, Hello, Holding, Item, Leave, Need, PING_EVERY,
    Ping, Report, ToAgent, ToCenter, TombstoneDone, TombstoneOutcome, to_agent,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::edges::{Edge, Known, ObjectNumber, Version};
use crate::load::{Load, dice};
use crate::oracle::{self, Print};

/// Messages that wait to be sent.
const OUTBOX: usize = 256;
/// Pause before a stream that broke is opened again.
const AGAIN: Duration = Duration::from_millis(300);

/// What all hubs together did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Destinations that were welcomed since their hub connected.
    pub(crate) welcomed: AtomicU64,
    /// Items received, times destinations.
    pub(crate) items: AtomicU64,
    /// Of these: the destination had exactly that already.
    pub(crate) repeated: AtomicU64,
    /// Distinct bodies decoded.
    pub(crate) bodies: AtomicU64,
    /// Copies removed on request.
    pub(crate) removed: AtomicU64,
    /// Copies reported.
    pub(crate) reported: AtomicU64,
    /// Of these: acknowledged, so durable at the center.
    pub(crate) acknowledged: AtomicU64,
    /// Lists that the center asked for: digests differed.
    pub(crate) lists: AtomicU64,
    /// Destinations that were refused.
    pub(crate) refused: AtomicU64,
    /// Bodies that did not have the hash they were sent under.
    pub(crate) damaged: AtomicU64,
}

impl Tally {
    fn add(figure: &AtomicU64, n: usize) {
        figure.fetch_add(n as u64, Ordering::Relaxed);
    }
}

/// A destination as its hub knows it.
#[derive(Debug)]
struct Behind {
    uid: String,
    edge: Edge,
}

/// A report on its way: for whom, and what.
type Unacknowledged = (Vec<u32>, Vec<CopyReport>);

/// What a hub's destinations hold.
pub(crate) struct Hub {
    name: String,
    first: u32,
    load: Arc<Load>,
    tally: Arc<Tally>,
    known: Known,
    behind: Vec<Behind>,
    /// Decoded bodies, by hash.
    prints: HashMap<Bytes, Print>,
    /// Items that wait for a body, and for whom.
    waiting: HashMap<Bytes, Vec<(Item, Vec<u32>)>>,
    sequence: u64,
    /// Reports that are not acknowledged: a new stream begins with them.
    unacknowledged: BTreeMap<u64, Unacknowledged>,
    outbox: Option<mpsc::Sender<ToCenter>>,
    /// What could not be handed to the stream at once.
    backlog: Vec<ToCenter>,
}

/// A hub that is shared by its connection and the run.
pub(crate) type Shared = Arc<Mutex<Hub>>;

impl Hub {
    pub(crate) fn new(
        name: String,
        first: u32,
        uids: Vec<String>,
        load: Arc<Load>,
        tally: Arc<Tally>,
    ) -> Shared {
        let behind = uids.into_iter().map(|uid| Behind {
            uid,
            edge: Edge::default(),
        });
        Arc::new(Mutex::new(Hub {
            name,
            first,
            behind: behind.collect(),
            load,
            tally,
            known: Known::default(),
            prints: HashMap::new(),
            waiting: HashMap::new(),
            sequence: 0,
            unacknowledged: BTreeMap::new(),
            outbox: None,
            backlog: Vec::new(),
        }))
    }

    /// Its destinations: number, and prints by object uid.
    pub(crate) fn contents(&self) -> impl Iterator<Item = (u32, HashMap<&str, Print>)> {
        (self.first..).zip(&self.behind).map(|(n, behind)| {
            let copies = behind.edge.copies().iter();
            (
                n,
                copies
                    .map(|h| {
                        (
                            self.known.copy(h.object).uid.as_str(),
                            self.known.version(*h).print,
                        )
                    })
                    .collect(),
            )
        })
    }

    /// How many copies destinations that are not away hold.
    pub(crate) fn held_online(&self) -> usize {
        let online = self.behind.iter().filter(|b| b.edge.online);
        online.map(|b| b.edge.copies().len()).sum()
    }

    /// Whether a destination is connected or wants to be.
    pub(crate) fn is_online(&self, n: u32) -> bool {
        self.behind
            .get((n - self.first) as usize)
            .is_some_and(|b| b.edge.online)
    }

    /// Whether everything that was said was answered.
    pub(crate) fn is_settled(&self) -> bool {
        self.outbox.is_some()
            && self.unacknowledged.is_empty()
            && self.waiting.is_empty()
            && self.behind.iter().all(|b| b.edge.online == b.edge.welcome)
    }

    /// How many of its destinations want to be connected.
    pub(crate) fn online(&self) -> usize {
        self.behind.iter().filter(|b| b.edge.online).count()
    }

    /// Destinations come and go.
    pub(crate) fn set_online(&mut self, online: impl Fn(u32) -> bool) {
        let mut said = Vec::new();
        for (i, behind) in self.behind.iter_mut().enumerate() {
            let now = online(self.first + i as u32);
            let before = std::mem::replace(&mut behind.edge.online, now);
            if now && !before {
                said.push(hello(i, behind, &self.known));
            } else if before && !now {
                behind.edge.welcome = false;
                said.push(ToCenter::for_handles(vec![i as u32 + 1], Leave {}));
            }
        }
        if self.outbox.is_some() {
            self.backlog.extend(said);
        }
    }

    /// The status of one workload of each connected destination changes.
    pub(crate) fn churn(&mut self) -> usize {
        let mut changed = 0;
        for i in 0..self.behind.len() {
            let edge = &mut self.behind[i].edge;
            if !(edge.online && edge.welcome) {
                continue;
            }
            edge.phase += 1;
            let phase = edge.phase;
            let workloads: Vec<_> = edge
                .copies()
                .iter()
                .copied()
                .filter(|h| is_workload(&self.known, h.object))
                .collect();
            if workloads.is_empty() {
                continue;
            }
            let held = workloads[phase as usize % workloads.len()];
            let render = self.known.version(held).render;
            let report = self.workload_report(i, held.object, &render);
            self.report(vec![i as u32 + 1], vec![report]);
            changed += 1;
        }
        changed
    }

    fn report(&mut self, handles: Vec<u32>, copies: Vec<CopyReport>) {
        if handles.is_empty() || copies.is_empty() {
            return;
        }
        Tally::add(&self.tally.reported, handles.len() * copies.len());
        self.say_report(handles, copies);
    }

    fn say_report(&mut self, handles: Vec<u32>, copies: Vec<CopyReport>) {
        self.sequence += 1;
        let report = Report {
            sequence: self.sequence,
            copies: copies.clone(),
            complete: false,
        };
        self.unacknowledged
            .insert(self.sequence, (handles.clone(), copies));
        self.backlog.push(ToCenter::for_handles(handles, report));
    }

    fn workload_report(&self, i: usize, object: ObjectNumber, render: &[u8]) -> CopyReport {
        let behind = &self.behind[i];
        let n = u64::from(self.first) + i as u64;
        let key = n.wrapping_mul(1_000_003) + u64::from(object);
        let fails = self.load.happens("fails", key, self.load.failing);
        CopyReport {
            copy: Some(self.known.copy(object).clone()),
            render_hash: Bytes::copy_from_slice(render),
            applied_hash: Bytes::copy_from_slice(render),
            observed: true,
            status: workload_status(self.load.seed, n, behind.edge.phase, fails).into(),
            ..CopyReport::default()
        }
    }

    /// A stream is open: everybody who is not away says Hello.
    fn connected(&mut self, outbox: mpsc::Sender<ToCenter>) {
        self.outbox = Some(outbox);
        self.backlog.clear();
        self.waiting.clear();
        for (i, behind) in self.behind.iter_mut().enumerate() {
            behind.edge.welcome = false;
            if behind.edge.online {
                self.backlog.push(hello(i, behind, &self.known));
            }
        }
        for (_, (handles, copies)) in std::mem::take(&mut self.unacknowledged) {
            self.say_report(handles, copies);
        }
    }

    fn disconnected(&mut self) {
        self.outbox = None;
        for behind in &mut self.behind {
            if std::mem::take(&mut behind.edge.welcome) {
                self.tally.welcomed.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Hears one message.
    fn hear(&mut self, handles: Vec<u32>, message: to_agent::Message) {
        use to_agent::Message;
        match message {
            Message::Welcome(welcome) => {
                for handle in &handles {
                    if let Some(behind) = self.behind.get_mut(*handle as usize - 1)
                        && !std::mem::replace(&mut behind.edge.welcome, true)
                    {
                        Tally::add(&self.tally.welcomed, 1);
                    }
                }
                if welcome.report_everything {
                    for handle in handles {
                        self.report_all(handle);
                    }
                }
            }
            Message::List(_) => {
                Tally::add(&self.tally.lists, handles.len());
                for handle in handles {
                    self.list(handle);
                }
            }
            Message::Desired(desired) => self.desired(&handles, desired),
            Message::Bodies(bodies) => {
                for body in bodies.bodies {
                    self.body(&body.hash, &body.bytes);
                }
                for hash in bodies.unknown {
                    self.waiting.remove(&hash);
                }
            }
            Message::Tombstone(tombstone) => {
                let object = tombstone
                    .copy
                    .as_ref()
                    .and_then(|c| self.known.number_of(c));
                for handle in &handles {
                    let behind = self.behind.get_mut(*handle as usize - 1);
                    if let (Some(behind), Some(object)) = (behind, object)
                        && behind.edge.drop_copy(object)
                    {
                        Tally::add(&self.tally.removed, 1);
                    }
                }
                let done = TombstoneDone {
                    copy: tombstone.copy,
                    outcome: TombstoneOutcome::Removed as i32,
                    ..TombstoneDone::default()
                };
                self.backlog.push(ToCenter::for_handles(handles, done));
            }
            Message::ReportAck(ack) => {
                if let Some((handles, copies)) = self.unacknowledged.remove(&ack.sequence) {
                    Tally::add(&self.tally.acknowledged, handles.len() * copies.len());
                }
            }
            Message::Refused(refused) => {
                tracing::warn!(hub = %self.name, why = %refused.message, "refused");
                Tally::add(&self.tally.refused, handles.len().max(1));
            }
            Message::Released(_)
            | Message::FetchStatus(_)
            | Message::Resumed(_)
            | Message::Pong(_) => {}
        }
    }

    fn desired(&mut self, handles: &[u32], desired: Desired) {
        let mut ready = Vec::new();
        let mut asked: HashSet<Bytes> = HashSet::new();
        for mut item in desired.items {
            let body = std::mem::take(&mut item.body);
            if !body.is_empty() && !self.decode(&item.body_hash, &body) {
                continue;
            }
            match self.prints.get(&item.body_hash) {
                Some(print) => ready.push((item, *print)),
                None => {
                    let wait = self.waiting.entry(item.body_hash.clone()).or_default();
                    if wait.is_empty() {
                        asked.insert(item.body_hash.clone());
                    }
                    wait.push((item, handles.to_vec()));
                }
            }
        }
        self.apply(handles, ready);
        if let Some(first) = handles.first().filter(|_| !asked.is_empty()) {
            let need = Need {
                hashes: asked.into_iter().collect(),
            };
            self.backlog.push(ToCenter::for_handles(vec![*first], need));
        }
    }

    /// Decodes a body; false when it is not what it is called.
    fn decode(&mut self, hash: &Bytes, bytes: &[u8]) -> bool {
        let object = serde_json::from_slice(bytes).ok();
        let Some(object) = object.filter(|_| atoll_wire::digest::body_hash(bytes)[..] == hash[..])
        else {
            Tally::add(&self.tally.damaged, 1);
            return false;
        };
        Tally::add(&self.tally.bodies, 1);
        self.prints.insert(hash.clone(), oracle::print(&object));
        true
    }

    fn body(&mut self, hash: &Bytes, bytes: &[u8]) {
        if !self.decode(hash, bytes) {
            return;
        }
        let print = self.prints.get(hash).copied();
        for (item, handles) in self.waiting.remove(hash).unwrap_or_default() {
            if let Some(print) = print {
                self.apply(&handles, vec![(item, print)]);
            }
        }
    }

    /// Destinations hold these now, and say so.
    fn apply(&mut self, handles: &[u32], items: Vec<(Item, Print)>) {
        let mut alike: Vec<CopyReport> = Vec::new();
        let mut workloads: Vec<(ObjectNumber, Bytes)> = Vec::new();
        for (item, print) in items {
            let Some(object) = self.known.object(&item) else {
                continue;
            };
            let Ok(render) = <[u8; 16]>::try_from(item.render_hash.as_ref()) else {
                continue;
            };
            let held = self.known.held(object, Version { render, print });
            Tally::add(&self.tally.items, handles.len());
            for handle in handles {
                if let Some(behind) = self.behind.get_mut(*handle as usize - 1)
                    && !behind.edge.take(held)
                {
                    Tally::add(&self.tally.repeated, 1);
                }
            }
            if is_workload(&self.known, object) {
                workloads.push((object, item.render_hash));
            } else {
                alike.push(CopyReport {
                    copy: item.copy,
                    render_hash: item.render_hash.clone(),
                    applied_hash: item.render_hash,
                    error: ErrorKind::None as i32,
                    observed: true,
                    ..CopyReport::default()
                });
            }
        }
        self.report(handles.to_vec(), alike);
        if !workloads.is_empty() {
            for handle in handles {
                let i = *handle as usize - 1;
                let reports = workloads
                    .iter()
                    .map(|(o, render)| self.workload_report(i, *o, render))
                    .collect();
                self.report(vec![*handle], reports);
            }
        }
    }

    fn report_all(&mut self, handle: u32) {
        let i = handle as usize - 1;
        let Some(behind) = self.behind.get(i) else {
            return;
        };
        let mut copies = Vec::new();
        for held in behind.edge.copies().to_vec() {
            let render = self.known.version(held).render;
            copies.push(if is_workload(&self.known, held.object) {
                self.workload_report(i, held.object, &render)
            } else {
                CopyReport {
                    copy: Some(self.known.copy(held.object).clone()),
                    render_hash: Bytes::copy_from_slice(&render),
                    applied_hash: Bytes::copy_from_slice(&render),
                    observed: true,
                    ..CopyReport::default()
                }
            });
        }
        self.report(vec![handle], copies);
    }

    fn list(&mut self, handle: u32) {
        let Some(behind) = self.behind.get(handle as usize - 1) else {
            return;
        };
        let copies = behind.edge.copies().iter().map(|held| atoll_wire::Held {
            copy: Some(self.known.copy(held.object).clone()),
            render_hash: Bytes::copy_from_slice(&self.known.version(*held).render),
            object: Some(self.known.reference(held.object).clone()),
        });
        let holding = Holding {
            copies: copies.collect(),
            last: true,
        };
        self.backlog
            .push(ToCenter::for_handles(vec![handle], holding));
    }
}

fn is_workload(known: &Known, object: ObjectNumber) -> bool {
    known.reference(object).kind == "Deployment"
}

fn hello(i: usize, behind: &Behind, known: &Known) -> ToCenter {
    let hello = Hello {
        cursor: None,
        digest: behind.edge.digest(known).to_bytes().into(),
        agent_version: "simulated".into(),
        kubernetes_version: "v1.36.0".into(),
        ..Hello::default()
    };
    let mut message = ToCenter::new(behind.uid.clone(), hello);
    message.handles = vec![i as u32 + 1];
    message
}

/// A Deployment's status with times and names of its own, about a kilobyte.
fn workload_status(seed: u64, n: u64, phase: u32, fails: bool) -> String {
    let second = dice(seed, "second", n + u64::from(phase)) % 86_400;
    let at = format!(
        "2026-11-21T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    );
    let pod = format!(
        "{:010x}-{:05x}",
        dice(seed, "pod", n) & 0xff_ffff_ffff,
        dice(seed, "pod", n + u64::from(phase)) & 0xf_ffff
    );
    // An odd phase has one replica fewer: what a real workload does while it is moved.
    let ready = if fails { 0 } else { 2 - phase % 2 };
    let condition = |kind: &str, status: bool, reason: &str| {
        serde_json::json!({"type": kind, "status": if status { "True" } else { "False" }, "reason": reason,
            "lastUpdateTime": at, "lastTransitionTime": at,
            "message": format!("ReplicaSet \"web-{pod}\" on node-{n} {reason} at {at}; the newest pod is web-{pod}, its predecessor was web-{:010x}", dice(seed, "old pod", n))})
    };
    serde_json::json!({
        "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": ready, "availableReplicas": ready,
        "unavailableReplicas": 2 - ready,
        "conditions": [
            condition("Available", ready > 0, if ready > 0 { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" }),
            condition("Progressing", !fails, if fails { "ProgressDeadlineExceeded" } else { "NewReplicaSetAvailable" }),
        ],
    })
    .to_string()
}

/// Keeps a hub connected until it is dropped.
pub(crate) async fn run(hub: Shared, uplink: Arc<Uplink>, identity: Arc<Identity>) {
    loop {
        let ended = session(&hub, &uplink, &identity).await;
        hub.lock().disconnected();
        if let Err(error) = ended {
            tracing::debug!(hub = %hub.lock().name, %error, "the stream broke");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn session(hub: &Shared, uplink: &Uplink, identity: &Identity) -> anyhow::Result<()> {
    let (up, messages) = mpsc::channel(OUTBOX);
    let mut client = AgentClient::new(uplink.channel(Some(identity)).await?);
    up.send(ToCenter::new("", Ping {}))
        .await
        .context("the stream is closed")?;
    let mut down = client
        .session(ReceiverStream::new(messages))
        .await?
        .into_inner();
    hub.lock().connected(up.clone());
    let mut ping = tokio::time::interval(PING_EVERY);
    let mut look = tokio::time::interval(Duration::from_millis(20));
    loop {
        // What is to be said goes out first; the center reads on meanwhile, so neither side can wait for the other for ever.
        let said = std::mem::take(&mut hub.lock().backlog);
        let sending = async {
            for message in said {
                if up.send(message).await.is_err() {
                    bail!("the stream is closed");
                }
            }
            Ok(())
        };
        tokio::pin!(sending);
        let mut sent = false;
        loop {
            tokio::select! {
                outcome = &mut sending, if !sent => {
                    outcome?;
                    sent = true;
                }
                message = down.message() => {
                    let Some(ToAgent { message, handles, .. }) = message? else { return Ok(()) };
                    if let Some(message) = message {
                        hub.lock().hear(handles, message);
                    }
                }
                _ = ping.tick() => up.send(ToCenter::new("", Ping {})).await.context("the stream is closed")?,
                _ = look.tick() => {}
            }
            if sent && !hub.lock().backlog.is_empty() {
                break;
            }
        }
    }
}
