//! The order of events: register, connect, place, change, lose, kill, and look whether everything is as asked for.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::{self, CLUSTERS, COLLECTORS, CUSTOMIZERS, POLICIES, ROLLOUT_POLICIES};
use crate::center::Center;
use crate::hub::{Shared, Tally};
use crate::load::{Load, PolicyPlan};
use crate::oracle::{Expected, Place, Shown};
use crate::report::Report;

mod check;
mod join;

/// The shortest pause between two looks.
const LOOK: Duration = Duration::from_millis(20);
const INVENTORY: &str = "root:inventory";
const PAYLOAD: &str = "root:simulated";

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Options {
    /// The load.
    pub load: Load,
    /// How often everything is changed and every status changes.
    pub churn: u32,
    /// The program whose `start` is the center.
    pub program: PathBuf,
    /// Where the center's data goes; it has to be empty or absent.
    pub directory: PathBuf,
    /// How long any one step may take.
    pub patience: Duration,
}

/// Simulates a fleet. `say` is told what is going on, a line at a time.
///
/// # Errors
/// When the center cannot be driven. What it does wrong is in the report, not an error.
pub async fn run(options: Options, say: impl Fn(&str)) -> anyhow::Result<Report> {
    if std::fs::read_dir(&options.directory).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!(
            "{} is not empty; a simulation needs a directory of its own",
            options.directory.display()
        );
    }
    let center = Center::start(&options.program, &options.directory).await?;
    let mut run = Run {
        load: Arc::new(options.load.clone()),
        plans: options.load.policy_plans(),
        versions: 1,
        tally: Arc::default(),
        hubs: Vec::new(),
        tasks: JoinSet::new(),
        places: Vec::new(),
        report: Report::default(),
        center,
        options,
    };
    run.parameters();
    let steps = run.steps(&say).await;
    run.tasks.shutdown().await;
    // What was found before a step failed is worth as much.
    steps
        .with_context(|| run.report.to_text())
        .map(|()| run.report)
}

struct Run {
    options: Options,
    load: Arc<Load>,
    plans: Vec<PolicyPlan>,
    /// The version that objects are at.
    versions: u32,
    center: Center,
    tally: Arc<Tally>,
    hubs: Vec<Shared>,
    tasks: JoinSet<()>,
    places: Vec<Place>,
    report: Report,
}

impl Run {
    fn parameters(&mut self) {
        let load = &self.load;
        for (name, value) in [
            ("destinations", load.destinations.to_string()),
            ("hubs", load.hubs.to_string()),
            ("policies", load.policies.to_string()),
            (
                "objects per policy",
                format!("{}-{}", load.objects.0, load.objects.1),
            ),
            ("copies per destination, about", load.copies.to_string()),
            (
                "one object in so many is templated",
                load.templated_every.to_string(),
            ),
            ("share with exceptions", load.exceptions.to_string()),
            ("share away", load.offline.to_string()),
            ("share failing", load.failing.to_string()),
            ("policies with a RolloutPolicy", load.rollouts.to_string()),
            ("rounds of churn", self.options.churn.to_string()),
            ("seed", load.seed.to_string()),
        ] {
            self.report.parameter(name, value);
        }
    }

    async fn steps(&mut self, say: &impl Fn(&str)) -> anyhow::Result<()> {
        say("making workspaces");
        api::workspace(&self.center, "inventory", "inventory").await?;
        api::workspace(&self.center, "simulated", "payload").await?;
        let before = self.center.usage();
        if self.load.hubs == 0 {
            self.register_agents(say).await?;
        } else {
            self.register_behind_hubs(say).await?;
        }
        say("connecting");
        let kernel = join::kernel_memory();
        self.connect().await?;
        if self.load.hubs == 0 {
            let taken = join::kernel_memory().saturating_sub(kernel) as f64;
            let each = taken / f64::from(self.load.destinations.max(1));
            self.report
                .figure("kernel memory per connection, both ends", each, "bytes");
        }
        let connected = self.center.usage();
        say("placing");
        self.place().await?;
        let placed = self.center.usage();
        self.check("after placing", say).await?;
        for round in 1..=self.options.churn {
            say(&format!(
                "round {round}: every status, then every policy, then who is away"
            ));
            self.statuses(round).await?;
            self.change(round, false).await?;
            self.come_and_go(round).await?;
            self.check(&format!("after round {round}"), say).await?;
        }
        say("a few destinations change");
        self.few().await?;
        say("kill -9 of the center in the middle of a change");
        self.change(0, true).await?;
        self.check("after kill -9", say).await?;
        self.usage(before, connected, placed);
        Ok(())
    }

    /// Everybody who is not away comes, and everything that is owed is done.
    async fn connect(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        self.set_online(0);
        self.until("all are connected", |run| run.settled()).await?;
        let online = self.online() as f64;
        self.report.figure("connected", online, "destinations");
        self.report
            .rate("connected", online, began.elapsed(), "destinations/s");
        Ok(())
    }

    fn set_online(&self, round: u32) {
        let load = &self.load;
        for hub in &self.hubs {
            hub.lock().set_online(|n| {
                !load.happens(
                    "away",
                    u64::from(n) + u64::from(round) * 1_000_003,
                    load.offline,
                )
            });
        }
    }

    fn online(&self) -> usize {
        self.hubs.iter().map(|h| h.lock().online()).sum()
    }

    fn settled(&self) -> bool {
        self.hubs.iter().all(|h| h.lock().is_settled())
    }

    /// Creates the objects and the policies, and waits until they are where they should be.
    async fn place(&mut self) -> anyhow::Result<()> {
        let client = self.center.at(PAYLOAD);
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "simulated"}});
        client.post("/api/v1/namespaces", &namespace).await?;
        let load = self.load.clone();
        let plans = self.plans.clone();
        let objects = plans.iter().flat_map(|plan| {
            let load = load.clone();
            (0..plan.objects).map(move |n| {
                let path = Load::object_path(&plan.name, n);
                let parent = path.rsplit_once('/').map_or("", |(p, _)| p).to_owned();
                (parent, load.object(&plan.name, n, 1))
            })
        });
        api::create_all(&client, objects).await?;
        if let Some(policy) = load.rollout_policy() {
            client.post(ROLLOUT_POLICIES, &policy).await?;
        }
        if let Some(customizer) = load.customizer() {
            client.post(CUSTOMIZERS, &customizer).await?;
        }
        client.post(COLLECTORS, &Load::collector()).await?;
        let began = Instant::now();
        let inventory = INVENTORY;
        let policies = plans
            .iter()
            .map(|plan| (POLICIES.to_owned(), Load::policy(plan, inventory)));
        api::create_all(&client, policies).await?;
        let expected = self.expected().await?;
        let copies = self.reached(&expected).await?;
        let online = self.online() as f64;
        self.report
            .figure("copies held and acknowledged", copies as f64, "copies");
        self.report
            .rate("first placement", online, began.elapsed(), "destinations/s");
        self.report.rate(
            "first placement, copies",
            copies as f64,
            began.elapsed(),
            "copies/s",
        );
        Ok(())
    }

    /// What should be where, from what the API shows now.
    async fn expected(&self) -> anyhow::Result<Expected> {
        let payload = self.center.at(PAYLOAD);
        let mut objects = api::list(&payload, "/api/v1/namespaces").await?;
        for path in ["/api/v1/configmaps", "/apis/apps/v1/deployments"] {
            objects.extend(api::list(&payload, path).await?);
        }
        let policies = api::list(&payload, POLICIES).await?;
        Ok(Expected::of(&Shown {
            places: self.places.clone(),
            policies,
            objects,
            customizers: api::list(&payload, CUSTOMIZERS).await?,
        }))
    }

    /// Waits until every connected destination holds as many copies as it should and all reports are acknowledged.
    async fn reached(&self, expected: &Expected) -> anyhow::Result<usize> {
        let mut wanted = 0;
        for hub in &self.hubs {
            let hub = hub.lock();
            let numbers = hub.contents().map(|(n, _)| n).filter(|n| hub.is_online(*n));
            wanted += numbers
                .map(|n| expected.copies_at(n as usize))
                .sum::<usize>();
        }
        self.until("every destination has its copies", |run| {
            run.hubs
                .iter()
                .map(|h| h.lock().held_online())
                .sum::<usize>()
                == wanted
                && run.settled()
        })
        .await?;
        Ok(wanted)
    }

    async fn statuses(&mut self, round: u32) -> anyhow::Result<()> {
        let began = Instant::now();
        let changed: usize = self.hubs.iter().map(|h| h.lock().churn()).sum();
        self.until("all statuses are acknowledged", Run::settled)
            .await?;
        self.report.rate(
            &format!("round {round}: statuses in"),
            changed as f64,
            began.elapsed(),
            "changes/s",
        );
        Ok(())
    }

    /// Changes one object of each policy; perhaps with the center killed before all have it.
    async fn change(&mut self, round: u32, kill: bool) -> anyhow::Result<()> {
        self.versions += 1;
        let version = self.versions;
        let load = self.load.clone();
        let staged = self.plans.iter().filter(|p| p.staged);
        self.tally
            .slots
            .lock()
            .watch(staged.map(|p| p.name.as_str()));
        let before = self.tally.items.load(Ordering::Relaxed);
        let began = Instant::now();
        let patches: Vec<(String, Value)> = self
            .plans
            .iter()
            .map(|plan| {
                // Never a templated one or a workload: what is measured is the way of one body to all.
                let object = 2;
                (
                    Load::object_path(&plan.name, object),
                    json!({"data": load.object(&plan.name, object, version)["data"]}),
                )
            })
            .collect();
        api::patch_all(&self.center.at(PAYLOAD), patches.into_iter()).await?;
        if kill {
            let again = self.tally.repeated.load(Ordering::Relaxed);
            let lists = self.tally.lists.load(Ordering::Relaxed);
            let took = self.center.kill_and_start().await?;
            self.report
                .figure("kill -9 to ready again", took.as_secs_f64(), "s");
            let began = Instant::now();
            self.until("all are connected again", Run::settled).await?;
            self.report.rate(
                "reconnected",
                self.online() as f64,
                began.elapsed(),
                "destinations/s",
            );
            self.all_have(version).await?;
            self.slots("after kill -9");
            let repeated = self.tally.repeated.load(Ordering::Relaxed) - again;
            self.report
                .figure("sent again to who had it", repeated as f64, "copies");
            let listed = self.tally.lists.load(Ordering::Relaxed) - lists;
            self.report.figure(
                "lists asked for after the restart",
                listed as f64,
                "destinations",
            );
            return Ok(());
        }
        self.all_have(version).await?;
        self.slots(&format!("round {round}"));
        let items = self.tally.items.load(Ordering::Relaxed) - before;
        self.report.rate(
            &format!("round {round}: one object of each policy"),
            items as f64,
            began.elapsed(),
            "copies/s",
        );
        Ok(())
    }

    /// No RolloutPolicy let more destinations change at a time than it may, by the destinations' own timeline.
    fn slots(&mut self, when: &str) {
        let limit = self.load.at_once() as usize;
        let mut slots = self.tally.slots.lock();
        let mut found: Vec<(&String, &usize)> = slots.most().iter().collect();
        found.sort();
        for (policy, most) in found {
            let figure = format!("{when}: at a time, {policy} of {limit}");
            self.report.figure(&figure, *most as f64, "destinations");
            if *most > limit {
                self.report.fault(format!(
                    "{when}: {most} destinations of {policy} changed at a time, {limit} may"
                ));
            }
        }
        slots.watch(std::iter::empty());
    }

    /// Waits until the changed objects are at this version wherever they are connected.
    async fn all_have(&self, version: u32) -> anyhow::Result<()> {
        let expected = self.expected().await?;
        let arrived = self
            .until(&format!("version {version} is everywhere"), |run| {
                run.settled()
                    && run
                        .hubs
                        .iter()
                        .all(|hub| run.wrong_at(hub, &expected, 1).is_empty())
            })
            .await;
        arrived.with_context(|| {
            let wrong: Vec<String> = self
                .hubs
                .iter()
                .flat_map(|hub| self.wrong_at(hub, &expected, 1))
                .collect();
            wrong.join("; ")
        })
    }

    async fn come_and_go(&mut self, round: u32) -> anyhow::Result<()> {
        let began = Instant::now();
        self.set_online(round);
        let expected = self.expected().await?;
        self.reached(&expected).await?;
        let who = f64::from(self.load.destinations) * self.load.offline;
        self.report.rate(
            &format!("round {round}: a tenth comes, a tenth goes"),
            who,
            began.elapsed(),
            "destinations/s",
        );
        Ok(())
    }

    /// Ten destinations change a label that moves them from policies to others.
    async fn few(&mut self) -> anyhow::Result<()> {
        let cpu = self.center.usage().cpu;
        let began = Instant::now();
        let count = 10.min(self.load.destinations);
        let mut patches = Vec::new();
        for i in 0..count {
            let n = (u64::from(i) * u64::from(self.load.destinations) / u64::from(count)) as u32;
            let bucket = (crate::load::dice(self.load.seed, "few", u64::from(n)) % 400).to_string();
            patches.push((
                format!("{CLUSTERS}/{}", Load::destination_name(n)),
                json!({"metadata": {"labels": {"bucket": bucket}}}),
            ));
            self.places[n as usize]
                .labels
                .insert("bucket".into(), bucket);
        }
        api::patch_all(&self.center.at(INVENTORY), patches.into_iter()).await?;
        let expected = self.expected().await?;
        self.reached(&expected).await?;
        self.report.figure(
            "ten destinations move: time",
            began.elapsed().as_secs_f64(),
            "s",
        );
        self.report.figure(
            "ten destinations move: center's CPU",
            self.center.usage().cpu - cpu,
            "s",
        );
        Ok(())
    }

    async fn until(&self, what: &str, ready: impl Fn(&Run) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.options.patience;
        loop {
            let looked = Instant::now();
            if ready(self) {
                break;
            }
            if Instant::now() > deadline {
                let stuck = self.hubs.iter().filter_map(|hub| hub.lock().stuck());
                let examples: Vec<String> = stuck.take(check::EXAMPLES).collect();
                bail!(
                    "after {} s still not: {what}; {} destinations were refused; hubs that wait: {}",
                    self.options.patience.as_secs(),
                    self.tally.refused.load(Ordering::Relaxed),
                    if examples.is_empty() {
                        "none".to_owned()
                    } else {
                        examples.join("; ")
                    },
                );
            }
            // Looking at a large fleet takes time that the center needs.
            tokio::time::sleep(looked.elapsed().mul_f64(20.0).max(LOOK)).await;
        }
        Ok(())
    }
}
