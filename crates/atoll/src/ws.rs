//! `atoll ws`: workspaces at the terminal.

/// Arguments of `atoll ws`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs it.
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("`atoll ws` is not built yet")
}
