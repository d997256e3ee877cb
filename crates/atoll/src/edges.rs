//! `atoll edges`: the fleet at the terminal.

/// Arguments of `atoll edges`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs it.
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("`atoll edges` is not built yet")
}
