//! The one outbound connection: keeps a session open (enrolled and renewed through [`crate::uplink`]) and carries its messages. Knows nothing of what they say.

use std::{path::PathBuf, time::Duration};

use atoll_wire::{
    AgentClient, PING_EVERY, Ping, RefusedReason, SILENCE_LIMIT, ToAgent, ToCenter, join::JoinFile,
    to_agent,
};
use tokio::{
    sync::mpsc::{self, error::SendTimeoutError},
    time::Instant,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{
    edge::Edge,
    identity::{Identity, IdentityError},
    uplink::{ANSWER_TIMEOUT, Uplink, in_time},
};

/// How many messages wait in each direction before the sender does.
const WINDOW: usize = 64;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What the connection tells the agent.
#[derive(Debug)]
pub(crate) enum News {
    /// A stream is open; what is sent here goes to the center. A Hello comes first.
    Connected(mpsc::Sender<ToCenter>),
    /// The center said this.
    Said(Box<to_agent::Message>),
    /// The stream is gone.
    Disconnected,
    /// The center does not know this destination (any more).
    Unknown,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum CenterError {
    /// The join file does not say where to go.
    #[error("the join file is not usable: {0}")]
    Join(String),
    /// The center refused to enrol this agent; trying again does not help.
    #[error("the center refused this agent: {0}")]
    Refused(String),
    /// The center does not know this destination (any more).
    #[error("the center refused this agent: {0}")]
    Unknown(String),
    /// The center refused, for now.
    #[error("the center refused this session: {message}")]
    NotNow {
        /// In its words.
        message: String,
        /// When to try again.
        pause: Duration,
    },
    /// No connection, or it broke.
    #[error("cannot reach the center: {0}")]
    Unreachable(String),
    /// Keys and files.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl From<tonic::Status> for CenterError {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::InvalidArgument
            | Code::FailedPrecondition => CenterError::Refused(status.message().to_owned()),
            Code::NotFound => CenterError::Unknown(status.message().to_owned()),
            _ => CenterError::Unreachable(format!("{}: {}", status.code(), status.message())),
        }
    }
}

/// The agent's place at the center.
pub(crate) struct Center {
    uplink: Uplink,
    directory: PathBuf,
    identity: Identity,
    edge: Edge,
}

impl Center {
    /// Reads where to go out of the join file.
    pub(crate) fn new(
        join: JoinFile,
        identity: Identity,
        directory: PathBuf,
        edge: Edge,
    ) -> Result<Self, CenterError> {
        Ok(Center {
            uplink: Uplink::new(join)?,
            directory,
            identity,
            edge,
        })
    }

    /// Keeps a session open for ever. Returns only when the center refused an agent that never was enrolled, or when nobody listens.
    pub(crate) async fn run(mut self, tell: mpsc::Sender<News>) -> Result<(), CenterError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            let ended = self.session(&tell).await;
            if tell.send(News::Disconnected).await.is_err() {
                return Ok(());
            }
            if began.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            let wait = match ended {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    continue;
                }
                Err(error @ (CenterError::Refused(_) | CenterError::Unknown(_)))
                    if !self.identity.is_enrolled() =>
                {
                    return Err(error);
                }
                Err(error @ (CenterError::Join(_) | CenterError::Identity(_))) => {
                    return Err(error);
                }
                Err(error) => {
                    let wait = match &error {
                        CenterError::NotNow { pause, .. } => *pause,
                        _ => pause,
                    };
                    tracing::warn!(%error, again_in = ?wait, "no session with the center; the edge goes on with what it last heard");
                    wait
                }
            };
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn session(&mut self, tell: &mpsc::Sender<News>) -> Result<(), CenterError> {
        if !self.identity.is_enrolled() {
            self.uplink.enrol(&mut self.identity).await?;
            tracing::info!("enrolled: the join file has done its work");
            self.keep().await?;
        } else if self.identity.wants_renewal() {
            let renewed = self.uplink.renew(&mut self.identity).await;
            if let Err(CenterError::Unknown(_)) = &renewed {
                let _ = tell.send(News::Unknown).await;
            }
            renewed?;
            tracing::info!("the certificate is renewed");
            self.keep().await?;
        }
        let (up, messages) = mpsc::channel(WINDOW);
        let mut client = AgentClient::new(self.uplink.channel(Some(&self.identity)).await?);
        // The Hello has to be on its way before the center answers the call.
        if tell.send(News::Connected(up.clone())).await.is_err() {
            return Ok(());
        }
        let answer = client.session(ReceiverStream::new(messages));
        let mut down = match in_time(ANSWER_TIMEOUT, answer).await? {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                if status.code() == Code::Unauthenticated {
                    // Whatever our clock says: the center takes the certificate for expired.
                    self.identity.renew_after = 0;
                }
                return Err(status.into());
            }
        };
        let renew_at = Instant::now() + self.identity.until_renewal();
        let mut heard = Instant::now();
        let mut ping = heard + PING_EVERY;
        loop {
            tokio::select! {
                message = down.message() => match message? {
                    None => return Err(CenterError::Unreachable("the center ended the session".into())),
                    Some(ToAgent { message, .. }) => {
                        heard = Instant::now();
                        ping = heard + PING_EVERY;
                        match message {
                            None | Some(to_agent::Message::Pong(_)) => {}
                            Some(to_agent::Message::Refused(refused)) => {
                                if refused.reason() == RefusedReason::Unknown {
                                    let _ = tell.send(News::Unknown).await;
                                }
                                let pause = Duration::from_secs(u64::from(refused.retry_after_seconds)).max(FIRST_PAUSE).min(Duration::from_secs(60));
                                let pause = if refused.retry_after_seconds == 0 { Duration::from_secs(30) } else { pause };
                                return Err(CenterError::NotNow { message: refused.message, pause });
                            }
                            Some(message) => {
                                // Whoever is to hear it may be waiting for the center to take something, and the center for us: the end of the session frees all.
                                match tell.send_timeout(News::Said(Box::new(message)), SILENCE_LIMIT).await {
                                    Ok(()) => {}
                                    Err(SendTimeoutError::Closed(_)) => return Ok(()),
                                    Err(SendTimeoutError::Timeout(_)) => return Err(CenterError::Unreachable("the session stands still".into())),
                                }
                            }
                        }
                    }
                },
                () = tokio::time::sleep_until(ping) => {
                    let message = ToCenter::new("", Ping {});
                    // When there is no room, something else is on its way already.
                    let _ = up.try_send(message);
                    ping = Instant::now() + PING_EVERY;
                }
                () = tokio::time::sleep_until(heard + SILENCE_LIMIT) => return Err(CenterError::Unreachable("nothing heard for too long".into())),
                () = tokio::time::sleep_until(renew_at) => return Ok(()),
            }
        }
    }

    /// After enrolment or renewal: the new certificate is kept here and at the edge.
    async fn keep(&mut self) -> Result<(), CenterError> {
        self.identity.save(&self.directory)?;
        if let Err(error) = self.edge.keep_identity(&self.identity).await {
            tracing::warn!(%error, "the identity could not be kept at the edge; it stands in the state directory");
        }
        Ok(())
    }
}
