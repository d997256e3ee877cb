//! An agent's live connection: what it should have and has not been sent, computed when something concerns it.
//!
//! A session reads only what is durable ([`crate::model`]). It remembers which render of which copy it sent; everything else is derived when it is woken. Nothing is
//! removed that a tombstone does not name.

mod bodies;
mod difference;
mod hearing;
mod open;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use atoll_placement::Destination;
use atoll_placement::bundle::RenderHash;
use atoll_placement::place::ObjectIndex;
use atoll_wire::digest::SetDigest;
use atoll_wire::identity::AgentIdentity;
use atoll_wire::{
    CopyId, Desired, FetchStatus, Held, Hello, Item, List, RawStatus, Refused, RefusedReason,
    RemovalMode, Resumed, Resumption, SILENCE_LIMIT, ToAgent, ToCenter, Tombstone, Welcome,
    to_agent, to_center,
};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use open::Handle;
pub(crate) use open::{About, Sessions};

use crate::model::{DesiredCopy, Foreign, World};
use crate::reports::Reports;
use crate::rows;
use crate::shared::Shared;

/// Items in one message.
const ITEMS_PER_MESSAGE: usize = 256;
/// The most copies of one `Holding` conversation: an agent that sends more is refused.
const MOST_HELD: usize = 200_000;

/// The stream is to end; perhaps with a word to the agent.
struct End(Option<Refused>);

impl From<mpsc::error::SendError<Result<ToAgent, Status>>> for End {
    fn from(_: mpsc::error::SendError<Result<ToAgent, Status>>) -> Self {
        End(None)
    }
}

fn refused(reason: RefusedReason, message: impl Into<String>, retry_after_seconds: u32) -> End {
    End(Some(Refused {
        reason: reason as i32,
        message: message.into(),
        retry_after_seconds,
    }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Waiting for what the agent holds; `known`: its cursor is one of this log's.
    Listing { known: bool },
    /// Sending differences.
    Live,
    /// Sending only what is new to the agent, until a person says otherwise.
    Held,
}

type Outgoing = mpsc::Sender<Result<ToAgent, Status>>;

struct Session {
    shared: Arc<Shared>,
    reports: Reports,
    destination: Destination,
    uid: String,
    out: Outgoing,
    mode: Mode,
    cursor: String,
    sent: BTreeMap<ObjectIndex, RenderHash>,
    /// Copies that this session gave an agent whose past is not known here: they may go on changing.
    introduced: BTreeSet<ObjectIndex>,
    tombstoned: BTreeSet<ObjectIndex>,
    held: Vec<Held>,
    acks: mpsc::UnboundedSender<ToAgent>,
    fetching: HashMap<u64, oneshot::Sender<RawStatus>>,
    next_fetch: u64,
}

/// Serves one stream until it ends.
pub(crate) async fn serve<S>(
    shared: Arc<Shared>,
    reports: Reports,
    identity: AgentIdentity,
    mut inbound: S,
    out: Outgoing,
) where
    S: Stream<Item = Result<ToCenter, Status>> + Unpin,
{
    let outcome = converse(&shared, reports, &identity, &mut inbound, &out).await;
    if let Err(End(Some(word))) = outcome {
        tracing::debug!(destination = %identity.destination, why = %word.message, "a session is refused");
        let _ = out.send(Ok(ToAgent::new(identity.destination, word))).await;
    }
}

async fn converse<S>(
    shared: &Arc<Shared>,
    reports: Reports,
    identity: &AgentIdentity,
    inbound: &mut S,
    out: &Outgoing,
) -> Result<(), End>
where
    S: Stream<Item = Result<ToCenter, Status>> + Unpin,
{
    let hello = loop {
        match next(inbound).await?.message {
            Some(to_center::Message::Hello(hello)) => break hello,
            Some(to_center::Message::Ping(_)) => {
                out.send(Ok(ToAgent::new("", atoll_wire::Pong {}))).await?
            }
            _ => {
                return Err(refused(
                    RefusedReason::Protocol,
                    "a session begins with Hello",
                    30,
                ));
            }
        }
    };
    if admit(shared, identity).is_err() {
        shared.caught_up().await;
    }
    let destination = admit(shared, identity)?;
    let (fetches, mut fetch_requests) = mpsc::channel(16);
    let (acks, mut acked) = mpsc::unbounded_channel();
    let handle = shared
        .sessions
        .enter(destination, fetches, shared.registry.now().0);
    let _leave = Leave {
        shared: shared.clone(),
        destination,
        handle: handle.clone(),
    };
    let mut session = Session {
        shared: shared.clone(),
        reports,
        destination,
        uid: identity.destination.clone(),
        out: out.clone(),
        mode: Mode::Live,
        cursor: hello
            .cursor
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default(),
        sent: BTreeMap::new(),
        introduced: BTreeSet::new(),
        tombstoned: BTreeSet::new(),
        held: Vec::new(),
        acks,
        fetching: HashMap::new(),
        next_fetch: 1,
    };
    session.begin(hello).await?;
    loop {
        tokio::select! {
            message = next(inbound) => {
                let message = message?;
                handle.last_heard.store(shared.registry.now().0, Ordering::Relaxed);
                if !message.destination.is_empty() && message.destination != identity.destination {
                    return Err(refused(RefusedReason::WrongIdentity, "this certificate speaks for another destination", 0));
                }
                if let Some(message) = message.message {
                    session.hear(message).await?;
                }
            }
            () = handle.wake.notified() => {
                if handle.superseded.load(Ordering::Relaxed) {
                    return Err(refused(RefusedReason::Superseded, "a newer session of this destination took over", 60));
                }
                admit(shared, identity)?;
                session.push().await?;
            }
            Some(ack) = acked.recv() => out.send(Ok(ack)).await?,
            Some((copy, answer)) = fetch_requests.recv() => session.fetch(copy, answer).await?,
        }
    }
}

/// The next message; silence ends the session.
async fn next<S>(inbound: &mut S) -> Result<ToCenter, End>
where
    S: Stream<Item = Result<ToCenter, Status>> + Unpin,
{
    match tokio::time::timeout(SILENCE_LIMIT, inbound.next()).await {
        Ok(Some(Ok(message))) => Ok(message),
        _ => Err(End(None)),
    }
}

/// The destination, if it may have a session.
fn admit(shared: &Shared, identity: &AgentIdentity) -> Result<Destination, End> {
    let world = shared.world.read();
    let known = world.by_uid.get(identity.destination.as_str()).copied();
    let Some(index) = known else {
        return Err(refused(
            RefusedReason::Unknown,
            "this ManagedCluster does not exist (any more); register the edge anew",
            300,
        ));
    };
    match world.destinations.get(&index) {
        Some(state) if &*state.inventory != identity.inventory.as_str() => Err(refused(
            RefusedReason::WrongIdentity,
            "this certificate speaks for another inventory",
            0,
        )),
        Some(state) if state.accepted => Ok(index),
        _ => Err(refused(
            RefusedReason::NotAccepted,
            "spec.hubAcceptsClient of the ManagedCluster is not true",
            60,
        )),
    }
}

/// Leaves in every case.
struct Leave {
    shared: Arc<Shared>,
    destination: Destination,
    handle: Arc<Handle>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        // With the picture locked, so that what a newer session writes there is not taken for ours.
        let mut world = self.shared.world.write();
        if !self.shared.sessions.leave(self.destination, self.handle.id) {
            return;
        }
        world.connected.remove(self.destination.0);
        world.foreign.remove(&self.destination);
        if let Some(state) = world.destinations.get_mut(&self.destination) {
            state.last_seen = self.handle.last_heard.load(Ordering::Relaxed);
        }
        mark_stale(&self.shared, &world, self.destination);
    }
}

/// Whose statuses show that a destination came or went.
fn mark_stale(shared: &Shared, world: &World, destination: Destination) {
    shared.lifecycle.add(destination);
    for (index, policy) in &world.policies {
        if policy.assigned.contains(destination.0) {
            shared.policy_status.add(*index);
        }
    }
}

impl Session {
    async fn say(&self, message: impl Into<to_agent::Message>) -> Result<(), End> {
        Ok(self
            .out
            .send(Ok(ToAgent::new(self.uid.clone(), message)))
            .await?)
    }

    async fn begin(&mut self, hello: Hello) -> Result<(), End> {
        let known = hello
            .cursor
            .as_ref()
            .is_none_or(|cursor| self.shared.knows(cursor));
        let held = SetDigest::from_bytes(&hello.digest).unwrap_or_default();
        let (revision, desired, digest) = {
            let mut world = self.shared.world.write();
            world.connected.insert(self.destination.0);
            let desired = world.desired(self.destination);
            mark_stale(&self.shared, &world, self.destination);
            (world.applied, desired.clone(), digest(&world, &desired))
        };
        self.shared.about(
            self.destination,
            About {
                agent_version: hello.agent_version,
                kubernetes_version: hello.kubernetes_version,
                claims: hello.claims,
            },
        );
        let current = held == digest;
        let empty = held == SetDigest::EMPTY;
        let resumption = if known || current || empty {
            Resumption::Normal
        } else {
            Resumption::Held
        };
        let reason = match resumption {
            Resumption::Normal => String::new(),
            Resumption::Held => "this center's log does not contain your cursor: it was restored from a backup, or is another center".to_owned(),
        };
        self.say(Welcome {
            cursor: Some(self.shared.cursor(revision)),
            resumption: resumption as i32,
            reason,
            report_everything: !known,
        })
        .await?;
        if current {
            self.sent = desired.iter().map(|(o, d)| (*o, d.render)).collect();
        } else if !empty {
            self.mode = Mode::Listing { known };
            return self.say(List {}).await;
        }
        self.push().await
    }

    async fn hear(&mut self, message: to_center::Message) -> Result<(), End> {
        use to_center::Message;
        match message {
            Message::Ping(_) => Ok(self
                .out
                .send(Ok(ToAgent::new("", atoll_wire::Pong {})))
                .await?),
            Message::Hello(_) => Err(refused(RefusedReason::Protocol, "a second Hello", 30)),
            Message::Leave(_) => Err(End(None)),
            Message::Holding(part) => {
                if self.held.len() + part.copies.len() > MOST_HELD {
                    return Err(refused(
                        RefusedReason::Protocol,
                        "more copies are held than can be",
                        600,
                    ));
                }
                self.held.extend(part.copies);
                if part.last {
                    self.compare().await
                } else {
                    Ok(())
                }
            }
            Message::Need(need) => self.give(need).await,
            // What counts is the digest of the next Hello; a recorded item that failed is in the reports.
            Message::Progress(_) => Ok(()),
            Message::Report(report) => self.take_report(report).await,
            Message::TombstoneDone(done) => self.take_done(done).await,
            Message::RawStatus(status) => {
                if let Some(answer) = self.fetching.remove(&status.request) {
                    let _ = answer.send(status);
                }
                Ok(())
            }
        }
    }

    /// What the agent holds is known: what is different, and what is foreign?
    async fn compare(&mut self) -> Result<(), End> {
        let Mode::Listing { known } = self.mode else {
            return Ok(());
        };
        let held = std::mem::take(&mut self.held);
        {
            let mut world = self.shared.world.write();
            let mut orphans = Vec::new();
            for copy in held {
                let id = copy.copy.unwrap_or_default();
                match world.by_copy.get(&id) {
                    Some(index) => {
                        self.sent
                            .insert(*index, rows::render_from(&copy.render_hash));
                    }
                    None => orphans.push((id, copy.object.unwrap_or_default())),
                }
            }
            let token = (!known).then(|| token(&self.cursor));
            if token.is_some() || !orphans.is_empty() {
                world
                    .foreign
                    .insert(self.destination, Foreign { token, orphans });
            }
        }
        self.shared.lifecycle.add(self.destination);
        self.mode = if known { Mode::Live } else { Mode::Held };
        self.push().await
    }

    /// A person may have said to go on.
    async fn resume(&mut self) -> Result<(), End> {
        let (orphans, revision) = {
            let mut world = self.shared.world.write();
            let given = world
                .destinations
                .get(&self.destination)
                .and_then(|d| d.resume.clone());
            let asked = world
                .foreign
                .get(&self.destination)
                .and_then(|f| f.token.clone());
            if self.mode != Mode::Held || given.is_none() || given != asked {
                return Ok(());
            }
            (
                world
                    .foreign
                    .remove(&self.destination)
                    .unwrap_or_default()
                    .orphans,
                world.applied,
            )
        };
        self.mode = Mode::Live;
        self.shared.lifecycle.add(self.destination);
        self.say(Resumed {
            cursor: Some(self.shared.cursor(revision)),
        })
        .await?;
        for (copy, object) in orphans {
            let mode = RemovalMode::Orphan as i32;
            self.say(Tombstone {
                copy: Some(copy),
                object: Some(object),
                mode,
                order: 0,
                cursor: None,
            })
            .await?;
        }
        Ok(())
    }

    /// Sends what is different from what was sent.
    async fn push(&mut self) -> Result<(), End> {
        self.resume().await?;
        if matches!(self.mode, Mode::Listing { .. }) {
            return Ok(());
        }
        let (tombstones, items, cursor) = self.difference();
        self.shared
            .figures
            .tombstones_sent
            .fetch_add(tombstones.len() as u64, Ordering::Relaxed);
        self.shared
            .figures
            .items_sent
            .fetch_add(items.len() as u64, Ordering::Relaxed);
        for tombstone in tombstones {
            self.say(tombstone).await?;
        }
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let part: Vec<Item> = items.by_ref().take(ITEMS_PER_MESSAGE).collect();
            // Only the last part completes what the cursor says; what is sent while held completes nothing.
            let done = items.peek().is_none() && self.mode == Mode::Live;
            self.say(Desired {
                cursor: done.then(|| cursor.clone()),
                items: part,
            })
            .await?;
        }
        Ok(())
    }

    async fn fetch(&mut self, copy: CopyId, answer: oneshot::Sender<RawStatus>) -> Result<(), End> {
        let request = self.next_fetch;
        self.next_fetch += 1;
        self.fetching.retain(|_, waiting| !waiting.is_closed());
        self.fetching.insert(request, answer);
        self.say(FetchStatus {
            request,
            copy: Some(copy),
        })
        .await
    }
}

/// Names a cursor that this log does not contain, so that a person resumes exactly that.
fn token(cursor: &str) -> String {
    hex::encode(&Sha256::digest(cursor.as_bytes())[..6])
}

fn digest(world: &World, desired: &BTreeMap<ObjectIndex, DesiredCopy>) -> SetDigest {
    let mut digest = SetDigest::EMPTY;
    for (index, copy) in desired {
        if let Some(object) = world.objects.get(index) {
            digest.add(&object.copy, &copy.render);
        }
    }
    digest
}
