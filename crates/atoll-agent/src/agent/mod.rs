//! The one task that owns the agent's state: it takes in what the center says, what the edge shows and how work ended, and hands out what is to be done.
//!
//! [`session`] holds the center's side of it, [`work`] the edge's.

mod born;
mod session;
mod work;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use atoll_wire::CopyId;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use crate::{
    center::News,
    edge::{
        Edge,
        watch::{Seen, Sight},
    },
    plan::{Identity, Millis, Phase},
    state::{
        Fact, State,
        journal::{Journal, JournalError},
    },
};

use born::Gathering;
use session::Session;
use work::Done;

/// How long reports are gathered before they are sent.
const GATHER: Duration = Duration::from_millis(40);

/// What is only in memory of a copy.
#[derive(Default)]
struct View {
    /// As last seen at the edge.
    seen: Option<Seen>,
    /// As the last apply left it: anything else means that somebody changed it.
    expected: Option<Expected>,
    /// Seen while it was worked on: whether that is news is known when the work has ended.
    meanwhile: Option<Seen>,
}

/// What the edge should go on showing.
#[derive(PartialEq)]
struct Expected {
    uid: String,
    generation: i64,
    metadata: u32,
    /// For kinds without generation.
    resource_version: Option<String>,
}

impl Expected {
    fn of(seen: &Seen) -> Self {
        let resource_version = (seen.generation == 0).then(|| seen.resource_version.clone());
        Expected {
            uid: seen.uid.clone(),
            generation: seen.generation,
            metadata: seen.metadata,
            resource_version,
        }
    }
}

/// The agent.
pub(crate) struct Agent {
    edge: Edge,
    journal: Journal,
    state: State,
    phases: BTreeMap<CopyId, Phase>,
    views: BTreeMap<CopyId, View>,
    /// Which copies share an identity at the edge.
    by_identity: HashMap<Identity, BTreeSet<CopyId>>,
    watched: BTreeSet<String>,
    /// What watches see, told with the kind they watch.
    tell: mpsc::Sender<(String, Sight)>,
    sights: mpsc::Receiver<(String, Sight)>,
    watches: JoinSet<()>,
    work: JoinSet<Done>,
    /// Copies whose report is due.
    dirty: BTreeSet<CopyId>,
    flush_at: Option<Instant>,
    session: Option<Session>,
    /// What the center asks for of what is born here.
    gathering: Option<Gathering>,
    /// Since this process started, every copy was reported once and the center has it.
    accounted: bool,
    epoch: Instant,
}

impl Agent {
    pub(crate) fn new(edge: Edge, journal: Journal, state: State) -> Self {
        let (tell, sights) = mpsc::channel(256);
        let mut agent = Agent {
            edge,
            journal,
            state,
            phases: BTreeMap::new(),
            views: BTreeMap::new(),
            by_identity: HashMap::new(),
            watched: BTreeSet::new(),
            tell,
            sights,
            watches: JoinSet::new(),
            work: JoinSet::new(),
            dirty: BTreeSet::new(),
            flush_at: None,
            session: None,
            gathering: None,
            accounted: false,
            epoch: Instant::now(),
        };
        for (id, copy) in &agent.state.copies {
            if let Some(object) = &copy.item.object {
                agent
                    .by_identity
                    .entry(object.into())
                    .or_default()
                    .insert(id.clone());
            }
        }
        agent
    }

    /// Runs until the news end or the state directory fails.
    pub(crate) async fn run(mut self, mut news: mpsc::Receiver<News>) -> Result<(), JournalError> {
        loop {
            let retry = self.begin_work()?;
            let retry = retry.map(|at| self.epoch + Duration::from_millis(at.0));
            let born_at = Gathering::flush_at(&self.gathering);
            tokio::select! {
                said = news.recv() => match said {
                    None => return Ok(()),
                    Some(News::Connected(up)) => self.connected(up).await,
                    Some(News::Disconnected) => self.disconnected(),
                    Some(News::Unknown) => self.detach()?,
                    Some(News::Said(message)) => self.hear(*message).await?,
                },
                Some((key, sight)) = self.sights.recv() => {
                    self.see(&key, sight);
                    // A first list comes in a burst: take all of it before planning anew.
                    while let Ok((key, sight)) = self.sights.try_recv() {
                        self.see(&key, sight);
                    }
                }
                Some(done) = self.work.join_next() => {
                    if let Ok(done) = done {
                        self.finished(done).await?;
                    }
                }
                () = wait_until(self.flush_at) => self.flush().await,
                Some(sight) = Gathering::next(&mut self.gathering) => self.see_born(sight),
                () = wait_until(born_at) => self.flush_born().await,
                () = wait_until(retry) => {}
            }
        }
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn record(&mut self, facts: &[Fact]) -> Result<(), JournalError> {
        self.journal.record(&mut self.state, facts)
    }

    /// The copy is to be looked at (again).
    fn due(&mut self, id: &CopyId) {
        match self.phases.get_mut(id) {
            Some(Phase::Working { again }) => *again = true,
            _ => {
                self.phases.insert(id.clone(), Phase::Due);
            }
        }
    }

    /// The copy's report is to be sent.
    fn tell(&mut self, id: &CopyId) {
        self.dirty.insert(id.clone());
        if self.session.is_some() {
            self.flush_at.get_or_insert_with(|| Instant::now() + GATHER);
        }
    }

    /// Nothing is known of the copy any more.
    fn forget(&mut self, id: &CopyId) {
        self.phases.remove(id);
        self.views.remove(id);
        self.dirty.remove(id);
        let mut others = Vec::new();
        self.by_identity.retain(|_, copies| {
            if copies.remove(id) {
                others.extend(copies.iter().cloned());
            }
            !copies.is_empty()
        });
        // Whoever waited for the identity may have it now.
        others.iter().for_each(|other| self.due(other));
    }
}

async fn wait_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
