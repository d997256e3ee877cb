//! What is seen of the copies at the edge: one watch per kind in use, filtered by our label, telling only what reports and healing need.

use std::time::Duration;

use atoll_client::{Client, ClientError, Request};
use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::{LABEL, kinds::Served};

/// How long one watch lasts before it is renewed; also how long a lost event can go unnoticed.
const WATCH_SECONDS: u32 = 540;
/// How long to wait before a failed list or watch is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// How many objects a page of the first list has.
const PAGE: u32 = 250;

/// One object as it was last seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Namespace, empty for none.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// uid at the edge.
    pub uid: String,
    /// `metadata.generation`, 0 for kinds without.
    pub generation: i64,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// A checksum of labels and annotations: they change without a new generation.
    pub metadata: u32,
    /// Being deleted.
    pub deleting: bool,
    /// `status` as JSON, empty for none.
    pub status: Bytes,
    /// `status.observedGeneration`, for kinds that have it.
    pub observed_generation: Option<i64>,
}

/// What a watch tells.
#[derive(Debug)]
pub enum Sight {
    /// An object as it is now.
    Seen(Seen),
    /// An object went away: namespace, name.
    Gone(String, String),
    /// All objects there are were told; those not among these names (namespace, name) are gone.
    Listed(Vec<(String, String)>),
}

#[derive(Deserialize)]
struct Object<'a> {
    metadata: Metadata<'a>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(default)]
    namespace: String,
    name: String,
    uid: String,
    #[serde(default)]
    generation: i64,
    #[serde(default)]
    resource_version: String,
    deletion_timestamp: Option<String>,
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
    #[serde(borrow)]
    annotations: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Observed {
    observed_generation: Option<i64>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct List<'a> {
    metadata: ListMetadata,
    #[serde(borrow, default)]
    items: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
    #[serde(default, rename = "continue")]
    rest: String,
}

impl Seen {
    /// Reads an object's JSON.
    pub fn parse(json: &str) -> Result<Self, serde_json::Error> {
        let object: Object<'_> = serde_json::from_str(json)?;
        let metadata = object.metadata;
        let mut sum = crc32fast::Hasher::new();
        for map in [metadata.labels, metadata.annotations] {
            sum.update(map.map_or("", RawValue::get).as_bytes());
            sum.update(b"\n");
        }
        let status = object.status.map_or("", RawValue::get);
        let observed = serde_json::from_str::<Observed>(status)
            .ok()
            .and_then(|o| o.observed_generation);
        Ok(Seen {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            generation: metadata.generation,
            resource_version: metadata.resource_version,
            metadata: sum.finalize(),
            deleting: metadata.deletion_timestamp.is_some(),
            status: Bytes::copy_from_slice(status.as_bytes()),
            observed_generation: observed,
        })
    }
}

impl Seen {
    /// Whether this is a later state of the same object. Versions that are no numbers tell nothing: then what came later is taken for later.
    pub fn is_newer(&self, than: &Seen) -> bool {
        let number = |seen: &Seen| seen.resource_version.parse::<u64>().ok();
        match (number(self), number(than)) {
            (Some(this), Some(that)) => this > that,
            _ => self.resource_version != than.resource_version,
        }
    }
}

/// Watches one kind until the receiver is gone. Answers `(key, sight)`.
pub async fn watch(
    client: Client,
    served: Served,
    destination: String,
    key: String,
    tell: mpsc::Sender<(String, Sight)>,
) {
    let collection = format!(
        "{}?labelSelector={LABEL}%3D{destination}",
        served.collection("")
    );
    // Only the metadata of kinds without status: a Secret's content has no business here.
    let form = if served.has_status {
        "application/json"
    } else {
        "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
    };
    let list_form = if served.has_status {
        "application/json"
    } else {
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
    };
    let mut from: Option<String> = None;
    loop {
        let round = match from.take() {
            None => list(&client, &collection, list_form, &key, &tell)
                .await
                .map(Some),
            Some(version) => follow(&client, &collection, form, version, &key, &tell).await,
        };
        if tell.is_closed() {
            return;
        }
        match round {
            Ok(version) => from = version,
            Err(error) => {
                // A kind whose CRD went away answers 404: keep looking, it may come back.
                tracing::debug!(%error, kind = %key, "cannot watch the edge; trying again");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Lists everything and returns the version to watch from.
async fn list(
    client: &Client,
    collection: &str,
    form: &'static str,
    key: &str,
    tell: &mpsc::Sender<(String, Sight)>,
) -> Result<String, ClientError> {
    let mut names = Vec::new();
    let mut rest = String::new();
    loop {
        let mut path = format!("{collection}&limit={PAGE}");
        if !rest.is_empty() {
            path.push_str(&format!("&continue={rest}"));
        }
        let answer = client
            .request(Request::new(Method::GET, path.clone()).accept(form))
            .await?;
        if !answer.code.is_success() {
            // Have the client make the error out of the Status.
            client.get(&path).await?;
        }
        let text = std::str::from_utf8(&answer.body).map_err(|e| unexpected(client, &e))?;
        let page: List<'_> = serde_json::from_str(text).map_err(|e| unexpected(client, &e))?;
        for item in page.items {
            let seen = Seen::parse(item.get()).map_err(|e| unexpected(client, &e))?;
            names.push((seen.namespace.clone(), seen.name.clone()));
            let _ = tell.send((key.to_owned(), Sight::Seen(seen))).await;
        }
        rest = page.metadata.rest;
        if rest.is_empty() {
            let _ = tell.send((key.to_owned(), Sight::Listed(names))).await;
            return Ok(page.metadata.resource_version);
        }
    }
}

/// Follows a watch to its end. Returns where to go on, or `None` when a new list is needed.
async fn follow(
    client: &Client,
    collection: &str,
    form: &'static str,
    mut version: String,
    key: &str,
    tell: &mpsc::Sender<(String, Sight)>,
) -> Result<Option<String>, ClientError> {
    let path = format!(
        "{collection}&watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}"
    );
    let mut lines = match client
        .lines(Request::new(Method::GET, path).accept(form))
        .await
    {
        Err(error) if error.is_gone() => return Ok(None),
        lines => lines?,
    };
    while let Some(line) = lines.next().await? {
        let text = std::str::from_utf8(&line).map_err(|e| unexpected(client, &e))?;
        let event: Event<'_> = serde_json::from_str(text).map_err(|e| unexpected(client, &e))?;
        if event.kind == "ERROR" {
            return Ok(None);
        }
        if event.kind == "BOOKMARK" {
            if let Ok(mark) = serde_json::from_str::<Bookmark>(event.object.get()) {
                version = mark.metadata.resource_version;
            }
            continue;
        }
        let seen = Seen::parse(event.object.get()).map_err(|e| unexpected(client, &e))?;
        version.clone_from(&seen.resource_version);
        let sight = if event.kind == "DELETED" {
            Sight::Gone(seen.namespace, seen.name)
        } else {
            Sight::Seen(seen)
        };
        if tell.send((key.to_owned(), sight)).await.is_err() {
            return Ok(None);
        }
    }
    Ok(Some(version))
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMetadata {
    resource_version: String,
}

fn unexpected(client: &Client, error: &dyn std::error::Error) -> ClientError {
    ClientError::Answer {
        server: client.origin().to_owned(),
        why: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_what_reports_and_healing_need() {
        let json = r#"{"metadata":{"name":"w","namespace":"s","uid":"u","generation":4,"resourceVersion":"9","labels":{"a":"b"}},
            "spec":{},"status":{"observedGeneration":3,"replicas":1}}"#;
        let seen = Seen::parse(json).unwrap();
        assert_eq!(
            (seen.generation, seen.observed_generation, seen.deleting),
            (4, Some(3), false)
        );
        assert_eq!(
            &seen.status[..],
            br#"{"observedGeneration":3,"replicas":1}"#
        );
        let relabelled = Seen::parse(&json.replace("\"b\"", "\"c\"")).unwrap();
        assert_ne!(seen.metadata, relabelled.metadata);
        assert!(
            Seen::parse(
                r#"{"metadata":{"name":"w","uid":"u","deletionTimestamp":"2026-01-01T00:00:00Z"}}"#
            )
            .unwrap()
            .deleting
        );
    }
}
