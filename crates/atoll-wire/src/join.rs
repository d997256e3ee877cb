//! The join file: all that a new agent needs to find its center and enrol once.
//!
//! Made by `atoll edges add`, read by `atoll agent --join`. It is a secret until the first enrolment binds its token to a key.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// The `apiVersion` of a join file.
pub const API_VERSION: &str = "edge.atoll.dev/v1alpha1";
/// The `kind` of a join file.
pub const KIND: &str = "Join";

/// Hex SHA-256 of a join token: an annotation of the ManagedCluster.
pub const TOKEN_HASH: &str = "edge.atoll.dev/join-token-sha256";
/// When the join token expires (RFC 3339): an annotation of the ManagedCluster.
pub const TOKEN_EXPIRES: &str = "edge.atoll.dev/join-token-expires";

/// What [`TOKEN_HASH`] holds for a token.
pub fn token_hash(token: &str) -> String {
    hex::encode(Sha256::digest(token.as_bytes()))
}

/// A join file. As YAML or JSON, with Kubernetes' spelling of field names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JoinFile {
    /// Always [`API_VERSION`].
    pub api_version: String,
    /// Always [`KIND`].
    pub kind: String,
    /// The center's URL, `https://host:port`.
    pub server: String,
    /// The certificate authority that signed the center's serving certificate: base64 of PEM, as in a kubeconfig.
    pub certificate_authority_data: String,
    /// The logical cluster of the inventory.
    pub inventory: String,
    /// The ManagedCluster's name, for messages to people only.
    pub name: String,
    /// The ManagedCluster's uid: which destination this is.
    pub destination: String,
    /// The join token.
    pub token: String,
    /// When the token expires (RFC 3339), for messages to people only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}
