//! What a hub's destinations say of what they hold. What waits is only who says something of which objects; the words are made when they are sent.

use atoll_wire::{CopyReport, Report, ToCenter};
use bytes::Bytes;

use super::{Hub, OUTBOX, Tally};
use crate::edges::{Held, Known, ObjectNumber};
use crate::load::dice;

/// Reports that may wait for their acknowledgement.
const IN_FLIGHT: usize = 2_000;

impl Hub {
    pub(super) fn owe(&mut self, handles: Vec<u32>, objects: Vec<ObjectNumber>) {
        if !handles.is_empty() && !objects.is_empty() {
            Tally::add(&self.tally.reported, handles.len() * objects.len());
            self.owed.push_back((handles, objects));
        }
    }

    /// What is to be said now: answers, and as many reports as may wait for their acknowledgement.
    pub(super) fn next_messages(&mut self) -> Vec<ToCenter> {
        let mut said = std::mem::take(&mut self.backlog);
        while said.len() < OUTBOX
            && self.unacknowledged.len() < IN_FLIGHT
            && let Some((handles, objects)) = self.owed.pop_front()
        {
            said.extend(self.make_report(handles, objects));
        }
        if let Some(only) = self.behind.first().filter(|_| self.alone) {
            for message in &mut said {
                message.handles.clear();
                message.destination.clone_from(&only.uid);
            }
        }
        said
    }

    pub(super) fn has_to_say(&self) -> bool {
        !self.backlog.is_empty() || (!self.owed.is_empty() && self.unacknowledged.len() < IN_FLIGHT)
    }

    /// One report for those of whom the same is to be said; the others' turn is next.
    fn make_report(&mut self, handles: Vec<u32>, objects: Vec<ObjectNumber>) -> Option<ToCenter> {
        let holds = |handle: &u32| -> Vec<Option<Held>> {
            let behind = self.behind.get(*handle as usize - 1);
            objects
                .iter()
                .map(|o| behind.and_then(|b| b.edge.copy(*o)))
                .collect()
        };
        let first = handles.first().map(holds)?;
        let (handles, others): (Vec<u32>, Vec<u32>) =
            handles.into_iter().partition(|h| holds(h) == first);
        if !others.is_empty() {
            self.owed.push_front((others, objects.clone()));
        }
        let i = handles.first().map_or(0, |handle| *handle as usize - 1);
        self.sequence += 1;
        let report = Report {
            sequence: self.sequence,
            copies: objects
                .iter()
                .filter_map(|o| self.copy_report(i, *o))
                .collect(),
            complete: false,
        };
        self.unacknowledged
            .insert(self.sequence, (handles.clone(), objects));
        Some(ToCenter::for_handles(handles, report))
    }

    /// What the i-th destination says of an object that it holds; nothing when it was removed meanwhile. Of configuration all say the same.
    fn copy_report(&self, i: usize, object: ObjectNumber) -> Option<CopyReport> {
        let behind = self.behind.get(i)?;
        let held = behind.edge.copy(object)?;
        let render = self.known.version(held).render;
        let mut report = CopyReport {
            copy: Some(self.known.copy(object).clone()),
            render_hash: Bytes::copy_from_slice(&render),
            applied_hash: Bytes::copy_from_slice(&render),
            observed: true,
            ..CopyReport::default()
        };
        if is_workload(&self.known, object) {
            let n = u64::from(self.first) + i as u64;
            let ready = self.ready_replicas(i, held);
            report.status = workload_status(self.load.seed, n, held.phase, ready).into();
        }
        Some(report)
    }

    /// Of the two replicas of a workload. An odd phase has one fewer: what a real workload does while it is moved.
    pub(super) fn ready_replicas(&self, i: usize, held: Held) -> u64 {
        let n = u64::from(self.first) + i as u64;
        let key = n.wrapping_mul(1_000_003) + u64::from(held.object);
        match self.load.happens("fails", key, self.load.failing) {
            true => 0,
            false => 2 - u64::from(held.phase % 2),
        }
    }
}

pub(super) fn is_workload(known: &Known, object: ObjectNumber) -> bool {
    known.reference(object).kind == "Deployment"
}

/// A Deployment's status with times and names of its own, about a kilobyte.
fn workload_status(seed: u64, n: u64, phase: u8, ready: u64) -> String {
    let second = dice(seed, "second", n + u64::from(phase)) % 86_400;
    let at = format!(
        "2026-11-21T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    );
    let pod = format!(
        "{:010x}-{:05x}",
        dice(seed, "pod", n) & 0xff_ffff_ffff,
        dice(seed, "pod", n + u64::from(phase)) & 0xf_ffff
    );
    let condition = |kind: &str, status: bool, reason: &str| {
        serde_json::json!({"type": kind, "status": if status { "True" } else { "False" }, "reason": reason,
            "lastUpdateTime": at, "lastTransitionTime": at,
            "message": format!("ReplicaSet \"web-{pod}\" on node-{n} {reason} at {at}; the newest pod is web-{pod}, its predecessor was web-{:010x}", dice(seed, "old pod", n))})
    };
    serde_json::json!({
        "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": ready, "availableReplicas": ready,
        "unavailableReplicas": 2 - ready,
        "conditions": [
            condition("Available", ready > 0, if ready > 0 { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" }),
            condition("Progressing", ready > 0, if ready > 0 { "NewReplicaSetAvailable" } else { "ProgressDeadlineExceeded" }),
        ],
    })
    .to_string()
}
