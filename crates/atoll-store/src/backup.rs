//! Backup and restore by plain files.
//!
//! A backup is a directory: the store's files as they were at one moment, and a manifest with the checksum of each. It can
//! be made of a running store, by any process that may read its directory, without the store's help: all files but the
//! newest log segment are never changed once they have a name, and the order of copying (log, replica, rest of the log)
//! makes the log reach at least as far back as the copied replica needs, and further forward.
//!
//! A restored store is a new life of the old one. Its revisions jump far ahead of anything that the old one can have given
//! out after the backup, and nothing older can be watched from: a client's cursor from the lost time is refused, not
//! continued wrongly.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

use crate::embedded::{LOG, OpenError, REPLICA};
use crate::log::record::{Batch, Record};
use crate::log::segment::{self, Header};
use crate::log::{frame, reader, sync_directory};
use crate::{Incarnation, Revision, StoreId};

/// What the directories in which links are gathered are called, inside the store's.
pub(crate) const STAGING: &str = "backup-";
const MANIFEST: &str = "MANIFEST";
const MANIFEST_TITLE: &str = "atoll backup 1";
/// Names the replica's present table set; written by renaming, so it is whole at any moment.
const CURRENT: &str = "current";
/// How often a copy is begun again because the replica's table set changed under it.
const ATTEMPTS: usize = 50;
/// How far a restored store's revisions are ahead of the backup's, at least.
const JUMP: u64 = 1 << 32;

/// Why a backup or a restore did not happen. What was begun is left in place, never reported as done.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// An operation on a file failed.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The target must not exist or be empty.
    #[error("{0} is not empty; name a directory that does not exist yet")]
    NotEmpty(PathBuf),
    /// There is no store.
    #[error("{0} holds no store")]
    NoStore(PathBuf),
    /// The replica was rewritten faster than it could be copied.
    #[error("{0}: the store changed too fast to be copied; try again")]
    TooBusy(PathBuf),
    /// The backup is not what was written.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// The backup's log is not readable.
    #[error(transparent)]
    Open(#[from] OpenError),
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::Io {
        doing,
        path,
        source,
    }
}

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Number of files.
    pub files: usize,
    /// Their size.
    pub bytes: u64,
}

/// What a restore made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The store, which is the one that was backed up.
    pub store: StoreId,
    /// The last revision of the backup.
    pub backup_head: Revision,
    /// The first revision of the restored store's new life.
    pub begins: Revision,
}

/// Copies the store in `directory`, running or not, to the new directory `target`.
pub fn backup(directory: &Path, target: &Path) -> Result<Summary, BackupError> {
    if !directory.join(LOG).is_dir() {
        return Err(BackupError::NoStore(directory.to_owned()));
    }
    make_empty(target)?;
    // Links first: they are quick, and a file that is linked cannot vanish while it is copied.
    let staging = directory.join(format!("{STAGING}{}", Uuid::new_v4().simple()));
    let result = stage(directory, &staging).and_then(|()| copy_out(&staging, target));
    let removed = fs::remove_dir_all(&staging);
    let summary = result?;
    removed.map_err(failed("remove", &staging))?;
    Ok(summary)
}

fn make_empty(directory: &Path) -> Result<(), BackupError> {
    fs::create_dir_all(directory).map_err(failed("make", directory))?;
    let mut entries = fs::read_dir(directory).map_err(failed("list", directory))?;
    if entries.next().is_some() {
        return Err(BackupError::NotEmpty(directory.to_owned()));
    }
    Ok(())
}

fn stage(directory: &Path, staging: &Path) -> Result<(), BackupError> {
    let (log, replica) = (directory.join(LOG), directory.join(REPLICA));
    for part in [LOG, REPLICA] {
        let path = staging.join(part);
        fs::create_dir_all(&path).map_err(failed("make", &path))?;
    }
    link_segments(&log, &staging.join(LOG))?;
    link_replica(&replica, &staging.join(REPLICA))?;
    link_segments(&log, &staging.join(LOG))
}

/// Links all segments that are not linked yet.
fn link_segments(from: &Path, to: &Path) -> Result<(), BackupError> {
    for path in segment::list(from).map_err(failed("list", from))? {
        let Some(name) = path.file_name() else {
            continue;
        };
        link(&path, &to.join(name))?;
    }
    Ok(())
}

/// Links one file, or copies it where links cannot be made. One that has vanished meanwhile, or is there already, is passed
/// over.
fn link(from: &Path, to: &Path) -> Result<(), BackupError> {
    let passed_over = |e: &io::Error| {
        matches!(
            e.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
        )
    };
    match fs::hard_link(from, to) {
        Err(e) if passed_over(&e) => Ok(()),
        Err(_) => match fs::copy(from, to) {
            Err(e) if !passed_over(&e) => Err(failed("copy", from)(e)),
            _ => Ok(()),
        },
        Ok(()) => Ok(()),
    }
}

/// Links the replica's files such that the table set named by `current` is among them.
fn link_replica(from: &Path, to: &Path) -> Result<(), BackupError> {
    let current = from.join(CURRENT);
    let read = || match fs::read(&current) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some).map_err(failed("read", &current)),
    };
    for _ in 0..ATTEMPTS {
        let before = read()?;
        link_tree(from, to)?;
        // Files that `current` names go away only after `current` names others.
        if read()? == before {
            if let Some(content) = before {
                let path = to.join(CURRENT);
                let _ = fs::remove_file(&path);
                fs::write(&path, content).map_err(failed("write", &path))?;
            }
            return Ok(());
        }
    }
    Err(BackupError::TooBusy(from.to_owned()))
}

fn link_tree(from: &Path, to: &Path) -> Result<(), BackupError> {
    fs::create_dir_all(to).map_err(failed("make", to))?;
    let entries = match fs::read_dir(from) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(failed("list", from))?,
    };
    for entry in entries {
        let path = entry.map_err(failed("list", from))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if path.is_dir() {
            link_tree(&path, &to.join(name))?;
        } else if name != CURRENT && !name.starts_with(".tmp") {
            link(&path, &to.join(name))?;
        }
    }
    Ok(())
}

/// Copies the staged files, and writes the manifest last.
fn copy_out(staging: &Path, target: &Path) -> Result<Summary, BackupError> {
    let mut manifest = String::from(MANIFEST_TITLE);
    manifest.push('\n');
    let mut summary = Summary { files: 0, bytes: 0 };
    for name in files(staging)? {
        let (from, to) = (staging.join(&name), target.join(&name));
        let (bytes, sum) = copy(&from, &to)?;
        manifest.push_str(&format!("{sum:08x} {bytes} {name}\n"));
        summary.files += 1;
        summary.bytes += bytes;
    }
    let path = target.join(MANIFEST);
    let mut file = File::create(&path).map_err(failed("make", &path))?;
    file.write_all(manifest.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed("write", &path))?;
    sync_directory(target).map_err(failed("sync", target))?;
    Ok(summary)
}

/// The files below a directory by relative name, sorted.
fn files(root: &Path) -> Result<Vec<String>, BackupError> {
    fn walk(directory: &Path, name: &str, found: &mut Vec<String>) -> Result<(), BackupError> {
        for entry in fs::read_dir(directory).map_err(failed("list", directory))? {
            let path = entry.map_err(failed("list", directory))?.path();
            let Some(last) = path.file_name().and_then(|last| last.to_str()) else {
                continue;
            };
            let name = if name.is_empty() {
                last.to_owned()
            } else {
                format!("{name}/{last}")
            };
            if path.is_dir() {
                walk(&path, &name, found)?;
            } else {
                found.push(name);
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    walk(root, "", &mut found)?;
    found.sort();
    Ok(found)
}

/// Copies a file durably, as long as it is now. Its size and checksum.
fn copy(from: &Path, to: &Path) -> Result<(u64, u32), BackupError> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).map_err(failed("make", parent))?;
    }
    let mut source = File::open(from).map_err(failed("open", from))?;
    // The newest segment grows while it is copied; what comes later is not part of the backup.
    let len = source.metadata().map_err(failed("read", from))?.len();
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(to)
        .map_err(failed("make", to))?;
    let (mut left, mut sum) = (len, 0);
    let mut buffer = vec![0; 1 << 18];
    while left > 0 {
        let want = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        source
            .read_exact(&mut buffer[..want])
            .map_err(failed("read", from))?;
        target
            .write_all(&buffer[..want])
            .map_err(failed("write", to))?;
        sum = crc32c::crc32c_append(sum, &buffer[..want]);
        left -= want as u64;
    }
    target.sync_all().map_err(failed("sync", to))?;
    Ok((len, sum))
}

/// Makes a store in the new directory `target` out of a backup. The store is opened as usual afterwards.
pub fn restore(backup: &Path, target: &Path) -> Result<Restored, BackupError> {
    let manifest = read_manifest(backup)?;
    make_empty(target)?;
    for (name, (bytes, sum)) in &manifest {
        let (from, to) = (backup.join(name), target.join(name));
        if copy(&from, &to)? != (*bytes, *sum) {
            return Err(BackupError::Damaged(format!(
                "{name} is not as it was written; use another backup"
            )));
        }
    }
    for part in [LOG, REPLICA] {
        let path = target.join(part);
        fs::create_dir_all(&path).map_err(failed("make", &path))?;
    }
    jump(&target.join(LOG))
}

fn read_manifest(backup: &Path) -> Result<BTreeMap<String, (u64, u32)>, BackupError> {
    let path = backup.join(MANIFEST);
    let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
    let mut lines = text.lines();
    if lines.next() != Some(MANIFEST_TITLE) {
        return Err(BackupError::Damaged(format!(
            "{} is not a backup's manifest",
            path.display()
        )));
    }
    let parse = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let sum = u32::from_str_radix(parts.next()?, 16).ok()?;
        let bytes = parts.next()?.parse().ok()?;
        let name = parts.next()?;
        let inside =
            !name.starts_with('/') && !name.split('/').any(|part| part == ".." || part.is_empty());
        inside.then(|| (name.to_owned(), (bytes, sum)))
    };
    lines
        .map(|line| {
            parse(line).ok_or_else(|| {
                BackupError::Damaged(format!(
                    "{} has a line that is not one: {line}",
                    path.display()
                ))
            })
        })
        .collect()
}

/// Begins the new life: a segment of its own, far ahead, that says so and forgets the history before.
fn jump(log: &Path) -> Result<Restored, BackupError> {
    let opened = reader::open(log, Revision(u64::MAX), |_| Ok(()))?;
    let Some(newest) = opened.segments.last() else {
        return Err(BackupError::Damaged("it holds no log".to_owned()));
    };
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    // By time as well, so that restoring the same backup twice does not give out the same revisions twice.
    let base = Revision((opened.last.0 + JUMP).max(since.as_secs() << 20));
    let time = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let header = Header {
        store: newest.header.store,
        salt: Uuid::new_v4().as_fields().0,
        base,
        before: opened.last,
        time,
    };
    let records = vec![
        Record::Start(Incarnation(Uuid::new_v4())),
        Record::Floor(base),
    ];
    let mut bytes = header.encode().to_vec();
    frame::encode(&mut bytes, header.salt, |out| {
        Batch {
            first: base,
            time,
            records,
        }
        .encode(out)
    });
    let path = segment::path(log, base);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .map_err(failed("make", &path))?;
    file.write_all(&bytes)
        .and_then(|()| file.sync_all())
        .map_err(failed("write", &path))?;
    sync_directory(log).map_err(failed("sync", log))?;
    Ok(Restored {
        store: header.store,
        backup_head: opened.last,
        begins: base,
    })
}
