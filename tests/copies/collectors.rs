//! KubeStellar's examples of StatusCollectors, as they are documented, with stock kubectl.

use serde_json::{Value, json};

use super::{SHOP, deployment, policy, policy_says};
use crate::{edges::Fleet, harness::eventually};

/// The documented examples: how many, a histogram, who has not as many replicas as wanted, and full statuses.
const COLLECTORS: &str = r#"---
apiVersion: control.kubestellar.io/v1alpha1
kind: StatusCollector
metadata:
  name: count-wecs
spec:
  combinedFields:
    - name: count
      type: COUNT
  limit: 20
---
apiVersion: control.kubestellar.io/v1alpha1
kind: StatusCollector
metadata:
  name: available-histogram
spec:
  groupBy:
    - name: numAvailable
      def: returned.status.availableReplicas
  combinedFields:
    - name: count
      type: COUNT
  limit: 20
---
apiVersion: control.kubestellar.io/v1alpha1
kind: StatusCollector
metadata:
  name: not-as-available
spec:
  filter: "obj.spec.replicas != returned.status.availableReplicas"
  select:
    - name: wec
      def: inventory.name
  limit: 20
---
apiVersion: control.kubestellar.io/v1alpha1
kind: StatusCollector
metadata:
  name: full-status
spec:
  select:
    - name: wec
      def: inventory.name
    - name: status
      def: returned.status
    - name: retrievalTime
      def: propagation.lastReturnedUpdateTimestamp
  limit: 20
"#;

const NAMES: &str =
    "    statusCollectors: [count-wecs, available-histogram, not-as-available, full-status]\n";

/// The only CombinedStatus of the workspace, as kubectl finds it by its labels.
fn combined(fleet: &Fleet) -> Result<Value, String> {
    let labels = "status.kubestellar.io/name=web,status.kubestellar.io/binding-policy=a";
    let found = fleet
        .center
        .get("root:p", &["combinedstatus", "-n", "shop", "-l", labels])?;
    let items = found["items"].as_array().cloned().unwrap_or_default();
    <[Value; 1]>::try_from(items)
        .map(|[one]| one)
        .map_err(|items| format!("{} of them", items.len()))
}

fn rows(status: &Value, name: &str) -> Value {
    let results = status["results"].as_array().into_iter().flatten();
    let mut results = results.filter(|r| r["name"] == name);
    results.next().map_or(Value::Null, |r| r["rows"].clone())
}

#[test]
fn kubestellars_examples_show_what_they_are_documented_to_show() {
    let Some(mut fleet) = Fleet::start() else {
        return;
    };
    let answer = fleet
        .center
        .kubectl_in("root:p", &["apply", "-f", "-"], COLLECTORS);
    answer.expect();
    let refused = COLLECTORS.replace("obj.spec.replicas !=", "obj.spec.replicas =");
    let refused = fleet
        .center
        .kubectl_in("root:p", &["apply", "-f", "-"], &refused)
        .refused();
    assert!(refused.contains("line 1, column"), "{refused}");
    fleet
        .center
        .apply("root:p", &(SHOP.to_owned() + &deployment("web", "a", 2)));
    // A second destination, which nobody has connected yet.
    fleet.join("e2", &["place=here"]).expect();
    let named = NAMES.replace("count-wecs", "count-wecs, no-such");
    fleet.center.apply("root:p", &policy("a", &named, ""));
    policy_says(
        &fleet.center,
        "root:p",
        "a",
        "StatusCollectorMissing: a clause names no-such",
    );
    fleet.center.apply("root:p", &policy("a", NAMES, ""));
    let number = |n: u32| json!({"type": "Number", "float": n.to_string()});
    let text = |t: &str| json!({"type": "String", "string": t});
    let shown = eventually("the examples' answers", || {
        let status = combined(&fleet)?;
        let expected = [
            ("count-wecs", json!([{"columns": [number(1)]}])),
            (
                "available-histogram",
                json!([{"columns": [number(2), number(1)]}]),
            ),
            ("not-as-available", json!([])),
        ];
        match expected
            .iter()
            .all(|(name, rows_)| rows(&status, name) == *rows_)
        {
            true => Ok(status),
            false => Err(status.to_string()),
        }
    });
    assert_eq!(
        ["expected", "reported", "stale"].map(|f| shown[f].as_u64()),
        [Some(2), Some(1), Some(1)]
    );
    let full = rows(&shown, "full-status");
    assert_eq!(full[0]["columns"][0], text("e1"));
    assert_eq!(full[0]["columns"][1]["object"]["availableReplicas"], 2);
    let deployment = fleet
        .center
        .get("root:p", &["deployment", "web", "-n", "shop"])
        .unwrap();
    let policy = fleet.center.get("root:p", &["bindingpolicy", "a"]).unwrap();
    let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap().to_owned();
    let name = format!("{}.{}", uid(&deployment), uid(&policy));
    assert_eq!(shown["metadata"]["name"], name.as_str());
    // Who wants more than the edge has.
    fleet
        .center
        .apply("root:p", &super::deployment("web", "a", 3));
    let shown = eventually("three everywhere", || {
        let status = combined(&fleet)?;
        let three = json!([{"columns": [number(3), number(1)]}]);
        match rows(&status, "available-histogram") == three
            && rows(&status, "not-as-available") == json!([])
        {
            true => Ok(status),
            false => Err(status.to_string()),
        }
    });
    // Nobody writes it, and nothing of it is lost.
    let merge = [
        "patch",
        "combinedstatus",
        &name,
        "-n",
        "shop",
        "--type=merge",
        "-p",
        "{\"expected\": 9}",
    ];
    fleet.center.kubectl("root:p", &merge).refused();
    fleet.kill_agent();
    fleet.center.restart();
    let after = combined(&fleet).unwrap();
    assert_eq!(after["results"], shown["results"]);
    assert_eq!(after["stale"], 2);
}
