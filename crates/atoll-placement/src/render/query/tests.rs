//! What queries remove and where they put, and texts that are none.

use super::*;
use serde_json::json;

#[test]
fn removes_what_it_names() {
    let object = || json!({"a": [{"n": "x", "v": 1}, {"n": "y", "v": 2, "w": {"v": 3}}, {"n": "z"}], "m": {"a.b/c": 1, "d": {"v": 4}}});
    for (query, expected) in [
        ("$.m", json!({"a": object()["a"]})),
        (
            "$.m['a.b/c']",
            json!({"a": object()["a"], "m": {"d": {"v": 4}}}),
        ),
        (
            ".m[\"a.b/c\"]",
            json!({"a": object()["a"], "m": {"d": {"v": 4}}}),
        ),
        ("$.m[\"a.b/c\", 'd']", json!({"a": object()["a"], "m": {}})),
        (
            "$.a[*].v",
            json!({"a": [{"n": "x"}, {"n": "y", "w": {"v": 3}}, {"n": "z"}], "m": object()["m"]}),
        ),
        (
            "$.a[1]",
            json!({"a": [{"n": "x", "v": 1}, {"n": "z"}], "m": object()["m"]}),
        ),
        (
            "$.a[-1]",
            json!({"a": [{"n": "x", "v": 1}, {"n": "y", "v": 2, "w": {"v": 3}}], "m": object()["m"]}),
        ),
        (
            "$.a[1:]",
            json!({"a": [{"n": "x", "v": 1}], "m": object()["m"]}),
        ),
        (
            "$.a[::2]",
            json!({"a": [{"n": "y", "v": 2, "w": {"v": 3}}], "m": object()["m"]}),
        ),
        (
            "$.a[::-2]",
            json!({"a": [{"n": "y", "v": 2, "w": {"v": 3}}], "m": object()["m"]}),
        ),
        (
            "$..v",
            json!({"a": [{"n": "x"}, {"n": "y", "w": {}}, {"n": "z"}], "m": {"a.b/c": 1, "d": {}}}),
        ),
        (
            "$.a[?(@.n == 'y')]",
            json!({"a": [{"n": "x", "v": 1}, {"n": "z"}], "m": object()["m"]}),
        ),
        (
            "$.a[?@.v && @.n != \"x\"].v",
            json!({"a": [{"n": "x", "v": 1}, {"n": "y", "w": {"v": 3}}, {"n": "z"}], "m": object()["m"]}),
        ),
        (
            "$.a[?!(@.v) || @.v > 1]",
            json!({"a": [{"n": "x", "v": 1}], "m": object()["m"]}),
        ),
        ("$.m.*", json!({"a": object()["a"], "m": {}})),
        ("$.nope.x[3]", object()),
        ("$.a.n", object()),
    ] {
        let mut value = object();
        Query::parse(query).unwrap().remove(&mut value);
        assert_eq!(value, expected, "{query}");
    }
}

#[test]
fn puts_where_it_says() {
    for (query, before, expected) in [
        ("$.a.b", json!({}), Ok(json!({"a": {"b": 7}}))),
        (
            "$.a.b",
            json!({"a": {"b": 1, "c": 2}}),
            Ok(json!({"a": {"b": 7, "c": 2}})),
        ),
        ("$.a.b", json!({"a": null}), Ok(json!({"a": {"b": 7}}))),
        (
            "$.a[0].b",
            json!({"a": [{}, {}]}),
            Ok(json!({"a": [{"b": 7}, {}]})),
        ),
        ("$.a[-1]", json!({"a": [1, 2]}), Ok(json!({"a": [1, 7]}))),
        (
            "$.a[?(@.n=='x')].v.w",
            json!({"a": [{"n": "x"}, {"n": "y"}]}),
            Ok(json!({"a": [{"n": "x", "v": {"w": 7}}, {"n": "y"}]})),
        ),
        (
            "$.a[?(@.n=='z')].v",
            json!({"a": [{"n": "x"}]}),
            Ok(json!({"a": [{"n": "x"}]})),
        ),
        (
            "$.a[*]",
            json!({"a": {"x": 1, "y": 2}}),
            Ok(json!({"a": {"x": 7, "y": 7}})),
        ),
        ("$.a[0].b", json!({}), Err(".a is not there")),
        ("$.a[5]", json!({"a": []}), Err(".a[5] is not there")),
        ("$.a.b", json!({"a": "text"}), Err(".a is no map")),
        (
            "$.a[*].b",
            json!({"a": 5}),
            Err(".a is neither a list nor a map"),
        ),
    ] {
        let mut value = before;
        let done = Query::parse(query)
            .unwrap()
            .update(&mut value, &mut |_| Ok::<_, ()>(Some(json!(7))));
        let done = done.map(|()| value).map_err(|e| match e {
            UpdateError::NoPlace(why) => why,
            UpdateError::Change(()) => String::new(),
        });
        assert_eq!(done, expected.map_err(str::to_owned), "{query}");
    }
    let mut value = json!({"a": {"b": 1}});
    let nothing = &mut |_: Option<&Value>| Ok::<_, ()>(None);
    Query::parse("$.a.b")
        .unwrap()
        .update(&mut value, nothing)
        .unwrap();
    Query::parse("$.c.d")
        .unwrap()
        .update(&mut value, nothing)
        .unwrap();
    assert_eq!(value, json!({"a": {}}));
}

#[test]
fn texts_that_are_no_queries() {
    for (text, expected) in [
        ("", "a path begins with $ or ."),
        ("spec.a", "a path begins with $ or ."),
        ("$", "it names the whole object"),
        ("$.", "it ends too early"),
        ("$.a[", "it ends too early"),
        ("$.a]", "unexpected \"]\" at character 4"),
        ("$.a['b", "the quoted name at character 5 is not closed"),
        (
            "$.a[?(@.b == $.c)]",
            "filters look at the element only: write @",
        ),
        ("$.a[?@..b]", "a filter does not descend with .."),
        ("$.a[x]", "unexpected \"x\" at character 5"),
        ("$..a..b..c", "more than 2 times .. in one path"),
        ("$.a[?1]", "unexpected \"]\" at character 7"),
    ] {
        assert_eq!(Query::parse(text).unwrap_err(), expected, "{text}");
    }
    let deep = format!("$.a[?{}@.b{}]", "(".repeat(500), ")".repeat(500));
    assert!(Query::parse(&deep).unwrap_err().contains("nest deeper"));
    let negated = format!("$.a[?{}@.b]", "!".repeat(3000));
    assert!(Query::parse(&negated).unwrap_err().contains("nest deeper"));
    assert!(Query::parse(&format!("$.{}", "a".repeat(5000))).is_err());
}
