//! Lists as sets.

use super::lists::position;
use super::{Charge, Entry, entry};
use crate::eval::machine::{Evaluated, Machine, Stop};
use crate::eval::val::{List, Val};

pub(super) const TABLE: &[Entry] = &[
    entry(
        "sets.contains",
        Charge::Sets(1),
        contains,
        &["list_sets_contains_list: (list(T), list(T)) -> bool"],
    ),
    entry(
        "sets.equivalent",
        Charge::Sets(2),
        equivalent,
        &["list_sets_equivalent_list: (list(T), list(T)) -> bool"],
    ),
    entry(
        "sets.intersects",
        Charge::Sets(1),
        intersects,
        &["list_sets_intersects_list: (list(T), list(T)) -> bool"],
    ),
];

fn includes<'a>(machine: &mut Machine, list: &List<'a>, other: &List<'a>) -> Evaluated<bool> {
    for item in other.iter() {
        if position(machine, list.iter(), &item?)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn contains<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::List(a), Val::List(b)] => includes(machine, a, b).map(Val::Bool),
        _ => Err(Stop::no_overload()),
    }
}

fn equivalent<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    match arguments {
        [Val::List(a), Val::List(b)] => Ok(Val::Bool(
            includes(machine, a, b)? && includes(machine, b, a)?,
        )),
        _ => Err(Stop::no_overload()),
    }
}

fn intersects<'a>(machine: &mut Machine, arguments: &[Val<'a>]) -> Evaluated<Val<'a>> {
    let [Val::List(a), Val::List(b)] = arguments else {
        return Err(Stop::no_overload());
    };
    for item in a.iter() {
        if position(machine, b.iter(), &item?)?.is_some() {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}
