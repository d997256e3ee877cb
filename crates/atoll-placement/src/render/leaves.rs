//! The templates of one object: every text in it that is one, each with its place.
//!
//! Keys are no templates, nor are the fields that say which object it is. Expanding changes texts only: never a number, never the structure.

use std::collections::BTreeMap;

use atoll_kube::status::FieldError;
use serde_json::Value;

use crate::clean;

use super::properties::Read;
use super::protect;
use super::template::{Meter, Template, TemplateError};

/// On an object, "true": its templates are expanded.
pub const EXPAND: &str = "control.kubestellar.io/expand-templates";

/// One template and where it stands.
#[derive(Debug)]
struct Leaf {
    place: Vec<Step>,
    template: Template,
}

#[derive(Debug, Clone)]
enum Step {
    Name(String),
    At(usize),
}

/// The compiled templates of an object.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    leaves: Vec<Leaf>,
    reads: Vec<Read>,
}

/// A template of an object that is wrong, or went wrong.
#[derive(Debug)]
pub(super) struct LeafError {
    /// The field, as people write it.
    pub(super) field: String,
    pub(super) error: TemplateError,
}

/// Whether an object asks for its templates to be expanded.
pub fn wants_expansion(object: &Value) -> bool {
    protect::at(object, &["metadata", "annotations", EXPAND]).and_then(Value::as_str)
        == Some("true")
}

/// Checks, when an object is written, the templates that it asks to be expanded: each fault with its field and position.
/// What does not travel is not looked at: annotations of tools may hold the templates once more, escaped.
pub fn check_templates(group: &str, resource: &str, object: &Value) -> Vec<FieldError> {
    if !wants_expansion(object) {
        return Vec::new();
    }
    let mut object = object.clone();
    clean::clean(group, resource, &mut object);
    let object = &object;
    let mut errors = Vec::new();
    for path in protect::IDENTITY {
        let value = protect::at(object, path).and_then(Value::as_str);
        if let Some(value) = value.filter(|v| Template::is_one(v)) {
            errors.push(FieldError::invalid(
                path.join("."),
                value,
                "which object it is can not be a template",
            ));
        }
    }
    visit(object, &mut Vec::new(), &mut |place, text| {
        if let Err(error) = Template::compile(text) {
            let said = format!("{}: {}", error.position, error.message);
            errors.push(FieldError::invalid(
                shown(place),
                text,
                format!("template, at {said}"),
            ));
        }
    });
    errors
}

impl Leaves {
    /// Compiles the templates of an object.
    pub(super) fn of(object: &Value) -> Result<Leaves, LeafError> {
        let mut leaves = Vec::new();
        let mut fault = None;
        visit(
            object,
            &mut Vec::new(),
            &mut |place, text| match Template::compile(text) {
                Ok(template) => leaves.push(Leaf {
                    place: place.to_vec(),
                    template,
                }),
                Err(error) => {
                    fault.get_or_insert(LeafError {
                        field: shown(place),
                        error,
                    });
                }
            },
        );
        if let Some(fault) = fault {
            return Err(fault);
        }
        let mut reads: Vec<Read> = leaves
            .iter()
            .flat_map(|leaf| leaf.template.reads().iter().cloned())
            .collect();
        reads.sort_unstable();
        reads.dedup();
        Ok(Leaves { leaves, reads })
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    /// What they read, sorted.
    pub(super) fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// The text that each of them becomes, in their order.
    pub(super) fn texts(
        &self,
        properties: &BTreeMap<&str, &str>,
    ) -> Result<Vec<String>, LeafError> {
        let mut meter = Meter::default();
        self.leaves
            .iter()
            .map(|leaf| {
                leaf.template
                    .run(&|name| properties.get(name).copied(), &mut meter)
                    .map_err(|error| LeafError {
                        field: shown(&leaf.place),
                        error,
                    })
            })
            .collect()
    }

    /// Puts texts where they are, in a copy of the object that they were compiled from.
    pub(super) fn put(&self, object: &mut Value, texts: impl IntoIterator<Item = String>) {
        for (leaf, text) in self.leaves.iter().zip(texts) {
            if let Some(place) = find(object, &leaf.place) {
                *place = Value::String(text);
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.leaves.len()
    }
}

fn find<'v>(object: &'v mut Value, place: &[Step]) -> Option<&'v mut Value> {
    place.iter().try_fold(object, |value, step| match step {
        Step::Name(name) => value.get_mut(name),
        Step::At(at) => value.get_mut(at),
    })
}

/// Calls for every text below a value that is a template.
fn visit(value: &Value, place: &mut Vec<Step>, each: &mut dyn FnMut(&[Step], &str)) {
    match value {
        Value::String(text) if Template::is_one(text) => {
            let identity = protect::IDENTITY.iter().any(|path| {
                path.len() == place.len()
                    && path
                        .iter()
                        .zip(place.iter())
                        .all(|(name, step)| matches!(step, Step::Name(n) if n == name))
            });
            if !identity {
                each(place, text);
            }
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                place.push(Step::At(at));
                visit(item, place, each);
                place.pop();
            }
        }
        Value::Object(map) => {
            for (name, member) in map {
                place.push(Step::Name(name.clone()));
                visit(member, place, each);
                place.pop();
            }
        }
        _ => {}
    }
}

fn shown(place: &[Step]) -> String {
    let mut out = String::new();
    for step in place {
        out = match step {
            Step::Name(name) if name.contains(['.', '/', '[']) => {
                atoll_kube::status::key(&out, name)
            }
            Step::Name(name) => atoll_kube::status::child(&out, name),
            Step::At(at) => atoll_kube::status::index(&out, *at),
        };
    }
    out
}
