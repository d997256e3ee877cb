//! What an agent tells of objects that were born at its edge. It is asked for some; of others it says nothing that counts.

use std::collections::BTreeSet;

use atoll_kube::meta;
use atoll_placement::Destination;
use atoll_store::{Key, Write};
use atoll_wire::{Born, BornObject, ObjectRef};
use bytes::Bytes;
use prost::Message as _;
use serde_json::Value;

use super::shelf::{BornRow, Identity, hash, row_key};
use super::{MOST_BYTES, MOST_OBJECTS};
use crate::model::World;
use crate::shared::Shared;

/// Rows of one append.
const AT_ONCE: usize = 48;

/// Takes in what an agent tells. An error is for the stream: it ends, and the agent tells everything again.
pub(crate) async fn born(
    shared: &Shared,
    destination: Destination,
    told: Born,
) -> Result<(), atoll_store::AppendError> {
    let writing = shared.born_rows.lock().await;
    let (rows, over) = {
        let world = shared.world.read();
        news(&world, destination, &told)
    };
    for part in rows.chunks(AT_ONCE) {
        let writes = part
            .iter()
            .map(|(key, row)| Write::Put(key.clone(), row.encode_to_vec().into()))
            .collect();
        let revision = shared.append(Vec::new(), writes).await?;
        let mut world = shared.world.write();
        for (key, row) in part {
            world.born.put(destination, key.clone(), row, revision);
        }
        world.applied = world.applied.max(revision);
        let records = part.iter().filter_map(|(_, row)| {
            let identity = Identity::from(row.object.as_ref()?);
            let record = world.born.records.get(&destination)?.get(&identity)?;
            Some(record.id)
        });
        for id in records {
            shared
                .feed
                .born(destination, id, revision.max(world.applied));
        }
    }
    drop(writing);
    let beyond = told.beyond.saturating_add(over);
    let mut world = shared.world.write();
    let before = world.born.beyond.get(&destination).copied().unwrap_or(0);
    let counts = told.complete || over > 0;
    if counts && before != beyond {
        match beyond {
            0 => drop(world.born.beyond.remove(&destination)),
            n => drop(world.born.beyond.insert(destination, n)),
        }
        for policy in world.born.policies.clone() {
            shared.policy_status.add(policy);
        }
    }
    drop(world);
    shared.upsync.add(destination);
    Ok(())
}

/// The rows that are different now, and how many objects were too many.
fn news(world: &World, destination: Destination, told: &Born) -> (Vec<(Key, BornRow)>, u32) {
    let Some(state) = world.destinations.get(&destination) else {
        return (Vec::new(), 0);
    };
    let uid = state.uid.to_string();
    let asking = world.asking(destination);
    let asked = |object: &ObjectRef| asking.iter().any(|a| a.clause.has(object));
    let none = Default::default();
    let known = world.born.records.get(&destination).unwrap_or(&none);
    let row = |object: &ObjectRef, at_edge: &str, body: Bytes| {
        let identity = Identity::from(object);
        let made = known
            .get(&identity)
            .map(|r| r.made.iter().cloned().collect());
        let row = BornRow {
            destination: uid.clone(),
            object: Some(object.clone()),
            uid: at_edge.to_owned(),
            body,
            made: made.unwrap_or_default(),
        };
        (row_key(&state.inventory, &uid, &identity), row)
    };
    let mut rows = Vec::new();
    let mut over = 0;
    let mut there = known.values().filter(|r| !r.gone).count();
    for one in &told.objects {
        let Some(object) = one.object.as_ref().filter(|o| asked(o)) else {
            continue;
        };
        let before = known.get(&Identity::from(object)).filter(|r| !r.gone);
        if one.body.is_empty() {
            if before.is_some() {
                rows.push(row(object, &one.uid, Bytes::new()));
                there = there.saturating_sub(1);
            }
            continue;
        }
        let Some(body) = body_of(object, one) else {
            over += 1;
            continue;
        };
        match before {
            Some(record) if record.hash == hash(&body) && record.uid == one.uid => continue,
            Some(_) => {}
            None if there >= MOST_OBJECTS => {
                over += 1;
                continue;
            }
            None => there += 1,
        }
        rows.push(row(object, &one.uid, body));
    }
    if told.complete {
        let present: BTreeSet<Identity> = told.present.iter().map(Identity::from).collect();
        let lost = known.iter().filter(|(identity, record)| {
            !record.gone && !present.contains(identity) && asked(&record.object)
        });
        rows.extend(lost.map(|(_, r)| row(&r.object, &r.uid, Bytes::new())));
    }
    (rows, over)
}

/// The body as it is kept: it says itself what it is, whatever the agent wrote into it.
fn body_of(object: &ObjectRef, one: &BornObject) -> Option<Bytes> {
    if one.body.len() > MOST_BYTES {
        return None;
    }
    let mut value: Value = serde_json::from_slice(&one.body).ok()?;
    let api_version = match object.group.as_str() {
        "" => object.version.clone(),
        group => format!("{group}/{}", object.version),
    };
    let fields = value.as_object_mut()?;
    fields.insert("apiVersion".to_owned(), api_version.into());
    fields.insert("kind".to_owned(), object.kind.clone().into());
    meta::set(&mut value, "name", object.name.as_str());
    match object.namespaced {
        true => meta::set(&mut value, "namespace", object.namespace.as_str()),
        false => drop(meta::remove(&mut value, "namespace")),
    }
    for field in [
        "managedFields",
        "resourceVersion",
        "generation",
        "selfLink",
        "ownerReferences",
        "finalizers",
    ] {
        meta::remove(&mut value, field);
    }
    Some(value.to_string().into())
}
