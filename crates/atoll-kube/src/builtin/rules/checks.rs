//! Checks that no line of the table can say, by name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::quantity::Quantity;
use crate::status::{FieldError, child, index, key};

/// Adds what is wrong with the value at a path.
pub(super) type Check = fn(&str, &Value, &mut Vec<FieldError>);

/// What a ConfigMap or a Secret may hold.
const MOST_DATA: usize = 1 << 20;

pub(super) fn named(name: &str) -> Option<Check> {
    Some(match name {
        "service-ports" => service_ports,
        "resources" => resources,
        "replica-bounds" => replica_bounds,
        "claims-storage" => claims_storage,
        "config-size" => config_size,
        "secret-size" => secret_size,
        "secret-keys" => secret_keys,
        _ => return None,
    })
}

/// Several ports need names; one port and protocol is served once.
fn service_ports(path: &str, ports: &Value, errors: &mut Vec<FieldError>) {
    let ports = ports.as_array().map_or(&[][..], Vec::as_slice);
    let mut seen = Vec::new();
    for (i, port) in ports.iter().enumerate() {
        let at = index(path, i);
        if ports.len() > 1 && port["name"].as_str().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(child(&at, "name"), ""));
        }
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let served = (protocol, port["port"].as_i64().unwrap_or_default());
        if seen.contains(&served) {
            // Upstream shows its own struct.
            let shown = json!({"Name": "", "Protocol": served.0, "AppProtocol": null, "Port": served.1, "TargetPort": 0, "NodePort": 0});
            errors.push(FieldError::duplicate(at, shown));
        }
        seen.push(served);
    }
}

/// Requests within limits, neither below zero.
fn resources(path: &str, resources: &Value, errors: &mut Vec<FieldError>) {
    let of = |part: &str| resources[part].as_object().cloned().unwrap_or_default();
    let (limits, requests) = (of("limits"), of("requests"));
    for (part, amounts) in [("limits", &limits), ("requests", &requests)] {
        for (name, amount) in amounts {
            if Quantity::from_value(amount).is_ok_and(|q| q < Quantity::ZERO) {
                errors.push(FieldError::invalid(
                    key(&child(path, part), name),
                    amount.clone(),
                    "must be greater than or equal to 0",
                ));
            }
        }
    }
    for (name, request) in &requests {
        let (Some(limit), Ok(wanted)) = (limits.get(name), Quantity::from_value(request)) else {
            continue;
        };
        if let Ok(most) = Quantity::from_value(limit)
            && wanted > most
        {
            errors.push(FieldError::invalid(
                child(path, "requests"),
                wanted.to_string(),
                format!("must be less than or equal to {name} limit of {most}"),
            ));
        }
    }
}

fn replica_bounds(path: &str, spec: &Value, errors: &mut Vec<FieldError>) {
    if let (Some(least), Some(most)) = (spec["minReplicas"].as_i64(), spec["maxReplicas"].as_i64())
        && most < least
    {
        errors.push(FieldError::invalid(
            child(path, "maxReplicas"),
            most,
            "must be greater than or equal to `minReplicas`",
        ));
    }
}

fn claims_storage(path: &str, requests: &Value, errors: &mut Vec<FieldError>) {
    if requests["storage"].is_null() {
        let resources = path.strip_suffix(".requests").unwrap_or(path);
        errors.push(FieldError::required(key(resources, "storage"), ""));
    }
}

/// The bytes that base64 text stands for.
fn decoded(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

fn texts<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let entries = object.get(field).and_then(Value::as_object);
    entries
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
}

/// A key is in one of the two maps; all values together have a limit.
fn config_size(_: &str, object: &Value, errors: &mut Vec<FieldError>) {
    for (name, _) in texts(object, "data") {
        if object["binaryData"].get(name).is_some() {
            errors.push(FieldError::invalid(
                key("data", name),
                name,
                "duplicate of key present in binaryData",
            ));
        }
    }
    let plain = texts(object, "data").map(|(_, text)| text.len());
    let binary = texts(object, "binaryData").map(|(_, text)| decoded(text));
    if plain.chain(binary).sum::<usize>() > MOST_DATA {
        // Upstream's path for the whole object.
        errors.push(FieldError::too_long("[]", MOST_DATA));
    }
}

fn secret_size(path: &str, data: &Value, errors: &mut Vec<FieldError>) {
    let texts = data.as_object().into_iter().flatten();
    let sizes = texts.map(|(_, value)| decoded(value.as_str().unwrap_or_default()));
    if sizes.sum::<usize>() > MOST_DATA {
        errors.push(FieldError::too_long(path, MOST_DATA));
    }
}

/// What a Secret of a well-known type must have.
fn secret_keys(_: &str, secret: &Value, errors: &mut Vec<FieldError>) {
    let wanted: &[&str] = match secret["type"].as_str().unwrap_or_default() {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        _ => &[],
    };
    for name in wanted {
        match secret["data"].get(*name).and_then(Value::as_str) {
            None => errors.push(FieldError::required(key("data", name), "")),
            Some(text) if name.starts_with(".docker") => {
                let json = STANDARD.decode(text).ok();
                if json.is_none_or(|json| serde_json::from_slice::<Value>(&json).is_err()) {
                    errors.push(FieldError::invalid(
                        key("data", name),
                        "<secret contents redacted>",
                        "the contents are not JSON",
                    ));
                }
            }
            Some(_) => {}
        }
    }
}
