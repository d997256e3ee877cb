//! Lists that a schema declares as sets or maps: order does not matter to their equality, and adding is a union or a merge by key.

use std::collections::BTreeMap;

use super::machine::{Evaluated, Machine};
use super::val::{List, MapKey, Text, Val, equal};
use crate::types::ListKind;
use crate::value::Key;

/// Whether two lists of equal length hold equal items, whatever their order. The items of `a` say how they are told apart.
pub(crate) fn equal_unordered<'a>(
    machine: &mut Machine,
    a: &List<'a>,
    b: &List<'a>,
) -> Evaluated<bool> {
    let mut items = BTreeMap::new();
    for item in a.iter() {
        let item = item?;
        items.insert(identity(machine, a.how(), &item)?, item);
    }
    for item in b.iter() {
        let item = item?;
        match items.get(&identity(machine, a.how(), &item)?) {
            Some(other) if equal(machine, other, &item)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// `a + b` for lists that are sets or maps: items of `a` keep their places; of a map, items of `b` with the same key replace them.
pub(crate) fn merge<'a>(
    machine: &mut Machine,
    a: &List<'a>,
    b: &List<'a>,
) -> Evaluated<Vec<Val<'a>>> {
    let mut items: Vec<Val<'a>> = Vec::with_capacity(a.len());
    let mut places = BTreeMap::new();
    for (item, added) in a
        .iter()
        .map(|item| (item, false))
        .chain(b.iter().map(|item| (item, true)))
    {
        let item = item?;
        let identity = identity(machine, a.how(), &item)?;
        match places.get(&identity) {
            Some(&place) if added => {
                if matches!(a.how(), ListKind::Map(_)) {
                    items[place] = item;
                }
            }
            _ => {
                places.insert(identity, items.len());
                items.push(item);
            }
        }
    }
    Ok(items)
}

/// What tells an item from others: the whole of it in a set, its key properties in a map.
fn identity(machine: &mut Machine, how: &ListKind, item: &Val<'_>) -> Evaluated<Vec<Key>> {
    let parts = match (how, item) {
        (ListKind::Map(properties), Val::Map(map)) => properties
            .iter()
            .map(|property| {
                let identifier = crate::escape(property).unwrap_or_else(|| property.clone());
                map.get(&MapKey::Text(Text::Borrowed(&identifier)))
                    .transpose()
            })
            .collect::<Evaluated<Vec<_>>>()?,
        _ => vec![Some(item.clone())],
    };
    let mut keys = Vec::with_capacity(parts.len());
    for part in parts {
        keys.push(match part {
            Some(value) => machine.own(&value)?.key(),
            None => Key::Null,
        });
    }
    Ok(keys)
}
