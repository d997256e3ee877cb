//! What an expression reads: few and exact ways, and never too few.

#![allow(clippy::expect_used)]

use atoll_cel::{Bindings, Budget, Environment, ObjectType, Program, Read, Step, Type};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn environment() -> Environment {
    let item = ObjectType::new("item")
        .field("a-b", Type::Int)
        .field("name", Type::String);
    let typed = ObjectType::new("typed")
        .field("items", Type::list(item.into()))
        .field("labels", Type::map(Type::String));
    Environment::kubernetes()
        .variable("obj", Type::Dyn)
        .variable("other", Type::Dyn)
        .variable("typed", typed.into())
}

/// A read as text: `obj.a[*].b`, `#` for a shape and `?` for a presence.
fn show(read: &Read) -> String {
    let mut text = read.variable.clone();
    for step in &read.path {
        match step {
            Step::Field(name) => text.push_str(&format!(".{name}")),
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Each => text.push_str("[*]"),
            Step::Shape => text.push('#'),
            Step::Presence => text.push('?'),
        }
    }
    text
}

fn compile(source: &str) -> Program {
    Program::compile(&environment(), source).unwrap_or_else(|error| panic!("{source}: {error}"))
}

#[test]
fn an_expression_reads_what_it_names() {
    for (source, expected) in [
        ("1 + 1", vec![]),
        ("obj", vec!["obj"]),
        ("obj.a.b", vec!["obj.a.b"]),
        ("obj.a.b > 1 && obj.a.c == 'x'", vec!["obj.a.b", "obj.a.c"]),
        ("obj.a == obj.a.b", vec!["obj.a"]),
        ("obj['a-b'].c", vec!["obj.a-b.c"]),
        ("obj.list[0].x", vec!["obj.list[0].x"]),
        ("obj.list[obj.i].x", vec!["obj.i", "obj.list[*].x"]),
        ("has(obj.a.b)", vec!["obj.a.b?"]),
        ("obj.?a.?b.orValue(1)", vec!["obj.a.b"]),
        ("obj.a == null", vec!["obj.a?"]),
        ("size(obj.list)", vec!["obj.list#"]),
        (
            "obj.list.size() > 0 && has(obj.list[0].x)",
            vec!["obj.list#", "obj.list[0].x?"],
        ),
        (
            "obj.conditions.exists(c, c.type == 'Ready' && c.status == 'True')",
            vec!["obj.conditions[*].status", "obj.conditions[*].type"],
        ),
        (
            "obj.conditions.filter(c, c.type == 'Ready')[0].status",
            vec!["obj.conditions[*].status", "obj.conditions[*].type"],
        ),
        ("obj.list.map(x, x.name)", vec!["obj.list[*].name"]),
        ("obj.list.all(x, true)", vec!["obj.list#"]),
        ("obj.list.map(x, x)", vec!["obj.list[*]"]),
        (
            "typed.items.map(i, i.a__dash__b)",
            vec!["typed.items[*].a-b"],
        ),
        ("typed.labels.all(k, k != '')", vec!["typed.labels#"]),
        ("typed.labels.all(k, v, v != '')", vec!["typed.labels[*]"]),
        ("'app' in typed.labels", vec!["typed.labels.app?"]),
        (
            "obj.name in typed.labels",
            vec!["obj.name", "typed.labels#"],
        ),
        ("typed.labels.app", vec!["typed.labels.app"]),
        (
            "cel.bind(s, obj.spec, s.a + s.b)",
            vec!["obj.spec.a", "obj.spec.b"],
        ),
        (
            "(obj.flag ? obj.a : other.a).b",
            vec!["obj.a.b", "obj.flag", "other.a.b"],
        ),
        ("obj.?a.optMap(x, x.b)", vec!["obj.a.b", "obj.a?"]),
        ("[obj.a, other.b]", vec!["obj.a", "other.b"]),
        ("type(obj.port) == int", vec!["obj.port?"]),
        ("obj.list.sortBy(x, x.n)", vec!["obj.list"]),
        ("dyn(obj).a", vec!["obj.a", "obj?"]),
    ] {
        let program = compile(source);
        let mut found: Vec<String> = program.reads().iter().map(show).collect();
        found.sort();
        assert_eq!(found, expected, "{source}");
    }
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-2_i64..3).prop_map(Json::from),
        "[ab]{0,2}".prop_map(Json::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[abc]", inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// Expressions over any tree: most fail on most trees, and the failure is part of the answer.
const SOURCES: [&str; 24] = [
    "obj.a.b",
    "has(obj.a.b)",
    "has(obj.a) ? obj.a : obj.b",
    "obj.a[0].b",
    "obj.a.size()",
    "obj.a.map(x, x.b)",
    "obj.a.filter(x, x.b == 1)[0].c",
    "obj.a.exists(x, x.b == 'a')",
    "obj.a.all(x, has(x.c))",
    "obj.a.all(k, v, v == 1)",
    "obj.?a.?b.orValue(obj.?c.orValue(7))",
    "obj.a[?0].hasValue()",
    "cel.bind(x, obj.a, obj.b == 1 ? x.b : x.c)",
    "obj.a.optMap(x, x)",
    "obj.?a.optMap(x, x.b)",
    "'a' in obj.b",
    "obj.a == obj.b",
    "obj.a == null || obj.b == null",
    "[obj.a, {'k': obj.b.c}]",
    "obj.a.filter(x, x.b == 1).map(x, x.c).size()",
    "obj[obj.a]",
    "type(obj.a) == type(obj.b)",
    "obj.a.sortBy(x, x.b)",
    "obj.a.transformMap(k, v, v.b)",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two trees that agree on all reads give the same answer.
    #[test]
    fn the_answer_depends_on_nothing_else(source in prop::sample::select(SOURCES.to_vec()), one in value(), other in value()) {
        let Ok(program) = Program::compile(&environment(), source) else { return Ok(()) };
        let seen = |object: &Json| {
            let mut bytes = Vec::new();
            for read in program.reads() {
                read.encode(Some(object), &mut bytes);
            }
            bytes
        };
        let answer = |object: &Json| program.evaluate(&Bindings::new().json("obj", object), Budget::default()).map(|value| format!("{value:?}"));
        if seen(&one) == seen(&other) {
            prop_assert_eq!(answer(&one), answer(&other));
        }
        // A tree with something more, that is not read.
        if let Json::Object(mut object) = one.clone() {
            object.insert("unread".to_owned(), other);
            let more = Json::Object(object);
            if seen(&more) == seen(&one) {
                prop_assert_eq!(answer(&more), answer(&one));
            }
        }
    }

    /// Different trees never look alike when all is read.
    #[test]
    fn encodings_are_unambiguous(one in value(), other in value()) {
        let program = compile("obj");
        let encode = |object: &Json| {
            let mut bytes = Vec::new();
            program.reads()[0].encode(Some(object), &mut bytes);
            bytes
        };
        prop_assert_eq!(encode(&one) == encode(&other), one == other);
    }
}

#[test]
fn what_is_missing_differs_from_null() {
    let program = compile("obj.a.b");
    let encode = |object: Json| {
        let mut bytes = Vec::new();
        program.reads()[0].encode(Some(&object), &mut bytes);
        bytes
    };
    let all = [
        json!({}),
        json!({"a": null}),
        json!({"a": {}}),
        json!({"a": {"b": null}}),
        json!({"a": {"b": 1}}),
        json!({"a": {"b": 1.0}}),
        json!({"a": {"b": "1"}}),
        json!({"a": []}),
    ];
    for (place, one) in all.iter().enumerate() {
        for other in &all[place + 1..] {
            assert_ne!(encode(one.clone()), encode(other.clone()), "{one} {other}");
        }
    }
}
