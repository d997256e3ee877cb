//! Templates against Go's own answers, faults with their positions, and hostile ones.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// What genuine Go (with sprig) answers: made by testdata/facts.go.
const FACTS: &str = include_str!("testdata/facts.jsonl");

/// Where ours differs on purpose, and why.
const DIFFERENT: [(&str, &str); 1] = [("{{ .zone | }}", "a pipe to nothing is a slip")];

fn expand(source: &str, properties: &BTreeMap<&str, &str>) -> Result<String, TemplateError> {
    Template::compile(source)?.run(&|name| properties.get(name).copied(), &mut Meter::default())
}

#[test]
fn templates_are_expanded_as_go_does() {
    let mut lines = FACTS
        .lines()
        .map(|l| serde_json::from_str::<Value>(l).unwrap());
    let first = lines.next().unwrap();
    let properties: BTreeMap<&str, &str> = first["properties"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str().unwrap()))
        .collect();
    let mut wrong = Vec::new();
    for fact in lines {
        let source = fact["template"].as_str().unwrap();
        if DIFFERENT.iter().any(|(known, _)| *known == source) {
            continue;
        }
        let found = expand(source, &properties);
        match (fact["output"].as_str(), &found) {
            (Some(expected), Ok(found)) if found == expected => {}
            (None, Err(_)) => {}
            (expected, _) => wrong.push(format!(
                "{source}\n  go:   {expected:?} {}\n  ours: {found:?}",
                fact["error"]
            )),
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn what_is_wrong_is_said_with_its_position() {
    for (source, expected) in [
        (
            "a\n {{ nosuch .x }}",
            "2:5: there is no function \"nosuch\"",
        ),
        (
            "{{ define \"x\" }}{{ end }}",
            "1:4: templates that are given names are not supported",
        ),
        (
            "{{ template \"x\" . }}",
            "1:4: templates that are given names are not supported",
        ),
        (
            "{{ .location-group }}",
            "1:13: unexpected \"-\" after \".location\"; a property whose name is no identifier is written index . \"the-name\"",
        ),
        (
            "{{ .a.b }}",
            "1:6: values have no fields; a property whose name has dots is written index $ \"a.b\"",
        ),
        (
            "{{ . }}",
            "1:4: all properties together are no value: name one, as .name or index . \"name\"",
        ),
        (
            "{{ range $k, $v := . }}{{ end }}",
            "1:20: all properties together are no value: name one, as .name or index . \"name\"",
        ),
        (
            "{{ with .a }}{{ .b }}{{ end }}",
            "1:17: dot is a value here, without fields; write $.b",
        ),
        ("{{ index . $x }}", "1:12: undefined variable $x"),
        (
            "{{ $x := \"a\" }}{{ index . $x }}",
            "1:19: index takes one name in quotes here, so that what is read is known: index . \"name\"",
        ),
        (
            "{{ replace \"a\" .x }}",
            "1:4: replace takes 3 arguments, not 2",
        ),
        ("{{ if .x }}", "1:1: {{if}} without {{end}}"),
        (
            "{{ printf \"%s\" upper .x }}",
            "1:16: a function among arguments stands in parentheses: (upper …)",
        ),
        ("{{ \"abc }}", "1:4: the quoted text is not closed"),
        ("{{ \"\\q\" }}", "1:5: bad escape in quoted text"),
        ("ü {{ ~ }}", "1:6: unexpected \"~\""),
    ] {
        let error = Template::compile(source).unwrap_err();
        assert_eq!(
            format!("{}: {}", error.position, error.message),
            expected,
            "{source}"
        );
    }
}

#[test]
fn what_goes_wrong_at_a_destination_is_said_with_its_position() {
    let properties = BTreeMap::from([("replicas", "many"), ("zone", "z")]);
    for (source, expected) in [
        (
            "{{ .nope }}",
            "1:4: the destination has no property \"nope\"",
        ),
        (
            "x {{ index . \"no-pe\" }}",
            "1:6: the destination has no property \"no-pe\"",
        ),
        (
            "{{ upper (index . \"nope\") }}",
            "1:11: the destination has no property \"nope\"",
        ),
        (
            "{{ lt .replicas 3 }}",
            "1:4: lt: can not compare text with a whole number; properties are text: write (int .name) or (float64 .name)",
        ),
        (
            "{{ int .replicas }}",
            "1:4: int: \"many\" is no whole number",
        ),
        (
            "{{ printf \"%d\" .zone }}",
            "1:4: printf: %d does not show text",
        ),
        ("{{ printf \"%s\" }}", "1:4: printf: %s has no argument"),
        (
            "{{ required \"set nope\" (index . \"nope\") }}",
            "1:4: required: set nope",
        ),
        (
            "{{ range .zone }}{{ end }}",
            "1:10: range needs a list or a whole number, not text; to split text write splitList \",\" …",
        ),
    ] {
        let error = expand(source, &properties).unwrap_err();
        assert_eq!(
            format!("{}: {}", error.position, error.message),
            expected,
            "{source}"
        );
    }
    let error = expand("{{ .nope }}", &properties).unwrap_err();
    assert_eq!(error.property.as_deref(), Some("nope"));
}

#[test]
fn what_may_be_absent_is_empty_where_it_is_tested() {
    for (source, expected) in [
        ("{{ index . \"no\" | default \"d\" }}", "d"),
        ("{{ if index . \"no\" }}a{{ else }}b{{ end }}", "b"),
        ("{{ with index . \"no\" }}a{{ else }}b{{ end }}", "b"),
        ("{{ or (index . \"no\") \"c\" }}", "c"),
        ("{{ eq (index . \"no\") \"\" }}", "true"),
        (
            "{{ empty (index . \"no\") }}{{ not (index . \"no\") }}",
            "truetrue",
        ),
        ("{{ get . \"no\" }}|", "|"),
        ("{{ range index . \"no\" }}a{{ else }}b{{ end }}", "b"),
    ] {
        assert_eq!(
            expand(source, &BTreeMap::new()).as_deref(),
            Ok(expected),
            "{source}"
        );
    }
}

#[test]
fn reads_are_known_before_it_runs() {
    let template = Template::compile(
        "{{ if .a }}{{ index $ \"b-c\" }}{{ else if hasKey . \"d\" }}{{ end }}{{ with .a }}{{ $.e }}{{ end }}",
    )
    .unwrap();
    assert_eq!(template.reads(), ["a", "b-c", "d", "e"].map(Read::property));
}

#[test]
fn hostile_templates_end_soon_and_make_little() {
    let long = "x".repeat(1000);
    let properties = BTreeMap::from([("x", long.as_str())]);
    let deep = format!("{}1{}", "{{ if 1 }}".repeat(100), "{{ end }}".repeat(100));
    let parens = format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000));
    let elses = format!(
        "{{{{ if 0 }}}}{}{{{{ end }}}}",
        "{{ else if 0 }}".repeat(100_000)
    );
    let widths = format!(
        "{{{{ printf \"{}\" {} }}}}",
        "%4096s".repeat(2000),
        "\"\" ".repeat(2000)
    );
    let pipes = format!("{{{{ .x {} }}}}", "| printf \"%s%s\" .x ".repeat(5000));
    for source in [
        "{{ range 9223372036854775807 }}x{{ end }}",
        "{{ range 1000000 }}{{ range 1000000 }}{{ range 1000000 }}{{ end }}{{ end }}{{ end }}",
        "{{ repeat 1000000000 .x }}",
        "{{ $s := .x }}{{ range 60 }}{{ $s = printf \"%s%s\" $s $s }}{{ end }}{{ $s }}",
        "{{ $s := .x }}{{ range 60 }}{{ $s = replace \"x\" \"xxxxxxxx\" $s }}{{ end }}{{ $s }}",
        "{{ $l := list 1 }}{{ range 60 }}{{ $l = list $l $l $l $l $l $l $l $l }}{{ end }}{{ $l }}",
        "{{ indent 999999999 .x }}",
        "{{ printf \"%999999999d\" 1 }}",
        "{{ printf \"%.999999999f\" 1.0 }}",
        "{{ join (repeat 3000 .x) (splitList \"\" (repeat 3000 .x)) }}",
        "{{ replace \"\" .x (repeat 3000 .x) }}",
        "{{ range splitList \"\" (repeat 3000 .x) }}{{ $.x }}{{ end }}",
        &deep,
        &parens,
        &elses,
        &widths,
        &pipes,
    ] {
        let shown: String = source.chars().take(80).collect();
        assert!(expand(source, &properties).is_err(), "{shown}");
    }
}

#[test]
fn no_number_overflows() {
    for source in [
        "{{ add 9223372036854775807 1 }}",
        "{{ mul 9223372036854775807 2 }}",
        "{{ sub -9223372036854775807 2 }}",
        "{{ div (sub -9223372036854775807 1) -1 }}",
        "{{ mod (sub -9223372036854775807 1) -1 }}",
        "{{ mod 1 0 }}",
        "{{ 99999999999999999999 | int }}{{ fail \"x\" }}",
        "{{ index (list 1) -1 }}",
        "{{ slice \"ü\" 1 }}",
        "{{ slice \"abc\" 2 1 }}",
    ] {
        assert!(expand(source, &BTreeMap::new()).is_err(), "{source}");
    }
}

fn piece() -> impl Strategy<Value = String> {
    let words = [
        "{{",
        "}}",
        "{{-",
        "-}}",
        " ",
        "if",
        "else",
        "end",
        "range",
        "with",
        ".zone",
        ".nope",
        "$",
        "$x",
        ":=",
        "=",
        "(",
        ")",
        "|",
        "\"a\"",
        "\"%5d\"",
        "\"%-3.2q\"",
        "1",
        "-3",
        "2.5",
        "`r`",
        "'c'",
        "index",
        "get",
        ".",
        "printf",
        "upper",
        "eq",
        "lt",
        "and",
        "or",
        "not",
        "default",
        "splitList",
        "\",\"",
        "join",
        "trunc",
        "substr",
        "repeat",
        "int",
        "list",
        "slice",
        "range 3",
        "break",
        "continue",
        "/*",
        "*/",
        "ü",
        "\n",
        "true",
        "first",
        "len",
        "add",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => ".{0,3}",
    ]
}

/// Templates that mostly compile, so that what runs is tried too.
fn likely() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just(".zone".to_owned()),
        Just("(index . \"no\")".to_owned()),
        Just("\"a,ü\"".to_owned()),
        Just("-2".to_owned()),
        Just("3".to_owned()),
        Just("1.5".to_owned()),
        Just("true".to_owned()),
        Just("(list 1 \"b\")".to_owned()),
        Just("(splitList \"\" .zone)".to_owned()),
    ];
    let call = (
        proptest::sample::select(FUNCTIONS.to_vec()),
        proptest::collection::vec(value, 0..4),
    )
        .prop_map(|(name, arguments)| format!("({name} {})", arguments.join(" ")));
    proptest::collection::vec(call, 1..4).prop_map(|calls| {
        calls
            .iter()
            .map(|c| format!("{{{{ {c} }}}}{{{{ range {c} }}}}{{{{ . }}}}{{{{ end }}}}"))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Nothing panics, and what runs runs the same again.
    #[test]
    fn any_text_is_refused_or_runs(pieces in proptest::collection::vec(piece(), 0..24), likely in likely()) {
        let properties = BTreeMap::from([("zone", "größe,b")]);
        for source in [pieces.concat(), pieces.join(" "), format!("{{{{ {} }}}}", pieces.join(" ")), likely] {
            prop_assert_eq!(expand(&source, &properties), expand(&source, &properties));
        }
    }
}
