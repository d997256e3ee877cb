//! The constructors of [`Status`], one per thing that can go wrong, in Kubernetes' words.

use std::borrow::Cow;
use std::fmt::Display;

use super::{FieldError, Reason, Status, StatusCause, StatusDetails, aggregate, quote};
use crate::ids::{GroupKind, GroupResource};

impl Status {
    /// A Status of nothing but code, reason and message.
    pub fn new(code: u16, reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            details: None,
            continue_token: None,
        }
    }

    fn about(self, group: &str, kind: &str, name: &str) -> Self {
        self.with_details(StatusDetails {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            ..StatusDetails::default()
        })
    }

    /// The same, saying what it is about.
    #[must_use]
    pub fn with_details(mut self, details: StatusDetails) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The answer to a delete that is complete: code 200, with what was deleted.
    pub fn success(resource: &GroupResource, name: &str, uid: &str) -> Self {
        Self::new(200, Reason::Unknown, "").with_details(StatusDetails {
            name: name.to_owned(),
            group: resource.group.clone(),
            kind: resource.resource.clone(),
            uid: uid.to_owned(),
            ..StatusDetails::default()
        })
    }

    /// 404: no such object.
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::new(
            404,
            Reason::NotFound,
            format!("{resource} {} not found", quote(name)),
        )
        .about(&resource.group, &resource.resource, name)
    }

    /// 404: nothing is served at this path.
    pub fn no_such_path() -> Self {
        Self::new(
            404,
            Reason::NotFound,
            "the server could not find the requested resource",
        )
        .with_details(StatusDetails::default())
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::new(
            409,
            Reason::AlreadyExists,
            format!("{resource} {} already exists", quote(name)),
        )
        .about(&resource.group, &resource.resource, name)
    }

    /// 409: every name made from `generateName` was taken.
    pub fn generate_name_conflict(
        resource: &GroupResource,
        name: &str,
        retry_after_seconds: u32,
    ) -> Self {
        Self::new(
            409,
            Reason::AlreadyExists,
            format!(
                "{resource} {} already exists, the server was not able to generate a unique name for the object",
                quote(name)
            ),
        )
        .about(&resource.group, &resource.resource, name)
        .retry_after(retry_after_seconds)
    }

    /// 409: the object is not in the state the request assumed.
    pub fn conflict(resource: &GroupResource, name: &str, why: impl Display) -> Self {
        Self::new(
            409,
            Reason::Conflict,
            format!(
                "Operation cannot be fulfilled on {resource} {}: {why}",
                quote(name)
            ),
        )
        .about(&resource.group, &resource.resource, name)
    }

    /// 409: the object changed since the client read it.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409: server-side apply would take fields from other managers.
    pub fn apply_conflict(causes: Vec<StatusCause>, message: impl Into<String>) -> Self {
        Self::new(409, Reason::Conflict, message.into()).with_details(StatusDetails {
            causes,
            ..StatusDetails::default()
        })
    }

    /// 422: the object's fields break rules, each with its path.
    pub fn invalid(kind: &GroupKind, name: &str, errors: &[FieldError]) -> Self {
        let causes = errors
            .iter()
            .map(|e| StatusCause {
                reason: e.kind.reason().to_owned(),
                message: e.body(),
                field: e.field.clone(),
            })
            .collect();
        let message = if errors.is_empty() {
            format!("{kind} {} is invalid", quote(name))
        } else {
            format!("{kind} {} is invalid: {}", quote(name), aggregate(errors))
        };
        Self::new(422, Reason::Invalid, message).with_details(StatusDetails {
            name: name.to_owned(),
            group: kind.group.clone(),
            kind: kind.kind.clone(),
            causes,
            ..StatusDetails::default()
        })
    }

    /// 403: not allowed, with the reason. An empty `resource` means a path that is no resource.
    pub fn forbidden(resource: &GroupResource, name: &str, why: impl Display) -> Self {
        let message = if resource.resource.is_empty() && resource.group.is_empty() {
            format!("forbidden: {why}")
        } else if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {} is forbidden: {why}", quote(name))
        };
        Self::new(403, Reason::Forbidden, message).about(&resource.group, &resource.resource, name)
    }

    /// 401: who are you?
    pub fn unauthorized() -> Self {
        Self::new(401, Reason::Unauthorized, "Unauthorized")
    }

    /// 400: the request itself makes no sense.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(400, Reason::BadRequest, message)
    }

    /// 400: the body does not decode into `kind`; `why` names the place.
    pub fn cannot_be_handled(kind: &str, version: &str, why: impl Display) -> Self {
        Self::bad_request(format!(
            "{kind} in version {} cannot be handled as a {kind}: {why}",
            quote(version)
        ))
    }

    /// 400: the body is no object at all (not JSON, no kind, ...), where `kind` was wanted.
    pub fn unrecognized(kind: &str, why: impl Display, body: &[u8]) -> Self {
        Self::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): {why} ({})",
            summary(body)
        ))
    }

    /// 400: `fieldValidation=Strict` found unknown or repeated fields. `faults` as made by [`unknown_field`] and [`duplicate_field`].
    pub fn strict_decoding(kind: &str, version: &str, faults: &[String]) -> Self {
        Self::cannot_be_handled(
            kind,
            version,
            format_args!("strict decoding error: {}", faults.join(", ")),
        )
    }

    /// 400: the body's apiVersion and kind are not those of the path.
    pub fn wrong_kind(found: impl Display, expected: impl Display) -> Self {
        Self::bad_request(format!(
            "the object provided does not match the resource: it is {found}, expected {expected}"
        ))
    }

    /// 405: the resource exists but not for this verb.
    pub fn method_not_supported(resource: &GroupResource, action: &str) -> Self {
        Self::new(
            405,
            Reason::MethodNotAllowed,
            format!(
                "{action} is not supported on resources of kind {}",
                quote(&resource.to_string())
            ),
        )
        .about(&resource.group, &resource.resource, "")
    }

    /// 405: the path does not take this HTTP method.
    pub fn method_not_allowed() -> Self {
        Self::new(
            405,
            Reason::MethodNotAllowed,
            "the server does not allow this method on the requested resource",
        )
        .with_details(StatusDetails::default())
    }

    /// 410 with reason Gone.
    pub fn gone(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(410, Reason::Gone, message)
    }

    /// 410 with reason Expired: the history asked for is compacted.
    pub fn expired(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(410, Reason::Expired, message)
    }

    /// 410: the revision of a list is compacted.
    pub fn expired_list() -> Self {
        Self::expired("The resourceVersion for the provided list is too old.")
    }

    /// 410: the revision of a watch is compacted.
    pub fn expired_watch(requested: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {requested} ({oldest})"))
    }

    /// 410: a continue token's revision is compacted. `fresh` continues from there at a newer revision.
    pub fn expired_continue(fresh: Option<String>) -> Self {
        const TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. \
             You can start a new list without the continue parameter";
        let Some(token) = fresh else {
            return Self::expired(format!("{TOO_OLD}."));
        };
        let mut status = Self::expired(format!(
            "{TOO_OLD}, or use the continue token in this response to retrieve the remainder of the results. \
             Continuing with the provided token results in an inconsistent list - objects that were created, modified, \
             or deleted between the time the first chunk was returned and now may show up in the list."
        ));
        status.continue_token = Some(token.into_boxed_str());
        status
    }

    /// 504: a revision that has not happened yet was asked for.
    pub fn too_large_resource_version(
        requested: u64,
        current: u64,
        retry_after_seconds: u32,
    ) -> Self {
        Self::timeout(
            format!("Too large resource version: {requested}, current: {current}"),
            retry_after_seconds,
        )
        .cause("ResourceVersionTooLarge", "Too large resource version", "")
    }

    /// 504: it took too long.
    pub fn timeout(what: impl Display, retry_after_seconds: u32) -> Self {
        Self::new(504, Reason::Timeout, format!("Timeout: {what}")).retry_after(retry_after_seconds)
    }

    /// 500: this resource cannot be served just now, try again.
    pub fn server_timeout(
        resource: &GroupResource,
        operation: &str,
        retry_after_seconds: u32,
    ) -> Self {
        Self::new(
            500,
            Reason::ServerTimeout,
            format!("The {operation} operation against {resource} could not be completed at this time, please try again."),
        )
        .about(&resource.group, &resource.resource, operation)
        .retry_after(retry_after_seconds)
    }

    /// 500: our fault.
    pub fn internal(why: impl Display) -> Self {
        let why = why.to_string();
        Self::new(
            500,
            Reason::InternalError,
            format!("Internal error occurred: {why}"),
        )
        .cause("", why, "")
    }

    /// 503: not now.
    pub fn service_unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(503, Reason::ServiceUnavailable, message)
    }

    /// 429: slow down, or (evictions) a budget says no.
    pub fn too_many_requests(
        message: impl Into<Cow<'static, str>>,
        retry_after_seconds: u32,
    ) -> Self {
        Self::new(429, Reason::TooManyRequests, message).retry_after(retry_after_seconds)
    }

    /// 413: the body exceeds `limit` bytes.
    pub fn request_entity_too_large(limit: usize) -> Self {
        Self::new(
            413,
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: limit is {limit}"),
        )
    }

    /// 406: none of the asked content types can be sent.
    pub fn not_acceptable(offered: &[&str]) -> Self {
        Self::new(
            406,
            Reason::NotAcceptable,
            format!(
                "only the following media types are accepted: {}",
                offered.join(", ")
            ),
        )
    }

    /// 415: the body's content type is not understood.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        Self::new(
            415,
            Reason::UnsupportedMediaType,
            format!(
                "the body of the request was in an unknown format - accepted media types include: {}",
                accepted.join(", ")
            ),
        )
    }
}

/// `unknown field "spec.foo"`, as in warnings and strict decoding errors.
pub fn unknown_field(path: &str) -> String {
    format!("unknown field {}", quote(path))
}

/// `duplicate field "spec.foo"`, as in warnings and strict decoding errors.
pub fn duplicate_field(path: &str) -> String {
    format!("duplicate field {}", quote(path))
}

/// The first bytes of a body, for a message about it.
fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 256;
    if body.iter().take(SHOWN).all(|b| (0x09..0x7f).contains(b)) && body.len() <= SHOWN {
        return String::from_utf8_lossy(body).into_owned();
    }
    let head = String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).into_owned();
    if body.len() > SHOWN {
        format!("{head} ...")
    } else {
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_status_is_the_json_kubernetes_sends() {
        let check = |status: Status, expected: Value| {
            let sent: Value = serde_json::from_slice(&status.to_json()).unwrap();
            assert_eq!(sent, expected);
            let back: Status = serde_json::from_value(sent).unwrap();
            assert_eq!(back, status);
        };
        let deployments = GroupResource::new("apps", "deployments");
        check(
            Status::not_found(&deployments, "web"),
            json!({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"NotFound","code":404,
                "message":"deployments.apps \"web\" not found","details":{"name":"web","group":"apps","kind":"deployments"}}),
        );
        check(
            Status::too_large_resource_version(10, 5, 1),
            json!({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Timeout","code":504,
                "message":"Timeout: Too large resource version: 10, current: 5",
                "details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1}}),
        );
        check(
            Status::invalid(
                &GroupKind::new("apps", "Deployment"),
                "web",
                &[FieldError::required("spec.x", "")],
            ),
            json!({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"Invalid","code":422,
                "message":"Deployment.apps \"web\" is invalid: spec.x: Required value",
                "details":{"name":"web","group":"apps","kind":"Deployment",
                    "causes":[{"reason":"FieldValueRequired","message":"Required value","field":"spec.x"}]}}),
        );
        check(
            Status::success(&deployments, "web", "u1"),
            json!({"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":200,
                "details":{"name":"web","group":"apps","kind":"deployments","uid":"u1"}}),
        );
    }

    #[test]
    fn messages_read_as_kubernetes_writes_them() {
        let pods = GroupResource::new("", "pods");
        let check = |status: Status, code: u16, message: &str| {
            assert_eq!((status.code, status.message.as_ref()), (code, message));
        };
        check(
            Status::modified(&pods, "a"),
            409,
            "Operation cannot be fulfilled on pods \"a\": the object has been modified; please apply your changes to the latest version and try again",
        );
        check(
            Status::forbidden(&pods, "", "no"),
            403,
            "pods is forbidden: no",
        );
        check(
            Status::forbidden(&GroupResource::default(), "", "no"),
            403,
            "forbidden: no",
        );
        check(
            Status::strict_decoding(
                "Pod",
                "v1",
                &[unknown_field("spec.foo"), duplicate_field("spec.x")],
            ),
            400,
            "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"spec.foo\", duplicate field \"spec.x\"",
        );
        check(
            Status::method_not_supported(&pods, "patch"),
            405,
            "patch is not supported on resources of kind \"pods\"",
        );
        check(
            Status::expired_continue(None),
            410,
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.",
        );
        check(
            Status::request_entity_too_large(3145728),
            413,
            "Request entity too large: limit is 3145728",
        );
    }
}
