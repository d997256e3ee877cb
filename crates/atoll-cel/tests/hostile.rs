//! Texts and values made to hurt: each ends with an error, soon, on a small stack.

#![allow(clippy::expect_used)]

use atoll_cel::{Bindings, Budget, Environment, EvalErrorKind, Program, Type};
use serde_json::{Value as Json, json};

/// Runs on the stack of a tokio worker.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(run)
        .expect("a thread")
        .join()
        .expect("no panic");
}

fn environment() -> Environment {
    Environment::kubernetes().variable("obj", Type::Dyn)
}

/// Compiles and, when that succeeds, evaluates.
fn run(source: &str) {
    if let Ok(program) = Program::compile(&environment(), source) {
        let object = json!({"a": [1, 2, 3], "m": {"k": "v"}});
        let _ = program.evaluate(&Bindings::new().json("obj", &object), Budget::default());
    }
}

#[test]
fn nesting_of_every_kind_and_depth_holds_the_stack() {
    on_a_small_stack(|| {
        for depth in [
            1, 10, 50, 100, 120, 124, 200, 245, 248, 249, 250, 251, 300, 5_000, 20_000,
        ] {
            for (open, middle, close) in [
                ("(", "1", ")"),
                ("[", "1", "]"),
                ("[", "", "]"),
                ("{1: ", "1", "}"),
                ("!", "true", ""),
                ("!(", "true", ")"),
                ("-(", "1", ")"),
                ("dyn(", "1", ")"),
                ("size([", "1", "])"),
                ("true ? ", "1", " : 2"),
                ("false ? 1 : ", "1", ""),
                ("1 + (", "1", ")"),
                ("[1].map(x, ", "x", ")"),
                ("[1].filter(x, [1].all(y, ", "true", "))"),
                ("cel.bind(x, ", "1", ", x)"),
                ("cel.bind(x, 1, ", "x", ")"),
                ("optional.of(1).optMap(x, ", "x", ")"),
                ("[[1]].sortBy(x, ", "1", ")"),
                ("{'a': 1}.transformMap(k, v, ", "v", ")"),
                ("obj[", "'a'", "]"),
                ("\"%s\".format([", "1", "])"),
                ("has(obj.a) && (", "true", ")"),
            ] {
                run(&format!(
                    "{}{middle}{}",
                    open.repeat(depth),
                    close.repeat(depth)
                ));
            }
            for (start, more) in [
                ("1", " + 1"),
                ("1", " * 1 - 1"),
                ("true", " && true"),
                ("true", " || true"),
                ("1 == 1", " == true"),
                ("obj", ".a"),
                ("obj", ".?a"),
                ("obj", "['a']"),
                ("obj", "[?'a']"),
                ("[1]", ".map(x, x)"),
                ("[1]", ".reverse()"),
                ("'a'", ".lowerAscii()"),
                ("[1]", " + [1]"),
                ("true", " ? true : false"),
            ] {
                run(&format!("{start}{}", more.repeat(depth)));
            }
        }
    });
}

fn nested_json(depth: usize, object: bool) -> Json {
    let mut value = json!(1);
    for _ in 0..depth {
        value = if object {
            json!({"a": value})
        } else {
            json!([value])
        };
    }
    value
}

#[test]
fn deep_values_are_refused_not_followed() {
    on_a_small_stack(|| {
        for (depth, object) in [(100, true), (100, false), (1_000, true), (1_000, false)] {
            let value = nested_json(depth, object);
            for source in [
                "obj == obj",
                "[obj] == [obj]",
                "obj",
                "[obj].distinct()",
                "'%s'.format([obj])",
                "[obj].flatten(1000)",
                "obj in [obj]",
                "[[obj], [obj]].indexOf([obj])",
            ] {
                let Ok(program) = Program::compile(&environment(), source) else {
                    continue;
                };
                let answer =
                    program.evaluate(&Bindings::new().json("obj", &value), Budget::default());
                // The same tree is equal to itself without a look.
                assert!(
                    depth <= 128
                        || answer.is_err()
                        || source.contains("==")
                        || source.contains("in"),
                    "{source} at {depth}: {answer:?}"
                );
            }
            // serde_json would overflow when it drops such a tree.
            let mut value = value;
            while let Some(inner) = if object {
                value.get_mut("a").map(Json::take)
            } else {
                value.get_mut(0).map(Json::take)
            } {
                value = inner;
            }
        }
    });
}

#[test]
fn what_grows_without_end_runs_out_of_budget() {
    let double = |times: usize, of: &str| {
        let mut source = String::new();
        for _ in 0..times {
            source.push_str("cel.bind(x, x + x, ");
        }
        format!("cel.bind(x, {of}, {source}x{})", ")".repeat(times))
    };
    let ten = "[0,1,2,3,4,5,6,7,8,9]";
    let loops = |times: usize| {
        let names: Vec<String> = (0..times).map(|i| format!("i{i}")).collect();
        let opened: String = names
            .iter()
            .map(|name| format!("{ten}.map({name}, "))
            .collect();
        format!("{opened}1{}", ")".repeat(times))
    };
    for source in [
        double(60, "'0123456789'"),
        double(60, "b'0123456789'"),
        double(60, "[1, 2, 3]"),
        loops(8),
        "lists.range(9223372036854775807)".to_owned(),
        "lists.range(100000000).map(x, x)".to_owned(),
        format!("{ten}.all(a, {ten}.all(b, {ten}.all(c, {ten}.all(d, {ten}.all(e, {ten}.all(f, {ten}.all(g, true)))))))"),
        "lists.range(100000).map(i, lists.range(1000)).flatten()".to_owned(),
        "lists.range(2000).map(i, 'a').join('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa').replace('', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')".to_owned(),
        // Small values that are large to walk.
        format!("cel.bind(a0, dyn([1]), {}cel.bind(z, [a59], z.indexOf(a58) + z.sum()){}", (1..60).map(|i| format!("cel.bind(a{i}, dyn([a{0}, a{0}]), ", i - 1)).collect::<String>(), ")".repeat(60)),
        format!("cel.bind(a0, dyn([1]), {}a59 == a59{}", (1..60).map(|i| format!("cel.bind(a{i}, dyn([a{0}, a{0}]), ", i - 1)).collect::<String>(), ")".repeat(60)),
        format!("cel.bind(a0, dyn([1]), {}'%s'.format([a59]){}", (1..60).map(|i| format!("cel.bind(a{i}, dyn([a{0}, a{0}]), ", i - 1)).collect::<String>(), ")".repeat(60)),
        "lists.range(3000).sort().distinct().size()".to_owned(),
        "lists.range(100000).map(i, i).sum()".to_owned(),
    ] {
        let program = Program::compile(&environment(), &source).unwrap_or_else(|error| panic!("{error}: {source}"));
        let answer = program.evaluate(&Bindings::new(), Budget::default());
        let kind = answer.as_ref().map_err(|error| error.kind);
        assert_eq!(kind.err(), Some(EvalErrorKind::BudgetExceeded), "{source}: {:?}", answer.map(|_| ()));
    }
}

#[test]
fn texts_whose_types_explode_are_refused_soon() {
    // Exponential or quadratic work would show: this would take hours or minutes.
    on_a_small_stack(|| {
        // A type of maps of maps, twice as large with each name.
        let names: String = (1..120)
            .map(|i| {
                format!(
                    "cel.bind(a{i}, [{{1: a{0}}}, {{1: a{0}}}].map(x, [x, x]), ",
                    i - 1
                )
            })
            .collect();
        run(&format!("cel.bind(a0, [], {names}a119{}", ")".repeat(120)));
        let names: String = (1..120)
            .map(|i| format!("cel.bind(a{i}, {{a{0}: a{0}}}, ", i - 1))
            .collect();
        run(&format!(
            "cel.bind(a0, [], {names}a119 == a118{}",
            ")".repeat(120)
        ));
        // A type that is thousands of levels deep, once all names are known.
        let names: String = (0..100).map(|i| format!("cel.bind(a{i}, [], ")).collect();
        let links: Vec<String> = (0..99)
            .map(|i| format!("a{i} == {}a{}{}", "[".repeat(100), i + 1, "]".repeat(100)))
            .collect();
        run(&format!("{names}{}{}", links.join(" && "), ")".repeat(100)));
        let links: Vec<String> = (0..99)
            .rev()
            .map(|i| format!("a{i} == [{{a{0}: a{0}}}, {{a{0}: a{0}}}]", i + 1))
            .collect();
        run(&format!("{names}{}{}", links.join(" && "), ")".repeat(100)));
        // Very many calls, each with variables of its own.
        run(&format!("[{}]", "size([]),".repeat(11_000)));
        run(&format!("[{}1]", "[]==[]?1:".repeat(120)));
        run(&vec!["[] == []"; 8_000].join(" && "));
    });
}

#[test]
fn patterns_are_bounded() {
    for source in [
        "'a'.matches('((((a{1000}){1000}){1000}){1000})')",
        "'a'.matches(obj.a)",
        "'x'.find('(a*)*b')",
        "obj.b.matches('(a+)+$')",
    ] {
        let object =
            json!({"a": "(((((a{100}){100}){100}){100}){100})", "b": "a".repeat(50_000) + "!"});
        if let Ok(program) = Program::compile(&environment(), source) {
            let _ = program.evaluate(&Bindings::new().json("obj", &object), Budget::default());
        }
    }
}

#[test]
fn long_texts_cost_more_than_looking_at_them_is_worth() {
    let object = json!({"big": "é".repeat(1_000_000), "part": "x"});
    for source in [
        "lists.range(50000).all(i, obj.big != obj.part)",
        "lists.range(50000).all(i, obj.big.size() > 0)",
        "lists.range(50000).all(i, obj.big.contains(''))",
        "lists.range(50000).all(i, obj.part.endsWith('') && obj.big > 'a')",
    ] {
        let program = Program::compile(&environment(), source).expect("compiles");
        let answer = program.evaluate(&Bindings::new().json("obj", &object), Budget::default());
        assert_eq!(
            answer.map_err(|error| error.kind),
            Err(EvalErrorKind::BudgetExceeded),
            "{source}"
        );
    }
}

#[test]
fn a_budget_is_spent_by_all_that_share_it() {
    let program = Program::compile(&environment(), "obj.a.all(x, x > 0)").expect("compiles");
    let object = json!({"a": [1, 2, 3]});
    let mut budget = Budget { cost: 100 };
    let mut evaluations = 0;
    while program
        .spend(&Bindings::new().json("obj", &object), &mut budget)
        .is_ok()
    {
        evaluations += 1;
    }
    assert!((2..20).contains(&evaluations), "{evaluations}");
    assert_eq!(budget.cost, 0);
}
