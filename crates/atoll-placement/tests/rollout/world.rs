//! A little inventory: labels per destination, as the engine's caller would know them.

use std::collections::BTreeMap;

use atoll_placement::Destinations;
use atoll_placement::rollout::spec::{RolloutPolicy, StageSelector};
use atoll_placement::rollout::{BudgetId, Event, Facts, PolicyEvent, PolicyId};
use serde_json::{Value, json};

#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) labels: BTreeMap<u32, BTreeMap<String, String>>,
}

impl World {
    pub(crate) fn label(&mut self, destination: u32, key: &str, value: &str) {
        self.labels
            .entry(destination)
            .or_default()
            .insert(key.into(), value.into());
    }
}

impl Facts for World {
    fn choose(&self, selector: &StageSelector, among: &Destinations) -> Destinations {
        let none = BTreeMap::new();
        among
            .iter()
            .filter(|d| {
                let labels = self.labels.get(d).unwrap_or(&none);
                selector
                    .labels
                    .as_ref()
                    .is_none_or(|s| s.matches(|key| labels.get(key).map(String::as_str)))
            })
            .collect()
    }

    fn group(&self, keys: &[String], destination: u32) -> String {
        let labels = self.labels.get(&destination);
        let value = |key| labels.and_then(|l| l.get(key)).cloned().unwrap_or_default();
        keys.iter().map(value).collect::<Vec<_>>().join("/")
    }

    fn covered(&self, _: BudgetId, among: &Destinations) -> Destinations {
        among.clone()
    }

    fn stable(&self, destination: u32) -> u64 {
        u64::from(destination).wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

pub(crate) fn set(items: impl IntoIterator<Item = u32>) -> Destinations {
    items.into_iter().collect()
}

pub(crate) fn settings(policy: PolicyId, source: Option<Value>) -> Event {
    let spec = match &source {
        None => RolloutPolicy::at_once(),
        Some(source) => RolloutPolicy::parse(source, &|_, _| Ok(())).expect("a good spec"),
    };
    Event::Policy(
        policy,
        PolicyEvent::Settings {
            uid: format!("uid-{}", policy.0),
            spec: Box::new(spec),
            source,
        },
    )
}

pub(crate) fn selected(policy: PolicyId, joined: Destinations, left: Destinations) -> Event {
    Event::Policy(
        policy,
        PolicyEvent::Selected {
            joined,
            left,
            released: Destinations::new(),
        },
    )
}

pub(crate) fn content(policy: PolicyId, hash: &str) -> Event {
    Event::Policy(policy, PolicyEvent::Content(hash.into()))
}

pub(crate) fn up(destinations: Destinations) -> Event {
    Event::Availability {
        up: destinations,
        down: Destinations::new(),
    }
}

pub(crate) fn down(destinations: Destinations) -> Event {
    Event::Availability {
        up: Destinations::new(),
        down: destinations,
    }
}

/// A policy with much in it.
pub(crate) fn staged() -> Value {
    json!({
        "settle": "0s",
        "stages": [
            {"name": "canary", "count": 1, "maxConcurrency": 1, "minSuccessTime": "10s"},
            {"name": "half", "percentage": 50, "maxConcurrency": "50%"},
        ],
        "maxFailures": 1,
    })
}
