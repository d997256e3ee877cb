//! Collectors: what is refused, and what is shown.

use super::*;

#[test]
fn what_is_wrong_is_said_by_field() {
    for (spec, expected) in [
        (json!({"filter": "obj.("}), vec!["spec.filter"]),
        (json!({"filter": "1 + 1"}), vec!["spec.filter"]),
        (json!({"filter": 7}), vec!["spec.filter"]),
        (json!({"filter": "nobody.knows"}), vec!["spec.filter"]),
        (
            json!({"filter": "inventory.nme == 'x'"}),
            vec!["spec.filter"],
        ),
        (
            json!({"select": [{"name": "a", "def": "1"}], "combinedFields": [{"name": "n", "type": "COUNT"}]}),
            vec!["spec.select"],
        ),
        (
            json!({"groupBy": [{"name": "a", "def": "1"}]}),
            vec!["spec.groupBy"],
        ),
        (
            json!({"select": [{"name": "a", "def": "1"}, {"name": "a", "def": "2"}, {"def": "3"}, {"name": "d"}, {"name": "e", "def": "%"}]}),
            vec![
                "spec.select[1].name",
                "spec.select[2].name",
                "spec.select[3].def",
                "spec.select[4].def",
            ],
        ),
        (
            json!({"combinedFields": [{"name": "a", "type": "SUM"}, {"name": "b", "type": "SUM", "subject": "[1]"}, {"name": "c", "type": "TOTAL"}, {"name": "d"},
                {"name": "e", "type": "TOP", "subject": "1", "k": 1000}, {"name": "f", "type": "APPROX_QUANTILE", "subject": "1"},
                {"name": "g", "type": "APPROX_QUANTILE", "subject": "1", "quantile": 7}]}),
            vec![
                "spec.combinedFields[0].subject",
                "spec.combinedFields[1].subject",
                "spec.combinedFields[2].type",
                "spec.combinedFields[3].type",
                "spec.combinedFields[4].k",
                "spec.combinedFields[5].quantile",
                "spec.combinedFields[6].quantile",
            ],
        ),
        (json!({"limit": -1}), vec!["spec.limit"]),
        (json!({"limit": "all"}), vec!["spec.limit"]),
        (json!({"select": {"name": "x"}}), vec!["spec.select"]),
    ] {
        let errors = Collector::parse(&spec).expect_err(&spec.to_string());
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, expected, "{spec}: {errors:?}");
    }
}

#[test]
fn a_bad_expression_is_refused_with_its_position() {
    let errors =
        Collector::parse(&json!({"filter": "returned.status.phase ==\n  what"})).unwrap_err();
    let text = errors[0].to_string();
    assert!(text.contains("line 2, column 3"), "{text}");
    let errors = Collector::parse(&json!({"filter": "inventory.name"})).unwrap_err();
    assert!(
        errors[0]
            .to_string()
            .contains("must give true or false, but gives string"),
        "{}",
        errors[0]
    );
}

#[test]
fn what_kubestellar_accepts_is_accepted() {
    for spec in [
        json!({"limit": 3}),
        json!({"limit": 0, "combinedFields": [{"name": "count", "type": "COUNT"}]}),
        json!({"limit": 1_000_000, "filter": "obj.spec.replicas != returned.status.availableReplicas", "select": [{"name": "wec", "def": "inventory.name"}]}),
        json!({"limit": 20, "select": [{"name": "wec", "def": "inventory.name"}, {"name": "status", "def": "returned.status"},
            {"name": "retrievalTime", "def": "propagation.lastReturnedUpdateTimestamp"}]}),
    ] {
        let collector = collector(spec);
        assert!((1..=1000).contains(&collector.limit()));
    }
    assert_eq!(collector(json!({"limit": 0})).limit(), 20);
}

#[test]
fn equal_expressions_and_accumulators_are_kept_once() {
    let collector = collector(
        json!({"filter": "has(returned.status.n)", "groupBy": [{"name": "n", "def": "returned.status.n"}], "combinedFields": [
        {"name": "sum", "type": "SUM", "subject": "returned.status.n"}, {"name": "avg", "type": "AVG", "subject": "returned.status.n"},
        {"name": "min", "type": "MIN", "subject": "returned.status.n"}, {"name": "max", "type": "MAX", "subject": "returned.status.n"}]}),
    );
    assert_eq!(collector.programs.len(), 2);
    let collector::Shape::Aggregate { accumulators, .. } = collector.shape() else {
        panic!("combines");
    };
    assert_eq!(accumulators.len(), 2);
}

#[test]
fn sums_and_means_and_extremes_of_groups() {
    let spec = json!({"groupBy": [{"name": "region", "def": "inventory.labels[?'region'].orValue('none')"}], "combinedFields": [
        {"name": "count", "type": "COUNT"}, {"name": "sum", "type": "SUM", "subject": "returned.status.n"}, {"name": "avg", "type": "AVG", "subject": "returned.status.n"},
        {"name": "min", "type": "MIN", "subject": "returned.status.n"}, {"name": "max", "type": "MAX", "subject": "returned.status.n"}]});
    let eu: &[(&str, &str)] = &[("region", "eu")];
    let table = table(
        spec,
        json!({}),
        &[
            ("a", eu, json!({"n": 1})),
            ("b", eu, json!({"n": 2.5})),
            ("c", &[], json!({"n": "4"})),
            ("d", &[("region", "us")], json!({"n": "many"})),
        ],
    );
    assert_eq!(
        rows(&table),
        json!([
            ["eu", 2, 3.5, 1.75, 1, 2.5],
            ["none", 1, 4, 4, 4, 4],
            ["us", 1, 0, 0, 0, 0]
        ])
    );
    let names: Vec<&str> = table.columns.iter().map(|c| &**c).collect();
    assert_eq!(names, ["region", "count", "sum", "avg", "min", "max"]);
    // What is no number counts as 0, and is reported with who has it: once per thing that is kept.
    assert_eq!(table.problems.len(), 2);
    assert_eq!(
        table.problems[0].message.as_ref(),
        "\"many\" is not a number"
    );
    assert_eq!(
        (table.problems[0].count, &*table.problems[0].examples[0]),
        (1, "d")
    );
}

#[test]
fn nothing_has_one_row_without_groups_and_none_with() {
    let fields = json!([{"name": "count", "type": "COUNT"}, {"name": "sum", "type": "SUM", "subject": "1"}, {"name": "avg", "type": "AVG", "subject": "1"},
        {"name": "min", "type": "MIN", "subject": "1"}, {"name": "max", "type": "MAX", "subject": "1"}]);
    let one = table(json!({"combinedFields": fields}), json!({}), &[]);
    assert_eq!(rows(&one), json!([[0, 0, "NaN", "+Inf", "-Inf"]]));
    let none = table(
        json!({"combinedFields": fields, "groupBy": [{"name": "g", "def": "1"}]}),
        json!({}),
        &[],
    );
    assert_eq!((rows(&none), none.total), (json!([]), 0));
}

#[test]
fn a_selection_shows_the_first_by_name() {
    let copies: Vec<(String, Value)> = (0..9)
        .map(|i| (format!("edge-{}", 9 - i), json!({"n": i})))
        .collect();
    let copies: Vec<Copied<'_>> = copies
        .iter()
        .map(|(name, status)| (name.as_str(), &[][..], status.clone()))
        .collect();
    let table = table(
        json!({"limit": 2, "filter": "returned.status.n < obj.spec.below", "select": [{"name": "wec", "def": "inventory.name"}, {"name": "missing", "def": "returned.status.m"}]}),
        json!({"spec": {"below": 5}, "status": {"n": 1}}),
        &copies,
    );
    assert_eq!(rows(&table), json!([["edge-5", null], ["edge-6", null]]));
    assert_eq!((table.total, table.row_errors.len()), (5, 2));
    let shown = combined::result("c", &table);
    assert_eq!(shown["rowErrors"][0]["wec"], "edge-5");
    assert_eq!(shown["rowErrors"][0]["columnName"], "missing");
    assert_eq!(shown["totalRows"], 5);
}

#[test]
fn errors_are_counted_with_three_examples() {
    let names: Vec<String> = (0..10).map(|i| format!("edge-{i}")).collect();
    let copies: Vec<Copied<'_>> = names
        .iter()
        .enumerate()
        .map(|(i, name)| {
            (
                name.as_str(),
                &[][..],
                if i % 2 == 0 {
                    json!({})
                } else {
                    json!({"ready": true})
                },
            )
        })
        .collect();
    let table = table(
        json!({"filter": "returned.status.ready", "combinedFields": [{"name": "n", "type": "COUNT"}]}),
        json!({}),
        &copies,
    );
    assert_eq!(rows(&table), json!([[5]]));
    let [problem] = table.problems.as_slice() else {
        panic!("{:?}", table.problems)
    };
    assert_eq!((problem.clause, problem.count), ("filter", 5));
    let examples: Vec<&str> = problem.examples.iter().map(|e| &**e).collect();
    assert_eq!(examples, ["edge-0", "edge-2", "edge-4"]);
    assert!(problem.message.contains("ready"), "{}", problem.message);
}

#[test]
fn frequencies_distinct_values_and_quantiles() {
    let copies: Vec<(String, Value)> = (0..100)
        .map(|i| {
            (
                format!("e{i}"),
                json!({"image": format!("v{}", i % 10 % 7), "n": i}),
            )
        })
        .collect();
    let copies: Vec<Copied<'_>> = copies
        .iter()
        .map(|(name, status)| (name.as_str(), &[][..], status.clone()))
        .collect();
    let table = table(
        json!({"combinedFields": [{"name": "images", "type": "TOP", "subject": "returned.status.image", "k": 2}, {"name": "distinct", "type": "APPROX_COUNT_DISTINCT", "subject": "returned.status.image"},
            {"name": "median", "type": "APPROX_QUANTILE", "subject": "returned.status.n", "quantile": 0.5}, {"name": "present", "type": "COUNT", "subject": "returned.status.n > 10 ? returned.status.n : null"}]}),
        json!({}),
        &copies,
    );
    assert_eq!(
        rows(&table),
        json!([[[{"count": 20, "value": "v0"}, {"count": 20, "value": "v1"}], 7, 49, 89]])
    );
    let approximate: Vec<&str> = table.approximate.iter().map(|c| &**c).collect();
    assert_eq!(approximate, ["distinct", "median"]);
    assert_eq!(
        combined::result("x", &table)["approximateColumns"],
        json!(["distinct", "median"])
    );
}

#[test]
fn kubestellars_examples() {
    let object = json!({"spec": {"replicas": 2}});
    let copies: &[Copied<'_>] = &[
        (
            "cluster1",
            &[],
            json!({"availableReplicas": 2, "phase": "Up"}),
        ),
        (
            "cluster2",
            &[],
            json!({"availableReplicas": 1, "phase": "Up"}),
        ),
    ];
    let shown = |spec: Value| combined::result("c", &table(spec, object.clone(), copies));
    assert_eq!(
        shown(json!({"combinedFields": [{"name": "count", "type": "COUNT"}], "limit": 10})),
        json!({"name": "c", "columnNames": ["count"], "totalRows": 1, "rows": [{"columns": [{"type": "Number", "float": "2"}]}]})
    );
    assert_eq!(
        shown(
            json!({"groupBy": [{"name": "phase", "def": "returned.status.phase"}], "combinedFields": [{"name": "count", "type": "COUNT"}], "limit": 10})
        ),
        json!({"name": "c", "columnNames": ["phase", "count"], "totalRows": 1,
            "rows": [{"columns": [{"type": "String", "string": "Up"}, {"type": "Number", "float": "2"}]}]})
    );
    assert_eq!(
        shown(
            json!({"filter": "obj.spec.replicas != returned.status.availableReplicas", "select": [{"name": "wec", "def": "inventory.name"}], "limit": 10})
        ),
        json!({"name": "c", "columnNames": ["wec"], "totalRows": 1, "rows": [{"columns": [{"type": "String", "string": "cluster2"}]}]})
    );
}
