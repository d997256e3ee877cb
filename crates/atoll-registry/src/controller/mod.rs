//! The one shape of every controller, and the driver that runs them all.
//!
//! A controller is woken by the log's events and by a slow timer alike, is given only a key, reads what is, computes
//! what should be and appends the difference. So it is idempotent, remembers nothing, and may be restarted at any
//! instant. One consumer of the log feeds all controllers of a [`Driver`], however many workspaces there are.

mod driver;
mod queue;

use std::time::Duration;

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status};
use atoll_store::Event;

pub use driver::{Driver, Metrics, MetricsReader};

use crate::{ObjectKey, Registry};

/// What to do after a reconcile that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing until the next event.
    Done,
    /// Look again after this long (what is waited for makes no event).
    After(Duration),
}

/// One controller.
#[async_trait]
pub trait Controller: Send + Sync + 'static {
    /// Its name in metrics and logs.
    fn name(&self) -> &'static str;

    /// The resources whose events it wants, whatever their identity; empty means all.
    fn resources(&self) -> Vec<GroupResource>;

    /// Turns an event into keys to look at. Called on the log consumer's task, so it decides from the event alone.
    fn wake(&self, event: &Event, key: &ObjectKey<'_>, enqueue: &mut dyn FnMut(String));

    /// The keys with work pending, found by an index: asked at start, when the log was lost, and on the slow timer.
    fn pending(&self, registry: &Registry, enqueue: &mut dyn FnMut(String)) -> Result<(), Status>;

    /// Brings the world of one key one step nearer to what it should be.
    async fn reconcile(&self, registry: &Registry, key: &str) -> Result<Next, Status>;

    /// How many keys may be worked on at once. Never two of the same.
    fn parallel(&self) -> usize {
        4
    }

    /// The slow timer.
    fn resync(&self) -> Duration {
        Duration::from_secs(600)
    }
}
