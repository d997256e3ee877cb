//! What a call costs at worst, and how large its result can be, beyond its arguments.

use super::size::{Range, UNKNOWN};
use super::{Call, Estimate, Estimator, NodeKind};
use crate::eval::val::Val;
use crate::library::Charge;
use crate::library::charge::{AUTHORIZATION, selector};
use crate::types::Type;

impl Estimator<'_> {
    /// Cost and result size of one overload of a call. A receiver is the first argument.
    pub(super) fn overload(
        &self,
        call: &Call,
        id: &str,
        arguments: &[Estimate],
    ) -> (Range, Option<Range>) {
        let size = |place: usize| {
            arguments
                .get(place)
                .and_then(|argument| argument.size)
                .unwrap_or(UNKNOWN)
        };
        let one = Range::exactly(1);
        let plus_one = |range: Range| range.add(one);
        match call.function.charge {
            Charge::One | Charge::Otherwise | Charge::Dyn | Charge::Index => (one, None),
            Charge::Traverse => (size(0).factor(0.1), None),
            Charge::TraverseSame => (size(0).factor(0.1), Some(size(0))),
            Charge::Replace => (
                size(0).factor(0.2),
                Some(replaced(size(0), size(1), size(2))),
            ),
            Charge::Split => {
                let most = match literal(call, 2) {
                    Some(limit) => limit as u64,
                    None => size(0).max,
                };
                (size(0).factor(0.2), Some(Range::new(0, most)))
            }
            Charge::Join => {
                let list = size(0);
                let of = call
                    .arguments
                    .first()
                    .map_or(&Type::Dyn, |argument| &argument.output);
                let mut total = match arguments.first().and_then(|list| self.items(of, list)) {
                    Some((_, item)) => list.times(item),
                    None => Range::ZERO,
                };
                if arguments.len() > 1 {
                    total = total.add(size(1).times(Range::new(
                        list.min.saturating_sub(1),
                        list.max.saturating_sub(1),
                    )));
                }
                (total.factor(0.1), Some(total))
            }
            Charge::Affix => (size(1).factor(0.1), None),
            Charge::Contains => (size(0).factor(0.1).times(size(1).factor(0.1)), None),
            Charge::Matches if id == "matches_string" => (pattern(size(0), size(1)), None),
            Charge::Matches => (one, None),
            Charge::Find => (pattern(size(0), size(1)), Some(Range::new(0, size(0).max))),
            Charge::Format => (size(0).factor(0.1), None),
            Charge::Quote => (
                size(0).factor(0.1),
                Some(Range::new(
                    size(0).min.saturating_add(2),
                    size(0).max.wrapping_mul(2).wrapping_add(2),
                )),
            ),
            Charge::ToBytes if id == "string_to_bytes" => (
                size(0).factor(0.1),
                Some(Range::new(size(0).min, size(0).max.wrapping_mul(4))),
            ),
            Charge::ToBytes => (one, None),
            Charge::ToText if id == "bytes_to_string" => (
                size(0).factor(0.1),
                Some(Range::new(size(0).min / 4, size(0).max)),
            ),
            Charge::ToText => (one, None),
            Charge::In if id == "in_list" => (size(1), None),
            Charge::In => (one, None),
            Charge::Equality => (equality(call, size(0), size(1)), None),
            Charge::Order if id.ends_with("_string") || id.ends_with("_bytes") => {
                (compared(size(0), size(1)), None)
            }
            Charge::Order => (one, None),
            Charge::Add => match id {
                "add_string" | "add_bytes" => {
                    let total = size(0).add(size(1));
                    (total.factor(0.1), Some(total))
                }
                "add_list" => (one, Some(size(0).add(size(1)))),
                _ => (one, None),
            },
            Charge::Visit => {
                let of = call
                    .arguments
                    .first()
                    .map_or(&Type::Dyn, |argument| &argument.output);
                let cost = match arguments.first().and_then(|list| self.items(of, list)) {
                    Some((item, declared))
                        if matches!(item.plain(), Type::String | Type::Bytes) =>
                    {
                        size(0).times(plus_one(declared.factor(0.1)))
                    }
                    Some(_) => size(0),
                    None => size(0).factor(0.1),
                };
                (cost, None)
            }
            Charge::Ip if id == "cidr_ip" => (one, None),
            Charge::Ip => (size(0).factor(0.1), None),
            Charge::Canonical => (size(0).factor(0.2), None),
            Charge::ContainsIp => {
                let compare = Range::new(8, 32).factor(0.1);
                (
                    if id.ends_with("_string") {
                        compare.add(size(1).factor(0.1))
                    } else {
                        compare
                    },
                    None,
                )
            }
            Charge::ContainsCidr => {
                let compare = plus_one(
                    Range::new(8, 32)
                        .factor(0.1)
                        .add(Range::new(4, 16).factor(0.1)),
                );
                (
                    if id.ends_with("_string") {
                        compare.add(size(1).factor(0.1))
                    } else {
                        compare
                    },
                    None,
                )
            }
            Charge::Validate => (size(1).factor(0.1).factor(128.0 * 0.25), None),
            Charge::Slice => {
                let (start, end) = (
                    literal(call, 1).map_or(0, clamped),
                    literal(call, 2).map_or(size(0).max, clamped),
                );
                allocating(1.0, Range::exactly(end.wrapping_sub(start)))
            }
            Charge::Range => allocating(
                1.0,
                Range::exactly(literal(call, 0).map_or(u64::MAX, clamped)),
            ),
            Charge::Reverse => allocating(1.0, size(0)),
            Charge::Flatten => {
                let depth = if arguments.len() > 1 {
                    literal(call, 1).map_or(u64::MAX, clamped)
                } else {
                    1
                };
                allocating(depth as f64, size(0))
            }
            Charge::Distinct => allocating(2.0, size(0).times(size(0))),
            Charge::Sort => allocating(sorting(id), size(0).times(size(0))),
            Charge::SortBy => allocating(sorting(id), size(1).times(size(1))),
            Charge::Authorize => (Range::exactly(AUTHORIZATION), None),
            Charge::Selector => (
                Range::new(selector(size(1).min), selector(size(1).max)),
                None,
            ),
            Charge::Sets(times) => (plus_one(size(0).times(size(1)).factor(times.into())), None),
        }
    }
}

/// An integer written as a literal.
fn literal(call: &Call, place: usize) -> Option<i64> {
    match &call.arguments.get(place)?.kind {
        NodeKind::Constant(Val::Int(i)) => Some(*i),
        _ => None,
    }
}

fn clamped(i: i64) -> u64 {
    u64::try_from(i).unwrap_or(0)
}

fn pattern(text: Range, pattern: Range) -> Range {
    text.add(Range::exactly(1))
        .factor(0.1)
        .times(pattern.factor(0.25))
}

fn sorting(id: &str) -> f64 {
    if id.starts_with("list_string_") || id.starts_with("list_bytes_") {
        2.1
    } else {
        2.0
    }
}

/// A call that makes a list.
fn allocating(factor: f64, size: Range) -> (Range, Option<Range>) {
    (size.factor(factor).add(Range::exactly(11)), Some(size))
}

fn compared(a: Range, b: Range) -> Range {
    let most = a.max.min(b.max);
    Range::new(u64::from(most > 0), most).factor(0.1)
}

fn equality(call: &Call, a: Range, b: Range) -> Range {
    let of = |place: usize| {
        call.arguments
            .get(place)
            .map(|argument| argument.output.plain())
    };
    // `!=` is compared like anything else.
    match (call.function.name, of(0), of(1)) {
        ("_==_", Some(Type::Opaque(one)), Some(Type::Opaque(other))) if one == other => {
            match *one {
                "kubernetes.NamedFormat" => Range::new(1, 64).factor(0.1),
                "kubernetes.URL" => Range::new(1, b.max).factor(0.1),
                _ => Range::exactly(1),
            }
        }
        _ => compared(a, b),
    }
}

/// How long a text can be after `old` in it became `new`.
fn replaced(text: Range, old: Range, new: Range) -> Range {
    let parts = |size: u64, of: u64| (size as f64 / of as f64).ceil() as u64;
    let (most, kept_most) = if old.min == 0 {
        (text.max.saturating_add(1), text.max)
    } else if new.max <= old.min {
        (0, text.max)
    } else {
        (parts(text.max, old.min), 0)
    };
    let (least, kept_least) = if old.max == 0 {
        (text.min.saturating_add(1), text.min)
    } else if old.max <= new.min {
        (0, text.min)
    } else {
        (parts(text.min, old.max), 0)
    };
    Range::new(least, most)
        .times(new)
        .add(Range::new(kept_least, kept_most))
}
