//! How fast it is: run by hand, in release. `cargo test --release -p atoll-placement algebra::tests::speed -- --ignored --nocapture`

use std::time::Instant;

use super::counts::{Many, by_region};
use super::*;

#[test]
#[ignore = "measures, asserts nothing"]
fn changes_and_reading_at_a_million() {
    let roster = Many::new(1_000_000);
    let mut evaluator = Evaluator::new(by_region());
    let mut projections = Projections::new();
    let statuses: Vec<Arc<Projection>> = (0..50)
        .map(|n| projections.intern(&json!({"ready": n % 3, "restarts": n}).to_string()))
        .collect();
    let sets: Vec<Destinations> = (0..50u32)
        .map(|n| (n..1_000_000).step_by(50).collect())
        .collect();
    let start = Instant::now();
    let copies = statuses
        .iter()
        .zip(&sets)
        .map(|(p, set)| (Sample::of(p.as_ref()), set));
    let mut aggregate = Aggregate::build(&mut evaluator, &roster, Subject::new(json!({})), copies);
    println!("built from 50 columns of 20,000: {:?}", start.elapsed());
    let (start, changes) = (Instant::now(), 1_000_000u32);
    for i in 0..changes {
        let at = i.wrapping_mul(2_654_435_761) % 1_000_000;
        let old = Sample::of(&statuses[at as usize % 50]);
        let new = Sample::of(&statuses[(at as usize + 1) % 50]);
        aggregate.change_one(
            &mut evaluator,
            &roster,
            Destination(at),
            Some(old),
            Some(new),
        );
        aggregate.change_one(
            &mut evaluator,
            &roster,
            Destination(at),
            Some(new),
            Some(old),
        );
    }
    let each = start.elapsed() / (2 * changes);
    println!(
        "one status change: {each:?} ({:.0} a second)",
        1.0 / each.as_secs_f64()
    );
    let start = Instant::now();
    let table = aggregate.table(&mut evaluator, &roster, &|_| None);
    println!(
        "group-by over 1,000,000 copies, read: {:?}, {} rows",
        start.elapsed(),
        table.total
    );
    println!(
        "evaluations {}, bytes {} + {}",
        evaluator.stats().evaluations,
        evaluator.stats().bytes,
        aggregate.bytes()
    );
}
