//! What a call costs when it runs: Kubernetes' own rules, a sort of function each.

use crate::eval::val::{List, Mapping, Text, Val};

/// How a function is charged. The same sort decides how it is estimated (see `cost`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charge {
    /// Constant.
    One,
    /// `or`, `orValue`: constant, and the second argument is evaluated only when it is needed.
    Otherwise,
    /// `dyn`: nothing beyond one.
    Dyn,
    /// A tenth for each character of the first argument.
    Traverse,
    /// As above; the result is as large as the argument.
    TraverseSame,
    /// A fifth for each character of the first argument: `replace`.
    Replace,
    /// A fifth for each character of the first argument: `split`.
    Split,
    /// By the characters of all parts.
    Join,
    /// `startsWith`, `endsWith`.
    Affix,
    /// `string.contains`.
    Contains,
    /// `matches`.
    Matches,
    /// `find`, `findAll`.
    Find,
    /// `string.format`.
    Format,
    /// `strings.quote`.
    Quote,
    /// `bytes(string)`.
    ToBytes,
    /// `string(bytes)`, `string(ip)` and the other conversions to text.
    ToText,
    /// `in`.
    In,
    /// `==`, `!=`.
    Equality,
    /// `<` and its kin.
    Order,
    /// `+`.
    Add,
    /// `_[_]`.
    Index,
    /// `isSorted`, `sum`, `min`, `max`, `indexOf`, `lastIndexOf`.
    Visit,
    /// `ip(…)`.
    Ip,
    /// `ip.isCanonical`.
    Canonical,
    /// `containsIP`.
    ContainsIp,
    /// `containsCIDR`.
    ContainsCidr,
    /// `validate` of a named format.
    Validate,
    /// `slice`.
    Slice,
    /// `lists.range`.
    Range,
    /// `reverse`.
    Reverse,
    /// `flatten`.
    Flatten,
    /// `distinct`.
    Distinct,
    /// `sort`.
    Sort,
    /// `@sortByAssociatedKeys`.
    SortBy,
    /// `check` of an authorizer.
    Authorize,
    /// `fieldSelector`, `labelSelector`.
    Selector,
    /// `sets.…`: so many comparisons of each with each.
    Sets(u8),
}

/// What a question to the authorizer costs.
pub(crate) const AUTHORIZATION: u64 = 350_000;

/// What it costs to read a selector: its characters, and a requirement for every two of them.
pub(crate) fn selector(size: u64) -> u64 {
    10_u64
        .saturating_add(factor(size, 0.1))
        .saturating_add(factor(factor(size, 0.5), 50.0))
}

/// A factor of a size, rounded up.
pub(crate) fn factor(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

impl Charge {
    /// The cost of a call with these arguments, known before it runs. Above what is `left` it need not be exact.
    pub(crate) fn runtime(self, arguments: &[Val<'_>], left: u64) -> u64 {
        let size = |place: usize| arguments.get(place).map_or(1, Val::size);
        let tenth = |size: u64| factor(size, 0.1);
        match self {
            Charge::One | Charge::Otherwise | Charge::Dyn | Charge::Index | Charge::Join => 1,
            Charge::Traverse
            | Charge::TraverseSame
            | Charge::Affix
            | Charge::Format
            | Charge::Quote
            | Charge::ToBytes => tenth(size(0)),
            Charge::ToText => match arguments.first() {
                Some(Val::Bytes(bytes)) => tenth(bytes.len() as u64),
                _ => 1,
            },
            Charge::Replace | Charge::Split => factor(size(0), 0.2),
            Charge::Contains => tenth(size(0)) * tenth(size(1)),
            Charge::Matches | Charge::Find => {
                tenth(size(0) + 1).saturating_mul(factor(size(1), 0.25))
            }
            Charge::In => match arguments.get(1) {
                Some(Val::List(list)) => list.len() as u64,
                _ => 1,
            },
            Charge::Equality => match arguments.first() {
                Some(Val::Opaque(_)) => 1,
                _ => tenth(size(0).min(size(1))),
            },
            Charge::Order => match arguments.first() {
                Some(Val::Text(_) | Val::Bytes(_)) => tenth(size(0).min(size(1))),
                _ => 1,
            },
            Charge::Add => match arguments.first() {
                Some(Val::Text(_) | Val::Bytes(_)) => tenth(size(0) + size(1)),
                _ => 1,
            },
            Charge::Visit => {
                // A step for each unit that is left, and some for what upstream counts as free.
                let mut steps = left.saturating_add(10_000);
                arguments
                    .first()
                    .map_or(1, |value| visit(value, &mut steps))
            }
            Charge::Ip => match arguments.first() {
                Some(Val::Text(text)) => tenth(text.as_str().len() as u64),
                _ => 1,
            },
            Charge::Canonical => factor(size(0), 0.2),
            Charge::ContainsIp => tenth(size(0) * 2) + text_tenth(arguments.get(1)),
            Charge::ContainsCidr => {
                tenth(size(0) * 2) + tenth(size(0)) + 1 + text_tenth(arguments.get(1))
            }
            Charge::Validate => match arguments.first() {
                Some(Val::Opaque(format)) => {
                    tenth(size(1) + 1).saturating_mul(factor(format.pattern_size(), 0.25))
                }
                _ => 1,
            },
            Charge::Slice => match (arguments.get(1), arguments.get(2)) {
                (Some(Val::Int(start)), Some(Val::Int(end))) => {
                    11 + end.saturating_sub(*start).clamp(0, size(0) as i64) as u64
                }
                _ => 11,
            },
            Charge::Range => match arguments.first() {
                Some(Val::Int(count)) => 11_u64.saturating_add((*count).max(0) as u64),
                _ => 11,
            },
            Charge::Reverse => 11 + size(0),
            Charge::Flatten => match arguments.get(1) {
                Some(Val::Int(depth)) => {
                    11_u64.saturating_add(size(0).saturating_mul((*depth).max(0) as u64))
                }
                _ => 11 + size(0),
            },
            Charge::Distinct | Charge::Sort => each_with_each(arguments.first()),
            Charge::SortBy => each_with_each(arguments.get(1)),
            Charge::Authorize => AUTHORIZATION,
            Charge::Selector => selector(size(1)),
            Charge::Sets(times) => {
                1 + size(0)
                    .saturating_mul(size(1))
                    .saturating_mul(u64::from(times))
            }
        }
    }
}

fn text_tenth(value: Option<&Val<'_>>) -> u64 {
    match value {
        Some(Val::Text(Text::Borrowed(text))) => factor(text.len() as u64, 0.1),
        Some(Val::Text(Text::Shared(text))) => factor(text.len() as u64, 0.1),
        _ => 0,
    }
}

fn each_with_each(list: Option<&Val<'_>>) -> u64 {
    let Some(Val::List(list)) = list else {
        return 11;
    };
    let size = list.len() as u64;
    let times = match list.get(0) {
        Some(Ok(Val::Text(_) | Val::Bytes(_))) => 2.1,
        _ => 2.0,
    };
    (size.saturating_mul(size) as f64 * times) as u64 + 11
}

/// Upstream's cost of walking a whole value. Shared parts make a small value large to walk: whoever asks for more than there is left gets no exact answer.
fn visit(value: &Val<'_>, left: &mut u64) -> u64 {
    if *left == 0 {
        return u64::MAX;
    }
    *left -= 1;
    match value {
        Val::Text(text) => text.as_str().len() as u64 / 10,
        Val::Bytes(bytes) => bytes.len() as u64 / 10,
        Val::List(list) => visit_list(list, left),
        Val::Map(map) => visit_map(map, left),
        _ => 1,
    }
}

fn visit_list(list: &List<'_>, left: &mut u64) -> u64 {
    let mut sum: u64 = 0;
    for item in list.iter() {
        sum = sum.saturating_add(item.map_or(1, |item| visit(&item, left)));
    }
    sum
}

fn visit_map(map: &Mapping<'_>, left: &mut u64) -> u64 {
    let mut sum: u64 = 0;
    for key in map.keys() {
        sum = sum.saturating_add(visit(&key.to_val(), left));
        if let Some(value) = map.get(&key) {
            sum = sum.saturating_add(value.map_or(1, |value| visit(&value, left)));
        }
    }
    sum
}
