//! Reading the log: all of it once when a store opens, and pieces of it for watchers that lag.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::record::Batch;
use super::segment::{HEADER_BYTES, Header, HeaderError};
use super::{Segment, Segments, frame, segment, sync_directory};
use crate::embedded::OpenError;
use crate::{ReadError, Revision};

/// What opening a log found.
#[derive(Debug)]
pub(crate) struct Opened {
    /// All segments, oldest first.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// The last revision in the log.
    pub(crate) last: Revision,
    /// Bytes cut from the end because they were never acknowledged.
    pub(crate) torn: u64,
}

/// How many bytes of the newest segments are verified at every start, whether they are replayed or not.
const VERIFY_BYTES: u64 = 128 << 20;

/// Opens the log: verifies it, cuts a torn end, and hands every batch that ends behind `after` to `replay`, in order.
pub(crate) fn open(
    directory: &Path,
    after: Revision,
    mut replay: impl FnMut(Batch) -> Result<(), OpenError>,
) -> Result<Opened, OpenError> {
    let paths = segment::list(directory).map_err(|e| OpenError::io("list", directory, e))?;
    let mut found: Vec<(std::path::PathBuf, Header, u64)> = Vec::new();
    let mut torn = 0;
    for (at, path) in paths.iter().enumerate() {
        let is_last = at + 1 == paths.len();
        match read_header(path)? {
            Ok((header, len)) => found.push((path.clone(), header, len)),
            // A segment whose header never became durable holds nothing that was acknowledged.
            Err((HeaderError::Damaged, len)) if is_last && len <= HEADER_BYTES as u64 => {
                std::fs::remove_file(path).map_err(|e| OpenError::io("remove", path, e))?;
                sync_directory(directory).map_err(|e| OpenError::io("sync", directory, e))?;
                torn += len;
            }
            Err((HeaderError::Damaged, _)) => {
                return Err(OpenError::damaged(
                    path,
                    0,
                    "the segment's header is not readable",
                ));
            }
            Err((HeaderError::Format(format), _)) => {
                let what = format!(
                    "log format {format} is not one this version reads; use the version that wrote it"
                );
                return Err(OpenError::Unsupported {
                    file: path.clone(),
                    what,
                });
            }
        }
    }
    check_order(&found)?;

    let mut segments = Vec::with_capacity(found.len());
    let mut last = found
        .first()
        .map_or(Revision::ZERO, |(_, header, _)| header.before);
    let newer_bytes = |at: usize| found[at + 1..].iter().map(|(_, _, len)| *len).sum::<u64>();
    for (at, (path, header, len)) in found.iter().enumerate() {
        let next = found.get(at + 1);
        let segment = Segment::new(path.clone(), *header, header.base.previous(), *len);
        match next {
            Some((_, next, _)) if next.before <= after && newer_bytes(at) > VERIFY_BYTES => {
                // Old, large, and not needed for the state: it is verified when somebody reads it.
                segment.state.lock().last = next.before;
                last = next.before;
            }
            _ => {
                let before = Revision(header.base.0.saturating_sub(1));
                let end = scan(&segment, before, next.is_none(), after, &mut replay)?;
                torn += end.torn;
                if end.last == before && next.is_none() {
                    // Nothing in it was acknowledged; the writer begins another one.
                    std::fs::remove_file(path).map_err(|e| OpenError::io("remove", path, e))?;
                    sync_directory(directory).map_err(|e| OpenError::io("sync", directory, e))?;
                    last = header.before;
                    break;
                }
                last = end.last;
                if let Some((next_path, next, _)) = next
                    && next.before != last
                {
                    let what = format!(
                        "the log before it ends at revision {last} but should end at {}",
                        next.before
                    );
                    return Err(OpenError::damaged(next_path, 0, &what));
                }
            }
        }
        segments.push(Arc::new(segment));
    }
    Ok(Opened {
        segments,
        last,
        torn,
    })
}

fn check_order(found: &[(std::path::PathBuf, Header, u64)]) -> Result<(), OpenError> {
    for pair in found.windows(2) {
        let [(_, earlier, _), (path, later, _)] = pair else {
            continue;
        };
        if earlier.store != later.store {
            return Err(OpenError::damaged(
                path,
                0,
                "the segment belongs to another store",
            ));
        }
        if later.base <= later.before || later.before < earlier.before {
            return Err(OpenError::damaged(
                path,
                0,
                "the segment does not follow the one before it",
            ));
        }
    }
    Ok(())
}

type HeaderFound = Result<(Header, u64), (HeaderError, u64)>;

pub(crate) fn read_header(path: &Path) -> Result<HeaderFound, OpenError> {
    let read = || -> std::io::Result<(Vec<u8>, u64)> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        file.by_ref()
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut bytes)?;
        Ok((bytes, len))
    };
    let (bytes, len) = read().map_err(|e| OpenError::io("read", path, e))?;
    Ok(Header::decode(&bytes)
        .map(|header| (header, len))
        .map_err(|e| (e, len)))
}

struct End {
    last: Revision,
    torn: u64,
}

/// Walks a whole segment. In the newest one a torn end is cut off; anything else that is wrong is refused.
fn scan(
    segment: &Segment,
    mut last: Revision,
    newest: bool,
    after: Revision,
    replay: &mut impl FnMut(Batch) -> Result<(), OpenError>,
) -> Result<End, OpenError> {
    let path = &segment.path;
    let bytes = Bytes::from(std::fs::read(path).map_err(|e| OpenError::io("read", path, e))?);
    let salt = segment.header.salt;
    let mut offset = HEADER_BYTES;
    loop {
        match frame::at(&bytes, salt, offset) {
            frame::Found::End => return Ok(End { last, torn: 0 }),
            frame::Found::Frame(range) => {
                let end = range.end;
                let batch = Batch::decode(bytes.slice(range));
                let batch = batch.ok_or_else(|| {
                    OpenError::damaged(path, offset as u64, "a frame's records are not readable")
                })?;
                if batch.first != last.next() {
                    let what = format!("revision {} follows revision {last}", batch.first);
                    return Err(OpenError::damaged(path, offset as u64, &what));
                }
                last = batch.last();
                segment.note(batch.first, last, offset as u64, end as u64);
                if last > after {
                    replay(batch)?;
                }
                offset = end;
            }
            frame::Found::Damage(what) => {
                if !newest {
                    return Err(OpenError::damaged(path, offset as u64, what));
                }
                if let Some(later) = frame::any_from(&bytes, salt, offset + 1) {
                    let what = format!("{what}, and intact records follow at byte {later}");
                    return Err(OpenError::damaged(path, offset as u64, &what));
                }
                let torn = (bytes.len() - offset) as u64;
                cut(path, offset as u64)
                    .map_err(|e| OpenError::io("cut the torn end of", path, e))?;
                segment.state.lock().len = offset as u64;
                return Ok(End { last, torn });
            }
        }
    }
}

fn cut(path: &Path, len: u64) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(len)?;
    file.sync_all()
}

/// Reads batches behind `after`, oldest first, until `visit` says stop or `to` is passed. All of it must be durable already.
pub(crate) fn read(
    segments: &Segments,
    after: Revision,
    to: Revision,
    mut visit: impl FnMut(Batch, usize) -> Result<std::ops::ControlFlow<()>, ReadError>,
) -> Result<(), ReadError> {
    for segment in segments.list() {
        if segment.last() <= after || segment.header.base > to {
            continue;
        }
        let failed =
            |e: std::io::Error| ReadError::Storage(format!("{}: {e}", segment.path.display()));
        let offset = segment.offset_for(after);
        let end = segment.len();
        let mut file =
            BufReader::with_capacity(64 << 10, File::open(&segment.path).map_err(failed)?);
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut at = offset;
        while at < end {
            let mut head = [0; frame::OVERHEAD];
            file.read_exact(&mut head).map_err(failed)?;
            let damaged =
                || ReadError::Storage(format!("{}: damaged at byte {at}", segment.path.display()));
            let (length, sum) = frame::header(&head).ok_or_else(damaged)?;
            let mut payload = vec![0; length];
            file.read_exact(&mut payload).map_err(failed)?;
            if !frame::verify(segment.header.salt, &payload, sum) {
                return Err(damaged());
            }
            let batch = Batch::decode(Bytes::from(payload)).ok_or_else(damaged)?;
            let size = frame::OVERHEAD + length;
            if batch.first > to {
                return Ok(());
            }
            if batch.last() > after && visit(batch, size)?.is_break() {
                return Ok(());
            }
            at += size as u64;
        }
    }
    Ok(())
}
