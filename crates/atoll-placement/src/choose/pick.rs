//! Choosing N of M, spread over groups, the best first, moving the fewest.
//!
//! Destinations are split into *cells*: those that agree on every spread label. A choice is made over cells and classes of equal rank, so its cost follows the number of
//! destinations moved and of distinct ranks, not of destinations. Whoever is there stays while the constraints let it; what is missing is filled by rank; at last, who
//! is there is exchanged for who is better by more than the hysteresis. Among equals the pick is pseudo-random but fixed by the policy's seed.

use std::collections::BTreeMap;

use atoll_kube::Timestamp;

use super::candidates::{Candidates, Sight};
use super::spec::{MOST_GROUPS, ScoreSource, Spread, Where};
use super::taint::{Obstacles, Taints};
use crate::{Destination, Destinations};

/// What a choice is made from, beside what destinations are ([`Sight`]).
pub struct Field<'a> {
    /// Who may be chosen as far as labels and expressions say.
    pub candidates: &'a Candidates,
    /// Who is chosen now.
    pub incumbents: &'a Destinations,
    /// Who may be given something new.
    pub accepted: &'a Destinations,
    /// Who is known (durably) to be there: preferred when something new is placed, never a reason to move.
    pub available: &'a Destinations,
    /// The inventory's taints.
    pub taints: &'a Taints,
    /// Where another policy of the workspace is placed; `None` when there is no such policy.
    pub placed_by: &'a dyn Fn(&str) -> Option<Destinations>,
    /// Fixes the pick among equals; from the policy's uid.
    pub seed: u64,
}

/// Who is chosen.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Choice {
    /// They are.
    pub chosen: Destinations,
    /// What could not be had, in words for a condition.
    pub unsatisfied: Vec<String>,
    /// When it is to be chosen again although nothing happens: a toleration or a signal ends.
    pub wake_at: Option<Timestamp>,
}

/// Chooses.
pub fn pick(asked: &Where, field: &Field<'_>, sight: &Sight<'_>) -> Choice {
    let obstacles = field.taints.judge(&asked.tolerations, sight.now);
    let mut choice = Choice {
        wake_at: wake_at(asked, sight, obstacles.wake_at),
        ..Choice::default()
    };
    let stay = ((&field.candidates.wanted | field.candidates.unsure()) & field.incumbents)
        - &obstacles.out;
    let mut come = &field.candidates.wanted & field.accepted;
    come -= field.incumbents;
    come -= &obstacles.out;
    come -= &obstacles.not_new;
    for tie in asked.affinity.iter().filter(|t| !t.preferred) {
        match (field.placed_by)(&tie.policy) {
            Some(placed) => come &= placed,
            None => {
                choice.unsatisfied.push(format!(
                    "affinity: there is no BindingPolicy {:?} in this workspace",
                    tie.policy
                ));
                come.clear();
            }
        }
    }
    for tie in asked.anti_affinity.iter().filter(|t| !t.preferred) {
        if let Some(placed) = (field.placed_by)(&tie.policy) {
            come -= placed;
        }
    }
    if asked.takes_all() {
        choice.chosen = stay | come;
        return choice;
    }
    if let Some(wide) = asked
        .spread
        .iter()
        .find(|s| sight.inventory.values(&s.label_key) > MOST_GROUPS)
    {
        choice.unsatisfied.push(format!(
            "spread: the label {:?} has more than {MOST_GROUPS} values",
            wide.label_key
        ));
        choice.chosen = stay;
        return choice;
    }
    let mut board = Board::new(asked, field, sight, &obstacles, &stay, &come);
    board.trim();
    board.fill();
    board.exchange();
    let short = board.unsatisfied();
    if !short.is_empty() {
        choice.unsatisfied.extend(short);
        choice
            .unsatisfied
            .extend(obstacles_of(asked, field, &obstacles));
    }
    choice.chosen = board.chosen();
    choice
}

/// What there was to choose from, and what kept how many away.
fn obstacles_of(asked: &Where, field: &Field<'_>, obstacles: &Obstacles) -> Option<String> {
    let wanted = &field.candidates.wanted;
    let tainted = (wanted & (&obstacles.out | (&obstacles.not_new - field.incumbents))).len();
    let unaccepted = ((wanted - field.accepted) - field.incumbents).len();
    let mut said = vec![format!(
        "{} destinations match clusterSelectors and clusterExpressions",
        wanted.len()
    )];
    if tainted > 0 {
        said.push(format!(
            "{tainted} of them have a taint that is not tolerated"
        ));
    }
    if unaccepted > 0 {
        said.push(format!(
            "{unaccepted} are not accepted (spec.hubAcceptsClient)"
        ));
    }
    let ties = asked.affinity.iter().chain(&asked.anti_affinity);
    if ties.filter(|t| !t.preferred).count() > 0 {
        said.push("affinity and antiAffinity keep others away".to_owned());
    }
    if !asked.spread.is_empty() && wanted.len() > tainted + unaccepted {
        said.push("spread takes only those that have its labels, within its limits".to_owned());
    }
    Some(format!("to choose from: {}", said.join("; ")))
}

fn wake_at(asked: &Where, sight: &Sight<'_>, taints: Option<Timestamp>) -> Option<Timestamp> {
    let signals = sight
        .signals
        .iter()
        .filter(|(name, _)| asked.reads_signal(name))
        .filter_map(|(_, signal)| signal.valid_until)
        .filter(|end| *end > sight.now);
    signals.chain(taints).min()
}

/// Better ranks are smaller. Unknown scores come last.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rank {
    tier: u8,
    score: Option<f64>,
}

impl Eq for Rank {}
impl PartialOrd for Rank {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Rank {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let worth = |rank: &Rank| rank.score.unwrap_or(f64::NEG_INFINITY);
        self.tier
            .cmp(&other.tier)
            .then_with(|| worth(other).total_cmp(&worth(self)))
    }
}

/// Destinations by rank.
type Ranked = BTreeMap<Rank, Destinations>;

fn split_first(ranked: &Ranked) -> Option<(Rank, &Destinations)> {
    ranked.iter().next().map(|(rank, set)| (*rank, set))
}

fn count(ranked: &Ranked) -> u64 {
    ranked.values().map(Destinations::len).sum()
}

/// Those that agree on every spread label.
#[derive(Debug)]
struct Cell<'a> {
    groups: Vec<&'a str>,
    inside: Ranked,
    outside: Ranked,
}

/// The state of a choice in the making.
struct Board<'a> {
    asked: &'a Where,
    cells: Vec<Cell<'a>>,
    /// Per spread: group -> how many are inside.
    load: Vec<BTreeMap<&'a str, u64>>,
    total: u64,
    dice: u64,
}

impl<'a> Board<'a> {
    fn new(
        asked: &'a Where,
        field: &Field<'_>,
        sight: &Sight<'a>,
        obstacles: &Obstacles,
        stay: &Destinations,
        come: &Destinations,
    ) -> Self {
        let mut cells: Vec<(Vec<&'a str>, Destinations)> = vec![(Vec::new(), stay | come)];
        for spread in &asked.spread {
            let mut finer = Vec::new();
            for (groups, members) in cells {
                for (value, part) in sight.inventory.split(&spread.label_key, &members) {
                    // Without the label it is in no group, and so not chosen.
                    let Some(value) = value else { continue };
                    let mut groups = groups.clone();
                    groups.push(value);
                    finer.push((groups, part));
                }
            }
            cells = finer;
        }
        let judge = Judge::new(asked, field, sight, obstacles);
        let cells: Vec<Cell<'a>> = cells
            .into_iter()
            .map(|(groups, members)| Cell {
                groups,
                inside: judge.rank(&members & stay),
                outside: judge.rank(members & come),
            })
            .collect();
        let mut board = Board {
            asked,
            load: vec![BTreeMap::new(); asked.spread.len()],
            cells: Vec::new(),
            total: 0,
            dice: field.seed,
        };
        for cell in &cells {
            board.weigh(&cell.groups, i128::from(count(&cell.inside)));
        }
        board.cells = cells;
        board
    }

    fn weigh(&mut self, groups: &[&'a str], by: i128) {
        let add = |n: u64| u64::try_from(i128::from(n) + by).unwrap_or(0);
        self.total = add(self.total);
        for (load, group) in self.load.iter_mut().zip(groups) {
            let entry = load.entry(group).or_default();
            *entry = add(*entry);
            if *entry == 0 {
                load.remove(group);
            }
        }
    }

    /// One of a set, any one, but the same in every run.
    fn any(&mut self, set: &Destinations) -> Option<u32> {
        self.dice = mix(self.dice);
        let position = self.dice.checked_rem(set.len())?;
        set.select(u32::try_from(position).unwrap_or(0))
    }

    fn take_in(&mut self, cell: usize) {
        let Some((rank, set)) = self
            .cells
            .get(cell)
            .and_then(|c| split_first(&c.outside))
            .map(|(r, s)| (r, s.clone()))
        else {
            return;
        };
        let Some(one) = self.any(&set) else { return };
        let cell = &mut self.cells[cell];
        drop_from(&mut cell.outside, rank, one);
        cell.inside.entry(rank).or_default().insert(one);
        let groups = cell.groups.clone();
        self.weigh(&groups, 1);
    }

    /// Lets the worst of a cell go. It is not a newcomer again: nothing goes and comes in one choice.
    fn let_go(&mut self, cell: usize) {
        let Some((rank, set)) = self
            .cells
            .get(cell)
            .and_then(|c| c.inside.iter().next_back())
            .map(|(r, s)| (*r, s.clone()))
        else {
            return;
        };
        let Some(one) = self.any(&set) else { return };
        let cell = &mut self.cells[cell];
        drop_from(&mut cell.inside, rank, one);
        let groups = cell.groups.clone();
        self.weigh(&groups, -1);
    }

    /// The inside cell whose worst member should go first: of the fullest groups, then the worst rank.
    fn worst(&self, may: impl Fn(&Cell<'_>) -> bool) -> Option<usize> {
        (0..self.cells.len())
            .filter(|i| !self.cells[*i].inside.is_empty() && may(&self.cells[*i]))
            .max_by_key(|i| {
                let cell = &self.cells[*i];
                let rank = cell.inside.keys().next_back().copied();
                (self.weight(cell), rank, *i)
            })
    }

    /// How full a cell's groups are.
    fn weight(&self, cell: &Cell<'_>) -> Vec<u64> {
        self.load
            .iter()
            .zip(&cell.groups)
            .map(|(load, group)| load.get(group).copied().unwrap_or(0))
            .collect()
    }

    /// Takes out what breaks a constraint.
    fn trim(&mut self) {
        for (i, spread) in self.asked.spread.iter().enumerate() {
            if let Some(most) = spread.max_groups {
                while self.load[i].len() as u64 > most {
                    let emptiest = self.load[i]
                        .iter()
                        .min_by_key(|(name, n)| (**n, std::cmp::Reverse(**name)))
                        .map(|(name, _)| *name);
                    let Some(emptiest) = emptiest else { break };
                    while let Some(cell) = self.worst(|c| c.groups[i] == emptiest) {
                        self.let_go(cell);
                    }
                }
            }
            if let Some(most) = spread.max_per_group {
                let over: Vec<&'a str> = self.load[i]
                    .iter()
                    .filter(|(_, n)| **n > most)
                    .map(|(g, _)| *g)
                    .collect();
                for group in over {
                    while self.load[i].get(group).copied().unwrap_or(0) > most {
                        let Some(cell) = self.worst(|c| c.groups[i] == group) else {
                            break;
                        };
                        self.let_go(cell);
                    }
                }
            }
        }
        while self.asked.number.is_some_and(|n| self.total > n) {
            let Some(cell) = self.worst(|_| true) else {
                break;
            };
            self.let_go(cell);
        }
    }

    /// Whether one more of a cell breaks nothing.
    fn fits(&self, cell: &Cell<'_>) -> bool {
        self.asked.spread.iter().enumerate().all(|(i, spread)| {
            match self.load[i].get(cell.groups[i]) {
                Some(n) => spread.max_per_group.is_none_or(|most| *n < most),
                None => spread
                    .max_groups
                    .is_none_or(|most| (self.load[i].len() as u64) < most),
            }
        })
    }

    /// The cell whose best newcomer should come first.
    fn best(&self, may: impl Fn(&Cell<'_>) -> bool) -> Option<usize> {
        (0..self.cells.len())
            .filter(|i| {
                let cell = &self.cells[*i];
                !cell.outside.is_empty() && may(cell) && self.fits(cell)
            })
            .min_by_key(|i| {
                let cell = &self.cells[*i];
                (
                    split_first(&cell.outside).map(|(rank, _)| rank),
                    self.weight(cell),
                    *i,
                )
            })
    }

    fn room(&self) -> bool {
        self.asked.number.is_none_or(|n| self.total < n)
    }

    /// Fills: enough groups first, then enough in each, then the rest.
    fn fill(&mut self) {
        for i in 0..self.asked.spread.len() {
            let spread = &self.asked.spread[i];
            while (self.load[i].len() as u64) < spread.min_groups {
                let Some(cell) = self.best(|c| !self.load[i].contains_key(c.groups[i])) else {
                    break;
                };
                if !self.room() && !self.make_room(i, spread) {
                    break;
                }
                self.take_in(cell);
            }
            while let Some(cell) = self.best(|c| {
                self.load[i]
                    .get(c.groups[i])
                    .is_some_and(|n| *n < spread.min_per_group)
            }) {
                if !self.room() && !self.make_room(i, spread) {
                    break;
                }
                self.take_in(cell);
            }
        }
        while self.room() {
            let Some(cell) = self.best(|_| true) else {
                break;
            };
            self.take_in(cell);
        }
    }

    /// Lets one go where a group of this spread has more than it must.
    fn make_room(&mut self, i: usize, spread: &Spread) -> bool {
        let spare = spread.min_per_group.max(1);
        let cell = self.worst(|c| self.load[i].get(c.groups[i]).is_some_and(|n| *n > spare));
        match cell {
            Some(cell) => {
                self.let_go(cell);
                true
            }
            None => false,
        }
    }

    /// Exchanges who is there for who is better by more than the hysteresis, within one cell or where no spread is broken.
    fn exchange(&mut self) {
        if self.asked.scores.is_empty() {
            return;
        }
        for _ in 0..self.total {
            let Some((goes, comes)) = self.bargain() else {
                return;
            };
            self.let_go(goes);
            self.take_in(comes);
        }
    }

    fn bargain(&self) -> Option<(usize, usize)> {
        let worst = |cell: &Cell<'_>| cell.inside.keys().next_back().and_then(|r| r.score);
        let mut best: Option<(f64, usize, usize)> = None;
        for (o, outer) in self.cells.iter().enumerate() {
            // A newcomer of a lower tier (away, tainted, unpreferred) is no improvement, whatever its score.
            let Some(score) = split_first(&outer.outside)
                .filter(|(r, _)| r.tier == 0)
                .and_then(|(r, _)| r.score)
            else {
                continue;
            };
            for (i, inner) in self.cells.iter().enumerate() {
                let Some(present) = worst(inner) else {
                    continue;
                };
                let gain = score - present;
                let keeps_the_spread = o == i || self.exchangeable(outer, inner);
                if gain > self.asked.hysteresis
                    && keeps_the_spread
                    && best.is_none_or(|(g, _, _)| gain > g)
                {
                    best = Some((gain, i, o));
                }
            }
        }
        best.map(|(_, goes, comes)| (goes, comes))
    }

    fn exchangeable(&self, comes: &Cell<'_>, goes: &Cell<'_>) -> bool {
        self.asked.spread.iter().enumerate().all(|(i, spread)| {
            let (to, from) = (comes.groups[i], goes.groups[i]);
            if to == from {
                return true;
            }
            let load = |group: &str| self.load[i].get(group).copied().unwrap_or(0);
            let (after_to, after_from) = (load(to) + 1, load(from) - 1);
            let groups =
                self.load[i].len() as u64 + u64::from(load(to) == 0) - u64::from(after_from == 0);
            spread.max_per_group.is_none_or(|most| after_to <= most)
                && (after_from == 0 || after_from >= spread.min_per_group)
                && after_to >= spread.min_per_group
                && groups >= spread.min_groups
                && spread.max_groups.is_none_or(|most| groups <= most)
        })
    }

    fn unsatisfied(&self) -> Vec<String> {
        let mut found = Vec::new();
        if let Some(n) = self.asked.number.filter(|n| self.total < *n) {
            found.push(format!(
                "numberOfClusters: {n} are asked for, {} can be had",
                self.total
            ));
        }
        for (spread, load) in self.asked.spread.iter().zip(&self.load) {
            let groups = load.len() as u64;
            if groups < spread.min_groups {
                found.push(format!(
                    "spread: {} groups of {:?} are asked for, {groups} can be had",
                    spread.min_groups, spread.label_key
                ));
            }
            if let Some((group, n)) = load.iter().find(|(_, n)| **n < spread.min_per_group) {
                found.push(format!(
                    "spread: {} in each group of {:?} are asked for, {group:?} has {n}",
                    spread.min_per_group, spread.label_key
                ));
            }
        }
        found
    }

    fn chosen(&self) -> Destinations {
        let mut chosen = Destinations::new();
        for set in self.cells.iter().flat_map(|c| c.inside.values()) {
            chosen |= set;
        }
        chosen
    }
}

fn drop_from(ranked: &mut Ranked, rank: Rank, one: u32) {
    if let Some(set) = ranked.get_mut(&rank) {
        set.remove(one);
        if set.is_empty() {
            ranked.remove(&rank);
        }
    }
}

/// A step of a pseudo-random sequence (splitmix64).
fn mix(state: u64) -> u64 {
    let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Ranks destinations.
struct Judge<'a, 'b> {
    asked: &'a Where,
    sight: &'b Sight<'a>,
    last: &'b Destinations,
    available: &'b Destinations,
    preferred: Option<Destinations>,
    avoided: Destinations,
}

impl<'a, 'b> Judge<'a, 'b> {
    fn new(
        asked: &'a Where,
        field: &Field<'b>,
        sight: &'b Sight<'a>,
        obstacles: &'b Obstacles,
    ) -> Self {
        let union = |ties: &mut dyn Iterator<Item = &super::spec::Affinity>| {
            let mut all = Destinations::new();
            for placed in ties
                .filter(|t| t.preferred)
                .filter_map(|t| (field.placed_by)(&t.policy))
            {
                all |= placed;
            }
            all
        };
        Judge {
            asked,
            sight,
            last: &obstacles.last,
            available: field.available,
            preferred: asked
                .affinity
                .iter()
                .any(|t| t.preferred)
                .then(|| union(&mut asked.affinity.iter())),
            avoided: union(&mut asked.anti_affinity.iter()),
        }
    }

    /// A set by rank: first whether it is to be avoided, away or not preferred, then the score.
    fn rank(&self, set: Destinations) -> Ranked {
        let mut tiers: BTreeMap<u8, Destinations> = BTreeMap::new();
        let mut rest = set;
        let mut put = |rest: &mut Destinations, tier: u8, these: Destinations| {
            *rest -= &these;
            if !these.is_empty() {
                *tiers.entry(tier).or_default() |= these;
            }
        };
        let avoided = &rest & (self.last | &self.avoided);
        put(&mut rest, 3, avoided);
        let away = &rest - self.available;
        put(&mut rest, 2, away);
        if let Some(preferred) = &self.preferred {
            let other = &rest - preferred;
            put(&mut rest, 1, other);
        }
        let all = rest.clone();
        put(&mut rest, 0, all);
        let mut ranked = Ranked::new();
        for (tier, set) in tiers {
            for (score, part) in self.scored(set) {
                *ranked.entry(Rank { tier, score }).or_default() |= part;
            }
        }
        ranked
    }

    /// A set, split by score. A score with an unknown summand is unknown.
    fn scored(&self, set: Destinations) -> Vec<(Option<f64>, Destinations)> {
        let mut classes = vec![(Some(0.0), set)];
        for score in &self.asked.scores {
            let mut finer = Vec::new();
            for (sum, members) in classes {
                for (value, part) in self.by_value(&score.source, &members) {
                    finer.push((sum.zip(value).map(|(s, v)| s + v * score.weight), part));
                }
            }
            classes = finer;
        }
        classes
    }

    fn by_value(
        &self,
        source: &ScoreSource,
        set: &Destinations,
    ) -> Vec<(Option<f64>, Destinations)> {
        let by_label = |key: &str, value: &dyn Fn(&str) -> Option<f64>| {
            let parts = self.sight.inventory.split(key, set);
            parts
                .into_iter()
                .map(|(label, part)| (label.and_then(value), part))
                .collect()
        };
        match source {
            ScoreSource::Label(key) => by_label(key, &number),
            ScoreSource::Signal(name) => match self.sight.signals.get(name) {
                Some(signal) => by_label(&signal.label_key, &|label| {
                    signal.value(label, self.sight.now)?.as_f64()
                }),
                None => vec![(None, set.clone())],
            },
            ScoreSource::Claim(name) => {
                let mut by_text: BTreeMap<Option<String>, Destinations> = BTreeMap::new();
                for index in set {
                    by_text
                        .entry(self.sight.facts.claim(Destination(index), name))
                        .or_default()
                        .insert(index);
                }
                by_text
                    .into_iter()
                    .map(|(text, part)| (text.as_deref().and_then(number), part))
                    .collect()
            }
        }
    }
}

/// A number, or a quantity as Kubernetes writes them.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = text.parse::<f64>().ok().filter(|n| n.is_finite());
    plain.or_else(|| {
        atoll_kube::quantity::Quantity::parse(text)
            .ok()
            .map(|q| q.approximate())
    })
}
