//! Strategic merge patch: a merge patch that knows from the schema which lists are merged, and by which key.
//!
//! Directives in the patch say more: `$patch` (`replace`, `delete`) on maps and list items, `$retainKeys`,
//! `$setElementOrder/<list>` and `$deleteFromPrimitiveList/<list>`. Where there is no schema, maps are merged and lists
//! are replaced. A merged list keeps the patch's order for the patch's items and the live order for the others.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::order::{Ordered, compare, go_format};
use super::typing::Type;
use crate::schema::Schema;
use crate::status::{Reason, Status};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM_LIST: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

/// The patched object.
pub fn strategic(original: Value, patch: Value, schema: &Schema) -> Result<Value, Status> {
    let (Value::Object(original), Value::Object(patch)) = (original, patch) else {
        return Err(Status::bad_request("invalid JSON document"));
    };
    Ok(Value::Object(merge_maps(
        original,
        patch,
        Type::object(schema, true),
    )?))
}

fn bad_format(of: &str) -> Status {
    Status::bad_request(format!("invalid patch format of {of}"))
}

/// Kubernetes answers what its own patch library refuses with 500 and no reason.
fn refuse(why: String) -> Status {
    Status::new(500, Reason::Unknown, why)
}

fn no_merge_key(item: &Map<String, Value>, key: &str) -> Status {
    let item = go_format(&Value::Object(item.clone()));
    refuse(format!(
        "map: {item} does not contain declared merge key: {key}"
    ))
}

fn unknown_directive(map: &Map<String, Value>) -> Status {
    let directive = map.get(DIRECTIVE).map(go_format).unwrap_or_default();
    let map = go_format(&Value::Object(map.clone()));
    refuse(format!("unknown patch type: {directive} in map: {map}"))
}

fn merge_maps(
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
    ty: Type<'_>,
) -> Result<Map<String, Value>, Status> {
    match patch.get(DIRECTIVE).map(|directive| directive.as_str()) {
        None => {}
        Some(Some("replace")) => {
            patch.remove(DIRECTIVE);
            return Ok(patch);
        }
        Some(Some("delete")) => return Ok(Map::new()),
        Some(_) => return Err(unknown_directive(&patch)),
    }
    retain_keys(&mut original, &mut patch)?;
    set_orders(&mut original, &mut patch, ty)?;
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM_LIST) {
            delete_from_list(&mut original, list, value)?;
        } else if value.is_null() {
            original.remove(&key);
        } else {
            merge_field(&mut original, key, value, ty)?;
        }
    }
    Ok(original)
}

fn merge_field(
    original: &mut Map<String, Value>,
    key: String,
    value: Value,
    ty: Type<'_>,
) -> Result<(), Status> {
    let field = ty.field_or_deduced(&key);
    let strategy = field.patch_strategy();
    let merged = match (original.get_mut(&key).map(Value::take), value) {
        (Some(Value::Object(_)), patch @ Value::Object(_))
            if strategy.is_some_and(|s| s.replace) =>
        {
            Some(patch)
        }
        (Some(Value::Object(original)), Value::Object(patch)) => {
            Some(Value::Object(merge_maps(original, patch, field)?))
        }
        (Some(Value::Array(original)), Value::Array(patch))
            if strategy.is_some_and(|s| s.merge) =>
        {
            let key = strategy.and_then(|s| s.merge_key.as_deref());
            Some(Value::Array(merge_lists(
                original,
                patch,
                field.item(),
                key,
            )?))
        }
        (Some(Value::Array(_)), patch @ Value::Array(_)) => Some(patch),
        (_, patch) => cleaned(patch),
    };
    match merged {
        Some(merged) => original.insert(key, merged),
        None => original.remove(&key),
    };
    Ok(())
}

fn is_directive(key: &str) -> bool {
    key == RETAIN_KEYS || key.starts_with(DELETE_FROM_LIST) || key.starts_with(SET_ORDER)
}

/// A value that is new here: without nulls, directives, and the parts that a directive deletes. `None` if it is itself
/// such a part.
fn cleaned(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => {
            let fields = map
                .into_iter()
                .filter(|(k, v)| !v.is_null() && !is_directive(k));
            Some(Value::Object(
                fields.filter_map(|(k, v)| Some((k, cleaned(v)?))).collect(),
            ))
        }
        Value::Array(items) => Some(Value::Array(
            items.into_iter().filter_map(cleaned).collect(),
        )),
        scalar => Some(scalar),
    }
}

/// `$retainKeys`: everything the list does not name goes; everything the patch sets must be in it.
fn retain_keys(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
) -> Result<(), Status> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let Value::Array(keys) = keys else {
        return Err(bad_format("retainKeys"));
    };
    let keys: BTreeSet<&str> = keys.iter().filter_map(Value::as_str).collect();
    if patch
        .iter()
        .any(|(key, value)| !value.is_null() && !is_directive(key) && !keys.contains(key.as_str()))
    {
        return Err(bad_format("retainKeys"));
    }
    original.retain(|key, _| keys.contains(key.as_str()));
    Ok(())
}

/// `$deleteFromPrimitiveList/<list>`: scalars to take out of a list.
fn delete_from_list(
    original: &mut Map<String, Value>,
    list: &str,
    values: Value,
) -> Result<(), Status> {
    match (original.get_mut(list), values) {
        (_, Value::Null) => {
            original.remove(list);
        }
        (Some(Value::Array(items)), Value::Array(values)) => {
            element_kind([items.as_slice(), &values])?;
            let gone: BTreeSet<Ordered<'_>> = values.iter().map(Ordered).collect();
            items.retain(|item| !gone.contains(&Ordered(item)));
        }
        _ => {}
    }
    Ok(())
}

/// `$setElementOrder/<list>`: the lists it names are merged and then put in that order.
fn set_orders(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    ty: Type<'_>,
) -> Result<(), Status> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|k| k.starts_with(SET_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let (Some(order), Some(key)) =
            (patch.remove(&directive), directive.strip_prefix(SET_ORDER))
        else {
            continue;
        };
        let order = list_of(order)?;
        let live = original
            .get_mut(key)
            .map(Value::take)
            .map(list_of)
            .transpose()?;
        let new = patch.remove(key).map(list_of).transpose()?;
        let field = ty.field_or_deduced(key);
        let strategy = field.patch_strategy();
        let merge_key = strategy.and_then(|s| s.merge_key.as_deref());
        if let Some(new) = &new {
            check_order(new, &order, merge_key)?;
        }
        let server_order = live.clone().unwrap_or_default();
        let merged = match (live, new) {
            (None, None) => continue,
            (Some(live), None) => live,
            (None, Some(new)) => new.into_iter().filter_map(cleaned).collect(),
            (Some(live), Some(new)) if strategy.is_some_and(|s| s.merge) => {
                merge_lists(live, new, field.item(), merge_key)?
            }
            (Some(_), Some(new)) => new,
        };
        let ordered = in_order(merged, &order, &server_order, merge_key)?;
        original.insert(key.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

fn list_of(value: Value) -> Result<Vec<Value>, Status> {
    let kind = match value {
        Value::Array(items) => return Ok(items),
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Object(_) => "map[string]interface {}",
    };
    Err(refuse(format!(
        "expected a []interface {{}}, but received a {kind}"
    )))
}

/// The items the patch sets must come in the order it asks for.
fn check_order(patch: &[Value], order: &[Value], merge_key: Option<&str>) -> Result<(), Status> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut wanted = order.iter();
    for item in patch.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let key = key_of(item, merge_key)?;
        let mut found = false;
        for next in wanted.by_ref() {
            if compare(key_of(next, merge_key)?, key) == Ordering::Equal {
                found = true;
                break;
            }
        }
        if !found {
            let (patch, order) = (Value::from(patch), Value::from(order));
            return Err(refuse(format!(
                "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                go_format(&patch),
                go_format(&order)
            )));
        }
    }
    Ok(())
}

/// What tells a list item apart: its merge key's value, or itself.
fn key_of<'v>(item: &'v Value, merge_key: Option<&str>) -> Result<&'v Value, Status> {
    let Some(key) = merge_key else {
        return Ok(item);
    };
    let Value::Object(map) = item else {
        return Err(refuse(format!(
            "value for key {} is not a map",
            go_format(item)
        )));
    };
    map.get(key).ok_or_else(|| no_merge_key(map, key))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ElementKind {
    Scalar(u8),
    Map,
}

/// The one kind of all items, `None` if there are none.
fn element_kind(lists: [&[Value]; 2]) -> Result<Option<ElementKind>, Status> {
    let mut kind = None;
    for item in lists.into_iter().flatten() {
        let this = match item {
            Value::Array(_) => {
                let text = "the server rejected our request due to an error in our request";
                let status = Status::new(422, Reason::Invalid, text);
                return Err(status.cause(
                    "FieldValueInvalid",
                    "lists of lists are not supported",
                    "patch",
                ));
            }
            Value::Object(_) => ElementKind::Map,
            Value::Null => ElementKind::Scalar(0),
            Value::Bool(_) => ElementKind::Scalar(1),
            Value::Number(_) => ElementKind::Scalar(2),
            Value::String(_) => ElementKind::Scalar(3),
        };
        if *kind.get_or_insert(this) != this {
            let lists = Value::from(lists.map(Value::from).to_vec());
            return Err(refuse(format!(
                "list element types are not identical: {}",
                go_format(&lists)
            )));
        }
    }
    Ok(kind)
}

fn merge_lists(
    original: Vec<Value>,
    patch: Vec<Value>,
    item: Type<'_>,
    merge_key: Option<&str>,
) -> Result<Vec<Value>, Status> {
    match element_kind([&original, &patch])? {
        None => Ok(original),
        Some(ElementKind::Scalar(_)) => {
            let mut merged = original.clone();
            merged.extend(patch.iter().cloned());
            in_order(without_duplicates(merged), &patch, &original, None)
        }
        Some(ElementKind::Map) => {
            let Some(key) = merge_key else {
                return Err(refuse(
                    "cannot merge lists without merge key for struct".to_owned(),
                ));
            };
            let (original, patch) = obey_directives(original, patch, key)?;
            let merged = merge_items(original.clone(), &patch, item, key)?;
            in_order(merged, &patch, &original, merge_key)
        }
    }
}

fn without_duplicates(items: Vec<Value>) -> Vec<Value> {
    let first: Vec<bool> = {
        let mut seen = BTreeSet::new();
        items
            .iter()
            .map(|item| seen.insert(Ordered(item)))
            .collect()
    };
    items
        .into_iter()
        .zip(first)
        .filter_map(|(item, first)| first.then_some(item))
        .collect()
}

/// Carries out the directives among a patch's items; returns what is left of both lists.
fn obey_directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), Status> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut deleted = Vec::new();
    let mut replace = false;
    for item in patch {
        let Value::Object(map) = &item else { continue };
        match map.get(DIRECTIVE) {
            None => rest.push(item),
            Some(directive) => match directive.as_str() {
                Some("delete") => {
                    deleted.push(map.get(key).ok_or_else(|| no_merge_key(map, key))?.clone())
                }
                Some("replace") => replace = true,
                Some("merge") => {
                    return Err(refuse(
                        "merging lists cannot yet be specified in the patch".to_owned(),
                    ));
                }
                _ => return Err(unknown_directive(map)),
            },
        }
    }
    if replace {
        return Ok((rest, Vec::new()));
    }
    if !deleted.is_empty() {
        let deleted: BTreeSet<Ordered<'_>> = deleted.iter().map(Ordered).collect();
        original.retain(|item| {
            item.get(key)
                .is_none_or(|value| !deleted.contains(&Ordered(value)))
        });
    }
    Ok((original, rest))
}

fn merge_items(
    mut merged: Vec<Value>,
    patch: &[Value],
    ty: Type<'_>,
    key: &str,
) -> Result<Vec<Value>, Status> {
    let keys: Vec<Value> = merged
        .iter()
        .map(|item| item.get(key).cloned().unwrap_or(Value::Null))
        .collect();
    let mut places: BTreeMap<Ordered<'_>, usize> = BTreeMap::new();
    for (place, value) in keys.iter().enumerate() {
        places.entry(Ordered(value)).or_insert(place);
    }
    for item in patch {
        let Value::Object(item) = item else { continue };
        let value = item.get(key).ok_or_else(|| no_merge_key(item, key))?;
        match places.get(&Ordered(value)).copied() {
            Some(place) => {
                if let Value::Object(live) = merged[place].take() {
                    merged[place] = Value::Object(merge_maps(live, item.clone(), ty)?);
                }
            }
            None => {
                places.insert(Ordered(value), merged.len());
                merged.extend(cleaned(Value::Object(item.clone())));
            }
        }
    }
    Ok(merged)
}

/// Puts a merged list in order: items that `patch_order` names in its order, the others in the server's, and both woven
/// together so that the server's order between them is kept where it says something.
fn in_order(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    merge_key: Option<&str>,
) -> Result<Vec<Value>, Status> {
    let places = |list: &'_ [Value]| -> Result<BTreeMap<Vec<u8>, usize>, Status> {
        index_of(list, merge_key)
    };
    let (in_patch, in_server) = (places(patch_order)?, places(server_order)?);
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for item in merged {
        let key = sort_key(key_of(&item, merge_key)?);
        let server = in_server.get(&key).copied();
        match in_patch.get(&key) {
            Some(place) => ours.push((*place, server, item)),
            None => theirs.push((server.unwrap_or(usize::MAX), server, item)),
        }
    }
    ours.sort_by_key(|(place, ..)| *place);
    theirs.sort_by_key(|(place, ..)| *place);
    let mut out = Vec::with_capacity(ours.len() + theirs.len());
    let (mut ours, mut theirs) = (ours.into_iter().peekable(), theirs.into_iter().peekable());
    loop {
        let from_server = match (theirs.peek(), ours.peek()) {
            (None, None) => return Ok(out),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((_, left, _)), Some((_, right, _))) => {
                matches!((left, right), (Some(l), Some(r)) if l < r)
            }
        };
        let next = if from_server {
            theirs.next()
        } else {
            ours.next()
        };
        out.extend(next.map(|(.., item)| item));
    }
}

fn index_of(list: &[Value], merge_key: Option<&str>) -> Result<BTreeMap<Vec<u8>, usize>, Status> {
    let mut places = BTreeMap::new();
    for (place, item) in list.iter().enumerate() {
        places
            .entry(sort_key(key_of(item, merge_key)?))
            .or_insert(place);
    }
    Ok(places)
}

/// Bytes that are equal for equal scalars.
fn sort_key(value: &Value) -> Vec<u8> {
    match value.as_f64() {
        Some(number)
            if value.as_i64().is_none() && value.as_u64().is_none() && number.fract() == 0.0 =>
        {
            format!("{number:.0}").into_bytes()
        }
        _ => value.to_string().into_bytes(),
    }
}
