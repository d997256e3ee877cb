//! `atoll sandbox`: a pretend edge.

/// Arguments of `atoll sandbox`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs it.
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("`atoll sandbox` is not built yet")
}
