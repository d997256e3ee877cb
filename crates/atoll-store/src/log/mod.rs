//! The log: append-only segment files, the only thing that is fsynced before an answer.
//!
//! One group commit is one [frame](frame), with one checksum. The next frame is written only after the previous one is on
//! disk, so a damaged frame with nothing valid behind it was never acknowledged and may be cut, and one with valid frames
//! behind it is damage that no crash explains.
//!
//! The log knows records and bytes, not what they mean for the replica.

pub(crate) mod frame;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod segment;
pub(crate) mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::Revision;

/// How many bytes lie between two remembered positions of a segment.
const MARK_EVERY: u64 = 64 << 10;

/// What is known about one segment file. Shared between the writer and the readers.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    pub(crate) header: segment::Header,
    state: Mutex<SegmentState>,
}

#[derive(Debug)]
struct SegmentState {
    /// The last revision in it; before the header's base when it is empty.
    last: Revision,
    /// Bytes that are durable.
    len: u64,
    /// Some first revisions of frames and where they begin, ascending.
    marks: Vec<(Revision, u64)>,
}

impl Segment {
    fn new(path: PathBuf, header: segment::Header, last: Revision, len: u64) -> Segment {
        let state = SegmentState {
            last,
            len,
            marks: Vec::new(),
        };
        Segment {
            path,
            header,
            state: Mutex::new(state),
        }
    }

    /// Records that a frame lies at `offset`.
    fn note(&self, first: Revision, last: Revision, offset: u64, end: u64) {
        let mut state = self.state.lock();
        if state
            .marks
            .last()
            .is_none_or(|(_, at)| offset >= at + MARK_EVERY)
        {
            state.marks.push((first, offset));
        }
        state.last = last;
        state.len = end;
    }

    pub(crate) fn last(&self) -> Revision {
        self.state.lock().last
    }

    pub(crate) fn len(&self) -> u64 {
        self.state.lock().len
    }

    /// Where to begin to read for the frames that hold what follows `after`.
    fn offset_for(&self, after: Revision) -> u64 {
        let state = self.state.lock();
        let behind = state
            .marks
            .partition_point(|(first, _)| *first <= after.next());
        behind
            .checked_sub(1)
            .map_or(segment::HEADER_BYTES as u64, |at| state.marks[at].1)
    }
}

/// The segments that exist, oldest first. The last one is being written.
#[derive(Debug, Default)]
pub(crate) struct Segments(RwLock<Vec<Arc<Segment>>>);

impl Segments {
    pub(crate) fn new(segments: Vec<Arc<Segment>>) -> Segments {
        Segments(RwLock::new(segments))
    }

    pub(crate) fn list(&self) -> Vec<Arc<Segment>> {
        self.0.read().clone()
    }

    pub(crate) fn push(&self, segment: Arc<Segment>) {
        self.0.write().push(segment);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.read().iter().map(|segment| segment.len()).sum()
    }

    /// Deletes the oldest segments that hold nothing behind `floor`; the one being written always stays.
    pub(crate) fn drop_up_to(&self, floor: Revision) -> std::io::Result<usize> {
        let mut segments = self.0.write();
        let open = segments.len().saturating_sub(1);
        let mut dropped = 0;
        while dropped < open && segments[dropped].last() <= floor {
            // In order, and each for good before the next, so that a crash leaves no hole.
            std::fs::remove_file(&segments[dropped].path)?;
            dropped += 1;
        }
        segments.drain(..dropped);
        Ok(dropped)
    }
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> std::io::Result<()> {
    std::fs::File::open(directory)?.sync_all()
}
