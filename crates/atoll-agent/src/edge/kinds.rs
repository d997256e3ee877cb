//! Which kinds the edge serves, and where: its discovery, asked for when a kind is needed that is not known yet.

use std::{collections::HashMap, time::Duration, time::Instant};

use atoll_client::{Client, ClientError};
use atoll_wire::ObjectRef;
use serde_json::Value;
use tokio::sync::Mutex;

/// Ask the edge again for a kind it did not serve at most this often.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// A kind as the edge serves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The path up to the version: `/api/v1` or `/apis/apps/v1`.
    pub root: String,
    /// Plural name.
    pub resource: String,
    /// Whether it lives in namespaces.
    pub namespaced: bool,
    /// Whether objects have a status of their own.
    pub has_status: bool,
    /// `group/version`, as in `apiVersion`.
    pub api_version: String,
}

impl Served {
    /// The path of one object.
    pub fn object(&self, namespace: &str, name: &str) -> String {
        format!("{}/{name}", self.collection(namespace))
    }

    /// The path of all objects of a namespace (or of the cluster).
    pub fn collection(&self, namespace: &str) -> String {
        match self.namespaced && !namespace.is_empty() {
            true => format!("{}/namespaces/{namespace}/{}", self.root, self.resource),
            false => format!("{}/{}", self.root, self.resource),
        }
    }
}

#[derive(Default)]
struct Group {
    /// By version and kind, most preferred version first.
    versions: Vec<(String, HashMap<String, Served>)>,
}

/// The edge's kinds.
#[derive(Default)]
pub struct Kinds {
    groups: Mutex<HashMap<String, (Instant, Group)>>,
}

impl Kinds {
    /// Where `object`'s kind is served: at its own version when possible, else at the one the edge prefers. `None` when it is not served.
    pub async fn find(
        &self,
        client: &Client,
        object: &ObjectRef,
    ) -> Result<Option<Served>, ClientError> {
        let mut groups = self.groups.lock().await;
        if let Some((asked, group)) = groups.get(&object.group) {
            let found = group.served(object);
            if found.is_some() || asked.elapsed() < ASK_AGAIN {
                return Ok(found);
            }
        }
        let group = ask(client, &object.group).await?;
        let found = group.served(object);
        groups.insert(object.group.clone(), (Instant::now(), group));
        Ok(found)
    }

    /// The groups of the edge.
    pub async fn groups(client: &Client) -> Result<Vec<String>, ClientError> {
        let mut names = vec![String::new()];
        let list = client.get("/apis").await?;
        let groups = list["groups"].as_array().into_iter().flatten();
        names.extend(groups.filter_map(|g| g["name"].as_str()).map(str::to_owned));
        Ok(names)
    }

    /// The kinds of a group at the version that the edge prefers: version, kind, and where.
    pub async fn preferred(
        client: &Client,
        group: &str,
    ) -> Result<Vec<(String, String, Served)>, ClientError> {
        let group = ask(client, group).await?;
        let Some((version, kinds)) = group.versions.into_iter().next() else {
            return Ok(Vec::new());
        };
        let named = kinds.into_iter();
        Ok(named
            .map(|(kind, served)| (version.clone(), kind, served))
            .collect())
    }

    /// Every kind of the edge that can be listed in a namespace.
    pub async fn all_namespaced(&self, client: &Client) -> Result<Vec<Served>, ClientError> {
        let mut all = Vec::new();
        for name in Self::groups(client).await? {
            let group = ask(client, &name).await?;
            if let Some((_, kinds)) = group.versions.into_iter().next() {
                all.extend(kinds.into_values().filter(|served| served.namespaced));
            }
        }
        Ok(all)
    }
}

impl Group {
    fn served(&self, object: &ObjectRef) -> Option<Served> {
        let own = self
            .versions
            .iter()
            .find(|(version, _)| *version == object.version);
        own.into_iter()
            .chain(&self.versions)
            .find_map(|(_, kinds)| kinds.get(&object.kind))
            .cloned()
    }
}

/// Asks for one group. A group that is not there has no versions.
async fn ask(client: &Client, group: &str) -> Result<Group, ClientError> {
    let versions: Vec<String> = if group.is_empty() {
        vec!["v1".into()]
    } else {
        let Some(answer) = client.find(&format!("/apis/{group}")).await? else {
            return Ok(Group::default());
        };
        answer["versions"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|v| v["version"].as_str())
            .map(str::to_owned)
            .collect()
    };
    let mut found = Group::default();
    for version in versions {
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        if let Some(list) = client.find(&root).await? {
            let api_version = if group.is_empty() {
                version.clone()
            } else {
                format!("{group}/{version}")
            };
            found
                .versions
                .push((version, kinds(&list, &root, &api_version)));
        }
    }
    Ok(found)
}

/// The kinds in an APIResourceList that can be listed and written.
fn kinds(list: &Value, root: &str, api_version: &str) -> HashMap<String, Served> {
    let resources = list["resources"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let name = |r: &Value| r["name"].as_str().unwrap_or_default().to_owned();
    let with_status: Vec<String> = resources
        .iter()
        .filter_map(|r| name(r).strip_suffix("/status").map(str::to_owned))
        .collect();
    resources
        .iter()
        .filter(|r| {
            !name(r).contains('/')
                && r["verbs"]
                    .as_array()
                    .is_some_and(|v| v.iter().any(|v| v == "list"))
        })
        .filter_map(|r| {
            let resource = name(r);
            let has_status = with_status.contains(&resource);
            let namespaced = r["namespaced"].as_bool().unwrap_or(false);
            let served = Served {
                root: root.to_owned(),
                resource,
                namespaced,
                has_status,
                api_version: api_version.to_owned(),
            };
            Some((r["kind"].as_str()?.to_owned(), served))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_a_resource_list() {
        let list = json!({"resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": true, "verbs": ["get", "list"]},
            {"name": "deployments/status", "kind": "Deployment", "namespaced": true, "verbs": ["get"]},
            {"name": "reviews", "kind": "Review", "namespaced": false, "verbs": ["create"]}]});
        let kinds = kinds(&list, "/apis/apps/v1", "apps/v1");
        assert_eq!(kinds.len(), 1);
        let served = &kinds["Deployment"];
        assert!(served.has_status);
        assert_eq!(
            served.object("shop", "web"),
            "/apis/apps/v1/namespaces/shop/deployments/web"
        );
    }
}
