//! Every recorded answer of Kubernetes 1.36 (`k8s.io/apiserver` 0.36.3 with `cel-go` 0.26.0) is given here too: the type of an expression, its estimated
//! cost, its value or its error.
//!
//! `upstream.jsonl` holds one expression a line with what upstream says: expressions that upstream's own tests use, corners of every library, and random
//! ones over the object of `upstream-case.json`. `oracle/` is the Go program that recorded them. Differences that are meant are listed below, each with its
//! reason.

#![allow(clippy::expect_used)]

use atoll_cel::{Bindings, Budget, Environment, Key, Program, Timestamp, Type, Value};
use serde_json::{Value as Json, json};

/// Messages in which we differ from upstream, and why. Both fail.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("internal error", "a panic of upstream's"),
    (
        "no such overload: ",
        "upstream names the types in the overloads of flatten only",
    ),
    ("IP Address ", "the words of Go's parser of addresses"),
    (
        "network address parse error",
        "the words of Go's parser of addresses",
    ),
    (
        "error parsing regexp",
        "the words of Go's parser of patterns",
    ),
];

fn show(value: &Value) -> Json {
    let tagged = |tag: &str, value: Json| json!({"t": tag, "v": value});
    match value {
        Value::Null => json!({"t": "null"}),
        Value::Bool(b) => tagged("bool", json!(b)),
        Value::Int(i) => tagged("int", json!(i.to_string())),
        Value::Uint(u) => tagged("uint", json!(u.to_string())),
        Value::Double(d) => tagged("double", json!(d.to_string())),
        Value::String(text) => tagged("string", json!(&**text)),
        Value::Bytes(bytes) => tagged(
            "bytes",
            json!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()),
        ),
        Value::Timestamp(t) => tagged("timestamp", json!(t.to_string())),
        Value::Duration(d) => tagged("duration", json!(d.nanos().to_string())),
        Value::List(items) => tagged("list", items.iter().map(show).collect()),
        Value::Map(map) => {
            let mut entries: Vec<(String, Json)> = map
                .iter()
                .map(|(key, value)| {
                    let key = show(&key.to_value());
                    (key.to_string(), json!([key, show(value)]))
                })
                .collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            tagged("map", entries.into_iter().map(|(_, entry)| entry).collect())
        }
        Value::Optional(None) => json!({"t": "none"}),
        Value::Optional(Some(value)) => tagged("optional", show(value)),
        Value::Type(name) => tagged("type", json!(&**name)),
        Value::Opaque(kind, text) => tagged(
            match *kind {
                "kubernetes.Quantity" => "quantity",
                "kubernetes.URL" => "url",
                "net.IP" => "ip",
                "net.CIDR" => "cidr",
                "kubernetes.Semver" => "semver",
                _ => "format",
            },
            json!(&**text),
        ),
    }
}

/// Numbers as numbers: Go and Rust write floats differently.
fn same(a: &Json, b: &Json) -> bool {
    if a["t"] == "double" && b["t"] == "double" {
        let number = |json: &Json| {
            json["v"].as_str().map(|text| {
                text.replace("+Inf", "inf")
                    .replace("-Inf", "-inf")
                    .parse::<f64>()
            })
        };
        return match (number(a), number(b)) {
            (Some(Ok(a)), Some(Ok(b))) => a == b || (a.is_nan() && b.is_nan()),
            _ => false,
        };
    }
    match (a, b) {
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (a, b) => a == b,
    }
}

/// The objects and the schema of the recorded random expressions.
fn cases() -> &'static Json {
    static CASES: std::sync::OnceLock<Json> = std::sync::OnceLock::new();
    CASES.get_or_init(|| serde_json::from_str(include_str!("upstream-case.json")).expect("JSON"))
}

fn differences(recorded: &Json) -> Vec<String> {
    let expression = recorded["expr"].as_str().unwrap_or_default();
    let mut environment = Environment::kubernetes()
        .variable("obj", Type::Dyn)
        .variable("now", Type::Timestamp);
    let schema = if recorded["on"].is_string() {
        &cases()["schema"]
    } else {
        &recorded["schema"]
    };
    if schema.is_object() {
        environment = environment.variable(
            "self",
            Type::of_schema(schema, false).expect("a schema that can be seen"),
        );
    }
    let mut found = Vec::new();
    let program = match (
        Program::compile(&environment, expression),
        recorded["compileError"].as_str(),
    ) {
        // We have `cel.bind`, which Kubernetes 1.36 does not offer.
        (_, Some(_)) if expression.contains("cel.bind") => return found,
        // Upstream evaluates calls with literals when it makes the program, and fails then.
        (Ok(_), Some(error)) if error.starts_with("program: ") => return found,
        (Ok(_), Some(error)) => {
            return vec![format!(
                "compiles, but upstream: {}",
                error.lines().next().unwrap_or_default()
            )];
        }
        (Err(error), None) => return vec![format!("does not compile: {error}")],
        (Err(error), Some(upstream)) => {
            // The words of upstream's parser generator are its own; and where we stop at the first fault of the grammar, it goes on.
            if !upstream.contains("Syntax error")
                && !upstream.starts_with(&error.render(expression))
            {
                found.push(format!(
                    "{}\n  upstream:\n{upstream}",
                    error.render(expression)
                ));
            }
            return found;
        }
        (Ok(program), None) => program,
    };
    let estimate = (
        program.least_cost().to_string(),
        program.estimated_cost().to_string(),
    );
    if (estimate.0.as_str(), estimate.1.as_str())
        != (
            recorded["Min"].as_str().unwrap_or_default(),
            recorded["Max"].as_str().unwrap_or_default(),
        )
    {
        found.push(format!(
            "estimate: {}..{}, upstream: {}..{}",
            estimate.0, estimate.1, recorded["Min"], recorded["Max"]
        ));
    }
    let case = cases();
    let bound = |name: &str| {
        if recorded["on"].is_string() {
            &case[name]
        } else {
            &recorded[name]
        }
    };
    let mut bindings = Bindings::new().value(
        "now",
        Value::Timestamp(Timestamp::new(1_700_000_000, 0).expect("a time")),
    );
    for name in ["obj", "self"] {
        if !bound(name).is_null() {
            bindings = bindings.json(name, bound(name));
        }
    }
    let mut budget = Budget { cost: 10_000_000 };
    let answer = program.spend(&bindings, &mut budget);
    let spent = 10_000_000 - budget.cost;
    if let (Ok(_), Some(cost)) = (&answer, recorded["cost"].as_u64()) {
        // Not to the unit: upstream charges in other places what it has folded or not.
        if spent > cost.saturating_mul(3) + 20 || cost > spent.saturating_mul(2) + 20 {
            found.push(format!("spends {spent}, upstream: {cost}"));
        }
    }
    match (answer, recorded["error"].as_str()) {
        (Ok(value), None) => {
            let shown = show(&value);
            if !same(&shown, &recorded["value"]) {
                found.push(format!("value: {shown}, upstream: {}", recorded["value"]));
            }
        }
        (Ok(value), Some(error)) => {
            found.push(format!("value: {}, upstream fails: {error}", show(&value)))
        }
        (Err(error), None) => {
            found.push(format!("fails: {error}, upstream: {}", recorded["value"]))
        }
        (Err(error), Some(upstream)) => {
            // A better word than upstream's "no such overload" for a text that is no address.
            let address = ["IP Address", "network address", "IPv4-mapped"]
                .iter()
                .any(|start| error.message.starts_with(start));
            if error.message != upstream
                && !address
                && !OTHER_WORDS
                    .iter()
                    .any(|(start, _)| upstream.starts_with(start))
            {
                found.push(format!("error: {error}, upstream: {upstream}"));
            }
        }
    }
    found
}

#[test]
fn answers_are_upstreams() {
    let path = std::env::var("CEL_FIXTURE").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/upstream.jsonl").to_owned()
    });
    let text = std::fs::read_to_string(path).expect("the fixture");
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in text.lines() {
        let recorded: Json = serde_json::from_str(line).expect("a line of JSON");
        let expression = recorded["expr"].as_str().unwrap_or_default();
        count += 1;
        for difference in differences(&recorded) {
            wrong.push(format!("{expression}\n    {difference}"));
        }
    }
    assert!(
        count > 0 && wrong.is_empty(),
        "{} of {count} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn keys_are_values() {
    assert_eq!(Key::Int(1), Key::Uint(1));
    assert_eq!(Value::Double(1.0).key(), Key::Int(1));
    assert!(Value::Double(1.5).key() > Key::Int(1));
}
