//! Which of the objects under a prefix a list or watch is about.
//!
//! Hot path: labels are read from the row's header; the JSON is parsed only for field selectors that look into it.

use atoll_kube::{LabelSelector, Status, selector::FieldSelector};
use atoll_store::Prefix;

use super::{fields, fields::FieldTest, target::Target};
use crate::{Call, Clusters, ObjectKey};

#[derive(Clone)]
pub(crate) struct Filter {
    clusters: Clusters,
    namespace: Option<String>,
    name: Option<String>,
    labels: LabelSelector,
    fields: Vec<FieldTest>,
    needs_body: bool,
}

impl Filter {
    pub(crate) fn new(
        target: &Target,
        call: &Call,
        labels: &LabelSelector,
        selector: &FieldSelector,
    ) -> Result<Self, Status> {
        let fields = fields::compile(&target.served, selector)?;
        let by_field = fields
            .iter()
            .find_map(|f| f.exact_name().map(str::to_owned));
        Ok(Self {
            clusters: call.clusters.clone(),
            namespace: call.namespace.clone(),
            name: call.name.clone().or(by_field),
            labels: labels.clone(),
            needs_body: fields.iter().any(FieldTest::needs_body),
            fields,
        })
    }

    /// Whether a selector takes part, so that an object may begin or cease to match.
    pub(crate) fn selects(&self) -> bool {
        !self.labels.is_everything() || !self.fields.is_empty()
    }

    /// The narrowest prefix that holds everything that can match.
    pub(crate) fn prefix(&self, target: &Target) -> Prefix {
        let namespaced = target.served.definition.namespaced();
        let name = self
            .name
            .as_deref()
            .filter(|_| !namespaced || self.namespace.is_some());
        target
            .id
            .prefix(&self.clusters, self.namespace.as_deref(), name)
    }

    /// The prefixes to range over, in key order: more than one only for a set of clusters.
    pub(crate) fn prefixes(&self, target: &Target) -> Vec<Prefix> {
        match &self.clusters {
            Clusters::One(_) | Clusters::All => vec![self.prefix(target)],
            Clusters::Set(set) => set
                .iter()
                .map(|c| {
                    Filter {
                        clusters: Clusters::One(c.clone()),
                        ..self.clone()
                    }
                    .prefix(target)
                })
                .collect(),
        }
    }

    /// Whether the key can match at all: for wildcard reads, whose prefix is wider than what was asked.
    pub(crate) fn matches_key(&self, key: &ObjectKey<'_>) -> bool {
        self.clusters.covers(key.cluster)
            && self.namespace.as_ref().is_none_or(|n| n == key.namespace)
            && self.name.as_ref().is_none_or(|n| n == key.name)
    }

    /// Whether the object matches.
    pub(crate) fn matches(&self, key: &ObjectKey<'_>, row: &[u8]) -> Result<bool, Status> {
        if !self.matches_key(key) {
            return Ok(false);
        }
        if !self.selects() {
            return Ok(true);
        }
        let row = super::row(row)?;
        if !self.labels.is_everything() && !self.labels.matches(|k| row.label(k)) {
            return Ok(false);
        }
        if self.fields.is_empty() {
            return Ok(true);
        }
        let body = if self.needs_body {
            Some(serde_json::from_slice(row.body()).map_err(Status::internal)?)
        } else {
            None
        };
        Ok(self.fields.iter().all(|f| f.passes(key, body.as_ref())))
    }
}
