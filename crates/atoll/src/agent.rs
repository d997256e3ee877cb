//! `atoll agent`: the process at an edge.

/// Arguments of `atoll agent`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs it.
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("`atoll agent` is not built yet")
}
