//! Estimates that can be taken back and merged: how many values differ, and how they are distributed.
//!
//! Always true: a sketch is a function of which values it holds how often, never of their order, and a value taken out leaves no trace. Both use only the bits of hashes and
//! floats, so every process on every machine makes the same sketch of the same values.

use std::collections::BTreeMap;

use super::number::Number;

/// 2^10 registers: an estimate is off by about 3 % (one standard error).
const PRECISION: u32 = 10;
const REGISTERS: usize = 1 << PRECISION;

/// How often each (register, rank) occurs: a HyperLogLog whose registers can go down again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Distinct(BTreeMap<u16, u64>);

impl Distinct {
    /// Adds (or takes back) a value's hash so many times; the change in how much is kept.
    pub(crate) fn change(&mut self, hash: u64, times: u64, back: bool) -> isize {
        let register = (hash >> (64 - PRECISION)) as u16;
        let rank = ((hash << PRECISION) | 1 << (PRECISION - 1)).leading_zeros() as u16 + 1;
        count(&mut self.0, register << 6 | rank, times, back)
    }

    /// The registers that a HyperLogLog of these values has.
    pub(crate) fn registers(&self) -> Registers {
        let mut registers = Registers::default();
        for key in self.0.keys() {
            // Ascending: the last of a register is its greatest rank.
            registers.0.insert(key >> 6, (key & 63) as u8);
        }
        registers
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// A HyperLogLog: the registers that are not zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registers(pub(crate) BTreeMap<u16, u8>);

impl Registers {
    /// Puts another's values in.
    pub fn merge(&mut self, other: &Registers) {
        for (register, rank) in &other.0 {
            let mine = self.0.entry(*register).or_default();
            *mine = (*mine).max(*rank);
        }
    }

    /// About how many distinct values there are.
    pub fn estimate(&self) -> u64 {
        let m = REGISTERS as f64;
        let zeros = REGISTERS - self.0.len();
        if zeros == REGISTERS {
            return 0;
        }
        let ranks: f64 = self
            .0
            .values()
            .map(|rank| 0.5f64.powi(i32::from(*rank)))
            .sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / (zeros as f64 + ranks);
        let estimate = if raw <= 2.5 * m && zeros > 0 {
            m * (m / zeros as f64).ln()
        } else {
            raw
        };
        estimate.round() as u64
    }
}

/// How often numbers of each bucket occur. A bucket is a float's sign, exponent and seven bits of mantissa: its least number is at most 0.8 % below any other, and
/// integers up to 256 have one each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quantiles(pub(crate) BTreeMap<i32, u64>);

/// How many bits of a float do not tell its bucket.
const DROPPED: u32 = 52 - 7;

impl Quantiles {
    /// Adds (or takes back) a number so many times; the change in how much is kept.
    pub(crate) fn change(&mut self, number: Number, times: u64, back: bool) -> isize {
        let x = number.to_f64();
        if x.is_nan() {
            return 0;
        }
        let bucket = (x.abs().to_bits() >> DROPPED) as i32;
        let bucket = if x < 0.0 { -bucket } else { bucket };
        count(&mut self.0, bucket, times, back)
    }

    /// Puts another's numbers in.
    pub fn merge(&mut self, other: &Quantiles) {
        for (bucket, times) in &other.0 {
            let mine = self.0.entry(*bucket).or_default();
            *mine = mine.saturating_add(*times);
        }
    }

    /// About the number that this share of all is not above; `None` of nothing.
    pub fn quantile(&self, share: f64) -> Option<Number> {
        let all = self
            .0
            .values()
            .fold(0u64, |all, times| all.saturating_add(*times));
        let rank = ((share * all as f64).ceil() as u64).clamp(1, all.max(1));
        let mut below = 0u64;
        for (bucket, times) in &self.0 {
            below = below.saturating_add(*times);
            if below >= rank {
                let x = f64::from_bits(u64::from(bucket.unsigned_abs()) << DROPPED);
                return Some(Number::from_f64(if *bucket < 0 { -x } else { x }));
            }
        }
        None
    }

    /// How many entries it has.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Changes a count in a multiset; the change in how many entries it has.
pub(crate) fn count<K: Ord>(map: &mut BTreeMap<K, u64>, key: K, times: u64, back: bool) -> isize {
    if times == 0 {
        return 0;
    }
    if !back {
        let held = map.entry(key).or_default();
        let new = *held == 0;
        *held = held.saturating_add(times);
        return isize::from(new);
    }
    let Some(held) = map.get_mut(&key) else {
        return 0;
    };
    *held = held.saturating_sub(times);
    if *held == 0 {
        map.remove(&key);
        return -1;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::algebra::cell::Cell;

    fn hash(i: u64) -> u64 {
        Cell::Number(Number::Int(i128::from(i))).hash()
    }

    #[test]
    fn distinct_values_are_estimated_and_taken_back() {
        let mut sketch = Distinct::default();
        assert_eq!(sketch.registers().estimate(), 0);
        for (upto, tolerance) in [(3u64, 0), (100, 4), (10_000, 1_000), (200_000, 20_000)] {
            for i in sketch_size(&sketch)..upto {
                sketch.change(hash(i), 1 + i % 3, false);
            }
            let estimate = sketch.registers().estimate();
            assert!(estimate.abs_diff(upto) <= tolerance, "{upto}: {estimate}");
        }
        for i in 100..200_000 {
            sketch.change(hash(i), 1 + i % 3, true);
        }
        let mut fresh = Distinct::default();
        for i in (0..100).rev() {
            fresh.change(hash(i), 1 + i % 3, false);
        }
        assert_eq!(sketch, fresh);
    }

    /// The values are put in in steps, each from where the last ended: 3, 100, 10,000 …
    fn sketch_size(sketch: &Distinct) -> u64 {
        match sketch.0.values().sum::<u64>() {
            0 => 0,
            n if n < 10 => 3,
            n if n < 1000 => 100,
            _ => 10_000,
        }
    }

    #[test]
    fn quantiles_are_near_and_never_above() {
        let mut sketch = Quantiles::default();
        assert_eq!(sketch.quantile(0.5), None);
        for i in 1..=10_000i128 {
            sketch.change(Number::Int(i), 1, false);
        }
        for (share, exact) in [
            (0.0, 1.0),
            (0.01, 100.0),
            (0.5, 5000.0),
            (0.99, 9900.0),
            (1.0, 10_000.0),
        ] {
            let found = sketch.quantile(share).unwrap().to_f64();
            assert!(found <= exact && found >= exact * 0.992, "{share}: {found}");
        }
        for i in 3..=10_000i128 {
            sketch.change(Number::Int(i), 1, true);
        }
        sketch.change(Number::from_f64(-0.5), 2, false);
        assert_eq!(sketch.0.len(), 3);
        assert_eq!(sketch.quantile(0.1), Some(Number::Double(-0.5)));
        assert_eq!(sketch.quantile(1.0), Some(Number::Int(2)));
    }
}
