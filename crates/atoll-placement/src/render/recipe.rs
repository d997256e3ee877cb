//! A recipe: everything that shapes the copies of one payload object, except the destinations.
//!
//! It is data: it can be kept as bytes and read back, and its hash is the object's part of a revision's content. So touching
//! an object without effect makes no revision, and editing a Customizer that concerns it makes one. An object that is the same
//! everywhere has a recipe too; its hash is that of the body as it travels, as it always was.

use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::bundle::{self, CopyFlags, RenderHash, Wishes};
use crate::clean;
use crate::order::{self, OrderClass};
use crate::policy::Candidate;

use super::customizer::Customizer;
use super::layer::{Layer, Layers};
use super::leaves;
use super::transform::CustomTransform;

/// Grows when rendering the same recipe gives other bytes: part of the content of every recipe that is not the same everywhere.
pub const RENDER_VERSION: u32 = 1;

/// A payload object, as it is stored.
pub struct Object<'a> {
    /// Its identity and labels, as policies see it.
    pub candidate: Candidate<'a>,
    /// The whole object.
    pub body: &'a Value,
    /// A HorizontalPodAutoscaler targets it.
    pub scaled: bool,
}

/// What shapes the copies of one object.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub(super) body: Value,
    pub(super) order: OrderClass,
    pub(super) wishes: Wishes,
    pub(super) expands: bool,
    pub(super) layers: Vec<Arc<Layer>>,
}

impl Recipe {
    /// What shapes an object's copies: the object, the CustomTransforms and the Customizers of its workspace. Those that
    /// do not concern it change nothing.
    pub fn of(
        object: &Object<'_>,
        transforms: &[&CustomTransform],
        customizers: &[&Customizer],
    ) -> Recipe {
        let (group, resource) = (object.candidate.group, object.candidate.resource);
        let wishes = Wishes::of(object.body, object.scaled);
        let expands = leaves::wants_expansion(object.body);
        let mut body = object.body.clone();
        clean::clean(group, resource, &mut body);
        let mut acting: Vec<&&CustomTransform> = transforms
            .iter()
            .filter(|t| t.concerns(group, resource))
            .collect();
        acting.sort_by(|a, b| a.name.cmp(&b.name));
        for transform in acting {
            transform.apply(&mut body);
        }
        let mut customizers: Vec<&&Customizer> = customizers
            .iter()
            .filter(|c| c.concerns(&object.candidate))
            .collect();
        customizers.sort_by(|a, b| a.rank().cmp(&b.rank()));
        Recipe {
            order: order::of(group, resource),
            expands: expands && has_template(&body),
            wishes,
            body,
            layers: customizers.into_iter().map(|c| c.layer.clone()).collect(),
        }
    }

    /// A Namespace that came along implicitly: its name, the same everywhere.
    pub fn implicit_namespace(name: &str) -> Recipe {
        Recipe {
            body: json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
            order: order::NAMESPACES,
            wishes: Wishes::default(),
            expands: false,
            layers: Vec::new(),
        }
    }

    /// A body that travels as it is, everywhere.
    pub fn fixed(body: Value, order: OrderClass, wishes: Wishes) -> Recipe {
        Recipe {
            body,
            order,
            wishes,
            expands: false,
            layers: Vec::new(),
        }
    }

    /// Whether it has templates to be filled in.
    pub fn expands(&self) -> bool {
        self.expands
    }

    /// The Customizers that concern it, in the order in which they act.
    pub fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    /// Whether the copies are the same at all destinations.
    pub fn is_uniform(&self) -> bool {
        !self.expands && self.layers.is_empty()
    }

    /// Its part of a revision's content ([`bundle::content_hash`]), for copies with these flags.
    pub fn content(&self, flags: CopyFlags) -> RenderHash {
        if self.is_uniform() {
            return bundle::finish(self.body.clone(), self.order, &self.wishes).render_hash(flags);
        }
        Self::varying_content(&self.to_bytes(), flags)
    }

    /// [`Recipe::content`] of one that is not uniform and has these bytes.
    pub(super) fn varying_content(bytes: &[u8], flags: CopyFlags) -> RenderHash {
        let mut hasher = Sha256::new();
        hasher.update(RENDER_VERSION.to_be_bytes());
        hasher.update([flags.bits()]);
        hasher.update(bytes);
        half(hasher)
    }

    /// As bytes to be kept: the same recipe is the same bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let layers: Vec<&Value> = self.layers.iter().map(|l| l.source()).collect();
        json!({
            "body": self.body,
            "order": self.order.0,
            "edgeOwned": self.wishes.edge_owned,
            "initialOnly": self.wishes.initial_only,
            "replace": self.wishes.replace,
            "expands": self.expands,
            "layers": layers,
        })
        .to_string()
        .into_bytes()
    }

    /// Reads back what [`Recipe::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8], layers: &mut Layers) -> Result<Recipe, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let texts = |name: &str| -> Vec<String> {
            let items = value.get(name).and_then(Value::as_array);
            items
                .into_iter()
                .flatten()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect()
        };
        let flag = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or(false);
        let order = value.get("order").and_then(Value::as_u64);
        let order = order.and_then(|o| u8::try_from(o).ok());
        let kept: Result<Vec<Arc<Layer>>, String> = value
            .get("layers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|source| layers.read(source))
            .collect();
        Ok(Recipe {
            order: OrderClass(order.ok_or("no order")?),
            wishes: Wishes {
                edge_owned: texts("edgeOwned"),
                initial_only: texts("initialOnly"),
                replace: flag("replace"),
            },
            expands: flag("expands"),
            layers: kept?,
            body: value.get("body").cloned().ok_or("no body")?,
        })
    }
}

pub(super) fn half(hasher: Sha256) -> [u8; 16] {
    let full: [u8; 32] = hasher.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&full[..16]);
    half
}

fn has_template(value: &Value) -> bool {
    match value {
        Value::String(text) => super::template::Template::is_one(text),
        Value::Array(items) => items.iter().any(has_template),
        Value::Object(map) => map.values().any(has_template),
        _ => false,
    }
}
