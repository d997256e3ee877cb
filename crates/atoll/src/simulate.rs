//! `atoll simulate`: a center of its own, a fleet that is not there, and whether every destination got what it should.

use std::{io::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use atoll_simulate::{Options, load::Load};

/// Arguments of `atoll simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many destinations.
    #[arg(long, default_value_t = 1_000_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4_000_000))]
    destinations: u32,
    /// How many hubs carry them; 0: each destination has an agent with a certificate and a connection of its own.
    #[arg(long, default_value_t = 64, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    hubs: u32,
    /// How many policies.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    policies: u32,
    /// The fewest and the most objects of a policy.
    #[arg(long, default_value = "10-200", value_name = "MIN-MAX", value_parser = range)]
    objects: (u32, u32),
    /// About how many copies each destination has.
    #[arg(long, default_value_t = 50, value_name = "N")]
    copies: u32,
    /// One object in so many differs per destination; 0: none does.
    #[arg(long, default_value_t = 10, value_name = "N")]
    templated: u32,
    /// How many policies have a RolloutPolicy that lets a twentieth of all destinations change at a time.
    #[arg(long, default_value_t = 0, value_name = "N")]
    rollouts: u32,
    /// The share of destinations for which a Customizer makes exceptions.
    #[arg(long, default_value_t = 0.05, value_name = "SHARE", value_parser = share)]
    exceptions: f64,
    /// How many rounds of changes: every status, an object of every policy, who is away.
    #[arg(long, default_value_t = 1, value_name = "ROUNDS")]
    churn: u32,
    /// The share of destinations that are away.
    #[arg(long, default_value_t = 0.1, value_name = "SHARE", value_parser = share)]
    offline: f64,
    /// The share of workloads that fail.
    #[arg(long, default_value_t = 0.01, value_name = "SHARE", value_parser = share)]
    failure_rate: f64,
    /// Makes the same run again.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// Where the center's data goes [default: a temporary directory, removed afterwards].
    #[arg(long, value_name = "DIR")]
    root_directory: Option<PathBuf>,
    /// How long one step may take.
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    timeout: u64,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

fn range(text: &str) -> Result<(u32, u32), String> {
    let parse = |t: &str| t.parse::<u32>().map_err(|e| e.to_string());
    let (min, max) = text
        .split_once('-')
        .ok_or("write it as MIN-MAX, like 10-200")?;
    match (parse(min)?, parse(max)?) {
        (min, max) if (3..=max).contains(&min) => Ok((min, max)),
        _ => Err("MIN has to be at least 3, and MAX not less".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("must be between 0 and 1".to_owned()),
    }
}

/// Runs the simulation.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let own = std::env::temp_dir().join(format!("atoll-simulate-{}", std::process::id()));
    let directory = args.root_directory.clone().unwrap_or_else(|| own.clone());
    let options = Options {
        load: Load {
            destinations: args.destinations,
            hubs: args.hubs.min(args.destinations),
            policies: args.policies,
            objects: args.objects,
            copies: args.copies,
            templated_every: args.templated,
            rollouts: args.rollouts,
            exceptions: args.exceptions,
            offline: args.offline,
            failing: args.failure_rate,
            seed: args.seed,
        },
        churn: args.churn,
        program: std::env::current_exe().context("where is this program?")?,
        directory,
        patience: Duration::from_secs(args.timeout),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // Progress goes beside the report, so that the report can be piped.
    let say = |line: &str| {
        let _ = writeln!(std::io::stderr(), "{line}");
    };
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = atoll_simulate::run(options, say) => outcome,
            stopped = crate::signals::stop_signal() => stopped.and_then(|()| bail!("stopped")),
        }
    });
    drop(runtime);
    if args.root_directory.is_none() {
        let _ = std::fs::remove_dir_all(&own);
    }
    let report = outcome?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report.to_json())?);
    } else {
        print!("{}", report.to_text());
    }
    if report.is_exact() {
        Ok(())
    } else {
        bail!("not everything was exact; the report says what")
    }
}
