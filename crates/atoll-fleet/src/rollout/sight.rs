//! What the engine asks of the inventories.

use atoll_kube::Timestamp;
use atoll_placement::rollout::spec::StageSelector;
use atoll_placement::rollout::{BudgetId, Facts};
use atoll_placement::{Destination, Destinations};
use sha2::{Digest, Sha256};

use crate::model::{InventoryState, World};

/// The inventories as the engine sees them.
pub(crate) struct Inventories<'a> {
    pub(crate) world: &'a World,
    pub(crate) now: Timestamp,
}

impl Inventories<'_> {
    fn inventory(&self, destination: u32) -> Option<&InventoryState> {
        let state = self.world.destinations.get(&Destination(destination))?;
        self.world.inventories.get(&state.inventory)
    }
}

impl Facts for Inventories<'_> {
    fn choose(&self, selector: &StageSelector, among: &Destinations) -> Destinations {
        // A policy's destinations are all of one inventory.
        let Some(inventory) = among.min().and_then(|first| self.inventory(first)) else {
            return Destinations::new();
        };
        let mut chosen = among & inventory.index.all();
        if let Some(labels) = &selector.labels {
            chosen = few(&chosen, |d| {
                labels.matches(|key| inventory.index.label(Destination(d), key))
            })
            .unwrap_or_else(|| &chosen & inventory.index.select(labels));
        }
        let Some(source) = &selector.expression else {
            return chosen;
        };
        let Some(expression) = self.world.control.expressions.stage(source) else {
            return Destinations::new();
        };
        let facts = self.world.known_of(inventory);
        let verdicts = expression.judge(
            &chosen,
            &inventory.index,
            &facts,
            &inventory.signals,
            self.now,
        );
        verdicts.yes
    }

    fn group(&self, keys: &[String], destination: u32) -> String {
        let inventory = self.inventory(destination);
        let value = |key: &String| {
            inventory
                .and_then(|i| i.index.label(Destination(destination), key))
                .unwrap_or_default()
        };
        keys.iter().map(value).collect::<Vec<_>>().join("/")
    }

    fn covered(&self, budget: BudgetId, among: &Destinations) -> Destinations {
        let Some(budget) = self.world.control.budgets.get(&budget) else {
            return Destinations::new();
        };
        let Some(inventory) = self.world.inventories.get(&budget.inventory) else {
            return Destinations::new();
        };
        let mine = among & inventory.index.all();
        few(&mine, |d| {
            let label = |key: &str| inventory.index.label(Destination(d), key);
            budget.spec.selector.matches(label)
        })
        .unwrap_or_else(|| &mine & inventory.index.select(&budget.spec.selector))
    }

    fn stable(&self, destination: u32) -> u64 {
        let state = self.world.destinations.get(&Destination(destination));
        let uid = state.map(|s| s.uid.to_string()).unwrap_or_default();
        let hash: [u8; 32] = Sha256::digest(uid.as_bytes()).into();
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        u64::from_be_bytes(first)
    }
}

/// So many are asked one by one: what an event of few costs must not grow with how many there are.
const FEW: u64 = 256;

fn few(set: &Destinations, holds: impl Fn(u32) -> bool) -> Option<Destinations> {
    (set.len() <= FEW).then(|| set.iter().filter(|d| holds(*d)).collect())
}
