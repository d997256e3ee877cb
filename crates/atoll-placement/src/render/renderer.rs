//! The renderer of one object at one revision: a compiled recipe.
//!
//! What a copy looks like depends on an [`Input`]: which Customizers choose the destination, and what it says to the reads
//! of those and of the object's templates. Equal inputs give equal bytes; nothing else is looked at. So a caller keeps
//! renders by [`RenderKey`], or keeps none and renders again when a copy is sent. An input that can not be rendered is an
//! error, the same every time; the caller keeps the last good copy.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::bundle::{self, CopyFlags, RenderHash, Rendered};
use crate::choose::Candidates;
use crate::{Destination, Destinations};

use super::layer::{self, Layer, LayerId};
use super::leaves::{LeafError, Leaves};
use super::partition::{self, Answer};
use super::properties::{Properties, Read};
use super::recipe::{Recipe, half};
use super::skeleton::{self, Skeleton};

/// The most Customizers that may concern one object.
pub const MAX_LAYERS: usize = 64;
/// The largest body of a copy.
pub const MAX_BODY: usize = 3 * 1024 * 1024;

/// Why nothing is made where a layer has no place.
const UNKNOWN: &str = "it has not been looked up yet";

/// For which destinations each layer acts. A layer that is not in it acts nobody knows where: then no copy is made.
/// It is kept by the caller, corrected as labels and claims change.
#[derive(Debug, Default)]
pub struct Places(pub HashMap<LayerId, Candidates>);

impl Places {
    /// The layer's destinations.
    fn of(&self, layer: &Layer) -> Option<&Candidates> {
        self.0.get(&layer.id())
    }
}

/// What a render looks at beside its recipe.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The destinations' properties.
    pub properties: &'a dyn Properties,
    /// The Customizers' destinations.
    pub places: &'a Places,
}

/// Names an input of one recipe: the same key, the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RenderKey(pub [u8; 16]);

/// All that a copy's looks depend on, recipe aside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Input {
    /// The layers that act, as bits.
    layers: u64,
    /// A layer of which it can not be said whether it acts, and why.
    unsure: Option<(usize, Box<str>)>,
    /// What the destination says to the reads that matter, in their order.
    answers: Vec<Answer>,
}

impl Input {
    /// Nothing else matters then: there is no copy to be made.
    fn unsure(layer: usize, why: &str) -> Input {
        Input {
            layers: 0,
            unsure: Some((layer, why.into())),
            answers: Vec::new(),
        }
    }
}

/// Destinations whose copies look the same.
#[derive(Debug, Clone)]
pub struct Class {
    /// Their input.
    pub input: Input,
    /// Who they are.
    pub destinations: Destinations,
}

/// Why a copy can not be made. Equal inputs fail equally, so faults can be grouped and counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RenderError {
    /// Which step failed.
    pub step: RenderStep,
    /// The field: of the object, or of the Customizer.
    pub field: String,
    /// Why, for a person.
    pub message: String,
    /// The property that the destination does not have, if that is why.
    pub property: Option<String>,
}

/// A step of rendering.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RenderStep {
    /// Expanding the object's templates.
    Templates,
    /// A Customizer, by its name.
    Customizer(String),
    /// The whole.
    Object,
}

impl std::fmt::Display for RenderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.step {
            RenderStep::Templates | RenderStep::Object => {}
            RenderStep::Customizer(name) => write!(f, "Customizer {name:?}: ")?,
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for RenderError {}

fn object_error(message: String) -> RenderError {
    RenderError {
        step: RenderStep::Object,
        field: String::new(),
        message,
        property: None,
    }
}

fn template_error(fault: LeafError) -> RenderError {
    RenderError {
        step: RenderStep::Templates,
        field: fault.field,
        message: fault.error.to_string(),
        property: fault.error.property,
    }
}

/// A compiled recipe.
#[derive(Debug)]
pub struct Renderer {
    recipe: Recipe,
    hash: [u8; 16],
    /// Unless it is uniform: [`Recipe::content`] by flags.
    contents: Option<Box<[RenderHash; CopyFlags::KINDS]>>,
    leaves: Leaves,
    skeleton: Option<Skeleton>,
    /// It can be rendered nowhere.
    fault: Option<RenderError>,
    uniform: Option<Arc<Rendered>>,
    /// Everything that may be read, sorted.
    reads: Vec<Read>,
    /// Of each read, who reads it: the layers' bits; the templates' is apart.
    readers: Vec<(bool, u64)>,
}

impl Renderer {
    /// Compiles a recipe. A recipe that can not be compiled makes a renderer that fails everywhere, with the reason.
    pub fn new(recipe: Recipe) -> Renderer {
        let mut fault = None;
        let mut leaves = Leaves::default();
        if recipe.expands {
            match Leaves::of(&recipe.body) {
                Ok(found) => leaves = found,
                Err(error) => fault = Some(template_error(error)),
            }
        }
        if recipe.layers.len() > MAX_LAYERS {
            let count = recipe.layers.len();
            fault = Some(object_error(format!(
                "{count} Customizers concern this object; at most {MAX_LAYERS} may"
            )));
        }
        let mut readers: BTreeMap<Read, (bool, u64)> = BTreeMap::new();
        for read in leaves.reads() {
            readers.entry(read.clone()).or_default().0 = true;
        }
        for (at, layer) in recipe.layers.iter().take(MAX_LAYERS).enumerate() {
            for read in layer.reads() {
                readers.entry(read.clone()).or_default().1 |= 1 << at;
            }
        }
        let mut skeleton = None;
        if !leaves.is_empty() {
            let mut marked = recipe.body.clone();
            leaves.put(&mut marked, (0..leaves.len()).map(skeleton::mark));
            bundle::leave_to_edge(&mut marked, &recipe.wishes);
            skeleton = Skeleton::of(&marked, &recipe.body, leaves.len());
        }
        let mut uniform = None;
        if fault.is_none() && leaves.is_empty() && recipe.layers.is_empty() {
            let rendered = bundle::finish(recipe.body.clone(), recipe.order, &recipe.wishes);
            match within_limit(rendered) {
                Err(error) => fault = Some(error),
                Ok(rendered) => uniform = Some(Arc::new(rendered)),
            }
        }
        let mut hasher = Sha256::new();
        let bytes = recipe.to_bytes();
        hasher.update(&bytes);
        let content =
            |bits: usize| Recipe::varying_content(&bytes, CopyFlags::from_bits(bits as u8));
        let contents = (!recipe.is_uniform()).then(|| Box::new(std::array::from_fn(content)));
        let (reads, readers) = readers.into_iter().unzip();
        Renderer {
            hash: half(hasher),
            contents,
            leaves,
            skeleton,
            fault,
            uniform,
            reads,
            readers,
            recipe,
        }
    }

    /// What it renders.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// Its part of a revision's content.
    pub fn content(&self, flags: CopyFlags) -> RenderHash {
        match &self.contents {
            Some(contents) => contents[usize::from(flags.bits())],
            None => self.recipe.content(flags),
        }
    }

    /// The copy that is the same everywhere, if it is.
    pub fn uniform(&self) -> Option<&Arc<Rendered>> {
        self.uniform.as_ref()
    }

    /// Why no copy can be made anywhere, if so.
    pub fn fault(&self) -> Option<&RenderError> {
        self.fault.as_ref()
    }

    /// Everything that it may read of a destination: to be indexed, and to know whom a changed property concerns.
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// What one destination's copy depends on.
    pub fn input(&self, destination: Destination, around: Around<'_>) -> Input {
        let mut layers = 0;
        for (at, layer) in self.recipe.layers.iter().take(MAX_LAYERS).enumerate() {
            let Some(place) = around.places.of(layer) else {
                return Input::unsure(at, UNKNOWN);
            };
            if place.wanted.contains(destination.0) {
                layers |= 1 << at;
            } else if let Some((why, _)) = place
                .failed
                .iter()
                .find(|(_, set)| set.contains(destination.0))
            {
                return Input::unsure(at, why);
            }
        }
        let answers = self
            .active(layers)
            .map(|read| partition::answer(around.properties, destination, read))
            .collect();
        Input {
            layers,
            unsure: None,
            answers,
        }
    }

    /// The key of an input, among all inputs of all recipes.
    pub fn key(&self, input: &Input) -> RenderKey {
        let mut hasher = Sha256::new();
        hasher.update(self.hash);
        hasher.update(input.layers.to_be_bytes());
        let mut text = |tag: u8, text: &str| {
            hasher.update([tag]);
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text);
        };
        if let Some((at, why)) = &input.unsure {
            text(1, &format!("{at} {why}"));
        }
        for answer in &input.answers {
            match answer {
                Answer::Absent => text(2, ""),
                Answer::Text(value) => text(3, value),
                Answer::All(all) => {
                    text(4, &all.len().to_string());
                    for (name, value) in all {
                        text(5, name);
                        text(6, value);
                    }
                }
            }
        }
        RenderKey(half(hasher))
    }

    /// Makes the copy for an input.
    pub fn render(&self, input: &Input) -> Result<Rendered, RenderError> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if let Some(uniform) = &self.uniform {
            return Ok(uniform.as_ref().clone());
        }
        if let Some((at, why)) = &input.unsure {
            let name = self.recipe.layers.get(*at).map_or("", |l| l.name());
            return Err(RenderError {
                step: RenderStep::Customizer(name.to_owned()),
                field: "spec.clusterExpressions".to_owned(),
                message: format!("can not say whether it concerns this destination: {why}"),
                property: None,
            });
        }
        let answered: Vec<(&Read, &Answer)> =
            self.active(input.layers).zip(&input.answers).collect();
        let mut texts = Vec::new();
        if !self.leaves.is_empty() {
            let properties: BTreeMap<&str, &str> = answered
                .iter()
                .filter_map(|(read, answer)| match (read, answer) {
                    (
                        Read {
                            source: super::Source::Any,
                            name: Some(name),
                        },
                        Answer::Text(value),
                    ) => Some((name.as_ref(), value.as_ref())),
                    _ => None,
                })
                .collect();
            texts = self.leaves.texts(&properties).map_err(template_error)?;
            if let (Some(skeleton), 0) = (&self.skeleton, input.layers) {
                let (order, wishes) = (self.recipe.order, &self.recipe.wishes);
                return within_limit(bundle::seal(skeleton.fill(&texts), order, wishes));
            }
        }
        let mut body = self.recipe.body.clone();
        self.leaves.put(&mut body, texts);
        let cluster = layer::cluster_of(answered.iter().copied());
        let mut budget = layer::BUDGET;
        for (at, layer) in self.recipe.layers.iter().enumerate() {
            if input.layers & (1 << at) == 0 {
                continue;
            }
            layer
                .apply(&mut body, &cluster, &mut budget)
                .map_err(|error| RenderError {
                    step: RenderStep::Customizer(layer.name().to_owned()),
                    field: format!("spec.patches[{}].{}", error.patch, error.field),
                    message: error.message,
                    property: None,
                })?;
        }
        within_limit(bundle::finish(body, self.recipe.order, &self.recipe.wishes))
    }

    /// The same without short cuts, for tests.
    #[cfg(test)]
    pub(super) fn without_skeleton(mut self) -> Renderer {
        self.skeleton = None;
        self
    }

    /// The set, split into classes of equal input: each destination is in exactly one. Classes are in the order of their
    /// smallest members.
    pub fn classes(&self, within: &Destinations, around: Around<'_>) -> Vec<Class> {
        self.classes_up_to(within, around, usize::MAX).0
    }

    /// The same, but at most so many classes; whoever would be in a further one is returned apart.
    pub fn classes_up_to(
        &self,
        within: &Destinations,
        around: Around<'_>,
        limit: usize,
    ) -> (Vec<Class>, Destinations) {
        let mut chosen: Vec<(u64, Destinations)> = vec![(0, within.clone())];
        let mut unsure: BTreeMap<(usize, &str), Destinations> = BTreeMap::new();
        for (at, layer) in self.recipe.layers.iter().take(MAX_LAYERS).enumerate() {
            let Some(place) = around.places.of(layer) else {
                for (_, members) in chosen.drain(..) {
                    *unsure.entry((at, UNKNOWN)).or_default() |= members;
                }
                break;
            };
            let mut finer = Vec::new();
            for (layers, mut members) in chosen {
                let acts = &members & &place.wanted;
                members -= &acts;
                for (why, failed) in &place.failed {
                    let part = &members & failed;
                    members -= &part;
                    if !part.is_empty() {
                        *unsure.entry((at, why)).or_default() |= part;
                    }
                }
                finer.push((layers | 1 << at, acts));
                finer.push((layers, members));
            }
            finer.retain(|(_, members)| !members.is_empty());
            chosen = finer;
        }
        let mut classes: Vec<Class> = unsure
            .into_iter()
            .map(|((at, why), destinations)| Class {
                input: Input::unsure(at, why),
                destinations,
            })
            .collect();
        let mut beyond = Destinations::new();
        for (layers, members) in chosen {
            let active: Vec<&Read> = self.active(layers).collect();
            let room = limit.saturating_sub(classes.len());
            let (split, rest) = partition::split(&members, &active, around.properties, room);
            beyond |= rest;
            classes.extend(split.into_iter().map(|(answers, destinations)| Class {
                input: Input {
                    layers,
                    unsure: None,
                    answers,
                },
                destinations,
            }));
        }
        classes.sort_unstable_by_key(|class| class.destinations.min());
        (classes, beyond)
    }

    /// The reads that matter when these layers act.
    fn active(&self, layers: u64) -> impl Iterator<Item = &Read> {
        self.reads
            .iter()
            .zip(&self.readers)
            .filter(move |(_, (templates, by))| *templates || by & layers != 0)
            .map(|(read, _)| read)
    }
}

fn within_limit(rendered: Rendered) -> Result<Rendered, RenderError> {
    let len = rendered.body.len();
    if len > MAX_BODY {
        return Err(object_error(format!(
            "the copy would have {len} bytes; {MAX_BODY} are the most"
        )));
    }
    Ok(rendered)
}
