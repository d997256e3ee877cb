//! Service accounts: tokens that are made for them, and what such a token proves.
//!
//! A token is a JWT signed with the root directory's `sa.key`. It names its logical cluster, the account and perhaps a Secret or Pod, each with its uid, and
//! holds as long as they are all there: deleting one of them revokes it at once, everywhere. Nothing is kept about tokens; an idle account costs its row.

mod claims;
mod request;
mod secrets;

use std::sync::Arc;

use async_trait::async_trait;
use atoll_kube::{RowRef, Status, Timestamp, UserInfo, meta};
use atoll_registry::{Clock, ResourceId};
use atoll_store::{At, Snapshot, Store};
use quick_cache::sync::Cache;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::authn::TokenAuthenticator;
use claims::{Bound, Claims, Signer};

/// The issuer, which is also the audience of this API; kcp's.
const ISSUER: &str = "https://kcp.default.svc";

/// The extra field that says which logical cluster an account is of.
const HOME: &str = "authentication.kcp.io/cluster-name";

/// Tokens whose signature is known to be right.
const KNOWN: usize = 10_000;

/// How long a token holds after its object was asked to go, as upstream's.
const LEEWAY: i64 = 60_000;

/// Makes tokens of service accounts and knows them again.
pub struct Accounts {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    signer: Signer,
    known: Cache<[u8; 32], Arc<Claims>>,
}

/// Whom a token stands for, and for which of the audiences asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The account, as a user.
    pub user: UserInfo,
    /// The audiences it may be used with.
    pub audiences: Vec<String>,
}

impl Accounts {
    /// With a private key in PEM (P-256, as the root directory makes it).
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, key: &str) -> Result<Self, String> {
        Ok(Self {
            store,
            clock,
            signer: Signer::from_pem(key)?,
            known: Cache::new(KNOWN),
        })
    }

    /// Whom a token stands for, if it holds for one of the audiences; without audiences, for this API.
    pub fn prove(&self, token: &str, audiences: &[String]) -> Option<Proven> {
        let hash = Sha256::digest(token.as_bytes()).into();
        let claims = match self.known.get(&hash) {
            Some(claims) => claims,
            None => {
                let claims = Arc::new(self.signer.verify(token)?);
                self.known.insert(hash, claims.clone());
                claims
            }
        };
        let now = self.clock.now();
        if !claims.holds_at(now) {
            return None;
        }
        let own = [ISSUER.to_owned()];
        let wanted = if audiences.is_empty() {
            &own[..]
        } else {
            audiences
        };
        let for_these: Vec<String> = wanted
            .iter()
            .filter(|a| claims.audiences.contains(a))
            .cloned()
            .collect();
        if for_these.is_empty() {
            return None;
        }
        let snapshot = self.store.snapshot(At::Latest).ok()?;
        self.still_there(&*snapshot, &claims, token, now)?;
        Some(Proven {
            user: claims.user(),
            audiences: for_these,
        })
    }

    /// Whether everything that a token is bound to is there.
    fn still_there(
        &self,
        snapshot: &dyn Snapshot,
        claims: &Claims,
        token: &str,
        now: Timestamp,
    ) -> Option<()> {
        let account = find(
            snapshot,
            &claims.cluster,
            "serviceaccounts",
            &claims.namespace,
            &claims.account.name,
        )?;
        lives(&account, &claims.account.uid, now)?;
        if let Some((kind, bound)) = &claims.bound {
            let object = find(
                snapshot,
                &claims.cluster,
                kind.resource(),
                &claims.namespace,
                &bound.name,
            )?;
            lives(&object, &bound.uid, now)?;
        }
        if let Some(secret) = &claims.secret {
            let object = find(
                snapshot,
                &claims.cluster,
                "secrets",
                &claims.namespace,
                secret,
            )?;
            if meta::is_deleting(&object) || secrets::token_of(&object).as_deref() != Some(token) {
                return None;
            }
        }
        Some(())
    }
}

/// An object of the core group.
fn find(
    snapshot: &dyn Snapshot,
    cluster: &str,
    resource: &str,
    namespace: &str,
    name: &str,
) -> Option<Value> {
    let id = ResourceId::builtin("", resource);
    let version = id.read(snapshot, cluster, Some(namespace), name).ok()??;
    let row = RowRef::parse(&version.row).ok()?;
    Some(row.value("v1", "", version.modified.0, None))
}

fn lives(object: &Value, uid: &str, now: Timestamp) -> Option<()> {
    let going = meta::deletion_timestamp(object);
    let there = meta::uid(object) == uid && going.is_none_or(|at| now.0 < at.0 + LEEWAY);
    there.then_some(())
}

#[async_trait]
impl TokenAuthenticator for Accounts {
    async fn user(&self, token: &str) -> Option<UserInfo> {
        self.prove(token, &[]).map(|proven| proven.user)
    }
}

/// A reference to one object at one life of it.
fn bound(object: &Value) -> Bound {
    Bound {
        name: meta::name(object).to_owned(),
        uid: meta::uid(object).to_owned(),
    }
}

fn internal(why: impl std::fmt::Display) -> Status {
    Status::internal(why.to_string())
}
