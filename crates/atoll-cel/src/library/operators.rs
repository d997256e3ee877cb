//! Operators, indexing, `in` and `size`.

use std::cmp::Ordering;

use super::{Charge, Entry, entry};
use crate::eval::listkinds;
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::{List, Val, compare, equal};
use crate::time::{Duration, Timestamp};
use crate::types::ListKind;

macro_rules! ordering_overloads {
    ($name:literal) => {
        &[
            concat!($name, "_bool: (bool, bool) -> bool"),
            concat!($name, "_int64: (int, int) -> bool"),
            concat!($name, "_int64_double: (int, double) -> bool"),
            concat!($name, "_int64_uint64: (int, uint) -> bool"),
            concat!($name, "_uint64: (uint, uint) -> bool"),
            concat!($name, "_uint64_double: (uint, double) -> bool"),
            concat!($name, "_uint64_int64: (uint, int) -> bool"),
            concat!($name, "_double: (double, double) -> bool"),
            concat!($name, "_double_int64: (double, int) -> bool"),
            concat!($name, "_double_uint64: (double, uint) -> bool"),
            concat!($name, "_string: (string, string) -> bool"),
            concat!($name, "_bytes: (bytes, bytes) -> bool"),
            concat!($name, "_timestamp: (timestamp, timestamp) -> bool"),
            concat!($name, "_duration: (duration, duration) -> bool"),
        ]
    };
}

pub(super) const TABLE: &[Entry] = &[
    entry("!_", Charge::One, not, &["logical_not: (bool) -> bool"]),
    entry(
        "-_",
        Charge::One,
        negate,
        &[
            "negate_double: (double) -> double",
            "negate_int64: (int) -> int",
        ],
    ),
    entry(
        "_?_:_",
        Charge::One,
        never,
        &["conditional: (bool, A, A) -> A"],
    ),
    entry(
        "_==_",
        Charge::Equality,
        equals,
        &["equals: (A, A) -> bool"],
    ),
    entry(
        "_!=_",
        Charge::Equality,
        differs,
        &["not_equals: (A, A) -> bool"],
    ),
    entry("_<_", Charge::Order, less, ordering_overloads!("less")),
    entry(
        "_<=_",
        Charge::Order,
        less_equal,
        ordering_overloads!("less_equals"),
    ),
    entry(
        "_>_",
        Charge::Order,
        greater,
        ordering_overloads!("greater"),
    ),
    entry(
        "_>=_",
        Charge::Order,
        greater_equal,
        ordering_overloads!("greater_equals"),
    ),
    entry(
        "_+_",
        Charge::Add,
        add,
        &[
            "add_bytes: (bytes, bytes) -> bytes",
            "add_double: (double, double) -> double",
            "add_duration_duration: (duration, duration) -> duration",
            "add_duration_timestamp: (duration, timestamp) -> timestamp",
            "add_timestamp_duration: (timestamp, duration) -> timestamp",
            "add_int64: (int, int) -> int",
            "add_list: (list(A), list(A)) -> list(A)",
            "add_string: (string, string) -> string",
            "add_uint64: (uint, uint) -> uint",
        ],
    ),
    entry(
        "_-_",
        Charge::One,
        subtract,
        &[
            "subtract_double: (double, double) -> double",
            "subtract_duration_duration: (duration, duration) -> duration",
            "subtract_int64: (int, int) -> int",
            "subtract_timestamp_duration: (timestamp, duration) -> timestamp",
            "subtract_timestamp_timestamp: (timestamp, timestamp) -> duration",
            "subtract_uint64: (uint, uint) -> uint",
        ],
    ),
    entry(
        "_*_",
        Charge::One,
        multiply,
        &[
            "multiply_double: (double, double) -> double",
            "multiply_int64: (int, int) -> int",
            "multiply_uint64: (uint, uint) -> uint",
        ],
    ),
    entry(
        "_/_",
        Charge::One,
        divide,
        &[
            "divide_double: (double, double) -> double",
            "divide_int64: (int, int) -> int",
            "divide_uint64: (uint, uint) -> uint",
        ],
    ),
    entry(
        "_%_",
        Charge::One,
        modulo,
        &[
            "modulo_int64: (int, int) -> int",
            "modulo_uint64: (uint, uint) -> uint",
        ],
    ),
    entry(
        "@in",
        Charge::In,
        contained,
        &[
            "in_list: (A, list(A)) -> bool",
            "in_map: (A, map(A, B)) -> bool",
        ],
    ),
    entry(
        "_[_]",
        Charge::Index,
        index,
        &[
            "index_list: (list(A), int) -> A",
            "index_map: (map(A, B), A) -> B",
            "optional_list_index_int: (optional(list(V)), int) -> optional(V)",
            "optional_map_index_value: (optional(map(K, V)), K) -> optional(V)",
        ],
    ),
    entry(
        "_[?_]",
        Charge::One,
        optional_index,
        &[
            "list_optindex_optional_int: (list(V), int) -> optional(V)",
            "optional_list_optindex_optional_int: (optional(list(V)), int) -> optional(V)",
            "map_optindex_optional_value: (map(K, V), K) -> optional(V)",
            "optional_map_optindex_optional_value: (optional(map(K, V)), K) -> optional(V)",
        ],
    ),
    entry(
        "size",
        Charge::One,
        size,
        &[
            "size_bytes: (bytes) -> int",
            "bytes_size: bytes.() -> int",
            "size_list: (list(A)) -> int",
            "list_size: list(A).() -> int",
            "size_map: (map(A, B)) -> int",
            "map_size: map(A, B).() -> int",
            "size_string: (string) -> int",
            "string_size: string.() -> int",
        ],
    ),
];

fn never<'a>(_: &mut Machine, _: &[Val<'a>]) -> Evaluated<Val<'a>> {
    Err(Stop::no_overload())
}

fn not<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Bool(b)] => Ok(Val::Bool(!b)),
        _ => Err(Stop::no_overload()),
    }
}

fn int<'a>(value: Option<i64>) -> Evaluated<Val<'a>> {
    value
        .map(Val::Int)
        .ok_or_else(|| Stop::fault("integer overflow"))
}

fn uint<'a>(value: Option<u64>) -> Evaluated<Val<'a>> {
    value
        .map(Val::Uint)
        .ok_or_else(|| Stop::fault("unsigned integer overflow"))
}

fn span<'a>(value: Option<i64>) -> Evaluated<Val<'a>> {
    value
        .map(|nanos| Val::Duration(Duration { nanos }))
        .ok_or_else(|| Stop::fault("duration overflow"))
}

fn instant<'a>(value: Option<Timestamp>) -> Evaluated<Val<'a>> {
    value
        .map(Val::Timestamp)
        .ok_or_else(|| Stop::fault("timestamp overflow"))
}

fn negate<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Int(i)] => int(i.checked_neg()),
        [Val::Double(d)] => Ok(Val::Double(-d)),
        [Val::Duration(d)] => span(d.nanos.checked_neg()),
        _ => Err(Stop::no_overload()),
    }
}

fn equals<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [a, b] => equal(machine, a, b).map(Val::Bool),
        _ => Err(Stop::no_overload()),
    }
}

fn differs<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [a, b] => equal(machine, a, b).map(|equal| Val::Bool(!equal)),
        _ => Err(Stop::no_overload()),
    }
}

fn ordered<'a>(
    machine: &mut Machine,
    arguments: &[Val<'a>],
    holds: fn(Ordering) -> bool,
) -> Evaluated<Val<'a>> {
    match arguments {
        [a, b] => compare(machine, a, b).map(|order| Val::Bool(holds(order))),
        _ => Err(Stop::no_overload()),
    }
}

fn less<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    ordered(machine, arguments, Ordering::is_lt)
}

fn less_equal<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    ordered(machine, arguments, Ordering::is_le)
}

fn greater<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    ordered(machine, arguments, Ordering::is_gt)
}

fn greater_equal<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    ordered(machine, arguments, Ordering::is_ge)
}

fn add<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Int(a), Val::Int(b)] => int(a.checked_add(*b)),
        [Val::Uint(a), Val::Uint(b)] => uint(a.checked_add(*b)),
        [Val::Double(a), Val::Double(b)] => Ok(Val::Double(a + b)),
        [Val::Text(a), Val::Text(b)] => {
            let (a, b) = (a.as_str(), b.as_str());
            machine.allocate(a.len().saturating_add(b.len()))?;
            Ok(Val::text([a, b].concat()))
        }
        [Val::Bytes(a), Val::Bytes(b)] => {
            machine.allocate(a.len().saturating_add(b.len()))?;
            Ok(Val::Bytes([&**a, &**b].concat().into()))
        }
        [Val::Duration(a), Val::Duration(b)] => span(a.nanos.checked_add(b.nanos)),
        [Val::Timestamp(t), Val::Duration(d)] | [Val::Duration(d), Val::Timestamp(t)] => {
            instant(t.plus(*d))
        }
        [Val::List(a), Val::List(b)] => add_lists(machine, a, b),
        _ => Err(Stop::no_overload()),
    }
}

fn add_lists<'a>(machine: &mut Machine, a: &List<'a>, b: &List<'a>) -> Evaluated<Val<'a>> {
    let size = a.len().saturating_add(b.len());
    machine.allocate_values(size)?;
    machine.walk(size)?;
    let items = if *a.how() == ListKind::Atomic {
        a.iter().chain(b.iter()).collect::<Evaluated<Vec<_>>>()?
    } else {
        listkinds::merge(machine, a, b)?
    };
    Ok(Val::List(List::Values {
        items: items.into(),
        how: a.how(),
    }))
}

fn subtract<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Int(a), Val::Int(b)] => int(a.checked_sub(*b)),
        [Val::Uint(a), Val::Uint(b)] => uint(a.checked_sub(*b)),
        [Val::Double(a), Val::Double(b)] => Ok(Val::Double(a - b)),
        [Val::Duration(a), Val::Duration(b)] => span(a.nanos.checked_sub(b.nanos)),
        [Val::Timestamp(t), Val::Duration(d)] => instant(
            d.nanos
                .checked_neg()
                .and_then(|nanos| t.plus(Duration { nanos })),
        ),
        [Val::Timestamp(a), Val::Timestamp(b)] => a
            .since(*b)
            .map(|nanos| Val::Duration(Duration { nanos }))
            .ok_or_else(|| Stop::fault("integer overflow")),
        _ => Err(Stop::no_overload()),
    }
}

fn multiply<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Int(a), Val::Int(b)] => int(a.checked_mul(*b)),
        [Val::Uint(a), Val::Uint(b)] => uint(a.checked_mul(*b)),
        [Val::Double(a), Val::Double(b)] => Ok(Val::Double(a * b)),
        _ => Err(Stop::no_overload()),
    }
}

fn divide<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Int(_), Val::Int(0)] | [Val::Uint(_), Val::Uint(0)] => {
            Err(Stop::fault("division by zero"))
        }
        [Val::Int(a), Val::Int(b)] => int(a.checked_div(*b)),
        [Val::Uint(a), Val::Uint(b)] => uint(a.checked_div(*b)),
        [Val::Double(a), Val::Double(b)] => Ok(Val::Double(a / b)),
        _ => Err(Stop::no_overload()),
    }
}

fn modulo<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Int(_), Val::Int(0)] | [Val::Uint(_), Val::Uint(0)] => {
            Err(Stop::fault("modulus by zero"))
        }
        [Val::Int(a), Val::Int(b)] => int(a.checked_rem(*b)),
        [Val::Uint(a), Val::Uint(b)] => uint(a.checked_rem(*b)),
        _ => Err(Stop::no_overload()),
    }
}

fn contained<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [item, Val::List(list)] => super::lists::position(machine, list.iter(), item)
            .map(|place| Val::Bool(place.is_some())),
        [key, Val::Map(map)] => match key.key() {
            Some(key) => Ok(Val::Bool(map.get(&key).transpose()?.is_some())),
            None => Ok(Val::Bool(false)),
        },
        _ => Err(Stop::no_overload()),
    }
}

/// The place in a list that an index means: a whole number of any type.
fn place(index: &Val<'_>) -> Option<i128> {
    match index.number()?.integral()? {
        crate::value::Number::Int(i) => Some(i.into()),
        crate::value::Number::Uint(u) => Some(u.into()),
        crate::value::Number::Double(_) => None,
    }
}

/// The part of a container under an index; `None` when there is none such.
fn part<'a>(container: &Val<'a>, at: &Val<'a>) -> Evaluated<Option<Val<'a>>> {
    match container {
        Val::List(list) => match place(at) {
            Some(place) => usize::try_from(place)
                .ok()
                .and_then(|place| list.get(place))
                .transpose(),
            None => Err(Stop::fault(match at {
                Val::Double(d) => format!(
                    "unsupported index value {} in list",
                    super::convert::go_float(*d)
                ),
                other => format!("unsupported index type '{}' in list", other.type_name()),
            })),
        },
        Val::Map(map) => match at.key() {
            Some(key) => map.get(&key).transpose(),
            None => Ok(None),
        },
        // What has no parts has none under any index.
        _ => Ok(None),
    }
}

fn index<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [container, at] = arguments else {
        return Err(Stop::no_overload());
    };
    if let Val::Optional(inner) = container {
        return match inner {
            None => Ok(Val::Optional(None)),
            Some(inner) => Ok(part(inner, at)?.map_or(Val::Optional(None), Val::some)),
        };
    }
    part(container, at)?.ok_or_else(|| {
        Stop::fault(match container {
            Val::List(_) => format!("index out of bounds: {}", at.shown()),
            _ => format!("no such key: {}", at.shown()),
        })
    })
}

fn optional_index<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Optional(None), _] => Ok(Val::Optional(None)),
        [Val::Optional(Some(inner)), at] => {
            Ok(part(inner, at)?.map_or(Val::Optional(None), Val::some))
        }
        [container, at] => Ok(part(container, at)?.map_or(Val::Optional(None), Val::some)),
        _ => Err(Stop::no_overload()),
    }
}

fn size<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [value @ (Val::Text(_) | Val::Bytes(_) | Val::List(_) | Val::Map(_))] => {
            Ok(Val::Int(value.size() as i64))
        }
        _ => Err(Stop::no_overload()),
    }
}
