//! `atoll quickstart`: everything at once, to see it work.

/// Arguments of `atoll quickstart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs it.
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("`atoll quickstart` is not built yet")
}
