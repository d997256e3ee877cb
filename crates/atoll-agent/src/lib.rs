//! The edge process: enrols, receives, applies, heals and reports; works alone when disconnected.
//!
//! ```text
//! center ─▶ center.rs ─▶ agent.rs ─▶ edge/   (apply, remove: server-side apply, records before objects)
//!                          │  ▲        │
//!               state/ ◀───┘  └────────┘     (what is seen: reports up, healing down)
//!          journal, bodies
//! ```
//! Decisions are pure ([`plan`], `edge::apply::decide`, [`state`]); [`agent`] is the one task that owns the state; everything that waits runs beside it. Always true here: nothing is
//! deleted at the edge but what a tombstone named and the records call ours.

mod agent;
mod center;
pub mod edge;
mod identity;
mod join;
pub mod paths;
pub mod plan;
mod report;
pub mod state;
pub mod uplink;

use std::{path::PathBuf, time::Duration};

use atoll_client::{Client, ClientError};
use atoll_wire::join::JoinFile;
use tokio::sync::mpsc;

use crate::{
    agent::Agent,
    center::Center,
    edge::Edge,
    identity::Identity,
    state::{State, fact, journal::Journal},
};

pub use center::CenterError;
pub use identity::IdentityError;
pub use join::read_join_file;
pub use state::journal::JournalError;

/// What an agent needs to run.
pub struct Options {
    /// Where to go and how to enrol.
    pub join: JoinFile,
    /// The way to the edge's own API server.
    pub edge: Client,
    /// Where the agent keeps what it knows.
    pub state_directory: PathBuf,
}

/// Why an agent ended.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The state directory cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is no usable identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The center does not want this agent.
    #[error(transparent)]
    Center(#[from] CenterError),
    /// The way to the edge leads to a workspace of a center.
    #[error(
        "the kubeconfig leads to a workspace of an Atoll center (or of kcp), not to an edge; name the edge's own kubeconfig with --kubeconfig"
    )]
    NotAnEdge,
}

/// Runs an agent until it is dropped, or until it cannot go on.
///
/// # Errors
/// When the state directory is unusable, or when the center refuses to enrol an agent that never was enrolled. Everything else is waited out.
pub async fn run(options: Options) -> Result<(), AgentError> {
    let Options {
        join,
        edge: client,
        state_directory,
    } = options;
    let edge = Edge::new(client, &join.destination);
    if is_workspace(&edge.client).await {
        return Err(AgentError::NotAnEdge);
    }
    let (mut journal, mut state) = Journal::open(&state_directory)?;
    let known = Identity::load(&state_directory, &join)?;
    // Without a past of its own the agent first looks at what the edge has on record: it must know what is ours before it hears anything.
    let is_new = known.is_none() || state.cursor.is_none();
    let kept = if is_new {
        recover(&edge, &mut journal, &mut state).await?
    } else {
        None
    };
    let identity = match known.filter(Identity::is_enrolled).or(kept) {
        Some(identity) => identity,
        None => match Identity::load(&state_directory, &join)? {
            Some(unused) => unused,
            None => Identity::generate(&join.destination)?,
        },
    };
    identity.save(&state_directory)?;
    let (tell, news) = mpsc::channel(64);
    let center = Center::new(join, identity, state_directory, edge.clone())?;
    let agent = Agent::new(edge, journal, state);
    tokio::select! {
        ended = center.run(tell) => ended.map_err(Into::into),
        ended = agent.run(news) => ended.map_err(Into::into),
    }
}

/// Whether this is a center's API and no cluster's. Who cannot be asked now is not.
async fn is_workspace(client: &Client) -> bool {
    let path = "/apis/core.kcp.io/v1alpha1/logicalclusters/cluster";
    let asked = tokio::time::timeout(Duration::from_secs(5), client.find(path)).await;
    matches!(asked, Ok(Ok(Some(_))))
}

/// Waits for the edge and takes over what is on record there. Returns the identity kept at the edge.
async fn recover(
    edge: &Edge,
    journal: &mut Journal,
    state: &mut State,
) -> Result<Option<Identity>, JournalError> {
    let look =
        || async { Ok::<_, ClientError>((edge.records().await?, edge.kept_identity().await?)) };
    let mut pause = Duration::from_millis(200);
    let (records, identity) = loop {
        match look().await {
            Ok(found) => break found,
            Err(error) => {
                tracing::warn!(%error, again_in = ?pause, "cannot read the records at the edge");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        }
    };
    let mut facts = Vec::new();
    for copy in records {
        let known = copy
            .item
            .copy
            .as_ref()
            .is_some_and(|id| state.copies.contains_key(id));
        if !known {
            facts.push(fact::Kind::Desired(copy.item).into());
            facts.extend(copy.owned.map(fact::Kind::Owned).map(Into::into));
        }
    }
    journal.record(state, &facts)?;
    Ok(identity)
}
