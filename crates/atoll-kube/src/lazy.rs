//! A value made when it is first looked at, so that a kind nobody uses costs nothing.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

type Make<T> = Box<dyn FnOnce() -> T + Send>;

/// A shared value that is made on first use. Dereferences to it; cloning shares it.
pub struct Lazy<T>(Arc<LazyLock<T, Make<T>>>);

impl<T: Send + 'static> Lazy<T> {
    /// A value that exists already.
    pub fn ready(value: T) -> Self {
        let lazy = Self::new(move || value);
        LazyLock::force(&lazy.0);
        lazy
    }
}

impl<T> Lazy<T> {
    /// A value that `make` makes on first use.
    pub fn new(make: impl FnOnce() -> T + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(make))))
    }
}

impl<T> Deref for Lazy<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Lazy<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Lazy<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lazy") // the value is not forced to be shown
    }
}
