//! Agents' live connections: what each destination should have and was not sent, found when something concerns it.
//!
//! One task per stream. A stream carries its own destination, and a hub's many others ([`atoll_wire`] tells the conversation); per destination there is a [`logical`] session and
//! nothing that runs. It reads only what is durable ([`crate::model`]). Nothing is removed that a tombstone does not name.
//!
//! | module | its part |
//! |---|---|
//! | [`listen`] | hearing beside all else, so that silence is noticed |
//! | [`open`] | the streams as others see them: waking and asking |
//! | [`opening`], [`recall`] | who may speak for whom; a destination's first word, and what it has |
//! | [`logical`], [`vector`] | what a session remembers, and what it shares |
//! | [`difference`] | what is to be sent |
//! | [`bodies`], [`hearing`] | what is asked for, and what is reported |

mod bodies;
mod difference;
mod hearing;
mod listen;
mod logical;
mod open;
mod opening;
mod recall;
mod vector;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use atoll_placement::{Destination, Destinations};
use atoll_wire::identity::AgentIdentity;
use atoll_wire::{
    FetchStatus, RawStatus, Refused, RefusedReason, RemovalMode, Resumed, SILENCE_LIMIT, ToAgent,
    ToCenter, Tombstone, to_agent, to_center,
};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::Stream as Inbound;
use tonic::Status;

use listen::{Heard, Inbox};
use logical::{Address, Logical, Mode, Sent};
pub(crate) use open::{About, Sessions};
use open::{Fetch, Handle};
pub(crate) use vector::Vectors;

use crate::model::{Foreign, World};
use crate::reports::Reports;
use crate::rows;
use crate::shared::Shared;

/// The most copies of one `Holding` conversation: an agent that sends more is refused.
const MOST_HELD: usize = 200_000;
/// Messages that are taken in together.
const AT_ONCE: usize = 256;

/// The stream is to end; perhaps with a word to the agent.
struct End(Option<Refused>);

impl From<mpsc::error::SendError<Result<ToAgent, Status>>> for End {
    fn from(_: mpsc::error::SendError<Result<ToAgent, Status>>) -> Self {
        End(None)
    }
}

fn refused(reason: RefusedReason, message: impl Into<String>, retry_after_seconds: u32) -> Refused {
    Refused {
        reason: reason as i32,
        message: message.into(),
        retry_after_seconds,
    }
}

type Outgoing = mpsc::Sender<Result<ToAgent, Status>>;

struct Stream {
    shared: Arc<Shared>,
    reports: Reports,
    identity: AgentIdentity,
    /// The destination that the certificate names.
    own: Destination,
    handle: Arc<Handle>,
    carried: HashMap<Destination, Logical>,
    by_handle: HashMap<u32, Destination>,
    /// Those that may lack something.
    owed: Destinations,
    out: Outgoing,
    acks: mpsc::UnboundedSender<ToAgent>,
    /// What destinations of which something is asked were told, by its hash.
    gathering: HashMap<Destination, u64>,
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
    S: Inbound<Item = Result<ToCenter, Status>> + Unpin,
{
    let uid = identity.destination.clone();
    let (inbox, said) = Inbox::new();
    let outcome = tokio::select! {
        outcome = converse(shared, reports, identity, said, &out) => outcome,
        () = listen::listen(&mut inbound, inbox, SILENCE_LIMIT) => Err(End(None)),
    };
    if let Err(End(Some(word))) = outcome {
        tracing::debug!(destination = %uid, why = %word.message, "a stream is refused");
        let _ = out.send(Ok(ToAgent::new(uid, word))).await;
    }
}

async fn converse(
    shared: Arc<Shared>,
    reports: Reports,
    identity: AgentIdentity,
    mut said: mpsc::Receiver<Heard>,
    out: &Outgoing,
) -> Result<(), End> {
    // Who opens a stream is looked up with its first message: an agent that says nothing costs nothing.
    let first = said.recv().await.ok_or(End(None))?;
    let own = opening::owner(&shared, &identity)
        .await
        .map_err(|word| End(Some(word)))?;
    let (fetches, mut asked) = mpsc::channel(16);
    let (acks, mut acked) = mpsc::unbounded_channel();
    let handle = shared.sessions.begin(fetches, shared.registry.now().0);
    let _leave = Leave(shared.clone(), handle.clone());
    shared
        .sessions
        .enter(&handle, &[own.0].into_iter().collect());
    let mut stream = Stream {
        shared,
        reports,
        identity,
        own,
        handle,
        carried: HashMap::new(),
        by_handle: HashMap::new(),
        owed: Destinations::new(),
        out: out.clone(),
        acks,
        gathering: HashMap::new(),
        fetching: HashMap::new(),
        next_fetch: 1,
    };
    stream.take_in(vec![first]).await?;
    let handle = stream.handle.clone();
    loop {
        tokio::select! {
            message = said.recv() => {
                let messages = and_what_is_there(message.ok_or(End(None))?, &mut said);
                handle.last_heard.store(stream.shared.registry.now().0, Ordering::Relaxed);
                stream.take_in(messages).await?;
            }
            () = handle.wake.notified() => stream.look().await?,
            Some(ack) = acked.recv() => out.send(Ok(ack)).await?,
            Some(fetch) = asked.recv() => stream.fetch(fetch).await?,
            () = std::future::ready(()), if !stream.owed.is_empty() => stream.push().await?,
        }
    }
}

/// A message and those that arrived already.
fn and_what_is_there(first: Heard, said: &mut mpsc::Receiver<Heard>) -> Vec<Heard> {
    let mut messages = vec![first];
    while messages.len() < AT_ONCE {
        // What ends the stream shows again when the next message is waited for.
        let Ok(message) = said.try_recv() else { break };
        messages.push(message);
    }
    messages
}

/// Leaves in every case.
struct Leave(Arc<Shared>, Arc<Handle>);

impl Drop for Leave {
    fn drop(&mut self) {
        let left = self.0.sessions.end(&self.1);
        gone(&self.0, &self.1, &left);
    }
}

/// Nobody reaches these any more.
fn gone(shared: &Shared, handle: &Handle, left: &Destinations) {
    let mut world = shared.world.write();
    let left = left & &world.connected;
    world.connected -= &left;
    for destination in left.iter().map(Destination) {
        world.foreign.remove(&destination);
        if let Some(state) = world.destinations.get_mut(&destination) {
            state.last_seen = handle.last_heard.load(Ordering::Relaxed);
        }
    }
    mark_stale(shared, &world, &left);
}

/// Whose statuses show that destinations came or went.
fn mark_stale(shared: &Shared, world: &World, destinations: &Destinations) {
    for destination in destinations {
        shared.lifecycle.add(Destination(destination));
    }
    for (index, policy) in &world.policies {
        if !policy.assigned.is_disjoint(destinations) {
            shared.policy_status.add(*index);
            shared.stale.add(*index);
        }
    }
    shared.collecting.notify_one();
}

impl Stream {
    async fn say(&self, to: Address, message: impl Into<to_agent::Message>) -> Result<(), End> {
        self.say_all(&[to], message).await
    }

    /// The same to several, in as few messages as there are names for them.
    async fn say_all(
        &self,
        to: &[Address],
        message: impl Into<to_agent::Message>,
    ) -> Result<(), End> {
        let message: to_agent::Message = message.into();
        let handles: Vec<u32> = to
            .iter()
            .filter_map(|address| match address {
                Address::Own => None,
                Address::Handle(handle) => Some(*handle),
            })
            .collect();
        if handles.len() < to.len() {
            let own = ToAgent::new(self.identity.destination.clone(), message.clone());
            self.out.send(Ok(own)).await?;
        }
        if !handles.is_empty() {
            let others = ToAgent::for_handles(handles, message);
            self.out.send(Ok(others)).await?;
        }
        Ok(())
    }

    /// Takes in messages in their order; first words of several destinations that follow each other together.
    async fn take_in(&mut self, messages: Vec<Heard>) -> Result<(), End> {
        let mut hellos = Vec::new();
        for heard in messages {
            let (message, _room) = heard.into_parts();
            let ToCenter {
                destination,
                message,
                handles,
            } = message;
            match message {
                Some(to_center::Message::Hello(hello)) => {
                    hellos.push(opening::FirstWord {
                        destination,
                        handle: handles.first().copied(),
                        hello,
                    });
                    continue;
                }
                Some(message) => {
                    self.open(std::mem::take(&mut hellos)).await?;
                    self.hear(&destination, &handles, message).await?;
                }
                None => {}
            }
        }
        self.open(hellos).await
    }

    /// Whom a message is about. What names nobody that is open here is from before it was closed, or a mistake; both are left alone.
    fn about(&self, uid: &str, handles: &[u32]) -> Result<Vec<Destination>, End> {
        if !handles.is_empty() {
            let known = handles.iter().filter_map(|h| self.by_handle.get(h));
            return Ok(known.copied().collect());
        }
        if !uid.is_empty() && uid != self.identity.destination {
            return Err(End(Some(refused(
                RefusedReason::WrongIdentity,
                "this certificate speaks for another destination; a hub names those it carries by handles",
                0,
            ))));
        }
        if !self.carried.contains_key(&self.own) {
            return Err(End(Some(refused(
                RefusedReason::Protocol,
                "a session begins with Hello",
                30,
            ))));
        }
        Ok(vec![self.own])
    }

    async fn hear(
        &mut self,
        uid: &str,
        handles: &[u32],
        message: to_center::Message,
    ) -> Result<(), End> {
        use to_center::Message;
        if let Message::Ping(_) = message {
            let pong = ToAgent::new("", atoll_wire::Pong {});
            return Ok(self.out.send(Ok(pong)).await?);
        }
        let about = self.about(uid, handles)?;
        match message {
            // Both are not for a session to hear.
            Message::Ping(_) | Message::Hello(_) => {}
            // What counts is the digest of the next Hello; a recorded item that failed is in the reports.
            Message::Progress(_) => {}
            Message::Leave(_) => self.drop_out(&about),
            Message::Need(need) => self.give(&about, need).await?,
            Message::Report(report) => self.take_report(&about, report).await?,
            Message::Holding(part) => {
                for destination in about {
                    self.holding(destination, part.clone()).await?;
                }
            }
            Message::TombstoneDone(done) => self.take_done(&about, done).await?,
            Message::Born(born) => {
                for destination in about {
                    let taken = crate::upsync::born(&self.shared, destination, born.clone()).await;
                    // The agent tells everything again on its next stream.
                    taken.map_err(|_| End(None))?;
                }
            }
            Message::RawStatus(status) => {
                if let Some(answer) = self.fetching.remove(&status.request) {
                    let _ = answer.send(status);
                }
            }
        }
        Ok(())
    }

    /// Ends the sessions of some of its destinations.
    fn drop_out(&mut self, destinations: &[Destination]) {
        let mut set = Destinations::new();
        for destination in destinations {
            self.gathering.remove(destination);
            if let Some(logical) = self.carried.remove(destination) {
                set.insert(destination.0);
                if let Address::Handle(handle) = logical.address {
                    self.by_handle.remove(&handle);
                }
            }
        }
        let left = self.shared.sessions.leave(&self.handle, &set);
        gone(&self.shared, &self.handle, &left);
    }

    /// Refuses one destination. The stream goes on, unless it is the stream's own.
    async fn refuse(&mut self, destination: Destination, word: Refused) -> Result<(), End> {
        if destination == self.own {
            return Err(End(Some(word)));
        }
        if let Some(logical) = self.carried.get(&destination) {
            self.say(logical.address, word).await?;
            self.drop_out(&[destination]);
        }
        Ok(())
    }

    /// Something concerns some of its destinations.
    async fn look(&mut self) -> Result<(), End> {
        let news = self.handle.take_news();
        for destination in news.taken.iter().map(Destination) {
            let word = refused(
                RefusedReason::Superseded,
                "a newer session of this destination took over",
                60,
            );
            self.refuse(destination, word).await?;
        }
        let mut concerned = Vec::new();
        let mut refusals = Vec::new();
        {
            let world = self.shared.world.read();
            for destination in news.dirty.iter().map(Destination) {
                match opening::stays(&world, &self.identity, self.own, destination) {
                    Ok(()) if self.carried.contains_key(&destination) => {
                        concerned.push(destination);
                    }
                    Ok(()) => {}
                    Err(word) => refusals.push((destination, word)),
                }
            }
        }
        for (destination, word) in refusals {
            self.refuse(destination, word).await?;
        }
        self.owe(concerned);
        Ok(())
    }

    /// A person may have said to go on.
    async fn resume(&mut self, destination: Destination) -> Result<(), End> {
        let Some(logical) = self
            .carried
            .get_mut(&destination)
            .filter(|l| l.mode == Mode::Held)
        else {
            return Ok(());
        };
        let (orphans, revision) = {
            let mut world = self.shared.world.write();
            let given = world.destinations.resume(&destination).cloned();
            let asked = world
                .foreign
                .get(&destination)
                .and_then(|f| f.token.clone());
            if given.is_none() || given != asked {
                return Ok(());
            }
            let foreign = world.foreign.remove(&destination);
            (foreign.unwrap_or_default().orphans, world.applied)
        };
        logical.mode = Mode::Live;
        let address = logical.address;
        self.shared.lifecycle.add(destination);
        let cursor = Some(self.shared.cursor(revision));
        self.say(address, Resumed { cursor }).await?;
        for (copy, object) in orphans {
            let tombstone = Tombstone {
                copy: Some(copy),
                object: Some(object),
                mode: RemovalMode::Orphan as i32,
                order: 0,
                cursor: None,
            };
            self.say(address, tombstone).await?;
        }
        Ok(())
    }

    /// What the agent holds is told in parts; with the last: what is different, and what is foreign?
    async fn holding(
        &mut self,
        destination: Destination,
        part: atoll_wire::Holding,
    ) -> Result<(), End> {
        let Some(logical) = self.carried.get_mut(&destination) else {
            return Ok(());
        };
        let Mode::Listing { known } = logical.mode else {
            return Ok(());
        };
        let rare = logical.rare();
        if rare.held.len() + part.copies.len() > MOST_HELD {
            let word = refused(
                RefusedReason::Protocol,
                "more copies are held than can be",
                600,
            );
            return self.refuse(destination, word).await;
        }
        rare.held.extend(part.copies);
        if !part.last {
            return Ok(());
        }
        let held = std::mem::take(&mut rare.held);
        let token = (!known).then(|| token(&rare.cursor));
        let mut sent = BTreeMap::new();
        {
            let mut world = self.shared.world.write();
            let mut orphans = Vec::new();
            for copy in held {
                let id = copy.copy.unwrap_or_default();
                match world.by_copy.get(&id) {
                    Some(index) => {
                        sent.insert(*index, rows::render_from(&copy.render_hash));
                    }
                    None => orphans.push((id, copy.object.unwrap_or_default())),
                }
            }
            if token.is_some() || !orphans.is_empty() {
                world
                    .foreign
                    .insert(destination, Foreign { token, orphans });
            }
        }
        logical.sent = Sent::Copies(sent);
        logical.mode = if known { Mode::Live } else { Mode::Held };
        self.shared.lifecycle.add(destination);
        self.owe([destination]);
        Ok(())
    }

    async fn fetch(&mut self, fetch: Fetch) -> Result<(), End> {
        let Some(logical) = self.carried.get(&fetch.destination) else {
            return Ok(());
        };
        let request = self.next_fetch;
        self.next_fetch += 1;
        self.fetching.retain(|_, waiting| !waiting.is_closed());
        self.fetching.insert(request, fetch.answer);
        let question = FetchStatus {
            request,
            copy: Some(fetch.copy),
        };
        self.say(logical.address, question).await
    }
}

/// Names a cursor that this log does not contain, so that a person resumes exactly that.
fn token(cursor: &str) -> String {
    // A letter first: YAML takes 760626e142 for a number.
    format!("c{}", hex::encode(&Sha256::digest(cursor.as_bytes())[..6]))
}
