//! `atoll backup` and `atoll restore`: the store's own functions, at the terminal.

use std::path::PathBuf;

/// Arguments of `atoll backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The center's root directory.
    #[arg(long, default_value = ".atoll")]
    pub(crate) root_directory: PathBuf,
    /// The file to write.
    pub(crate) file: PathBuf,
}

/// Arguments of `atoll restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The root directory to make; it must not hold a store yet.
    #[arg(long, default_value = ".atoll")]
    pub(crate) root_directory: PathBuf,
    /// The backup to read.
    pub(crate) file: PathBuf,
}

/// Writes a backup.
pub(crate) fn backup(_args: BackupArgs) -> anyhow::Result<()> {
    anyhow::bail!("`atoll backup` is not built yet")
}

/// Restores one.
pub(crate) fn restore(_args: RestoreArgs) -> anyhow::Result<()> {
    anyhow::bail!("`atoll restore` is not built yet")
}
