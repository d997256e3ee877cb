//! What a watcher is told about one write.

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Key, Revision, Version};

/// One write of one key, as every watcher of it sees it. Shared, never copied per watcher.
#[derive(Debug)]
pub struct Event {
    /// The revision of the append.
    pub revision: Revision,
    /// The key written.
    pub key: Key,
    /// When the key (or, for a deletion, what was deleted) came into being.
    pub created: Revision,
    /// The new row; `None` when the key was deleted.
    pub current: Option<Bytes>,
    /// When deleted: the final row to show.
    pub last: Option<Bytes>,
    /// What the key had before; `None` when it was created.
    pub previous: Option<Version>,
    /// Encodings made from this event, shared by its watchers.
    pub memo: Memo,
}

impl Event {
    /// Whether the key was deleted.
    pub fn is_delete(&self) -> bool {
        self.current.is_none()
    }

    /// The row to show: the new one, or the final one of a deleted key.
    pub fn row(&self) -> Option<&Bytes> {
        self.current.as_ref().or(self.last.as_ref())
    }

    /// The bytes of rows that the event holds on to.
    pub(crate) fn weight(&self) -> usize {
        let previous = self.previous.as_ref().map_or(0, |v| v.row.len());
        let current = self.current.as_ref().map_or(0, Bytes::len);
        let last = self.last.as_ref().map_or(0, Bytes::len);
        // 160: the event itself, its counters and its place in a queue.
        160 + self.key.as_bytes().len() + previous + current + last
    }
}

/// A small cache of encodings of one event, so that one encoding serves all watchers that want the same form.
///
/// Forms are few (served version × answer shape × media type), so it is a list and not a map.
#[derive(Debug, Default)]
pub struct Memo(Mutex<Vec<(u64, Bytes)>>);

impl Memo {
    /// The encoding known under `form`, made by `encode` when nobody did before. A caller that races another one waits for it.
    pub fn get_or_insert(&self, form: u64, encode: impl FnOnce() -> Bytes) -> Bytes {
        let mut forms = self.0.lock();
        if let Some((_, bytes)) = forms.iter().find(|(known, _)| *known == form) {
            return bytes.clone();
        }
        let bytes = encode();
        forms.push((form, bytes.clone()));
        bytes
    }
}
