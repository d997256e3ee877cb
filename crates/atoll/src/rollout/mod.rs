//! `atoll rollout`: watches and steers how a policy's changes reach edges, with `kubectl rollout`'s habits.
//!
//! Everything is read from and written into Rollout objects (and `restart`, as kubectl's, into the workloads themselves), so `kubectl` can do all of it, too.

mod draw;
mod status;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use atoll_client::Patch;
use atoll_kube::Timestamp;
use serde_json::{Value, json};

use crate::reading::{Desk, Where, show, tell, wait};

/// Arguments of `atoll rollout`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Show how far the latest revision is, until it is everywhere.
    Status(status::Args),
    /// List the kept revisions and what became of them.
    History(One),
    /// Start nothing more until `resume`.
    Pause(One),
    /// Go on, also after a pause that failures made.
    Resume(One),
    /// Open gates that wait for approval.
    Approve {
        #[command(flatten)]
        one: One,
        /// The gate [default: every gate that waits for approval now].
        gate: Option<String>,
        /// The stage that it stands before or after.
        #[arg(long, value_name = "NAME")]
        stage: Option<String>,
    },
    /// Go back to an earlier revision.
    Undo {
        #[command(flatten)]
        one: One,
        /// To this one [default: the last one that was complete before].
        #[arg(long, value_name = "N", default_value_t = 0)]
        to_revision: u64,
    },
    /// Restart the workloads that a policy places, as a new revision.
    Restart(One),
}

/// A policy, and where to ask for it.
#[derive(Debug, clap::Args)]
struct One {
    #[command(flatten)]
    place: Where,
    /// The BindingPolicy.
    policy: String,
}

const CONTROL: &str = "apis/control.kubestellar.io/v1alpha1";
const EDGE: &str = "apis/edge.atoll.dev/v1alpha1";
/// How long an undo may take to be carried out.
const PATIENCE: Duration = Duration::from_secs(15);

/// One policy's Rollouts.
struct Rollouts {
    desk: Desk,
    policy: String,
}

impl Rollouts {
    fn open(one: &One) -> anyhow::Result<Rollouts> {
        let policy = one.policy.as_str();
        let policy = policy.strip_prefix("bindingpolicy/").unwrap_or(policy);
        Ok(Rollouts {
            desk: Desk::open(&one.place)?,
            policy: policy.to_owned(),
        })
    }

    fn path(&self, rest: &str) -> String {
        format!("/clusters/{}/{rest}", self.desk.workspace)
    }

    /// The policy itself; that there is none is said so.
    async fn policy(&self) -> anyhow::Result<Value> {
        let path = self.path(&format!("{CONTROL}/bindingpolicies/{}", self.policy));
        let found = self.desk.client.find(&path).await?;
        found.with_context(|| {
            format!(
                "there is no BindingPolicy {:?} in {}",
                self.policy, self.desk.workspace
            )
        })
    }

    fn list_path(&self, more: &str) -> String {
        let selector = format!("labelSelector=edge.atoll.dev/policy%3D{}", self.policy);
        self.path(&format!("{EDGE}/rollouts?{selector}{more}"))
    }

    /// Its Rollouts by revision, and the version of the list.
    async fn list(&self) -> anyhow::Result<(BTreeMap<u64, Value>, String)> {
        let list = self.desk.client.get(&self.list_path("")).await?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let found = items.into_iter().map(|r| (revision(&r), r)).collect();
        let version = list["metadata"]["resourceVersion"].as_str();
        Ok((found, version.unwrap_or_default().to_owned()))
    }

    /// The latest one; that there is none is said with what to do about it.
    async fn latest(&self) -> anyhow::Result<Value> {
        let policy = self.policy().await?;
        let (mut all, _) = self.list().await?;
        if let Some((_, latest)) = all.pop_last() {
            return Ok(latest);
        }
        match policy["spec"]["rolloutPolicy"].as_str() {
            Some(_) => bail!("policy {:?} has no revision yet", self.policy),
            None => bail!(
                "policy {:?} names no rolloutPolicy: its changes go to all edges at once",
                self.policy
            ),
        }
    }

    /// Whether nothing newer than this revision is on its way. The center answers from what it has decided of everything written so far, and a Rollout is written a moment after that.
    async fn is_newest(&self, revision: u64) -> anyhow::Result<bool> {
        let history = self
            .desk
            .ask("history", &[("policy", Some(&self.policy))])
            .await?;
        let newest = history
            .pointer("/revisions/0/revision")
            .and_then(Value::as_u64);
        Ok(history["pending"] != true && newest.is_none_or(|newest| newest <= revision))
    }

    /// Changes the latest Rollout's spec, if it is still as it was read.
    async fn change(&self, rollout: &Value, spec: Value) -> anyhow::Result<()> {
        let name = rollout["metadata"]["name"].as_str().unwrap_or_default();
        let path = self.path(&format!("{EDGE}/rollouts/{name}"));
        let patch = json!({
            "metadata": {"resourceVersion": rollout["metadata"]["resourceVersion"]},
            "spec": spec,
        });
        self.desk.client.patch(&path, Patch::Merge, &patch).await?;
        Ok(())
    }

    /// Changes the latest Rollout's spec. It is read again when its status was written meanwhile, which happens all the time.
    async fn change_latest(
        &self,
        spec: impl Fn(&Value) -> anyhow::Result<Value>,
    ) -> anyhow::Result<Value> {
        for _ in 0..10 {
            let latest = self.latest().await?;
            let spec = spec(&latest)?;
            match self.change(&latest, spec).await {
                Ok(()) => return Ok(latest),
                Err(error) if format!("{error:#}").contains("modified") => {}
                Err(error) => return Err(error),
            }
        }
        bail!(
            "the Rollout of policy {:?} changes too fast; try again",
            self.policy
        )
    }
}

/// The revision that a Rollout is about.
fn revision(rollout: &Value) -> u64 {
    rollout["spec"]["revision"].as_u64().unwrap_or(0)
}

fn phase(rollout: &Value) -> &str {
    rollout["status"]["phase"].as_str().unwrap_or("Pending")
}

/// Runs the subcommand.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Status(args) => wait(status::run(args)),
        Command::History(one) => wait(history(one)),
        Command::Pause(one) => wait(pause(one)),
        Command::Resume(one) => wait(resume(one)),
        Command::Approve { one, gate, stage } => wait(approve(one, gate, stage)),
        Command::Undo { one, to_revision } => wait(undo(one, to_revision)),
        Command::Restart(one) => wait(restart(one)),
    }
}

async fn history(one: One) -> anyhow::Result<()> {
    let rollouts = Rollouts::open(&one)?;
    rollouts.latest().await?;
    let (all, _) = rollouts.list().await?;
    let answer = json!({ "items": all.into_values().collect::<Vec<_>>() });
    tell(&one.place, &answer, |answer| {
        let items = answer["items"].as_array();
        let rows = items.into_iter().flatten().map(|r| {
            let counts = &r["status"]["counts"];
            vec![
                revision(r).to_string(),
                phase(r).to_owned(),
                format!("{}/{}", counts["current"], counts["expected"]),
                r["metadata"]["creationTimestamp"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                r["status"]["message"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            ]
        });
        let head = ["REVISION", "PHASE", "CURRENT", "CREATED", "MESSAGE"];
        show::table(&head, &rows.collect::<Vec<_>>())
    })
}

/// Says what was done, as kubectl does.
fn done(rollouts: &Rollouts, what: &str) {
    println!("bindingpolicy/{} {what}", rollouts.policy);
}

async fn pause(one: One) -> anyhow::Result<()> {
    let rollouts = Rollouts::open(&one)?;
    let change = |latest: &Value| match latest["spec"]["paused"] == true {
        true => bail!("policy {:?} is paused already", rollouts.policy),
        false => Ok(json!({"paused": true})),
    };
    rollouts.change_latest(change).await?;
    done(&rollouts, "paused");
    Ok(())
}

async fn resume(one: One) -> anyhow::Result<()> {
    let rollouts = Rollouts::open(&one)?;
    let change = |latest: &Value| {
        let since = &latest["status"]["pausedAt"];
        match (latest["spec"]["paused"] == true, since.is_string()) {
            (false, false) => bail!("policy {:?} is not paused", rollouts.policy),
            (true, _) => Ok(json!({"paused": false})),
            (false, true) => Ok(json!({"resumedAt": since})),
        }
    };
    rollouts.change_latest(change).await?;
    done(&rollouts, "resumed");
    Ok(())
}

async fn approve(one: One, gate: Option<String>, stage: Option<String>) -> anyhow::Result<()> {
    let rollouts = Rollouts::open(&one)?;
    let chosen = |latest: &Value| -> Vec<Value> {
        let awaiting = latest["status"]["awaiting"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let fits = |a: &Value| {
            gate.as_deref().is_none_or(|g| a["gate"] == g)
                && stage.as_deref().is_none_or(|s| a["stage"] == s)
        };
        awaiting.into_iter().filter(fits).collect()
    };
    let change = |latest: &Value| {
        let chosen = chosen(latest);
        if chosen.is_empty() {
            let asked = gate
                .as_ref()
                .map_or_else(|| "no gate".to_owned(), |g| format!("no gate {g:?}"));
            bail!(
                "{asked} of policy {:?} waits for approval now",
                rollouts.policy
            );
        }
        let mut all = latest["spec"]["approvals"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        all.extend(chosen);
        Ok(json!({ "approvals": all }))
    };
    let latest = rollouts.change_latest(change).await?;
    for gate in chosen(&latest) {
        let at = match gate["stage"].as_str() {
            None | Some("" | "-") => String::new(),
            Some(stage) => format!(" of stage {stage}"),
        };
        done(
            &rollouts,
            &format!(
                "gate {}{at} approved",
                gate["gate"].as_str().unwrap_or_default()
            ),
        );
    }
    Ok(())
}

async fn undo(one: One, to: u64) -> anyhow::Result<()> {
    let rollouts = Rollouts::open(&one)?;
    let latest = rollouts
        .change_latest(|_| Ok(json!({"rollbackTo": {"revision": to}})))
        .await?;
    let from = revision(&latest);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let now = rollouts.latest().await?;
        if revision(&now) > from {
            done(
                &rollouts,
                &format!("rolled back (as revision {})", revision(&now)),
            );
            return Ok(());
        }
        let conditions = now["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let refused = conditions.find(|c| c["type"] == "CommandRefused");
        if let Some(why) = refused.and_then(|c| c["message"].as_str()) {
            rollouts
                .change_latest(|_| Ok(json!({"rollbackTo": null})))
                .await?;
            bail!("cannot be undone: {why}");
        }
        if tokio::time::Instant::now() > deadline {
            bail!(
                "asked for, but not done yet; see atoll rollout history {}",
                rollouts.policy
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What kubectl's `rollout restart` sets.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

async fn restart(one: One) -> anyhow::Result<()> {
    let rollouts = Rollouts::open(&one)?;
    rollouts.policy().await?;
    let path = rollouts.path(&format!("{CONTROL}/bindings/{}", rollouts.policy));
    let binding = rollouts.desk.client.get(&path).await?;
    let placed = binding["spec"]["workload"]["namespaceScope"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = Timestamp(now.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX)));
    let patch =
        json!({"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: now.rfc3339()}}}}});
    let mut any = false;
    for object in placed {
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let resource = text("resource");
        if text("group") != "apps"
            || !matches!(resource, "deployments" | "statefulsets" | "daemonsets")
        {
            continue;
        }
        let path = rollouts.path(&format!(
            "apis/apps/{}/namespaces/{}/{resource}/{}",
            text("version"),
            text("namespace"),
            text("name")
        ));
        rollouts
            .desk
            .client
            .patch(&path, Patch::Strategic, &patch)
            .await?;
        println!(
            "{}.apps/{} restarted",
            resource.trim_end_matches('s'),
            text("name")
        );
        any = true;
    }
    if !any {
        bail!(
            "there is nothing to restart: policy {:?} places no Deployment, StatefulSet or DaemonSet",
            rollouts.policy
        );
    }
    Ok(())
}
