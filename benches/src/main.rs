//! Measures Atoll against the figures it was built for, and prints them as a table.
//!
//! Each row starts the real binary on loopback in a directory of its own, drives it over TLS as clients do, and reads what the
//! kernel says of the process. Nothing in here knows a result: goals and other systems' figures are data in [`table`], every
//! measured value comes from this run.

mod client;
mod load;
mod process;
mod proxy;
mod rows;
mod system;
mod table;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, bail};
use clap::Parser;

use rows::{Row, Sizes};

/// Measure Atoll against its figures.
#[derive(Debug, Parser)]
#[command(name = "atoll-bench")]
struct Args {
    /// Measure only this row; may be given several times. One of: start, workspaces, million, objects, slow-disk, watchers, watches, edge, agent.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Small sizes and short times, to see that everything works; its figures are no figures.
    #[arg(long)]
    quick: bool,
    /// How many workspaces the row `million` makes.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    million: usize,
    /// How many watches the row `watches` opens.
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    watches: usize,
    /// How many minutes the row `agent` counts idle traffic.
    #[arg(long, default_value_t = 10, value_name = "MINUTES")]
    idle_minutes: u64,
    /// The binary to measure [default: built from this workspace, in release mode].
    #[arg(long, value_name = "FILE")]
    atoll: Option<PathBuf>,
    /// Where the servers' directories go [default: the system's temporary directory].
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Args {
    fn sizes(&self) -> Sizes {
        if self.quick {
            return Sizes {
                settle: std::time::Duration::from_secs(1),
                workspaces: 1_000,
                million: self.million.min(20_000),
                creates: 10_000,
                gets: 20_000,
                watchers: 1_000,
                events: 10,
                watches: self.watches.min(2_000),
                applies: 50,
                idle: std::time::Duration::from_secs(60),
            };
        }
        Sizes {
            settle: std::time::Duration::from_secs(10),
            workspaces: 10_000,
            million: self.million,
            creates: 150_000,
            gets: 400_000,
            watchers: 1_000,
            events: 100,
            watches: self.watches,
            applies: 300,
            idle: std::time::Duration::from_secs(60 * self.idle_minutes),
        }
    }

    fn rows(&self) -> anyhow::Result<Vec<Row>> {
        if self.only.is_empty() {
            return Ok(Row::ALL
                .into_iter()
                .filter(|row| *row != Row::Million)
                .collect());
        }
        self.only
            .iter()
            .map(|name| {
                Row::named(name).with_context(|| {
                    let names = Row::ALL.map(Row::name).join(", ");
                    format!("there is no row {name:?}; the rows are {names}")
                })
            })
            .collect()
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let rows = args.rows()?;
    let binary = match &args.atoll {
        Some(binary) => binary.clone(),
        None => build()?,
    };
    let bench = system::Bench {
        binary,
        directory: args.directory.clone().unwrap_or_else(std::env::temp_dir),
        sizes: args.sizes(),
    };
    // One thread: the client must leave the machine to the server.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let mut figures = Vec::new();
    for row in rows {
        eprintln!("measuring {} …", row.name());
        match runtime.block_on(row.measure(&bench)) {
            Ok(measured) => {
                measured.iter().for_each(|figure| eprintln!("  {figure}"));
                figures.extend(measured);
            }
            Err(error) => {
                eprintln!("  {} failed: {error:#}", row.name());
                figures.push(table::Figure::failed(row.name(), &error));
            }
        }
    }
    println!("{}", system::machine());
    if args.quick {
        println!("Small sizes (--quick): not the figures of the goal.");
    }
    println!("\n{}", table::render(&figures));
    Ok(())
}

/// Builds `atoll` beside this program, with the same cargo and profile.
fn build() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let binary = own.with_file_name("atoll");
    let Some(cargo) = std::env::var_os("CARGO") else {
        return if binary.exists() {
            Ok(binary)
        } else {
            bail!("no {}; give --atoll FILE", binary.display())
        };
    };
    let mut command = Command::new(cargo);
    command.args(["build", "-p", "atoll", "--bin", "atoll"]);
    if own
        .parent()
        .and_then(Path::file_name)
        .is_some_and(|profile| profile == "release")
    {
        command.arg("--release");
    } else {
        eprintln!("this is not a release build: the figures mean little");
    }
    if !command.status().context("cannot run cargo")?.success() {
        bail!("atoll does not build");
    }
    Ok(binary)
}
