//! What policies share: who is here, who is disrupted for whatever reason, and how much each group of each disruption budget has left.
//!
//! Always true: a destination is *down* while it is away or any policy counts it (it holds a slot or failed, and is no first installation); each budget's book has, for every group, how many
//! members it has and how many of them are down, changed bit by bit. It is derived: from who is here and from the policies' own states.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use atoll_kube::Timestamp;

use super::delta::outside;
use super::event::Facts;
use super::spec::cron::any_open;
use super::spec::{Amount, GroupBudget, Window, WindowState};
use super::{BudgetId, PolicyId};
use crate::Destinations;

/// Whose budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BookId {
    /// A DisruptionBudget: it binds every policy.
    Inventory(BudgetId),
    /// A policy's own, by its place in the list.
    Policy(PolicyId, u32),
}

/// What a destination may wait for until somebody else frees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Room in a group of a budget.
    Group(BookId, u32),
    /// A budget's window.
    Window(BookId),
    /// A slot in a stage (by its id) of another policy of the same objects.
    Lane(PolicyId, u32),
    /// Another policy of the same objects does not let it go on.
    Closed(PolicyId),
}

impl Key {
    /// In the order of keys, those before are groups.
    pub(super) const FIRST_OF_NO_GROUP: Key = Key::Window(BookId::Inventory(BudgetId(0)));
}

/// A set that counts how often each is in it: the n-th layer has those that are in it more than n times.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layers(Vec<Destinations>);

impl Layers {
    /// Those that are in it.
    pub fn any(&self) -> Option<&Destinations> {
        self.0.first()
    }

    /// Whether one is in it.
    pub fn contains(&self, destination: u32) -> bool {
        self.0.first().is_some_and(|l| l.contains(destination))
    }

    /// Counts each once more. Answers those that were not in it.
    pub fn add(&mut self, items: &Destinations) -> Destinations {
        let mut first = None;
        let mut carry = items.clone();
        for layer in &mut self.0 {
            let again = &*layer & &carry;
            if first.is_none() {
                first = Some(outside(&carry, &again));
            }
            *layer |= &carry;
            carry = again;
            if carry.is_empty() {
                break;
            }
        }
        if !carry.is_empty() {
            self.0.push(carry);
        }
        first.unwrap_or_else(|| items.clone())
    }

    /// Counts each once less. Answers those that are no longer in it.
    pub fn remove(&mut self, items: &Destinations) -> Destinations {
        let mut carry = items.clone();
        let mut out = Destinations::new();
        for layer in self.0.iter_mut().rev() {
            out = &*layer & &carry;
            *layer -= &out;
            carry -= &out;
        }
        while self.0.last().is_some_and(Destinations::is_empty) {
            self.0.pop();
        }
        out
    }

    /// Takes these out, however often they are in it.
    pub fn forget(&mut self, items: &Destinations) {
        for layer in &mut self.0 {
            *layer -= items;
        }
        while self.0.last().is_some_and(Destinations::is_empty) {
            self.0.pop();
        }
    }
}

/// Groups by the values of some labels.
#[derive(Debug, Default)]
struct Grouping {
    keys: Vec<String>,
    of: Vec<u32>,
    ids: HashMap<String, u32>,
    names: Vec<String>,
}

const NO_GROUP: u32 = u32::MAX;

impl Grouping {
    fn get(&self, destination: u32) -> u32 {
        self.of
            .get(destination as usize)
            .copied()
            .unwrap_or(NO_GROUP)
    }

    fn read(&mut self, destination: u32, facts: &dyn Facts) -> u32 {
        let name = facts.group(&self.keys, destination);
        let group = match self.ids.get(&name) {
            Some(group) => *group,
            None => {
                let group = self.names.len() as u32;
                self.names.push(name.clone());
                self.ids.insert(name, group);
                group
            }
        };
        let at = destination as usize;
        if self.of.len() <= at {
            self.of.resize(at + 1, NO_GROUP);
        }
        self.of[at] = group;
        group
    }
}

/// One budget's account.
#[derive(Debug)]
struct Book {
    members: Destinations,
    grouping: usize,
    amount: Amount,
    windows: Vec<Window>,
    open: bool,
    looked: Option<Timestamp>,
    changes: Option<Timestamp>,
    total: Vec<u32>,
    down: Vec<u32>,
}

impl Book {
    fn count(counts: &mut Vec<u32>, group: u32) -> &mut u32 {
        let at = group as usize;
        if counts.len() <= at {
            counts.resize(at + 1, 0);
        }
        &mut counts[at]
    }

    fn less(counts: &mut [u32], group: u32) {
        if let Some(count) = counts.get_mut(group as usize) {
            *count = count.saturating_sub(1);
        }
    }

    fn state(&self, group: u32) -> (u32, u64) {
        let at = group as usize;
        let total = self.total.get(at).copied().unwrap_or(0);
        let down = self.down.get(at).copied().unwrap_or(0);
        (down, self.amount.ceil(u64::from(total)))
    }
}

/// What policies share.
#[derive(Debug, Default)]
pub struct Ground {
    known: Destinations,
    available: Destinations,
    down: Layers,
    groupings: Vec<Grouping>,
    books: BTreeMap<BookId, Book>,
    waiters: BTreeMap<Key, BTreeSet<PolicyId>>,
    freed: BTreeSet<Key>,
}

impl Ground {
    /// Who is here.
    pub fn available(&self) -> &Destinations {
        &self.available
    }

    /// Whether a destination is away or disrupted.
    pub fn is_down(&self, destination: u32) -> bool {
        self.down.contains(destination)
    }

    /// Takes note of destinations; new ones are away.
    pub fn know(&mut self, destinations: &Destinations, facts: &dyn Facts) {
        let new = outside(destinations, &self.known);
        if new.is_empty() {
            return;
        }
        self.known |= &new;
        self.raise(&new);
        let budgets: Vec<BookId> = self.books.keys().copied().collect();
        for id in budgets {
            if let BookId::Inventory(budget) = id {
                self.join(id, &facts.covered(budget, &new), facts);
            }
        }
    }

    /// Who came and who went. Answers those for whom that is news.
    pub fn availability(
        &mut self,
        up: &Destinations,
        down: &Destinations,
        facts: &dyn Facts,
    ) -> (Destinations, Destinations) {
        self.know(up, facts);
        self.know(down, facts);
        let came = outside(up, &self.available);
        self.available |= &came;
        self.lower(&came);
        let went = down & &self.available;
        self.available -= &went;
        self.raise(&went);
        (came, went)
    }

    /// Destinations that no longer exist.
    pub fn gone(&mut self, destinations: &Destinations) {
        let books: Vec<BookId> = self.books.keys().copied().collect();
        for id in books {
            self.leave(id, destinations);
        }
        self.down.forget(destinations);
        self.known -= destinations;
        self.available -= destinations;
    }

    /// One more reason why these are down.
    pub fn raise(&mut self, destinations: &Destinations) {
        let new = self.down.add(destinations);
        if new.is_empty() {
            return;
        }
        for book in self.books.values_mut() {
            for destination in &(&new & &book.members) {
                let group = self.groupings[book.grouping].get(destination);
                *Book::count(&mut book.down, group) += 1;
            }
        }
    }

    /// One reason less why these are down.
    pub fn lower(&mut self, destinations: &Destinations) {
        let up = self.down.remove(destinations);
        if up.is_empty() {
            return;
        }
        for (id, book) in &mut self.books {
            for destination in &(&up & &book.members) {
                let group = self.groupings[book.grouping].get(destination);
                Book::less(&mut book.down, group);
                self.freed.insert(Key::Group(*id, group));
            }
        }
    }

    /// Opens a budget's book; one that was there is replaced.
    pub fn open_book(
        &mut self,
        id: BookId,
        budget: &GroupBudget,
        windows: &[Window],
        members: &Destinations,
        facts: &dyn Facts,
    ) {
        self.close_book(id);
        let found = self
            .groupings
            .iter()
            .position(|g| g.keys == budget.group_by);
        let grouping = found.unwrap_or_else(|| {
            self.groupings.push(Grouping {
                keys: budget.group_by.clone(),
                ..Grouping::default()
            });
            self.groupings.len() - 1
        });
        self.books.insert(
            id,
            Book {
                members: Destinations::new(),
                grouping,
                amount: budget.max_unavailable,
                windows: windows.to_vec(),
                open: windows.is_empty(),
                looked: None,
                changes: None,
                total: Vec::new(),
                down: Vec::new(),
            },
        );
        self.join(id, members, facts);
    }

    /// Opens an inventory's book over all that is known.
    pub fn open_inventory_book(
        &mut self,
        budget: BudgetId,
        spec: &super::spec::DisruptionBudget,
        facts: &dyn Facts,
    ) {
        let members = facts.covered(budget, &self.known);
        let id = BookId::Inventory(budget);
        self.open_book(id, &spec.budget, &spec.windows, &members, facts);
    }

    /// Closes a book: whoever waits for it need not.
    pub fn close_book(&mut self, id: BookId) {
        if self.books.remove(&id).is_none() {
            return;
        }
        let all = Key::Group(id, 0)..=Key::Group(id, u32::MAX);
        let waited: Vec<Key> = self.waiters.range(all).map(|(key, _)| *key).collect();
        self.freed.extend(waited);
        self.freed.insert(Key::Window(id));
    }

    /// The policy's own books.
    pub fn books_of(&self, policy: PolicyId) -> Vec<BookId> {
        let all = BookId::Policy(policy, 0)..=BookId::Policy(policy, u32::MAX);
        self.books.range(all).map(|(id, _)| *id).collect()
    }

    /// Whether any budget may bind a policy.
    pub fn binds(&self, policy: PolicyId) -> bool {
        let own = BookId::Policy(policy, 0)..=BookId::Policy(policy, u32::MAX);
        self.books
            .keys()
            .next()
            .is_some_and(|id| matches!(id, BookId::Inventory(_)))
            || self.books.range(own).next().is_some()
    }

    /// New members of a book.
    pub fn join(&mut self, id: BookId, members: &Destinations, facts: &dyn Facts) {
        let Some(book) = self.books.get_mut(&id) else {
            return;
        };
        let new = outside(members, &book.members);
        book.members |= &new;
        let grouping = &mut self.groupings[book.grouping];
        for destination in &new {
            let group = match grouping.get(destination) {
                NO_GROUP => grouping.read(destination, facts),
                group => group,
            };
            *Book::count(&mut book.total, group) += 1;
            if self.down.contains(destination) {
                *Book::count(&mut book.down, group) += 1;
            }
        }
    }

    /// Members that leave a book.
    pub fn leave(&mut self, id: BookId, members: &Destinations) {
        let Some(book) = self.books.get_mut(&id) else {
            return;
        };
        let old = &book.members & members;
        book.members -= &old;
        for destination in &old {
            let group = self.groupings[book.grouping].get(destination);
            Book::less(&mut book.total, group);
            if self.down.contains(destination) {
                Book::less(&mut book.down, group);
            }
            self.freed.insert(Key::Group(id, group));
        }
    }

    /// Labels changed: groups and coverage are read again. Nobody of these may be parked at a group meanwhile.
    pub fn relabel(&mut self, destinations: &Destinations, facts: &dyn Facts) {
        let touched = destinations & &self.known;
        let mut moves: Vec<Vec<(u32, u32, u32)>> = Vec::new();
        for grouping in &mut self.groupings {
            let mut moved = Vec::new();
            for destination in &touched {
                let old = grouping.get(destination);
                if old != NO_GROUP {
                    let new = grouping.read(destination, facts);
                    if new != old {
                        moved.push((destination, old, new));
                    }
                }
            }
            moves.push(moved);
        }
        let ids: Vec<BookId> = self.books.keys().copied().collect();
        for id in ids {
            let Some(book) = self.books.get_mut(&id) else {
                continue;
            };
            for &(destination, old, new) in &moves[book.grouping] {
                if !book.members.contains(destination) {
                    continue;
                }
                Book::less(&mut book.total, old);
                *Book::count(&mut book.total, new) += 1;
                if self.down.contains(destination) {
                    Book::less(&mut book.down, old);
                    *Book::count(&mut book.down, new) += 1;
                }
                self.freed.insert(Key::Group(id, old));
                // A bigger group may allow more.
                self.freed.insert(Key::Group(id, new));
            }
            let BookId::Inventory(budget) = id else {
                continue;
            };
            let covered = facts.covered(budget, &touched);
            let left = outside(&(&touched & &book.members), &covered);
            self.leave(id, &left);
            self.join(id, &covered, facts);
        }
    }

    /// Looks at the clock for windows. Those that opened are freed.
    pub fn look(&mut self, now: Timestamp) {
        for (id, book) in &mut self.books {
            let fresh = book.looked.is_some_and(|at| at <= now)
                && book.changes.is_none_or(|change| now < change);
            if book.windows.is_empty() || fresh {
                continue;
            }
            book.looked = Some(now);
            let (open, changes) = match any_open(&book.windows, now) {
                WindowState::Open(until) => (true, Some(until)),
                WindowState::Closed(next) => (false, next),
            };
            book.changes = changes;
            if open && !book.open {
                self.freed.insert(Key::Window(*id));
            }
            book.open = open;
        }
    }

    /// When a window that somebody waits for opens.
    pub fn wake(&self) -> Option<Timestamp> {
        let waited = |id: &BookId| self.waiters.contains_key(&Key::Window(*id));
        self.books
            .iter()
            .filter(|(id, book)| !book.open && waited(id))
            .filter_map(|(_, book)| book.changes)
            .min()
    }

    /// What keeps a policy (or, jointly, several) from disrupting a destination.
    pub fn blocked(&self, policies: &[PolicyId], destination: u32) -> Option<Key> {
        let down = self.down.contains(destination);
        let all = BookId::Inventory(BudgetId(0))..=BookId::Inventory(BudgetId(u32::MAX));
        let own = policies.iter().flat_map(|policy| {
            let all = BookId::Policy(*policy, 0)..=BookId::Policy(*policy, u32::MAX);
            self.books.range(all)
        });
        for (id, book) in self.books.range(all).chain(own) {
            if !book.members.contains(destination) {
                continue;
            }
            if !book.open {
                return Some(Key::Window(*id));
            }
            let group = self.groupings[book.grouping].get(destination);
            let (used, allowed) = book.state(group);
            if !down && u64::from(used) >= allowed {
                return Some(Key::Group(*id, group));
            }
        }
        None
    }

    /// The groups that a destination belongs to.
    pub fn groups_of(&self, destination: u32) -> Vec<Key> {
        let books = self.books.iter();
        books
            .map(|(id, book)| Key::Group(*id, self.groupings[book.grouping].get(destination)))
            .collect()
    }

    /// How many could go on that wait for a group or a window; all if that is no longer counted.
    pub fn room(&self, key: Key) -> u64 {
        match key {
            Key::Group(id, group) => self.books.get(&id).map_or(u64::MAX, |book| {
                let (used, allowed) = book.state(group);
                allowed.saturating_sub(u64::from(used))
            }),
            Key::Window(id) => match self.books.get(&id) {
                Some(book) if !book.open => 0,
                _ => u64::MAX,
            },
            Key::Lane(..) | Key::Closed(_) => u64::MAX,
        }
    }

    /// A group's name, how many of it are down, and how many may be.
    pub fn group(&self, id: BookId, group: u32) -> (String, u32, u64) {
        self.books.get(&id).map_or_else(Default::default, |book| {
            let names = &self.groupings[book.grouping].names;
            let name = names.get(group as usize).cloned().unwrap_or_default();
            let (used, allowed) = book.state(group);
            (name, used, allowed)
        })
    }

    /// When a book's window opens.
    pub fn opens(&self, id: BookId) -> Option<Timestamp> {
        let book = self.books.get(&id)?;
        if book.open { None } else { book.changes }
    }

    /// The groups of an inventory's budget that have members: name, unavailable, allowed. For its status.
    pub fn groups(&self, budget: BudgetId) -> Vec<(String, u32, u64)> {
        let id = BookId::Inventory(budget);
        let Some(book) = self.books.get(&id) else {
            return Vec::new();
        };
        let mut found: Vec<_> = (0..book.total.len())
            .filter(|g| book.total[*g] > 0)
            .map(|g| self.group(id, g as u32))
            .collect();
        found.sort();
        found
    }

    /// Somebody waits for a key.
    pub fn wait(&mut self, key: Key, policy: PolicyId) {
        self.waiters.entry(key).or_default().insert(policy);
    }

    /// Frees a key for whoever waits for it.
    pub fn free(&mut self, key: Key) {
        if self.waiters.contains_key(&key) {
            self.freed.insert(key);
        }
    }

    /// Frees whoever waits for a slot of a policy.
    pub fn free_lanes(&mut self, policy: PolicyId) {
        let all = Key::Lane(policy, 0)..=Key::Lane(policy, u32::MAX);
        let waited: Vec<Key> = self.waiters.range(all).map(|(key, _)| *key).collect();
        self.freed.extend(waited);
    }

    /// Takes the keys that were freed and somebody waits for, with who does.
    pub fn freed(&mut self) -> Vec<(Key, BTreeSet<PolicyId>)> {
        let freed = std::mem::take(&mut self.freed);
        freed
            .into_iter()
            .filter_map(|key| Some((key, self.waiters.remove(&key)?)))
            .collect()
    }
}
