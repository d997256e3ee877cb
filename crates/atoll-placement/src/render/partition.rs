//! Destinations, split into classes that read the same: the reason why ten thousand equal destinations need one render.
//!
//! Where a read is indexed, classes are cut with bitmaps; only what is not is looked up destination by destination.

use std::collections::HashMap;

use crate::{Destination, Destinations};

use super::properties::{Properties, Read};

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    /// Nothing of this name.
    Absent,
    /// The value.
    Text(Box<str>),
    /// Everything of a source, sorted by name.
    All(Vec<(Box<str>, Box<str>)>),
}

/// Looks up one read.
pub(super) fn answer(properties: &dyn Properties, destination: Destination, read: &Read) -> Answer {
    match &read.name {
        Some(name) => match properties.get(destination, read.source, name) {
            Some(value) => Answer::Text(value.as_ref().into()),
            None => Answer::Absent,
        },
        None => Answer::All(
            properties
                .all(destination, read.source)
                .into_iter()
                .map(|(n, v)| (n.as_ref().into(), v.as_ref().into()))
                .collect(),
        ),
    }
}

/// A class: the answers to all reads, in their order, and who gives them.
pub(super) type Class = (Vec<Answer>, Destinations);

/// Splits a set by what it answers to reads, into at most `limit` classes; whoever is beyond is returned apart.
pub(super) fn split(
    within: &Destinations,
    reads: &[&Read],
    properties: &dyn Properties,
    limit: usize,
) -> (Vec<Class>, Destinations) {
    if within.is_empty() {
        return (Vec::new(), Destinations::new());
    }
    // Cut by indexes first; reads that have none, or whose index would cut more than there is, are left over.
    let mut classes: Vec<(Vec<Option<Answer>>, Destinations)> =
        vec![(vec![None; reads.len()], within.clone())];
    let mut left_over: Vec<usize> = Vec::new();
    for (at, read) in reads.iter().enumerate() {
        let groups = read
            .name
            .as_deref()
            .and_then(|name| properties.groups(read.source, name));
        let Some(groups) = groups.filter(|g| {
            (g.len() as u64).saturating_mul(classes.len() as u64) <= within.len().max(64)
        }) else {
            left_over.push(at);
            continue;
        };
        let mut finer = Vec::with_capacity(classes.len());
        for (answers, members) in classes {
            let mut rest = members;
            for (value, group) in &groups {
                let part = &rest & group.as_ref();
                if part.is_empty() {
                    continue;
                }
                rest -= &part;
                let mut answers = answers.clone();
                answers[at] = Some(Answer::Text(value.as_ref().into()));
                finer.push((answers, part));
                if rest.is_empty() {
                    break;
                }
            }
            if !rest.is_empty() {
                let mut answers = answers;
                answers[at] = Some(Answer::Absent);
                finer.push((answers, rest));
            }
        }
        classes = finer;
    }
    let mut done: HashMap<Vec<Answer>, Destinations> = HashMap::new();
    let mut beyond = Destinations::new();
    for (answers, members) in classes {
        if left_over.is_empty() {
            let key: Vec<Answer> = answers.into_iter().map(known).collect();
            put(&mut done, key, &members, limit, &mut beyond);
            continue;
        }
        for destination in &members {
            let key = answers
                .iter()
                .zip(reads)
                .map(|(known, read)| match known {
                    Some(answer) => answer.clone(),
                    None => self::answer(properties, Destination(destination), read),
                })
                .collect();
            let one: Destinations = [destination].into_iter().collect();
            put(&mut done, key, &one, limit, &mut beyond);
        }
    }
    let mut classes: Vec<Class> = done.into_iter().collect();
    classes.sort_unstable_by_key(|(_, members)| members.min());
    (classes, beyond)
}

fn known(answer: Option<Answer>) -> Answer {
    answer.unwrap_or(Answer::Absent)
}

fn put(
    done: &mut HashMap<Vec<Answer>, Destinations>,
    key: Vec<Answer>,
    members: &Destinations,
    limit: usize,
    beyond: &mut Destinations,
) {
    if let Some(class) = done.get_mut(&key) {
        *class |= members;
    } else if done.len() < limit {
        done.insert(key, members.clone());
    } else {
        *beyond |= members;
    }
}
