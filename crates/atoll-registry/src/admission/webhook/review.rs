//! AdmissionReview: what a webhook is sent, and what its answer means. Pure.

use atoll_kube::{Status, StatusDetails, status::Reason};
use base64::Engine as _;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::admission::request::Request;

/// A question to a webhook.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) uid: String,
    version: &'static str,
    /// The object as it was sent, which a patch is about.
    pub(super) object: Value,
    pub(super) body: Bytes,
}

/// A webhook's answer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Said {
    pub(super) allowed: bool,
    pub(super) patch: Option<Value>,
    pub(super) warnings: Vec<String>,
    result: Value,
}

const VERSIONS: [(&str, &str); 2] = [
    ("v1", "admission.k8s.io/v1"),
    ("v1beta1", "admission.k8s.io/v1beta1"),
];

/// The review of a request, in the first version that the webhook takes and we know.
pub(super) fn review(request: &Request<'_>, version: &str, takes: &[String]) -> Asked {
    let known = |wanted: &String| VERSIONS.iter().find(|(short, _)| short == wanted);
    let (_, api_version) = *takes.iter().find_map(known).unwrap_or(&VERSIONS[0]);
    let uid = request.registry.new_uid();
    let shown =
        |object: Option<&Value>| object.map_or(Value::Null, |o| request.at_version(o, version));
    let mut described = request.describe(version);
    let object = shown(request.object);
    described["uid"] = uid.as_str().into();
    described["oldObject"] = shown(request.old);
    described["object"] = object.clone();
    let body = json!({"kind": "AdmissionReview", "apiVersion": api_version, "request": described});
    Asked {
        uid,
        version: api_version,
        object,
        body: body.to_string().into(),
    }
}

/// Reads an answer. Errors are upstream's words.
pub(super) fn read(code: u16, body: &[u8], asked: &Asked, mutating: bool) -> Result<Said, String> {
    let invalid = |why: &str| format!("received invalid webhook response: {why}");
    if !(200..300).contains(&code) {
        return Err(
            "failed to call webhook: the server rejected our request for an unknown reason"
                .to_owned(),
        );
    }
    let review: Value = serde_json::from_slice(body)
        .map_err(|e| format!("failed to call webhook: couldn't decode the answer: {e}"))?;
    let response = review
        .get("response")
        .filter(|r| r.is_object())
        .ok_or_else(|| invalid("webhook response was absent"))?;
    let text = |name: &str| response.get(name).and_then(Value::as_str);
    let strict = asked.version == VERSIONS[0].1;
    if strict {
        let uid = text("uid").unwrap_or_default();
        if uid != asked.uid {
            return Err(invalid(&format!(
                "expected response.uid={:?}, got {uid:?}",
                asked.uid
            )));
        }
        let field = |name: &str| review.get(name).and_then(Value::as_str).unwrap_or_default();
        let (is, kind) = (field("apiVersion"), field("kind"));
        if is != asked.version || kind != "AdmissionReview" {
            return Err(invalid(&format!(
                "expected webhook response of {}, Kind=AdmissionReview, got {is}, Kind={kind}",
                asked.version
            )));
        }
    }
    let (patch, patch_type) = (text("patch").filter(|p| !p.is_empty()), text("patchType"));
    let patch = match (patch, patch_type) {
        _ if !mutating && strict && patch.is_some() => {
            return Err(invalid("validating webhook may not return response.patch"));
        }
        _ if !mutating && strict && patch_type.is_some() => {
            return Err(invalid(
                "validating webhook may not return response.patchType",
            ));
        }
        (None, Some(_)) if strict => {
            return Err(invalid(
                "webhook returned response.patchType but not response.patch",
            ));
        }
        (Some(_), None) if strict => {
            return Err(invalid(
                "webhook returned response.patch but not response.patchType",
            ));
        }
        (Some(_), Some(other)) if strict && other != "JSONPatch" => {
            return Err(format!("unsupported patch type {other:?}"));
        }
        (Some(patch), _) if mutating => Some(decode(patch)?),
        _ => None,
    };
    let warnings = response.get("warnings").and_then(Value::as_array);
    Ok(Said {
        allowed: response.get("allowed") == Some(&Value::Bool(true)),
        patch: patch.filter(|p| p.as_array().is_none_or(|ops| !ops.is_empty())),
        warnings: warnings
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(short)
            .collect(),
        result: response.get("status").cloned().unwrap_or_default(),
    })
}

/// Warnings are for a header: long ones are cut.
fn short(warning: &str) -> String {
    warning
        .chars()
        .filter(|c| !c.is_control())
        .take(256)
        .collect()
}

fn decode(patch: &str) -> Result<Value, String> {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(patch)
        .map_err(|e| format!("received undecodable patch in webhook response: {e}"))?;
    serde_json::from_slice(&bytes)
        .map_err(|e| format!("received undecodable patch in webhook response: {e}"))
}

/// What a client is told when a webhook says no.
pub(super) fn refusal(name: &str, said: Said) -> Status {
    let text = |field: &str| {
        said.result
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let by = format!("admission webhook \"{name}\" denied the request");
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    let code = said.result.get("code").and_then(Value::as_u64).unwrap_or(0);
    let code = u16::try_from(code).ok().filter(|c| (400..600).contains(c));
    let reason = Reason::parse(text("reason"));
    let mut status = Status::new(code.unwrap_or(400), reason, message);
    let details = said.result.get("details").filter(|d| d.is_object());
    if let Some(details) =
        details.and_then(|d| serde_json::from_value::<StatusDetails>(d.clone()).ok())
    {
        status = status.with_details(details);
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: &'static str) -> Asked {
        Asked {
            uid: "u".into(),
            version,
            object: Value::Null,
            body: Bytes::new(),
        }
    }

    fn read_v1(response: Value, mutating: bool) -> Result<Said, String> {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        read(
            200,
            review.to_string().as_bytes(),
            &asked("admission.k8s.io/v1"),
            mutating,
        )
    }

    #[test]
    fn answers_that_are_none_are_named() {
        let patch = base64::engine::general_purpose::STANDARD
            .encode(r#"[{"op":"add","path":"/a","value":1}]"#);
        for (response, mutating, why) in [
            (json!(null), false, "webhook response was absent"),
            (
                json!({"uid": "x"}),
                false,
                "expected response.uid=\"u\", got \"x\"",
            ),
            (
                json!({"uid": "u", "patch": patch}),
                false,
                "validating webhook may not return response.patch",
            ),
            (
                json!({"uid": "u", "patchType": "JSONPatch"}),
                false,
                "validating webhook may not return response.patchType",
            ),
            (
                json!({"uid": "u", "patch": patch}),
                true,
                "webhook returned response.patch but not response.patchType",
            ),
            (
                json!({"uid": "u", "patchType": "JSONPatch"}),
                true,
                "webhook returned response.patchType but not response.patch",
            ),
            (
                json!({"uid": "u", "patch": patch, "patchType": "Merge"}),
                true,
                "unsupported patch type \"Merge\"",
            ),
            (
                json!({"uid": "u", "patch": "!", "patchType": "JSONPatch"}),
                true,
                "received undecodable patch in webhook response",
            ),
        ] {
            let error = read_v1(response, mutating).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let said = read_v1(json!({"uid": "u", "allowed": true, "patch": patch, "patchType": "JSONPatch", "warnings": ["a\nb"]}), true).unwrap();
        assert_eq!(
            said.patch,
            Some(json!([{"op": "add", "path": "/a", "value": 1}]))
        );
        assert_eq!(said.warnings, ["ab"]);
        assert!(said.allowed);
    }

    #[test]
    fn refusals_say_who_refused() {
        for (result, code, message) in [
            (
                json!(null),
                400,
                "admission webhook \"w\" denied the request without explanation",
            ),
            (
                json!({"code": 200, "message": "no"}),
                400,
                "admission webhook \"w\" denied the request: no",
            ),
            (
                json!({"code": 403, "reason": "Forbidden"}),
                403,
                "admission webhook \"w\" denied the request: Forbidden",
            ),
        ] {
            let status = refusal(
                "w",
                Said {
                    result,
                    ..Said::default()
                },
            );
            assert_eq!((status.code, &*status.message), (code, message));
        }
    }
}
