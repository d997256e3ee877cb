//! The embedded engine passes what every engine has to pass, in small and in ordinary sizes.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use atoll_store::conformance;
use common::Embedded;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_ordinary_budgets() {
    conformance::run(|| Embedded::new(|_| {})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_budgets_so_small_that_everything_overflows() {
    conformance::run(|| Embedded::new(common::tiny)).await;
}
