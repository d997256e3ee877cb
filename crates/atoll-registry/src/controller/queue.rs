//! A controller's queue: each key at most once, never worked on twice at a time, failures retried with growing delay.
//!
//! Plain data: the caller passes the time. Memory follows the keys that are pending, running or backing off.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

const FIRST_DELAY: Duration = Duration::from_millis(5);
const LAST_DELAY: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Queue {
    ready: VecDeque<String>,
    later: BTreeSet<(Instant, String)>,
    keys: HashMap<String, State>,
}

#[derive(Default)]
struct State {
    /// In `ready`.
    ready: bool,
    /// In `later`, at this time.
    later: Option<Instant>,
    /// Handed out and not finished.
    running: bool,
    /// Asked for while running.
    again: bool,
    failures: u32,
}

impl State {
    fn idle(&self) -> bool {
        !self.ready && !self.running && self.later.is_none()
    }
}

impl Queue {
    /// Asks for `key` now.
    pub(super) fn add(&mut self, key: String) {
        let state = self.keys.entry(key.clone()).or_default();
        if state.running {
            state.again = true;
        } else if !state.ready {
            // A key that failed keeps its delay: events must not turn backing off into a busy loop.
            if state.failures > 0 && state.later.is_some() {
                return;
            }
            if let Some(at) = state.later.take() {
                self.later.remove(&(at, key.clone()));
            }
            state.ready = true;
            self.ready.push_back(key);
        }
    }

    /// The next key to work on.
    pub(super) fn take(&mut self, now: Instant) -> Option<String> {
        while let Some((at, _)) = self.later.first()
            && *at <= now
        {
            let Some((_, key)) = self.later.pop_first() else {
                break;
            };
            if let Some(state) = self.keys.get_mut(&key) {
                state.later = None;
                state.ready = true;
                self.ready.push_back(key);
            }
        }
        let key = self.ready.pop_front()?;
        if let Some(state) = self.keys.get_mut(&key) {
            state.ready = false;
            state.running = true;
        }
        Some(key)
    }

    /// When the next delayed key falls due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Work on `key` ended well; `after` asks for it again later.
    pub(super) fn done(&mut self, key: &str, after: Option<Instant>) {
        self.finish(key, after, false);
    }

    /// Work on `key` failed.
    pub(super) fn failed(&mut self, key: &str, now: Instant) {
        let failures = self.keys.get(key).map_or(0, |s| s.failures);
        let delay = FIRST_DELAY
            .saturating_mul(1 << failures.min(14))
            .min(LAST_DELAY);
        self.finish(key, Some(now + delay), true);
    }

    fn finish(&mut self, key: &str, after: Option<Instant>, failed: bool) {
        let Some(state) = self.keys.get_mut(key) else {
            return;
        };
        state.running = false;
        state.failures = if failed {
            state.failures.saturating_add(1)
        } else {
            0
        };
        let again = std::mem::take(&mut state.again);
        if again && !failed {
            state.ready = true;
            self.ready.push_back(key.to_owned());
        } else if let Some(at) = after {
            state.later = Some(at);
            self.later.insert((at, key.to_owned()));
        }
        if state.idle() {
            self.keys.remove(key);
        }
    }

    /// Keys that are waiting or running.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_queued_once_and_never_runs_twice_at_a_time() {
        let now = Instant::now();
        let mut q = Queue::default();
        q.add("a".into());
        q.add("a".into());
        assert_eq!(q.take(now).as_deref(), Some("a"));
        assert_eq!(q.take(now), None);
        q.add("a".into());
        assert_eq!(q.take(now), None, "it is running");
        q.done("a", None);
        assert_eq!(q.take(now).as_deref(), Some("a"), "asked for while running");
        q.done("a", None);
        assert_eq!(q.len(), 0);
    }

    #[test]
    fn failures_back_off_and_success_forgets_them() {
        let now = Instant::now();
        let mut q = Queue::default();
        q.add("a".into());
        q.take(now);
        q.failed("a", now);
        q.add("a".into());
        assert_eq!(q.take(now), None, "events do not shorten the delay");
        assert_eq!(q.next_due(), Some(now + FIRST_DELAY));
        assert_eq!(q.take(now + FIRST_DELAY).as_deref(), Some("a"));
        q.failed("a", now);
        assert_eq!(q.next_due(), Some(now + 2 * FIRST_DELAY));
        q.take(now + 2 * FIRST_DELAY);
        q.done("a", None);
        assert_eq!(q.len(), 0);
    }
}
