//! What takes long is done without keeping others from being served.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does work that is nearly always short: first with a small budget, where it stands; then, if that did not suffice (the second value of what `work`
/// gives), with the whole budget and out of the way of other requests.
pub(crate) fn twice<T>(small: u64, whole: u64, mut work: impl FnMut(u64) -> (T, bool)) -> T {
    let (done, exhausted) = work(small.min(whole));
    if !exhausted || small >= whole {
        return done;
    }
    long(|| work(whole).0)
}

/// Does work that may be long, out of the way of other requests.
pub(crate) fn long<T>(work: impl FnOnce() -> T) -> T {
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
