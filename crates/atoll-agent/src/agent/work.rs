//! The edge's side: work is begun as the plan says, its end is recorded, and what is seen of the copies decides what is due again.

use atoll_wire::{CopyId, TombstoneOutcome};

use super::{Agent, Expected, View};
use crate::{
    edge::{
        Refusal,
        apply::Applied,
        watch::{Seen, Sight, watch},
    },
    plan::{Identity, Millis, Phase, failed, plan},
    state::{Fact, Owned, fact, journal::JournalError},
};

/// How many copies are worked on at once.
const PARALLEL: usize = 8;

/// How a piece of work ended.
pub(super) enum Done {
    Applied {
        id: CopyId,
        render: bytes::Bytes,
        result: Result<Applied, Refusal>,
    },
    Removed {
        id: CopyId,
        result: Result<TombstoneOutcome, Refusal>,
    },
    /// Housekeeping; nobody waits for it.
    Tidied,
}

impl Agent {
    /// Begins what can be begun. Returns when to look again at the latest.
    pub(super) fn begin_work(&mut self) -> Result<Option<Millis>, JournalError> {
        if self.state.detached {
            return Ok(None);
        }
        let now = self.now();
        let plan = plan(
            &self.state,
            &self.phases,
            now,
            PARALLEL.saturating_sub(self.work.len()),
        );
        for (id, error, message) in plan.refused {
            self.fail(&id, Refusal::new(error, message));
        }
        // On record as ours-to-be before the first byte: an answer that is lost must not make our own object a stranger.
        let intentions: Vec<Fact> = plan
            .apply
            .iter()
            .filter(|id| {
                self.state
                    .copies
                    .get(*id)
                    .is_some_and(|c| c.owned.is_none() && !c.item.implicit)
            })
            .map(|id| {
                fact::Kind::Owned(Owned {
                    copy: Some(id.clone()),
                    ..Owned::default()
                })
                .into()
            })
            .collect();
        self.record(&intentions)?;
        for id in plan.apply {
            let Some(copy) = self.state.copies.get(&id) else {
                continue;
            };
            let (item, owned) = (copy.item.clone(), copy.owned.clone());
            let Some(body) = self.journal.body(&item.body_hash) else {
                // Known from the records only, or the file was damaged: the center will send it, nothing to do until then.
                self.phases.insert(id, Phase::Settled);
                continue;
            };
            self.phases
                .insert(id.clone(), Phase::Working { again: false });
            let edge = self.edge.clone();
            self.work.spawn(async move {
                let result = edge.apply(&item, &body, owned.as_ref()).await;
                Done::Applied {
                    id,
                    render: item.render_hash,
                    result,
                }
            });
        }
        for id in plan.remove {
            let Some(copy) = self.state.copies.get(&id).cloned() else {
                continue;
            };
            self.phases
                .insert(id.clone(), Phase::Working { again: false });
            let edge = self.edge.clone();
            self.work.spawn(async move {
                let result = edge.remove(&copy).await;
                Done::Removed { id, result }
            });
        }
        Ok(plan.next)
    }

    /// Drops a record at the edge, in the background: one that stays behind harms nobody.
    pub(super) fn drop_record(&mut self, id: CopyId) {
        let edge = self.edge.clone();
        self.work.spawn(async move {
            if let Err(error) = edge.drop_record(&id).await {
                tracing::warn!(%error, "a record of a removed copy stays at the edge");
            }
            Done::Tidied
        });
    }

    /// Takes in how a piece of work ended.
    pub(super) async fn finished(&mut self, done: Done) -> Result<(), JournalError> {
        match done {
            Done::Tidied => {}
            Done::Applied { id, render, result } => {
                let Some(copy) = self.state.copies.get(&id) else {
                    return Ok(());
                };
                let newer = copy.item.render_hash != render || copy.removal.is_some();
                let again =
                    newer || matches!(self.phases.get(&id), Some(Phase::Working { again: true }));
                match result {
                    Ok(applied) => self.applied(&id, applied)?,
                    Err(refusal) => self.fail(&id, refusal),
                }
                self.catch_up(&id);
                if again {
                    self.phases.insert(id, Phase::Due);
                }
            }
            Done::Removed { id, result } => match result {
                Ok(outcome) => {
                    self.phases.insert(id.clone(), Phase::Settled);
                    self.removal(&id, outcome, None).await;
                }
                Err(refusal) => {
                    self.fail(&id, refusal.clone());
                    self.removal(&id, TombstoneOutcome::Pending, Some(refusal))
                        .await;
                }
            },
        }
        Ok(())
    }

    fn applied(&mut self, id: &CopyId, applied: Applied) -> Result<(), JournalError> {
        if let Some(owned) = applied.owned {
            let before = self.state.copies.get(id).and_then(|c| c.owned.as_ref());
            if before != Some(&owned) {
                self.record(&[fact::Kind::Owned(owned).into()])?;
            }
        }
        if let Ok(seen) = Seen::parse(&applied.object.to_string()) {
            let view = self.views.entry(id.clone()).or_default();
            view.expected = Some(Expected::of(&seen));
            view.seen = Some(seen);
        }
        self.watch_kind_of(id);
        match applied.waiting {
            Some(refusal) => self.fail(id, refusal),
            None => {
                self.phases.insert(id.clone(), Phase::Settled);
                self.tell(id);
            }
        }
        Ok(())
    }

    fn fail(&mut self, id: &CopyId, refusal: Refusal) {
        let before = self.phases.get(id);
        let same = matches!(before, Some(Phase::Failed { error, message, .. }) if *error == refusal.error && *message == refusal.message);
        let phase = failed(before, refusal.error, refusal.message, self.now());
        self.phases.insert(id.clone(), phase);
        if !same {
            self.tell(id);
        }
    }

    /// Starts the watch over a copy's kind, once.
    fn watch_kind_of(&mut self, id: &CopyId) {
        let Some(object) = self
            .state
            .copies
            .get(id)
            .and_then(|c| c.item.object.clone())
        else {
            return;
        };
        let key = format!("{}/{}", object.group, object.resource);
        if !self.watched.insert(key.clone()) {
            return;
        }
        let (edge, tell) = (self.edge.clone(), self.tell.clone());
        self.watches.spawn(async move {
            // It was served a moment ago, when the copy was applied.
            if let Ok(served) = edge.served(&object).await {
                watch(edge.client, served, edge.destination.to_string(), key, tell).await;
            }
        });
    }

    /// Takes in what a watch saw. `key` is `group/resource`.
    pub(super) fn see(&mut self, key: &str, sight: Sight) {
        match sight {
            Sight::Seen(seen) => {
                for id in self.copies_of(key, &seen.namespace, &seen.name) {
                    self.saw(&id, seen.clone());
                }
            }
            Sight::Gone(namespace, name) => {
                for id in self.copies_of(key, &namespace, &name) {
                    self.gone(&id);
                }
            }
            Sight::Listed(names) => {
                let names: std::collections::HashSet<(String, String)> =
                    names.into_iter().collect();
                let there = |id: &CopyId| {
                    let object = self
                        .state
                        .copies
                        .get(id)
                        .and_then(|c| c.item.object.as_ref());
                    object.is_none_or(|o| {
                        format!("{}/{}", o.group, o.resource) != key
                            || names.contains(&(o.namespace.clone(), o.name.clone()))
                    })
                };
                let missing: Vec<CopyId> = self
                    .views
                    .iter()
                    .filter(|(id, v)| v.seen.is_some() && !there(id))
                    .map(|(id, _)| id.clone())
                    .collect();
                missing.iter().for_each(|id| self.gone(id));
            }
        }
    }

    fn copies_of(&self, key: &str, namespace: &str, name: &str) -> Vec<CopyId> {
        let Some((group, resource)) = key.split_once('/') else {
            return Vec::new();
        };
        self.by_identity
            .get(&Identity::new(group, resource, namespace, name))
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// What was seen while the copy was worked on, if it is newer than what the work returned.
    fn catch_up(&mut self, id: &CopyId) {
        let Some(view) = self.views.get_mut(id) else {
            return;
        };
        let Some(seen) = view.meanwhile.take() else {
            return;
        };
        let older = |than: &Seen| than.uid == seen.uid && !seen.is_newer(than);
        if !view.seen.as_ref().is_some_and(older) {
            self.saw(id, seen);
        }
    }

    fn saw(&mut self, id: &CopyId, seen: Seen) {
        let Some(copy) = self.state.copies.get(id) else {
            return;
        };
        if matches!(self.phases.get(id), Some(Phase::Working { .. })) {
            self.views.entry(id.clone()).or_default().meanwhile = Some(seen);
            return;
        }
        let is_owner = copy.owned.as_ref().is_some_and(|o| o.edge_uid == seen.uid);
        if !is_owner {
            return;
        }
        let untouchable = copy.item.create_only && copy.is_applied();
        let view = self.views.entry(id.clone()).or_default();
        let drifted = view
            .expected
            .as_ref()
            .is_some_and(|expected| *expected != Expected::of(&seen))
            && !untouchable;
        let doomed = copy.removal.is_some();
        let news = view.seen.as_ref().is_none_or(|s| {
            s.status != seen.status
                || s.generation != seen.generation
                || s.deleting != seen.deleting
        });
        if !drifted {
            view.expected = Some(Expected::of(&seen));
        }
        view.seen = Some(seen);
        if drifted && !doomed {
            self.due(id);
        }
        if news {
            self.tell(id);
        }
    }

    fn gone(&mut self, id: &CopyId) {
        if !self.state.copies.contains_key(id) {
            return;
        }
        if let Some(view) = self.views.get_mut(id) {
            *view = View::default();
        }
        self.due(id);
    }
}

#[cfg(test)]
mod tests {
    use atoll_client::{Client, Config};
    use atoll_wire::{Item, ObjectRef};
    use serde_json::json;

    use super::*;
    use crate::{
        edge::Edge,
        state::{State, journal::Journal},
    };

    fn object(version: &str, replicas: u64) -> serde_json::Value {
        json!({"metadata": {"name": "w", "namespace": "s", "uid": "u", "generation": 1, "resourceVersion": version}, "status": {"replicas": replicas}})
    }

    fn seen(version: &str, replicas: u64) -> Sight {
        Sight::Seen(Seen::parse(&object(version, replicas).to_string()).unwrap())
    }

    /// A controller may be quicker than our own note of what we made.
    #[tokio::test]
    async fn what_is_seen_during_the_work_is_not_lost() {
        let id = CopyId {
            cluster: "c".into(),
            uid: "1".into(),
        };
        let item = Item {
            copy: Some(id.clone()),
            object: Some(ObjectRef {
                group: "apps".into(),
                resource: "deployments".into(),
                namespace: "s".into(),
                name: "w".into(),
                namespaced: true,
                ..ObjectRef::default()
            }),
            render_hash: "r".into(),
            ..Item::default()
        };
        for (sights, expected) in [
            // Nothing but what we made; an older state; a newer one; the newest of several.
            (vec![], 0),
            (vec![seen("9", 5)], 0),
            (vec![seen("11", 5)], 5),
            (vec![seen("11", 5), seen("12", 6)], 6),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let (mut journal, mut state) = Journal::open(directory.path()).unwrap();
            let facts = [fact::Kind::Desired(item.clone()).into()];
            journal.record(&mut state, &facts).unwrap();
            let client = Client::new(&Config::new("https://127.0.0.1:1")).unwrap();
            let mut agent = Agent::new(Edge::new(client, "d"), journal, State::clone(&state));
            agent
                .phases
                .insert(id.clone(), Phase::Working { again: false });
            for sight in sights {
                agent.see("apps/deployments", sight);
            }
            let owned = Owned {
                copy: Some(id.clone()),
                edge_uid: "u".into(),
                applied: "r".into(),
                generation: 1,
                ..Owned::default()
            };
            let applied = Applied {
                owned: Some(owned),
                object: object("10", 0),
                waiting: None,
            };
            let done = Done::Applied {
                id: id.clone(),
                render: "r".into(),
                result: Ok(applied),
            };
            agent.finished(done).await.unwrap();
            let status = agent.views[&id].seen.as_ref().unwrap().status.clone();
            let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
            assert_eq!(status, json!({"replicas": expected}));
            assert!(agent.dirty.contains(&id), "it is told");
            assert_eq!(agent.phases[&id], Phase::Settled);
        }
    }
}
