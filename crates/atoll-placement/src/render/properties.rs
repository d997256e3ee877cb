//! A destination's properties: what templates and expressions may read of it.
//!
//! Sources, the first that has a name wins: the ConfigMap named like the destination in the inventory's namespace
//! `customization-properties`, the ManagedCluster's annotations, its labels, the built-in `clusterName`, and last
//! `status.clusterClaims`, which the edge itself reports and so may never change what the inventory's owner says. Names
//! need not be identifiers. Every value is text.
//!
//! What a template reads is known before it runs ([`Read`]), so that a render depends on those values and nothing else.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::{Destination, Destinations};

/// The namespace of an inventory whose ConfigMaps give properties.
pub const NAMESPACE: &str = "customization-properties";

/// The property that every destination has: its name.
pub const CLUSTER_NAME: &str = "clusterName";

/// Annotations that are no properties: bookkeeping of tools, and ours, which may hold what tenants must not see.
const NOT_ANNOTATIONS: [&str; 3] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "edge.atoll.dev/",
    "kcp.io/",
];

/// Where a value is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Wherever it is, by precedence; `clusterName` is always there.
    Any,
    /// The ConfigMap in `customization-properties`.
    ConfigMap,
    /// `metadata.annotations`.
    Annotation,
    /// `metadata.labels`.
    Label,
    /// The ManagedCluster's own name, whatever anybody calls it; its only property is `clusterName`.
    Name,
    /// `status.clusterClaims`.
    Claim,
}

impl Source {
    /// Those that something can be in, by precedence.
    pub(super) const HOLDING: [Source; 4] = [
        Source::ConfigMap,
        Source::Annotation,
        Source::Label,
        Source::Claim,
    ];

    fn word(self) -> &'static str {
        match self {
            Source::Any => "property",
            Source::ConfigMap => "customization property",
            Source::Annotation => "annotation",
            Source::Label => "label",
            Source::Name => "name",
            Source::Claim => "cluster claim",
        }
    }
}

/// One thing that a render may read of a destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Read {
    /// Where.
    pub source: Source,
    /// Which; `None` is everything there.
    pub name: Option<Box<str>>,
}

impl Read {
    /// A property by precedence.
    pub fn property(name: &str) -> Self {
        Self::of(Source::Any, name)
    }

    /// One name of one source.
    pub fn of(source: Source, name: &str) -> Self {
        Self {
            source,
            name: Some(name.into()),
        }
    }

    /// Everything of a source.
    pub fn all(source: Source) -> Self {
        Self { source, name: None }
    }

    /// Whether a change of `changed` (one name of one source) can change what this reads.
    pub fn concerns(&self, changed: &Read) -> bool {
        (self.source == Source::Any || self.source == changed.source)
            && (self.name.is_none() || self.name == changed.name)
    }
}

impl std::fmt::Display for Read {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} {name:?}", self.source.word()),
            None => write!(f, "every {}", self.source.word()),
        }
    }
}

/// What the sources of one destination say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// The ManagedCluster's name.
    pub name: String,
    /// Its ConfigMap's `data` and `binaryData`.
    pub config: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its cluster claims.
    pub claims: BTreeMap<String, String>,
}

impl Given {
    /// Reads a ManagedCluster and the ConfigMap that goes with it.
    pub fn of(cluster: &Value, config: Option<&Value>) -> Self {
        let mut given = Self {
            name: text(cluster.pointer("/metadata/name")),
            annotations: texts(cluster.pointer("/metadata/annotations")),
            labels: texts(cluster.pointer("/metadata/labels")),
            ..Self::default()
        };
        given
            .annotations
            .retain(|name, _| !NOT_ANNOTATIONS.iter().any(|not| name.starts_with(not)));
        let claims = cluster.pointer("/status/clusterClaims");
        for claim in claims.and_then(Value::as_array).into_iter().flatten() {
            given
                .claims
                .insert(text(claim.get("name")), text(claim.get("value")));
        }
        if let Some(config) = config {
            given.config = texts(config.get("data"));
            for (name, encoded) in texts(config.get("binaryData")) {
                if let Ok(bytes) = STANDARD.decode(encoded) {
                    let value = String::from_utf8_lossy(&bytes).into_owned();
                    given.config.insert(name, value);
                }
            }
        }
        given
    }

    /// The same without labels, for whoever has them elsewhere ([`Beside`](super::Beside)).
    #[must_use]
    pub fn without_labels(mut self) -> Self {
        self.labels.clear();
        self
    }

    pub(super) fn source(&self, source: Source) -> Option<&BTreeMap<String, String>> {
        match source {
            Source::Any | Source::Name => None,
            Source::ConfigMap => Some(&self.config),
            Source::Annotation => Some(&self.annotations),
            Source::Label => Some(&self.labels),
            Source::Claim => Some(&self.claims),
        }
    }

    /// The value of one name, as `source` has it.
    pub fn get(&self, source: Source, name: &str) -> Option<&str> {
        if source == Source::Name {
            return (name == CLUSTER_NAME).then_some(self.name.as_str());
        }
        if let Some(map) = self.source(source) {
            return map.get(name).map(String::as_str);
        }
        let said = [&self.config, &self.annotations, &self.labels]
            .into_iter()
            .find_map(|map| map.get(name));
        match said {
            Some(value) => Some(value),
            None if name == CLUSTER_NAME => Some(&self.name),
            None => self.claims.get(name).map(String::as_str),
        }
    }
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(map: Option<&Value>) -> BTreeMap<String, String> {
    map.and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
        .collect()
}

/// The destinations that have each value of one name. A destination in none of them does not have the name.
pub type Groups<'a> = Vec<(Cow<'a, str>, Cow<'a, Destinations>)>;

/// The properties of all destinations of an inventory. [`PropertyTable`](super::PropertyTable) holds them,
/// [`Beside`](super::Beside) what is not in the inventory's index; whoever has them elsewhere implements this.
pub trait Properties {
    /// The value of one name, as `source` has it.
    fn get(&self, destination: Destination, source: Source, name: &str) -> Option<Cow<'_, str>>;

    /// Everything of a source, each name once, sorted.
    fn all(&self, destination: Destination, source: Source) -> Vec<(Cow<'_, str>, Cow<'_, str>)>;

    /// Destinations by value, where that is known without asking each of them.
    fn groups(&self, source: Source, name: &str) -> Option<Groups<'_>>;
}

impl Properties for Given {
    fn get(&self, _: Destination, source: Source, name: &str) -> Option<Cow<'_, str>> {
        Given::get(self, source, name).map(Cow::Borrowed)
    }

    fn all(&self, _: Destination, source: Source) -> Vec<(Cow<'_, str>, Cow<'_, str>)> {
        let mut names: Vec<&str> = match (self.source(source), source) {
            (Some(map), _) => map.keys().map(String::as_str).collect(),
            (None, Source::Name) => vec![CLUSTER_NAME],
            (None, _) => Source::HOLDING
                .iter()
                .filter_map(|s| self.source(*s))
                .flat_map(|map| map.keys().map(String::as_str))
                .chain([CLUSTER_NAME])
                .collect(),
        };
        names.sort_unstable();
        names.dedup();
        names
            .into_iter()
            .filter_map(|name| Some((name.into(), Given::get(self, source, name)?.into())))
            .collect()
    }

    fn groups(&self, _: Source, _: &str) -> Option<Groups<'_>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_source_that_has_a_name_wins() {
        let cluster = json!({
            "metadata": {
                "name": "north",
                "labels": {"a": "label", "b": "label", "c": "label", "location-group": "edge"},
                "annotations": {"a": "annotation", "b": "annotation", "edge.atoll.dev/join-token-sha256": "secret"}
            },
            "status": {"clusterClaims": [{"name": "d", "value": "claim"}, {"name": "c", "value": "claim"}, {"name": "clusterName", "value": "liar"}]}
        });
        let config = json!({"data": {"a": "data"}, "binaryData": {"bin": "aGVsbG8="}});
        let given = Given::of(&cluster, Some(&config));
        for (name, expected) in [
            ("a", Some("data")),
            ("b", Some("annotation")),
            ("c", Some("label")),
            ("d", Some("claim")),
            ("bin", Some("hello")),
            ("location-group", Some("edge")),
            (CLUSTER_NAME, Some("north")),
            ("edge.atoll.dev/join-token-sha256", None),
            ("none", None),
        ] {
            assert_eq!(given.get(Source::Any, name), expected, "{name}");
        }
        assert_eq!(given.get(Source::Label, "a"), Some("label"));
        assert_eq!(given.get(Source::Claim, CLUSTER_NAME), Some("liar"));
    }

    #[test]
    fn a_label_may_rename_the_cluster_as_upstream() {
        let given = Given::of(
            &json!({"metadata": {"name": "n", "labels": {"clusterName": "other"}}}),
            None,
        );
        assert_eq!(given.get(Source::Any, CLUSTER_NAME), Some("other"));
    }

    #[test]
    fn reads_know_what_concerns_them() {
        let changed = Read::of(Source::Label, "zone");
        for (read, expected) in [
            (Read::property("zone"), true),
            (Read::property("other"), false),
            (Read::of(Source::Label, "zone"), true),
            (Read::of(Source::Claim, "zone"), false),
            (Read::all(Source::Label), true),
            (Read::all(Source::Claim), false),
        ] {
            assert_eq!(read.concerns(&changed), expected, "{read}");
        }
    }
}
