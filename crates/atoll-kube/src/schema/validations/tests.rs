use serde_json::json;

use super::*;

fn rules(schema: Value) -> Validations {
    Validations::compile(&schema, false).unwrap()
}

#[test]
fn a_schema_without_rules_costs_nothing() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    assert!(!present(&schema));
    assert!(Validations::compile(&schema, true).is_none());
}

#[test]
fn a_small_budget_is_exhausted_where_a_large_one_suffices() {
    let schema = json!({"type": "array", "items": {"type": "integer"}, WORD: [{"rule": "self.all(a, self.all(b, a + b >= 0))"}]});
    let list: Value = (0..100).collect();
    let rules = rules(schema);
    let short = rules.evaluate(&list, None, 1000);
    assert!(short.exhausted && !short.errors.is_empty());
    let enough = rules.evaluate(&list, None, OBJECT_BUDGET);
    assert_eq!(enough.errors, []);
    assert!(!enough.exhausted && enough.cost > 1000 && enough.cost < OBJECT_BUDGET);
}

/// As upstream; the list is compared with its old self once, not once for each item.
#[test]
fn faults_of_a_large_list_that_did_not_change_are_forgiven_in_little_time() {
    let schema = json!({"type": "object", "properties": {"l": {"type": "array", "items": {"type": "integer", WORD: [{"rule": "self < 0"}]}}}});
    let list: Value = (0..100_000).collect();
    let object = json!({"l": list});
    let found = rules(schema).evaluate(&object, Some(&object.clone()), OBJECT_BUDGET);
    assert_eq!(found.errors, []);
    assert_eq!(found.forgiven.len(), 100, "and few are told");
}

#[test]
fn a_hostile_object_does_not_make_a_larger_answer_than_itself() {
    let schema =
        json!({"type": "array", "items": {"type": "integer", WORD: [{"rule": "self < 0"}]}});
    let list: Value = (0..100_000).collect();
    let found = rules(schema).evaluate(&list, None, OBJECT_BUDGET);
    assert_eq!(found.errors.len(), 100);
}
