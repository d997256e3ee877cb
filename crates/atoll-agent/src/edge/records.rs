//! The records at the edge of what is ours there, in the agent's own namespace: an agent that lost its state directory rebuilds it from them.
//!
//! `ConfigMap atoll-agent/copies-<destination>-<shard>`, one data entry per copy. An entry is written before its object is, so that there is no moment at which an
//! object of ours is not on record; it goes when the center has noted the removal.

use std::collections::BTreeSet;

use atoll_client::{ClientError, Patch, Request};
use atoll_wire::{CopyId, Item, ObjectRef};
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Edge, MANAGER};
use crate::{
    plan::OWN_NAMESPACE,
    state::{Copy, Owned},
};

/// How many ConfigMaps share the records of a destination: each may hold a few thousand.
const SHARDS: u8 = 16;

/// One entry, as JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    cluster: String,
    object_uid: String,
    group: String,
    version: String,
    kind: String,
    resource: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    namespace: String,
    name: String,
    namespaced: bool,
    order: u32,
    /// The uid at the edge; empty when only the intention was recorded.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    edge_uid: String,
    #[serde(default)]
    adopted: bool,
}

impl Record {
    fn new(item: &Item, edge_uid: &str, adopted: bool) -> Option<Self> {
        let (copy, object) = (item.copy.clone()?, item.object.clone()?);
        Some(Record {
            cluster: copy.cluster,
            object_uid: copy.uid,
            group: object.group,
            version: object.version,
            kind: object.kind,
            resource: object.resource,
            namespace: object.namespace,
            name: object.name,
            namespaced: object.namespaced,
            order: item.order,
            edge_uid: edge_uid.to_owned(),
            adopted,
        })
    }

    fn into_copy(self) -> Copy {
        let copy = CopyId {
            cluster: self.cluster,
            uid: self.object_uid,
        };
        let object = ObjectRef {
            group: self.group,
            version: self.version,
            kind: self.kind,
            resource: self.resource,
            namespace: self.namespace,
            name: self.name,
            namespaced: self.namespaced,
        };
        let owned = Owned {
            copy: Some(copy.clone()),
            edge_uid: self.edge_uid,
            adopted: self.adopted,
            ..Owned::default()
        };
        let item = Item {
            copy: Some(copy),
            object: Some(object),
            order: self.order,
            ..Item::default()
        };
        Copy {
            item,
            removal: None,
            owned: Some(owned),
        }
    }
}

fn key(copy: &CopyId) -> String {
    format!("{}.{}", copy.cluster, copy.uid)
}

fn shard(copy: &CopyId) -> u8 {
    (crc32fast::hash(key(copy).as_bytes()) % u32::from(SHARDS)) as u8
}

fn map_name(destination: &str, shard: u8) -> String {
    format!("copies-{destination}-{shard}")
}

fn maps() -> String {
    format!("/api/v1/namespaces/{OWN_NAMESPACE}/configmaps")
}

impl Edge {
    /// Makes the agent's namespace when it is not there.
    pub async fn ensure_own_namespace(&self) -> Result<(), ClientError> {
        if self
            .client
            .find(&format!("/api/v1/namespaces/{OWN_NAMESPACE}"))
            .await?
            .is_some()
        {
            return Ok(());
        }
        let namespace =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OWN_NAMESPACE}});
        match self.client.post("/api/v1/namespaces", &namespace).await {
            Err(error) if !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }

    /// Writes a copy's record.
    pub async fn put_record(
        &self,
        item: &Item,
        edge_uid: &str,
        adopted: bool,
    ) -> Result<(), ClientError> {
        let Some(record) = Record::new(item, edge_uid, adopted) else {
            return Ok(());
        };
        let copy = CopyId {
            cluster: record.cluster.clone(),
            uid: record.object_uid.clone(),
        };
        // A record holds strings, numbers and booleans only.
        let text = serde_json::to_string(&record).unwrap_or_default();
        self.patch_record(&self.destination, &copy, Value::String(text))
            .await
    }

    /// Drops a copy's record.
    pub async fn drop_record(&self, copy: &CopyId) -> Result<(), ClientError> {
        self.drop_record_of(&self.destination, copy).await
    }

    /// Drops the record that another destination left.
    pub(super) async fn drop_record_of(
        &self,
        destination: &str,
        copy: &CopyId,
    ) -> Result<(), ClientError> {
        self.patch_record(destination, copy, Value::Null).await
    }

    async fn patch_record(
        &self,
        destination: &str,
        copy: &CopyId,
        entry: Value,
    ) -> Result<(), ClientError> {
        let name = map_name(destination, shard(copy));
        let path = format!("{}/{name}?fieldManager={MANAGER}", maps());
        let change = json!({"data": {key(copy): entry.clone()}});
        match self.client.patch(&path, Patch::Merge, &change).await {
            Err(error) if error.is_not_found() && entry.is_null() => Ok(()),
            Err(error) if error.is_not_found() => {
                self.ensure_own_namespace().await?;
                let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {key(copy): entry}});
                match self.client.post(&maps(), &map).await {
                    // Another copy of the shard made it first.
                    Err(error) if error.is_conflict() => self
                        .client
                        .patch(&path, Patch::Merge, &change)
                        .await
                        .map(drop),
                    made => made.map(drop),
                }
            }
            done => done.map(drop),
        }
    }

    /// Other destinations that have records here.
    pub async fn others(&self) -> Result<Vec<String>, ClientError> {
        let form =
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
        let request = Request::new(Method::GET, maps()).accept(form);
        let answer = self.client.request(request).await?;
        let list: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let mut found = BTreeSet::new();
        for map in list["items"].as_array().into_iter().flatten() {
            let name = map.pointer("/metadata/name").and_then(Value::as_str);
            let destination = name
                .and_then(|name| name.strip_prefix("copies-")?.rsplit_once('-'))
                .map(|(destination, _)| destination)
                .filter(|other| *other != &*self.destination);
            found.extend(destination.map(str::to_owned));
        }
        Ok(found.into_iter().collect())
    }

    /// What a destination has on record about a copy: the uid of the object here, and whether it was adopted.
    pub(super) async fn record_of(
        &self,
        destination: &str,
        copy: &CopyId,
    ) -> Result<Option<(String, bool)>, ClientError> {
        let path = format!("{}/{}", maps(), map_name(destination, shard(copy)));
        let map = self.client.find(&path).await?.unwrap_or_default();
        let record = map["data"][key(copy)].as_str();
        let record = record.and_then(|text| serde_json::from_str::<Record>(text).ok());
        Ok(record.map(|record| (record.edge_uid, record.adopted)))
    }

    /// Everything on record for this destination, as copies without content.
    pub async fn records(&self) -> Result<Vec<Copy>, ClientError> {
        let mut copies = Vec::new();
        for shard in 0..SHARDS {
            let path = format!("{}/{}", maps(), map_name(&self.destination, shard));
            let Some(map) = self.client.find(&path).await? else {
                continue;
            };
            for (key, entry) in map["data"].as_object().into_iter().flatten() {
                match entry.as_str().map(serde_json::from_str::<Record>) {
                    Some(Ok(record)) => copies.push(record.into_copy()),
                    _ => {
                        tracing::warn!(%key, "a record of the agent cannot be read; what it names stays as it is")
                    }
                }
            }
        }
        Ok(copies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_gives_back_the_copy_without_its_content() {
        let copy = CopyId {
            cluster: "c".into(),
            uid: "u".into(),
        };
        let object = ObjectRef {
            kind: "ConfigMap".into(),
            name: "n".into(),
            namespace: "s".into(),
            namespaced: true,
            ..ObjectRef::default()
        };
        let item = Item {
            copy: Some(copy.clone()),
            object: Some(object.clone()),
            order: 4,
            render_hash: "x".into(),
            ..Item::default()
        };
        let text = serde_json::to_string(&Record::new(&item, "e", true).unwrap()).unwrap();
        let again = serde_json::from_str::<Record>(&text).unwrap().into_copy();
        assert_eq!(again.item.object, Some(object));
        let owned = again.owned.unwrap();
        assert!(owned.adopted && owned.edge_uid == "e" && owned.copy == Some(copy));
        assert!(again.item.render_hash.is_empty());
    }
}
