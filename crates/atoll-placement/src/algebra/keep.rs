//! Which parts of a status a projection keeps because a live collector reads them, though it would leave them out: times, addresses, attempts.
//!
//! Only what an expression names is kept: reading `conditions` whole, or with a test of each one's `type`, does not bring their times along; reading
//! `conditions[*].lastTransitionTime` does. Keeping a time makes projections of many copies distinct, which is what its reader asked for.

use std::collections::BTreeMap;

use atoll_cel::Step;

use super::collector::Collector;

/// Paths into a status, as a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keep {
    fields: BTreeMap<String, Keep>,
    each: Option<Box<Keep>>,
    here: bool,
}

impl Keep {
    /// Keeps nothing beyond the rules.
    pub const fn nothing() -> Self {
        Keep {
            fields: BTreeMap::new(),
            each: None,
            here: false,
        }
    }

    /// What these collectors read.
    pub fn of<'a>(collectors: impl IntoIterator<Item = &'a Collector>) -> Self {
        let mut keep = Keep::nothing();
        for collector in collectors {
            for path in collector.status_paths() {
                keep.add(path);
            }
        }
        keep
    }

    /// Keeps what this path names.
    pub fn add(&mut self, path: &[Step]) {
        let mut node = self;
        for step in path {
            node = match step {
                Step::Field(name) => node.fields.entry(name.clone()).or_default(),
                // Which item is at an index depends on what else is kept of the list: all are treated alike.
                Step::Index(_) | Step::Each => node.each.get_or_insert_default(),
                // Whether it is there, or how many: always the last step, and what is kept shows it.
                Step::Shape | Step::Presence => break,
            };
        }
        node.here = true;
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        !self.here && self.fields.is_empty() && self.each.is_none()
    }

    /// Whether a path ends here.
    pub(crate) fn ends_here(&self) -> bool {
        self.here
    }

    /// What is kept of a member of an object.
    pub(crate) fn field(&self, name: &str) -> Option<&Keep> {
        self.fields.get(name)
    }

    /// What is kept of each item of a list, or each member of an object.
    pub(crate) fn each(&self) -> Option<&Keep> {
        self.each.as_deref()
    }
}
