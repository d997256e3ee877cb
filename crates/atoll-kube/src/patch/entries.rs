//! `metadata.managedFields` as data: who wrote which fields, how, when, and at which version.
//!
//! An entry's identity is its manager, operation, subresource and, for plain updates, its version: an applier keeps its
//! one entry when it goes to another version. Entries are written in Kubernetes' order, so equal records are equal JSON.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use serde_json::{Map, Value};

use super::fieldset::{FieldsError, Set};

/// The most entries of plain updates an object keeps; older ones are folded into [`ANCIENT`].
pub const MAX_UPDATE_MANAGERS: usize = 10;

/// The manager that stands for updates folded together.
pub const ANCIENT: &str = "ancient-changes";

/// How a manager wrote its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply: it owns what it applied last.
    Apply,
    /// By any other write: it owns what it changed.
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One manager's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who.
    pub manager: String,
    /// How.
    pub operation: Operation,
    /// The version the fields are named at.
    pub api_version: String,
    /// When the fields last changed, as it is written.
    pub time: Option<String>,
    /// Through which subresource; empty for the object itself.
    pub subresource: String,
    /// Which.
    pub fields: Set,
}

/// A `managedFields` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the messages say it
pub enum EntriesError {
    #[error("managedFields must be a list of entries")]
    NotAList,
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    ApiVersion,
    #[error("missing fieldsType in managed fields entry {0}")]
    NoFieldsType(usize),
    #[error("invalid fieldsType {1:?} in managed fields entry {0}")]
    FieldsType(usize, String),
    #[error("error decoding set: {0}")]
    Fields(#[from] FieldsError),
}

impl Entry {
    /// An update that does not own anything yet.
    pub fn update(manager: &str, api_version: &str, subresource: &str) -> Self {
        Self {
            manager: manager.to_owned(),
            operation: Operation::Update,
            api_version: api_version.to_owned(),
            time: None,
            subresource: subresource.to_owned(),
            fields: Set::EMPTY,
        }
    }

    /// An applier that does not own anything yet.
    pub fn apply(manager: &str, api_version: &str, subresource: &str) -> Self {
        Self {
            operation: Operation::Apply,
            ..Self::update(manager, api_version, subresource)
        }
    }

    /// Whether both are the same manager's record.
    pub fn is_same(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    fn identity(&self) -> (&str, Operation, &str, &str) {
        let version = match self.operation {
            Operation::Apply => "",
            Operation::Update => self.api_version.as_str(),
        };
        (&self.manager, self.operation, version, &self.subresource)
    }

    /// The order in which entries of equal age are folded and conflicts are listed.
    pub(crate) fn name(&self) -> (&str, Operation, &str, &str) {
        (
            &self.manager,
            self.operation,
            &self.api_version,
            &self.subresource,
        )
    }

    fn decode(at: usize, entry: &Value) -> Result<Self, EntriesError> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(EntriesError::Operation),
        };
        if text("apiVersion").is_empty() {
            return Err(EntriesError::ApiVersion);
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(EntriesError::NoFieldsType(at)),
            other => return Err(EntriesError::FieldsType(at, other.to_owned())),
        }
        Ok(Self {
            manager: text("manager").to_owned(),
            operation,
            api_version: text("apiVersion").to_owned(),
            time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
            subresource: text("subresource").to_owned(),
            fields: entry
                .get("fieldsV1")
                .map_or(Ok(Set::EMPTY), Set::from_fields_v1)?,
        })
    }

    fn encode(self) -> Value {
        let mut map = Map::new();
        let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
        put("fieldsType", Value::from("FieldsV1"));
        put("fieldsV1", self.fields.to_fields_v1());
        put("operation", Value::from(self.operation.as_str()));
        put("apiVersion", Value::from(self.api_version));
        if !self.manager.is_empty() {
            put("manager", Value::from(self.manager));
        }
        if let Some(time) = self.time {
            put("time", Value::from(time));
        }
        if !self.subresource.is_empty() {
            put("subresource", Value::from(self.subresource));
        }
        Value::Object(map)
    }
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries(pub Vec<Entry>);

impl Entries {
    /// Reads the `managedFields` of an object; none are there when the field is absent.
    pub fn of(object: &Value) -> Result<Self, EntriesError> {
        match object.get("metadata").and_then(|m| m.get("managedFields")) {
            None => Ok(Self::default()),
            Some(list) => Self::decode(list),
        }
    }

    /// Reads a `managedFields` list.
    pub fn decode(list: &Value) -> Result<Self, EntriesError> {
        let list = match list {
            Value::Null => return Ok(Self::default()),
            Value::Array(list) => list,
            _ => return Err(EntriesError::NotAList),
        };
        let decode = |(at, entry)| Entry::decode(at, entry);
        let mut entries = list
            .iter()
            .enumerate()
            .map(decode)
            .collect::<Result<Vec<_>, _>>()?;
        // Of several entries of one manager the last one counts.
        if entries.len() > 1 {
            entries.sort_by(|l, r| l.identity().cmp(&r.identity()));
            entries.dedup_by(|later, first| {
                let same = later.is_same(first);
                if same {
                    std::mem::swap(later, first);
                }
                same
            });
        }
        Ok(Self(entries))
    }

    /// Writes the list, in Kubernetes' order; `None` when nobody owns anything.
    pub fn encode(mut self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by(|l, r| {
            let key = |e: &Entry| {
                (
                    e.operation,
                    e.time.as_deref().unwrap_or_default().to_owned(),
                )
            };
            key(l).cmp(&key(r)).then_with(|| {
                let rest = |e: &Entry| {
                    (
                        e.manager.clone(),
                        e.api_version.clone(),
                        e.subresource.clone(),
                    )
                };
                rest(l).cmp(&rest(r))
            })
        });
        Some(Value::Array(
            self.0.into_iter().map(Entry::encode).collect(),
        ))
    }

    /// Takes the record of the manager `who` is out of the entries.
    pub(crate) fn take(&mut self, who: &Entry) -> Option<Entry> {
        let at = self.0.iter().position(|e| e.is_same(who))?;
        Some(self.0.swap_remove(at))
    }

    /// Folds the oldest updates of one version together until there are no more than [`MAX_UPDATE_MANAGERS`].
    pub(crate) fn cap(&mut self) {
        let updates = self
            .0
            .iter()
            .filter(|e| e.operation == Operation::Update)
            .count();
        if updates <= MAX_UPDATE_MANAGERS {
            return;
        }
        let (mut oldest, mut kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|e| e.operation == Operation::Update);
        oldest.sort_by(|l, r| l.time.cmp(&r.time).then_with(|| l.name().cmp(&r.name())));
        let mut left = updates;
        // The first entry of each version, which waits for a second one to be folded with.
        let mut firsts: BTreeMap<String, Entry> = BTreeMap::new();
        for entry in oldest {
            if left <= MAX_UPDATE_MANAGERS {
                kept.push(entry);
                continue;
            }
            match firsts.entry(entry.api_version.clone()) {
                Slot::Occupied(mut slot) => {
                    let first = slot.get_mut();
                    ANCIENT.clone_into(&mut first.manager);
                    first.subresource.clear();
                    first.fields = std::mem::take(&mut first.fields).union(entry.fields);
                    first.time = entry.time;
                    left -= 1;
                }
                Slot::Vacant(slot) => {
                    slot.insert(entry);
                }
            }
        }
        kept.extend(firsts.into_values());
        self.0 = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::path::Path;
    use serde_json::json;

    fn entry(manager: &str, operation: &str, version: &str, time: &str, field: &str) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": version, "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": {format!("f:{field}"): {}}})
    }

    #[test]
    fn entries_are_read_and_written_in_kubernetes_order() {
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let mut status = entry("b", "Update", "v1", early, "d");
        status["subresource"] = json!("status");
        let shuffled = json!([
            entry("z", "Update", "v1", early, "a"),
            status.clone(),
            entry("b", "Update", "v1", early, "c"),
            entry("a", "Update", "v1", late, "b"),
            entry("y", "Apply", "v1", late, "e"),
        ]);
        let expected = json!([
            entry("y", "Apply", "v1", late, "e"),
            entry("b", "Update", "v1", early, "c"),
            status,
            entry("z", "Update", "v1", early, "a"),
            entry("a", "Update", "v1", late, "b"),
        ]);
        assert_eq!(Entries::decode(&shuffled).unwrap().encode(), Some(expected));
    }

    #[test]
    fn what_cannot_be_an_entry_is_refused() {
        let with = |name: &str, value: Value| {
            let mut entry = entry("a", "Update", "v1", "", "x");
            entry[name] = value;
            Entries::decode(&json!([entry])).unwrap_err()
        };
        assert_eq!(with("operation", json!("Create")), EntriesError::Operation);
        assert_eq!(with("apiVersion", json!("")), EntriesError::ApiVersion);
        assert_eq!(with("fieldsType", json!("")), EntriesError::NoFieldsType(0));
        assert_eq!(
            with("fieldsType", json!("V2")).to_string(),
            r#"invalid fieldsType "V2" in managed fields entry 0"#
        );
        assert!(matches!(
            with("fieldsV1", json!({"x": {}})),
            EntriesError::Fields(_)
        ));
        assert_eq!(Entries::decode(&json!({})), Err(EntriesError::NotAList));
    }

    #[test]
    fn an_applier_has_one_entry_whatever_its_version_and_an_updater_one_for_each() {
        let both = |operation| {
            let list = json!([
                entry("a", operation, "v1", "", "x"),
                entry("a", operation, "v2", "", "y")
            ]);
            Entries::decode(&list).unwrap().0.len()
        };
        assert_eq!((both("Apply"), both("Update")), (1, 2));
    }

    #[test]
    fn the_oldest_updates_of_a_version_are_folded() {
        let time = |n: usize| format!("2026-01-01T00:00:{n:02}Z");
        let update = |n: usize, version: &str| {
            entry(
                &format!("m{n}"),
                "Update",
                version,
                &time(n),
                &format!("f{n}"),
            )
        };
        let list: Vec<_> = (0..13)
            .map(|n| update(n, if n == 1 { "v2" } else { "v1" }))
            .collect();
        let mut entries = Entries::decode(&Value::Array(list)).unwrap();
        entries.cap();
        assert_eq!(entries.0.len(), MAX_UPDATE_MANAGERS);
        let ancient: Vec<_> = entries.0.iter().filter(|e| e.manager == ANCIENT).collect();
        assert_eq!(ancient.len(), 1);
        assert_eq!(ancient[0].api_version, "v1");
        assert_eq!(ancient[0].time.as_deref(), Some("2026-01-01T00:00:04Z"));
        assert_eq!(
            ancient[0].fields,
            Set::of(["f0", "f2", "f3", "f4"].map(|f| Path::fields([f])))
        );
        assert!(
            entries
                .0
                .iter()
                .any(|e| e.manager == "m1" && e.api_version == "v2")
        );
    }
}
