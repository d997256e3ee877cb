//! The fleet's doors to the server: where agents call, the mailbox view, and when an edge was last heard of.

use std::sync::Arc;

use async_trait::async_trait;
use atoll_fleet::{Asked, Fleet, Mailbox, PeerCertificate, Reading};
use atoll_kube::{Definition, GroupResource, Status, UserInfo};
use atoll_registry::{
    Attributes, Call, ClusterName, ClusterResolver, Clusters, GetOptions, List, ListOptions,
    Object, WatchOptions, WatchStream,
};
use atoll_server::{AgentService, Answers, Overlay, Question, View};
use atoll_wire::AgentServer;
use serde_json::Value;

/// Group of ManagedClusters.
const OCM: &str = "cluster.open-cluster-management.io";

/// What answers agents.
pub(crate) fn agents(fleet: &Fleet) -> AgentService {
    let service = AgentServer::new(Arc::new(fleet.agent_service()));
    AgentService::new(service, |extensions, certificate| {
        extensions.insert(PeerCertificate(certificate));
    })
}

/// The ManagedClusters, and how their `lastSeenTime` is filled in: it is never stored, because it changes all the time.
pub(crate) fn last_seen(fleet: Arc<Fleet>) -> (GroupResource, Overlay) {
    let overlay: Overlay = Arc::new(move |object, value| {
        let seen = fleet.last_seen(object.cluster(), object.name());
        if let (Some(seen), Some(whole)) = (seen, value.as_object_mut()) {
            let status = whole
                .entry("status")
                .or_insert_with(|| Value::Object(serde_json::Map::new()));
            if let Some(status) = status.as_object_mut() {
                status.insert("lastSeenTime".to_owned(), seen.rfc3339().into());
            }
        }
    });
    (GroupResource::new(OCM, "managedclusters"), overlay)
}

/// `/services/mailbox/<inventory>/<destination>/…`: what that destination should have. Open to those who may use the
/// verb on `managedclusters/mailbox` of that name in the inventory.
pub(crate) struct MailboxView {
    /// The fleet's mailbox.
    pub(crate) mailbox: Mailbox,
    /// Finds inventories by their paths.
    pub(crate) resolver: Arc<dyn ClusterResolver>,
}

impl MailboxView {
    fn place<'a>(&self, address: &'a [String]) -> Result<(ClusterName, &'a str), Status> {
        let [inventory, destination] = address else {
            return Err(Status::no_such_path());
        };
        Ok((self.resolver.resolve(inventory)?, destination))
    }
}

#[async_trait]
impl View for MailboxView {
    fn name(&self) -> &'static str {
        "mailbox"
    }

    fn address_length(&self) -> usize {
        2
    }

    fn attributes(
        &self,
        address: &[String],
        user: Arc<UserInfo>,
        verb: &str,
    ) -> Result<Attributes, Status> {
        let (inventory, destination) = match self.place(address) {
            Err(status) if matches!(status.code, 403 | 404) && address.len() == 2 => {
                (ClusterName::nowhere(), address[1].as_str())
            }
            place => place?,
        };
        Ok(Attributes {
            user,
            verb: verb.to_owned(),
            clusters: Clusters::One(inventory),
            group: OCM.to_owned(),
            version: "v1".to_owned(),
            resource: "managedclusters".to_owned(),
            subresource: Some("mailbox".to_owned()),
            namespace: None,
            name: Some(destination.to_owned()),
            path: None,
        })
    }

    async fn definitions(&self, address: &[String]) -> Result<Vec<Arc<Definition>>, Status> {
        let (inventory, destination) = self.place(address)?;
        self.mailbox.definitions(&inventory, destination).await
    }

    async fn get(
        &self,
        address: &[String],
        call: &Call,
        options: &GetOptions,
    ) -> Result<Object, Status> {
        let (inventory, destination) = self.place(address)?;
        self.mailbox
            .get(&inventory, destination, call, options)
            .await
    }

    async fn list(
        &self,
        address: &[String],
        call: &Call,
        options: &ListOptions,
    ) -> Result<List, Status> {
        let (inventory, destination) = self.place(address)?;
        self.mailbox
            .list(&inventory, destination, call, options)
            .await
    }

    async fn watch(
        &self,
        address: &[String],
        call: &Call,
        options: &WatchOptions,
    ) -> Result<WatchStream, Status> {
        let (inventory, destination) = self.place(address)?;
        self.mailbox
            .watch(&inventory, destination, call, options)
            .await
    }
}

/// `/services/fleet/<workspace>/<question>`: reading about a payload workspace. Open to those who may list its policies; of each object only what they may get.
pub(crate) struct FleetAnswers {
    /// What answers.
    pub(crate) reading: Reading,
    /// Finds workspaces by their paths.
    pub(crate) resolver: Arc<dyn ClusterResolver>,
}

#[async_trait]
impl Answers for FleetAnswers {
    fn name(&self) -> &'static str {
        "fleet"
    }

    fn attributes(&self, question: &Question, user: Arc<UserInfo>) -> Result<Attributes, Status> {
        let cluster = match self.resolver.resolve(&question.place) {
            // What one may not enter and what is not there look the same.
            Err(status) if matches!(status.code, 403 | 404) => ClusterName::nowhere(),
            found => found?,
        };
        Ok(Asked::attributes(cluster, user))
    }

    async fn answer(&self, question: &Question, user: Arc<UserInfo>) -> Result<Value, Status> {
        let asked = Asked {
            cluster: self.resolver.resolve(&question.place)?,
            user,
            what: question.what.clone(),
            parameters: question.parameters.clone(),
            body: question.body.clone(),
        };
        self.reading.answer(asked).await
    }
}
