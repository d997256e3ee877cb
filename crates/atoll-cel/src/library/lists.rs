//! Lists: searching, sorting, cutting, and the numbers of a list.

use std::cmp::Ordering;

use super::strings;
use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::{List, Val, compare, equal};
use crate::time::Duration;

macro_rules! comparable {
    ($before:literal, $middle:literal, $after:literal) => {
        &[
            concat!("list_int_", $before, ": list(int)", $middle, $after),
            concat!("list_uint_", $before, ": list(uint)", $middle, $after),
            concat!("list_double_", $before, ": list(double)", $middle, $after),
            concat!("list_bool_", $before, ": list(bool)", $middle, $after),
            concat!(
                "list_duration_",
                $before,
                ": list(duration)",
                $middle,
                $after
            ),
            concat!(
                "list_timestamp_",
                $before,
                ": list(timestamp)",
                $middle,
                $after
            ),
            concat!("list_string_", $before, ": list(string)", $middle, $after),
            concat!("list_bytes_", $before, ": list(bytes)", $middle, $after),
        ]
    };
}

/// One overload per comparable type, giving an item or a list of that type.
macro_rules! comparable_giving {
    ($name:literal, $open:literal, $close:literal) => {
        &[
            concat!(
                "list_int_",
                $name,
                ": list(int).() -> ",
                $open,
                "int",
                $close
            ),
            concat!(
                "list_uint_",
                $name,
                ": list(uint).() -> ",
                $open,
                "uint",
                $close
            ),
            concat!(
                "list_double_",
                $name,
                ": list(double).() -> ",
                $open,
                "double",
                $close
            ),
            concat!(
                "list_bool_",
                $name,
                ": list(bool).() -> ",
                $open,
                "bool",
                $close
            ),
            concat!(
                "list_duration_",
                $name,
                ": list(duration).() -> ",
                $open,
                "duration",
                $close
            ),
            concat!(
                "list_timestamp_",
                $name,
                ": list(timestamp).() -> ",
                $open,
                "timestamp",
                $close
            ),
            concat!(
                "list_string_",
                $name,
                ": list(string).() -> ",
                $open,
                "string",
                $close
            ),
            concat!(
                "list_bytes_",
                $name,
                ": list(bytes).() -> ",
                $open,
                "bytes",
                $close
            ),
        ]
    };
}

pub(super) const TABLE: &[Entry] = &[
    entry(
        "isSorted",
        Charge::Visit,
        is_sorted,
        comparable!("is_sorted_bool", ".()", " -> bool"),
    ),
    entry("min", Charge::Visit, min, comparable_giving!("min", "", "")),
    entry("max", Charge::Visit, max, comparable_giving!("max", "", "")),
    entry(
        "sum",
        Charge::Visit,
        sum,
        &[
            "list_int_sum_int: list(int).() -> int",
            "list_uint_sum_uint: list(uint).() -> uint",
            "list_double_sum_double: list(double).() -> double",
            "list_duration_sum_duration: list(duration).() -> duration",
        ],
    ),
    entry(
        "indexOf",
        Charge::Visit,
        index_of,
        &[
            "list_a_index_of_int: list(A).(A) -> int",
            "string_index_of_string: string.(string) -> int",
            "string_index_of_string_int: string.(string, int) -> int",
        ],
    ),
    entry(
        "lastIndexOf",
        Charge::Visit,
        last_index_of,
        &[
            "list_a_last_index_of_int: list(A).(A) -> int",
            "string_last_index_of_string: string.(string) -> int",
            "string_last_index_of_string_int: string.(string, int) -> int",
        ],
    ),
    entry(
        "first",
        Charge::One,
        first,
        &["list_first: list(V).() -> optional(V)"],
    ),
    entry(
        "last",
        Charge::One,
        last,
        &["list_last: list(V).() -> optional(V)"],
    ),
    entry(
        "slice",
        Charge::Slice,
        slice,
        &["list_slice: list(T).(int, int) -> list(T)"],
    ),
    entry(
        "flatten",
        Charge::Flatten,
        flatten,
        &[
            "list_flatten: list(list(T)).() -> list(T)",
            "list_flatten_int: list(dyn).(int) -> list(dyn)",
        ],
    ),
    entry(
        "lists.range",
        Charge::Range,
        range,
        &["lists_range: (int) -> list(int)"],
    ),
    entry(
        "reverse",
        Charge::Reverse,
        reverse,
        &["list_reverse: list(T).() -> list(T)"],
    ),
    entry(
        "distinct",
        Charge::Distinct,
        distinct,
        &["list_distinct: list(T).() -> list(T)"],
    ),
    entry(
        "sort",
        Charge::Sort,
        sort,
        comparable_giving!("sort", "list(", ")"),
    ),
    entry(
        "@sortByAssociatedKeys",
        Charge::SortBy,
        sort_by,
        &[
            "list_int_sortByAssociatedKeys: list(T).(list(int)) -> list(T)",
            "list_uint_sortByAssociatedKeys: list(T).(list(uint)) -> list(T)",
            "list_double_sortByAssociatedKeys: list(T).(list(double)) -> list(T)",
            "list_bool_sortByAssociatedKeys: list(T).(list(bool)) -> list(T)",
            "list_duration_sortByAssociatedKeys: list(T).(list(duration)) -> list(T)",
            "list_timestamp_sortByAssociatedKeys: list(T).(list(timestamp)) -> list(T)",
            "list_string_sortByAssociatedKeys: list(T).(list(string)) -> list(T)",
            "list_bytes_sortByAssociatedKeys: list(T).(list(bytes)) -> list(T)",
        ],
    ),
];

/// The first place of an item.
pub(super) fn position<'a>(
    machine: &mut Machine,
    list: impl Iterator<Item = Evaluated<Val<'a>>>,
    item: &Val<'a>,
) -> Evaluated<Option<usize>> {
    for (place, other) in list.enumerate() {
        machine.walk(1)?;
        if equal(machine, &other?, item)? {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

fn list<'v, 'a>(arguments: &'v [Val<'a>]) -> Evaluated<&'v List<'a>> {
    match arguments {
        [Val::List(list), ..] => Ok(list),
        _ => Err(Stop::no_overload()),
    }
}

fn is_sorted<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let mut before: Option<Val<'a>> = None;
    for item in list(arguments)?.iter() {
        let item = item?;
        if let Some(before) = &before
            && compare(machine, before, &item)?.is_gt()
        {
            return Ok(Val::Bool(false));
        }
        before = Some(item);
    }
    Ok(Val::Bool(true))
}

fn extreme<'a>(
    machine: &mut Machine,
    arguments: &[Val<'a>],
    replace: Ordering,
    name: &str,
) -> Evaluated<Val<'a>> {
    let mut best: Option<Val<'a>> = None;
    for item in list(arguments)?.iter() {
        let item = item?;
        let better = match &best {
            None => true,
            Some(best) => compare(machine, best, &item)? == replace,
        };
        if better {
            best = Some(item);
        }
    }
    best.ok_or_else(|| Stop::fault(format!("{name} called on empty list")))
}

fn min<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    extreme(machine, arguments, Ordering::Greater, "min")
}

fn max<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    extreme(machine, arguments, Ordering::Less, "max")
}

fn sum<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let mut total: Option<Val<'a>> = None;
    for item in list(arguments)?.iter() {
        total = Some(match (total, item?) {
            (None, first) => first,
            (Some(Val::Int(a)), Val::Int(b)) => Val::Int(
                a.checked_add(b)
                    .ok_or_else(|| Stop::fault("integer overflow"))?,
            ),
            (Some(Val::Uint(a)), Val::Uint(b)) => Val::Uint(
                a.checked_add(b)
                    .ok_or_else(|| Stop::fault("unsigned integer overflow"))?,
            ),
            (Some(Val::Double(a)), Val::Double(b)) => Val::Double(a + b),
            (Some(Val::Duration(a)), Val::Duration(b)) => Val::Duration(Duration {
                nanos: a
                    .nanos
                    .checked_add(b.nanos)
                    .ok_or_else(|| Stop::fault("duration overflow"))?,
            }),
            _ => return Err(Stop::no_overload()),
        });
    }
    // Upstream's sum of nothing is the zero of the first overload.
    Ok(total.unwrap_or(Val::Int(0)))
}

fn index_of<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Text(text), Val::Text(part)] => {
            strings::index_of(machine, text.as_str(), part.as_str(), None)
        }
        [Val::Text(text), Val::Text(part), Val::Int(offset)] => {
            strings::index_of(machine, text.as_str(), part.as_str(), Some(*offset))
        }
        [Val::List(list), item] => position(machine, list.iter(), item)
            .map(|place| Val::Int(place.map_or(-1, |place| place as i64))),
        _ => Err(Stop::no_overload()),
    }
}

fn last_index_of<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Text(text), Val::Text(part)] => {
            strings::last_index_of(machine, text.as_str(), part.as_str(), None)
        }
        [Val::Text(text), Val::Text(part), Val::Int(offset)] => {
            strings::last_index_of(machine, text.as_str(), part.as_str(), Some(*offset))
        }
        [Val::List(list), item] => {
            let length = list.len();
            let backwards = (0..length).rev().filter_map(|place| list.get(place));
            position(machine, backwards, item)
                .map(|place| Val::Int(place.map_or(-1, |place| (length - 1 - place) as i64)))
        }
        _ => Err(Stop::no_overload()),
    }
}

fn first<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    Ok(list(arguments)?
        .get(0)
        .transpose()?
        .map_or(Val::Optional(None), Val::some))
}

fn last<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let list = list(arguments)?;
    Ok(list
        .len()
        .checked_sub(1)
        .and_then(|place| list.get(place))
        .transpose()?
        .map_or(Val::Optional(None), Val::some))
}

fn slice<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::List(list), Val::Int(start), Val::Int(end)] = arguments else {
        return Err(Stop::no_overload());
    };
    let refused = |why: String| Err(Stop::fault(format!("cannot slice({start}, {end}), {why}")));
    let (Ok(from), Ok(to)) = (usize::try_from(*start), usize::try_from(*end)) else {
        return refused("negative indexes not supported".to_owned());
    };
    if from > to {
        return refused("start index must be less than or equal to end index".to_owned());
    }
    if to > list.len() {
        return refused(format!("list is length {}", list.len()));
    }
    machine.allocate_values(to - from)?;
    let items = (from..to)
        .filter_map(|place| list.get(place))
        .collect::<Evaluated<Vec<_>>>()?;
    Ok(Val::list(items))
}

fn flatten<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let (list, depth) = match arguments {
        [Val::List(list)] => (list, 1),
        [Val::List(list), Val::Int(depth)] => (list, *depth),
        _ => return Err(Stop::no_overload()),
    };
    if depth < 0 {
        return Err(Stop::fault("level must be non-negative"));
    }
    let mut flat = Vec::new();
    flatten_into(machine, list, depth, &mut flat)?;
    Ok(Val::list(flat))
}

fn flatten_into<'a>(
    machine: &mut Machine,
    list: &List<'a>,
    depth: i64,
    flat: &mut Vec<Val<'a>>,
) -> Evaluated<()> {
    for item in list.iter() {
        machine.walk(1)?;
        match item? {
            Val::List(inner) if depth > 0 => {
                machine.nested(|machine| flatten_into(machine, &inner, depth - 1, flat))?
            }
            item => {
                machine.allocate_values(1)?;
                flat.push(item);
            }
        }
    }
    Ok(())
}

fn range<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::Int(count)] = arguments else {
        return Err(Stop::no_overload());
    };
    let count = usize::try_from(*count).unwrap_or(0);
    machine.allocate_values(count)?;
    Ok(Val::list((0..count).map(|i| Val::Int(i as i64)).collect()))
}

fn reverse<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let list = list(arguments)?;
    machine.allocate_values(list.len())?;
    let items = (0..list.len())
        .rev()
        .filter_map(|place| list.get(place))
        .collect::<Evaluated<Vec<_>>>()?;
    Ok(Val::list(items))
}

fn distinct<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let mut items: Vec<Val<'a>> = Vec::new();
    for item in list(arguments)?.iter() {
        let item = item?;
        if position(machine, items.iter().cloned().map(Ok), &item)?.is_none() {
            machine.allocate_values(1)?;
            items.push(item);
        }
    }
    Ok(Val::list(items))
}

fn sort<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let list = list(arguments)?;
    sorted(machine, list, list)
}

fn sort_by<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::List(list), Val::List(keys)] = arguments else {
        return Err(Stop::no_overload());
    };
    sorted(machine, list, keys)
}

/// The items in the order of their keys; equal ones as they were.
fn sorted<'a>(machine: &mut Machine, list: &List<'a>, keys: &List<'a>) -> Evaluated<Val<'a>> {
    if list.len() != keys.len() {
        return Err(Stop::fault(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            list.len(),
            keys.len()
        )));
    }
    machine.allocate_values(list.len().saturating_mul(3))?;
    let mut pairs = Vec::with_capacity(list.len());
    for (item, key) in list.iter().zip(keys.iter()) {
        pairs.push((key?, item?));
    }
    if let Some((first, _)) = pairs.first() {
        if !matches!(
            first,
            Val::Bool(_)
                | Val::Int(_)
                | Val::Uint(_)
                | Val::Double(_)
                | Val::Text(_)
                | Val::Bytes(_)
                | Val::Timestamp(_)
                | Val::Duration(_)
        ) {
            return Err(Stop::fault("list elements must be comparable"));
        }
        if pairs
            .iter()
            .any(|(key, _)| key.type_name() != first.type_name())
        {
            return Err(Stop::fault("list elements must have the same type"));
        }
    }
    // NaN compares with nothing: it goes last, so that the order is total.
    let nan = |key: &Val<'_>| matches!(key, Val::Double(d) if d.is_nan());
    let mut stopped = None;
    pairs.sort_by(|(a, _), (b, _)| match compare(machine, a, b) {
        Ok(order) => order,
        Err(Stop::Fault(_)) => nan(a).cmp(&nan(b)),
        Err(stop) => {
            // The budget is spent. Whatever order comes out is thrown away; say what keeps the sort total.
            stopped.get_or_insert(stop);
            Ordering::Equal
        }
    });
    match stopped {
        Some(stop) => Err(stop),
        None => Ok(Val::list(pairs.into_iter().map(|(_, item)| item).collect())),
    }
}
