//! The door of the ownership record: what the registry calls on every write.
//!
//! On the path of every write. A create walks the object once and makes one entry; an update that changes nothing keeps
//! the record as it is, unparsed. Whatever a client does to `managedFields` itself is judged here too: a list that is
//! empty (or `[{}]`) resets the record, a list that cannot be read is ignored.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::conflict::Conflicts;
use super::entries::{Entries, Entry};
use super::fieldset::Set;
use super::ownership::{Applied, Rules, apply, record_update};
use super::path::Path;
use super::typed::{Comparison, compare, fields, validate};
use super::typing::Type;
use crate::schema::Schema;
use crate::status::{Reason, Status};
use crate::time::Timestamp;

/// The manager that owns what an object had before its first apply.
pub const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// The longest name of a manager, in bytes.
pub const MAX_MANAGER: usize = 128;

/// Where `kubectl apply` keeps what it applied.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The most bytes of all annotations of an object.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// A write, as far as ownership is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The version written at: `apps/v1`.
    pub api_version: &'a str,
    /// The kind: `Deployment`.
    pub kind: &'a str,
    /// The schema of that version.
    pub schema: &'a Schema,
    /// A kind of Kubernetes' own, not from a CustomResourceDefinition.
    pub native: bool,
    /// The kind has a status subresource: a write of the object leaves `status` alone.
    pub has_status: bool,
    /// The subresource written through; empty for the object itself.
    pub subresource: &'a str,
    /// Who writes: [`manager_name`].
    pub manager: &'a str,
    /// When.
    pub now: Timestamp,
}

/// The manager of a write: the one the client names, else the first part of its user agent.
pub fn manager_name(field_manager: Option<&str>, user_agent: &str) -> String {
    if let Some(name) = field_manager.filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    let mut name = String::new();
    for c in user_agent.split('/').next().unwrap_or_default().chars() {
        let printable = c == ' ' || !(c.is_control() || c.is_whitespace());
        if !printable {
            continue;
        }
        if name.len() + c.len_utf8() > MAX_MANAGER {
            break;
        }
        name.push(c);
    }
    name
}

/// Records the creation of `object`.
pub fn on_create(write: &Write<'_>, object: &mut Value) {
    static NOTHING: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
    let entries = match take(object) {
        Some(sent) if !is_reset(&sent) => Entries::decode(&sent).unwrap_or_default(),
        _ => Entries::default(),
    };
    let rules = write.rules();
    let changes = compare(rules.ty, &NOTHING, object, rules.skip);
    update(write, write.manager, entries, changes, object);
}

/// Records that `live` became `object` by a plain write: an update, or a patch other than apply.
pub fn on_update(write: &Write<'_>, live: &Value, object: &mut Value) {
    let recorded = live.get("metadata").and_then(|m| m.get("managedFields"));
    let sent = take(object).filter(|_| write.subresource.is_empty());
    if sent.as_ref().is_some_and(is_reset) {
        return; // nobody owns anything until the next apply
    }
    let sent = sent.filter(|sent| recorded != Some(sent));
    let rules = write.rules();
    let changes = compare(rules.ty, live, object, rules.skip);
    if changes.is_empty() && sent.is_none() {
        put(object, recorded.cloned());
        return;
    }
    let sent = sent
        .and_then(|sent| Entries::decode(&sent).ok())
        .filter(|entries| !entries.0.is_empty());
    let entries = sent
        .or_else(|| Entries::decode(recorded?).ok())
        .unwrap_or_default();
    // An object whose record was reset is not tracked by updates.
    if entries.0.is_empty() && live.pointer("/metadata/uid").is_some() {
        return;
    }
    update(write, write.manager, entries, changes, object);
}

/// Server-side apply: the object that `config` makes of `live`, with its record. Without `live` the object is created.
///
/// The caller completes what a write completes (defaults, system metadata); `metadata` of the result is the live one
/// with the configuration's fields.
pub fn on_apply(
    write: &Write<'_>,
    live: Option<&Value>,
    config: &Value,
    force: bool,
) -> Result<Value, Status> {
    check_config(write, config)?;
    let rules = write.rules();
    let none = write.empty();
    let live = live.unwrap_or(&none);
    let unreadable = |e| {
        Status::new(
            500,
            Reason::Unknown,
            format!("failed to decode managed fields: {e}"),
        )
    };
    let mut entries = Entries::of(live).map_err(unreadable)?;
    let mut base = live.clone();
    take(&mut base);
    if entries.0.is_empty() {
        let changes = compare(rules.ty, &none, &base, rules.skip);
        let who = write.updater(BEFORE_FIRST_APPLY);
        record_update(&mut entries, changes, who, rules);
    }
    validate(rules.ty, config).map_err(|why| {
        let message = format!(
            "failed to create typed patch object ({}): {why}",
            write.describe(config)
        );
        Status::new(500, Reason::Unknown, message)
    })?;
    let who = Entry {
        time: Some(write.time()),
        ..Entry::apply(
            write.manager_or_unknown(),
            write.api_version,
            write.subresource,
        )
    };
    let applied = match apply(&base, config, entries.clone(), &who, force, rules) {
        Err(conflicts) if write.manager == "kubectl" => {
            let left = conflicts.without(&last_applied_fields(write, &base));
            if left.0.is_empty() {
                apply(&base, config, entries, &who, true, rules)
            } else {
                Err(left)
            }
        }
        outcome => outcome,
    };
    let Applied {
        mut object,
        entries,
    } = applied.map_err(Conflicts::into_status)?;
    if write.manager == "kubectl" {
        renew_last_applied(&mut object, config);
    }
    put(&mut object, entries.encode());
    Ok(object)
}

/// Keeps the times of the record when nothing else changed, so that a write without effect stays one.
///
/// For the registry, when `object` is ready to be stored over `live`. Their resourceVersions do not count.
pub fn keep_times_if_unchanged(live: &Value, object: &mut Value) {
    fn record(value: &Value) -> Option<&Vec<Value>> {
        value.get("metadata")?.get("managedFields")?.as_array()
    }
    let (Some(old), Some(new)) = (record(live), record(object)) else {
        return;
    };
    let only_times = old != new
        && old.len() == new.len()
        && old
            .iter()
            .zip(new)
            .all(|(old, new)| same_except(&["time"], old, new));
    let same = only_times
        && same_except(&["metadata"], live, object)
        && same_except(
            &["managedFields", "resourceVersion"],
            &live["metadata"],
            &object["metadata"],
        );
    if same {
        let old = Value::Array(old.clone());
        put(object, Some(old));
    }
}

/// Whether two maps are the same but for these fields.
fn same_except(names: &[&str], left: &Value, right: &Value) -> bool {
    fn fields<'a>(
        value: &'a Value,
        names: &[&str],
    ) -> impl Iterator<Item = (&'a String, &'a Value)> {
        let all = value.as_object().into_iter().flatten();
        all.filter(move |(name, _)| !names.contains(&name.as_str()))
    }
    fields(left, names).eq(fields(right, names))
}

impl<'a> Write<'a> {
    fn rules(&self) -> Rules<'a> {
        let skipped: &'static Skip = match (self.subresource, self.has_status, self.native) {
            ("status", _, true) => &SKIP_SPEC,
            ("status", _, false) => &SKIP_ALL_BUT_STATUS,
            (_, true, _) => &SKIP_STATUS,
            (_, false, _) => &SKIP_NOTHING,
        };
        let (skip, resets) = &**skipped;
        Rules {
            ty: Type::object(self.schema, self.native),
            skip,
            resets,
            untracked: &UNTRACKED,
        }
    }

    fn time(&self) -> String {
        self.now.whole_seconds().rfc3339()
    }

    fn manager_or_unknown(&self) -> &'a str {
        if self.manager.is_empty() {
            "unknown"
        } else {
            self.manager
        }
    }

    fn updater(&self, manager: &str) -> Entry {
        let manager = if manager.is_empty() {
            "unknown"
        } else {
            manager
        };
        Entry {
            time: Some(self.time()),
            ..Entry::update(manager, self.api_version, self.subresource)
        }
    }

    /// The object before its creation.
    fn empty(&self) -> Value {
        serde_json::json!({"apiVersion": self.api_version, "kind": self.kind})
    }

    /// `namespace/name; apps/v1, Kind=Deployment`, for messages.
    fn describe(&self, object: &Value) -> String {
        let text = |name: &str| {
            object
                .get("metadata")
                .and_then(|m| m.get(name))
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        format!(
            "{}/{}; {}",
            text("namespace"),
            text("name"),
            group_version_kind(self.api_version, self.kind)
        )
    }
}

fn group_version_kind(api_version: &str, kind: &str) -> String {
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}

fn update(
    write: &Write<'_>,
    manager: &str,
    mut entries: Entries,
    changes: Comparison,
    object: &mut Value,
) {
    record_update(&mut entries, changes, write.updater(manager), write.rules());
    put(object, entries.encode());
}

fn check_config(write: &Write<'_>, config: &Value) -> Result<(), Status> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version != write.api_version || kind != write.kind {
        let found = group_version_kind(api_version, kind);
        return Err(Status::bad_request(format!("invalid object type: {found}")));
    }
    match config.get("metadata").and_then(|m| m.get("managedFields")) {
        None | Some(Value::Null) => Ok(()),
        Some(_) => Err(Status::bad_request("metadata.managedFields must be nil")),
    }
}

/// Takes the `managedFields` out of an object.
fn take(object: &mut Value) -> Option<Value> {
    object
        .get_mut("metadata")?
        .as_object_mut()?
        .remove("managedFields")
}

fn put(object: &mut Value, record: Option<Value>) {
    let (Some(record), Some(map)) = (record, object.as_object_mut()) else {
        return;
    };
    let metadata = map
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("managedFields".to_owned(), record);
    }
}

/// Whether a client asks for an empty record: `[]` or `[{}]`.
fn is_reset(sent: &Value) -> bool {
    match sent.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([Value::Object(entry)]) => entry
            .values()
            .all(|v| matches!(v, Value::Null) || v.as_str() == Some("")),
        _ => false,
    }
}

/// What the last client-side apply set and nobody changed since: a server-side apply by kubectl may take it over.
fn last_applied_fields(write: &Write<'_>, live: &Value) -> Set {
    let annotation = live
        .pointer("/metadata/annotations")
        .and_then(|a| a.get(LAST_APPLIED))
        .and_then(Value::as_str);
    let Some(last) = annotation.and_then(|text| serde_json::from_str::<Value>(text).ok()) else {
        return Set::EMPTY;
    };
    let ty = write.rules().ty;
    if last.get("apiVersion").and_then(Value::as_str) != Some(write.api_version)
        || validate(ty, &last).is_err()
    {
        return Set::EMPTY;
    }
    let mut owned = fields(ty, &last);
    let changes = compare(ty, &last, live, &Set::EMPTY);
    for set in [changes.modified, changes.added, changes.removed] {
        owned.subtract(&set);
    }
    owned
}

/// Where an object carries what `kubectl apply` last applied, a server-side apply by kubectl renews it.
fn renew_last_applied(object: &mut Value, config: &Value) {
    let Some(annotations) = object
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    if annotations
        .get(LAST_APPLIED)
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        return;
    }
    let mut config = config.clone();
    if let Some(own) = config
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        own.remove(LAST_APPLIED);
    }
    annotations.insert(LAST_APPLIED.to_owned(), Value::from(format!("{config}\n")));
    let size: usize = annotations
        .iter()
        .map(|(k, v)| k.len() + v.as_str().map_or(0, str::len))
        .sum();
    if size > MAX_ANNOTATIONS {
        annotations.remove(LAST_APPLIED);
    }
}

/// Fields of `metadata` that belong to the server.
const SYSTEM_METADATA: [&str; 9] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "clusterName",
    "generation",
    "managedFields",
    "resourceVersion",
];

/// Fields that are in nobody's set.
static UNTRACKED: LazyLock<Set> = LazyLock::new(|| {
    let mut set = never_compared();
    set.insert(&Path::fields(["metadata"]).0);
    set
});

/// The untracked fields that are leaves. (`metadata` itself is nobody's, but what is in it is somebody's.)
fn never_compared() -> Set {
    let system = SYSTEM_METADATA.map(|name| Path::fields(["metadata", name]));
    // Spliced in where objects are read, never stored.
    let cluster = Path::fields(["metadata", "annotations", "kcp.io/cluster"]);
    Set::of(
        [
            Path::fields(["apiVersion"]),
            Path::fields(["kind"]),
            cluster,
        ]
        .into_iter()
        .chain(system),
    )
}

/// What a write does not compare, and the part of it that it resets.
type Skip = LazyLock<(Set, Set)>;

fn skipping<const N: usize>(paths: [Path; N]) -> (Set, Set) {
    let resets = Set::of(paths);
    (never_compared().union(resets.clone()), resets)
}

static SKIP_NOTHING: Skip = LazyLock::new(|| skipping([]));
static SKIP_STATUS: Skip = LazyLock::new(|| skipping([Path::fields(["status"])]));
static SKIP_SPEC: Skip =
    LazyLock::new(|| skipping([Path::fields(["spec"]), Path::fields(["metadata", "labels"])]));
static SKIP_ALL_BUT_STATUS: Skip =
    LazyLock::new(|| skipping([Path::fields(["spec"]), Path::fields(["metadata"])]));
