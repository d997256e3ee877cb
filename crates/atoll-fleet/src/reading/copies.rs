//! Which copies there are, and how they are: page by page.
//!
//! A page goes on behind the last copy shown, in the order of objects and then of destinations. Its cost follows the copies that it looks at, which are bounded: a filter that few pass may give a
//! page that is not full, with a token to go on.

use atoll_kube::selector::LabelSelector;
use atoll_kube::{RowRef, Status};
use atoll_placement::place::ObjectIndex;
use atoll_placement::{Destination, Destinations};
use atoll_store::Key;
use serde_json::{Map, Value, json};

use super::copy::State;
use super::{Asked, Reading, named};
use crate::model::{PayloadObject, World};

/// Copies of one page, unless fewer are asked for.
const PAGE: u64 = 500;
/// Copies that one page looks at.
const LOOKED_AT: usize = 20_000;

/// Which copies.
struct Wanted<'a> {
    policy: Option<crate::model::PolicyIndex>,
    resource: Option<(String, String)>,
    namespace: Option<&'a str>,
    name: Option<&'a str>,
    labels: LabelSelector,
    destinations: Option<Destinations>,
    state: Option<&'a str>,
}

pub(super) fn copies(reading: &Reading, asked: &Asked) -> Result<Value, Status> {
    let limit = asked.number("limit")?.filter(|n| *n > 0).unwrap_or(PAGE);
    let limit = usize::try_from(limit.min(PAGE)).unwrap_or(1);
    let after = asked.get("continue").map(parse_token).transpose()?;
    let snapshot = reading.snapshot()?;
    let world = reading.shared.world.read();
    let wanted = wanted(reading, &world, asked)?;
    let mut objects: Vec<(&Key, ObjectIndex, &PayloadObject)> = match wanted.policy {
        Some(policy) => {
            let policy = world.policies.get(&policy);
            let all = policy.map(|p| p.objects()).unwrap_or_default();
            all.into_iter()
                .filter_map(|o| world.objects.get(&o).map(|r| (&r.key, o, r)))
                .collect()
        }
        None => world
            .what
            .of_cluster(asked.cluster.as_str())
            .iter()
            .filter_map(|p| world.policies.get(p))
            .flat_map(|p| p.objects())
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .filter_map(|o| world.objects.get(&o).map(|r| (&r.key, o, r)))
            .collect(),
    };
    objects.sort_unstable_by_key(|(key, ..)| *key);
    let (mut items, mut looked_at, mut more) = (Vec::new(), 0, None);
    'objects: for (key, index, object) in objects {
        let begun = match &after {
            Some((last, _)) if key.as_bytes() < last.as_slice() => continue,
            Some((last, destination)) if key.as_bytes() == last.as_slice() => Some(*destination),
            _ => None,
        };
        if !wanted.object(object) || reading.may(asked, "get", &object.reference).is_err() {
            continue;
        }
        if !wanted.labels.is_everything() {
            let row = snapshot.get(key).ok().flatten();
            let row = row.as_ref().and_then(|v| RowRef::parse(&v.row).ok());
            if !row.is_some_and(|r| wanted.labels.matches(|k| r.label(k))) {
                continue;
            }
        }
        let mut at = match wanted.policy.and_then(|p| world.policies.get(&p)) {
            Some(policy) => policy.placed(index),
            None => world.placed(index),
        };
        if let Some(these) = &wanted.destinations {
            at &= these;
        }
        if let Some(last) = begun {
            at.remove_range(..=last);
        }
        for destination in &at {
            if items.len() == limit || looked_at == LOOKED_AT {
                break 'objects;
            }
            looked_at += 1;
            more = Some((key.clone(), destination));
            let copy = show(&world, index, object, Destination(destination));
            let is = |field: &str, word: &str| copy.get(field).is_some_and(|v| v == word);
            if wanted
                .state
                .is_none_or(|s| is("state", s) || is("health", s))
            {
                items.push(Value::Object(copy));
            }
        }
        // Everything of this object was seen.
        more = Some((key.clone(), u32::MAX));
        if items.len() == limit {
            break;
        }
    }
    let full = items.len() == limit || looked_at == LOOKED_AT;
    let mut answer = json!({"items": items});
    if let Some((key, destination)) = more.filter(|_| full) {
        answer["continue"] = make_token(&key, destination).into();
    }
    Ok(answer)
}

/// The destinations that a policy has, by name, page by page in the order of their numbers.
pub(super) fn destinations(reading: &Reading, asked: &Asked) -> Result<Value, Status> {
    const MOST: u64 = 10_000;
    let name = asked.need("policy")?;
    let limit = asked.number("limit")?.filter(|n| *n > 0).unwrap_or(PAGE);
    let limit = usize::try_from(limit.min(MOST)).unwrap_or(1);
    let from = asked.number("continue")?.unwrap_or(0);
    let from = u32::try_from(from).map_err(|_| Status::bad_request("continue key is not valid"))?;
    let world = reading.shared.world.read();
    let (_, policy) = reading.policy(&world, asked, name)?;
    let mut rest = policy.assigned.clone();
    rest.remove_range(..from);
    let page: Vec<u32> = rest.iter().take(limit).collect();
    let items = page.iter().map(|d| {
        let destination = Destination(*d);
        let revision = policy.at(destination).map(|(ordinal, _)| ordinal);
        json!({"name": world.name_of(destination), "revision": revision})
    });
    let mut answer = json!({
        "policy": name,
        "total": policy.assigned.len(),
        "items": items.collect::<Vec<_>>(),
    });
    if rest.len() > page.len() as u64
        && let Some(last) = page.last()
    {
        answer["continue"] = (last + 1).to_string().into();
    }
    Ok(answer)
}

fn wanted<'a>(reading: &Reading, world: &World, asked: &'a Asked) -> Result<Wanted<'a>, Status> {
    let selector = |name: &str| -> Result<Option<LabelSelector>, Status> {
        let parsed = asked.get(name).map(LabelSelector::parse_query).transpose();
        parsed.map_err(|e| Status::bad_request(format!("{name}: {e}")))
    };
    let mut destinations = None;
    if let Some(selector) = selector("destinationSelector")? {
        let mut all = Destinations::new();
        for inventory in world.inventories.values() {
            // Which of them have copies of this workspace is asked below; of others nothing is told.
            all |= inventory.index.select(&selector);
        }
        destinations = Some(all);
    }
    if let Some(name) = asked.get("destination") {
        let one = reading.destination(world, asked, name)?;
        let one: Destinations = [one.0].into_iter().collect();
        destinations = Some(destinations.map_or(one.clone(), |all| all & one));
    }
    let resource = asked.get("resource").map(|word| {
        let entry = reading.resource(asked, word)?;
        let definition = &entry.definition;
        Ok::<_, Status>((definition.group.clone(), definition.names.plural.clone()))
    });
    let policy = asked
        .get("policy")
        .map(|name| reading.policy(world, asked, name));
    Ok(Wanted {
        policy: policy.transpose()?.map(|(index, _)| index),
        resource: resource.transpose()?,
        namespace: asked.get("namespace"),
        name: asked.get("name"),
        labels: selector("labelSelector")?.unwrap_or_default(),
        destinations,
        state: asked.get("state").map(known_state).transpose()?,
    })
}

/// What copies can be asked for by.
const STATES: [&str; 9] = [
    "Current",
    "Outdated",
    "Failed",
    "Unreported",
    "BeingRemoved",
    "BeingReleased",
    "Healthy",
    "Progressing",
    "Degraded",
];

fn known_state(state: &str) -> Result<&str, Status> {
    match STATES.contains(&state) {
        true => Ok(state),
        false => Err(Status::bad_request(format!(
            "there is no state {state:?}: copies are {}",
            STATES.join(", ")
        ))),
    }
}

impl Wanted<'_> {
    fn object(&self, object: &PayloadObject) -> bool {
        let r = &object.reference;
        self.namespace.is_none_or(|n| n == r.namespace)
            && self.name.is_none_or(|n| n == r.name)
            && self
                .resource
                .as_ref()
                .is_none_or(|(g, p)| (g, p) == (&r.group, &r.resource))
    }
}

fn show(
    world: &World,
    index: ObjectIndex,
    object: &PayloadObject,
    destination: Destination,
) -> Map<String, Value> {
    let mut copy = Map::new();
    copy.insert("object".to_owned(), named(&object.reference));
    copy.insert("destination".to_owned(), world.name_of(destination).into());
    let policies = object.policies.iter().filter_map(|p| {
        let policy = world.policies.get(p)?;
        let (ordinal, revision) = policy.at(destination)?;
        let has = revision.cut.objects.contains(&index);
        has.then(|| json!({"policy": &*policy.name, "revision": ordinal}))
    });
    copy.insert("policies".to_owned(), policies.collect());
    let desired = world.desired_copy(destination, index);
    State::of(world, index, destination, desired.as_ref()).show(&mut copy);
    if !world.connected.contains(destination.0) {
        copy.insert("stale".to_owned(), true.into());
    }
    copy
}

fn make_token(key: &Key, destination: u32) -> String {
    format!("{}-{destination}", hex::encode(key.as_bytes()))
}

fn parse_token(token: &str) -> Result<(Vec<u8>, u32), Status> {
    let parsed = token
        .split_once('-')
        .and_then(|(key, destination)| Some((hex::decode(key).ok()?, destination.parse().ok()?)));
    parsed.ok_or_else(|| Status::bad_request("continue key is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_junk_is_refused() {
        let key = Key::new(["", "configmaps", "", "p1", "default", "web"]);
        let (bytes, destination) = parse_token(&make_token(&key, 7)).unwrap();
        assert_eq!((bytes.as_slice(), destination), (key.as_bytes(), 7));
        for junk in ["", "zz-1", "00", "00-x"] {
            assert_eq!(parse_token(junk).unwrap_err().code, 400, "{junk}");
        }
    }
}
