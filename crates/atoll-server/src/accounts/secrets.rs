//! Tokens that live in Secrets (`kubernetes.io/service-account-token`): filled in when the Secret is written, without an end, revoked with it.

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status, meta};
use atoll_registry::{Hook, Operation, Registry, Review};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use super::claims::Claims;
use super::{Accounts, bound, find, internal};

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// The token in a Secret.
pub(super) fn token_of(secret: &Value) -> Option<String> {
    let encoded = secret.pointer("/data/token")?.as_str()?;
    String::from_utf8(BASE64.decode(encoded).ok()?).ok()
}

#[async_trait]
impl Hook for Accounts {
    fn resources(&self) -> Vec<GroupResource> {
        vec![GroupResource::new("", "secrets")]
    }

    async fn admit(&self, _: &Registry, review: &mut Review<'_>) -> Result<(), Status> {
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        let is_token = review.object.get("type").and_then(Value::as_str) == Some(TYPE);
        if !written || !is_token || !review.kind.acts() || token_of(review.object).is_some() {
            return Ok(());
        }
        let name = meta::annotation(review.object, ACCOUNT).unwrap_or_default();
        let namespace = meta::namespace(review.object).to_owned();
        let cluster = review.cluster.as_str();
        let Some(account) = find(
            &**review.snapshot,
            cluster,
            "serviceaccounts",
            &namespace,
            name,
        ) else {
            return Ok(());
        };
        let claims = Claims {
            cluster: cluster.to_owned(),
            namespace: namespace.clone(),
            account: bound(&account),
            secret: Some(meta::name(review.object).to_owned()),
            ..Claims::default()
        };
        let token = self.signer.sign(&claims).map_err(internal)?;
        meta::set_annotation(review.object, ACCOUNT_UID, meta::uid(&account));
        if !review.object["data"].is_object() {
            review.object["data"] = serde_json::json!({});
        }
        review.object["data"]["token"] = BASE64.encode(token).into();
        review.object["data"]["namespace"] = BASE64.encode(namespace).into();
        Ok(())
    }
}
