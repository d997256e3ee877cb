//! Whether everything is as the oracle says, and what it took.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::{PAYLOAD, Run};
use crate::api::{self, COMBINED, POLICIES};
use crate::center::{self, Usage};
use crate::hub::Shared;
use crate::load::Load;
use crate::oracle::{self, Counts, Expected, Regions};

/// How many faults of one sort are named.
pub(super) const EXAMPLES: usize = 5;

/// How long what is computed may take to be shown.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

impl Run {
    /// What is wrong at a hub's connected destinations; at most `most` examples.
    pub(super) fn wrong_at(&self, hub: &Shared, expected: &Expected, most: usize) -> Vec<String> {
        let hub = hub.lock();
        let mut wrong = Vec::new();
        for (n, has) in hub.contents().filter(|(n, _)| hub.is_online(*n)) {
            let should = expected.at(n as usize, &self.places[n as usize]);
            if has == should {
                continue;
            }
            let missing = should.keys().filter(|uid| !has.contains_key(*uid)).count();
            let extra = has.keys().filter(|uid| !should.contains_key(*uid)).count();
            let differ = should
                .iter()
                .filter(|(uid, print)| has.get(*uid).is_some_and(|p| p != *print))
                .count();
            wrong.push(format!(
                "{}: {missing} missing, {extra} too many, {differ} different",
                Load::destination_name(n)
            ));
            if wrong.len() >= most {
                break;
            }
        }
        wrong
    }

    /// Compares every destination with the oracle, and every policy's counts with a recount.
    pub(super) async fn check(&mut self, when: &str, say: &impl Fn(&str)) -> anyhow::Result<()> {
        say(&format!("checking {when}"));
        let expected = self.expected().await?;
        let mut wrong = Vec::new();
        for hub in &self.hubs {
            wrong.extend(self.wrong_at(hub, &expected, EXAMPLES));
        }
        for fault in wrong.into_iter().take(EXAMPLES) {
            self.report.fault(format!("{when}: {fault}"));
        }
        for (figure, what) in [
            (&self.tally.refused, "destinations were refused"),
            (&self.tally.damaged, "bodies were damaged"),
        ] {
            let count = figure.swap(0, Ordering::Relaxed);
            if count > 0 {
                self.report.fault(format!("{when}: {count} {what}"));
            }
        }
        self.counts(when, &expected).await?;
        self.summaries(when, &expected).await
    }

    /// Every CombinedStatus equals a recount.
    async fn summaries(&mut self, when: &str, expected: &Expected) -> anyhow::Result<()> {
        let mut recount: BTreeMap<String, Regions> = BTreeMap::new();
        for hub in &self.hubs {
            expected.combine(&self.places, hub.lock().ready(), &mut recount);
        }
        let deadline = Instant::now() + SHOWN_WITHIN;
        loop {
            let shown = api::list(&self.center.at(PAYLOAD), COMBINED).await?;
            let name = |c: &Value| {
                c["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            let shown: BTreeMap<String, Regions> = shown
                .iter()
                .map(|c| (name(c), oracle::regions(c)))
                .filter(|(_, regions)| !regions.is_empty())
                .collect();
            if shown == recount {
                return Ok(());
            }
            if Instant::now() > deadline {
                let differ = recount
                    .iter()
                    .find(|(name, regions)| shown.get(*name) != Some(regions));
                let differ = differ.map(|(name, regions)| {
                    format!("{name} shows {:?}; a recount {regions:?}", shown.get(name))
                });
                self.report.fault(format!(
                    "{when}: {} summaries are shown, {} counted; {}",
                    shown.len(),
                    recount.len(),
                    differ.unwrap_or_default(),
                ));
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
    }

    /// Every policy's counts equal a recount of what all destinations, the absent ones too, have reported.
    async fn counts(&mut self, when: &str, expected: &Expected) -> anyhow::Result<()> {
        let mut recount = vec![Counts::default(); self.plans.len()];
        for hub in &self.hubs {
            let hub = hub.lock();
            let part = expected.recount(&self.places, hub.contents());
            for (all, part) in recount.iter_mut().zip(part) {
                all.current += part.current;
                all.outdated += part.outdated;
                all.unreported += part.unreported;
            }
        }
        let deadline = Instant::now() + SHOWN_WITHIN;
        // The order of a list is that of names, and so is the order of the plans.
        for (plan, should) in self.plans.clone().iter().zip(recount) {
            // Whoever is away is held to what its stage has reached, which is not what the API alone says.
            if plan.staged {
                continue;
            }
            let path = format!("{POLICIES}/{}", plan.name);
            loop {
                let policy = self.center.at(PAYLOAD).get(&path).await?;
                let count = |name: &str| {
                    let found = policy.pointer(&format!("/status/counts/{name}"));
                    found.and_then(Value::as_u64).unwrap_or(0)
                };
                let shown = Counts {
                    current: count("current"),
                    outdated: count("outdated"),
                    unreported: count("unreported"),
                };
                if shown == should && count("expected") == should.expected() {
                    break;
                }
                if Instant::now() > deadline {
                    let expected = count("expected");
                    self.report.fault(format!(
                        "{when}: {} counts {expected} copies, {shown:?}; a recount {should:?}",
                        plan.name,
                    ));
                    break;
                }
                // Statuses are written a moment after what they tell of.
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        }
        Ok(())
    }

    pub(super) fn usage(&mut self, before: Usage, connected: Usage, placed: Usage) {
        let now = self.center.usage();
        let own = center::usage(std::process::id());
        let each = |bytes: u64| bytes as f64 / f64::from(self.load.destinations.max(1));
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        self.report.figure(
            "center: memory with an empty fleet",
            mebibytes(before.resident),
            "MiB",
        );
        self.report.figure(
            "center: memory, connected",
            mebibytes(connected.resident),
            "MiB",
        );
        self.report
            .figure("center: memory, placed", mebibytes(placed.resident), "MiB");
        self.report.figure(
            "center: peak memory (since the last start)",
            mebibytes(now.peak),
            "MiB",
        );
        self.report.figure(
            "center: memory per destination, connected",
            each(connected.resident.saturating_sub(before.resident)),
            "bytes",
        );
        self.report.figure(
            "center: memory per destination, placed",
            each(placed.peak.saturating_sub(before.resident)),
            "bytes",
        );
        self.report
            .figure("center: disk", mebibytes(self.center.disk()), "MiB");
        self.report
            .figure("center: CPU (since the last start)", now.cpu, "s");
        self.report
            .figure("simulator: peak memory", mebibytes(own.peak), "MiB");
        self.report.figure("simulator: CPU", own.cpu, "s");
        for (what, figure) in [
            ("items received, times destinations", &self.tally.items),
            ("bodies decoded", &self.tally.bodies),
            ("copies reported", &self.tally.reported),
            ("copies acknowledged", &self.tally.acknowledged),
            ("copies removed", &self.tally.removed),
        ] {
            self.report
                .figure(what, figure.load(Ordering::Relaxed) as f64, "");
        }
    }
}
