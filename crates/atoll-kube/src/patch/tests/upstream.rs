//! The same random writes to us and to Kubernetes' own libraries (`tests/upstream/main.go`): objects, records and
//! refusals must be equal.
//!
//! Needs Go 1.26 and its modules, hence not among the usual tests:
//!
//! ```text
//! cargo test -p atoll-kube --lib upstream -- --ignored
//! ```

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::properties::{Step, spec, steps};
use super::{THING, thing, write};
use crate::patch::managed::{Write, on_apply, on_create, on_update};
use crate::patch::strategic;
use crate::status::Status;

struct Upstream {
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Upstream {
    /// Builds and starts the other side, for the test `name`.
    fn start(name: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program =
            std::env::temp_dir().join(format!("atoll-upstream-{name}-{}", std::process::id()));
        let build = Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(".")
            .current_dir(root.join("tests/upstream"))
            .status();
        assert!(build.unwrap().success(), "the Go program does not build");
        let mut process = Command::new(&program)
            .arg(root.join("src/patch/tests/thing.json"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::fs::remove_file(program).unwrap();
        let requests = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            requests,
            answers,
        }
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.requests, "{request}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What may differ: clocks; and where upstream leaves null of what became empty, we leave it empty.
fn level(theirs: &mut Value, ours: &Value) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::Object(ours)) => {
            for (name, theirs) in theirs {
                match ours.get(name) {
                    Some(ours) if name == "time" => *theirs = ours.clone(),
                    Some(ours)
                        if theirs.is_null() && (*ours == json!({}) || *ours == json!([])) =>
                    {
                        *theirs = ours.clone()
                    }
                    Some(ours) => level(theirs, ours),
                    None => {}
                }
            }
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            theirs.iter_mut().zip(ours).for_each(|(t, o)| level(t, o))
        }
        _ => {}
    }
}

/// Puts a record in an order that does not depend on times.
fn sort_record(object: &mut Value) {
    if let Some(entries) = object
        .pointer_mut("/metadata/managedFields")
        .and_then(Value::as_array_mut)
    {
        entries.sort_by_key(|e| format!("{} {}", e["manager"], e["operation"]));
    }
}

fn agree(
    mut theirs: Value,
    ours: &Result<Value, Status>,
    request: &Value,
) -> Result<(), TestCaseError> {
    match ours {
        Ok(ours) => {
            let mut ours = ours.clone();
            sort_record(&mut ours);
            sort_record(&mut theirs["ok"]);
            level(&mut theirs["ok"], &ours);
            prop_assert_eq!(&theirs["ok"], &ours, "{}", request);
        }
        Err(status) => {
            prop_assert_eq!(
                theirs["error"].as_str(),
                Some(&*status.message),
                "{}",
                request
            );
            let causes = |status: Value| {
                let causes = status["details"]["causes"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                causes
                    .iter()
                    .map(Value::to_string)
                    .collect::<std::collections::BTreeSet<_>>()
            };
            prop_assert_eq!(
                causes(theirs["status"].take()),
                causes(json!(status)),
                "{}",
                request
            );
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs Go and its modules"]
fn writes_are_merged_and_recorded_as_upstream_does() {
    let upstream = RefCell::new(Upstream::start("writes"));
    let config = ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        let mut live: Option<Value> = None;
        for step in &steps {
            let custom = |manager| Write { native: false, ..write(manager, 0) };
            let (request, ours) = match step {
                Step::Apply { manager, spec, force } => {
                    let object = thing(spec.clone());
                    let ours = on_apply(&custom(manager), live.as_ref(), &object, *force);
                    (json!({"do": "apply", "live": live, "object": object, "manager": manager, "force": force}), ours)
                }
                Step::Update { manager, spec } => {
                    let mut object = live.clone().unwrap_or_else(|| thing(json!({})));
                    object["spec"] = spec.clone();
                    let request = json!({"do": "update", "live": live, "object": object, "manager": manager});
                    match &live {
                        Some(live) => on_update(&custom(manager), live, &mut object),
                        None => on_create(&custom(manager), &mut object),
                    }
                    (request, Ok(object))
                }
            };
            agree(upstream.borrow_mut().ask(&request), &ours, &request)?;
            if let Ok(mut object) = ours {
                object["metadata"]["uid"] = json!("u");
                live = Some(object);
            }
        }
        Ok(())
    });
    outcome.unwrap();
}

#[test]
#[ignore = "needs Go and its modules"]
fn strategic_merges_are_upstreams() {
    let upstream = RefCell::new(Upstream::start("strategic"));
    let config = ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    // Upstream knows no maps of lists when it reads its schema from OpenAPI.
    let spec = || {
        spec().prop_map(|mut spec| {
            spec.as_object_mut().unwrap().remove("free");
            json!({"spec": spec})
        })
    };
    let outcome = TestRunner::new(config).run(&(spec(), spec()), |(live, patch)| {
        let request = json!({"do": "strategic", "live": live, "object": patch});
        agree(
            upstream.borrow_mut().ask(&request),
            &strategic(live, patch, &THING),
            &request,
        )
    });
    outcome.unwrap();
}
