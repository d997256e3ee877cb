//! The center's side: what it says is recorded before anything is made of it, and what it wants to know is told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use atoll_wire::{
    CopyId, Cursor, Desired, ErrorKind, Held, Hello, Holding, Item, Need, Progress, RawStatus,
    Report, Resumption, ToCenter, Tombstone, TombstoneDone, TombstoneOutcome, Welcome, to_agent,
    to_center,
};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::Agent;
use crate::{
    edge::Refusal,
    plan::Phase,
    report::report,
    state::{Doomed, Fact, fact, journal::JournalError},
};

/// How long a connection waits for what the edge says of itself.
const QUICKLY: std::time::Duration = std::time::Duration::from_secs(2);
/// How many copies one message holds.
const CHUNK: usize = 500;

/// An open session.
pub(super) struct Session {
    up: mpsc::Sender<ToCenter>,
    /// Between Welcome and Resumed, when the center lost a part of its past: nothing that is held changes.
    held: bool,
    /// Copies first heard of while held: they are this center's, and may change.
    fresh: BTreeSet<CopyId>,
    welcomed: bool,
    sequence: u64,
    unacknowledged: BTreeMap<u64, Vec<CopyId>>,
    /// Every copy is still to be reported once.
    complete: bool,
    /// The report that completed the account.
    account: Option<u64>,
    batches: VecDeque<Batch>,
}

/// Items that were heard and are not recorded yet, because bodies are missing.
struct Batch {
    cursor: Option<Cursor>,
    items: Vec<Item>,
    missing: BTreeSet<Bytes>,
}

impl Agent {
    pub(super) async fn say(&mut self, message: impl Into<to_center::Message>) {
        let destination = self.edge.destination.to_string();
        if let Some(session) = &self.session {
            // A closed channel shows as Disconnected soon.
            let _ = session.up.send(ToCenter::new(destination, message)).await;
        }
    }

    pub(super) async fn connected(&mut self, up: mpsc::Sender<ToCenter>) {
        self.session = Some(Session {
            up,
            held: false,
            fresh: BTreeSet::new(),
            welcomed: false,
            sequence: 0,
            unacknowledged: BTreeMap::new(),
            complete: false,
            account: None,
            batches: VecDeque::new(),
        });
        let (kubernetes_version, claims) = self.facts().await;
        let others = tokio::time::timeout(QUICKLY, self.edge.others()).await;
        let hello = Hello {
            cursor: self.state.cursor.clone(),
            digest: self.state.digest().to_bytes().into(),
            agent_version: env!("CARGO_PKG_VERSION").into(),
            kubernetes_version,
            claims,
            // Unknown to the center is only who was asked for.
            others: others.ok().and_then(Result::ok).unwrap_or_default(),
        };
        self.say(hello).await;
    }

    /// What the edge is. Empty while its API server cannot be reached.
    async fn facts(&self) -> (String, BTreeMap<String, String>) {
        let version = tokio::time::timeout(QUICKLY, self.edge.client.get("/version")).await;
        let version = match version {
            Ok(Ok(version)) => version["gitVersion"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            _ => return Default::default(),
        };
        let mut claims = BTreeMap::from([(
            "kubeversion.open-cluster-management.io".to_owned(),
            version.clone(),
        )]);
        let system = tokio::time::timeout(
            QUICKLY,
            self.edge.client.get("/api/v1/namespaces/kube-system"),
        )
        .await;
        if let Ok(Ok(system)) = system
            && let Some(uid) = system.pointer("/metadata/uid").and_then(|u| u.as_str())
        {
            claims.insert("id.k8s.io".to_owned(), uid.to_owned());
        }
        (version, claims)
    }

    pub(super) fn disconnected(&mut self) {
        if let Some(session) = self.session.take() {
            self.dirty
                .extend(session.unacknowledged.into_values().flatten());
        }
        self.flush_at = None;
        // It is asked for anew with the next connection.
        self.gathering = None;
    }

    /// The center does not know this edge (any more).
    pub(super) fn detach(&mut self) -> Result<(), JournalError> {
        if !self.state.detached {
            tracing::warn!(
                copies = self.state.copies.len(),
                "detached: the center does not know this edge (any more). What runs here stays as it is and is not healed any more; \
                 stop this agent, or register the edge anew with `atoll edges add`"
            );
            self.record(&[fact::Kind::Detached(true).into()])?;
        }
        Ok(())
    }

    fn attach(&mut self) -> Result<(), JournalError> {
        if self.state.detached {
            self.record(&[fact::Kind::Detached(false).into()])?;
            let ids: Vec<CopyId> = self.state.copies.keys().cloned().collect();
            ids.iter().for_each(|id| self.due(id));
        }
        Ok(())
    }

    /// Takes in one message of the center.
    pub(super) async fn hear(&mut self, message: to_agent::Message) -> Result<(), JournalError> {
        use to_agent::Message as M;
        match message {
            M::Welcome(welcome) => {
                self.attach()?;
                self.edge.heard_gone(&welcome.gone);
                self.welcome(&welcome);
            }
            M::List(_) => self.list().await,
            M::Desired(desired) => self.desired(desired).await?,
            M::Bodies(bodies) => {
                for body in &bodies.bodies {
                    self.keep_body(&body.hash, &body.bytes)?;
                }
                let arrived: Vec<Bytes> = bodies.bodies.into_iter().map(|b| b.hash).collect();
                self.bodies(&arrived, &bodies.unknown).await?;
            }
            M::Tombstone(tombstone) => self.tombstone(tombstone).await?,
            M::Released(released) => {
                for copy in released.copies {
                    self.released(&copy)?;
                }
            }
            M::ReportAck(ack) => {
                if let Some(session) = &mut self.session {
                    session.unacknowledged = session.unacknowledged.split_off(&(ack.sequence + 1));
                    if session
                        .account
                        .is_some_and(|account| account <= ack.sequence)
                    {
                        self.accounted = true;
                    }
                }
            }
            M::FetchStatus(fetch) => {
                let seen = fetch
                    .copy
                    .as_ref()
                    .and_then(|id| self.views.get(id))
                    .and_then(|v| v.seen.as_ref());
                let status = RawStatus {
                    request: fetch.request,
                    found: seen.is_some(),
                    status: seen.map(|s| s.status.clone()).unwrap_or_default(),
                    observed_unix_ms: crate::identity::now_unix() * 1000,
                };
                self.say(status).await;
            }
            M::Resumed(resumed) => {
                if let Some(session) = &mut self.session {
                    session.held = false;
                }
                self.heard(resumed.cursor).await?;
            }
            M::Gather(gather) => self.gather(gather),
            // Handled by the connection.
            M::Refused(_) | M::Pong(_) => {}
        }
        Ok(())
    }

    fn welcome(&mut self, welcome: &Welcome) {
        let held = welcome.resumption() == Resumption::Held;
        if held {
            tracing::warn!(reason = %welcome.reason, "the center lost a part of its past: nothing is changed or deleted until a person resumes");
        }
        tracing::info!(copies = self.state.copies.len(), "connected to the center");
        if let Some(session) = &mut self.session {
            session.held = held;
            session.welcomed = true;
            session.complete = !self.accounted || welcome.report_everything;
        }
        // Reports are durable at the center once acknowledged: after the first full account of this process only what changed is told.
        let everything = !self.accounted || welcome.report_everything;
        let ids: Vec<CopyId> = match everything {
            true => self.state.copies.keys().cloned().collect(),
            false => self.dirty.iter().cloned().collect(),
        };
        ids.iter().for_each(|id| self.tell(id));
        if everything && ids.is_empty() {
            self.flush_at = Some(tokio::time::Instant::now());
        }
    }

    async fn list(&mut self) {
        let copies: Vec<Held> = self
            .state
            .copies
            .iter()
            .filter(|(_, copy)| copy.removal.is_none())
            .map(|(id, copy)| Held {
                copy: Some(id.clone()),
                render_hash: copy.item.render_hash.clone(),
                object: copy.item.object.clone(),
            })
            .collect();
        let mut chunks = copies.chunks(CHUNK).peekable();
        if chunks.peek().is_none() {
            self.say(Holding {
                copies: Vec::new(),
                last: true,
            })
            .await;
        }
        while let Some(chunk) = chunks.next() {
            self.say(Holding {
                copies: chunk.to_vec(),
                last: chunks.peek().is_none(),
            })
            .await;
        }
    }

    async fn desired(&mut self, mut desired: Desired) -> Result<(), JournalError> {
        for item in &mut desired.items {
            let body = std::mem::take(&mut item.body);
            if !body.is_empty() {
                self.keep_body(&item.body_hash, &body)?;
            }
        }
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        let state = &self.state;
        if session.held {
            let new = desired.items.iter().filter_map(|item| item.copy.as_ref());
            session
                .fresh
                .extend(new.filter(|id| !state.copies.contains_key(id)).cloned());
        }
        let allowed = |item: &Item| {
            let id = item.copy.as_ref();
            !session.held || id.is_some_and(|id| session.fresh.contains(id))
        };
        let items: Vec<Item> = desired
            .items
            .into_iter()
            .filter(|i| i.copy.is_some() && i.object.is_some())
            .filter(allowed)
            .collect();
        let waited: BTreeSet<&Bytes> = session.batches.iter().flat_map(|b| &b.missing).collect();
        let missing: BTreeSet<Bytes> = items
            .iter()
            .map(|i| i.body_hash.clone())
            .filter(|h| !self.journal.has_body(h))
            .collect();
        let hashes: Vec<Bytes> = missing
            .iter()
            .filter(|h| !waited.contains(h))
            .cloned()
            .collect();
        session.batches.push_back(Batch {
            cursor: desired.cursor,
            items,
            missing,
        });
        for chunk in hashes.chunks(CHUNK) {
            self.say(Need {
                hashes: chunk.to_vec(),
            })
            .await;
        }
        self.record_batches().await
    }

    fn keep_body(&mut self, hash: &[u8], bytes: &[u8]) -> Result<(), JournalError> {
        if atoll_wire::digest::body_hash(bytes)[..] == *hash {
            self.journal.put_body(hash, bytes)?;
        } else {
            tracing::warn!("a body does not have the hash it was sent under; dropped");
        }
        Ok(())
    }

    async fn bodies(&mut self, arrived: &[Bytes], unknown: &[Bytes]) -> Result<(), JournalError> {
        if let Some(session) = &mut self.session {
            for batch in &mut session.batches {
                batch
                    .missing
                    .retain(|hash| !arrived.contains(hash) && !unknown.contains(hash));
                batch
                    .items
                    .retain(|item| !unknown.contains(&item.body_hash));
            }
        }
        self.record_batches().await
    }

    /// Records the batches whose bodies are all here, in the order in which they were heard.
    async fn record_batches(&mut self) -> Result<(), JournalError> {
        let mut cursor = None;
        let mut facts: Vec<Fact> = Vec::new();
        let mut changed = Vec::new();
        while let Some(batch) = self
            .session
            .as_mut()
            .and_then(|s| s.batches.pop_front_if(|b| b.missing.is_empty()))
        {
            for item in batch.items {
                let (Some(id), Some(object)) = (&item.copy, &item.object) else {
                    continue;
                };
                self.by_identity
                    .entry(object.into())
                    .or_default()
                    .insert(id.clone());
                changed.push(id.clone());
                facts.push(fact::Kind::Desired(item).into());
            }
            cursor = batch.cursor.or(cursor);
        }
        if facts.is_empty() && cursor.is_none() {
            return Ok(());
        }
        self.record(&facts)?;
        changed.iter().for_each(|id| self.due(id));
        self.heard(cursor).await
    }

    /// Everything up to the cursor is recorded.
    async fn heard(&mut self, cursor: Option<Cursor>) -> Result<(), JournalError> {
        let Some(cursor) = cursor else { return Ok(()) };
        self.record(&[fact::Kind::Heard(cursor.clone()).into()])?;
        let digest = self.state.digest().to_bytes().into();
        self.say(Progress {
            cursor: Some(cursor),
            digest,
        })
        .await;
        Ok(())
    }

    async fn tombstone(&mut self, tombstone: Tombstone) -> Result<(), JournalError> {
        let held = self.session.as_ref().is_some_and(|s| s.held);
        let Some(id) = tombstone.copy.clone().filter(|_| !held) else {
            return Ok(());
        };
        let before = self.state.copies.get(&id);
        // Said again after a reconnect, and done already: say so again.
        let done = before.is_some_and(|c| c.removal.is_some())
            && matches!(self.phases.get(&id), Some(Phase::Settled));
        if done {
            self.say(TombstoneDone {
                copy: Some(id),
                outcome: TombstoneOutcome::Removed.into(),
                ..TombstoneDone::default()
            })
            .await;
            return Ok(());
        }
        let doomed = Doomed {
            copy: Some(id.clone()),
            object: tombstone.object,
            mode: tombstone.mode,
            order: tombstone.order,
        };
        self.record(&[fact::Kind::Doomed(doomed).into()])?;
        self.due(&id);
        self.heard(tombstone.cursor).await
    }

    fn released(&mut self, id: &CopyId) -> Result<(), JournalError> {
        if self
            .state
            .copies
            .get(id)
            .is_none_or(|copy| copy.removal.is_none())
        {
            return Ok(());
        }
        self.record(&[fact::Kind::Forgotten(id.clone()).into()])?;
        self.forget(id);
        self.drop_record(id.clone());
        Ok(())
    }

    /// Sends the reports that are due.
    pub(super) async fn flush(&mut self) {
        self.flush_at = None;
        let Some(session) = self.session.as_ref().filter(|s| s.welcomed) else {
            return;
        };
        let complete = session.complete;
        let mut reports = Vec::new();
        let mut unknown = false;
        for id in std::mem::take(&mut self.dirty) {
            let Some(copy) = self.state.copies.get(&id).filter(|c| c.removal.is_none()) else {
                continue;
            };
            match report(
                copy,
                self.phases.get(&id),
                self.views.get(&id).and_then(|v| v.seen.as_ref()),
            ) {
                Some(report) => reports.push((id, report)),
                None => unknown = true,
            }
        }
        // Copies that are still being worked on for the first time follow; only then is the account complete.
        let complete = complete && !unknown;
        if reports.is_empty() && !complete {
            return;
        }
        let mut rest = reports.into_iter().peekable();
        loop {
            let (ids, copies): (Vec<_>, Vec<_>) = rest.by_ref().take(CHUNK).unzip();
            let last = rest.peek().is_none();
            let Some(session) = &mut self.session else {
                return;
            };
            session.sequence += 1;
            let sequence = session.sequence;
            session.unacknowledged.insert(sequence, ids);
            if last && complete {
                session.complete = false;
                session.account = Some(sequence);
            }
            self.say(Report {
                sequence,
                copies,
                complete: last && complete,
            })
            .await;
            if last {
                return;
            }
        }
    }

    /// Says how a removal went.
    pub(super) async fn removal(
        &mut self,
        id: &CopyId,
        outcome: TombstoneOutcome,
        blocked: Option<Refusal>,
    ) {
        let (error, message) = blocked.map_or((ErrorKind::None, String::new()), |refusal| {
            (refusal.error, refusal.message)
        });
        self.say(TombstoneDone {
            copy: Some(id.clone()),
            outcome: outcome.into(),
            message,
            error: error.into(),
        })
        .await;
    }
}
