//! How much is computed and kept, counted: never more than there are distinct inputs.

use super::*;
use std::borrow::Cow;

/// A million destinations that cost nothing: names in order, `region` one of twenty.
pub(super) struct Many {
    pub(super) count: u32,
    regions: Vec<Destinations>,
}

impl Many {
    pub(super) fn new(count: u32) -> Self {
        let regions = (0..20).map(|r| (r..count).step_by(20).collect());
        Many {
            count,
            regions: regions.collect(),
        }
    }
}

impl Roster for Many {
    fn name(&self, destination: Destination) -> Cow<'_, str> {
        format!("edge-{:07}", destination.0).into()
    }

    fn label(&self, destination: Destination, key: &str) -> Option<Cow<'_, str>> {
        (key == "region").then(|| format!("r{:02}", destination.0 % 20).into())
    }

    fn labels(&self, destination: Destination) -> Labels {
        labels(&[("region", &format!("r{:02}", destination.0 % 20))])
    }

    fn len(&self) -> usize {
        self.count as usize
    }

    fn by_name(&self) -> Box<dyn Iterator<Item = Destination> + '_> {
        Box::new((0..self.count).map(Destination))
    }

    fn divide(
        &self,
        set: &Destinations,
        key: &str,
    ) -> Option<Vec<(Option<Arc<str>>, Destinations)>> {
        if key != "region" {
            return Some(vec![(None, set.clone())]);
        }
        let parts = self.regions.iter().enumerate();
        Some(
            parts
                .map(|(r, members)| (Some(format!("r{r:02}").into()), set & members))
                .filter(|(_, part)| !part.is_empty())
                .collect(),
        )
    }
}

pub(super) fn by_region() -> Arc<Collector> {
    collector(
        json!({"filter": "has(returned.status.ready)", "groupBy": [{"name": "region", "def": "inventory.labels.region"}], "combinedFields": [
        {"name": "n", "type": "COUNT"}, {"name": "ready", "type": "SUM", "subject": "returned.status.ready"}, {"name": "share", "type": "AVG", "subject": "returned.status.ready / 2.0"},
        {"name": "most", "type": "MAX", "subject": "returned.status.restarts"}]}),
    )
}

#[test]
fn an_expression_runs_once_for_each_distinct_reading() {
    let roster = Many::new(1000);
    let mut evaluator = Evaluator::new(by_region());
    let mut projections = Projections::new();
    let mut aggregate = Aggregate::new(&mut evaluator, Subject::new(json!({})));
    // Four statuses, two of which look the same to every expression, at destinations of 20 regions.
    let statuses: Vec<Arc<Projection>> = [
        json!({"ready": 1.0, "restarts": 0}),
        json!({"ready": 2.0, "restarts": 0}),
        json!({"ready": 2.0, "restarts": 5}),
        json!({"ready": 2.0, "restarts": 5, "unread": 1}),
    ]
    .iter()
    .map(|status| projections.intern(&status.to_string()))
    .collect();
    for i in 0..1000u32 {
        let sample = Sample::of(&statuses[i as usize % 4]);
        aggregate.change_one(&mut evaluator, &roster, Destination(i), None, Some(sample));
    }
    // The filter: it is there; the regions: 20; sum and share: 2 values each; restarts: 2.
    assert_eq!(evaluator.stats().evaluations, 1 + 20 + 2 + 2 + 2);
    for i in 0..1000u32 {
        let sample = |k: u32| Some(Sample::of(&statuses[(i + k) as usize % 4]));
        aggregate.change_one(
            &mut evaluator,
            &roster,
            Destination(i),
            sample(0),
            sample(1),
        );
    }
    assert_eq!(evaluator.stats().evaluations, 27, "nothing new was read");
    assert_eq!(aggregate.passing(), 1000);
}

#[test]
fn forgetting_changes_nothing_but_the_work() {
    let roster = Many::new(200);
    let mut projections = Projections::new();
    let mut states = Vec::new();
    for budget in [0, 2_000, 1 << 20] {
        let mut evaluator = Evaluator::with_budget(by_region(), budget);
        let mut aggregate = Aggregate::new(&mut evaluator, Subject::new(json!({})));
        for round in 0..3u32 {
            for i in 0..200u32 {
                let status = |r: u32| projections_text(r * 7 + i % 13);
                let old = (round > 0).then(|| projections.intern(&status(round - 1)));
                let new = projections.intern(&status(round));
                aggregate.change_one(
                    &mut evaluator,
                    &roster,
                    Destination(i),
                    old.as_deref().map(Sample::of),
                    Some(Sample::of(&new)),
                );
            }
        }
        assert_eq!(evaluator.stats().forgotten > 0, budget < 1 << 20);
        states.push(aggregate);
    }
    assert!(states.windows(2).all(|pair| pair[0] == pair[1]));
}

fn projections_text(n: u32) -> String {
    json!({"ready": n % 3, "restarts": n}).to_string()
}

#[test]
fn a_million_copies_cost_what_is_distinct_among_them() {
    let roster = Many::new(1_000_000);
    let mut evaluator = Evaluator::new(by_region());
    let mut selection = Evaluator::new(collector(
        json!({"limit": 20, "filter": "returned.status.ready < 2", "select": [{"name": "who", "def": "inventory.name"}, {"name": "ready", "def": "returned.status.ready"}]}),
    ));
    let mut projections = Projections::new();
    let statuses: Vec<Arc<Projection>> = (0..50)
        .map(|n| projections.intern(&json!({"ready": n % 3, "restarts": n}).to_string()))
        .collect();
    let sets: Vec<Destinations> = (0..50u32)
        .map(|n| (n * 20_000..(n + 1) * 20_000).collect())
        .collect();
    let copies = || {
        statuses
            .iter()
            .zip(&sets)
            .map(|(p, set)| (Sample::of(p.as_ref()), set))
    };
    let object = Subject::new(json!({}));
    let mut aggregate = Aggregate::build(&mut evaluator, &roster, object.clone(), copies());
    let mut selected = Aggregate::build(&mut selection, &roster, object, copies());
    assert_eq!(
        (aggregate.copies(), aggregate.passing()),
        (1_000_000, 1_000_000)
    );
    let first = evaluator.stats();
    assert_eq!(first.evaluations, 1 + 20 + 3 + 3 + 50);
    assert!(
        first.bytes + aggregate.bytes() < 1 << 20,
        "{} + {}",
        first.bytes,
        aggregate.bytes()
    );
    assert!(selected.bytes() < 256 << 10, "{}", selected.bytes());
    // Ten thousand destinations report something new: one evaluation of each expression that reads it.
    let news = projections.intern(&json!({"ready": 7, "restarts": 7}).to_string());
    let set: Destinations = (5_000..15_000).collect();
    let (old, new) = (Some(Sample::of(&statuses[0])), Some(Sample::of(&news)));
    assert!(aggregate.change(&mut evaluator, &roster, &set, old, new));
    assert!(selected.change(&mut selection, &roster, &set, old, new));
    assert_eq!(
        evaluator.stats().evaluations - first.evaluations,
        2,
        "ready and ready / 2.0; the rest was seen before"
    );
    let reported = |d: Destination| {
        Some((
            if set.contains(d.0) {
                &news
            } else {
                &statuses[(d.0 / 20_000) as usize]
            }
            .clone(),
            None,
        ))
    };
    let table = aggregate.table(&mut evaluator, &roster, &reported);
    assert_eq!((table.rows.len(), table.total), (20, 20));
    let table = selected.table(&mut selection, &roster, &reported);
    assert_eq!(
        (table.rows.len() as u64, table.total),
        (20, selected.passing())
    );
    assert_eq!(
        selection.stats().row_evaluations,
        40,
        "only the shown rows are computed"
    );
    let again = Aggregate::build(&mut evaluator, &roster, Subject::new(json!({})), copies());
    assert_ne!(again, aggregate);
    assert!(aggregate.change(&mut evaluator, &roster, &set, new, old));
    assert_eq!(again, aggregate, "taken back, it is as it was");
}
