//! Writing the log: one frame per group commit, one fsync per frame.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::record::Batch;
use super::segment::{HEADER_BYTES, Header};
use super::{Segment, Segments, frame, segment, sync_directory};
use crate::embedded::Faults;
use crate::{Revision, StoreId};

/// The one writer of the log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    directory: PathBuf,
    store: StoreId,
    segment_bytes: u64,
    sync_delay: Option<Duration>,
    faults: Option<Arc<dyn Faults>>,
    segments: Arc<Segments>,
    current: Option<Current>,
    last: Revision,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Current {
    file: File,
    segment: Arc<Segment>,
}

impl LogWriter {
    /// A writer that goes on behind `last`. It appends to `tail` if that is given, else it begins a segment.
    pub(crate) fn new(
        directory: &Path,
        store: StoreId,
        segments: Arc<Segments>,
        tail: Option<Arc<Segment>>,
        last: Revision,
        options: &crate::embedded::Options,
    ) -> io::Result<LogWriter> {
        let current = match tail {
            Some(segment) => Some(Current {
                file: OpenOptions::new().append(true).open(&segment.path)?,
                segment,
            }),
            None => None,
        };
        Ok(LogWriter {
            directory: directory.to_owned(),
            store,
            segment_bytes: options.segment_bytes,
            sync_delay: options.sync_delay,
            faults: options.hooks.faults.clone(),
            segments,
            current,
            last,
            buffer: Vec::new(),
        })
    }

    /// Makes the batch durable. After an error nothing is known about what is on disk: the caller has to stop.
    pub(crate) fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        let mut current = match self.current.take() {
            Some(current) if current.segment.len() < self.segment_bytes => current,
            _ => self.begin(batch.first, batch.time)?,
        };
        self.buffer.clear();
        frame::encode(&mut self.buffer, current.segment.header.salt, |out| {
            batch.encode(out)
        });
        write(&mut current.file, &self.buffer, self.faults.as_deref())?;
        self.sync(&current.file)?;
        let offset = current.segment.len();
        current.segment.note(
            batch.first,
            batch.last(),
            offset,
            offset + self.buffer.len() as u64,
        );
        self.last = batch.last();
        self.current = Some(current);
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Begins a segment whose first revision will be `base`. Its name is durable before its first frame is.
    fn begin(&self, base: Revision, time: u64) -> io::Result<Current> {
        let header = Header {
            store: self.store,
            salt: uuid::Uuid::new_v4().as_fields().0,
            base,
            before: self.last,
            time,
        };
        let path = segment::path(&self.directory, base);
        let mut file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .open(&path)?;
        write(&mut file, &header.encode(), self.faults.as_deref())?;
        self.sync(&file)?;
        sync_directory(&self.directory)?;
        let segment = Arc::new(Segment::new(
            path,
            header,
            base.previous(),
            HEADER_BYTES as u64,
        ));
        self.segments.push(Arc::clone(&segment));
        Ok(Current { file, segment })
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if let Some(delay) = self.sync_delay {
            std::thread::sleep(delay);
        }
        match self.faults.as_ref().and_then(|faults| faults.sync()) {
            Some(error) => Err(error),
            None => file.sync_data(),
        }
    }
}

/// Writes all bytes, or as many as the injected fault lets through.
fn write(file: &mut File, bytes: &[u8], faults: Option<&dyn Faults>) -> io::Result<()> {
    if let Some((written, error)) = faults.and_then(|faults| faults.write(bytes.len())) {
        file.write_all(&bytes[..written.min(bytes.len())])?;
        return Err(error);
    }
    file.write_all(bytes)
}
