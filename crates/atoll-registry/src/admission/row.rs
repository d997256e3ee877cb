//! The admission row of a logical cluster: which policies, bindings and webhook configurations it has, and where it has quotas.
//!
//! The first line is a hash of the configuration: clusters that configure the same have the same plan. Then a line for each object: its family's letter, the
//! hash of what it says, its name. Quotas say here where they are, and how much of what they limit is there ([`super::quota`]).

use std::collections::BTreeMap;

use atoll_kube::{Status, meta};
use atoll_store::{Check, Key, Snapshot, Write};
use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{GROUP, quota};
use crate::{ClusterName, INTERNAL_GROUP, Operation, ResourceId, Review, read::read_error};

/// A family of objects that configure admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    Validating,
    ValidatingBinding,
    Mutating,
    MutatingBinding,
    ValidatingWebhooks,
    MutatingWebhooks,
    Quota,
}

const FAMILIES: [(Family, &str, &str); 7] = [
    (Family::Validating, "p", "validatingadmissionpolicies"),
    (
        Family::ValidatingBinding,
        "b",
        "validatingadmissionpolicybindings",
    ),
    (Family::Mutating, "m", "mutatingadmissionpolicies"),
    (
        Family::MutatingBinding,
        "n",
        "mutatingadmissionpolicybindings",
    ),
    (
        Family::ValidatingWebhooks,
        "v",
        "validatingwebhookconfigurations",
    ),
    (
        Family::MutatingWebhooks,
        "w",
        "mutatingwebhookconfigurations",
    ),
    (Family::Quota, "q", "resourcequotas"),
];

impl Family {
    /// The family of a resource; `None` for what does not configure admission.
    pub(crate) fn of(id: &ResourceId) -> Option<Self> {
        if !id.identity.is_empty() || !(id.group == GROUP || id.group.is_empty()) {
            return None;
        }
        let found = FAMILIES
            .iter()
            .find(|(_, _, resource)| *resource == id.resource);
        found
            .filter(|(family, ..)| (*family == Self::Quota) == id.group.is_empty())
            .map(|(family, ..)| *family)
    }

    /// The resource whose objects are of this family.
    pub(crate) fn id(self) -> ResourceId {
        let resource = FAMILIES.iter().find(|(family, ..)| *family == self);
        let group = if self == Self::Quota { "" } else { GROUP };
        ResourceId::builtin(group, resource.map_or("", |(.., resource)| resource))
    }
}

/// The letter of a count.
const USED: &str = "u";

/// One object that configures admission.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) family: Family,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Of what it says; the same for all quotas.
    hash: String,
}

/// An admission row, parsed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AdmissionRow {
    pub(crate) entries: Vec<Entry>,
    /// How many objects there are of a resource that quotas of a namespace limit: by namespace, then resource.
    pub(crate) used: BTreeMap<(String, String), u64>,
}

/// The key of a logical cluster's admission row.
pub fn admission_key(cluster: &ClusterName) -> Key {
    Key::new([
        INTERNAL_GROUP,
        "admission",
        "",
        cluster.as_str(),
        "",
        "admission",
    ])
}

fn damaged() -> Status {
    Status::internal("a stored admission row is damaged")
}

fn hash(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

impl AdmissionRow {
    /// The hash of the configuration in a row.
    pub(crate) fn id(row: &[u8]) -> Result<&str, Status> {
        let line = row.split(|b| *b == b'\n').next().ok_or_else(damaged)?;
        std::str::from_utf8(line).map_err(|_| damaged())
    }

    pub(crate) fn parse(row: &[u8]) -> Result<Self, Status> {
        let text = std::str::from_utf8(row).map_err(|_| damaged())?;
        let (mut entries, mut used) = (Vec::new(), BTreeMap::new());
        for line in text.lines().skip(1) {
            let mut parts = line.splitn(4, ' ');
            let mut next = || parts.next().ok_or_else(damaged);
            let (letter, hash, namespace, name) = (next()?, next()?, next()?, next()?);
            if letter == USED {
                let count = hash.parse().map_err(|_| damaged())?;
                used.insert((namespace.to_owned(), name.to_owned()), count);
                continue;
            }
            let family = FAMILIES.iter().find(|(_, known, _)| *known == letter);
            entries.push(Entry {
                family: family.ok_or_else(damaged)?.0,
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                hash: hash.to_owned(),
            });
        }
        Ok(Self { entries, used })
    }

    fn encode(&self) -> Bytes {
        use std::fmt::Write as _;
        let (mut configured, mut quotas) = (String::new(), String::new());
        for e in &self.entries {
            let lines = if e.family == Family::Quota {
                &mut quotas
            } else {
                &mut configured
            };
            let letter = FAMILIES.iter().find(|(family, ..)| *family == e.family);
            let letter = letter.map_or("", |(_, letter, _)| letter);
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{letter} {} {} {}", e.hash, e.namespace, e.name);
        }
        for ((namespace, resource), count) in &self.used {
            let _ = writeln!(quotas, "{USED} {count} {namespace} {resource}");
        }
        format!("{}\n{configured}{quotas}", hash(configured.as_bytes())).into()
    }
}

/// Keeps the admission row in step with the write of an object that configures admission: in the same append.
pub(crate) fn admit(family: Family, review: &mut Review<'_>) -> Result<(), Status> {
    if !review.kind.acts() || review.operation == Operation::Delete {
        return Ok(());
    }
    let entry = (review.operation != Operation::Remove).then(|| Entry {
        family,
        namespace: review.namespace().unwrap_or_default().to_owned(),
        name: review.name().to_owned(),
        hash: match family {
            Family::Quota => "-".to_owned(),
            _ => hash(said(review.object).as_bytes()),
        },
    });
    let (namespace, name) = (
        review.namespace().unwrap_or_default().to_owned(),
        review.name().to_owned(),
    );
    let limits = (family == Family::Quota).then(|| quota::limits(review, &namespace, &name));
    let limits = limits.transpose()?;
    let snapshot = review.snapshot.clone();
    let pending = Pending {
        cluster: review.cluster,
        snapshot: &*snapshot,
        checks: &mut review.checks,
        writes: &mut review.writes,
    };
    pending.edit(|row| {
        let same = |e: &Entry| {
            (e.family, e.namespace.as_str(), e.name.as_str()) == (family, &*namespace, &*name)
        };
        row.entries.retain(|e| !same(e));
        row.entries.extend(entry);
        row.entries.sort();
        if let Some(limits) = limits {
            limits.track(row, &namespace);
        }
        Ok(())
    })
}

/// The append under way, for changing the admission row in it.
pub(super) struct Pending<'a> {
    pub(super) cluster: &'a ClusterName,
    /// What the row is read from, unless the append changes it already.
    pub(super) snapshot: &'a dyn Snapshot,
    pub(super) checks: &'a mut Vec<Check>,
    pub(super) writes: &'a mut Vec<Write>,
}

impl Pending<'_> {
    /// Changes the row; what it was is checked by the append.
    pub(super) fn edit(
        self,
        change: impl FnOnce(&mut AdmissionRow) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let key = admission_key(self.cluster);
        let at = self.writes.iter().position(|write| *write.key() == key);
        let (check, before) = match at.map(|at| self.writes.swap_remove(at)) {
            // Checked when it was put there.
            Some(Write::Put(_, row)) => (None, AdmissionRow::parse(&row)?),
            Some(Write::Delete(..)) => (None, AdmissionRow::default()),
            None => match self.snapshot.get(&key).map_err(read_error)? {
                Some(version) => (
                    Some(Check::At(key.clone(), version.modified)),
                    AdmissionRow::parse(&version.row)?,
                ),
                None => (Some(Check::Absent(key.clone())), AdmissionRow::default()),
            },
        };
        let mut after = before.clone();
        change(&mut after)?;
        if after == before && check.is_some() {
            return Ok(());
        }
        self.checks.extend(check);
        self.writes.push(if after == AdmissionRow::default() {
            Write::Delete(key, None)
        } else {
            Write::Put(key, after.encode())
        });
        Ok(())
    }
}

/// All of an object but its metadata and status.
fn said(object: &Value) -> String {
    let fields = object.as_object().into_iter().flatten();
    let said = fields.filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status"));
    let said: serde_json::Map<_, _> = said.map(|(k, v)| (k.clone(), v.clone())).collect();
    format!("{} {}", meta::name(object), Value::Object(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip_and_quotas_do_not_change_the_plan() {
        let entry = |family, namespace: &str, name: &str| Entry {
            family,
            namespace: namespace.into(),
            name: name.into(),
            hash: "h".into(),
        };
        let mut row = AdmissionRow {
            entries: vec![
                entry(Family::Validating, "", "a"),
                entry(Family::MutatingWebhooks, "", "b"),
            ],
            used: BTreeMap::new(),
        };
        let before = row.encode();
        assert_eq!(AdmissionRow::parse(&before).unwrap(), row);
        row.entries.push(entry(Family::Quota, "default", "q"));
        row.used
            .insert(("default".into(), "widgets.example.dev".into()), 3);
        let after = row.encode();
        assert_eq!(AdmissionRow::parse(&after).unwrap(), row);
        assert_eq!(
            AdmissionRow::id(&before).unwrap(),
            AdmissionRow::id(&after).unwrap()
        );
    }

    #[test]
    fn families_are_found_by_resource() {
        for (family, ..) in FAMILIES {
            assert_eq!(Family::of(&family.id()), Some(family));
        }
        assert_eq!(Family::of(&ResourceId::builtin("", "configmaps")), None);
        assert_eq!(
            Family::of(&ResourceId::builtin(GROUP, "resourcequotas")),
            None
        );
        assert_eq!(Family::of(&ResourceId::custom("", "resourcequotas")), None);
    }
}
