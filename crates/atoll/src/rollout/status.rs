//! `atoll rollout status`: follows a revision until it is everywhere, or will not be.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::bail;
use serde_json::Value;

use super::{One, Rollouts, draw, phase, revision};

/// How long nothing may be heard before what is there is listed again.
const AGAIN: Duration = Duration::from_secs(5);

/// Arguments of `atoll rollout status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    one: One,
    /// Follow this revision [default: the latest].
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// Show it once and do not wait.
    #[arg(long = "no-watch")]
    no_watch: bool,
    /// How many seconds to wait [default: as long as it takes].
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// How it ended.
enum End {
    /// It is everywhere.
    Complete,
    /// It will not be, because.
    Failed(String),
}

/// What a Rollout's phase means for somebody who waits; `None`: it goes on.
fn end(rollout: &Value, newest: bool) -> Option<End> {
    let status = &rollout["status"];
    let why = status["message"].as_str().unwrap_or_default();
    match phase(rollout) {
        // What was changed and is no revision yet comes next.
        "Completed" if newest && status["pending"] == true => None,
        "Completed" => Some(End::Complete),
        "Aborted" => Some(End::Failed(format!(
            "revision {} was given up: {why}",
            revision(rollout)
        ))),
        "RolledBack" if !newest => Some(End::Failed(format!(
            "revision {} was rolled back: {why}",
            revision(rollout)
        ))),
        "Superseded" if !newest => Some(End::Failed(format!(
            "revision {}: {why}",
            revision(rollout)
        ))),
        // Somebody who paused it will resume it; failures wait for a person.
        "Paused" if rollout["spec"]["paused"] != true => Some(End::Failed(format!(
            "revision {} is paused: {why}; go on with: atoll rollout resume, back with: atoll rollout undo",
            revision(rollout)
        ))),
        _ => None,
    }
}

/// What is shown, redrawn in place on a terminal, said once per change elsewhere.
struct Screen {
    live: bool,
    json: bool,
    shown: String,
}

impl Screen {
    fn show(&mut self, rollout: &Value, last: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            if last {
                writeln!(out, "{}", serde_json::to_string_pretty(rollout)?)?;
            }
            return Ok(());
        }
        let text = match self.live {
            true => draw::block(rollout),
            false => draw::line(rollout),
        };
        if text == self.shown {
            return Ok(());
        }
        if self.live && !self.shown.is_empty() {
            write!(out, "\x1b[{}A\x1b[J", self.shown.lines().count())?;
        }
        write!(out, "{text}")?;
        out.flush()?;
        self.shown = text;
        Ok(())
    }
}

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let rollouts = Rollouts::open(&args.one)?;
    let mut screen = Screen {
        live: std::io::stdout().is_terminal() && !args.no_watch,
        json: args.one.place.json(),
        shown: String::new(),
    };
    let follow = follow(&rollouts, &args, &mut screen);
    match args.timeout {
        None => follow.await,
        Some(seconds) => match tokio::time::timeout(Duration::from_secs(seconds), follow).await {
            Ok(outcome) => outcome,
            Err(_) => bail!(
                "timed out after {seconds} s waiting for policy {:?}",
                rollouts.policy
            ),
        },
    }
}

async fn follow(rollouts: &Rollouts, args: &Args, screen: &mut Screen) -> anyhow::Result<()> {
    rollouts.latest().await?;
    loop {
        let (mut all, version) = rollouts.list().await?;
        if is_over(rollouts, args, &all, screen).await? {
            return Ok(());
        }
        let path = rollouts.list_path(&format!("&watch=true&resourceVersion={version}"));
        let mut events = rollouts.desk.client.watch(&path).await?;
        // The watch ends now and then, and what is awaited may never come: what is there is listed again.
        while let Ok(Ok(Some(event))) = tokio::time::timeout(AGAIN, events.next_value()).await {
            let object = event["object"].clone();
            match event["type"].as_str() {
                Some("ADDED" | "MODIFIED") => drop(all.insert(revision(&object), object)),
                Some("DELETED") => drop(all.remove(&revision(&object))),
                Some("ERROR") => break,
                _ => continue,
            }
            if is_over(rollouts, args, &all, screen).await? {
                return Ok(());
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Shows what is followed. True: there is nothing to wait for.
async fn is_over(
    rollouts: &Rollouts,
    args: &Args,
    all: &BTreeMap<u64, Value>,
    screen: &mut Screen,
) -> anyhow::Result<bool> {
    let newest = all.last_key_value().map(|(n, _)| *n);
    let wanted = args.revision.or(newest);
    let Some(rollout) = wanted.and_then(|n| all.get(&n)) else {
        match args.revision {
            Some(n) => bail!("revision {n} is not kept"),
            None => return Ok(false),
        }
    };
    let mut end = end(rollout, wanted == newest && args.revision.is_none());
    if matches!(end, Some(End::Complete))
        && args.revision.is_none()
        && !args.no_watch
        && !rollouts.is_newest(revision(rollout)).await?
    {
        // Its Rollout comes by the watch.
        end = None;
    }
    screen.show(rollout, end.is_some() || args.no_watch)?;
    match end {
        Some(End::Failed(why)) => bail!(why),
        Some(End::Complete) => {
            if !screen.json {
                println!("revision {} is complete", revision(rollout));
            }
            Ok(true)
        }
        None => Ok(args.no_watch),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_ends_the_waiting() {
        let rollout = |phase: &str, paused: bool, pending: bool| json!({"spec": {"revision": 3, "paused": paused}, "status": {"phase": phase, "message": "why", "pending": pending}});
        for (phase, paused, pending, newest, expected) in [
            ("Progressing", false, false, true, ""),
            ("Completed", false, false, true, "complete"),
            ("Completed", false, true, true, ""),
            ("Paused", true, false, true, ""),
            ("Paused", false, false, true, "revision 3 is paused: why"),
            (
                "Aborted",
                false,
                false,
                true,
                "revision 3 was given up: why",
            ),
            ("RolledBack", false, false, true, ""),
            (
                "RolledBack",
                false,
                false,
                false,
                "revision 3 was rolled back: why",
            ),
            ("Superseded", false, false, false, "revision 3: why"),
        ] {
            let found = match end(&rollout(phase, paused, pending), newest) {
                None => String::new(),
                Some(End::Complete) => "complete".to_owned(),
                Some(End::Failed(why)) => why,
            };
            assert!(
                found.starts_with(expected) && found.is_empty() == expected.is_empty(),
                "{phase}: {found}"
            );
        }
    }
}
