//! `atoll agent`: the process at an edge.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use atoll_agent::Options;
use atoll_client::{Client, Config, Kubeconfig};

use crate::signals::stop_signal;

/// Arguments of `atoll agent`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The join file that `atoll edges add` made.
    #[arg(long, value_name = "FILE")]
    join: PathBuf,
    /// The kubeconfig of the edge's own API server [default: as kubectl finds it].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context to use [default: the current one].
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Where the agent keeps what it knows, one directory for each edge.
    #[arg(long, value_name = "DIR")]
    state_directory: PathBuf,
}

/// Runs the agent until SIGINT or SIGTERM.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let options = Options {
        join: read_join(&args.join)?,
        edge: edge_client(args.kubeconfig.as_deref(), args.context.as_deref())?,
        state_directory: args.state_directory,
    };
    // One thread is enough for one edge, and keeps the agent small.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        tokio::select! {
            ended = atoll_agent::run(options) => ended.context("the agent cannot go on"),
            stopped = stop_signal() => stopped,
        }
    })
}

fn read_join(path: &Path) -> anyhow::Result<atoll_wire::join::JoinFile> {
    let read = std::fs::read(path).map_err(|error| error.to_string());
    let text = read.and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is no text".into()));
    text.and_then(|text| atoll_agent::read_join_file(&text))
        .map_err(|why| {
            let path = path.display();
            anyhow!("--join {path}: {why}. `atoll edges add NAME -o FILE` at the center makes a join file")
        })
}

/// A client for an edge's API server.
pub(crate) fn edge_client(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> anyhow::Result<Client> {
    let what = "the kubeconfig of the edge's own API server";
    let (kubeconfig, from) = match kubeconfig {
        Some(path) => {
            // A file that is not there would count as an empty one.
            std::fs::metadata(path)
                .map_err(|why| anyhow!("--kubeconfig {}: {why}; name {what}", path.display()))?;
            let from = format!("--kubeconfig {}", path.display());
            (Kubeconfig::load(&[path])?, from)
        }
        None => (
            Kubeconfig::load_default()?,
            "$KUBECONFIG, else ~/.kube/config".to_owned(),
        ),
    };
    let mut config = Config::from_kubeconfig(&kubeconfig, context).map_err(|why| {
        anyhow!("{from}: {why}; choose with --context, or name {what} with --kubeconfig")
    })?;
    config.user_agent = concat!("atoll-agent/", env!("CARGO_PKG_VERSION")).to_owned();
    Ok(Client::new(&config)?)
}
