//! Anything may be written, over anything: no panic, the same answer twice, errors with a place, and never more than the budget.

#![allow(clippy::expect_used)]

use atoll_cel::{
    Bindings, Budget, Environment, EvalErrorKind, Key, Program, Timestamp, Type, Value,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

fn environment() -> Environment {
    Environment::kubernetes()
        .variable("obj", Type::Dyn)
        .variable("now", Type::Timestamp)
}

fn object() -> Json {
    json!({"a": 1, "b": [1, 2.5, "x", null, {"c": true}], "m": {"k": "v", "l": "w"}, "s": "héllo", "t": "2024-02-29T00:00:00Z", "n": -3})
}

/// Compiles and evaluates, and checks what always holds.
fn try_out(source: &str) -> Result<(), TestCaseError> {
    let program = match Program::compile(&environment(), source) {
        Ok(program) => program,
        Err(error) => {
            prop_assert!(
                error.line >= 1 && error.column >= 1 && !error.message.is_empty(),
                "{error:?}"
            );
            prop_assert!(error.line as usize <= source.matches('\n').count() + 1);
            prop_assert!(error.column as usize <= source.chars().count() + 1);
            let _ = error.render(source);
            return Ok(());
        }
    };
    let object = object();
    let bindings = || {
        Bindings::new().json("obj", &object).value(
            "now",
            Value::Timestamp(Timestamp::from_millis(1_700_000_000_123).expect("a time")),
        )
    };
    let mut budget = Budget { cost: 20_000 };
    let first = program.spend(&bindings(), &mut budget);
    let second = program.evaluate(&bindings(), Budget { cost: 20_000 });
    prop_assert_eq!(format!("{first:?}"), format!("{second:?}"));
    if let Ok(value) = &first {
        let _ = value.to_json();
        let _ = value.key();
        prop_assert!(budget.cost <= 20_000);
    }
    // With nothing to spend, nothing is answered but literals.
    if let Err(error) = program.evaluate(&bindings(), Budget { cost: 0 }) {
        prop_assert!(
            matches!(
                error.kind,
                EvalErrorKind::BudgetExceeded | EvalErrorKind::Expression
            ),
            "{error:?}"
        );
    }
    Ok(())
}

/// Pieces that texts are made of.
const PIECES: [&str; 84] = [
    "obj",
    "now",
    "a",
    "x",
    "y",
    ".",
    ".?",
    "[",
    "[?",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ":",
    "?",
    "+",
    "-",
    "*",
    "/",
    "%",
    "!",
    "&&",
    "||",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    " in ",
    "1",
    "0",
    "-1",
    "2u",
    "1.5",
    "'s'",
    "\"%s%d\"",
    "b'x'",
    "true",
    "false",
    "null",
    "r'\\d'",
    "'''q'''",
    ".all(x,",
    ".exists(x,",
    ".map(x,",
    ".filter(x,",
    ".exists_one(x,",
    ".transformMap(x, y,",
    ".transformList(x, y,",
    ".sortBy(x,",
    "cel.bind(x,",
    "optional.of(",
    ".optMap(x,",
    ".orValue(",
    "has(",
    "size(",
    "type(",
    "dyn(",
    "int(",
    "string(",
    "duration(",
    "timestamp(",
    ".matches(",
    ".format(",
    ".split(",
    ".join(",
    ".replace(",
    ".substring(",
    ".getHours(",
    "quantity(",
    "url(",
    "ip(",
    "cidr(",
    "semver(",
    "sets.contains(",
    "lists.range(",
    ".flatten(",
    ".sum(",
    ".indexOf(",
    "//",
    "\n",
];

/// Expressions that are at least well formed.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "-7",
        "2u",
        "1.5",
        "'a'",
        "'2024-01-01T00:00:00Z'",
        "'1h'",
        "b'x'",
        "true",
        "null",
        "obj",
        "obj.a",
        "obj.b",
        "obj.m",
        "obj.s",
        "obj.n",
        "now",
        "[]",
        "{}",
        "x",
        "duration('1h')",
        "quantity('1Gi')",
        "9223372036854775807",
        "optional.none()",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(6, 64, 4, |inner| {
        let one = inner.clone();
        let functions = vec![
            "size",
            "type",
            "dyn",
            "int",
            "uint",
            "double",
            "string",
            "bytes",
            "bool",
            "duration",
            "timestamp",
            "quantity",
            "url",
            "ip",
            "cidr",
            "semver",
            "isURL",
            "optional.of",
            "lists.range",
            "strings.quote",
            "has",
            "!",
            "-",
        ];
        let members = vec![
            "size()",
            "sort()",
            "distinct()",
            "reverse()",
            "flatten()",
            "sum()",
            "min()",
            "max()",
            "isSorted()",
            "lowerAscii()",
            "trim()",
            "getHours()",
            "getFullYear('Asia/Tokyo')",
            "hasValue()",
            "value()",
            "first()",
            "getQuery()",
            "masked()",
            "asInteger()",
            "join()",
            "unwrapOpt()",
            "a",
            "?a",
            "split('')",
        ];
        let loops = vec![
            "all(x, ",
            "exists(x, ",
            "exists_one(x, ",
            "map(x, ",
            "filter(x, ",
            "transformList(x, y, ",
            "transformMap(x, y, ",
            "transformMapEntry(x, y, ",
            "sortBy(x, ",
            "optMap(x, ",
            "optFlatMap(x, ",
        ];
        let binary = vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "in", "&&", "||",
        ];
        let two = vec![
            "contains",
            "startsWith",
            "indexOf",
            "split",
            "matches",
            "find",
            "findAll",
            "orValue",
            "or",
            "add",
            "compareTo",
            "containsIP",
            "charAt",
            "substring",
            "format",
            "join",
        ];
        prop_oneof![
            (prop::sample::select(functions), one.clone())
                .prop_map(|(function, a)| format!("{function}({a})")),
            (one.clone(), prop::sample::select(members))
                .prop_map(|(a, member)| format!("dyn({a}).{member}")),
            (one.clone(), prop::sample::select(loops), one.clone())
                .prop_map(|(a, open, b)| format!("dyn({a}).{open}{b})")),
            (one.clone(), prop::sample::select(binary), one.clone())
                .prop_map(|(a, operator, b)| format!("(dyn({a}) {operator} dyn({b}))")),
            (one.clone(), prop::sample::select(two), one.clone())
                .prop_map(|(a, function, b)| format!("dyn({a}).{function}(dyn({b}))")),
            (one.clone(), one.clone(), one.clone())
                .prop_map(|(a, b, c)| format!("(dyn({a}) ? dyn({b}) : dyn({c}))")),
            (one.clone(), one.clone()).prop_map(|(a, b)| format!("dyn({a})[dyn({b})]")),
            (one.clone(), one.clone()).prop_map(|(a, b)| format!("dyn({a})[?dyn({b})]")),
            (one.clone(), one.clone()).prop_map(|(a, b)| format!("[dyn({a}), dyn({b})]")),
            (one.clone(), one.clone()).prop_map(|(a, b)| format!("{{dyn({a}): dyn({b})}}")),
            (one.clone(), one).prop_map(|(a, b)| format!("cel.bind(x, {a}, {b})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_refused_or_answered(source in ".{0,60}") {
        try_out(&source)?;
    }

    #[test]
    fn any_bytes_are_refused_or_answered(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        try_out(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn any_pieces_are_refused_or_answered(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..25)) {
        try_out(&pieces.concat())?;
    }

    #[test]
    fn any_expression_is_answered_alike_each_time(source in expression()) {
        try_out(&format!("cel.bind(x, obj, {source})"))?;
    }

    /// Keys are totally ordered, and equal exactly when the values are.
    #[test]
    fn keys_order_all_values(a in scalar(), b in scalar(), c in scalar()) {
        let (x, y, z) = (a.key(), b.key(), c.key());
        prop_assert_eq!(x == y, a == b);
        prop_assert_eq!(x.cmp(&y), y.cmp(&x).reverse());
        if x <= y && y <= z {
            prop_assert!(x <= z);
        }
        if x == y {
            let hash = |key: &Key| {
                use std::hash::{BuildHasher, RandomState};
                static STATE: std::sync::OnceLock<RandomState> = std::sync::OnceLock::new();
                STATE.get_or_init(RandomState::new).hash_one(key)
            };
            prop_assert_eq!(hash(&x), hash(&y));
        }
    }

    /// What an identifier names is the property that was escaped to it.
    #[test]
    fn escaping_is_undone(name in "[a-z_./-]{1,12}") {
        if let Some(escaped) = atoll_cel::escape(&name) {
            prop_assert_eq!(atoll_cel::unescape(&escaped), Some(name));
        }
    }

    /// Instants are read back from what they are shown as.
    #[test]
    fn instants_survive_being_written(seconds in -62_135_596_800_i64..=253_402_300_799, nanos in 0_u32..1_000_000_000) {
        let at = Timestamp::new(seconds, nanos).expect("in range");
        prop_assert_eq!(Timestamp::parse(&at.to_string()), Some(at));
    }
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        (-3_i64..3).prop_map(Value::Int),
        any::<i64>().prop_map(Value::Int),
        (0_u64..3).prop_map(Value::Uint),
        any::<u64>().prop_map(Value::Uint),
        (-6_i32..6).prop_map(|i| Value::Double(f64::from(i) / 2.0)),
        prop::sample::select(vec![
            9_007_199_254_740_993.0,
            9_223_372_036_854_775_808.0,
            18_446_744_073_709_551_616.0,
            -0.0,
            1e300
        ])
        .prop_map(Value::Double),
        "[ab]{0,2}".prop_map(|text| Value::from(text.as_str())),
        (-3_i64..3).prop_map(|n| Value::List([Value::Int(n), Value::Double(n as f64)].into())),
        (0_i64..3).prop_map(|n| Value::Timestamp(Timestamp::new(n, 0).expect("in range"))),
    ]
}
