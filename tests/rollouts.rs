//! A staged rollout over sandbox edges with the real binary: approval, a failing image, kill -9 of the center in the middle, undo.

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{ATOLL, Answer, Center, Process, eventually, kubectl, scratch};

/// A center with `root:inventory` and `root:p`, and sandbox edges. Agents end before their edges, edges before the center.
struct Fleet {
    agents: Vec<Process>,
    sandboxes: Vec<Process>,
    center: Center,
    scratch: tempfile::TempDir,
}

const EDGES: [&str; 3] = ["c1", "e1", "e2"];

impl Fleet {
    fn start() -> Fleet {
        let scratch = scratch();
        let center = Center::start(&scratch.path().join("center"));
        center.workspace("root", "inventory", "inventory");
        center.workspace("root", "p", "payload");
        let mut fleet = Fleet {
            agents: Vec::new(),
            sandboxes: Vec::new(),
            center,
            scratch,
        };
        for name in EDGES {
            fleet.join(name);
        }
        for name in EDGES {
            let available = "--for=condition=ManagedClusterConditionAvailable";
            let cluster = format!("managedcluster/{name}");
            let wait = ["wait", &cluster, available, "--timeout=60s"];
            fleet.center.kubectl("root:inventory", &wait).expect();
        }
        fleet
    }

    fn join(&mut self, name: &str) {
        let path = |what: &str| self.scratch.path().join(format!("{name}{what}"));
        let (file, root) = (path(".join.yaml"), path(""));
        let ring = format!("ring={}", &name[..1]);
        let file_name = file.to_str().unwrap();
        let add = [
            "edges",
            "add",
            name,
            "--inventory",
            "root:inventory",
            "--label",
            &ring,
            "-o",
            file_name,
        ];
        self.center.atoll(&add).expect();
        let mut sandbox = Command::new(ATOLL);
        sandbox.arg("sandbox").arg("--root-directory").arg(&root);
        let sandbox = Process::start(&mut sandbox, &path(".log"));
        eventually("the sandbox is ready", || {
            match sandbox.output().contains("ready at") {
                true => Ok(()),
                false => Err(sandbox.output()),
            }
        });
        let mut agent = Command::new(ATOLL);
        agent.arg("agent").arg("--join").arg(&file);
        agent.arg("--kubeconfig").arg(root.join("admin.kubeconfig"));
        agent.arg("--state-directory").arg(path("-agent"));
        self.agents
            .push(Process::start(&mut agent, &path("-agent.log")));
        self.sandboxes.push(sandbox);
    }

    /// The image of the Deployment at an edge.
    fn image(&self, edge: &str) -> Option<String> {
        let kubeconfig = self.scratch.path().join(edge).join("admin.kubeconfig");
        let answer = kubectl(&kubeconfig, &["get", "deployment", "web", "-o", "json"]);
        let found: Value = serde_json::from_str(&answer.stdout).ok()?;
        Some(
            found["spec"]["template"]["spec"]["containers"][0]["image"]
                .as_str()?
                .to_owned(),
        )
    }

    fn images(&self) -> [Option<String>; 3] {
        EDGES.map(|edge| self.image(edge))
    }

    fn deploy(&self, image: &str) {
        let labels = json!({"app": "web"});
        let pod = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}});
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default", "labels": labels},
            "spec": {"selector": {"matchLabels": labels}, "template": pod}});
        self.center.apply("root:p", &object.to_string());
    }

    fn rollout(&self, arguments: &[&str]) -> Answer {
        let mut all = vec!["rollout"];
        all.extend_from_slice(arguments);
        all.extend_from_slice(&["--workspace", "root:p"]);
        self.center.atoll(&all)
    }

    fn approve(&self) {
        eventually("a gate waits for approval", || {
            let answer = self.rollout(&["approve", "web"]);
            match answer.ok {
                true => Ok(()),
                false => Err(answer.stderr),
            }
        });
    }

    /// A revision's Rollout, as kubectl shows it.
    fn phase(&self, revision: u64) -> Option<String> {
        let found = self
            .center
            .get("root:p", &["rollout", &format!("web-{revision}")])
            .ok()?;
        Some(found["status"]["phase"].as_str()?.to_owned())
    }
}

fn all(image: &str) -> [Option<String>; 3] {
    [
        Some(image.to_owned()),
        Some(image.to_owned()),
        Some(image.to_owned()),
    ]
}

#[test]
fn a_staged_rollout_pauses_at_a_failing_image_survives_a_kill_and_is_undone() {
    let mut fleet = Fleet::start();
    let gates = json!({"after": [{"name": "look", "approval": {}}]});
    let canary = json!({"name": "canary", "selector": {"matchLabels": {"ring": "c"}}, "minSuccessTime": "1s", "progressDeadline": "60s", "gates": gates});
    let careful = json!({"apiVersion": "edge.atoll.dev/v1alpha1", "kind": "RolloutPolicy", "metadata": {"name": "careful"},
        "spec": {"settle": "0s", "stages": [canary]}});
    fleet.center.apply("root:p", &careful.to_string());
    fleet.deploy("nginx:1");
    let selector = json!({"matchExpressions": [{"key": "ring", "operator": "Exists"}]});
    let policy = json!({"apiVersion": "control.kubestellar.io/v1alpha1", "kind": "BindingPolicy", "metadata": {"name": "web"},
        "spec": {"rolloutPolicy": "careful", "clusterSelectors": [selector], "downsync": [{"resources": ["deployments"]}]}});
    fleet.center.apply("root:p", &policy.to_string());
    // Only the canary has it until somebody looked.
    fleet.approve();
    let words = fleet.rollout(&["status", "web", "--timeout=60"]).expect();
    assert!(words.contains("revision 1 is complete"), "{words}");
    eventually("nginx:1 everywhere", || match fleet.images() {
        images if images == all("nginx:1") => Ok(()),
        images => Err(images),
    });
    let table = fleet
        .center
        .kubectl("root:p", &["get", "rollouts"])
        .expect();
    assert!(
        table.contains("web-1") && table.contains("Completed"),
        "{table}"
    );

    fleet.deploy("nginx:fail");
    eventually("the canary fails", || match fleet.phase(2).as_deref() {
        Some("Paused") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let why = fleet.rollout(&["status", "web", "--timeout=60"]).refused();
    assert!(
        why.contains("revision 2 is paused: 1 failed in stage canary"),
        "{why}"
    );
    let some = |image: &str| Some(image.to_owned());
    let held = [some("nginx:fail"), some("nginx:1"), some("nginx:1")];
    assert_eq!(fleet.images(), held);

    fleet.center.restart();
    assert_eq!(
        fleet.phase(2).as_deref(),
        Some("Paused"),
        "a kill changes nothing"
    );
    let explained = fleet
        .center
        .atoll(&[
            "explain",
            "deployment/web",
            "-d",
            "e1",
            "--workspace",
            "root:p",
        ])
        .expect();
    assert!(
        explained.contains("\"canary\" is in progress"),
        "{explained}"
    );
    assert_eq!(fleet.images(), held);

    fleet.rollout(&["undo", "web"]).expect();
    let words = fleet.rollout(&["status", "web", "--timeout=60"]).expect();
    assert!(words.contains("revision 3 is complete"), "{words}");
    eventually("nginx:1 everywhere again", || match fleet.images() {
        images if images == all("nginx:1") => Ok(()),
        images => Err(images),
    });
    let history = fleet.rollout(&["history", "web"]).expect();
    let phases: Vec<&str> = history
        .lines()
        .skip(1)
        .filter_map(|l| l.split_whitespace().nth(1))
        .collect();
    assert_eq!(
        phases,
        ["Completed", "RolledBack", "Completed"],
        "{history}"
    );
}
