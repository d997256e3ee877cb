//! The threads of what nobody waits for: controllers (deletion, garbage) and the long requests (deleting a collection).
//!
//! The kernel lets every other thread go first, so a person who deletes ten thousand workspaces is not noticed by the
//! others: what is left of the processors is used, and no request queues behind the work.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// How far behind requests (0), of at most 19: about a tenth of their share of a processor when both want it.
const NICENESS: i32 = 10;

/// A runtime of its own, stopped when dropped.
pub(crate) struct Background {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Background {
    /// Starts the threads, as many as there are processors.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub(crate) fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .thread_name("background")
            .on_thread_start(give_way)
            .enable_all()
            .build()?;
        Ok(Self {
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
        })
    }

    /// Where to spawn.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // A runtime may not wait for its threads inside another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Linux keeps a niceness per thread; elsewhere it is of the whole process, and left alone.
fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICENESS) {
        tracing::warn!(%error, "background work competes with requests");
    }
}
