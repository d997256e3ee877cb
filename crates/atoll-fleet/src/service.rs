//! The agents' endpoint: enrolment, renewal and sessions, each with its own proof of identity.
//!
//! Enrolment proves a join token, bound to the first public key that used it. Renewal proves a certificate of ours, expired or not. A session
//! proves one that is valid, for a ManagedCluster that exists under the same uid.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use atoll_kube::{Timestamp, meta};
use atoll_store::{At, Check, Write};
use atoll_wire::identity::AgentIdentity;
use atoll_wire::join;
use atoll_wire::{Certificates, EnrolRequest, RenewRequest, ToAgent, ToCenter};
use bytes::Bytes;
use prost::Message as _;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::ca::{self, CaError, Presented};
use crate::reports::Reports;
use crate::rows::{self, DestinationRow};
use crate::session;
use crate::shared::Shared;
use crate::source;

/// The client certificate of a connection (DER of the leaf), put into a request's extensions by the TLS front. The handshake has proved
/// possession of its key and nothing else.
#[derive(Debug, Clone)]
pub struct PeerCertificate(pub Arc<[u8]>);

/// How many messages wait for a slow agent before its session waits.
const OUTBOX: usize = 32;

/// Serves agents; mount it with [`atoll_wire::AgentServer`].
pub struct AgentService {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reports: Reports,
}

impl AgentService {
    fn now(&self) -> Timestamp {
        self.shared.registry.now()
    }

    fn presented<T>(&self, request: &Request<T>) -> Result<Presented, Status> {
        let certificate = request
            .extensions()
            .get::<PeerCertificate>()
            .ok_or_else(|| Status::unauthenticated("a client certificate is needed"))?;
        self.shared
            .ca
            .verify(&certificate.0, self.now())
            .ok_or_else(|| {
                Status::unauthenticated("the client certificate is not one of this fleet")
            })
    }

    fn certificates(
        &self,
        csr: &[u8],
        identity: &AgentIdentity,
    ) -> Result<Response<Certificates>, Status> {
        let now = self.now();
        let chain_pem = self
            .shared
            .ca
            .sign(csr, identity, now)
            .map_err(|error| match error {
                CaError::Request(_) => Status::invalid_argument(error.to_string()),
                other => Status::internal(other.to_string()),
            })?;
        let seconds = |t: Timestamp| t.0.div_euclid(1000);
        Ok(Response::new(Certificates {
            chain_pem,
            center_ca_pem: self.shared.center_ca_pem.clone(),
            not_after_unix: seconds(now.plus(self.shared.ca.validity())),
            renew_after_unix: seconds(now.plus(self.shared.ca.renew_after())),
        }))
    }

    /// The ManagedCluster of an identity, as stored.
    fn managed_cluster(&self, identity: &AgentIdentity) -> Result<Value, Status> {
        let unknown = || {
            Status::not_found(
                "this ManagedCluster does not exist (any more); register the edge anew",
            )
        };
        let name = {
            let world = self.shared.world.read();
            let index = world
                .destinations
                .by_uid(&identity.destination)
                .ok_or_else(unknown)?;
            world
                .destinations
                .get(&index)
                .map(|d| d.name.to_string())
                .ok_or_else(unknown)?
        };
        let snapshot = self
            .shared
            .store
            .snapshot(At::Latest)
            .map_err(|e| Status::unavailable(e.to_string()))?;
        let key = source::managed_clusters().key(&identity.inventory, None, &name);
        let version = snapshot
            .get(&key)
            .map_err(|e| Status::unavailable(e.to_string()))?
            .ok_or_else(unknown)?;
        let value = source::control_value(
            &version.row,
            "cluster.open-cluster-management.io/v1",
            "ManagedCluster",
        )
        .map_err(|e| Status::internal(e.to_string()))?;
        if meta::uid(&value) != identity.destination || meta::is_deleting(&value) {
            return Err(unknown());
        }
        Ok(value)
    }

    /// Binds the join token to the first key that uses it.
    async fn bind(
        &self,
        identity: &AgentIdentity,
        token: &str,
        key_hash: [u8; 32],
    ) -> Result<(), Status> {
        let token = Bytes::copy_from_slice(&Sha256::digest(token.as_bytes()));
        let key = rows::destination(&identity.inventory, &identity.destination);
        for _ in 0..4 {
            let snapshot = self
                .shared
                .store
                .snapshot(At::Latest)
                .map_err(|e| Status::unavailable(e.to_string()))?;
            let version = snapshot
                .get(&key)
                .map_err(|e| Status::unavailable(e.to_string()))?;
            drop(snapshot);
            let version = version.ok_or_else(|| {
                Status::unavailable("the destination is just being registered; try again")
            })?;
            let mut row =
                DestinationRow::decode(version.row).map_err(|e| Status::internal(e.to_string()))?;
            if row.token == token && row.first_key.as_ref() == key_hash {
                return Ok(());
            }
            if row.token == token {
                return Err(Status::permission_denied(
                    "the join token was used with another key; make a new join file with `atoll edges add`",
                ));
            }
            row.first_key = Bytes::copy_from_slice(&key_hash);
            row.token.clone_from(&token);
            let write = vec![Write::Put(key.clone(), rows::encode(&row))];
            if self
                .shared
                .append(vec![Check::At(key.clone(), version.modified)], write)
                .await
                .is_ok()
            {
                return Ok(());
            }
        }
        Err(Status::unavailable(
            "the destination is being changed; try again",
        ))
    }
}

/// Whether a token opens this ManagedCluster now.
fn check_token(managed_cluster: &Value, token: &str, now: Timestamp) -> Result<(), Status> {
    let hash = meta::annotation(managed_cluster, join::TOKEN_HASH).unwrap_or_default();
    let given = join::token_hash(token);
    // Both are hashes: how long the comparison takes tells nothing about the token.
    if token.is_empty() || hash != given {
        return Err(Status::unauthenticated(
            "the join token is not valid for this ManagedCluster",
        ));
    }
    let expires = meta::annotation(managed_cluster, join::TOKEN_EXPIRES).and_then(Timestamp::parse);
    match expires {
        Some(expires) if now <= expires => Ok(()),
        _ => Err(Status::unauthenticated(
            "the join token has expired; make a new join file with `atoll edges add`",
        )),
    }
}

fn accepted(managed_cluster: &Value) -> Result<(), Status> {
    match managed_cluster
        .pointer("/spec/hubAcceptsClient")
        .and_then(Value::as_bool)
    {
        Some(true) => Ok(()),
        _ => Err(Status::failed_precondition(
            "spec.hubAcceptsClient of the ManagedCluster is not true",
        )),
    }
}

#[tonic::async_trait]
impl atoll_wire::Agent for AgentService {
    async fn enrol(
        &self,
        request: Request<EnrolRequest>,
    ) -> Result<Response<Certificates>, Status> {
        let request = request.into_inner();
        let identity = AgentIdentity {
            inventory: request.inventory,
            destination: request.destination,
        };
        self.shared.caught_up().await;
        let managed_cluster = self.managed_cluster(&identity)?;
        check_token(&managed_cluster, &request.token, self.now())?;
        accepted(&managed_cluster)?;
        let key = ca::public_key_hash(&request.csr_der)
            .map_err(|e| Status::invalid_argument(e.to_string()))?;
        let certificates = self.certificates(&request.csr_der, &identity)?;
        self.bind(&identity, &request.token, key).await?;
        self.shared
            .figures
            .enrolments
            .fetch_add(1, Ordering::Relaxed);
        Ok(certificates)
    }

    async fn renew(
        &self,
        request: Request<RenewRequest>,
    ) -> Result<Response<Certificates>, Status> {
        let presented = self.presented(&request)?;
        let managed_cluster = self.managed_cluster(&presented.identity)?;
        accepted(&managed_cluster)?;
        self.certificates(&request.into_inner().csr_der, &presented.identity)
    }

    type SessionStream = Pin<Box<dyn Stream<Item = Result<ToAgent, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<ToCenter>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let presented = self.presented(&request)?;
        if presented.expired {
            return Err(Status::unauthenticated(
                "the client certificate has expired; renew it",
            ));
        }
        let stream = self.connect(presented.identity, request.into_inner());
        Ok(Response::new(Box::pin(stream)))
    }
}

impl AgentService {
    /// Holds a session for an agent whose identity is already proved.
    pub fn connect<S>(
        &self,
        identity: AgentIdentity,
        inbound: S,
    ) -> ReceiverStream<Result<ToAgent, Status>>
    where
        S: Stream<Item = Result<ToCenter, Status>> + Unpin + Send + 'static,
    {
        let (out, answers) = mpsc::channel(OUTBOX);
        tokio::spawn(session::serve(
            self.shared.clone(),
            self.reports.clone(),
            identity,
            inbound,
            out,
        ));
        ReceiverStream::new(answers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens() {
        let now = Timestamp(1_790_000_000_000);
        let cluster = |expires: &str| json!({"metadata": {"annotations": {join::TOKEN_HASH: join::token_hash("secret"), join::TOKEN_EXPIRES: expires}}});
        let later = now.plus(std::time::Duration::from_secs(60)).rfc3339();
        assert!(check_token(&cluster(&later), "secret", now).is_ok());
        assert!(check_token(&cluster(&later), "other", now).is_err());
        assert!(check_token(&cluster(&later), "", now).is_err());
        assert!(check_token(&cluster("2020-01-01T00:00:00Z"), "secret", now).is_err());
        assert!(check_token(&cluster("soon"), "secret", now).is_err());
        assert!(check_token(&json!({}), "", now).is_err());
    }
}
