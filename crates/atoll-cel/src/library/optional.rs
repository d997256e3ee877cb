//! Values that may be absent.

use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::Val;

pub(super) const TABLE: &[Entry] = &[
    entry(
        "optional.of",
        Charge::One,
        of,
        &["optional_of: (V) -> optional(V)"],
    ),
    entry(
        "optional.ofNonZeroValue",
        Charge::One,
        of_non_zero,
        &["optional_ofNonZeroValue: (V) -> optional(V)"],
    ),
    entry(
        "optional.none",
        Charge::One,
        none,
        &["optional_none: () -> optional(V)"],
    ),
    entry(
        "optional.unwrap",
        Charge::One,
        unwrap,
        &["optional_unwrap: (list(optional(V))) -> list(V)"],
    ),
    entry(
        "unwrapOpt",
        Charge::One,
        unwrap,
        &["optional_unwrapOpt: list(optional(V)).() -> list(V)"],
    ),
    entry(
        "value",
        Charge::One,
        value,
        &["optional_value: optional(V).() -> V"],
    ),
    entry(
        "hasValue",
        Charge::One,
        has_value,
        &["optional_hasValue: optional(V).() -> bool"],
    ),
    entry(
        "or",
        Charge::Otherwise,
        or,
        &["optional_or_optional: optional(V).(optional(V)) -> optional(V)"],
    ),
    entry(
        "orValue",
        Charge::Otherwise,
        or_value,
        &["optional_orValue_value: optional(V).(V) -> V"],
    ),
];

fn of<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [value] => Ok(Val::some(value.clone())),
        _ => Err(Stop::no_overload()),
    }
}

fn of_non_zero<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [value] = arguments else {
        return Err(Stop::no_overload());
    };
    let zero = match value {
        Val::Null | Val::Optional(None) => true,
        Val::Bool(b) => !b,
        Val::Int(i) => *i == 0,
        Val::Uint(u) => *u == 0,
        Val::Double(d) => *d == 0.0,
        Val::Text(_) | Val::Bytes(_) | Val::List(_) | Val::Map(_) => value.size() == 0,
        Val::Duration(d) => d.nanos == 0,
        Val::Timestamp(t) => t.is_year_one(),
        _ => false,
    };
    Ok(if zero {
        Val::Optional(None)
    } else {
        Val::some(value.clone())
    })
}

fn none<'a>(_: &mut Machine, _: &[Val<'a>]) -> Evaluated<Val<'a>> {
    Ok(Val::Optional(None))
}

fn unwrap<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::List(list)] = arguments else {
        return Err(Stop::no_overload());
    };
    machine.walk(list.len())?;
    machine.allocate_values(list.len())?;
    let mut items = Vec::new();
    for item in list.iter() {
        match item? {
            Val::Optional(Some(value)) => items.push(Val::clone(&value)),
            Val::Optional(None) => {}
            _ => return Err(Stop::no_overload()),
        }
    }
    Ok(Val::list(items))
}

fn value<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Optional(Some(value))] => Ok(Val::clone(value)),
        [Val::Optional(None)] => Err(Stop::fault("optional.none() dereference")),
        _ => Err(Stop::no_overload()),
    }
}

fn has_value<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Optional(value)] => Ok(Val::Bool(value.is_some())),
        _ => Err(Stop::no_overload()),
    }
}

fn or<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [some @ Val::Optional(Some(_)), _] => Ok(some.clone()),
        [Val::Optional(None), other @ Val::Optional(_)] => Ok(other.clone()),
        _ => Err(Stop::no_overload()),
    }
}

fn or_value<'a>(_: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::Optional(Some(value)), _] => Ok(Val::clone(value)),
        [Val::Optional(None), other] => Ok(other.clone()),
        _ => Err(Stop::no_overload()),
    }
}
