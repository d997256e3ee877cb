//! What an agent reports, as changes for the log. An edge speaks only of what is placed on it.

use std::sync::atomic::Ordering;

use atoll_placement::columns::{Reported, Seen, UNKNOWN};
use atoll_placement::place::ObjectIndex;
use atoll_placement::{Destination, health};
use atoll_wire::{
    CopyReport, ErrorKind, Report, ReportAck, ToAgent, TombstoneDone, TombstoneOutcome, to_agent,
};
use serde_json::Value;

use super::logical::Address;
use super::{End, Stream};
use crate::model::{DesiredCopy, World};
use crate::reports::{Batch, Change};
use crate::rows;

impl Stream {
    /// One report, about each of these destinations.
    pub(super) async fn take_report(
        &mut self,
        about: &[Destination],
        report: Report,
    ) -> Result<(), End> {
        let copies = report.copies.len() * about.len();
        self.shared
            .figures
            .reports
            .fetch_add(copies as u64, Ordering::Relaxed);
        let mut changes = Vec::with_capacity(copies);
        {
            let world = self.shared.world.read();
            for destination in about {
                let vector = self.shared.vectors.of(&world, *destination);
                let wanted = self.shared.vectors.wanted(&world, &vector);
                for copy in &report.copies {
                    let Some(id) = &copy.copy else { continue };
                    let Some(&index) = world.by_copy.get(id) else {
                        continue;
                    };
                    let desired = wanted.copies.get(&index);
                    let tombstone = world.tombstones.get(&index);
                    let removed = tombstone.is_some_and(|t| t.concerns(*destination));
                    // An edge reports only what is placed on it.
                    if desired.is_none() && !removed {
                        continue;
                    }
                    let shown = !copy.status.is_empty() && wants_status(&world, index);
                    let render = rows::render_from(&copy.render_hash);
                    let seen = world.see(*destination, index, desired, render);
                    changes.push(Change {
                        destination: *destination,
                        object: index,
                        value: Some(
                            world
                                .values
                                .share(reported(&world, index, desired, copy, seen)),
                        ),
                        render,
                        looks: world.looks,
                        raw: shown.then(|| copy.status.clone()),
                    });
                }
            }
        }
        let sequence = report.sequence;
        self.hand_over(changes, about, ReportAck { sequence }).await
    }

    /// Remembers what prevents a removal, for the destination's condition. One that merely takes its time (finalizers) is not prevented.
    fn note_blocked(&self, destination: Destination, done: &TombstoneDone) {
        let error = done.error();
        let why = (done.outcome == TombstoneOutcome::Pending as i32
            && !matches!(
                error,
                ErrorKind::None | ErrorKind::Terminating | ErrorKind::Unreachable
            ))
        .then(|| format!("{error}: {}", done.message));
        let mut world = self.shared.world.write();
        let index = done
            .copy
            .as_ref()
            .and_then(|copy| world.by_copy.get(copy).copied());
        // Only what is to be removed here can be prevented here.
        let Some(index) = index.filter(|index| {
            let tombstone = world.tombstones.get(index);
            tombstone.is_some_and(|t| t.remove.contains(destination.0))
        }) else {
            return;
        };
        let before = world
            .blocked
            .get(&destination)
            .and_then(|objects| objects.get(&index));
        if before == why.as_ref() {
            return;
        }
        let objects = world.blocked.entry(destination).or_default();
        match why {
            Some(why) => drop(objects.insert(index, why)),
            None => drop(objects.remove(&index)),
        }
        if objects.is_empty() {
            world.blocked.remove(&destination);
        }
        drop(world);
        self.shared.lifecycle.add(destination);
    }

    pub(super) async fn take_done(
        &mut self,
        about: &[Destination],
        done: TombstoneDone,
    ) -> Result<(), End> {
        for destination in about {
            self.note_blocked(*destination, &done);
        }
        let pending = done.outcome == TombstoneOutcome::Pending as i32;
        let Some(copy) = done.copy.filter(|_| !pending) else {
            return Ok(());
        };
        let index = self.shared.world.read().by_copy.get(&copy).copied();
        let changes = index.into_iter().flat_map(|object| {
            about.iter().map(move |destination| Change {
                destination: *destination,
                object,
                value: None,
                render: UNKNOWN,
                looks: 0,
                raw: None,
            })
        });
        let changes = changes.collect();
        let released = atoll_wire::Released { copies: vec![copy] };
        self.hand_over(changes, about, released).await
    }

    /// To the log; the answer goes out when it is there.
    async fn hand_over(
        &self,
        changes: Vec<Change>,
        about: &[Destination],
        answer: impl Into<to_agent::Message>,
    ) -> Result<(), End> {
        let handles: Vec<u32> = about
            .iter()
            .filter_map(|d| match self.carried.get(d)?.address {
                Address::Own => None,
                Address::Handle(handle) => Some(handle),
            })
            .collect();
        let answer = if handles.is_empty() {
            ToAgent::new(self.identity.destination.clone(), answer)
        } else {
            ToAgent::for_handles(handles, answer)
        };
        self.reports
            .send(Batch {
                changes,
                answer,
                to: self.acks.clone(),
            })
            .await
            .map_err(|()| End(None))
    }
}

fn reported(
    world: &World,
    index: ObjectIndex,
    wanted: Option<&DesiredCopy>,
    copy: &CopyReport,
    seen: Seen,
) -> Reported {
    let status: Value = serde_json::from_slice(&copy.status).unwrap_or(Value::Null);
    let (group, resource) = world.objects.get(&index).map_or(("", ""), |o| {
        (o.reference.group.as_str(), o.reference.resource.as_str())
    });
    let desired = wanted.map_or(&Value::Null, |w| &w.content.health_input);
    let error = u8::try_from(copy.error).unwrap_or(1);
    let projected = world.project(index, &status);
    let mut message = copy.message.clone();
    if let Some((end, _)) = message.char_indices().nth(1024) {
        message.truncate(end);
    }
    Reported {
        seen,
        error,
        message: message.into(),
        health: if error == 0 {
            health::of(group, resource, desired, &status, copy.observed)
        } else {
            health::Health::Degraded
        },
        observed: status.get("observedGeneration").map(|_| copy.observed),
        status: if projected.is_null() {
            "".into()
        } else {
            projected.to_string().into()
        },
    }
}

fn wants_status(world: &World, index: ObjectIndex) -> bool {
    world.objects.get(&index).is_some_and(|o| {
        o.policies
            .iter()
            .filter_map(|p| world.policies.get(p)?.selected.get(&index))
            .any(|m| m.want_singleton || m.want_multi)
    })
}
