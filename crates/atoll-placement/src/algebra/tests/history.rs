//! Whatever happened, the state is what a recomputation gives, and what parts hand on adds up to the whole.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::algebra::board::{Board, Copies, Entry, View};
use crate::algebra::partial::PartialRows;

const DESTINATIONS: u32 = 14;
const REGIONS: [&str; 3] = ["", "eu", "us"];

fn specs() -> Vec<Value> {
    vec![
        json!({"combinedFields": [{"name": "n", "type": "COUNT"}]}),
        json!({"groupBy": [{"name": "region", "def": "inventory.labels.region"}], "combinedFields": [
            {"name": "n", "type": "COUNT"}, {"name": "sum", "type": "SUM", "subject": "returned.status.x"}, {"name": "avg", "type": "AVG", "subject": "returned.status.x"},
            {"name": "min", "type": "MIN", "subject": "returned.status.x"}, {"name": "max", "type": "MAX", "subject": "returned.status.x"}]}),
        json!({"filter": "returned.status.x > obj.spec.least", "groupBy": [{"name": "x", "def": "returned.status.x"}], "combinedFields": [
            {"name": "top", "type": "TOP", "subject": "returned.status.word"}, {"name": "distinct", "type": "APPROX_COUNT_DISTINCT", "subject": "returned.status.word"},
            {"name": "median", "type": "APPROX_QUANTILE", "subject": "returned.status.x", "quantile": 0.5}]}),
        json!({"limit": 3, "filter": "returned.status.x != 2", "select": [{"name": "who", "def": "inventory.name"}, {"name": "x", "def": "returned.status.x"},
            {"name": "where", "def": "inventory.labels.region"}]}),
        json!({"groupBy": [{"name": "last", "def": "inventory.name.endsWith('3')"}, {"name": "labels", "def": "inventory.labels.size()"}],
            "combinedFields": [{"name": "sum", "type": "SUM", "subject": "returned.status.x"}]}),
        json!({"filter": "propagation.lastReturnedUpdateTimestamp > timestamp('1970-01-01T00:00:00Z')", "groupBy": [{"name": "region", "def": "inventory.labels.region"}],
            "combinedFields": [{"name": "sum", "type": "SUM", "subject": "returned.status.x"}]}),
        json!({"select": [{"name": "who", "def": "inventory.name"}, {"name": "when", "def": "propagation.lastReturnedUpdateTimestamp"}]}),
    ]
}

fn statuses() -> Vec<Value> {
    vec![
        json!({}),
        json!({"x": 1, "word": "a"}),
        json!({"x": 2, "word": "b"}),
        json!({"x": 0.1, "word": "b"}),
        json!({"x": 1e300}),
        json!({"x": -1e300, "word": null}),
        json!({"x": "3", "word": ["a"]}),
        json!({"x": "three", "word": {"b": 1}}),
        json!({"x": true}),
    ]
}

#[derive(Debug, Clone)]
enum Event {
    Report(u32, Vec<u32>, Option<usize>, Option<i64>),
    Label(u32, usize, bool),
    Place(u32, u32, BTreeSet<u32>, BTreeSet<u32>, i64),
    Collector(u32, Option<usize>),
    /// One destination joins a placement, or leaves it.
    Move(u32, u32, u32),
    Ask(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let set = || proptest::collection::btree_set(0..DESTINATIONS, 0..DESTINATIONS as usize);
    prop_oneof![
        8 => (0u32..2, proptest::collection::vec(0..DESTINATIONS, 1..6), proptest::option::weighted(0.8, 0..statuses().len()), proptest::option::of(-1i64..3))
            .prop_map(|(object, at, status, time)| Event::Report(object, at, status, time)),
        3 => (0..DESTINATIONS, 0usize..3, any::<bool>()).prop_map(|(at, region, other)| Event::Label(at, region, other)),
        3 => (0u32..2, 0u32..2, set(), proptest::collection::btree_set(0u32..3, 0..3), -1i64..2)
            .prop_map(|(object, policy, members, collectors, least)| Event::Place(object, policy, members, collectors, least)),
        2 => (0u32..3, proptest::option::weighted(0.9, 0..specs().len())).prop_map(|(id, spec)| Event::Collector(id, spec)),
        4 => (0u32..2, 0u32..2, 0..DESTINATIONS).prop_map(|(object, policy, at)| Event::Move(object, policy, at)),
        3 => (0u64..8).prop_map(Event::Ask),
    ]
}

/// What a test's world is, beside the board.
struct World {
    roster: PlainRoster,
    plain: Plain,
    board: Board<u32, u32, u32>,
    placed: BTreeMap<(u32, u32), Entry<u32>>,
    collectors: BTreeMap<u32, Arc<Collector>>,
}

impl World {
    fn new(memory: usize) -> Self {
        let mut roster = PlainRoster::new();
        for i in 0..DESTINATIONS {
            // Names are not in the order of indexes.
            let name = format!("edge-{}", (i * 5) % DESTINATIONS);
            roster.set(Destination(i), &name, Labels::new());
        }
        World {
            roster,
            plain: Plain::default(),
            board: Board::with_memory(memory),
            placed: BTreeMap::new(),
            collectors: BTreeMap::new(),
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Report(object, at, status, time) => {
                let status = status.map(|i| statuses()[i].clone());
                let time = time.map(|second| Timestamp(second * 1000));
                type Old = Option<board::Report>;
                type Told = Option<(u64, Option<Timestamp>)>;
                let mut sets: BTreeMap<Told, (Old, Destinations)> = BTreeMap::new();
                for destination in at.into_iter().collect::<BTreeSet<u32>>() {
                    let old = self.plain.set(object, destination, status.as_ref(), time);
                    let entry = sets.entry(old.as_ref().map(|old| (old.0.number(), old.1)));
                    let (_, set) = entry.or_insert_with(|| (old, Destinations::new()));
                    set.insert(destination);
                }
                let new: Old =
                    status.map(|status| (self.plain.projections.intern(&status.to_string()), time));
                for (old, set) in sets.into_values() {
                    let (old, new) = (old.as_ref().map(sample), new.as_ref().map(sample));
                    self.board.report(&self.roster, object, &set, old, new);
                }
            }
            Event::Label(at, region, other) => {
                let mut new = Labels::new();
                if region > 0 {
                    new.insert("region".into(), REGIONS[region].into());
                }
                if other {
                    new.insert("other".into(), "x".into());
                }
                let name = self.roster.name(Destination(at)).into_owned();
                let old = self
                    .roster
                    .set(Destination(at), &name, new.clone())
                    .unwrap();
                let view = View {
                    roster: &self.roster,
                    copies: &self.plain,
                };
                self.board.relabel(view, Destination(at), &old, &new);
            }
            Event::Place(object, policy, members, collectors, least) => {
                let entry = (!members.is_empty()).then(|| Entry {
                    subject: Subject::new(json!({"spec": {"least": least}})),
                    members: Arc::new(members.into_iter().collect()),
                    collectors,
                });
                match &entry {
                    Some(entry) if !entry.collectors.is_empty() => {
                        self.placed.insert((object, policy), entry.clone())
                    }
                    _ => self.placed.remove(&(object, policy)),
                };
                let view = View {
                    roster: &self.roster,
                    copies: &self.plain,
                };
                self.board.set_entry(view, object, policy, entry);
            }
            Event::Collector(id, spec) => {
                let spec = spec.map(|i| collector(specs()[i].clone()));
                match &spec {
                    Some(spec) => self.collectors.insert(id, spec.clone()),
                    None => self.collectors.remove(&id),
                };
                self.board.set_collector(id, spec);
            }
            Event::Move(object, policy, at) => {
                let Some(mut entry) = self.placed.get(&(object, policy)).cloned() else {
                    return;
                };
                let members = Arc::make_mut(&mut entry.members);
                if !members.remove(at) {
                    members.insert(at);
                }
                self.placed.insert((object, policy), entry.clone());
                let view = View {
                    roster: &self.roster,
                    copies: &self.plain,
                };
                self.board.set_entry(view, object, policy, Some(entry));
            }
            Event::Ask(steps) => {
                let view = View {
                    roster: &self.roster,
                    copies: &self.plain,
                };
                self.board.work(view, steps);
                if steps == 0 {
                    self.board.take_dirty(view);
                }
            }
        }
    }

    /// The samples of an entry's copies, one destination at a time.
    fn samples(&self, object: u32, members: &Destinations) -> Vec<(board::Report, Destinations)> {
        let reported = |at: u32| {
            Some((
                self.plain.report(object, Destination(at))?,
                Destinations::from_iter([at]),
            ))
        };
        members.iter().filter_map(reported).collect()
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let view = View {
            roster: &self.roster,
            copies: &self.plain,
        };
        while self.board.work(view, 1) {}
        let entries: Vec<_> = self.board.entries().collect();
        prop_assert_eq!(&entries, &self.placed.keys().copied().collect::<Vec<_>>());
        for (key, entry) in &self.placed {
            let view = View {
                roster: &self.roster,
                copies: &self.plain,
            };
            let tables = self.board.tables(view, key.0, key.1).unwrap();
            let partials = self.board.partials(view, key.0, key.1).unwrap();
            let wanted: Vec<u32> = entry
                .collectors
                .iter()
                .copied()
                .filter(|id| self.collectors.contains_key(id))
                .collect();
            prop_assert_eq!(tables.iter().map(|(id, _)| *id).collect::<Vec<_>>(), wanted);
            let samples = self.samples(key.0, &entry.members);
            for ((id, table), (_, partial)) in tables.iter().zip(&partials) {
                let held = self.board.aggregate(key.0, key.1, id).unwrap();
                prop_assert!(held.is_consistent());
                prop_assert_eq!(held.copies(), samples.len() as u64);
                // From scratch, in another order, remembering nothing.
                let reported = |d| self.plain.report(key.0, d);
                let mut evaluator = Evaluator::with_budget(self.collectors[id].clone(), 0);
                let all = samples.iter().rev().map(|(p, set)| (sample(p), set));
                let fresh =
                    Aggregate::build(&mut evaluator, &self.roster, entry.subject.clone(), all);
                prop_assert_eq!(held, &fresh);
                prop_assert_eq!(table, &fresh.table(&mut evaluator, &self.roster, &reported));
                prop_assert_eq!(table, &partial.table(&self.collectors[id]));
                prop_assert!(partial.fits(&self.collectors[id]));
                let mut from_nothing = Partial::empty(&self.collectors[id]);
                from_nothing.merge(partial);
                prop_assert_eq!(&from_nothing, partial);
                // In parts, merged and sent.
                for parts in 2..4usize {
                    let mut merged: Option<Partial> = None;
                    for part in 0..parts {
                        let some = samples
                            .iter()
                            .enumerate()
                            .filter(|(i, _)| i % parts == part)
                            .map(|(_, (p, set))| (sample(p), set));
                        let piece = Aggregate::build(
                            &mut evaluator,
                            &self.roster,
                            entry.subject.clone(),
                            some,
                        );
                        let piece = piece.partial(&mut evaluator, &self.roster, &reported);
                        let sent = Partial::decode(&piece.encode());
                        prop_assert_eq!(sent.as_ref(), Some(&piece));
                        match &mut merged {
                            None => merged = sent,
                            Some(merged) => merged.merge(&piece),
                        }
                    }
                    let merged = merged.unwrap();
                    prop_assert_eq!(&merged, partial);
                    prop_assert_eq!(merged.encode(), partial.encode());
                }
                self.check_plainly(table, &self.collectors[id], &samples)?;
            }
        }
        Ok(())
    }

    /// The first two collectors once more, without any of the machinery.
    fn check_plainly(
        &self,
        table: &Table,
        asked: &Collector,
        samples: &[(board::Report, Destinations)],
    ) -> Result<(), TestCaseError> {
        if *asked == *collector(specs()[0].clone()) {
            prop_assert_eq!(rows(table), json!([[samples.len()]]));
        }
        if *asked == *collector(specs()[1].clone()) {
            let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
            for (projection, set) in samples {
                let region = self.roster.label(Destination(set.min().unwrap()), "region");
                if let Some(region) = region {
                    let status: Value = serde_json::from_str(projection.0.text()).unwrap();
                    let entry = counts.entry(region.into_owned()).or_default();
                    entry.0 += 1;
                    entry.1 +=
                        status["x"].as_u64().unwrap_or(0) + u64::from(status["x"] == "3") * 3;
                }
            }
            let shown: Vec<(String, u64)> = table
                .rows
                .iter()
                .map(|row| {
                    (
                        row[0].plain().as_str().unwrap().to_owned(),
                        row[1].plain().as_u64().unwrap(),
                    )
                })
                .collect();
            prop_assert_eq!(
                shown,
                counts
                    .iter()
                    .map(|(region, (n, _))| (region.clone(), *n))
                    .collect::<Vec<_>>()
            );
            for (row, (_, sum)) in table.rows.iter().zip(counts.values()) {
                let plain = row[2].plain();
                if let Some(shown) = plain.as_u64() {
                    prop_assert_eq!(shown, *sum);
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Invariant 7.
    #[test]
    fn any_history_ends_in_a_recomputation(memory in prop_oneof![Just(0usize), Just(2000), Just(1 << 20)], events in proptest::collection::vec(event(), 0..60)) {
        let mut world = World::new(memory);
        for id in 0..3u32 {
            world.happen(Event::Collector(id, Some(id as usize + 1)));
        }
        world.happen(Event::Place(0, 0, (0..9).collect(), (0..3).collect(), 0));
        world.happen(Event::Place(0, 1, (5..DESTINATIONS).collect(), (0..2).collect(), 1));
        for event in events {
            world.happen(event);
        }
        world.check()?;
    }

    /// What comes over the wire is read or refused, whatever it is: nothing panics.
    #[test]
    fn any_bytes_are_read_or_refused(spec in 0..specs().len(), at in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), cut in any::<prop::sample::Index>(), whole in any::<bool>()) {
        let asked = collector(specs()[spec].clone());
        let mut evaluator = Evaluator::new(asked.clone());
        let (mut roster, mut plain) = (PlainRoster::new(), Plain::default());
        let mut aggregate = Aggregate::new(&mut evaluator, Subject::new(json!({"spec": {"least": 0}})));
        for (i, status) in (0u32..).zip(statuses()) {
            roster.set(Destination(i), &format!("e{i}"), labels(&[("region", "eu")]));
            plain.set(0, i, Some(&status), None);
            let report = plain.reports[&(0, i)].clone();
            aggregate.change_one(&mut evaluator, &roster, Destination(i), None, Some(sample(&report)));
        }
        let good = aggregate.partial(&mut evaluator, &roster, &|d| plain.report(0, d));
        let mut bytes = good.encode();
        for (index, byte) in at {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Some(read) = Partial::decode(&bytes) {
            prop_assert!(Partial::decode(&read.encode()).is_some());
            let mut merged = good.clone();
            merged.merge(&read);
            merged.merge(&read);
            let shown = merged.table(&asked);
            if read.fits(&asked) {
                prop_assert!(shown.rows.iter().all(|row| row.len() == shown.columns.len()));
            }
        }
    }
}

#[test]
fn too_many_groups_are_said_to_be_and_come_back() {
    let asked = collector(
        json!({"groupBy": [{"name": "x", "def": "returned.status.x"}], "combinedFields": [{"name": "n", "type": "COUNT"}]}),
    );
    let mut evaluator = Evaluator::new(asked);
    let (roster, mut plain) = (PlainRoster::new(), Plain::default());
    let limits = Limits {
        groups: 10,
        values: 100,
    };
    let mut aggregate = Aggregate::with_limits(&mut evaluator, Subject::new(json!({})), limits);
    let mut change = |aggregate: &mut Aggregate, plain: &mut Plain, i: u32, there: bool| {
        let status = json!({"x": i});
        let old = plain.set(0, i, there.then_some(&status), None);
        let new = plain.reports.get(&(0, i)).cloned();
        let set = Destinations::from_iter([i]);
        let (old, new) = (old.as_ref().map(sample), new.as_ref().map(sample));
        aggregate.change(&mut evaluator, &roster, &set, old, new)
    };
    for i in 0..11 {
        assert!(!aggregate.is_too_many());
        assert!(change(&mut aggregate, &mut plain, i, true));
    }
    assert!(aggregate.is_too_many() && !aggregate.wants_rebuild());
    for i in (5..11).rev() {
        assert!(change(&mut aggregate, &mut plain, i, false));
    }
    assert!(aggregate.wants_rebuild());
    assert_eq!(aggregate.copies(), 5);
    let table = aggregate.table(&mut evaluator, &roster, &|d| plain.report(0, d));
    assert!(table.too_many && table.rows.is_empty());
    let partial = aggregate.partial(&mut evaluator, &roster, &|d| plain.report(0, d));
    assert_eq!(partial.rows, PartialRows::TooMany);
}
