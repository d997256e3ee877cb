//! Sets of fields of an object: what a manager owns, what a write changed, what a subresource resets.
//!
//! A set is a tree of sorted steps. A node can be in the set itself (`member`), have parts in the set, or both; a
//! node that is neither is never kept. The algebra is that of sets of paths: owning a field says nothing about the
//! fields inside it. Only [`Set::subtract_recursively`] treats a path as everything below it.
//!
//! The written form is Kubernetes' FieldsV1, and writing is deterministic.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::path::{Path, PathElement, PathElementError};

/// A set of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    nodes: Vec<Node>,
}

/// One step in a [`Set`], with what is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The step.
    pub element: PathElement,
    /// Whether the place this step leads to is itself in the set.
    pub member: bool,
    /// What is in the set below this place.
    pub children: Set,
}

/// A FieldsV1 document that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldsError {
    /// A key is not a path element.
    #[error("parsing key as path element: {0}")]
    Element(#[from] PathElementError),
    /// Something other than a map where a set is expected.
    #[error("expected a map of fields, got {0}")]
    NotAMap(String),
}

impl Set {
    /// The set of nothing.
    pub const EMPTY: Self = Self { nodes: Vec::new() };

    /// The set of these paths.
    pub fn of(paths: impl IntoIterator<Item = Path>) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert(&path.0);
        }
        set
    }

    /// A set of nodes that are already sorted, unique and non-empty.
    pub(crate) fn from_sorted(nodes: Vec<Node>) -> Self {
        debug_assert!(
            nodes.is_sorted_by(|l, r| l.element < r.element),
            "unsorted nodes"
        );
        Self { nodes }
    }

    /// A set of nodes in any order; nodes of the same step are united.
    pub(crate) fn from_unsorted(mut nodes: Vec<Node>) -> Self {
        nodes.sort_by(|l, r| l.element.cmp(&r.element));
        nodes.dedup_by(|later, first| {
            let same = later.element == first.element;
            if same {
                first.member |= later.member;
                first.children =
                    std::mem::take(&mut first.children).union(std::mem::take(&mut later.children));
            }
            same
        });
        Self { nodes }
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The steps at this level, sorted.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The number of paths in the set.
    pub fn len(&self) -> usize {
        self.nodes
            .iter()
            .map(|n| usize::from(n.member) + n.children.len())
            .sum()
    }

    /// Adds a path. The empty path, the whole object, is owned by nobody and not added.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let at = match self.nodes.binary_search_by(|n| n.element.cmp(first)) {
            Ok(at) => at,
            Err(at) => {
                let node = Node {
                    element: first.clone(),
                    member: false,
                    children: Self::default(),
                };
                self.nodes.insert(at, node);
                at
            }
        };
        let node = &mut self.nodes[at];
        if rest.is_empty() {
            node.member = true;
        } else {
            node.children.insert(rest);
        }
    }

    /// The node of a step, if the set has anything there.
    pub fn get(&self, element: &PathElement) -> Option<&Node> {
        self.nodes
            .binary_search_by(|n| n.element.cmp(element))
            .ok()
            .map(|at| &self.nodes[at])
    }

    /// The node of a field, found without making a step for it.
    pub(crate) fn get_field(&self, name: &str) -> Option<&Node> {
        let order = |n: &Node| match &n.element {
            PathElement::Field(field) => (**field).cmp(name),
            _ => Ordering::Greater,
        };
        self.nodes
            .binary_search_by(order)
            .ok()
            .map(|at| &self.nodes[at])
    }

    /// Whether exactly this path is in the set.
    pub fn has(&self, path: &[PathElement]) -> bool {
        match path {
            [] => false,
            [last] => self.get(last).is_some_and(|n| n.member),
            [first, rest @ ..] => self.get(first).is_some_and(|n| n.children.has(rest)),
        }
    }

    /// Paths in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        if self.is_empty() {
            return other;
        }
        if other.is_empty() {
            return self;
        }
        let mut nodes = Vec::with_capacity(self.nodes.len().max(other.nodes.len()));
        let mut left = self.nodes.into_iter().peekable();
        let mut right = other.nodes.into_iter().peekable();
        while let (Some(l), Some(r)) = (left.peek(), right.peek()) {
            match l.element.cmp(&r.element) {
                Ordering::Less => nodes.extend(left.next()),
                Ordering::Greater => nodes.extend(right.next()),
                Ordering::Equal => {
                    if let (Some(l), Some(r)) = (left.next(), right.next()) {
                        nodes.push(Node {
                            element: l.element,
                            member: l.member || r.member,
                            children: l.children.union(r.children),
                        });
                    }
                }
            }
        }
        nodes.extend(left);
        nodes.extend(right);
        Self { nodes }
    }

    /// Paths in both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut nodes = Vec::new();
        let mut theirs = other.nodes.as_slice();
        for node in &self.nodes {
            if let Some(twin) = advance(&mut theirs, &node.element) {
                let children = node.children.intersection(&twin.children);
                let member = node.member && twin.member;
                if member || !children.is_empty() {
                    nodes.push(Node {
                        element: node.element.clone(),
                        member,
                        children,
                    });
                }
            }
        }
        Self { nodes }
    }

    /// Whether some path is in both sets.
    pub fn intersects(&self, other: &Self) -> bool {
        let mut theirs = other.nodes.as_slice();
        self.nodes.iter().any(|node| {
            advance(&mut theirs, &node.element).is_some_and(|twin| {
                (node.member && twin.member) || node.children.intersects(&twin.children)
            })
        })
    }

    /// Removes the paths that `other` has, and only those: fields below them stay.
    pub fn subtract(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        let mut theirs = other.nodes.as_slice();
        self.nodes.retain_mut(|node| {
            if let Some(twin) = advance(&mut theirs, &node.element) {
                node.member &= !twin.member;
                node.children.subtract(&twin.children);
            }
            node.member || !node.children.is_empty()
        });
    }

    /// Removes the paths that `other` has with everything below them.
    pub fn subtract_recursively(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        let mut theirs = other.nodes.as_slice();
        self.nodes.retain_mut(|node| {
            if let Some(twin) = advance(&mut theirs, &node.element) {
                if twin.member {
                    return false;
                }
                node.children.subtract_recursively(&twin.children);
            }
            node.member || !node.children.is_empty()
        });
    }

    /// The paths that have no path of the set below them.
    #[must_use]
    pub fn leaves(&self) -> Self {
        let nodes = self.nodes.iter().map(|node| Node {
            element: node.element.clone(),
            member: node.member && node.children.is_empty(),
            children: node.children.leaves(),
        });
        Self {
            nodes: nodes.collect(),
        }
    }

    /// Visits every path: at each level first the members, then what is below, as Kubernetes lists conflicts.
    pub fn for_each(&self, visit: &mut dyn FnMut(&Path)) {
        self.for_each_below(&mut Path::default(), visit);
    }

    fn for_each_below(&self, prefix: &mut Path, visit: &mut dyn FnMut(&Path)) {
        for node in self.nodes.iter().filter(|n| n.member) {
            prefix.0.push(node.element.clone());
            visit(prefix);
            prefix.0.pop();
        }
        for node in self.nodes.iter().filter(|n| !n.children.is_empty()) {
            prefix.0.push(node.element.clone());
            node.children.for_each_below(prefix, visit);
            prefix.0.pop();
        }
    }

    /// Every path, in the order of [`Set::for_each`].
    pub fn paths(&self) -> Vec<Path> {
        let mut paths = Vec::new();
        self.for_each(&mut |path| paths.push(path.clone()));
        paths
    }

    /// Visits every node mutably, for changes that keep the order of steps.
    pub(crate) fn nodes_mut(&mut self) -> &mut Vec<Node> {
        &mut self.nodes
    }

    /// Reads a FieldsV1 document.
    pub fn from_fields_v1(fields: &Value) -> Result<Self, FieldsError> {
        let map = match fields {
            Value::Object(map) => map,
            Value::Null => return Ok(Self::default()),
            other => return Err(FieldsError::NotAMap(other.to_string())),
        };
        let mut nodes = Vec::with_capacity(map.len());
        for (key, below) in map {
            if key == "." {
                continue;
            }
            let Some(element) = PathElement::parse(key)? else {
                continue;
            };
            let children = Self::from_fields_v1(below)?;
            // A place without parts is there because it is itself in the set.
            let member = children.is_empty() || below.get(".").is_some();
            nodes.push(Node {
                element,
                member,
                children,
            });
        }
        Ok(Self::from_unsorted(nodes))
    }

    /// Writes the set as a FieldsV1 document.
    pub fn to_fields_v1(&self) -> Value {
        Value::Object(
            self.nodes
                .iter()
                .map(|node| (node.element.encode(), node.below()))
                .collect(),
        )
    }
}

impl Node {
    fn below(&self) -> Value {
        let mut map: Map<String, Value> = self
            .children
            .nodes
            .iter()
            .map(|node| (node.element.encode(), node.below()))
            .collect();
        if self.member && !map.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        Value::Object(map)
    }
}

/// Moves `nodes` forward to `element` and returns its node if it is there. Steps must be asked for in order.
fn advance<'a>(nodes: &mut &'a [Node], element: &PathElement) -> Option<&'a Node> {
    while let Some((first, rest)) = nodes.split_first() {
        match first.element.cmp(element) {
            Ordering::Less => *nodes = rest,
            Ordering::Equal => {
                *nodes = rest;
                return Some(first);
            }
            Ordering::Greater => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn read(fields: Value) -> Set {
        Set::from_fields_v1(&fields).unwrap()
    }

    #[test]
    fn a_dot_marks_a_place_that_is_itself_owned() {
        let set = read(
            json!({"f:spec": {"f:replicas": {}, "f:template": {".": {}, "f:spec": {}}}, "f:x": {".": {}}}),
        );
        assert!(set.has(&Path::fields(["spec", "replicas"]).0));
        assert!(!set.has(&Path::fields(["spec"]).0));
        assert!(set.has(&Path::fields(["spec", "template"]).0));
        assert!(set.has(&Path::fields(["x"]).0));
        assert_eq!(set.len(), 4);
        assert_eq!(
            set.to_fields_v1(),
            json!({"f:spec": {"f:replicas": {}, "f:template": {".": {}, "f:spec": {}}}, "f:x": {}})
        );
    }

    #[test]
    fn unknown_element_types_are_dropped_and_broken_ones_refused() {
        assert_eq!(
            read(json!({"q:new": {}, "f:a": {}})).to_fields_v1(),
            json!({"f:a": {}})
        );
        assert!(Set::from_fields_v1(&json!({"nonsense": {}})).is_err());
        assert!(Set::from_fields_v1(&json!({"f:a": 1})).is_err());
        assert!(Set::from_fields_v1(&json!(null)).unwrap().is_empty());
    }

    #[test]
    fn paths_are_shown_as_kubernetes_shows_them() {
        let set = read(json!({"f:spec": {"f:containers": {
            "k:{\"name\":\"x\"}": {".": {}, "f:image": {}, "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {}}}}}, "f:finalizers": {"v:\"a/b\"": {}}}));
        let shown: Vec<_> = set.paths().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                ".finalizers[=\"a/b\"]",
                ".spec.containers[name=\"x\"]",
                ".spec.containers[name=\"x\"].image",
                ".spec.containers[name=\"x\"].ports[containerPort=80,protocol=\"TCP\"]",
            ]
        );
    }

    #[test]
    fn plain_difference_keeps_what_is_below_and_recursive_does_not() {
        let exclude = read(json!({"f:status": {}}));
        let fields = json!({"f:status": {".": {}, "f:ready": {}}, "f:spec": {"f:a": {}}});
        let mut plain = read(fields.clone());
        plain.subtract(&exclude);
        assert_eq!(
            plain.to_fields_v1(),
            json!({"f:status": {"f:ready": {}}, "f:spec": {"f:a": {}}})
        );
        let mut recursive = read(fields);
        recursive.subtract_recursively(&exclude);
        assert_eq!(recursive.to_fields_v1(), json!({"f:spec": {"f:a": {}}}));
    }

    #[test]
    fn leaves_are_the_ends_of_paths() {
        let set = read(json!({"f:a": {".": {}, "f:b": {".": {}, "f:c": {}}}, "f:d": {}}));
        let shown: Vec<_> = set
            .leaves()
            .paths()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(shown, [".d", ".a.b.c"]);
    }

    fn element() -> impl Strategy<Value = PathElement> {
        prop_oneof![
            4 => "[a-c]".prop_map(|s| PathElement::field(&s)),
            1 => "[a-b]".prop_map(|s| PathElement::key([("name", json!(s))])),
            1 => (0..2i64).prop_map(|n| PathElement::key([("port", json!(n)), ("protocol", json!("TCP"))])),
            1 => (0..3i64).prop_map(|n| PathElement::value(json!(n))),
            1 => (0..3i64).prop_map(PathElement::Index),
        ]
    }

    fn paths() -> impl Strategy<Value = Vec<Path>> {
        prop::collection::vec(prop::collection::vec(element(), 1..4).prop_map(Path), 0..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_algebra_is_that_of_sets_of_paths(left in paths(), right in paths()) {
            let (l, r): (BTreeSet<_>, BTreeSet<_>) = (left.iter().cloned().collect(), right.iter().cloned().collect());
            let (ls, rs) = (Set::of(left), Set::of(right));
            prop_assert_eq!(ls.clone().union(rs.clone()), Set::of(l.union(&r).cloned()));
            prop_assert_eq!(ls.intersection(&rs), Set::of(l.intersection(&r).cloned()));
            prop_assert_eq!(ls.intersects(&rs), !l.is_disjoint(&r));
            let mut difference = ls.clone();
            difference.subtract(&rs);
            prop_assert_eq!(difference, Set::of(l.difference(&r).cloned()));
            let mut below = ls.clone();
            below.subtract_recursively(&rs);
            let kept = l.iter().filter(|path| !(1..=path.0.len()).any(|n| r.contains(&Path(path.0[..n].to_vec()))));
            prop_assert_eq!(below, Set::of(kept.cloned()));
            prop_assert_eq!(ls.len(), l.len());
            prop_assert!(l.iter().all(|path| ls.has(&path.0)));
        }

        #[test]
        fn what_is_written_is_read_back(paths in paths()) {
            let set = Set::of(paths);
            let written = set.to_fields_v1();
            prop_assert_eq!(Set::from_fields_v1(&written).unwrap(), set);
        }
    }
}
