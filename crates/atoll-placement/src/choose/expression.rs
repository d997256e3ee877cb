//! `clusterExpressions`: for whom does an expression hold, asked once per distinct input.
//!
//! An expression that reads a destination through labels of known keys only (directly, or by a signal keyed by a label) folds: destinations are split by these
//! labels' values, and it is evaluated once per class. Any other is evaluated per destination. An evaluation that fails says neither yes nor no.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use atoll_cel::{Bindings, Budget, Environment, ObjectType, Program, Step, Type};
use atoll_kube::Timestamp;
use serde_json::{Map, Value, json};

use super::signal::Signals;
use crate::inventory::Inventory;
use crate::{Destination, Destinations};

/// More classes than this, and destinations are asked one by one.
const MOST_CLASSES: usize = 4096;
/// Fewer destinations than this are asked one by one.
const FEW: u64 = 64;
/// What one evaluation may cost.
const BUDGET: Budget = Budget { cost: 100_000 };

/// What is known of destinations.
pub trait Facts {
    /// A label's value.
    fn label(&self, destination: Destination, key: &str) -> Option<&str>;
    /// A cluster claim's value.
    fn claim(&self, destination: Destination, name: &str) -> Option<String>;
    /// `{name, labels, annotations, claims}`, as the variable `cluster` shows it.
    fn cluster(&self, destination: Destination) -> Value;
}

/// A compiled expression over `cluster` and `signals`.
#[derive(Debug)]
pub struct Expression {
    program: Program,
    /// The labels and signals that are all it reads; `None` when it reads more.
    folds: Option<Reads>,
    /// The signals that it names; `None` when it looks them up by a name that it computes.
    signals: Option<BTreeSet<String>>,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.program.source() == other.program.source()
    }
}

#[derive(Debug, Default, Clone)]
struct Reads {
    labels: BTreeSet<String>,
    signals: BTreeSet<String>,
}

/// For whom an expression holds.
#[derive(Debug, Default, PartialEq)]
pub struct Verdicts {
    /// It holds.
    pub yes: Destinations,
    /// It failed: why, and for whom.
    pub failed: Vec<(String, Destinations)>,
}

fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let cluster = ObjectType::new("Cluster")
            .field("name", Type::String)
            .field("labels", Type::map(Type::String))
            .field("annotations", Type::map(Type::String))
            .field("claims", Type::map(Type::String));
        Environment::kubernetes()
            .variable("cluster", Type::Object(cluster.into()))
            .variable("signals", Type::map(Type::Dyn))
    })
}

impl Expression {
    /// Compiles a text; it must answer true or false.
    pub fn compile(source: &str) -> Result<Expression, String> {
        let program = Program::compile(environment(), source).map_err(|e| e.to_string())?;
        if !matches!(program.output(), Type::Bool | Type::Dyn) {
            return Err("must be true or false for a cluster".to_owned());
        }
        let mut folds = Some(Reads::default());
        let mut signals = Some(BTreeSet::new());
        for read in program.reads() {
            match (read.variable.as_str(), read.path.as_slice()) {
                ("cluster", [Step::Field(what), Step::Field(key), ..]) if what == "labels" => {
                    folds = folds.map(|mut f| {
                        f.labels.insert(key.clone());
                        f
                    });
                }
                ("signals", [Step::Field(name), ..]) => {
                    signals = signals.map(|mut s| {
                        s.insert(name.clone());
                        s
                    });
                    folds = folds.map(|mut f| {
                        f.signals.insert(name.clone());
                        f
                    });
                }
                ("signals", _) => (folds, signals) = (None, None),
                _ => folds = None,
            }
        }
        Ok(Expression {
            program,
            folds,
            signals,
        })
    }

    /// The text.
    pub fn source(&self) -> &str {
        self.program.source()
    }

    /// Whether a signal can change the answer.
    pub fn reads_signal(&self, name: &str) -> bool {
        self.signals
            .as_ref()
            .is_none_or(|names| names.contains(name))
    }

    /// Why it could not be evaluated, with what to write instead when that is known.
    pub(crate) fn said(&self, index: usize, why: &str) -> String {
        let missing = why.strip_prefix("no such key: ");
        let remedy = missing.and_then(|key| {
            let reads = self.program.reads().iter();
            let mut holders = reads.filter_map(|read| match read.path.as_slice() {
                [Step::Field(map), Step::Field(named), ..] if named == key => {
                    Some(format!("{}.{map}", read.variable))
                }
                [Step::Field(named), ..] if named == key => Some(read.variable.clone()),
                _ => None,
            });
            holders.next()
        });
        let remedy = remedy.map(|holder| {
            let key = missing.unwrap_or_default();
            format!("; ask first whether it is there: '{key}' in {holder} && …")
        });
        format!(
            "spec.clusterExpressions[{index}]: {why}{}",
            remedy.unwrap_or_default()
        )
    }

    /// The signals that it names.
    pub fn signals(&self) -> impl Iterator<Item = &String> {
        self.signals.iter().flatten()
    }

    /// Whether it reads nothing of a destination but labels, of these keys (signals count by the label that keys them); `None` when it reads more.
    pub fn label_keys(&self, signals: &Signals) -> Option<BTreeSet<String>> {
        let reads = self.folds.as_ref()?;
        let mut keys = reads.labels.clone();
        keys.extend(
            reads
                .signals
                .iter()
                .filter_map(|name| Some(signals.get(name)?.label_key.clone())),
        );
        Some(keys)
    }

    /// For whom of a set it holds.
    pub fn judge(
        &self,
        set: &Destinations,
        inventory: &Inventory,
        facts: &dyn Facts,
        signals: &Signals,
        now: Timestamp,
    ) -> Verdicts {
        let mut verdicts = Verdicts::default();
        let classes = if set.len() < FEW {
            None
        } else {
            self.classes(set, inventory, signals)
        };
        match classes {
            Some(classes) => {
                for (labels, members) in classes {
                    let cluster = json!({"labels": labels});
                    let answer = self.ask(&cluster, signals, now);
                    verdicts.add(answer, members);
                }
            }
            None => {
                for index in set {
                    let answer = self.ask(&facts.cluster(Destination(index)), signals, now);
                    verdicts.add(answer, [index].into_iter().collect());
                }
            }
        }
        verdicts
    }

    /// The set, split by all labels that it reads.
    fn classes(
        &self,
        set: &Destinations,
        inventory: &Inventory,
        signals: &Signals,
    ) -> Option<Vec<(Map<String, Value>, Destinations)>> {
        let keys = self.label_keys(signals)?;
        let mut classes = vec![(Map::new(), set.clone())];
        for key in keys {
            if inventory.values(&key).saturating_mul(classes.len()) > MOST_CLASSES {
                return None;
            }
            let mut finer = Vec::new();
            for (labels, members) in classes {
                for (value, part) in inventory.split(&key, &members) {
                    let mut labels = labels.clone();
                    if let Some(value) = value {
                        labels.insert(key.clone(), value.into());
                    }
                    finer.push((labels, part));
                }
            }
            classes = finer;
        }
        Some(classes)
    }

    fn ask(&self, cluster: &Value, signals: &Signals, now: Timestamp) -> Result<bool, String> {
        let mut known = Map::new();
        for (name, signal) in signals.iter().filter(|(name, _)| self.reads_signal(name)) {
            let label = cluster
                .get("labels")
                .and_then(|labels| labels.get(&signal.label_key))
                .and_then(Value::as_str);
            if let Some(value) = label.and_then(|label| signal.value(label, now)) {
                known.insert(name.clone(), value.clone());
            }
        }
        let known = Value::Object(known);
        let bindings = Bindings::new()
            .json("cluster", cluster)
            .json("signals", &known);
        match self.program.evaluate(&bindings, BUDGET) {
            Ok(atoll_cel::Value::Bool(answer)) => Ok(answer),
            Ok(_) => Err("the answer is neither true nor false".to_owned()),
            Err(error) => Err(error.message),
        }
    }
}

impl Verdicts {
    fn add(&mut self, answer: Result<bool, String>, members: Destinations) {
        match answer {
            Ok(true) => self.yes |= members,
            Ok(false) => {}
            Err(why) => match self.failed.iter_mut().find(|(w, _)| *w == why) {
                Some((_, set)) => *set |= members,
                None => self.failed.push((why, members)),
            },
        }
    }
}
