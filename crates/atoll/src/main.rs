//! The command line: wiring only. Each subcommand is a module with its `Args` and a `run`.
//!
//! Called under the name `kubectl-ws` the binary is the kubectl plugin `kubectl ws`.

mod agent;
mod background;
mod backup;
mod center;
mod edges;
mod fleet;
mod ignored;
mod logging;
mod quickstart;
mod reading;
mod rollout;
mod sandbox;
mod signals;
mod simulate;
mod start;
mod ws;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The center, the hub and the edge agent of a fleet of Kubernetes clusters, in one binary.
#[derive(Debug, Parser)]
#[command(name = "atoll", version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    logging: logging::Args,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the center: the API server, its workspaces and the fleet.
    Start(Box<start::Args>),
    /// Run the agent at an edge.
    Agent(agent::Args),
    /// Register, list and remove edges.
    Edges(edges::Args),
    /// Say why an object is, or is not, at an edge.
    Explain(reading::ExplainArgs),
    /// Show copies, and what an edge should have.
    Get(reading::GetArgs),
    /// Show what a change would do at edges before it is made.
    Plan(reading::PlanArgs),
    /// Make a change that was planned, unless something relevant has changed since.
    Apply(reading::ApplyArgs),
    /// Show what differs between two revisions of a policy.
    Diff(reading::DiffArgs),
    /// List the kept revisions of a policy.
    History(reading::HistoryArgs),
    /// Watch and steer how a policy's changes reach edges.
    Rollout(rollout::Args),
    /// Create workspaces and move between them.
    Ws(ws::Args),
    /// Run a small Kubernetes-like cluster in one process, to try things out.
    Sandbox(sandbox::Args),
    /// Drive a center with a fleet that is not there, and check what each destination got.
    Simulate(simulate::Args),
    /// Start a center with sandbox edges and a small application, and show it all.
    Quickstart(quickstart::Args),
    /// Copy the state of a stopped or running center into a new directory.
    Backup(backup::BackupArgs),
    /// Make a root directory from a backup.
    Restore(backup::RestoreArgs),
}

#[derive(Debug, Parser)]
#[command(name = "kubectl-ws", bin_name = "kubectl ws", version)]
struct WsPlugin {
    #[command(flatten)]
    logging: logging::Args,
    #[command(flatten)]
    ws: ws::Args,
}

fn main() -> ExitCode {
    let outcome = if called_as("kubectl-ws") {
        let plugin = WsPlugin::parse();
        logging::init(&plugin.logging, "info");
        ws::run(plugin.ws)
    } else {
        let cli = Cli::parse();
        // The quickstart draws a table: what others log would tear it.
        let quiet = matches!(cli.command, Command::Quickstart(_));
        logging::init(&cli.logging, if quiet { "warn" } else { "info" });
        match cli.command {
            Command::Start(args) => start::run(*args),
            Command::Agent(args) => agent::run(args),
            Command::Edges(args) => edges::run(args),
            Command::Explain(args) => reading::explain(args),
            Command::Get(args) => reading::get(args),
            Command::Plan(args) => reading::plan(args),
            Command::Apply(args) => reading::apply(args),
            Command::Diff(args) => reading::diff(args),
            Command::History(args) => reading::history(args),
            Command::Rollout(args) => rollout::run(args),
            Command::Ws(args) => ws::run(args),
            Command::Sandbox(args) => sandbox::run(args),
            Command::Simulate(args) => simulate::run(args),
            Command::Quickstart(args) => quickstart::run(args),
            Command::Backup(args) => backup::backup(args),
            Command::Restore(args) => backup::restore(args),
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", reasons(&error));
            ExitCode::FAILURE
        }
    }
}

fn called_as(name: &str) -> bool {
    std::env::args_os().next().is_some_and(|arg| {
        std::path::Path::new(&arg)
            .file_stem()
            .is_some_and(|stem| stem == name)
    })
}

/// An error with what caused it; a cause that its effect has told already is not told again.
fn reasons(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}
