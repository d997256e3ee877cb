//! The state directory: a journal of facts and a folder of bodies. What was written is there after kill -9.
//!
//! ```text
//! DIR/journal        frames: length (u32 LE), CRC-32 of the payload (u32 LE), payload (a prost `Fact`)
//! DIR/bodies/<hex>   one object's JSON, named by its SHA-256
//! DIR/lock           held while an agent runs
//! ```
//! A torn frame at the end is what a crash leaves: it is cut off. Any other damage is dealt with the same way, because everything here can be had
//! again from the center and from the records at the edge; losing it deletes nothing.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use prost::Message as _;

use super::{Fact, State};

/// Rewrite the journal when it has grown beyond this many times its smallest form.
const GROWTH: u64 = 4;
/// ... but never below this size.
const SMALL: u64 = 256 * 1024;

/// The open state directory.
pub struct Journal {
    directory: PathBuf,
    file: File,
    length: u64,
    smallest: u64,
    _lock: File,
}

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another agent holds it.
    #[error("another agent is running on {0}")]
    InUse(PathBuf),
    /// The disk said no.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, JournalError> {
    result.map_err(|source| JournalError::Io {
        path: path.to_owned(),
        source,
    })
}

impl Journal {
    /// Opens (or makes) the directory and reads what is recorded there.
    pub fn open(directory: &Path) -> Result<(Self, State), JournalError> {
        let bodies = directory.join("bodies");
        at(&bodies, fs::create_dir_all(&bodies))?;
        let lock_path = directory.join("lock");
        let lock = at(&lock_path, File::create(&lock_path))?;
        lock.try_lock()
            .map_err(|_| JournalError::InUse(directory.to_owned()))?;
        let path = directory.join("journal");
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return at(&path, Err(error)),
        };
        let mut state = State::default();
        let good = replay(&bytes, |fact| state.apply(&fact)) as u64;
        if good < bytes.len() as u64 {
            tracing::warn!(path = %path.display(), kept = good, cut = bytes.len() as u64 - good, "the journal's end was incomplete and is cut off");
        }
        let file = at(
            &path,
            OpenOptions::new().create(true).append(true).open(&path),
        )?;
        at(&path, file.set_len(good))?;
        let mut journal = Journal {
            directory: directory.to_owned(),
            file,
            length: good,
            smallest: good,
            _lock: lock,
        };
        journal.rewrite(&state)?;
        journal.drop_unused_bodies(&state)?;
        Ok((journal, state))
    }

    /// Records facts durably and takes them into the state.
    pub fn record(&mut self, state: &mut State, facts: &[Fact]) -> Result<(), JournalError> {
        if facts.is_empty() {
            return Ok(());
        }
        let mut frames = Vec::new();
        facts.iter().for_each(|fact| frame(fact, &mut frames));
        let path = self.directory.join("journal");
        at(
            &path,
            self.file
                .write_all(&frames)
                .and_then(|()| self.file.sync_data()),
        )?;
        self.length += frames.len() as u64;
        facts.iter().for_each(|fact| state.apply(fact));
        if self.length > SMALL && self.length > self.smallest * GROWTH {
            self.rewrite(state)?;
            self.drop_unused_bodies(state)?;
        }
        Ok(())
    }

    /// Keeps a body. Durable when this returns.
    pub fn put_body(&self, hash: &[u8], body: &[u8]) -> Result<(), JournalError> {
        let path = self.body_path(hash);
        let half = path.with_extension("half");
        let write = || {
            let mut file = File::create(&half)?;
            file.write_all(body)?;
            file.sync_data()?;
            fs::rename(&half, &path)?;
            File::open(self.directory.join("bodies"))?.sync_all()
        };
        at(&path, write())
    }

    /// Whether a body is here.
    pub fn has_body(&self, hash: &[u8]) -> bool {
        self.body_path(hash).exists()
    }

    /// A body, `None` when it is not here or is damaged (then it is dropped, to be asked for again).
    pub fn body(&self, hash: &[u8]) -> Option<Bytes> {
        let path = self.body_path(hash);
        let body = fs::read(&path).ok()?;
        if atoll_wire::digest::body_hash(&body)[..] != *hash {
            let _ = fs::remove_file(&path);
            return None;
        }
        Some(body.into())
    }

    fn body_path(&self, hash: &[u8]) -> PathBuf {
        self.directory.join("bodies").join(hex::encode(hash))
    }

    /// Writes the journal anew with only the facts that still matter.
    fn rewrite(&mut self, state: &State) -> Result<(), JournalError> {
        let mut frames = Vec::new();
        state.facts().for_each(|fact| frame(&fact, &mut frames));
        let path = self.directory.join("journal");
        let half = path.with_extension("half");
        let write = || {
            let mut file = File::create(&half)?;
            file.write_all(&frames)?;
            file.sync_data()?;
            fs::rename(&half, &path)?;
            File::open(&self.directory)?.sync_all()?;
            OpenOptions::new().append(true).open(&path)
        };
        self.file = at(&path, write())?;
        self.length = frames.len() as u64;
        self.smallest = self.length;
        Ok(())
    }

    fn drop_unused_bodies(&self, state: &State) -> Result<(), JournalError> {
        let used: HashSet<String> = state
            .copies
            .values()
            .map(|copy| hex::encode(&copy.item.body_hash))
            .collect();
        let folder = self.directory.join("bodies");
        for entry in at(&folder, fs::read_dir(&folder))? {
            let entry = at(&folder, entry)?;
            if !entry
                .file_name()
                .to_str()
                .is_some_and(|name| used.contains(name))
            {
                at(&entry.path(), fs::remove_file(entry.path()))?;
            }
        }
        Ok(())
    }
}

fn frame(fact: &Fact, out: &mut Vec<u8>) {
    let payload = fact.encode_to_vec();
    // A fact is far below 4 GiB: it came in a message of at most `MAX_MESSAGE`.
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
    out.extend_from_slice(&payload);
}

/// Hands out the facts of the longest undamaged beginning and says how long that is.
fn replay(bytes: &[u8], mut take: impl FnMut(Fact)) -> usize {
    let mut good = 0;
    while let Some((payload, end)) = next_frame(bytes, good) {
        let Ok(fact) = Fact::decode(payload) else {
            break;
        };
        take(fact);
        good = end;
    }
    good
}

fn next_frame(bytes: &[u8], start: usize) -> Option<(&[u8], usize)> {
    let number = |from: usize| -> Option<u32> {
        Some(u32::from_le_bytes(
            bytes.get(from..from + 4)?.try_into().ok()?,
        ))
    };
    let length = number(start)? as usize;
    let sum = number(start + 4)?;
    let end = (start + 8).checked_add(length)?;
    let payload = bytes.get(start + 8..end)?;
    (crc32fast::hash(payload) == sum).then_some((payload, end))
}

#[cfg(test)]
mod tests {
    use atoll_wire::{CopyId, Item};

    use super::{super::fact, *};

    fn desired(n: u32, body: &[u8]) -> Fact {
        let copy = Some(CopyId {
            cluster: "c".into(),
            uid: n.to_string(),
        });
        fact::Kind::Desired(Item {
            copy,
            order: n,
            body_hash: Bytes::copy_from_slice(body),
            ..Item::default()
        })
        .into()
    }

    #[test]
    fn what_was_recorded_is_there_again_and_a_torn_end_is_cut() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, mut state) = Journal::open(directory.path()).unwrap();
        journal
            .record(&mut state, &[desired(1, b""), desired(2, b"")])
            .unwrap();
        drop(journal);
        let path = directory.path().join("journal");
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (_, read) = Journal::open(directory.path()).unwrap();
            assert!(read.copies.len() < 2, "cut at {cut}");
            assert!(
                read.copies
                    .values()
                    .all(|c| state.copies.values().any(|s| s == c))
            );
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(
            Journal::open(directory.path()).unwrap().1.copies,
            state.copies
        );
    }

    #[test]
    fn two_agents_cannot_share_a_directory() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Journal::open(directory.path()).unwrap();
        assert!(matches!(
            Journal::open(directory.path()),
            Err(JournalError::InUse(_))
        ));
    }

    #[test]
    fn bodies_are_kept_while_used_and_checked_when_read() {
        let directory = tempfile::tempdir().unwrap();
        let (mut journal, mut state) = Journal::open(directory.path()).unwrap();
        let hash = atoll_wire::digest::body_hash(b"{}");
        let other = atoll_wire::digest::body_hash(b"[]");
        journal.put_body(&hash, b"{}").unwrap();
        journal.put_body(&other, b"[]").unwrap();
        journal.record(&mut state, &[desired(1, &hash)]).unwrap();
        drop(journal);
        let (journal, _) = Journal::open(directory.path()).unwrap();
        assert!(!journal.has_body(&other), "nobody names it");
        assert_eq!(journal.body(&hash).as_deref(), Some(&b"{}"[..]));
        fs::write(journal.body_path(&hash), b"damaged").unwrap();
        assert_eq!(journal.body(&hash), None);
        assert!(
            !journal.has_body(&hash),
            "a damaged body is asked for again"
        );
    }
}
