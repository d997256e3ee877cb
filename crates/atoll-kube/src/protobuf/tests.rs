use serde_json::{Value, json};

use super::*;

/// Bodies made by client-go's own serializer, each followed by the same object as it writes it in JSON.
const GOLDEN: &str = include_str!("golden.txt");

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap())
        .collect()
}

fn rows() -> Vec<(Vec<u8>, Value)> {
    let lines: Vec<&str> = GOLDEN.lines().collect();
    let rows = lines.chunks(2);
    rows.map(|row| (bytes(row[0]), serde_json::from_str(row[1]).unwrap()))
        .collect()
}

/// Go writes `null` for an absent time and `{}` for a structure that is part of its parent; both mean nothing.
fn without_nothing(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, v)| (name.clone(), without_nothing(v)))
            .filter(|(_, v)| !v.is_null() && *v != json!({}))
            .collect(),
        Value::Array(all) => all.iter().map(without_nothing).collect(),
        other => other.clone(),
    }
}

#[test]
fn bodies_of_a_genuine_client_mean_what_their_json_means() {
    for (body, expected) in rows() {
        let object = decode(&body).unwrap_or_else(|e| panic!("{expected}: {e}"));
        assert_eq!(without_nothing(&object), without_nothing(&expected));
    }
}

#[test]
fn what_was_meant_stays_and_what_is_empty_goes() {
    let (body, _) = &rows()[0];
    let deployment = decode(body).unwrap();
    assert_eq!(deployment["spec"]["replicas"], 0, "a pointer to zero");
    assert_eq!(
        deployment["spec"].get("minReadySeconds"),
        None,
        "a plain zero"
    );
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(
        pod["volumes"][0]["emptyDir"],
        json!({}),
        "a pointer to nothing in particular"
    );
    assert_eq!(pod["containers"][0]["resources"]["limits"]["cpu"], "500m");
    assert_eq!(
        pod["containers"][0]["livenessProbe"]["httpGet"]["port"],
        "http"
    );
    assert_eq!(
        pod["containers"][0]["readinessProbe"]["tcpSocket"]["port"],
        8080
    );
}

#[test]
fn bad_bodies_are_refused_with_a_reason() {
    let (body, _) = &rows()[0];
    let cut = &body[..body.len() - 5];
    let mut garbled = body.clone();
    garbled.truncate(30);
    let rows = [
        (b"{}".as_slice(), "expected prefix"),
        (b"k8s\0".as_slice(), "no kind \"\""),
        (
            b"k8s\0\x0a\x0d\x0a\x03x/y\x12\x06Widget\x12\x00".as_slice(),
            "no kind \"Widget\"",
        ),
        (cut, "ends in the middle"),
        (garbled.as_slice(), "ends in the middle"),
    ];
    for (body, reason) in rows {
        let error = decode(body).unwrap_err();
        assert!(error.contains(reason), "{error:?} instead of {reason:?}");
    }
}

#[test]
fn no_bytes_make_it_panic() {
    for (body, _) in rows() {
        for i in (4..body.len()).step_by(3) {
            let mut wrong = body.clone();
            wrong[i] ^= 0x55;
            let _ = decode(&wrong);
            let _ = decode(&body[..i]);
        }
    }
}
