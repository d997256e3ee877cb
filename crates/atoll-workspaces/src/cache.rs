//! A cache with a fixed budget in bytes that never keeps what an event has made old.
//!
//! Hot path: a hit is one lookup. The race between a load and the event that outdates it is settled by epochs: an
//! eviction moves the key's epoch, and a load whose epoch moved meanwhile is used once and not kept.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// Epochs are shared by the keys that hash alike; a collision costs one load.
const EPOCHS: usize = 1024;

/// What a cached value weighs.
pub(crate) trait Weigh {
    /// Bytes held, without the key.
    fn weight(&self) -> usize;
}

#[derive(Clone)]
struct Bytes;

impl<V: Weigh> Weighter<Box<str>, V> for Bytes {
    fn weight(&self, key: &Box<str>, value: &V) -> u64 {
        (key.len() + value.weight() + 64) as u64
    }
}

/// Values by name, cheap to clone.
pub(crate) struct EventedCache<V: Weigh + Clone> {
    cache: Cache<Box<str>, V, Bytes>,
    epochs: Box<[AtomicU32]>,
    hasher: RandomState,
}

impl<V: Weigh + Clone> EventedCache<V> {
    /// A cache of at most `budget` bytes.
    pub(crate) fn new(budget: u64) -> Self {
        let typical = (budget / 512).max(64);
        EventedCache {
            cache: Cache::with_weighter(
                usize::try_from(typical).unwrap_or(usize::MAX),
                budget,
                Bytes,
            ),
            epochs: (0..EPOCHS).map(|_| AtomicU32::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// What is cached.
    pub(crate) fn get(&self, key: &str) -> Option<V> {
        self.cache.get(key)
    }

    /// What is cached, else what `load` finds, which is then kept. What does not exist is not kept.
    pub(crate) fn get_or_load<E>(
        &self,
        key: &str,
        load: impl FnOnce() -> Result<Option<V>, E>,
    ) -> Result<Option<V>, E> {
        match self.get(key) {
            Some(value) => Ok(Some(value)),
            None => self.load(key, load),
        }
    }

    /// What `load` finds now, kept in place of what was cached.
    pub(crate) fn load<E>(
        &self,
        key: &str,
        load: impl FnOnce() -> Result<Option<V>, E>,
    ) -> Result<Option<V>, E> {
        let epoch = self.epoch(key);
        let before = epoch.load(Ordering::Acquire);
        let value = load()?;
        if let Some(value) = &value {
            self.cache.insert(key.into(), value.clone());
            if epoch.load(Ordering::Acquire) != before {
                self.cache.remove(key);
            }
        }
        Ok(value)
    }

    /// Forgets one key, now and for loads on their way.
    pub(crate) fn evict(&self, key: &str) {
        self.epoch(key).fetch_add(1, Ordering::AcqRel);
        self.cache.remove(key);
    }

    /// Forgets everything: events were missed.
    pub(crate) fn clear(&self) {
        for epoch in &self.epochs {
            epoch.fetch_add(1, Ordering::AcqRel);
        }
        self.cache.clear();
    }

    fn epoch(&self, key: &str) -> &AtomicU32 {
        let slot = self.hasher.hash_one(key) as usize % self.epochs.len();
        &self.epochs[slot]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Weigh for u32 {
        fn weight(&self) -> usize {
            4
        }
    }

    fn found(value: u32) -> Result<Option<u32>, ()> {
        Ok(Some(value))
    }

    #[test]
    fn a_load_that_an_event_overtook_is_not_kept() {
        let cache = EventedCache::new(1 << 16);
        assert_eq!(
            cache.get_or_load("a", || {
                cache.evict("a");
                found(1)
            }),
            Ok(Some(1))
        );
        assert_eq!(cache.get("a"), None);
        assert_eq!(cache.get_or_load("a", || found(2)), Ok(Some(2)));
        assert_eq!(cache.get_or_load("a", || found(3)), Ok(Some(2)));
        cache.evict("a");
        assert_eq!(cache.get("a"), None);
    }

    #[test]
    fn absence_is_asked_again_and_clearing_forgets_all() {
        let cache = EventedCache::<u32>::new(1 << 16);
        assert_eq!(cache.get_or_load("a", || Ok::<_, ()>(None)), Ok(None));
        assert_eq!(cache.get_or_load("a", || found(1)), Ok(Some(1)));
        cache.clear();
        assert_eq!(cache.get("a"), None);
    }

    #[test]
    fn the_budget_holds_however_many_keys_come() {
        let cache = EventedCache::new(1 << 14);
        for n in 0..10_000u32 {
            let _ = cache.load(&format!("key-{n}"), || found(n));
        }
        assert!(cache.cache.weight() <= 1 << 14, "{}", cache.cache.weight());
    }
}
