//! How destinations stand with the revision that they have of a policy: by what they reported about exactly the render that they should have now.
//!
//! A destination is as well as its worst copy. An older report is no report: it says progressing.

use std::sync::Arc;

use atoll_cel::{Bindings, Budget, Program};
use atoll_placement::Destinations;
use atoll_placement::columns::Reported;
use atoll_placement::health::Health;
use atoll_placement::place::ObjectIndex;
use atoll_placement::rollout::{Ordinal, PolicyId, Report};
use atoll_wire::ErrorKind;
use serde_json::Value;

use crate::model::{PayloadObject, PolicyIndex, World};

/// What one evaluation of a health rule may cost.
const BUDGET: Budget = Budget { cost: 100_000 };

/// What some destinations of a policy say about what they have, by revision. The cost follows from how many they are, or from how many different things they say.
pub(super) fn judge(world: &World, index: PolicyIndex, among: &Destinations) -> Vec<Report> {
    let Some(policy) = world.policies.get(&index) else {
        return Vec::new();
    };
    let rules = Rules::of(world, index);
    let mut found = Vec::new();
    for (ordinal, revision) in policy.in_use() {
        let here = &revision.assigned & among;
        if here.is_empty() {
            continue;
        }
        let mut report = Report {
            revision: Some(Ordinal(ordinal)),
            healthy: here,
            ..Report::default()
        };
        for object in &revision.cut.objects {
            copies(world, *object, &rules, &mut report);
        }
        report.progressing -= &report.failed;
        found.push(report);
    }
    found
}

/// Takes out of the healthy who is not, because of one object's copies.
fn copies(world: &World, index: ObjectIndex, rules: &Rules, report: &mut Report) {
    let all = &report.healthy | &report.progressing;
    let column = world.columns.get(&index);
    let object = world.objects.get(&index);
    for (wanted, mut rest) in world.wanted_within(index, &all) {
        for bad in world.checks.bad(index, wanted.render) {
            // What cannot be made is never sent, so nothing will ever be reported about it.
            let here = bad & &rest;
            rest -= &here;
            report.fail(&here);
        }
        let sets = column.map(|column| column.sets_within(&rest));
        for (id, set) in sets.into_iter().flatten() {
            rest -= &set;
            let value = world.values.get(id);
            let value = value.filter(|v| v.seen.is(wanted.render, wanted.content.vary.is_some()));
            match value.map(|v| stands(v)) {
                Some(Health::Healthy) => {
                    if !object.zip(value).is_none_or(|(o, v)| rules.hold(o, v)) {
                        report.wait(&set);
                    }
                }
                Some(Health::Degraded) => report.fail(&set),
                // An older report is none.
                Some(Health::Progressing) | None => report.wait(&set),
            }
        }
        report.wait(&rest);
    }
}

trait Sort {
    fn fail(&mut self, who: &Destinations);
    fn wait(&mut self, who: &Destinations);
}

impl Sort for Report {
    fn fail(&mut self, who: &Destinations) {
        self.healthy -= who;
        self.failed |= who;
    }

    fn wait(&mut self, who: &Destinations) {
        self.healthy -= who;
        self.progressing |= who;
    }
}

/// How well a copy is that reported this of the render that it should have.
fn stands(value: &Reported) -> Health {
    match ErrorKind::try_from(i32::from(value.error)) {
        _ if value.error == 0 => value.health,
        // It goes on by itself.
        Ok(ErrorKind::Unreachable | ErrorKind::Waiting | ErrorKind::Terminating) => {
            Health::Progressing
        }
        _ => Health::Degraded,
    }
}

/// The health rules of a RolloutPolicy: what must be true beside what Kubernetes' kinds say of themselves.
struct Rules(Vec<Rule>);

struct Rule {
    group: Option<String>,
    resource: Option<String>,
    /// `None`: it does not compile, and holds for nothing.
    program: Option<Arc<Program>>,
}

impl Rules {
    fn of(world: &World, index: PolicyIndex) -> Rules {
        let state = world.control.engine.state(PolicyId(index.0));
        let rules = state.into_iter().flat_map(|s| &s.spec.healthy);
        let rules = rules.map(|rule| Rule {
            group: rule.group.clone(),
            resource: rule.resource.clone(),
            program: world.control.expressions.health(&rule.expression),
        });
        Rules(rules.collect())
    }

    /// Whether all that are about an object hold. One that fails (the status lacks what it reads) does not hold yet.
    fn hold(&self, object: &PayloadObject, value: &Reported) -> bool {
        let reference = &object.reference;
        let mut concerned = self.0.iter().filter(|rule| {
            rule.group.as_ref().is_none_or(|g| *g == reference.group)
                && rule
                    .resource
                    .as_ref()
                    .is_none_or(|r| *r == reference.resource)
        });
        let status: Value = match self.0.is_empty() {
            true => Value::Null,
            false => serde_json::from_str(&value.status).unwrap_or(Value::Null),
        };
        concerned.all(|rule| {
            let bindings = Bindings::new().json("status", &status);
            let answer = rule.program.as_ref().map(|p| p.evaluate(&bindings, BUDGET));
            matches!(answer, Some(Ok(atoll_cel::Value::Bool(true))))
        })
    }
}
