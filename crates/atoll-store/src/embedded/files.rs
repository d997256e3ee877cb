//! The store's directory: `lock`, `log/`, `replica/`.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::Duration;

use super::OpenError;
use crate::backup::STAGING;

pub(crate) const LOG: &str = "log";
pub(crate) const REPLICA: &str = "replica";
const LOCK: &str = "lock";

/// How old the links of a backup are when it certainly no longer runs.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// Removes what a backup that died left behind: its links would keep old files on the disk.
pub(super) fn sweep(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let is_staging = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(STAGING));
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if is_staging && age > ABANDONED {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// Held while a store is open. The system lets go of it with the process.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read")] File);

/// Makes the directory and takes its lock.
pub(super) fn lock(directory: &Path) -> Result<Lock, OpenError> {
    std::fs::create_dir_all(directory).map_err(|e| OpenError::io("make", directory, e))?;
    let path = directory.join(LOCK);
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.map_err(|e| OpenError::io("open", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            directory: directory.to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(OpenError::io("lock", &path, e)),
    }
}
