//! Events out of the log, for watchers that lag further than the window of recent events reaches.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;

use crate::log::record::{Change, LoggedWrite, Record};
use crate::log::{self, Segments};
use crate::replica::Replica;
use crate::watch::{Chunk, Past};
use crate::{Event, Memo, Prefix, ReadError, Revision, Version};

/// After this many events, or this much log, a read returns what it has.
const CHUNK_EVENTS: usize = 256;
const CHUNK_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct LogPast {
    pub(super) replica: Arc<Replica>,
    pub(super) segments: Arc<Segments>,
}

/// The event of a logged write.
pub(super) fn event(revision: Revision, write: &LoggedWrite, previous: Option<Version>) -> Event {
    let (current, last) = match &write.change {
        Change::Put(row) => (Some(row.clone()), None),
        Change::Delete(Some(row)) => (None, Some(row.clone())),
        Change::Delete(None) => (None, previous.as_ref().map(|version| version.row.clone())),
    };
    Event {
        revision,
        key: write.key.clone(),
        created: write.created,
        current,
        last,
        previous,
        memo: Memo::default(),
    }
}

impl Past for LogPast {
    fn read(&self, prefix: &Prefix, after: Revision, to: Revision) -> Result<Chunk, ReadError> {
        // Holds back both the log's segments and the previous versions.
        let _pin = self
            .replica
            .history()
            .pin(after)
            .map_err(|oldest| ReadError::Compacted { oldest })?;
        // The usual case after a restart: the watcher is behind, but nothing of its own has happened.
        if self
            .replica
            .last_change(prefix)?
            .is_some_and(|changed| changed <= after)
        {
            return Ok(Chunk {
                events: Vec::new(),
                up_to: to,
            });
        }
        let mut chunk = Chunk {
            events: Vec::new(),
            up_to: after,
        };
        let mut bytes = 0;
        let mut partial = false;
        log::reader::read(&self.segments, after, to, |batch, size| {
            for (revision, record) in batch.numbered() {
                let Record::Append(writes) = record else {
                    continue;
                };
                if revision <= after || revision > to {
                    continue;
                }
                for write in writes.iter().filter(|write| write.key.starts_with(prefix)) {
                    let previous = self.replica.get(&write.key, revision.previous())?;
                    chunk
                        .events
                        .push(Arc::new(event(revision, &detached(write), previous)));
                }
            }
            chunk.up_to = batch.last().min(to);
            bytes += size;
            if chunk.events.len() >= CHUNK_EVENTS || bytes >= CHUNK_BYTES {
                partial = true;
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if !partial {
            chunk.up_to = to;
        }
        Ok(chunk)
    }
}

/// A copy that does not hold on to the whole frame it was read with.
fn detached(write: &LoggedWrite) -> LoggedWrite {
    let copy = |row: &Bytes| Bytes::copy_from_slice(row);
    LoggedWrite {
        key: write.key.detached(),
        created: write.created,
        change: match &write.change {
            Change::Put(row) => Change::Put(copy(row)),
            Change::Delete(row) => Change::Delete(row.as_ref().map(copy)),
        },
    }
}
