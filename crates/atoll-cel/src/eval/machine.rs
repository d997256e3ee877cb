//! What an evaluation may still spend, and how it stops.
//!
//! Cost is counted as Kubernetes counts it (reads 1, text a tenth per character, …), and charged before the work where it follows from the operands. Memory is
//! counted as it is allocated and never given back: an evaluation that builds and drops big values runs out as well.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::val::{List, Mapping, Val};
use crate::value::{Key, Value};

/// Why an evaluation stops early.
#[derive(Clone, Debug)]
pub(crate) enum Stop {
    /// The expression failed; `||`, `&&`, `all` and `exists` may still have an answer.
    Fault(Cow<'static, str>),
    /// A variable was not bound.
    Unbound(Arc<str>),
    /// The budget is spent.
    Budget,
}

pub(crate) type Evaluated<T> = Result<T, Stop>;

impl Stop {
    pub(crate) fn fault(message: impl Into<Cow<'static, str>>) -> Stop {
        Stop::Fault(message.into())
    }

    pub(crate) fn no_overload() -> Stop {
        Stop::Fault(Cow::Borrowed("no such overload"))
    }
}

/// Bytes of memory per unit of cost, and the least there is.
const MEMORY_PER_COST: u64 = 32;
const LEAST_MEMORY: u64 = 1 << 20;

/// How deep values may be nested for operations that enter them (comparing, flattening, converting).
const NESTING: u32 = 180;

/// The meter of one evaluation, and what it keeps on the way.
#[derive(Debug)]
pub(crate) struct Machine {
    cost: u64,
    memory: u64,
    /// Tenths of a unit walked and not charged yet.
    tenths: u64,
    nesting: u32,
    patterns: Vec<(Arc<str>, Arc<regex::Regex>)>,
}

impl Machine {
    pub(crate) fn new(cost: u64) -> Machine {
        Machine {
            cost,
            memory: cost.saturating_mul(MEMORY_PER_COST).max(LEAST_MEMORY),
            tenths: 0,
            nesting: 0,
            patterns: Vec::new(),
        }
    }

    /// The cost that is left.
    pub(crate) fn left(&self) -> u64 {
        self.cost
    }

    pub(crate) fn charge(&mut self, cost: u64) -> Evaluated<()> {
        match self.cost.checked_sub(cost) {
            Some(left) => {
                self.cost = left;
                Ok(())
            }
            None => {
                self.cost = 0;
                Err(Stop::Budget)
            }
        }
    }

    /// Charges a tenth of a unit for each part looked at.
    pub(crate) fn walk(&mut self, parts: usize) -> Evaluated<()> {
        self.tenths += parts as u64;
        let units = self.tenths / 10;
        self.tenths %= 10;
        if units == 0 {
            Ok(())
        } else {
            self.charge(units)
        }
    }

    /// Charges for what is long to look at or, when it was decoded from JSON, to make. Upstream does not: only what is longer than a page costs more here.
    pub(crate) fn long(&mut self, value: &Val<'_>) -> Evaluated<()> {
        let length = match value {
            Val::Text(text) => text.as_str().len() / 256,
            Val::Bytes(bytes) => bytes.len() / 16,
            _ => return Ok(()),
        };
        if length < 16 {
            Ok(())
        } else {
            self.walk(length)
        }
    }

    /// Charges memory before it is allocated.
    pub(crate) fn allocate(&mut self, bytes: usize) -> Evaluated<()> {
        self.memory = self.memory.checked_sub(bytes as u64).ok_or(Stop::Budget)?;
        Ok(())
    }

    /// Charges the memory of a list of so many values.
    pub(crate) fn allocate_values(&mut self, count: usize) -> Evaluated<()> {
        self.allocate(count.saturating_mul(size_of::<Val<'_>>()))
    }

    /// Enters a value: deeper than anything real, it is refused, so that the stack holds.
    pub(crate) fn nested<T>(
        &mut self,
        inside: impl FnOnce(&mut Machine) -> Evaluated<T>,
    ) -> Evaluated<T> {
        if self.nesting >= NESTING {
            return Err(Stop::fault("value is nested too deeply"));
        }
        self.nesting += 1;
        let result = inside(self);
        self.nesting -= 1;
        result
    }

    /// A compiled pattern, kept while the evaluation lasts.
    pub(crate) fn pattern(&mut self, pattern: &str) -> Evaluated<Arc<regex::Regex>> {
        if let Some((_, known)) = self.patterns.iter().find(|(text, _)| &**text == pattern) {
            return Ok(known.clone());
        }
        // Compiling is dearer than the formula for matching says.
        self.charge(pattern.len() as u64)?;
        let compiled = Arc::new(crate::library::patterns::compile(pattern).map_err(Stop::fault)?);
        if self.patterns.len() < 8 {
            self.patterns.push((pattern.into(), compiled.clone()));
        }
        Ok(compiled)
    }

    /// A value that outlives what it was made of.
    pub(crate) fn keep(&mut self, value: &Val<'_>) -> Evaluated<Val<'static>> {
        match value {
            Val::Opaque(opaque) => Ok(Val::Opaque(opaque.clone())),
            other => Ok(Val::from_value(&self.own(other)?)),
        }
    }

    /// A value on its own feet. Copying is charged.
    pub(crate) fn own(&mut self, value: &Val<'_>) -> Evaluated<Value> {
        self.walk(1)?;
        self.allocate(size_of::<Value>())?;
        Ok(match value {
            Val::Null => Value::Null,
            Val::Bool(b) => Value::Bool(*b),
            Val::Int(i) => Value::Int(*i),
            Val::Uint(u) => Value::Uint(*u),
            Val::Double(d) => Value::Double(*d),
            Val::Text(text) => Value::String(self.own_text(text)?),
            Val::Bytes(bytes) => Value::Bytes(bytes.clone()),
            Val::Timestamp(t) => Value::Timestamp(*t),
            Val::Duration(d) => Value::Duration(*d),
            Val::List(list) => self.nested(|machine| machine.own_list(list))?,
            Val::Map(map) => self.nested(|machine| machine.own_map(map))?,
            Val::Optional(None) => Value::Optional(None),
            Val::Optional(Some(value)) => {
                Value::Optional(Some(Arc::new(self.nested(|machine| machine.own(value))?)))
            }
            Val::Type(name) => Value::Type(self.own_text(name)?),
            Val::Opaque(opaque) => Value::Opaque(opaque.type_name(), opaque.to_string().into()),
        })
    }

    fn own_text(&mut self, text: &super::val::Text<'_>) -> Evaluated<Arc<str>> {
        Ok(match text {
            super::val::Text::Shared(text) => text.clone(),
            super::val::Text::Borrowed(text) => {
                self.walk(text.len() / 8)?;
                self.allocate(text.len())?;
                Arc::from(*text)
            }
        })
    }

    fn own_list(&mut self, list: &List<'_>) -> Evaluated<Value> {
        let mut items = Vec::new();
        for item in list.iter() {
            items.push(self.own(&item?)?);
        }
        Ok(Value::List(items.into()))
    }

    fn own_map(&mut self, map: &Mapping<'_>) -> Evaluated<Value> {
        let mut entries = BTreeMap::new();
        for key in map.keys() {
            let Some(value) = map.get(&key) else { continue };
            let value = self.own(&value?)?;
            let key = match self.own(&key.to_val())? {
                Value::Bool(b) => Key::Bool(b),
                Value::Int(i) => Key::Int(i),
                Value::Uint(u) => Key::Uint(u),
                Value::String(text) => Key::String(text),
                _ => continue,
            };
            entries.insert(key, value);
        }
        Ok(Value::Map(Arc::new(entries)))
    }
}
