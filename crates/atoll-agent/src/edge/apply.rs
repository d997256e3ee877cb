//! Making one copy stand at the edge as the center described it.
//!
//! [`decide`] is pure: from what is there to what to do. The rest carries it out by server-side apply with force, so that the payload's fields are ours and
//! all others are left alone. An object is on record as ours *before* it is made.

use atoll_client::{Client, ClientError, Patch, Request};
use atoll_wire::{ErrorKind, Item, ObjectRef};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::{
    Edge, LABEL, MANAGER, Refusal,
    handover::{Handover, INITIAL_MANAGER, handover, merge, parse},
    kinds::Served,
};
use crate::{plan, state::Owned};

/// A resourceVersion that no object ever has: an apply that asks for it creates, or is refused with a conflict.
const NOBODYS_VERSION: &str = "1";

/// What stands at the edge after an apply.
#[derive(Clone, Debug, PartialEq)]
pub struct Applied {
    /// Ownership as it is now; `None` for an implicit object that was there before us.
    pub owned: Option<Owned>,
    /// The object as the edge returned it.
    pub object: Value,
    /// Accepted, but not of use yet: why.
    pub waiting: Option<Refusal>,
}

/// What to do with a copy, given what is there.
#[derive(Debug, PartialEq)]
enum Step {
    Create,
    Apply {
        adopt: bool,
    },
    /// Take it over from a destination that is gone.
    Inherit(String),
    Leave,
    Refuse(ErrorKind, String),
}

fn decide(
    item: &Item,
    owned: Option<&Owned>,
    live: Option<&Value>,
    destination: &str,
    is_gone: impl Fn(&str) -> bool,
) -> Step {
    let Some(live) = live else {
        return Step::Create;
    };
    let text = |pointer: &str| {
        live.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let uid = text("/metadata/uid");
    let label = live
        .pointer("/metadata/labels")
        .and_then(|labels| labels.get(LABEL))
        .and_then(Value::as_str);
    if !text("/metadata/deletionTimestamp").is_empty() {
        return Step::Refuse(
            ErrorKind::Terminating,
            "the object is being deleted at the edge".into(),
        );
    }
    // An intention without uid: the object was made by us if it says so, otherwise somebody was quicker.
    let ours = owned.is_some_and(|o| {
        o.edge_uid == uid || (o.edge_uid.is_empty() && label == Some(destination))
    });
    if ours {
        return if item.create_only {
            Step::Leave
        } else {
            Step::Apply { adopt: false }
        };
    }
    // Another center's is as good as anybody's: nothing of ours is in it.
    if item.implicit {
        return Step::Leave;
    }
    if let Some(other) = label.filter(|&l| l != destination) {
        if is_gone(other) {
            return Step::Inherit(other.to_owned());
        }
        return Step::Refuse(
            ErrorKind::Conflict,
            format!("the object belongs to destination {other} of another center or agent"),
        );
    }
    if item.adopt {
        return Step::Apply { adopt: true };
    }
    let message = "the object exists and was not made by Atoll; `takeover: Adopt` in the policy's clause takes it over";
    Step::Refuse(ErrorKind::AlreadyExists, message.into())
}

/// The body as it is sent: at the version the edge serves, marked as ours, without the fields that are the edge's.
fn prepare(body: &[u8], item: &Item, served: &Served, destination: &str) -> Result<Value, Refusal> {
    let wrong = |why: String| {
        Refusal::new(
            ErrorKind::Invalid,
            format!("the body from the center cannot be read: {why}"),
        )
    };
    let mut object: Value = serde_json::from_slice(body).map_err(|e| wrong(e.to_string()))?;
    let metadata = object
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
        .ok_or_else(|| wrong("no metadata".into()))?;
    metadata.entry("labels").or_insert_with(|| json!({}))[LABEL] = json!(destination);
    object["apiVersion"] = json!(served.api_version);
    for path in parse(&item.edge_owned) {
        path.take(&mut object);
    }
    Ok(object)
}

impl Edge {
    /// Applies one copy. On success the copy stands at the edge completely.
    pub async fn apply(
        &self,
        item: &Item,
        body: &Bytes,
        owned: Option<&Owned>,
    ) -> Result<Applied, Refusal> {
        let object = item
            .object
            .as_ref()
            .ok_or_else(|| Refusal::new(ErrorKind::Invalid, "the item names no object"))?;
        let served = self.served(object).await?;
        let wanted = prepare(body, item, &served, &self.destination)?;
        let path = served.object(&object.namespace, &object.name);
        let live = self.client.find(&path).await?;
        let is_gone = |other: &str| self.is_gone(other);
        match decide(item, owned, live.as_ref(), &self.destination, is_gone) {
            Step::Refuse(error, message) => Err(Refusal::new(error, message)),
            Step::Leave => {
                let object = live.unwrap_or_default();
                let owned = owned
                    .filter(|o| !o.edge_uid.is_empty())
                    .map(|o| note(item, o.adopted, &object));
                Ok(Applied {
                    owned,
                    waiting: waits(item, &object),
                    object,
                })
            }
            Step::Create => {
                self.await_backend(&wanted).await?;
                self.put_record(item, "", false).await?;
                let made = self.create(&path, item, wanted).await?;
                self.finish(item, false, made).await
            }
            Step::Inherit(from) => {
                let live = live.unwrap_or_default();
                self.inherit(&from, &path, item, wanted, live).await
            }
            Step::Apply { adopt } => {
                let mut adopted = adopt || owned.is_some_and(|o| o.adopted);
                if let Some(o) = owned.filter(|o| o.edge_uid.is_empty())
                    && let Some(copy) = &o.copy
                    && let Some((_, before)) = self.record_of(&self.destination, copy).await?
                {
                    // The last attempt came as far as the record.
                    adopted |= before;
                }
                if adopt {
                    let uid = live
                        .as_ref()
                        .and_then(|l| l.pointer("/metadata/uid"))
                        .and_then(Value::as_str)
                        .unwrap_or_default();
                    self.put_record(item, uid, true).await?;
                }
                let made = self.update(&path, item, wanted, live.as_ref()).await?;
                match owned.is_some_and(|o| !o.edge_uid.is_empty()) || adopt {
                    true => Ok(Applied {
                        owned: Some(note(item, adopted, &made)),
                        waiting: waits(item, &made),
                        object: made,
                    }),
                    false => self.finish(item, adopted, made).await,
                }
            }
        }
    }

    /// Takes a copy over that a destination left which is gone, if that had this very object on record for the same payload object. Nothing is deleted by this.
    async fn inherit(
        &self,
        from: &str,
        path: &str,
        item: &Item,
        wanted: Value,
        live: Value,
    ) -> Result<Applied, Refusal> {
        let copy = item.copy.clone().unwrap_or_default();
        let uid = live["metadata"]["uid"].as_str().unwrap_or_default();
        let record = self.record_of(from, &copy).await?;
        let Some((_, adopted)) = record.filter(|(owned, _)| owned == uid) else {
            return Err(Refusal::new(
                ErrorKind::Conflict,
                format!(
                    "the object says that it belongs to destination {from}, which this center does not know, and is not on its record as a copy of this object: \
                     take the label {LABEL} off it, then it is treated as anybody's"
                ),
            ));
        };
        self.put_record(item, uid, adopted).await?;
        let made = if item.create_only {
            let relabel = json!({"metadata": {"uid": uid, "labels": {LABEL: &*self.destination}}});
            let path = format!("{path}?fieldManager={MANAGER}");
            self.client.patch(&path, Patch::Merge, &relabel).await?
        } else {
            self.update(path, item, wanted, Some(&live)).await?
        };
        if let Err(error) = self.drop_record_of(from, &copy).await {
            tracing::warn!(%error, %from, "a record of a destination that is gone stays at the edge");
        }
        Ok(Applied {
            owned: Some(note(item, adopted, &made)),
            waiting: waits(item, &made),
            object: made,
        })
    }

    /// Where the object's kind is served.
    pub async fn served(&self, object: &ObjectRef) -> Result<Served, Refusal> {
        self.kinds.find(&self.client, object).await?.ok_or_else(|| {
            let group = if object.group.is_empty() {
                "the core group"
            } else {
                &object.group
            };
            Refusal::new(
                ErrorKind::KindNotServed,
                format!("the edge serves no {} of {group}", object.kind),
            )
        })
    }

    /// Records what was made and says whether it is complete.
    async fn finish(&self, item: &Item, adopted: bool, made: Value) -> Result<Applied, Refusal> {
        let owned = note(item, adopted, &made);
        self.put_record(item, &owned.edge_uid, adopted).await?;
        Ok(Applied {
            owned: Some(owned),
            waiting: waits(item, &made),
            object: made,
        })
    }

    async fn create(&self, path: &str, item: &Item, mut wanted: Value) -> Result<Value, Refusal> {
        if item.initial_only.is_empty() {
            return self.make(path, MANAGER, wanted).await;
        }
        let made = self.make(path, INITIAL_MANAGER, wanted.clone()).await?;
        let uid = made["metadata"]["uid"].clone();
        wanted["metadata"]["uid"] = uid.clone();
        let initial: Vec<Value> = parse(&item.initial_only)
            .filter_map(|p| p.only(&wanted))
            .collect();
        parse(&item.initial_only).for_each(|p| drop(p.take(&mut wanted)));
        let made = send_apply(&self.client, path, MANAGER, &wanted).await?;
        // The first manager keeps only what is the edge's from now on.
        let mut rest = json!({"apiVersion": wanted["apiVersion"], "kind": wanted["kind"], "metadata": {"name": wanted["metadata"]["name"], "uid": uid}});
        initial
            .into_iter()
            .for_each(|fields| merge(&mut rest, fields));
        send_apply(&self.client, path, INITIAL_MANAGER, &rest).await?;
        Ok(made)
    }

    /// Server-side apply that only creates: had somebody made the object since we looked, nothing of it is written over.
    async fn make(&self, path: &str, manager: &str, mut wanted: Value) -> Result<Value, Refusal> {
        wanted["metadata"]["resourceVersion"] = json!(NOBODYS_VERSION);
        match send_apply(&self.client, path, manager, &wanted).await {
            Ok(made) => Ok(made),
            Err(error) if error.is_conflict() => Err(Refusal::new(
                ErrorKind::AlreadyExists,
                "somebody else made the object at the same moment",
            )),
            Err(error) => Err(error.into()),
        }
    }

    async fn update(
        &self,
        path: &str,
        item: &Item,
        mut wanted: Value,
        live: Option<&Value>,
    ) -> Result<Value, Refusal> {
        parse(&item.initial_only).for_each(|p| drop(p.take(&mut wanted)));
        // Only the very object that we looked at.
        let uid = live
            .and_then(|l| l.pointer("/metadata/uid"))
            .cloned()
            .unwrap_or_default();
        wanted["metadata"]["uid"] = uid.clone();
        // What was ours until now and is the edge's from now on keeps its value: somebody has to own it, or it would go with our claim.
        let change = live.map_or(Handover::Nothing, |l| handover(item, l));
        if let Handover::Give(fields) = &change {
            send_apply(&self.client, path, INITIAL_MANAGER, fields).await?;
        }
        let sent = send_apply(&self.client, path, MANAGER, &wanted).await;
        match sent.map_err(Refusal::from) {
            Ok(made) => match change {
                Handover::TakeBack(empty) => {
                    Ok(send_apply(&self.client, path, INITIAL_MANAGER, &empty).await?)
                }
                Handover::Nothing | Handover::Give(_) => Ok(made),
            },
            Err(refusal) if refusal.error == ErrorKind::Immutable && item.replace => {
                let only_this =
                    json!({"preconditions": {"uid": uid}, "propagationPolicy": "Background"});
                self.client.delete(path, Some(&only_this)).await?;
                Err(Refusal::new(
                    ErrorKind::Terminating,
                    "deleted, to be made anew with the changed immutable field",
                ))
            }
            Err(refusal) if refusal.error == ErrorKind::Immutable => {
                let remedy = "to have the copy deleted and made anew, annotate the object with edge.atoll.dev/replace=true";
                Err(Refusal::new(
                    ErrorKind::Immutable,
                    format!("{}; {remedy}", refusal.message),
                ))
            }
            Err(refusal) => Err(refusal),
        }
    }
}

/// A CRD is of use when it is Established; everything else when it was accepted.
fn waits(item: &Item, object: &Value) -> Option<Refusal> {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let established = conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Established" && c["status"] == "True");
    let waits = item.object.as_ref().is_some_and(plan::is_definition) && !established;
    waits.then(|| {
        Refusal::new(
            ErrorKind::Waiting,
            "the CustomResourceDefinition is not Established yet",
        )
    })
}

/// The ownership that goes with an object just applied.
fn note(item: &Item, adopted: bool, object: &Value) -> Owned {
    Owned {
        copy: item.copy.clone(),
        edge_uid: object
            .pointer("/metadata/uid")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        adopted,
        applied: item.render_hash.clone(),
        generation: object
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or(0),
    }
}

async fn send_apply(
    client: &Client,
    path: &str,
    manager: &str,
    object: &Value,
) -> Result<Value, ClientError> {
    let path = format!("{path}?fieldManager={manager}&force=true");
    let request =
        Request::new(Method::PATCH, path).body("application/apply-patch+yaml", object.to_string());
    let answer = client.request(request).await?;
    let value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.code.is_success() {
        return Ok(value);
    }
    let status = serde_json::from_value(value).map_err(|_| ClientError::Answer {
        server: client.origin().to_owned(),
        why: format!("{} without a Status", answer.code),
    })?;
    Err(ClientError::Status(Box::new(status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(uid: &str, label: Option<&str>) -> Value {
        let mut object = json!({"metadata": {"uid": uid}});
        if let Some(label) = label {
            object["metadata"]["labels"] = json!({LABEL: label});
        }
        object
    }

    fn owned(uid: &str) -> Owned {
        Owned {
            edge_uid: uid.into(),
            ..Owned::default()
        }
    }

    #[test]
    fn only_what_is_ours_is_touched() {
        let plain = Item::default();
        let adopting = Item {
            adopt: true,
            ..Item::default()
        };
        let once = Item {
            create_only: true,
            ..Item::default()
        };
        let implicit = Item {
            implicit: true,
            ..Item::default()
        };
        let check = |item: &Item, owned: Option<Owned>, live: Option<Value>, expected: &str| {
            let gone = |other: &str| other == "gone";
            let step = format!(
                "{:?}",
                decide(item, owned.as_ref(), live.as_ref(), "me", gone)
            );
            assert!(step.starts_with(expected), "{step}, not {expected}");
        };
        check(&plain, None, None, "Create");
        check(&plain, Some(owned("u")), None, "Create");
        check(
            &plain,
            Some(owned("u")),
            Some(live("u", None)),
            "Apply { adopt: false }",
        );
        check(
            &plain,
            Some(owned("")),
            Some(live("u", Some("me"))),
            "Apply { adopt: false }",
        );
        check(
            &plain,
            Some(owned("")),
            Some(live("u", None)),
            "Refuse(AlreadyExists",
        );
        check(
            &plain,
            Some(owned("old")),
            Some(live("u", None)),
            "Refuse(AlreadyExists",
        );
        // A label alone proves nothing: controllers copy labels.
        check(
            &plain,
            None,
            Some(live("u", Some("me"))),
            "Refuse(AlreadyExists",
        );
        check(
            &adopting,
            None,
            Some(live("u", None)),
            "Apply { adopt: true }",
        );
        check(
            &adopting,
            None,
            Some(live("u", Some("another"))),
            "Refuse(Conflict",
        );
        check(
            &plain,
            None,
            Some(live("u", Some("gone"))),
            "Inherit(\"gone\")",
        );
        check(&implicit, None, Some(live("u", Some("gone"))), "Leave");
        check(&once, Some(owned("u")), Some(live("u", None)), "Leave");
        check(&implicit, None, Some(live("u", None)), "Leave");
        check(&implicit, None, Some(live("u", Some("another"))), "Leave");
    }

    #[test]
    fn the_edges_fields_are_not_sent() {
        let item = Item {
            edge_owned: vec![".spec.replicas".into()],
            ..Item::default()
        };
        let served = Served {
            api_version: "apps/v1".into(),
            ..served()
        };
        let body = br#"{"apiVersion":"apps/v1beta1","kind":"Deployment","metadata":{"name":"w"},"spec":{"replicas":3,"paused":true}}"#;
        let object = prepare(body, &item, &served, "me").unwrap();
        assert_eq!(object["spec"], json!({"paused": true}));
        assert_eq!(object["apiVersion"], "apps/v1");
        assert_eq!(object["metadata"]["labels"][LABEL], "me");
    }

    fn served() -> Served {
        Served {
            root: String::new(),
            resource: String::new(),
            namespaced: true,
            has_status: true,
            api_version: String::new(),
        }
    }
}
