//! The edge's own API server, as the agent uses it: what it serves, how a copy is applied and removed, what is seen of it afterwards.

pub mod apply;
mod backend;
pub mod born;
mod handover;
pub mod kinds;
pub mod records;
pub mod remove;
pub mod watch;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use atoll_client::{Client, ClientError};
use atoll_wire::ErrorKind;

use kinds::Kinds;

/// The field manager that owns what the payload says.
pub const MANAGER: &str = "atoll";

/// The label that every copy carries: the uid of the destination it belongs to. Only a filter for watches and a sign for people: what is ours is
/// written in the records, because controllers copy labels to children.
pub const LABEL: &str = "edge.atoll.dev/destination";

/// The edge.
#[derive(Clone)]
pub struct Edge {
    /// The way to its API server.
    pub client: Client,
    /// What it serves.
    pub kinds: Arc<Kinds>,
    /// Which destination it is.
    pub destination: Arc<str>,
    /// Destinations that left records here and that the center does not know any more.
    pub gone: Arc<Mutex<BTreeSet<String>>>,
}

impl Edge {
    /// An edge seen as one destination.
    pub fn new(client: Client, destination: &str) -> Self {
        Edge {
            client,
            kinds: Arc::default(),
            destination: destination.into(),
            gone: Arc::default(),
        }
    }

    /// Takes in which of [`Edge::others`] the center does not know.
    pub fn heard_gone(&self, gone: &[String]) {
        let mut known = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        *known = gone.iter().cloned().collect();
    }

    fn is_gone(&self, destination: &str) -> bool {
        let known = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        known.contains(destination)
    }
}

/// Why a copy is not as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// What it counts as.
    pub error: ErrorKind,
    /// In the edge's words, at most 1 KiB.
    pub message: String,
}

impl Refusal {
    /// A refusal in our own words.
    pub fn new(error: ErrorKind, message: impl Into<String>) -> Self {
        Refusal {
            error,
            message: shorten(message.into()),
        }
    }
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        let kind = match &error {
            ClientError::Status(status) => classify(status.code, &error.to_string()),
            ClientError::Unreachable { .. } => ErrorKind::Unreachable,
            ClientError::Config(_) | ClientError::Answer { .. } => ErrorKind::Other,
        };
        Refusal::new(kind, error.to_string())
    }
}

/// How Kubernetes' validation says that a field of an existing object cannot change.
const IMMUTABLE: [&str; 5] = [
    "immutable",
    "updates to",
    "may not change",
    "may not be changed",
    "cannot change",
];

/// What an answer of the edge means for a copy.
fn classify(code: u16, message: &str) -> ErrorKind {
    match code {
        401 | 403 if message.contains("being terminated") => ErrorKind::Terminating,
        401 | 403 => ErrorKind::Forbidden,
        // A Namespace or a kind that is not there (yet).
        404 => ErrorKind::Waiting,
        422 if IMMUTABLE.iter().any(|words| message.contains(words)) => ErrorKind::Immutable,
        400 | 415 | 422 => ErrorKind::Invalid,
        429 | 502..=504 => ErrorKind::Unreachable,
        _ => ErrorKind::Other,
    }
}

fn shorten(mut text: String) -> String {
    const MOST: usize = 1024;
    if text.len() > MOST {
        let mut end = MOST - '…'.len_utf8();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        for (code, message, expected) in [
            (
                403,
                "forbidden: User \"x\" cannot create",
                ErrorKind::Forbidden,
            ),
            (
                403,
                "unable to create new content in namespace x because it is being terminated",
                ErrorKind::Terminating,
            ),
            (404, "namespaces \"x\" not found", ErrorKind::Waiting),
            (
                422,
                "spec.selector: Invalid value: field is immutable",
                ErrorKind::Immutable,
            ),
            (
                422,
                "roleRef: Invalid value: cannot change roleRef",
                ErrorKind::Immutable,
            ),
            (
                422,
                "value: Forbidden: may not be changed in an update.",
                ErrorKind::Immutable,
            ),
            (
                422,
                "spec: Forbidden: pod updates may not change fields other than `spec.tolerations`",
                ErrorKind::Immutable,
            ),
            (422, "spec.replicas: Invalid value: -1", ErrorKind::Invalid),
            (503, "starting", ErrorKind::Unreachable),
            (500, "boom", ErrorKind::Other),
        ] {
            assert_eq!(classify(code, message), expected, "{code} {message}");
        }
    }

    #[test]
    fn long_messages_are_cut_between_letters() {
        let cut = shorten("ä".repeat(1000));
        assert!(cut.len() <= 1024 && cut.ends_with('…'));
    }
}
