//! SubjectAccessReview, LocalSubjectAccessReview and SelfSubjectAccessReview: the authorizer, asked in words.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use atoll_kube::{FieldError, GroupKind, GroupResource, Status, UserInfo};
use atoll_registry::{Attributes, Call, Registry, Virtual};
use serde_json::{Value, json};

use super::AUTHORIZATION;
use crate::access::Verdict;
use crate::shared::Workspaces;

pub(crate) struct AccessReviews(pub(crate) Workspaces);

const SELF: &str = "selfsubjectaccessreviews";
const LOCAL: &str = "localsubjectaccessreviews";
const ANY: &str = "subjectaccessreviews";

#[async_trait]
impl Virtual for AccessReviews {
    fn resources(&self) -> Vec<(GroupResource, Option<String>)> {
        [SELF, LOCAL, ANY]
            .map(|resource| (GroupResource::new(AUTHORIZATION, resource), None))
            .into()
    }

    async fn create(&self, _: &Registry, call: &Call, mut object: Value) -> Result<Value, Status> {
        let resource = call.resource.resource.as_str();
        let spec = object.get("spec").cloned().unwrap_or(Value::Null);
        let user = if resource == SELF {
            call.user.clone()
        } else {
            Arc::new(subject(&spec))
        };
        let asked = attributes(&spec, user, call, resource)?;
        object["status"] = match self.0.access.decide(&asked) {
            Verdict::Allowed(why) => {
                json!({"allowed": true, "reason": format!("RBAC: allowed by {why}")})
            }
            Verdict::Denied(why) => json!({"allowed": false, "denied": true, "reason": why}),
            Verdict::NoOpinion(why) => json!({"allowed": false, "reason": why}),
        };
        Ok(object)
    }
}

fn attributes(
    spec: &Value,
    user: Arc<UserInfo>,
    call: &Call,
    resource: &str,
) -> Result<Attributes, Status> {
    let about = |pointer: &str| spec.pointer(pointer).filter(|value| value.is_object());
    let mut errors = Vec::new();
    let (object, path) = (
        about("/resourceAttributes"),
        about("/nonResourceAttributes"),
    );
    if object.is_some() == path.is_some() {
        let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(FieldError::invalid(
            "spec.resourceAttributes",
            object.cloned().unwrap_or(Value::Null),
            detail,
        ));
    }
    if resource != SELF && user.username.is_empty() && user.groups.is_empty() {
        errors.push(FieldError::invalid(
            "spec.user",
            "",
            "at least one of user or group must be specified",
        ));
    }
    let text = |value: Option<&Value>, field: &str| {
        value
            .and_then(|v| v.get(field))
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let namespace = text(object, "namespace");
    if resource == LOCAL {
        let own = call.namespace.as_deref().unwrap_or("");
        if namespace != own {
            let detail = format!("must match metadata.namespace: {own}");
            errors.push(FieldError::invalid(
                "spec.resourceAttributes.namespace",
                namespace.clone(),
                detail,
            ));
        }
        if path.is_some() {
            errors.push(FieldError::invalid(
                "spec.nonResourceAttributes",
                Value::Null,
                "disallowed on this kind of request",
            ));
        }
    }
    if !errors.is_empty() {
        let kind = match resource {
            SELF => "SelfSubjectAccessReview",
            LOCAL => "LocalSubjectAccessReview",
            _ => "SubjectAccessReview",
        };
        return Err(Status::invalid(
            &GroupKind::new(AUTHORIZATION, kind),
            "",
            &errors,
        ));
    }
    let optional = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(Attributes {
        user,
        verb: text(object.or(path), "verb"),
        clusters: call.clusters.clone(),
        group: text(object, "group"),
        version: text(object, "version"),
        resource: text(object, "resource"),
        subresource: optional(text(object, "subresource")),
        namespace: optional(namespace),
        name: optional(text(object, "name")),
        path: path.map(|path| text(Some(path), "path")),
    })
}

fn subject(spec: &Value) -> UserInfo {
    let strings = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    let text = |field: &str| {
        spec.get(field)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let extra: BTreeMap<String, Vec<String>> = spec
        .get("extra")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        // Kubernetes' own server sees these keys in lower case, whoever sends them.
        .map(|(key, list)| (key.to_lowercase(), strings(list)))
        .collect();
    UserInfo {
        username: text("user"),
        uid: text("uid"),
        groups: spec.get("groups").map(strings).unwrap_or_default(),
        extra,
    }
}
