//! Edges, placement and status, each against a genuine Kubernetes 1.36 as the edge.

use std::{path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::harness::{ATOLL, Answer, Center, Process, eventually, real_edge::RealEdge, scratch};

/// A center with `root:inventory` and the payload workspace `root:p`, one genuine edge and its agent.
pub struct Fleet {
    pub scratch: tempfile::TempDir,
    pub center: Center,
    pub edge: RealEdge,
    agent: Option<Process>,
}

impl Fleet {
    /// `None` where there is no Go to build a genuine Kubernetes with.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// The center gets these arguments too.
    pub fn start_with(arguments: &[&str]) -> Option<Self> {
        let scratch = scratch();
        let edge = RealEdge::start(&scratch.path().join("edge"))?;
        let center = Center::start_with(&scratch.path().join("center"), arguments);
        center.workspace("root", "inventory", "inventory");
        center.workspace("root", "p", "payload");
        let mut fleet = Fleet {
            scratch,
            center,
            edge,
            agent: None,
        };
        fleet.join("e1", &["place=here"]).expect();
        fleet.start_agent();
        fleet.is_available("e1");
        Some(fleet)
    }

    /// Registers an edge; its join file is `<name>.join.yaml` in the scratch directory.
    pub fn join(&self, name: &str, labels: &[&str]) -> Answer {
        let file = self.join_file(name);
        let mut arguments = vec![
            "edges",
            "add",
            name,
            "--inventory",
            "root:inventory",
            "-o",
            file.to_str().unwrap(),
        ];
        labels
            .iter()
            .for_each(|label| arguments.extend(["--label", label]));
        self.center.atoll(&arguments)
    }

    pub fn join_file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(format!("{name}.join.yaml"))
    }

    pub fn state_directory(&self) -> PathBuf {
        self.scratch.path().join("agent")
    }

    pub fn start_agent(&mut self) {
        let mut command = Command::new(ATOLL);
        command.arg("agent").arg("--join").arg(self.join_file("e1"));
        command
            .arg("--kubeconfig")
            .arg(self.edge.kubeconfig())
            .arg("--state-directory")
            .arg(self.state_directory());
        self.agent = Some(Process::start(
            &mut command,
            &self.scratch.path().join("agent.log"),
        ));
    }

    /// kill -9.
    pub fn kill_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.kill();
        }
    }

    pub fn is_available(&self, name: &str) {
        eventually("the edge is available", || {
            let cluster = self
                .center
                .get("root:inventory", &["managedcluster", name])?;
            let conditions = cluster["status"]["conditions"].to_string();
            let available = cluster["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten();
            match available
                .into_iter()
                .any(|c| c["type"] == "ManagedClusterConditionAvailable" && c["status"] == "True")
            {
                true => Ok(()),
                false => Err(conditions),
            }
        });
    }

    /// A policy that places what is labelled app=NAME on edges labelled place=here; `more` goes into the clause.
    pub fn policy(&self, name: &str, more: &str) {
        let policy = format!(
            "apiVersion: control.kubestellar.io/v1alpha1\nkind: BindingPolicy\nmetadata: {{name: {name}}}\nspec:\n  clusterSelectors: [{{matchLabels: {{place: here}}}}]\n  downsync:\n  - objectSelectors: [{{matchLabels: {{app: {name}}}}}]\n{more}"
        );
        self.center.apply("root:p", &policy);
    }

    /// Waits until every copy of the policy is current.
    pub fn is_current(&self, policy: &str, expected: u64) {
        eventually("all copies are current", || {
            let status = self.center.get("root:p", &["bindingpolicy", policy])?["status"].clone();
            let counts = &status["counts"];
            match counts["expected"] == expected && counts["current"] == expected {
                true => Ok(()),
                false => Err(status.to_string()),
            }
        });
    }

    pub fn policy_says(&self, policy: &str, words: &str) {
        eventually("the policy names the problem", || {
            let status =
                self.center.get("root:p", &["bindingpolicy", policy])?["status"].to_string();
            if status.contains(words) {
                Ok(())
            } else {
                Err(status)
            }
        });
    }

    /// Waits until the edge shows `expected` at `pointer` of an object.
    pub fn edge_shows(&self, what: &[&str], pointer: &str, expected: &Value) {
        eventually("the edge shows it", || {
            let object = self.edge.get(what)?;
            match object.pointer(pointer) == Some(expected) {
                true => Ok(()),
                false => Err(object.to_string()),
            }
        });
    }

    pub fn edge_lacks(&self, what: &[&str]) {
        eventually("the edge has it no more", || match self.edge.get(what) {
            Err(why) if why.contains("NotFound") => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
}

fn config_map(name: &str, app: &str, value: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {app}}}}}\ndata: {{colour: {value}}}\n"
    )
}

fn namespace(name: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

fn deployment(name: &str, app: &str, replicas: u32) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {app}}}}}\nspec:\n  replicas: {replicas}\n  selector: {{matchLabels: {{d: {name}}}}}\n  template:\n    metadata: {{labels: {{d: {name}}}}}\n    spec: {{containers: [{{name: main, image: nginx}}]}}\n"
    )
}

#[test]
fn what_is_applied_at_the_center_runs_at_the_edge_and_its_status_comes_back() {
    let Some(mut fleet) = Fleet::start() else {
        return;
    };
    fleet.center.apply(
        "root:p",
        &(namespace("shop") + &config_map("c", "a", "blue") + &deployment("web", "a", 2)),
    );
    fleet.policy("a", "    wantSingletonReportedState: true\n");
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/colour", &json!("blue"));
    fleet.edge_shows(
        &["deployment", "web", "-n", "shop"],
        "/status/availableReplicas",
        &json!(2),
    );
    eventually("the status is back in the payload object", || {
        let web = fleet
            .center
            .get("root:p", &["deployment", "web", "-n", "shop"])?;
        if web["status"]["availableReplicas"] == 2 {
            Ok(())
        } else {
            Err(web["status"].to_string())
        }
    });
    eventually("there is a WorkStatus", || {
        let list = fleet
            .center
            .get("root:inventory", &["workstatuses", "-n", "e1"])?;
        let found = list["items"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|w| w["status"]["availableReplicas"] == 2);
        if found { Ok(()) } else { Err(list.to_string()) }
    });
    let binding = fleet
        .center
        .get("root:p", &["bindings.control.kubestellar.io", "a"])
        .unwrap();
    assert_eq!(binding["spec"]["destinations"][0]["clusterId"], "e1");
    // A change follows; a removed object goes, the implicit Namespace stays.
    fleet.center.apply("root:p", &config_map("c", "a", "green"));
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/colour", &json!("green"));
    fleet
        .center
        .kubectl("root:p", &["delete", "cm", "c", "-n", "shop"])
        .expect();
    fleet.edge_lacks(&["cm", "c", "-n", "shop"]);
    fleet.edge.get(&["ns", "shop"]).unwrap();
    // With an agent connected, too, the center ends when it is told to.
    assert!(fleet.center.terminate());
}

#[test]
fn drift_is_healed_and_the_edges_own_fields_are_left_alone() {
    let Some(fleet) = Fleet::start() else { return };
    let owned = deployment("web", "a", 2).replace(
        "labels: {app: a}",
        "labels: {app: a}, annotations: {edge.atoll.dev/edge-owned: .spec.replicas}",
    );
    fleet.center.apply(
        "root:p",
        &(namespace("shop") + &config_map("c", "a", "blue") + &owned),
    );
    fleet.policy("a", "");
    fleet.is_current("a", 3);
    fleet
        .edge
        .kubectl(&[
            "patch",
            "cm",
            "c",
            "-n",
            "shop",
            "--type=merge",
            "-p",
            r#"{"data":{"colour":"red","extra":"mine"}}"#,
        ])
        .expect();
    fleet.edge_shows(
        &["cm", "c", "-n", "shop"],
        "/data",
        &json!({"colour": "blue", "extra": "mine"}),
    );
    fleet
        .edge
        .kubectl(&["delete", "cm", "c", "-n", "shop"])
        .expect();
    fleet.edge_shows(
        &["cm", "c", "-n", "shop"],
        "/data",
        &json!({"colour": "blue"}),
    );
    fleet
        .edge
        .kubectl(&["scale", "deployment", "web", "-n", "shop", "--replicas=4"])
        .expect();
    fleet
        .center
        .apply("root:p", &owned.replace("image: nginx", "image: nginx:2"));
    fleet.edge_shows(
        &["deployment", "web", "-n", "shop"],
        "/spec/template/spec/containers/0/image",
        &json!("nginx:2"),
    );
    fleet.edge_shows(
        &["deployment", "web", "-n", "shop"],
        "/spec/replicas",
        &json!(4),
    );
}

#[test]
fn an_object_that_was_there_is_left_alone_until_it_may_be_adopted() {
    let Some(fleet) = Fleet::start() else { return };
    fleet
        .edge
        .kubectl(&["create", "namespace", "shop"])
        .expect();
    fleet
        .edge
        .kubectl(&[
            "create",
            "configmap",
            "c",
            "-n",
            "shop",
            "--from-literal=colour=theirs",
        ])
        .expect();
    fleet.center.apply(
        "root:p",
        &(namespace("shop") + &config_map("c", "a", "ours")),
    );
    fleet.policy("a", "");
    fleet.policy_says("a", "AlreadyExists");
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/colour", &json!("theirs"));
    fleet.policy("a", "    takeover: Adopt\n");
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/colour", &json!("ours"));
    // Adopted objects are released, not deleted.
    fleet
        .center
        .kubectl("root:p", &["delete", "bindingpolicy", "a"])
        .expect();
    eventually("the object is released", || {
        let object = fleet.edge.get(&["cm", "c", "-n", "shop"])?;
        let label = &object["metadata"]["labels"]["edge.atoll.dev/destination"];
        if label.is_null() {
            Ok(())
        } else {
            Err(label.to_string())
        }
    });
}

#[test]
fn a_label_moves_placements_and_overlapping_policies_add_up() {
    let Some(fleet) = Fleet::start() else { return };
    let both = config_map("c", "a", "blue").replace("app: a", "app: a, also: b");
    fleet.center.apply("root:p", &(namespace("shop") + &both));
    fleet.policy("a", "");
    fleet.center.apply(
        "root:p",
        "apiVersion: control.kubestellar.io/v1alpha1\nkind: BindingPolicy\nmetadata: {name: b}\nspec:\n  clusterSelectors: [{matchLabels: {place: here}}]\n  downsync: [{objectSelectors: [{matchLabels: {also: b}}]}]\n",
    );
    fleet.is_current("a", 2);
    fleet.is_current("b", 2);
    fleet
        .center
        .kubectl("root:p", &["delete", "bindingpolicy", "a"])
        .expect();
    fleet.center.apply("root:p", &both.replace("blue", "green"));
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/colour", &json!("green"));
    fleet
        .center
        .kubectl(
            "root:inventory",
            &["label", "managedcluster", "e1", "place-"],
        )
        .expect();
    fleet.edge_lacks(&["cm", "c", "-n", "shop"]);
    fleet
        .center
        .kubectl(
            "root:inventory",
            &["label", "managedcluster", "e1", "place=here"],
        )
        .expect();
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/colour", &json!("green"));
}

#[test]
fn two_workspaces_on_one_identity_the_first_keeps_it() {
    let Some(fleet) = Fleet::start() else { return };
    fleet.center.workspace("root", "q", "payload");
    let policy = "apiVersion: control.kubestellar.io/v1alpha1\nkind: BindingPolicy\nmetadata: {name: a}\nspec:\n  clusterSelectors: [{matchLabels: {place: here}}]\n  downsync: [{objectSelectors: [{matchLabels: {app: a}}]}]\n";
    fleet.center.apply(
        "root:p",
        &(namespace("shop") + &config_map("c", "a", "first")),
    );
    fleet.policy("a", "");
    fleet.is_current("a", 2);
    fleet.center.apply(
        "root:q",
        &(namespace("shop") + &config_map("c", "a", "second")),
    );
    fleet.center.apply("root:q", policy);
    eventually("the second shows Conflict", || {
        let status = fleet.center.get("root:q", &["bindingpolicy", "a"])?["status"].to_string();
        if status.contains("Conflict") {
            Ok(())
        } else {
            Err(status)
        }
    });
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/colour", &json!("first"));
    fleet
        .center
        .kubectl("root:p", &["delete", "bindingpolicy", "a"])
        .expect();
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/colour", &json!("second"));
}

const NOTHING_CALLED_WRONG: &str = "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicy\nmetadata: {name: no-wrong}\nspec:\n  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}]}\n  validations: [{expression: \"object.metadata.name != 'wrong'\", message: not at this edge}]\n---\napiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingAdmissionPolicyBinding\nmetadata: {name: no-wrong}\nspec: {policyName: no-wrong, validationActions: [Deny]}\n";

#[test]
fn problems_are_named_and_the_rest_goes_on() {
    let Some(fleet) = Fleet::start() else { return };
    // Valid for the center, but not for the edge, which has a policy of its own.
    let file = fleet.scratch.path().join("policy.yaml");
    std::fs::write(&file, NOTHING_CALLED_WRONG).unwrap();
    fleet
        .edge
        .kubectl(&["apply", "-f", file.to_str().unwrap()])
        .expect();
    eventually("the edge's policy is in force", || {
        let try_it = [
            "create",
            "deployment",
            "wrong",
            "--image=x",
            "--dry-run=server",
        ];
        let answer = fleet.edge.kubectl(&try_it);
        if answer.ok {
            Err(answer.stdout)
        } else {
            Ok(())
        }
    });
    let wrong = deployment("wrong", "a", 1);
    let kind = "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: gadgets.example.com, labels: {app: a}}\nspec:\n  group: example.com\n  scope: Namespaced\n  names: {plural: gadgets, singular: gadget, kind: Gadget, listKind: GadgetList}\n  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}]\n";
    fleet.center.apply(
        "root:p",
        &(namespace("shop") + &config_map("c", "a", "blue") + &wrong + kind),
    );
    eventually("the kind is served", || {
        fleet
            .center
            .kubectl("root:p", &["get", "gadgets", "-A"])
            .json()
            .or_else(|e| {
                if e.contains("EOF") {
                    Ok(Value::Null)
                } else {
                    Err(e)
                }
            })
    });
    fleet.center.apply("root:p", "apiVersion: example.com/v1\nkind: Gadget\nmetadata: {name: g, namespace: shop, labels: {app: a}}\nspec: {size: 1}\n");
    fleet.policy("a", "");
    fleet.policy_says("a", "Invalid");
    fleet.policy_says("a", "not at this edge");
    fleet.edge_shows(&["cm", "c", "-n", "shop"], "/data/colour", &json!("blue"));
    fleet.edge_shows(
        &["gadgets.example.com", "g", "-n", "shop"],
        "/spec/size",
        &json!(1),
    );
}

#[test]
fn a_join_file_opens_the_door_once() {
    let Some(fleet) = Fleet::start() else { return };
    let mut thief = Command::new("timeout");
    thief
        .args(["30", ATOLL, "agent", "--join"])
        .arg(fleet.join_file("e1"))
        .arg("--kubeconfig");
    // Another edge: it has no Secret with the first one's key.
    let other = RealEdge::start(&fleet.scratch.path().join("other")).unwrap();
    thief
        .arg(other.kubeconfig())
        .arg("--state-directory")
        .arg(fleet.scratch.path().join("thief"));
    let why = Answer::of(&mut thief).refused();
    assert!(why.contains("another key"), "{why}");
}
