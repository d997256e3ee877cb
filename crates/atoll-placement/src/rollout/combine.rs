//! Several policies on one object: a copy has one version, the oldest that any policy which holds anything back allows there.
//!
//! Always true: where all of them allow a version, or a newer one, that version is there; where one selects a destination and allows nothing yet, nothing is. Policies without a RolloutPolicy allow
//! what is newest and hold nothing back, unless they are alone. Who holds a copy back is named.

use std::collections::BTreeMap;

use super::PolicyId;
use crate::Destinations;

/// A version of one object: newer content of the object has a higher number, and going back to old content has the old number again (say, the log's revision at which the object first had it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u64);

/// What one policy says about one object.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Which policy.
    pub policy: PolicyId,
    /// It has a RolloutPolicy.
    pub holds: bool,
    /// Whom it selects.
    pub selected: Destinations,
    /// Who may have which version of the object by it: its assigned bitmaps, by the version that each revision has. Disjoint.
    pub allowed: Vec<(Version, Destinations)>,
}

/// What the claims come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Combined {
    /// Who has which version.
    pub versions: BTreeMap<Version, Destinations>,
    /// Who is held below what another policy allows, and by which.
    pub held: BTreeMap<PolicyId, Destinations>,
}

/// Combines what the policies that select an object say.
pub fn combine(claims: &[Claim]) -> Combined {
    let mut combined = Combined::default();
    // Those that hold anything back decide wherever they select; the others where none of those does.
    let mut decided = Destinations::new();
    for claim in claims.iter().filter(|c| c.holds) {
        decided |= &claim.selected;
        for (_, set) in &claim.allowed {
            decided |= set;
        }
    }
    let mut open = decided.clone();
    // Where a policy selects and allows nothing, nothing is allowed.
    for claim in claims.iter().filter(|c| c.holds) {
        let mut nothing = claim.selected.clone();
        for (_, set) in &claim.allowed {
            nothing -= set;
        }
        nothing &= &open;
        open -= &nothing;
        let mut wanted = Destinations::new();
        for other in claims.iter().filter(|c| c.policy != claim.policy) {
            for (_, set) in &other.allowed {
                wanted |= set & &nothing;
            }
        }
        hold(&mut combined, claim.policy, &wanted);
    }
    // The oldest first: whoever is taken is decided.
    let mut offers: Vec<(Version, usize, Destinations)> = Vec::new();
    for (i, claim) in claims.iter().enumerate() {
        for (version, set) in &claim.allowed {
            let part = if claim.holds {
                set & &open
            } else {
                set - &decided
            };
            if !part.is_empty() {
                offers.push((*version, i, part));
            }
        }
    }
    offers.sort_by_key(|(version, i, _)| (*version, *i));
    let mut taken = Destinations::new();
    for (version, i, set) in &offers {
        let claim = &claims[*i];
        let mut new = set - &taken;
        if !claim.holds {
            // Of those that hold nothing back the newest counts.
            for (_, _, newer) in offers
                .iter()
                .filter(|(v, j, _)| v > version && !claims[*j].holds)
            {
                new -= newer;
            }
        } else {
            let mut below = Destinations::new();
            for other in claims.iter().filter(|c| c.policy != claim.policy) {
                for (_, newer) in other.allowed.iter().filter(|(v, _)| v > version) {
                    below |= newer & &new;
                }
            }
            hold(&mut combined, claim.policy, &below);
        }
        if !new.is_empty() {
            taken |= &new;
            *combined.versions.entry(*version).or_default() |= new;
        }
    }
    combined
}

fn hold(combined: &mut Combined, policy: PolicyId, who: &Destinations) {
    if !who.is_empty() {
        *combined.held.entry(policy).or_default() |= who;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// One destination, said as simply as possible: (version, who holds it back).
    fn naive(claims: &[Claim], d: u32) -> (Option<u64>, Vec<u32>) {
        let of = |c: &Claim| {
            let mut all = c.allowed.iter().filter(|(_, s)| s.contains(d));
            all.next().map(|(v, _)| v.0)
        };
        let concerned = |c: &&Claim| c.selected.contains(d) || of(c).is_some();
        let holders: Vec<&Claim> = claims
            .iter()
            .filter(|c| c.holds)
            .filter(concerned)
            .collect();
        if holders.is_empty() {
            return (claims.iter().filter_map(of).max(), Vec::new());
        }
        let least = holders.iter().map(|c| of(c)).min().flatten();
        let held = |c: &&&Claim| {
            of(c) == least && claims.iter().any(|o| o.policy != c.policy && of(o) > least)
        };
        let mut by: Vec<u32> = holders.iter().filter(held).map(|c| c.policy.0).collect();
        by.truncate(if least.is_some() { 1 } else { by.len() });
        (least, by)
    }

    proptest! {
        #[test]
        fn combining_equals_asking_each_destination(
            raw in proptest::collection::vec((any::<bool>(), proptest::collection::vec((any::<bool>(), proptest::option::of(1u64..4)), 6)), 1..4)
        ) {
            let claims: Vec<Claim> = raw.into_iter().enumerate().map(|(i, (holds, at))| {
                let mut allowed: BTreeMap<u64, Destinations> = BTreeMap::new();
                let mut selected = Destinations::new();
                for (d, (chosen, version)) in at.into_iter().enumerate() {
                    if chosen { selected.insert(d as u32); }
                    if let Some(v) = version { allowed.entry(v).or_default().insert(d as u32); }
                }
                Claim { policy: PolicyId(i as u32), holds, selected, allowed: allowed.into_iter().map(|(v, s)| (Version(v), s)).collect() }
            }).collect();
            let combined = combine(&claims);
            for d in 0..6u32 {
                let version = combined.versions.iter().find(|(_, s)| s.contains(d)).map(|(v, _)| v.0);
                let by: Vec<u32> = combined.held.iter().filter(|(_, s)| s.contains(d)).map(|(p, _)| p.0).collect();
                let (expected, holders) = naive(&claims, d);
                prop_assert_eq!(version, expected);
                prop_assert_eq!(by.is_empty(), holders.is_empty());
                prop_assert!(by.iter().all(|p| claims[*p as usize].holds));
            }
        }
    }
}
