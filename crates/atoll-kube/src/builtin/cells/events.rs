//! Events of both groups.

use serde_json::{Value, json};

use super::text::{UNKNOWN, age, integer, string};
use crate::time::Timestamp;

pub(super) fn cell(heading: &str, o: &Value, now: Timestamp) -> Option<Value> {
    // Core name, name in events.k8s.io.
    let either = |core: &str, own: &str| match string(o, core) {
        "" => string(o, own).to_owned(),
        found => found.to_owned(),
    };
    let about = |field: &str| {
        either(
            &format!("/involvedObject/{field}"),
            &format!("/regarding/{field}"),
        )
    };
    Some(match heading {
        "Last Seen" => last_seen(o, now).into(),
        "First Seen" => first_seen(o, now).into(),
        "Type" => json!(string(o, "/type")),
        "Reason" => json!(string(o, "/reason")),
        "Object" => match about("name").as_str() {
            "" => format!("{}/", about("kind").to_lowercase()).into(),
            name => format!("{}/{name}", about("kind").to_lowercase()).into(),
        },
        "Subobject" => about("fieldPath").into(),
        "Source" => source(o).into(),
        "Message" => either("/message", "/note").trim().into(),
        "Count" => {
            let counts = ["/series/count", "/count", "/deprecatedCount"];
            let found = counts.iter().map(|p| integer(o, p)).find(|n| *n != 0);
            found.unwrap_or(1).into()
        }
        _ => return None,
    })
}

fn time<'a>(o: &'a Value, pointers: &[&str]) -> Option<&'a Value> {
    let mut found = pointers.iter().filter_map(|p| o.pointer(p));
    found.find(|t| !t.is_null())
}

fn last_seen(o: &Value, now: Timestamp) -> String {
    let last = [
        "/series/lastObservedTime",
        "/lastTimestamp",
        "/deprecatedLastTimestamp",
    ];
    time(o, &last).map_or_else(|| first_seen(o, now), |t| age(t, now))
}

fn first_seen(o: &Value, now: Timestamp) -> String {
    let first = ["/firstTimestamp", "/deprecatedFirstTimestamp", "/eventTime"];
    time(o, &first).map_or_else(|| UNKNOWN.to_owned(), |t| age(t, now))
}

fn source(o: &Value) -> String {
    let either = |a: &str, b: &str| match string(o, a) {
        "" => string(o, b).to_owned(),
        found => found.to_owned(),
    };
    let mut component = either("/source/component", "/deprecatedSource/component");
    if component.is_empty() {
        component = either("/reportingComponent", "/reportingController");
    }
    let mut host = either("/source/host", "/deprecatedSource/host");
    if host.is_empty() {
        host = string(o, "/reportingInstance").to_owned();
    }
    if host.is_empty() {
        component
    } else {
        format!("{component}, {host}")
    }
}
