//! The continue token: where a list stopped, at which revision, and what it was filtered by. Opaque to clients.

use std::hash::{DefaultHasher, Hash, Hasher};

use atoll_kube::Status;
use atoll_store::{Key, Revision};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Call, ListOptions};

/// A decoded continue token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Token {
    /// The revision of the list; `None` continues at the newest (after the first one expired).
    #[serde(rename = "rv", skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<Revision>,
    /// The last key handed out.
    #[serde(rename = "k")]
    last: String,
    /// What the list was about.
    #[serde(rename = "f")]
    filters: u64,
    /// How many objects were left, where known.
    #[serde(rename = "n", skip_serializing_if = "Option::is_none")]
    pub(crate) remaining: Option<u64>,
}

/// What must be the same on every page.
pub(crate) fn filters(call: &Call, options: &ListOptions) -> u64 {
    let mut hasher = DefaultHasher::new();
    (
        &call.resource.group,
        &call.resource.resource,
        &call.namespace,
    )
        .hash(&mut hasher);
    (&options.labels, &options.fields).hash(&mut hasher);
    call.clusters.one().map(|c| c.as_str()).hash(&mut hasher);
    hasher.finish()
}

impl Token {
    pub(crate) fn new(
        revision: Option<Revision>,
        last: &Key,
        filters: u64,
        remaining: Option<u64>,
    ) -> Self {
        Self {
            revision,
            last: BASE64.encode(last.as_bytes()),
            filters,
            remaining,
        }
    }

    /// The last key handed out.
    pub(crate) fn last(&self) -> Result<Key, Status> {
        let bytes = BASE64.decode(&self.last).map_err(|_| invalid())?;
        Key::from_bytes(Bytes::from(bytes)).map_err(|_| invalid())
    }

    /// The token that goes on from the same place at whatever revision is newest then.
    pub(crate) fn unpinned(&self) -> Self {
        Self {
            revision: None,
            remaining: None,
            last: self.last.clone(),
            filters: self.filters,
        }
    }

    pub(crate) fn encode(&self) -> String {
        // Numbers and strings: cannot fail.
        BASE64.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    /// Decodes a token and checks that it belongs to this list.
    pub(crate) fn decode(text: &str, filters: u64) -> Result<Self, Status> {
        let bytes = BASE64.decode(text).map_err(|_| invalid())?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        if token.filters != filters {
            return Err(Status::bad_request(
                "continue key is not valid: it belongs to another list",
            ));
        }
        Ok(token)
    }
}

fn invalid() -> Status {
    Status::bad_request("continue key is not valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_its_list() {
        let key = Key::new(["", "configmaps", "", "root", "default", "a"]);
        let token = Token::new(Some(Revision(5)), &key, 1, Some(3));
        let text = token.encode();
        assert_eq!(Token::decode(&text, 1).unwrap(), token);
        assert_eq!(token.last().unwrap(), key);
        assert_eq!(Token::decode(&text, 2).unwrap_err().code, 400);
        assert_eq!(Token::decode("§", 1).unwrap_err().code, 400);
    }
}
