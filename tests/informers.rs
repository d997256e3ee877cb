//! client-go's own informers, with client-go's own settings (lists are streamed: WatchList): what they hold is what a fresh list
//! shows, whatever happened to the objects and to the center in between.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    edges::Fleet,
    harness::{eventually, http::Http, real_edge},
};

/// A running `kube-lite informer`; ends when dropped.
struct Informer {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// Where a fresh list is to be had.
    list: String,
}

/// What an informer holds, and what it saw and asked to get there.
#[derive(Debug)]
struct Held {
    objects: Vec<String>,
    counts: BTreeMap<String, u64>,
}

impl Informer {
    /// `base` is the API's path on the center, `resource` is `[group/]version/plural`.
    fn start(fleet: &Fleet, base: &str, resource: &str, namespace: &str) -> Self {
        let tools = real_edge::tools().expect("the fleet has an edge");
        let server = format!("https://127.0.0.1:{}{base}", fleet.center.port);
        let mut child = Command::new(tools.join("kube-lite"))
            .args(["informer", "--context", "shard-base", "--kubeconfig"])
            .arg(fleet.center.kubeconfig())
            .args(["--server", &server, "--resource", resource])
            .args(["--namespace", namespace])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("kube-lite starts");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = output.next().expect("an answer").expect("text");
        assert_eq!(first, "synced");
        let (version, plural) = resource.rsplit_once('/').expect("a version and a plural");
        let root = if version.contains('/') { "apis" } else { "api" };
        let list = match namespace {
            "" => format!("{base}/{root}/{version}/{plural}"),
            _ => format!("{base}/{root}/{version}/namespaces/{namespace}/{plural}"),
        };
        Informer {
            input: child.stdin.take().expect("a pipe"),
            child,
            output,
            list,
        }
    }

    fn held(&mut self) -> Held {
        writeln!(self.input).expect("the informer reads");
        let mut objects = Vec::new();
        loop {
            let line = self.output.next().expect("an answer").expect("text");
            let Some(counts) = line.strip_prefix("end ") else {
                objects.push(line);
                continue;
            };
            let counts = counts.split(' ').filter_map(|c| c.split_once('='));
            let counts = counts.map(|(k, n)| (k.to_owned(), n.parse().expect("a number")));
            return Held {
                objects,
                counts: counts.collect(),
            };
        }
    }

    /// Waits until the informer holds what a list shows that is asked for now.
    fn agrees(&mut self, http: &Http) -> Held {
        let path = self.list.clone();
        let held = eventually(&format!("the informer agrees with {path}"), || {
            let fresh = listed(&http.get(&path).expect(200));
            let held = self.held();
            if held.objects == fresh {
                Ok(held)
            } else {
                Err(format!("informer {held:#?}, list {fresh:#?}"))
            }
        });
        let count = |what: &str| held.counts[what];
        assert_eq!(
            count("adds") - count("deletes"),
            held.objects.len() as u64,
            "every object was added once and deleted once: {held:?}"
        );
        held
    }
}

impl Drop for Informer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listed(list: &Value) -> Vec<String> {
    let text = |o: &Value, field: &str| {
        let field = &o["metadata"][field];
        field.as_str().unwrap_or_default().to_owned()
    };
    let items = list["items"].as_array().expect("a list").iter();
    let mut lines: Vec<String> = items
        .map(|o| {
            let (namespace, name) = (text(o, "namespace"), text(o, "name"));
            format!("{namespace}/{name} {}", text(o, "resourceVersion"))
        })
        .collect();
    lines.sort();
    lines
}

/// A small generator of numbers that look random and are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Makes, changes or deletes the object `name` of a collection, as chance has it.
fn churn(http: &Http, random: &mut Random, collection: &str, name: &str, object: &Value) {
    let path = format!("{collection}/{name}");
    let merge = json!({"metadata": {"annotations": {"n": random.below(1000).to_string()}}});
    let (answer, may) = match random.below(4) {
        0 => (
            http.send("DELETE", &path, "application/json", &Value::Null),
            [200, 404],
        ),
        1 => (
            http.send("PATCH", &path, "application/json", &merge),
            [200, 404],
        ),
        _ => (http.post(collection, object), [201, 409]),
    };
    assert!(may.contains(&answer.code), "{answer:?}");
}

fn churn_everything(http: &Http, random: &mut Random, steps: u64) {
    for _ in 0..steps {
        let n = random.below(12);
        let name = format!("c-{n}");
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "a"}}, "data": {"n": name}});
        let edge = format!("x-{}", n % 4);
        let cluster = json!({"apiVersion": "cluster.open-cluster-management.io/v1", "kind": "ManagedCluster", "metadata": {"name": edge}, "spec": {}});
        match random.below(5) {
            0 | 1 => churn(
                http,
                random,
                "/clusters/root:u/api/v1/namespaces/default/configmaps",
                &name,
                &map,
            ),
            2 | 3 => churn(
                http,
                random,
                "/clusters/root:p/api/v1/namespaces/shop/configmaps",
                &name,
                &map,
            ),
            _ => churn(
                http,
                random,
                "/clusters/root:inventory/apis/cluster.open-cluster-management.io/v1/managedclusters",
                &edge,
                &cluster,
            ),
        }
    }
}

#[test]
fn informers_hold_what_a_fresh_list_shows_through_churn_and_kill_9() {
    let Some(mut fleet) = Fleet::start() else {
        return;
    };
    fleet.center.workspace("root", "u", "universal");
    // What stays: a mailbox serves a kind for as long as something of the kind is in it.
    fleet.center.apply(
        "root:p",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: stays, namespace: shop, labels: {app: a}}\n",
    );
    fleet.policy("a", "");
    fleet.is_current("a", 2);

    let mut informers = [
        Informer::start(&fleet, "/clusters/root:u", "v1/configmaps", ""),
        Informer::start(
            &fleet,
            "/clusters/root:inventory",
            "cluster.open-cluster-management.io/v1/managedclusters",
            "",
        ),
        Informer::start(
            &fleet,
            "/clusters/root:inventory",
            "control.kubestellar.io/v1alpha1/workstatuses",
            "e1",
        ),
        Informer::start(
            &fleet,
            "/services/mailbox/root:inventory/e1",
            "v1/configmaps",
            "",
        ),
    ];
    let mut http = Http::new(&fleet.center.kubeconfig(), "shard-base");
    for informer in &mut informers {
        let held = informer.agrees(&http);
        let asked = (held.counts["watchlists"], held.counts["lists"]);
        assert_eq!(asked, (1, 0), "{}: the list is streamed", informer.list);
    }
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..4 {
        churn_everything(&http, &mut random, 150);
        if round % 2 == 1 {
            fleet.center.restart();
            http = Http::new(&fleet.center.kubeconfig(), "shard-base");
            fleet.is_available("e1");
            churn_everything(&http, &mut random, 50);
        }
        for informer in &mut informers {
            let held = informer.agrees(&http);
            println!("round {round}: {} {:?}", informer.list, held.counts);
        }
    }
    // What is in the log resumes where it was; what is computed from it may have to be listed again.
    for informer in &mut informers[..2] {
        let held = informer.agrees(&http);
        assert_eq!(held.counts["watchlists"], 1, "{}", informer.list);
        assert!(held.counts["watches"] >= 2, "{held:?}");
    }
}
