//! Values during an evaluation: they borrow from the bound JSON trees, the bound values and the program itself.
//!
//! Cloning one is cheap: text and containers are borrowed or shared. A JSON container is looked into lazily, its parts read as the declared type says.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde_json::Value as Json;

use super::machine::{Evaluated, Machine, Stop};
use crate::library::opaque::Opaque;
use crate::time::{Duration, Timestamp};
use crate::types::{ListKind, ObjectType, Type};
use crate::value::{Number, Value};

pub(crate) static DYN: Type = Type::Dyn;
pub(crate) static ATOMIC: ListKind = ListKind::Atomic;

#[derive(Clone, Debug)]
pub(crate) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Text<'a>),
    Bytes(Arc<[u8]>),
    Timestamp(Timestamp),
    Duration(Duration),
    List(List<'a>),
    Map(Mapping<'a>),
    Optional(Option<Arc<Val<'a>>>),
    Type(Text<'a>),
    Opaque(Arc<Opaque>),
}

/// Text, borrowed or shared.
#[derive(Clone, Debug)]
pub(crate) enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

/// A list: of JSON, with the type of its items and how it is compared, or of values.
#[derive(Clone, Debug)]
pub(crate) enum List<'a> {
    Json {
        items: &'a [Json],
        item: &'a Type,
        how: &'a ListKind,
    },
    Values {
        items: Arc<Vec<Val<'a>>>,
        how: &'a ListKind,
    },
}

/// A map: a JSON object with the type of its values, a JSON object with declared fields, or entries.
#[derive(Clone, Debug)]
pub(crate) enum Mapping<'a> {
    Json {
        object: &'a serde_json::Map<String, Json>,
        value: &'a Type,
    },
    Object {
        object: &'a serde_json::Map<String, Json>,
        declared: &'a ObjectType,
    },
    Values(Arc<BTreeMap<MapKey<'a>, Val<'a>>>),
}

/// A map's key. An int and an equal uint are the same key.
#[derive(Clone, Debug)]
pub(crate) enum MapKey<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Text(Text<'a>),
}

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl<'a> Val<'a> {
    pub(crate) fn text(text: impl Into<Arc<str>>) -> Val<'a> {
        Val::Text(Text::Shared(text.into()))
    }

    pub(crate) fn list(items: Vec<Val<'a>>) -> Val<'a> {
        Val::List(List::Values {
            items: Arc::new(items),
            how: &ATOMIC,
        })
    }

    pub(crate) fn map(entries: BTreeMap<MapKey<'a>, Val<'a>>) -> Val<'a> {
        Val::Map(Mapping::Values(Arc::new(entries)))
    }

    pub(crate) fn some(value: Val<'a>) -> Val<'a> {
        Val::Optional(Some(Arc::new(value)))
    }

    pub(crate) fn opaque(opaque: Opaque) -> Val<'a> {
        Val::Opaque(Arc::new(opaque))
    }

    /// A JSON tree as a value of a type. Containers are not entered.
    pub(crate) fn from_json(json: &'a Json, declared: &'a Type) -> Evaluated<Val<'a>> {
        let how = declared.bounds().map_or(&ATOMIC, |bounds| &bounds.list);
        let mistyped = |wanted: &str| {
            Err(Stop::fault(format!(
                "invalid data, expected {wanted}, got {}",
                kind_of(json)
            )))
        };
        Ok(match (declared.plain(), json) {
            (Type::Optional(inner), json) => Val::some(Val::from_json(json, inner)?),
            (_, Json::Null) => Val::Null,
            (Type::Bytes, Json::String(text)) => crate::library::convert::base64(text)?,
            (Type::Timestamp, Json::String(text)) => {
                Val::Timestamp(crate::time::parse_declared(text).map_err(Stop::fault)?)
            }
            (Type::Duration, Json::String(text)) => {
                let parsed = crate::time::parse_duration(text);
                Val::Duration(parsed.ok_or_else(|| {
                    Stop::fault(format!("Invalid duration {text}: unable to parse"))
                })?)
            }
            (Type::String | Type::Dyn | Type::Var(_), Json::String(text)) => {
                Val::Text(Text::Borrowed(text))
            }
            (Type::Bool | Type::Dyn | Type::Var(_), Json::Bool(b)) => Val::Bool(*b),
            (Type::Double, Json::Number(number)) => {
                Val::Double(number.as_f64().unwrap_or(f64::NAN))
            }
            (Type::Uint, Json::Number(number)) if number.is_u64() => {
                Val::Uint(number.as_u64().unwrap_or_default())
            }
            (Type::Int | Type::Dyn | Type::Var(_), Json::Number(number)) => {
                match (number.as_i64(), number.as_u64(), declared.plain()) {
                    (Some(i), ..) => Val::Int(i),
                    (None, _, Type::Int) => return mistyped("int"),
                    (None, Some(u), _) => Val::Uint(u),
                    (None, None, _) => Val::Double(number.as_f64().unwrap_or(f64::NAN)),
                }
            }
            (Type::List(item), Json::Array(items)) => Val::List(List::Json { items, item, how }),
            (Type::Dyn | Type::Var(_), Json::Array(items)) => Val::List(List::Json {
                items,
                item: &DYN,
                how,
            }),
            (Type::Map(_, value), Json::Object(object)) => {
                Val::Map(Mapping::Json { object, value })
            }
            (Type::Object(declared), Json::Object(object)) => {
                Val::Map(Mapping::Object { object, declared })
            }
            (Type::Dyn | Type::Var(_), Json::Object(object)) => Val::Map(Mapping::Json {
                object,
                value: &DYN,
            }),
            (wanted, _) => return mistyped(&wanted.to_string()),
        })
    }

    /// A value that a caller binds.
    pub(crate) fn from_value(value: &Value) -> Val<'static> {
        match value {
            Value::Null => Val::Null,
            Value::Bool(b) => Val::Bool(*b),
            Value::Int(i) => Val::Int(*i),
            Value::Uint(u) => Val::Uint(*u),
            Value::Double(d) => Val::Double(*d),
            Value::String(text) => Val::Text(Text::Shared(text.clone())),
            Value::Bytes(bytes) => Val::Bytes(bytes.clone()),
            Value::Timestamp(t) => Val::Timestamp(*t),
            Value::Duration(d) => Val::Duration(*d),
            Value::List(items) => Val::list(items.iter().map(Val::from_value).collect()),
            Value::Map(map) => Val::map(
                map.iter()
                    .filter_map(|(key, value)| {
                        Some((
                            Val::from_value(&key.to_value()).key()?,
                            Val::from_value(value),
                        ))
                    })
                    .collect(),
            ),
            Value::Optional(value) => {
                Val::Optional(value.as_ref().map(|value| Arc::new(Val::from_value(value))))
            }
            Value::Type(name) => Val::Type(Text::Shared(name.clone())),
            Value::Opaque(kind, text) => {
                crate::library::opaque::read(kind, text).map_or(Val::Null, Val::opaque)
            }
        }
    }

    /// The name of the value's type, as `type(x)` and messages show it.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Val::Null => "null_type",
            Val::Bool(_) => "bool",
            Val::Int(_) => "int",
            Val::Uint(_) => "uint",
            Val::Double(_) => "double",
            Val::Text(_) => "string",
            Val::Bytes(_) => "bytes",
            Val::Timestamp(_) => "google.protobuf.Timestamp",
            Val::Duration(_) => "google.protobuf.Duration",
            Val::List(_) => "list",
            Val::Map(_) => "map",
            Val::Optional(_) => "optional_type",
            Val::Type(_) => "type",
            Val::Opaque(opaque) => opaque.type_name(),
        }
    }

    /// What upstream's evaluator calls a value's representation.
    pub(crate) fn upstream_name(&self) -> &'static str {
        match self {
            Val::Null => "types.Null",
            Val::Bool(_) => "types.Bool",
            Val::Int(_) => "types.Int",
            Val::Uint(_) => "types.Uint",
            Val::Double(_) => "types.Double",
            Val::Text(_) => "types.String",
            Val::Bytes(_) => "types.Bytes",
            Val::Timestamp(_) => "types.Timestamp",
            Val::Duration(_) => "types.Duration",
            Val::Optional(_) => "*types.Optional",
            other => other.type_name(),
        }
    }

    /// A scalar as messages show it; of anything else the type.
    pub(crate) fn shown(&self) -> String {
        match self {
            Val::Bool(b) => b.to_string(),
            Val::Int(i) => i.to_string(),
            Val::Uint(u) => u.to_string(),
            Val::Double(d) => crate::library::convert::go_float(*d),
            Val::Text(text) => text.as_str().to_owned(),
            other => other.type_name().to_owned(),
        }
    }

    /// What upstream counts as a value's size: characters, bytes, items or entries; 1 for anything else.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Val::Text(text) => text.as_str().chars().count() as u64,
            Val::Bytes(bytes) => bytes.len() as u64,
            Val::List(list) => list.len() as u64,
            Val::Map(map) => map.len() as u64,
            Val::Optional(Some(value)) => value.size(),
            Val::Opaque(opaque) => opaque.size(),
            _ => 1,
        }
    }

    pub(crate) fn number(&self) -> Option<Number> {
        match self {
            Val::Int(i) => Some(Number::Int(*i)),
            Val::Uint(u) => Some(Number::Uint(*u)),
            Val::Double(d) => Some(Number::Double(*d)),
            _ => None,
        }
    }

    /// The key that this value is in a map; a float that is an integer is that integer.
    pub(crate) fn key(&self) -> Option<MapKey<'a>> {
        match self {
            Val::Bool(b) => Some(MapKey::Bool(*b)),
            Val::Int(i) => Some(MapKey::Int(*i)),
            Val::Uint(u) => Some(MapKey::Uint(*u)),
            Val::Double(d) => match Number::Double(*d).integral() {
                Some(Number::Int(i)) => Some(MapKey::Int(i)),
                Some(Number::Uint(u)) => Some(MapKey::Uint(u)),
                _ => None,
            },
            Val::Text(text) => Some(MapKey::Text(text.clone())),
            _ => None,
        }
    }
}

fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_f64() => "double",
        Json::Number(_) => "int",
        Json::String(_) => "string",
        Json::Array(_) => "array",
        Json::Object(_) => "object",
    }
}

impl<'a> List<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            List::Json { items, .. } => items.len(),
            List::Values { items, .. } => items.len(),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Evaluated<Val<'a>>> {
        match self {
            List::Json { items, item, .. } => {
                let (items, item): (&'a [Json], &'a Type) = (items, item);
                items.get(index).map(|json| Val::from_json(json, item))
            }
            List::Values { items, .. } => items.get(index).cloned().map(Ok),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Evaluated<Val<'a>>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(crate) fn how(&self) -> &'a ListKind {
        match self {
            List::Json { how, .. } | List::Values { how, .. } => how,
        }
    }
}

impl<'a> Mapping<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Mapping::Json { object, .. } | Mapping::Object { object, .. } => object.len(),
            Mapping::Values(entries) => entries.len(),
        }
    }

    /// The value of a key. Declared fields are found by their identifiers, and a null one is absent, unless it may be null.
    pub(crate) fn get(&self, key: &MapKey<'_>) -> Option<Evaluated<Val<'a>>> {
        match (self, key) {
            (Mapping::Values(entries), key) => {
                // A borrowed key of a shorter life looks up entries of a longer one.
                let entries: &BTreeMap<MapKey<'_>, Val<'a>> = entries;
                find(entries, key).cloned().map(Ok)
            }
            (Mapping::Json { object, value }, MapKey::Text(text)) => {
                let (object, value): (&'a serde_json::Map<String, Json>, &'a Type) =
                    (object, value);
                object
                    .get(text.as_str())
                    .map(|json| Val::from_json(json, value))
            }
            (Mapping::Object { object, declared }, MapKey::Text(text)) => {
                let (object, declared): (&'a serde_json::Map<String, Json>, &'a ObjectType) =
                    (object, declared);
                let field = declared.get(text.as_str())?;
                match object.get(&field.property)? {
                    Json::Null => None,
                    json => Some(Val::from_json(json, &field.value)),
                }
            }
            _ => None,
        }
    }

    /// All keys, in order. Of an object only the declared fields.
    pub(crate) fn keys(&self) -> Vec<MapKey<'a>> {
        match self {
            Mapping::Json { object, .. } => object
                .keys()
                .map(|key| MapKey::Text(Text::Borrowed(key)))
                .collect(),
            Mapping::Object { object, declared } => declared
                .fields()
                .filter(|(_, field)| object.contains_key(&field.property))
                .map(|(identifier, _)| MapKey::Text(Text::Borrowed(identifier)))
                .collect(),
            Mapping::Values(entries) => entries.keys().cloned().collect(),
        }
    }
}

fn find<'m, 'k, 'a>(
    entries: &'m BTreeMap<MapKey<'k>, Val<'a>>,
    key: &MapKey<'k>,
) -> Option<&'m Val<'a>> {
    entries.get(key)
}

impl<'a> MapKey<'a> {
    pub(crate) fn to_val(&self) -> Val<'a> {
        match self {
            MapKey::Bool(b) => Val::Bool(*b),
            MapKey::Int(i) => Val::Int(*i),
            MapKey::Uint(u) => Val::Uint(*u),
            MapKey::Text(text) => Val::Text(text.clone()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            MapKey::Bool(_) => 0,
            MapKey::Int(_) | MapKey::Uint(_) => 1,
            MapKey::Text(_) => 2,
        }
    }
}

impl Ord for MapKey<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (MapKey::Bool(a), MapKey::Bool(b)) => a.cmp(b),
            (MapKey::Text(a), MapKey::Text(b)) => a.as_str().cmp(b.as_str()),
            (MapKey::Int(a), MapKey::Int(b)) => a.cmp(b),
            (MapKey::Uint(a), MapKey::Uint(b)) => a.cmp(b),
            (MapKey::Int(a), MapKey::Uint(b)) => i128::from(*a).cmp(&i128::from(*b)),
            (MapKey::Uint(a), MapKey::Int(b)) => i128::from(*a).cmp(&i128::from(*b)),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for MapKey<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for MapKey<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for MapKey<'_> {}

impl Hash for MapKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            MapKey::Bool(b) => b.hash(state),
            MapKey::Int(i) => i128::from(*i).hash(state),
            MapKey::Uint(u) => i128::from(*u).hash(state),
            MapKey::Text(text) => text.as_str().hash(state),
        }
    }
}

/// How a key is shown in messages.
impl std::fmt::Display for MapKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MapKey::Bool(b) => b.fmt(f),
            MapKey::Int(i) => i.fmt(f),
            MapKey::Uint(u) => u.fmt(f),
            MapKey::Text(text) => f.write_str(text.as_str()),
        }
    }
}

/// Whether two values are equal, as the language says. Walking costs: a unit for every ten parts or characters beyond the first.
pub(crate) fn equal<'a>(machine: &mut Machine, a: &Val<'a>, b: &Val<'a>) -> Evaluated<bool> {
    if let (Some(a), Some(b)) = (a.number(), b.number()) {
        return Ok(a.compare(b) == Some(Ordering::Equal));
    }
    Ok(match (a, b) {
        (Val::Null, Val::Null) => true,
        (Val::Bool(a), Val::Bool(b)) => a == b,
        (Val::Text(a), Val::Text(b)) | (Val::Type(a), Val::Type(b)) => {
            let (a, b) = (a.as_str(), b.as_str());
            a.len() == b.len() && {
                machine.walk(a.len())?;
                a == b
            }
        }
        (Val::Bytes(a), Val::Bytes(b)) => {
            machine.walk(a.len().min(b.len()))?;
            a == b
        }
        (Val::Timestamp(a), Val::Timestamp(b)) => a == b,
        (Val::Duration(a), Val::Duration(b)) => a == b,
        (Val::List(a), Val::List(b)) => {
            a.len() == b.len() && machine.nested(|machine| equal_lists(machine, a, b))?
        }
        (Val::Map(a), Val::Map(b)) => {
            a.len() == b.len() && machine.nested(|machine| equal_maps(machine, a, b))?
        }
        (Val::Optional(Some(a)), Val::Optional(Some(b))) => {
            machine.nested(|machine| equal(machine, a, b))?
        }
        (Val::Optional(a), Val::Optional(b)) => a.is_none() && b.is_none(),
        (Val::Opaque(a), Val::Opaque(b)) => a == b,
        _ => false,
    })
}

fn equal_lists<'a>(machine: &mut Machine, a: &List<'a>, b: &List<'a>) -> Evaluated<bool> {
    if *a.how() != ListKind::Atomic {
        return super::listkinds::equal_unordered(machine, a, b);
    }
    for (x, y) in a.iter().zip(b.iter()) {
        machine.walk(1)?;
        if !equal(machine, &x?, &y?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equal_maps<'a>(machine: &mut Machine, a: &Mapping<'a>, b: &Mapping<'a>) -> Evaluated<bool> {
    if let (
        Mapping::Json {
            object: x,
            value: Type::Dyn,
        },
        Mapping::Json {
            object: y,
            value: Type::Dyn,
        },
    ) = (a, b)
        && std::ptr::eq(*x, *y)
    {
        return Ok(true);
    }
    for key in a.keys() {
        machine.walk(1)?;
        match (a.get(&key), b.get(&key)) {
            (Some(x), Some(y)) => {
                if !equal(machine, &x?, &y?)? {
                    return Ok(false);
                }
            }
            (None, None) => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The order of two values of one comparable type; an error for others, as for NaN.
pub(crate) fn compare(machine: &mut Machine, a: &Val<'_>, b: &Val<'_>) -> Evaluated<Ordering> {
    if let (Some(x), Some(y)) = (a.number(), b.number()) {
        return x
            .compare(y)
            .ok_or_else(|| Stop::fault("NaN values cannot be ordered"));
    }
    Ok(match (a, b) {
        (Val::Double(d), _) if d.is_nan() => {
            return Err(Stop::fault("NaN values cannot be ordered"));
        }
        (Val::Bool(a), Val::Bool(b)) => a.cmp(b),
        (Val::Text(a), Val::Text(b)) => {
            machine.walk(a.as_str().len().min(b.as_str().len()))?;
            a.as_str().cmp(b.as_str())
        }
        (Val::Bytes(a), Val::Bytes(b)) => {
            machine.walk(a.len().min(b.len()))?;
            a.cmp(b)
        }
        (Val::Timestamp(a), Val::Timestamp(b)) => a.cmp(b),
        (Val::Duration(a), Val::Duration(b)) => a.cmp(b),
        _ => return Err(Stop::no_overload()),
    })
}
