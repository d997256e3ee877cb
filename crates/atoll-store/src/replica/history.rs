//! How far back anybody can read: the floor, and the readers that hold history alive.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::gc::Watermark;
use crate::Revision;

/// The floor and the pins. History at or above the floor, or above the oldest pin, is never dropped.
#[derive(Debug, Default)]
pub(crate) struct History {
    state: Mutex<State>,
    watermark: Arc<Watermark>,
}

#[derive(Debug, Default)]
struct State {
    floor: Revision,
    pins: BTreeMap<Revision, usize>,
}

/// Keeps the history from its revision on while it lives.
#[derive(Debug)]
pub(crate) struct Pin {
    history: Arc<History>,
    revision: Revision,
}

impl History {
    pub(crate) fn watermark(&self) -> Arc<Watermark> {
        Arc::clone(&self.watermark)
    }

    /// The oldest revision that can be read.
    pub(crate) fn floor(&self) -> Revision {
        self.state.lock().floor
    }

    /// Holds on to a revision; the floor when that is gone already.
    pub(crate) fn pin(self: &Arc<Self>, revision: Revision) -> Result<Pin, Revision> {
        let mut state = self.state.lock();
        if revision < state.floor {
            return Err(state.floor);
        }
        *state.pins.entry(revision).or_default() += 1;
        Ok(Pin {
            history: Arc::clone(self),
            revision,
        })
    }

    /// Declares everything below `floor` unreadable for new readers. The log has to say so first.
    pub(crate) fn raise_floor(&self, floor: Revision) {
        let mut state = self.state.lock();
        state.floor = state.floor.max(floor);
    }

    /// Lets go of what neither the floor nor a reader needs. Returns the revision below which nothing is kept.
    pub(crate) fn forget(&self) -> Revision {
        let state = self.state.lock();
        let oldest = state.pins.keys().next().copied().unwrap_or(state.floor);
        self.watermark.raise(oldest.min(state.floor));
        self.watermark.get()
    }
}

impl Pin {
    pub(super) fn revision(&self) -> Revision {
        self.revision
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = self.history.state.lock();
        if let Some(count) = state.pins.get_mut(&self.revision) {
            *count -= 1;
            if *count == 0 {
                state.pins.remove(&self.revision);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_holds_its_history() {
        let history = Arc::new(History::default());
        history.raise_floor(Revision(5));
        assert_eq!(history.pin(Revision(4)).err(), Some(Revision(5)));
        let reader = history.pin(Revision(6)).unwrap();
        let same = history.pin(Revision(6)).unwrap();
        history.raise_floor(Revision(9));
        assert_eq!(history.forget(), Revision(6));
        drop(reader);
        assert_eq!(history.forget(), Revision(6));
        drop(same);
        assert_eq!(history.forget(), Revision(9));
    }
}
