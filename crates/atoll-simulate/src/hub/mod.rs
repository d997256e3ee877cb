//! One stream that carries many simulated destinations: what a hub would say for edges that do what they are told.
//!
//! A destination reports a copy only when it holds its decoded body. Configuration reports alike everywhere and is reported for many at once; workloads have a status of about
//! a kilobyte with times and names of their own, and some of them fail.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use atoll_wire::{
    Desired, Hello, Holding, Item, Leave, Need, ToCenter, TombstoneDone, TombstoneOutcome, to_agent,
};
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::edges::{Edge, Known, ObjectNumber, Version};
use crate::load::Load;
use crate::oracle::{self, Print};
use crate::slots::Slots;

mod reports;
mod session;

pub(crate) use session::run;

use self::reports::is_workload;

/// Messages that wait to be sent.
const OUTBOX: usize = 256;

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
    /// Who works on a change of a policy with a RolloutPolicy.
    pub(crate) slots: Mutex<Slots>,
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

/// Something to report: for whom, and which objects. What is said of them is made when it is sent, so that what waits is small.
type Owed = (Vec<u32>, Vec<ObjectNumber>);

/// What a hub's destinations hold.
pub(crate) struct Hub {
    name: String,
    /// Not a hub but the agent of its only destination, which is named by its uid and not by a handle.
    alone: bool,
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
    /// What is not said yet.
    owed: VecDeque<Owed>,
    /// Reports that are not acknowledged: a new stream begins with them.
    unacknowledged: BTreeMap<u64, Owed>,
    connected: bool,
    /// Rung when there is something to say that no message of the center led to.
    wake: Arc<Notify>,
    /// What is to be said next.
    backlog: Vec<ToCenter>,
}

/// A hub that is shared by its connection and the run.
pub(crate) type Shared = Arc<Mutex<Hub>>;

impl Hub {
    pub(crate) fn new(
        name: String,
        alone: bool,
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
            alone,
            first,
            behind: behind.collect(),
            load,
            tally,
            known: Known::default(),
            prints: HashMap::new(),
            waiting: HashMap::new(),
            sequence: 0,
            owed: VecDeque::new(),
            unacknowledged: BTreeMap::new(),
            connected: false,
            wake: Arc::default(),
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

    /// Its destinations: number, and what their workloads said last of ready replicas, by object uid.
    pub(crate) fn ready(&self) -> impl Iterator<Item = (u32, Vec<(&str, u64)>)> {
        (0..self.behind.len()).map(|i| {
            let workloads = self.behind[i].edge.copies().iter();
            let workloads = workloads.filter(|held| is_workload(&self.known, held.object));
            let said = workloads.map(|held| {
                (
                    self.known.copy(held.object).uid.as_str(),
                    self.ready_replicas(i, *held),
                )
            });
            (self.first + i as u32, said.collect())
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
        self.connected == self.wants_a_stream()
            && self.owed.is_empty()
            && self.unacknowledged.is_empty()
            && self.waiting.is_empty()
            && self.behind.iter().all(|b| b.edge.online == b.edge.welcome)
    }

    /// What it waits for, if it does.
    pub(crate) fn stuck(&self) -> Option<String> {
        let unwelcome = self
            .behind
            .iter()
            .filter(|b| b.edge.online && !b.edge.welcome)
            .count();
        (!self.is_settled()).then(|| {
            format!(
                "{}: connected {}, {unwelcome} not welcomed, {} reports to say, {} not acknowledged, {} bodies missing",
                self.name,
                self.connected,
                self.owed.len(),
                self.unacknowledged.len(),
                self.waiting.len(),
            )
        })
    }

    /// A hub is always there; an agent is away when its destination is.
    fn wants_a_stream(&self) -> bool {
        !self.alone || self.behind.iter().any(|b| b.edge.online)
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
        if self.connected && !self.alone {
            self.backlog.extend(said);
        }
        self.wake.notify_one();
    }

    /// The status of one workload of each connected destination changes.
    pub(crate) fn churn(&mut self) -> usize {
        let mut changed = 0;
        for i in 0..self.behind.len() {
            let edge = &mut self.behind[i].edge;
            if !(edge.online && edge.welcome) {
                continue;
            }
            if let Some(object) = edge.stir(|object| is_workload(&self.known, object)) {
                self.owe(vec![i as u32 + 1], vec![object]);
                changed += 1;
            }
        }
        self.wake.notify_one();
        changed
    }

    /// A stream is open: everybody who is not away says Hello.
    fn connected(&mut self) {
        self.connected = true;
        self.backlog.clear();
        self.waiting.clear();
        for (i, behind) in self.behind.iter_mut().enumerate() {
            behind.edge.welcome = false;
            if behind.edge.online {
                self.backlog.push(hello(i, behind, &self.known));
            }
        }
        let again = std::mem::take(&mut self.unacknowledged);
        again
            .into_values()
            .rev()
            .for_each(|owed| self.owed.push_front(owed));
    }

    fn disconnected(&mut self) {
        self.connected = false;
        let behind = u32::try_from(self.behind.len()).unwrap_or(u32::MAX);
        self.tally
            .slots
            .lock()
            .forget(self.first..self.first + behind);
        for behind in &mut self.behind {
            if std::mem::take(&mut behind.edge.welcome) {
                self.tally.welcomed.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    /// Hears one message.
    fn hear(&mut self, mut handles: Vec<u32>, message: to_agent::Message) {
        use to_agent::Message;
        if self.alone {
            handles = vec![1];
        }
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
                if let Some((handles, objects)) = self.unacknowledged.remove(&ack.sequence) {
                    Tally::add(&self.tally.acknowledged, handles.len() * objects.len());
                    let mut slots = self.tally.slots.lock();
                    for object in &objects {
                        let name = &self.known.reference(*object).name;
                        for handle in &handles {
                            slots.ends(name, self.first + handle - 1);
                        }
                    }
                }
            }
            Message::Refused(refused) => {
                tracing::warn!(hub = %self.name, why = %refused.message, "refused");
                Tally::add(&self.tally.refused, handles.len().max(1));
            }
            Message::Released(_)
            | Message::Gather(_)
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
        // Copied: a part of a message would keep all of the message.
        self.prints
            .insert(Bytes::copy_from_slice(hash), oracle::print(&object));
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
        let mut alike: Vec<ObjectNumber> = Vec::new();
        let mut workloads: Vec<ObjectNumber> = Vec::new();
        for (item, print) in items {
            let Some(object) = self.known.object(&item) else {
                continue;
            };
            let Ok(render) = <[u8; 16]>::try_from(item.render_hash.as_ref()) else {
                continue;
            };
            let held = self.known.held(object, Version { render, print });
            Tally::add(&self.tally.items, handles.len());
            let mut slots = self.tally.slots.lock();
            let name = &self.known.reference(object).name;
            for handle in handles {
                let Some(behind) = self.behind.get_mut(*handle as usize - 1) else {
                    continue;
                };
                match behind.edge.take(held) {
                    true => slots.begins(name, self.first + handle - 1),
                    false => Tally::add(&self.tally.repeated, 1),
                }
            }
            drop(slots);
            if is_workload(&self.known, object) {
                workloads.push(object);
            } else {
                alike.push(object);
            }
        }
        self.owe(handles.to_vec(), alike);
        for handle in handles {
            self.owe(vec![*handle], workloads.clone());
        }
    }

    fn report_all(&mut self, handle: u32) {
        let Some(behind) = self.behind.get(handle as usize - 1) else {
            return;
        };
        let objects = behind
            .edge
            .copies()
            .iter()
            .map(|held| held.object)
            .collect();
        self.owe(vec![handle], objects);
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
