//! Numbers that are added and ordered exactly.
//!
//! Always true: a [`Number`] has one form (an integral float within 64 bits is an integer, zero has no sign, NaN is one value), and an [`ExactSum`] depends only on which
//! numbers it holds how often, never on the order in which they came or went. So an aggregate kept by retraction is bitwise the one computed from scratch.

use std::cmp::Ordering;
use std::fmt;

/// A number in its one form. Total order: by value, NaN last.
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// An integer. What comes out of an expression fits 65 bits; sums may be longer.
    Int(i128),
    /// What is no integer of at most 64 bits: fractions, the very large, infinities, NaN.
    Double(f64),
}

/// 2^64: integral floats up to here are integers.
const INTEGRAL: f64 = 18_446_744_073_709_551_616.0;

impl Number {
    /// A float's one form.
    pub fn from_f64(x: f64) -> Number {
        if x.is_nan() {
            Number::Double(f64::NAN)
        } else if x.fract() == 0.0 && x.abs() <= INTEGRAL {
            Number::Int(x as i128)
        } else {
            Number::Double(x)
        }
    }

    /// The nearest float.
    pub fn to_f64(self) -> f64 {
        match self {
            Number::Int(i) => i as f64,
            Number::Double(d) => d,
        }
    }

    /// Reads what KubeStellar takes for a number in text: an integer or a float.
    pub fn parse(text: &str) -> Option<Number> {
        if let Ok(i) = text.parse::<i64>() {
            return Some(Number::Int(i128::from(i)));
        }
        text.parse::<f64>().ok().map(Number::from_f64)
    }

    /// Whether it is no number.
    pub fn is_nan(self) -> bool {
        matches!(self, Number::Double(d) if d.is_nan())
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Number::Int(a), Number::Int(b)) => a.cmp(b),
            (Number::Double(a), Number::Double(b)) => match (a.is_nan(), b.is_nan()) {
                (false, false) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
                (a, b) => a.cmp(&b),
            },
            (Number::Int(i), Number::Double(d)) => int_to_double(*i, *d),
            (Number::Double(d), Number::Int(i)) => int_to_double(*i, *d).reverse(),
        }
    }
}

/// A double is a fraction or beyond 64 bits. Conversion saturates, which is what the very large and the infinite need.
fn int_to_double(i: i128, d: f64) -> Ordering {
    if d.is_nan() || i <= d.floor() as i128 {
        Ordering::Less
    } else {
        Ordering::Greater
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl fmt::Display for Number {
    /// As JSON writes numbers; `NaN`, `+Inf` and `-Inf` as KubeStellar writes what JSON cannot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Int(i) => write!(f, "{i}"),
            Number::Double(d) if d.is_nan() => f.write_str("NaN"),
            Number::Double(d) if d.is_infinite() => {
                f.write_str(if *d > 0.0 { "+Inf" } else { "-Inf" })
            }
            Number::Double(d) => match serde_json::Number::from_f64(*d) {
                Some(number) => write!(f, "{number}"),
                None => write!(f, "{d}"),
            },
        }
    }
}

/// Words of 64 bits of a fixed-point number with the unit 2^-1074: every finite float, 2^64 times over, and a sign.
const WORDS: usize = 36;
/// Where the ones are.
const ONE: usize = 1074;

/// A sum of finite floats, exact, in two's complement.
#[derive(Clone, PartialEq, Eq)]
struct Wide([u64; WORDS]);

impl fmt::Debug for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wide({:e})", self.to_f64())
    }
}

impl Wide {
    const ZERO: Wide = Wide([0; WORDS]);

    fn is_zero(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// Adds or subtracts `magnitude * 2^(shift - 1074)`.
    fn add_shifted(&mut self, magnitude: u128, shift: usize, subtract: bool) {
        let (word, bits) = (shift / 64, (shift % 64) as u32);
        let low = magnitude << bits;
        let high = if bits == 0 {
            0
        } else {
            (magnitude >> (128 - bits)) as u64
        };
        let parts = [low as u64, (low >> 64) as u64, high];
        let mut carry = false;
        for (i, target) in self.0.iter_mut().enumerate().skip(word) {
            let part = parts.get(i - word).copied().unwrap_or(0);
            if i - word >= parts.len() && !carry {
                break;
            }
            let (sum, over, again);
            if subtract {
                (sum, over) = target.overflowing_sub(part);
                (*target, again) = sum.overflowing_sub(u64::from(carry));
            } else {
                (sum, over) = target.overflowing_add(part);
                (*target, again) = sum.overflowing_add(u64::from(carry));
            }
            carry = over || again;
        }
    }

    fn add(&mut self, x: f64, times: u64, subtract: bool) {
        let bits = x.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as usize;
        let fraction = bits & ((1 << 52) - 1);
        let (mantissa, shift) = if exponent == 0 {
            (fraction, 0)
        } else {
            (fraction | 1 << 52, exponent - 1)
        };
        self.add_shifted(
            u128::from(mantissa) * u128::from(times),
            shift,
            subtract != (x < 0.0),
        );
    }

    fn add_int(&mut self, i: i128) {
        self.add_shifted(i.unsigned_abs(), ONE, i < 0);
    }

    fn add_wide(&mut self, other: &Wide) {
        let mut carry = false;
        for (target, part) in self.0.iter_mut().zip(other.0) {
            let (sum, over) = target.overflowing_add(part);
            let (sum, again) = sum.overflowing_add(u64::from(carry));
            *target = sum;
            carry = over || again;
        }
    }

    /// The nearest float, ties to even.
    fn to_f64(&self) -> f64 {
        let negative = self.0[WORDS - 1] >> 63 == 1;
        let mut words = self.0;
        if negative {
            let mut carry = true;
            for word in &mut words {
                let (value, over) = (!*word).overflowing_add(u64::from(carry));
                *word = value;
                carry = over;
            }
        }
        let Some(top) = words.iter().rposition(|word| *word != 0) else {
            return 0.0;
        };
        let high = top * 64 + 63 - words[top].leading_zeros() as usize;
        let bit = |at: usize| words[at / 64] >> (at % 64) & 1;
        let magnitude = if high <= 52 {
            // Fewer than 53 bits from the unit up: the bits are the float.
            f64::from_bits(words[0])
        } else {
            let low = high - 52;
            let mantissa = (low..=high).rev().fold(0u64, |m, at| m << 1 | bit(at));
            let half = bit(low - 1) == 1;
            let more = (0..low - 1).any(|at| bit(at) == 1);
            let exponent = low as u64 + 1;
            if exponent >= 0x7ff {
                f64::INFINITY
            } else {
                // A mantissa that rounds up to 2^53 carries into the exponent, as it should.
                let rounded = u64::from(half && (more || mantissa & 1 == 1));
                f64::from_bits((exponent << 52) + (mantissa - (1 << 52)) + rounded)
            }
        };
        if negative { -magnitude } else { magnitude }
    }
}

/// A sum that can be taken back: exact, whatever came and went in which order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExactSum {
    count: u64,
    ints: i128,
    wide: Option<Box<Wide>>,
    nan: u64,
    plus: u64,
    minus: u64,
}

impl ExactSum {
    /// Adds a number so many times.
    pub fn add(&mut self, number: Number, times: u64) {
        self.change(number, times, false);
    }

    /// Takes a number back so many times; it was added before.
    pub fn retract(&mut self, number: Number, times: u64) {
        self.change(number, times, true);
    }

    fn change(&mut self, number: Number, times: u64, back: bool) {
        let step = |counter: &mut u64| {
            *counter = if back {
                counter.saturating_sub(times)
            } else {
                counter.saturating_add(times)
            }
        };
        step(&mut self.count);
        match number {
            Number::Int(i) => {
                let all = i.wrapping_mul(i128::from(times));
                self.ints = if back {
                    self.ints.wrapping_sub(all)
                } else {
                    self.ints.wrapping_add(all)
                };
            }
            Number::Double(d) if d.is_nan() => step(&mut self.nan),
            Number::Double(f64::INFINITY) => step(&mut self.plus),
            Number::Double(f64::NEG_INFINITY) => step(&mut self.minus),
            Number::Double(d) => {
                self.wide
                    .get_or_insert_with(|| Box::new(Wide::ZERO))
                    .add(d, times, back);
                self.tidy();
            }
        }
    }

    /// Puts another sum's numbers in.
    pub fn merge(&mut self, other: &ExactSum) {
        self.count = self.count.saturating_add(other.count);
        self.ints = self.ints.wrapping_add(other.ints);
        self.nan = self.nan.saturating_add(other.nan);
        self.plus = self.plus.saturating_add(other.plus);
        self.minus = self.minus.saturating_add(other.minus);
        if let Some(wide) = &other.wide {
            self.wide
                .get_or_insert_with(|| Box::new(Wide::ZERO))
                .add_wide(wide);
            self.tidy();
        }
    }

    /// One form: no room for a sum of zero.
    fn tidy(&mut self) {
        if self.wide.as_ref().is_some_and(|wide| wide.is_zero()) {
            self.wide = None;
        }
    }

    /// How many numbers it holds.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The sum: an integer when all were, else the nearest float to the exact sum. Zero of nothing.
    pub fn total(&self) -> Number {
        if self.nan > 0 || self.plus > 0 && self.minus > 0 {
            return Number::Double(f64::NAN);
        }
        if self.plus > 0 {
            return Number::Double(f64::INFINITY);
        }
        if self.minus > 0 {
            return Number::Double(f64::NEG_INFINITY);
        }
        match &self.wide {
            None => Number::Int(self.ints),
            Some(wide) => {
                let mut all = wide.clone();
                all.add_int(self.ints);
                Number::from_f64(all.to_f64())
            }
        }
    }

    /// The mean; NaN of nothing.
    pub fn mean(&self) -> Number {
        match self.count {
            0 => Number::Double(f64::NAN),
            count => Number::from_f64(self.total().to_f64() / count as f64),
        }
    }

    /// How many bytes it keeps beside itself.
    pub(crate) fn heap(&self) -> usize {
        self.wide.as_ref().map_or(0, |_| size_of::<Wide>())
    }

    /// The parts, for the wire: count, integers, NaN, +Inf, -Inf, and the words of the rest.
    pub(crate) fn parts(&self) -> (u64, i128, [u64; 3], Option<&[u64; WORDS]>) {
        (
            self.count,
            self.ints,
            [self.nan, self.plus, self.minus],
            self.wide.as_ref().map(|wide| &wide.0),
        )
    }

    /// The inverse of [`Self::parts`].
    pub(crate) fn from_parts(
        count: u64,
        ints: i128,
        [nan, plus, minus]: [u64; 3],
        words: Option<Vec<u64>>,
    ) -> Option<ExactSum> {
        let wide = match words {
            None => None,
            Some(words) => Some(Box::new(Wide(words.try_into().ok()?))),
        };
        let mut sum = ExactSum {
            count,
            ints,
            wide,
            nan,
            plus,
            minus,
        };
        sum.tidy();
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_form_and_one_order() {
        let ordered = [
            Number::from_f64(f64::NEG_INFINITY),
            Number::from_f64(-1e300),
            Number::Int(-3),
            Number::from_f64(-2.5),
            Number::from_f64(-0.0),
            Number::from_f64(0.5),
            Number::from_f64(1.0),
            Number::from_f64(1.5),
            Number::Int(i128::from(u64::MAX)),
            Number::from_f64(1e22),
            Number::from_f64(f64::INFINITY),
            Number::from_f64(f64::NAN),
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(a.cmp(b), i.cmp(&j), "{a} {b}");
            }
        }
        for (text, expected) in [
            ("7", "7"),
            ("7.0", "7"),
            ("-0", "0"),
            ("0.1", "0.1"),
            ("1e3", "1000"),
            ("1e300", "1e+300"),
            ("NaN", "NaN"),
            ("-inf", "-Inf"),
        ] {
            assert_eq!(Number::parse(text).unwrap().to_string(), expected);
        }
        assert_eq!(Number::parse("7 pods"), None);
    }

    #[test]
    fn cancellation_loses_nothing() {
        let mut sum = ExactSum::default();
        for x in [1e308, 1.0, 5e-324, -1e308, 0.25] {
            sum.add(Number::from_f64(x), 3);
        }
        sum.retract(Number::from_f64(5e-324), 3);
        assert_eq!(sum.total(), Number::Double(3.75));
        sum.retract(Number::Double(0.25), 3);
        sum.retract(Number::Double(1e308), 3);
        sum.retract(Number::Double(-1e308), 3);
        assert_eq!((sum.total(), sum.count()), (Number::Int(3), 3));
        assert_eq!(ExactSum::default().mean().to_string(), "NaN");
    }

    fn number() -> impl Strategy<Value = Number> {
        prop_oneof![
            any::<i64>().prop_map(|i| Number::Int(i.into())),
            any::<u64>().prop_map(|i| Number::Int(i.into())),
            any::<f64>().prop_map(Number::from_f64),
            (-100i32..100).prop_map(|i| Number::from_f64(f64::from(i) / 8.0)),
        ]
    }

    proptest! {
        /// Any order, any splitting, and any detour give the same bits.
        #[test]
        fn a_sum_forgets_its_history(kept in proptest::collection::vec((number(), 1u64..1000), 0..20),
            gone in proptest::collection::vec((number(), 1u64..1000), 0..20), at in 0usize..20) {
            let mut straight = ExactSum::default();
            for (n, times) in &kept { straight.add(*n, *times); }
            let mut winding = ExactSum::default();
            for (n, times) in &gone { winding.add(*n, *times); }
            for (n, times) in kept.iter().rev() { winding.add(*n, times - 1); winding.add(*n, 1); }
            for (n, times) in &gone { winding.retract(*n, *times); }
            prop_assert_eq!(&straight, &winding);
            let (left, right) = kept.split_at(at.min(kept.len()));
            let (mut one, mut two) = (ExactSum::default(), ExactSum::default());
            for (n, times) in left { one.add(*n, *times); }
            for (n, times) in right { two.add(*n, *times); }
            two.merge(&one);
            prop_assert_eq!(&straight, &two);
        }

        /// One finite float comes back as it went in, and two add up as the machine adds them.
        #[test]
        fn small_sums_are_the_machines(a in any::<f64>(), b in any::<f64>()) {
            let mut sum = ExactSum::default();
            sum.add(Number::from_f64(a), 1);
            prop_assert_eq!(sum.total(), Number::from_f64(a));
            sum.add(Number::from_f64(b), 1);
            prop_assert_eq!(sum.total(), Number::from_f64(a + b));
        }
    }
}
