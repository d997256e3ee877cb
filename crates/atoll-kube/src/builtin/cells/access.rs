//! Who may do what: bindings, certificate requests, admission, flow control.

use serde_json::{Value, json};

use super::text::{NONE, count, duration, integer, list, string, string_or};

pub(super) fn cell(kind: &str, heading: &str, o: &Value) -> Option<Value> {
    Some(match (kind, heading) {
        ("RoleBinding" | "ClusterRoleBinding", "Role") => format!(
            "{}/{}",
            string(o, "/roleRef/kind"),
            string(o, "/roleRef/name")
        )
        .into(),
        (_, "Users") => subjects(o, "User"),
        (_, "Groups") => subjects(o, "Group"),
        (_, "ServiceAccounts") => subjects(o, "ServiceAccount"),
        ("CertificateSigningRequest", _) => return signing_request(heading, o),
        (_, "Webhooks") => count(o, "/webhooks").into(),
        (_, "Validations") => count(o, "/spec/validations").into(),
        (_, "Mutations") => count(o, "/spec/mutations").into(),
        (_, "ParamKind") => match o.pointer("/spec/paramKind") {
            Some(p) => format!("{}/{}", string(p, "/apiVersion"), string(p, "/kind")).into(),
            None => "<unset>".into(),
        },
        (_, "PolicyName") => json!(string(o, "/spec/policyName")),
        (_, "ParamRef") => match o.pointer("/spec/paramRef") {
            Some(p) => {
                let name = string(p, "/name");
                match (name, string(p, "/namespace")) {
                    ("", _) => "<unset>".into(),
                    (name, "") => format!("*/{name}").into(),
                    (name, namespace) => format!("{namespace}/{name}").into(),
                }
            }
            None => "<unset>".into(),
        },
        ("FlowSchema", _) => return flow_schema(heading, o),
        ("PriorityLevelConfiguration", _) => return priority_level(heading, o),
        _ => return None,
    })
}

fn subjects(o: &Value, kind: &str) -> Value {
    let all = list(o, "/subjects").iter().filter(|s| s["kind"] == kind);
    let all = all.map(|s| {
        let name = string(s, "/name");
        match kind {
            "ServiceAccount" => format!("{}/{name}", string(s, "/namespace")),
            _ => name.to_owned(),
        }
    });
    all.collect::<Vec<_>>().join(", ").into()
}

fn signing_request(heading: &str, o: &Value) -> Option<Value> {
    Some(match heading {
        "SignerName" => string_or(o, "/spec/signerName", NONE),
        "Requestor" => json!(string(o, "/spec/username")),
        "RequestedDuration" => match integer(o, "/spec/expirationSeconds") {
            0 => NONE.into(),
            seconds => duration(seconds * 1000).into(),
        },
        "Condition" => {
            let conditions = list(o, "/status/conditions");
            let has = |ty: &str| conditions.iter().any(|c| c["type"] == ty);
            // A request is approved until it is denied, and may have failed besides.
            let mut words = vec![match (has("Denied"), has("Approved")) {
                (true, _) => "Denied",
                (false, true) => "Approved",
                _ => "Pending",
            }];
            if has("Failed") {
                words.push("Failed");
            }
            if !string(o, "/status/certificate").is_empty() {
                words.push("Issued");
            }
            words.join(",").into()
        }
        _ => return None,
    })
}

fn flow_schema(heading: &str, o: &Value) -> Option<Value> {
    Some(match heading {
        "PriorityLevel" => json!(string(o, "/spec/priorityLevelConfiguration/name")),
        "MatchingPrecedence" => integer(o, "/spec/matchingPrecedence").into(),
        "DistinguisherMethod" => string_or(o, "/spec/distinguisherMethod/type", NONE),
        "MissingPL" => match super::text::condition(o, "Dangling") {
            "" => "?".into(),
            status => status.into(),
        },
        _ => return None,
    })
}

fn priority_level(heading: &str, o: &Value) -> Option<Value> {
    let number = |pointer: &str| match o.pointer(pointer) {
        Some(n) => n.clone(),
        None => NONE.into(),
    };
    let queuing = |field: &str| {
        let pointer = format!("/spec/limited/limitResponse/queuing/{field}");
        number(&pointer)
    };
    Some(match heading {
        "Type" => json!(string(o, "/spec/type")),
        "NominalConcurrencyShares" => number("/spec/limited/nominalConcurrencyShares"),
        "Queues" => queuing("queues"),
        "HandSize" => queuing("handSize"),
        "QueueLengthLimit" => queuing("queueLengthLimit"),
        _ => return None,
    })
}
