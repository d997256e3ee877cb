//! The store's directory: `lock`, `log/`, `replica/`.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use super::OpenError;

pub(crate) const LOG: &str = "log";
pub(crate) const REPLICA: &str = "replica";
const LOCK: &str = "lock";

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
