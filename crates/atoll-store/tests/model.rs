//! Whatever happens to a store, it agrees with a model of thirty lines.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use atoll_store::conformance::model::{CheckKind, KEYS, Op, agrees};
use common::Embedded;
use proptest::prelude::*;

fn row() -> impl Strategy<Value = Option<String>> {
    let words = prop::collection::vec(
        prop::sample::select(vec!["red", "green", "blue", "r", "\u{0}odd"]),
        0..3,
    );
    prop_oneof![
        3 => (words, 0..40usize).prop_map(|(words, padding)| Some(format!("{} {}", words.join(" "), "x".repeat(padding)))),
        1 => Just(None),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let checks = prop::sample::select(vec![
        None,
        None,
        Some(CheckKind::Absent),
        Some(CheckKind::Exists),
        Some(CheckKind::Current),
    ]);
    let changes = || prop::collection::vec((0..KEYS, row()), 1..3);
    let append = (changes(), checks).prop_map(|(changes, check)| Op::Append(changes, check));
    let together = prop::collection::vec(changes(), 2..12).prop_map(Op::Together);
    prop_oneof![30 => append, 10 => together, 1 => Just(Op::Reopen), 1 => Just(Op::Crash), 1 => Just(Op::Forget), 4 => Just(Op::Read)]
}

fn cases() -> u32 {
    std::env::var("ATOLL_MODEL_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_agrees_with_the_model(ops in prop::collection::vec(op(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut engine = Embedded::new(common::tiny);
            agrees(&mut engine, &ops).await;
        });
    }
}
