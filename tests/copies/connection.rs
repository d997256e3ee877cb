//! The one connection of an agent: what happens when it dies without a word, and when its certificate runs out.

use std::{
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{SHOP, config_map};
use crate::{
    edges::Fleet,
    harness::{eventually, eventually_within, proxy::Proxy, read},
};

const C: [&str; 4] = ["cm", "c", "-n", "shop"];

/// What both sides promise.
const NOTICED: Duration = Duration::from_secs(95);

impl Fleet {
    fn place(&self, value: &str) {
        let map = config_map("c", "a", "", &format!("k: {value}"));
        self.center.apply("root:p", &(SHOP.to_owned() + &map));
    }

    fn change_a_field(&self, file: &Path, change: impl FnOnce(&mut Value)) {
        let mut value: Value = serde_json::from_str(&read(file)).unwrap();
        change(&mut value);
        std::fs::write(file, value.to_string()).unwrap();
    }

    /// When the agent's certificate runs out.
    fn not_after(&self) -> i64 {
        let identity = read(&self.state_directory().join("identity.json"));
        let identity: Value = serde_json::from_str(&identity).unwrap_or_default();
        identity["notAfter"].as_i64().unwrap_or_default()
    }

    fn wait_until_expired(&self) {
        let not_after = self.not_after();
        eventually("the certificate has expired", || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
            match now.as_secs() as i64 > not_after {
                true => Ok(()),
                false => Err(not_after),
            }
        });
    }

    fn is_renewed(&self, since: i64) {
        eventually("the certificate is renewed", || {
            let not_after = self.not_after();
            if not_after > since {
                Ok(())
            } else {
                Err(not_after)
            }
        });
    }
}

#[test]
fn a_connection_that_dies_without_a_word_is_noticed_by_both_sides() {
    let Some(mut fleet) = Fleet::start() else {
        return;
    };
    fleet.kill_agent();
    let proxy = Proxy::to(fleet.center.port);
    fleet.change_a_field(&fleet.join_file("e1"), |join| {
        join["server"] = json!(format!("https://127.0.0.1:{}", proxy.port));
    });
    fleet.place("old");
    fleet.policy("a", "");
    fleet.start_agent();
    fleet.is_current("a", 2);
    let stale = |fleet: &Fleet| {
        let status = fleet.center.get("root:p", &["bindingpolicy", "a"])?["status"].clone();
        Ok::<_, String>(status["counts"]["stale"].clone())
    };
    assert_eq!(stale(&fleet), Ok(json!(0)));

    proxy.black_hole();
    // Something waits to be sent there all the time.
    fleet.place("new");
    eventually_within(NOTICED, "the center notices", || match stale(&fleet)? {
        count if count == 2 => Ok(()),
        count => Err(count.to_string()),
    });
    // Nothing closed the agent's side: it finds out by itself, and comes back on another way.
    proxy.let_new_ones_in();
    eventually_within(NOTICED, "the agent notices", || {
        let object = fleet.edge.get(&C)?;
        if object["data"]["k"] == "new" {
            Ok(())
        } else {
            Err(object["data"].to_string())
        }
    });
    eventually("the center sees it again", || match stale(&fleet)? {
        count if count == 0 => Ok(()),
        count => Err(count.to_string()),
    });
    fleet.is_current("a", 2);
}

#[test]
fn certificates_are_renewed_and_an_expired_one_opens_renewal_alone() {
    let Some(mut fleet) = Fleet::start_with(&["--agent-certificate-ttl", "15s"]) else {
        return;
    };
    fleet.place("one");
    fleet.policy("a", "");
    fleet.edge_shows(&C, "/data/k", &json!("one"));
    // While it runs, long before the end.
    let first = fleet.not_after();
    fleet.is_renewed(first);
    fleet.place("two");
    fleet.edge_shows(&C, "/data/k", &json!("two"));

    // An agent that believes that its expired certificate is good.
    fleet.kill_agent();
    fleet.wait_until_expired();
    let expired = fleet.not_after();
    let identity = fleet.state_directory().join("identity.json");
    fleet.change_a_field(&identity, |identity| {
        identity["renewAfter"] = json!(expired + 86_400);
    });
    fleet.place("three");
    let log = fleet.scratch.path().join("agent.log");
    assert!(!read(&log).contains("has expired"));
    fleet.start_agent();
    eventually("no session is opened with it", || {
        let said = read(&log);
        if said.contains("the client certificate has expired") {
            Ok(())
        } else {
            Err(said)
        }
    });
    // But renewal is.
    fleet.is_renewed(expired);
    fleet.edge_shows(&C, "/data/k", &json!("three"));

    // Not for an edge that is not accepted.
    fleet.kill_agent();
    fleet.wait_until_expired();
    let expired = fleet.not_after();
    let accept = |fleet: &Fleet, yes: bool| {
        let change = json!({"spec": {"hubAcceptsClient": yes}}).to_string();
        let what = [
            "patch",
            "managedcluster",
            "e1",
            "--type=merge",
            "-p",
            &change,
        ];
        fleet.center.kubectl("root:inventory", &what).expect();
    };
    accept(&fleet, false);
    fleet.start_agent();
    eventually("renewal is refused", || {
        let said = read(&log);
        if said.contains("hubAcceptsClient") {
            Ok(())
        } else {
            Err(said)
        }
    });
    assert_eq!(fleet.not_after(), expired);
    accept(&fleet, true);
    fleet.is_renewed(expired);
    fleet.place("four");
    fleet.edge_shows(&C, "/data/k", &json!("four"));
}
