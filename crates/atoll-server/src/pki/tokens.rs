//! The administrators' bearer tokens.
//!
//! `kcp-admin` gets a new token at each start. `shard-admin` keeps its token: the kubeconfig holds it and the token
//! store holds the SHA-256 of it, and only a token that matches the stored hash is taken over.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::PkiError;
use super::files::{self, Secrecy};

/// The two tokens that the admin kubeconfig carries.
#[derive(Clone)]
pub struct AdminTokens {
    /// User `kcp-admin`, group `system:kcp:admin`; new at each start.
    pub kcp_admin: String,
    /// User `shard-admin`, group `system:masters`; the same from start to start.
    pub shard_admin: String,
}

impl std::fmt::Debug for AdminTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminTokens")
    }
}

impl AdminTokens {
    /// Takes over `kept` when the store knows it, else makes a new token and stores its hash.
    pub(super) fn open(store: &Path, kept: Option<String>) -> Result<Self, PkiError> {
        let kcp_admin = random_token();
        let stored = if store.exists() {
            Some(files::read_bytes(store)?)
        } else {
            None
        };
        if let (Some(stored), Some(kept)) = (stored, kept)
            && stored == hash(&kept)
        {
            return Ok(Self {
                kcp_admin,
                shard_admin: kept,
            });
        }
        let shard_admin = random_token();
        files::replace(store, &hash(&shard_admin), Secrecy::Secret)?;
        Ok(Self {
            kcp_admin,
            shard_admin,
        })
    }
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// 128 random bits, written as a UUID as kcp does.
pub(super) fn random_token() -> String {
    uuid::Uuid::new_v4().to_string()
}
