//! What can go wrong between a caller and an API server, split by who can act on it.

use atoll_kube::status::Status;

/// Why a request has no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server answered, and its answer was no.
    #[error("{0}")]
    Status(Box<Status>),
    /// The server could not be reached, or the connection broke before the answer was complete.
    #[error("cannot reach {server}: {why}")]
    Unreachable {
        /// Scheme, host and port that were tried.
        server: String,
        /// What the network or TLS said.
        why: String,
    },
    /// The connection settings themselves are wrong.
    #[error("{0}")]
    Config(String),
    /// The server's answer is not what the protocol promises.
    #[error("unexpected answer from {server}: {why}")]
    Answer {
        /// Scheme, host and port that answered.
        server: String,
        /// What was wrong with it.
        why: String,
    },
}

impl ClientError {
    /// The server's Status, when there is one.
    pub fn status(&self) -> Option<&Status> {
        match self {
            ClientError::Status(status) => Some(status),
            _ => None,
        }
    }

    /// The HTTP code of the refusal; 0 when there was no answer.
    pub fn code(&self) -> u16 {
        self.status().map_or(0, |status| status.code)
    }

    /// The object or the path does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// Something else changed the object first, or it exists already.
    pub fn is_conflict(&self) -> bool {
        self.code() == 409
    }

    /// The revision asked for is no longer kept; list again.
    pub fn is_gone(&self) -> bool {
        self.code() == 410
    }

    /// Trying the same again later may help: no answer, overload or a server that is starting.
    pub fn is_temporary(&self) -> bool {
        match self {
            ClientError::Unreachable { .. } => true,
            ClientError::Status(status) => matches!(status.code, 429 | 500 | 502 | 503 | 504),
            ClientError::Config(_) | ClientError::Answer { .. } => false,
        }
    }
}
