//! `atoll backup` and `atoll restore`: a center's whole state, as a directory.
//!
//! A backup is the store, made by the store's own functions, and beside it the certificates, keys and tokens of the root
//! directory: without the fleet's authority, the agents of a restored center would be strangers.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use atoll_server::pki;

/// The store within a root directory, and within a backup.
const STORE: &str = "store";

/// Arguments of `atoll backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct BackupArgs {
    /// The center's root directory. The center may be running.
    #[arg(long, default_value = ".atoll", value_name = "DIR")]
    pub(crate) root_directory: PathBuf,
    /// The directory to make.
    #[arg(value_name = "BACKUP")]
    pub(crate) target: PathBuf,
}

/// Arguments of `atoll restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The root directory to make.
    #[arg(long, default_value = ".atoll", value_name = "DIR")]
    pub(crate) root_directory: PathBuf,
    /// The backup to read.
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: PathBuf,
}

/// Writes a backup.
pub(crate) fn backup(args: BackupArgs) -> anyhow::Result<()> {
    refuse_existing(&args.target)?;
    let summary =
        atoll_store::backup::backup(&args.root_directory.join(STORE), &args.target.join(STORE))
            .context("the backup was not made")?;
    pki::copy(&args.root_directory, &args.target).context("the backup is not complete")?;
    println!(
        "Backed up {} to {}: {} files, {} bytes. It holds keys: keep it as safe as the center itself.",
        args.root_directory.display(),
        args.target.display(),
        summary.files,
        summary.bytes,
    );
    Ok(())
}

/// Makes a root directory from a backup.
pub(crate) fn restore(args: RestoreArgs) -> anyhow::Result<()> {
    refuse_existing(&args.root_directory)?;
    let restored =
        atoll_store::backup::restore(&args.backup.join(STORE), &args.root_directory.join(STORE))
            .context("nothing was restored")?;
    pki::copy(&args.backup, &args.root_directory)
        .context("the restored root directory is not complete")?;
    println!(
        "Restored {} as of revision {}; new revisions begin at {}. Start it with: atoll start --root-directory {}",
        args.root_directory.display(),
        restored.backup_head,
        restored.begins,
        args.root_directory.display(),
    );
    Ok(())
}

fn refuse_existing(directory: &Path) -> anyhow::Result<()> {
    let empty = match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", directory.display()));
        }
    };
    if !empty {
        bail!(
            "{} is not empty; name a directory that does not exist yet",
            directory.display()
        );
    }
    Ok(())
}
