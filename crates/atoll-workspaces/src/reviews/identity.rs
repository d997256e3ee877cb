//! SelfSubjectReview and TokenReview: who somebody is.

use async_trait::async_trait;
use atoll_kube::{GroupResource, Status, UserInfo};
use atoll_registry::{Call, Registry, Virtual};
use serde_json::{Value, json};

use super::AUTHENTICATION;
use crate::shared::Workspaces;

pub(crate) struct IdentityReviews(pub(crate) Workspaces);

const SELF: &str = "selfsubjectreviews";
const TOKEN: &str = "tokenreviews";

#[async_trait]
impl Virtual for IdentityReviews {
    fn resources(&self) -> Vec<(GroupResource, Option<String>)> {
        [SELF, TOKEN]
            .map(|resource| (GroupResource::new(AUTHENTICATION, resource), None))
            .into()
    }

    async fn create(&self, _: &Registry, call: &Call, mut object: Value) -> Result<Value, Status> {
        if call.resource.resource == SELF {
            object["status"] = json!({"userInfo": shown(&call.user)});
            return Ok(object);
        }
        let token = object
            .pointer("/spec/token")
            .and_then(Value::as_str)
            .unwrap_or("");
        if token.is_empty() {
            return Err(Status::bad_request(
                "token is required for TokenReview in authentication",
            ));
        }
        let audiences = object.pointer("/spec/audiences").and_then(Value::as_array);
        let audiences: Vec<String> = audiences
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let user = match &self.0.options.authenticator {
            Some(authenticator) => authenticator.user(token, &audiences).await,
            None => None,
        };
        object["status"] = match user {
            Some((user, audiences)) => {
                json!({"authenticated": true, "user": shown(&user), "audiences": audiences})
            }
            None => json!({"authenticated": false, "error": "the token is not known here"}),
        };
        Ok(object)
    }
}

fn shown(user: &UserInfo) -> Value {
    serde_json::to_value(user).unwrap_or_default()
}
