//! What expressions ask of the outside: the authorizer, and variables that are programs themselves.

#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};

use atoll_cel::{
    Answer, Authorizer, Bindings, Budget, Environment, EvalErrorKind, ObjectType, Program,
    Question, Type, Value, Variables,
};
use serde_json::json;

#[derive(Debug, Default)]
struct Remembers(Mutex<Vec<Question>>);

impl Authorizer for Remembers {
    fn check(&self, question: &Question) -> Answer {
        self.0.lock().unwrap().push(question.clone());
        match question.verb.as_str() {
            "get" => Answer {
                allowed: true,
                reason: "may".into(),
                error: None,
            },
            _ => Answer {
                error: Some("broken".into()),
                ..Answer::default()
            },
        }
    }
}

fn environment() -> Environment {
    Environment::kubernetes()
        .variable(
            "authorizer",
            Type::Opaque("kubernetes.authorization.Authorizer"),
        )
        .variable(
            "authorizer.requestResource",
            Type::Opaque("kubernetes.authorization.ResourceCheck"),
        )
}

fn ask(source: &str) -> (Result<Value, String>, Vec<Question>) {
    let door = Arc::new(Remembers::default());
    let shared: Arc<dyn Authorizer> = door.clone();
    let bound = Question {
        resource: "pods".into(),
        ..Question::default()
    };
    let bindings = Bindings::new()
        .authorizer("authorizer", &shared)
        .resource_check("authorizer.requestResource", &shared, bound);
    let program =
        Program::compile(&environment(), source).unwrap_or_else(|e| panic!("{}", e.render(source)));
    let answer = program
        .evaluate(&bindings, Budget::default())
        .map_err(|e| e.message);
    let asked = std::mem::take(&mut *door.0.lock().unwrap());
    (answer, asked)
}

#[test]
fn questions_are_built_part_by_part() {
    let question = |change: fn(&mut Question)| {
        let mut question = Question {
            verb: "get".into(),
            ..Question::default()
        };
        change(&mut question);
        question
    };
    for (source, asked) in [
        (
            "authorizer.group('apps').resource('deployments').subresource('scale').namespace('ns').name('n').check('get').allowed()",
            question(|q| {
                (q.group, q.resource) = ("apps".into(), "deployments".into());
                (q.subresource, q.namespace, q.name) = ("scale".into(), "ns".into(), "n".into());
            }),
        ),
        (
            "authorizer.path('/healthz').check('get').allowed()",
            question(|q| q.path = Some("/healthz".into())),
        ),
        (
            "authorizer.requestResource.check('get').allowed()",
            question(|q| q.resource = "pods".into()),
        ),
        (
            "authorizer.serviceAccount('ns', 'sa').group('').resource('x').labelSelector('a=b').fieldSelector('c=d').check('get').allowed()",
            question(|q| {
                q.service_account = Some(("ns".into(), "sa".into()));
                (q.resource, q.label_selector, q.field_selector) =
                    ("x".into(), "a=b".into(), "c=d".into());
            }),
        ),
    ] {
        assert_eq!(
            ask(source),
            (Ok(Value::Bool(true)), vec![asked]),
            "{source}"
        );
    }
    for (source, answer) in [
        (
            "authorizer.path('/x').check('get').reason()",
            Ok("may".into()),
        ),
        (
            "authorizer.path('/x').check('put').error()",
            Ok("broken".into()),
        ),
        (
            "authorizer.path('/x').check('put').errored()",
            Ok(Value::Bool(true)),
        ),
        (
            "authorizer.path(' ').check('get').allowed()",
            Err("path must not be empty"),
        ),
        (
            "authorizer.group('').resource('').check('get').allowed()",
            Err("resource must not be empty"),
        ),
        (
            "authorizer.serviceAccount('Bad', 'sa').path('/x').check('get').allowed()",
            Err("Invalid service account namespace"),
        ),
        (
            "[1, 2, 3].all(i, authorizer.path('/x').check('get').allowed())",
            Err("operation cancelled: actual cost limit exceeded"),
        ),
    ] {
        assert_eq!(ask(source).0, answer.map_err(str::to_owned), "{source}");
    }
}

#[test]
fn variables_are_evaluated_when_read_and_once() {
    let base = environment().variable("object", Type::Dyn);
    let mut fields = ObjectType::new("variables");
    let mut programs = Vec::new();
    for (name, source) in [
        ("allowed", "authorizer.path('/x').check('get').allowed()"),
        ("fails", "object.missing"),
        ("both", "variables.allowed && variables.allowed"),
    ] {
        let program = Program::compile(
            &base.clone().variable("variables", fields.clone().into()),
            source,
        )
        .unwrap();
        fields = fields.unescaped(name, program.output().clone());
        programs.push((name.to_owned(), program));
    }
    let all = base.variable("variables", fields.into());
    let door = Arc::new(Remembers::default());
    let shared: Arc<dyn Authorizer> = door.clone();
    let object = json!({});
    let variables = Variables::new(&programs);
    let bindings = Bindings::new()
        .json("object", &object)
        .authorizer("authorizer", &shared)
        .variables("variables", &variables);
    let run = |source: &str, budget: u64| {
        let program = Program::compile(&all, source).unwrap();
        program.evaluate(&bindings, Budget { cost: budget })
    };
    assert_eq!(
        run("true || variables.fails", 1000),
        Ok(Value::Bool(true)),
        "not read"
    );
    let failed = run("variables.fails == 1", 1000).unwrap_err();
    assert_eq!(
        failed.message,
        "composited variable \"fails\" fails to evaluate: no such key: missing"
    );
    assert_eq!(run("variables.both", 1_000_000), Ok(Value::Bool(true)));
    assert_eq!(
        run(
            "variables.both && variables.allowed && has(variables.both)",
            1000
        ),
        Ok(Value::Bool(true)),
        "known by now"
    );
    assert_eq!(door.0.lock().unwrap().len(), 1);
    let fresh = Variables::new(&programs);
    let bindings = Bindings::new()
        .authorizer("authorizer", &shared)
        .variables("variables", &fresh);
    let dear = Program::compile(&all, "variables.both")
        .unwrap()
        .evaluate(&bindings, Budget { cost: 1000 });
    assert_eq!(
        dear.unwrap_err().kind,
        EvalErrorKind::BudgetExceeded,
        "who reads it pays"
    );
}
