//! Taking one copy away, when a tombstone named it: only the very object on record, never what was adopted, never a Namespace or a CRD that holds anything else.

use atoll_client::Patch;
use atoll_wire::{ErrorKind, ObjectRef, RemovalMode, TombstoneOutcome};
use serde_json::{Value, json};

use super::{Edge, LABEL, MANAGER, Refusal};
use crate::{plan, state::Copy};

impl Edge {
    /// One attempt. `Ok` when it has ended; a refusal says what it waits for.
    pub async fn remove(&self, copy: &Copy) -> Result<TombstoneOutcome, Refusal> {
        let Some(object) = &copy.item.object else {
            return Ok(TombstoneOutcome::Absent);
        };
        let Some(owned) = &copy.owned else {
            return Ok(TombstoneOutcome::Absent);
        };
        // A kind that is served no more has no objects.
        let served = match self.served(object).await {
            Err(refusal) if refusal.error == ErrorKind::KindNotServed => {
                return Ok(TombstoneOutcome::Removed);
            }
            other => other?,
        };
        let path = served.object(&object.namespace, &object.name);
        let Some(live) = self.client.find(&path).await? else {
            return Ok(TombstoneOutcome::Removed);
        };
        let uid = live
            .pointer("/metadata/uid")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let labelled = live
            .pointer("/metadata/labels")
            .and_then(|l| l.get(LABEL))
            .is_some_and(|l| l == &*self.destination);
        let ours = owned.edge_uid == uid || (owned.edge_uid.is_empty() && labelled);
        if !ours {
            return Ok(TombstoneOutcome::Orphaned);
        }
        if copy.removal != Some(RemovalMode::Remove) || owned.adopted || copy.item.implicit {
            if labelled {
                let unlabel = json!({"metadata": {"uid": uid, "labels": {LABEL: null}}});
                self.client
                    .patch(
                        &format!("{path}?fieldManager={MANAGER}"),
                        Patch::Merge,
                        &unlabel,
                    )
                    .await?;
            }
            return Ok(TombstoneOutcome::Orphaned);
        }
        if live.pointer("/metadata/deletionTimestamp").is_none() {
            self.refuse_if_not_empty(object).await?;
            let only_this =
                json!({"preconditions": {"uid": uid}, "propagationPolicy": "Background"});
            match self.client.delete(&path, Some(&only_this)).await {
                Err(error) if error.is_not_found() => return Ok(TombstoneOutcome::Removed),
                answer => drop(answer?),
            }
            if self.client.find(&path).await?.is_none() {
                return Ok(TombstoneOutcome::Removed);
            }
        }
        let finalizers = live
            .pointer("/metadata/finalizers")
            .map(Value::to_string)
            .unwrap_or_else(|| "its content".into());
        Err(Refusal::new(
            ErrorKind::Terminating,
            format!("is being deleted, waiting for {finalizers}"),
        ))
    }

    /// A Namespace or a CRD is removed only when nothing is left in it but what Kubernetes itself puts there.
    async fn refuse_if_not_empty(&self, object: &ObjectRef) -> Result<(), Refusal> {
        let mut left = Vec::new();
        if plan::is_namespace(object) {
            for served in self.kinds.all_namespaced(&self.client).await? {
                let list = self
                    .client
                    .get(&format!("{}?limit=500", served.collection(&object.name)))
                    .await?;
                left.extend(strangers(&list, &served.resource));
            }
        } else if plan::is_definition(object)
            && let Some((resource, group)) = object.name.split_once('.')
        {
            let definition = self
                .client
                .get(&format!(
                    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{}",
                    object.name
                ))
                .await?;
            let served = definition
                .pointer("/spec/versions")
                .and_then(Value::as_array);
            let version = served
                .into_iter()
                .flatten()
                .find(|v| v["served"] == true)
                .and_then(|v| v["name"].as_str());
            if let Some(version) = version {
                let list = self
                    .client
                    .get(&format!("/apis/{group}/{version}/{resource}?limit=10"))
                    .await?;
                left.extend(strangers(&list, resource));
            }
        }
        match left.is_empty() {
            true => Ok(()),
            false => {
                left.truncate(3);
                Err(Refusal::new(
                    ErrorKind::NotEmpty,
                    format!(
                        "still holds {} and stays until that is gone",
                        left.join(", ")
                    ),
                ))
            }
        }
    }
}

/// What in a list is neither Kubernetes' own furniture nor a child of something else.
fn strangers(list: &Value, resource: &str) -> Vec<String> {
    let items = list["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let furniture = |item: &Value, name: &str| match resource {
        "events" | "endpoints" | "endpointslices" => true,
        "configmaps" => name == "kube-root-ca.crt",
        "serviceaccounts" => name == "default",
        "secrets" => item["type"] == "kubernetes.io/service-account-token",
        _ => false,
    };
    items
        .iter()
        .filter(|item| item.pointer("/metadata/ownerReferences").is_none())
        .filter_map(|item| {
            let name = item.pointer("/metadata/name").and_then(Value::as_str)?;
            (!furniture(item, name)).then(|| format!("{resource}/{name}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn furniture_and_children_do_not_hold_a_namespace() {
        let list = json!({"items": [
            {"metadata": {"name": "kube-root-ca.crt"}},
            {"metadata": {"name": "mine"}},
            {"metadata": {"name": "child", "ownerReferences": [{"name": "x"}]}}]});
        assert_eq!(strangers(&list, "configmaps"), ["configmaps/mine"]);
        assert_eq!(strangers(&list, "events"), Vec::<String>::new());
    }
}
