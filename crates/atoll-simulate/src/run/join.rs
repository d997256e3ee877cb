//! Destinations are registered, and those who speak for them enrol: hubs, or an agent for each.

use std::sync::Arc;

use anyhow::Context as _;
use atoll_agent::uplink::{Identity, Uplink};
use atoll_wire::join::{self, JoinFile};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use tokio::time::Instant;

use super::{INVENTORY, Run};
use crate::api::{self, CLUSTERS};
use crate::hub::{self, Hub};
use crate::load::Load;
use crate::oracle::Place;

/// Agents that enrol at once.
const AT_ONCE: usize = 32;

impl Run {
    /// Creates the ManagedClusters, hub by hub, and lets each hub's stream begin.
    pub(super) async fn register_behind_hubs(&mut self, say: &impl Fn(&str)) -> anyhow::Result<()> {
        say("enrolling hubs");
        let mut enrolled = Vec::new();
        for hub in 0..self.load.hubs {
            let join = self.center.register(INVENTORY, &Load::hub_name(hub))?;
            enrolled.push(enrol(join).await.context("a hub was not enrolled")?);
        }
        say("registering destinations");
        let began = Instant::now();
        for (hub, (uplink, identity)) in (0..).zip(enrolled) {
            let range = self.load.carried(hub);
            let uids = self.create(range.clone(), Some(hub)).await?;
            let (load, tally) = (self.load.clone(), self.tally.clone());
            let shared = Hub::new(Load::hub_name(hub), false, range.start, uids, load, tally);
            self.tasks.spawn(hub::run(shared.clone(), uplink, identity));
            self.hubs.push(shared);
            if hub % 16 == 15 {
                say(&format!("  {} destinations are registered", range.end));
            }
        }
        self.registered(began);
        Ok(())
    }

    /// Creates the ManagedClusters, and enrols an agent for each: a key, a certificate and a connection of its own.
    pub(super) async fn register_agents(&mut self, say: &impl Fn(&str)) -> anyhow::Result<()> {
        say("registering destinations");
        let began = Instant::now();
        let uids = self.create(0..self.load.destinations, None).await?;
        self.registered(began);
        say("enrolling agents");
        let began = Instant::now();
        let inventory = self
            .center
            .at(INVENTORY)
            .get(&format!("{CLUSTERS}?limit=1"))
            .await?;
        let cluster = inventory
            .pointer("/items/0/metadata/annotations/kcp.io~1cluster")
            .and_then(Value::as_str)
            .context("a ManagedCluster does not say where it is")?;
        let join = |(n, uid): (u32, &String)| JoinFile {
            api_version: join::API_VERSION.into(),
            kind: join::KIND.into(),
            server: self.center.client.origin().to_owned(),
            certificate_authority_data: STANDARD.encode(&self.center.authority),
            inventory: cluster.to_owned(),
            name: Load::destination_name(n),
            destination: uid.clone(),
            token: self.load.token(n),
            expires: None,
        };
        let enrolled: Vec<(Arc<Uplink>, Arc<Identity>)> =
            futures::stream::iter((0..).zip(&uids).map(join).collect::<Vec<_>>())
                .map(enrol)
                .buffered(AT_ONCE)
                .try_collect()
                .await
                .context("an agent was not enrolled")?;
        let count = f64::from(self.load.destinations);
        self.report
            .rate("agents enrolled", count, began.elapsed(), "agents/s");
        for ((n, uid), (uplink, identity)) in (0..).zip(uids).zip(enrolled) {
            let (load, tally) = (self.load.clone(), self.tally.clone());
            let shared = Hub::new(Load::destination_name(n), true, n, vec![uid], load, tally);
            self.tasks.spawn(hub::run(shared.clone(), uplink, identity));
            self.hubs.push(shared);
        }
        Ok(())
    }

    /// Creates ManagedClusters and returns their uids.
    async fn create(
        &mut self,
        range: std::ops::Range<u32>,
        hub: Option<u32>,
    ) -> anyhow::Result<Vec<String>> {
        let client = self.center.at(INVENTORY);
        let objects = range.map(|n| (CLUSTERS.to_owned(), self.load.destination(n, hub)));
        let made = api::create_all(&client, objects).await?;
        self.places.extend(made.iter().map(Place::of));
        let uid = |c: &Value| c["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        Ok(made.iter().map(uid).collect())
    }

    fn registered(&mut self, began: Instant) {
        let count = f64::from(self.load.destinations);
        self.report.rate(
            "registered through the API",
            count,
            began.elapsed(),
            "destinations/s",
        );
    }
}

async fn enrol(join: JoinFile) -> anyhow::Result<(Arc<Uplink>, Arc<Identity>)> {
    let mut identity = Identity::generate(&join.destination)?;
    let uplink = Uplink::new(join)?;
    uplink.enrol(&mut identity).await?;
    Ok((Arc::new(uplink), Arc::new(identity)))
}

/// What the kernel keeps for itself, sockets and their buffers among it, in bytes.
pub(super) fn kernel_memory() -> u64 {
    let number = |text: &str, key: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(key));
        line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let sockets = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let pages = sockets
        .lines()
        .find(|l| l.starts_with("TCP:"))
        .and_then(|l| l.rsplit(' ').next()?.parse::<u64>().ok());
    number(&memory, "Slab:") * 1024 + pages.unwrap_or(0) * 4096
}
