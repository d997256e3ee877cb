//! `atoll start`: the center.

/// Arguments of `atoll start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs it.
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("`atoll start` is not built yet")
}
