//! What a destination should have of this workspace: now, or at a kept revision of a policy.

use std::collections::BTreeMap;

use atoll_kube::Status;
use atoll_placement::place::ObjectIndex;
use serde_json::{Value, json};

use super::history::revision;
use super::{Asked, Reading, named};
use crate::model::{DesiredCopy, joined};

/// Bodies of one page.
const PAGE: u64 = 200;

pub(super) fn desired(reading: &Reading, asked: &Asked) -> Result<Value, Status> {
    let name = asked.need("destination")?;
    let limit = asked.number("limit")?.filter(|n| *n > 0).unwrap_or(PAGE);
    let limit = usize::try_from(limit.min(PAGE)).unwrap_or(1);
    let after = asked.get("continue").map(hex::decode).transpose();
    let after = after.map_err(|_| Status::bad_request("continue key is not valid"))?;
    let world = reading.shared.world.read();
    let destination = reading.destination(&world, asked, name)?;
    let (copies, of): (BTreeMap<ObjectIndex, DesiredCopy>, Option<u64>) =
        match (asked.get("policy"), asked.get("revision")) {
            (None, Some(_)) => {
                return Err(Status::bad_request(
                    "a revision is one of a policy: name it with policy",
                ));
            }
            (Some(policy), Some(number)) => {
                let (_, policy) = reading.policy(&world, asked, policy)?;
                let (ordinal, cut) = revision(policy, number)?;
                (joined(std::slice::from_ref(cut)), Some(ordinal))
            }
            (Some(policy), None) => {
                let (_, policy) = reading.policy(&world, asked, policy)?;
                let at = policy.at(destination);
                let cuts: Vec<_> = at.iter().map(|(_, r)| r.cut.clone()).collect();
                (joined(&cuts), at.map(|(ordinal, _)| ordinal))
            }
            (None, None) => (world.desired(destination), None),
        };
    let mut ours: Vec<_> = copies
        .iter()
        .filter_map(|(o, copy)| Some((world.objects.get(o)?, copy)))
        .filter(|(object, _)| object.copy.cluster == asked.cluster.as_str())
        .collect();
    ours.sort_unstable_by_key(|(object, _)| &object.key);
    let behind = |key: &[u8]| after.as_ref().is_none_or(|a| key > a.as_slice());
    let mut ours = ours.into_iter().filter(|(o, _)| behind(o.key.as_bytes()));
    let mut items = Vec::new();
    let (mut last, mut withheld) = (None, 0);
    for (object, copy) in ours.by_ref().take(limit) {
        last = Some(&object.key);
        if reading.may(asked, "get", &object.reference).is_err() {
            withheld += 1;
            continue;
        }
        let rendered = match world.rendered_at(destination, copy) {
            None => Ok(reading.body(object, &copy.content)),
            Some(Ok(rendered)) => Ok(serde_json::from_slice(&rendered.body).ok()),
            Some(Err(error)) => Err(error.to_string()),
        };
        items.push(match rendered {
            Ok(Some(body)) => json!({"object": named(&object.reference), "body": body}),
            Ok(None) => json!({"object": named(&object.reference), "error": "its body is not kept any more"}),
            Err(why) => json!({"object": named(&object.reference), "error": why}),
        });
    }
    let mut answer = json!({"destination": name, "items": items});
    if let Some(ordinal) = of {
        answer["revision"] = ordinal.into();
    }
    if withheld > 0 {
        answer["withheld"] = withheld.into();
    }
    if ours.next().is_some()
        && let Some(last) = last
    {
        answer["continue"] = hex::encode(last.as_bytes()).into();
    }
    Ok(answer)
}
