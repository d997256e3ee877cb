//! Answers laid out for people: tables as kubectl's, and plain sentences. Pure.

use serde_json::Value;
use std::fmt::Write as _;

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Columns as wide as they need be, with three spaces between.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = head.iter().map(|h| h.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let head: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}   ");
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// `deployments/web` with its namespace before it.
fn title(object: &Value) -> String {
    let (kind, name) = (text(&object["kind"]), text(&object["name"]));
    match object["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// `3 (a, b, …)`.
fn whom(value: &Value) -> String {
    let count = value["count"].as_u64().unwrap_or(0);
    let examples: Vec<String> = list(&value["examples"]).iter().map(text).collect();
    let more = if count > examples.len() as u64 {
        ", …"
    } else {
        ""
    };
    match examples.is_empty() {
        true => count.to_string(),
        false => format!("{count} ({}{more})", examples.join(", ")),
    }
}

pub(super) fn explanation(answer: &Value) -> String {
    let mut out = String::new();
    let at = match answer["destination"].as_str() {
        Some(destination) => format!(" at {destination}"),
        None => String::new(),
    };
    let _ = writeln!(
        out,
        "{}{at}: {}",
        title(&answer["object"]),
        text(&answer["summary"])
    );
    if let Some(copy) = answer.get("copy") {
        for (name, field) in [
            ("State", "state"),
            ("Health", "health"),
            ("Error", "error"),
            ("Message", "message"),
            ("Awaited", "awaited"),
        ] {
            if let Some(value) = copy[field].as_str() {
                let _ = writeln!(out, "  {name:9} {value}");
            }
        }
        for customizer in list(&copy["customizers"]) {
            let acts = match customizer["acts"].as_bool() {
                Some(true) => "acts here".to_owned(),
                Some(false) => "does not act here".to_owned(),
                None => format!(
                    "cannot say whether it acts: {}",
                    text(&customizer["message"])
                ),
            };
            let _ = writeln!(out, "  Customizer {} {acts}", text(&customizer["name"]));
        }
        for transform in list(&copy["customTransforms"]) {
            let _ = writeln!(out, "  CustomTransform {}", text(transform));
        }
    }
    for policy in list(&answer["policies"]) {
        let _ = writeln!(out, "Policy {}", text(&policy["policy"]));
        let object = &policy["object"];
        let clauses: Vec<String> = list(&object["clauses"])
            .iter()
            .map(|c| format!("spec.downsync[{c}]"))
            .collect();
        let what = match (object["selected"] == true, object["implicit"] == true) {
            (true, true) => "comes along with what is selected".to_owned(),
            (true, false) => format!("selected by {}", clauses.join(", ")),
            _ => format!("not selected: {}", text(&object["message"])),
        };
        let _ = writeln!(out, "  Object    {what}");
        let place = &policy["destination"];
        if place.is_object() {
            let whether = match place["assigned"] == true {
                true => format!(
                    "has revision {} of {} since {}",
                    place["revision"],
                    place["newestRevision"],
                    text(&place["since"])
                ),
                false => "not chosen".to_owned(),
            };
            let why = match place["message"].as_str() {
                Some(why) => format!(": {why}"),
                None => String::new(),
            };
            let _ = writeln!(out, "  Edge      {whether}{why}");
            if let Some(waiting) = place["waiting"].as_str() {
                let _ = writeln!(out, "  Rollout   {waiting}");
            }
        }
        for (field, words) in [
            ("suspended", "suspended: nothing changes until it goes on"),
            (
                "consentMissing",
                "its writer may not place on the inventory (any more)",
            ),
            ("deleted", "deleted: its copies are being removed"),
        ] {
            if policy[field] == true {
                let _ = writeln!(out, "  {words}");
            }
        }
        if policy["removalHeld"].is_object() {
            let held = &policy["removalHeld"];
            let _ = writeln!(
                out,
                "  a removal of {} copies is held; spec.confirmRemoval: {} lets it happen",
                held["copies"],
                text(&held["token"])
            );
        }
        for problem in list(&policy["problems"]) {
            let _ = writeln!(out, "  problem: {}", text(problem));
        }
    }
    out
}

pub(super) fn copies(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = list(&answer["items"])
        .iter()
        .map(|copy| {
            let object = &copy["object"];
            let resource = match object["group"].as_str() {
                Some("") | None => text(&object["resource"]),
                Some(group) => format!("{}.{group}", text(&object["resource"])),
            };
            let policies: Vec<String> = list(&copy["policies"])
                .iter()
                .map(|p| format!("{}@{}", text(&p["policy"]), p["revision"]))
                .collect();
            let state = match copy["health"].as_str() {
                Some(health) => format!("{}/{health}", text(&copy["state"])),
                None => text(&copy["state"]),
            };
            let stale = if copy["stale"] == true { " (away)" } else { "" };
            let why = [&copy["error"], &copy["message"]].map(text);
            vec![
                text(&object["namespace"]),
                format!("{resource}/{}", text(&object["name"])),
                text(&copy["destination"]) + stale,
                policies.join(","),
                state,
                why.join(" ").trim().to_owned(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "No copies found.\n".to_owned();
    }
    let mut out = table(
        &[
            "NAMESPACE",
            "OBJECT",
            "EDGE",
            "POLICY@REVISION",
            "STATE",
            "WHY",
        ],
        &rows,
    );
    if answer["continue"].is_string() {
        out.push_str("There are more; see them with a larger --limit, or ask for less.\n");
    }
    out
}

pub(super) fn desired(answer: &Value) -> String {
    let mut out = String::new();
    for item in list(&answer["items"]) {
        match item.get("body") {
            // JSON is YAML: what is printed can be applied.
            Some(body) => {
                let _ = writeln!(
                    out,
                    "---\n{}",
                    serde_json::to_string_pretty(body).unwrap_or_default()
                );
            }
            None => {
                let _ = writeln!(
                    out,
                    "---\n# {}: {}",
                    title(&item["object"]),
                    text(&item["error"])
                );
            }
        }
    }
    if let Some(n) = answer["withheld"].as_u64() {
        let _ = writeln!(out, "# {n} objects are not shown: you may not get them");
    }
    out
}

pub(super) fn history(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = list(&answer["revisions"])
        .iter()
        .map(|r| {
            ["revision", "cutAt", "objects", "destinations", "content"]
                .map(|field| text(&r[field]))
                .to_vec()
        })
        .collect();
    if rows.is_empty() {
        return "It has no revision yet.\n".to_owned();
    }
    table(
        &["REVISION", "CUT AT", "OBJECTS", "EDGES", "CONTENT"],
        &rows,
    )
}

/// One class of a change, with its fields.
fn class(out: &mut String, class: &Value, indent: &str) {
    let change = text(&class["change"]);
    let at = match class.get("destinations") {
        Some(at) => format!(" at {}", whom(at)),
        None => String::new(),
    };
    let why = match class["message"].as_str() {
        Some(why) => format!(": {why}"),
        None => String::new(),
    };
    let words = match change.as_str() {
        "AddedFails" => "Added, but cannot be made",
        "Fails" => "Cannot be made any more (what is there stays)",
        "StillFails" => "Still cannot be made",
        "Recovers" => "Can be made again",
        "Handling" => "Only how it is applied changes",
        "NotLookedAt" => "Not looked at",
        other => other,
    };
    let _ = writeln!(out, "{indent}{words}{at}{why}");
    for field in list(&class["differences"]) {
        let path = text(&field["path"]);
        let _ = match (field.get("old"), field.get("new")) {
            (Some(old), Some(new)) => writeln!(out, "{indent}  ~ {path}: {old} -> {new}"),
            (Some(old), None) => writeln!(out, "{indent}  - {path}: {old}"),
            (None, Some(new)) => writeln!(out, "{indent}  + {path}: {new}"),
            (None, None) => writeln!(out, "{indent}  {path}"),
        };
    }
}

pub(super) fn diff(answer: &Value) -> String {
    let mut out = format!(
        "Policy {}: revision {} to {}\n",
        text(&answer["policy"]),
        answer["from"],
        answer["to"]
    );
    for change in list(&answer["changes"]) {
        let _ = writeln!(out, "{}", title(&change["object"]));
        for one in list(&change["classes"]) {
            class(&mut out, one, "  ");
        }
    }
    if list(&answer["changes"]).is_empty() {
        out.push_str("No difference.\n");
    }
    if let Some(n) = answer["withheld"].as_u64() {
        let _ = writeln!(out, "{n} more objects differ that you may not get.");
    }
    out
}

pub(super) fn plan(answer: &Value) -> String {
    let mut out = String::new();
    for warning in list(&answer["warnings"]) {
        let _ = writeln!(out, "Warning: {}", text(warning));
    }
    for object in list(&answer["objects"]) {
        let _ = writeln!(
            out,
            "{:9} {}",
            text(&object["action"]),
            title(&object["object"])
        );
    }
    for policy in list(&answer["policies"]) {
        let _ = writeln!(
            out,
            "Policy {}: {} edges, then {} (added {}, removed {})",
            text(&policy["policy"]),
            policy["destinationsBefore"],
            policy["destinationsAfter"],
            whom(&policy["added"]),
            whom(&policy["removed"])
        );
        if let Some(note) = policy["note"].as_str() {
            let _ = writeln!(out, "  {note}");
        }
        for why in list(&policy["unsatisfied"]) {
            let _ = writeln!(out, "  cannot be had: {}", text(why));
        }
        if policy["removalHeld"].is_object() {
            let held = &policy["removalHeld"];
            let _ = writeln!(
                out,
                "  the removal of {} copies would be HELD until spec.confirmRemoval is {}",
                held["copies"],
                text(&held["token"])
            );
        }
    }
    for one in list(&answer["classes"]) {
        let objects: Vec<String> = list(&one["objects"]).iter().map(title).collect();
        let _ = writeln!(out, "{}", objects.join(", "));
        class(&mut out, one, "  ");
    }
    let copies = answer["summary"]["copies"].as_object();
    let counts: Vec<String> = copies
        .into_iter()
        .flatten()
        .map(|(word, n)| format!("{n} {word}"))
        .collect();
    match counts.is_empty() {
        true => out.push_str("No copy would change.\n"),
        false => {
            let _ = writeln!(
                out,
                "Copies: {} at {} edges",
                counts.join(", "),
                answer["summary"]["destinations"]
            );
        }
    }
    let removed = &answer["removals"];
    if removed["copies"].as_u64().unwrap_or(0) > 0 {
        let _ = writeln!(
            out,
            "REMOVES {} copies at {}",
            removed["copies"],
            whom(&removed["destinations"])
        );
    }
    let _ = writeln!(
        out,
        "To do exactly this: atoll apply --plan {} with the same files",
        text(&answer["token"])
    );
    out
}

pub(super) fn applied(answer: &Value) -> String {
    let mut out = String::new();
    for one in list(&answer["applied"]) {
        let done = match one["action"].as_str() {
            Some("create") => "created",
            Some("delete") => "deleted",
            _ => "configured",
        };
        let _ = writeln!(out, "{} {done}", title(&one["object"]));
    }
    if out.is_empty() {
        out.push_str("Nothing to change.\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_as_wide_as_they_need_be() {
        let rows = [
            vec!["a".to_owned(), "long cell".to_owned()],
            vec!["bb".to_owned(), String::new()],
        ];
        assert_eq!(table(&["X", "Y"], &rows), "X    Y\na    long cell\nbb\n");
    }

    #[test]
    fn a_plan_says_what_it_removes_and_how_to_go_on() {
        let at = json!({"count": 7, "examples": ["a", "b"]});
        let object = json!({"kind": "ConfigMap", "namespace": "shop", "name": "x"});
        let answer = json!({
            "warnings": ["p: spec.clusterSelectors[0] is empty"],
            "objects": [{"object": object, "action": "update"}],
            "classes": [{"change": "Removed", "objects": [object], "destinations": at},
                {"change": "Changed", "objects": [object], "destinations": at, "differences": [{"path": "data.v", "old": "1", "new": "2"}]}],
            "summary": {"destinations": 14, "copies": {"removed": 7, "changed": 7}},
            "removals": {"copies": 7, "destinations": at},
            "token": "abc",
        });
        let text = plan(&answer);
        for words in [
            "Warning: p: spec.clusterSelectors[0] is empty",
            "update    ConfigMap shop/x",
            "Removed at 7 (a, b, …)",
            "~ data.v: \"1\" -> \"2\"",
            "Copies: 7 changed, 7 removed at 14 edges",
            "REMOVES 7 copies at 7 (a, b, …)",
            "atoll apply --plan abc",
        ] {
            assert!(text.contains(words), "{words}\n{text}");
        }
    }
}
