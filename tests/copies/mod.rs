//! Copies at a genuine Kubernetes: everything that the design promises of them, one module for each promise.

use std::{path::Path, process::Command};

use serde_json::Value;

use crate::{
    edges::Fleet,
    harness::{ATOLL, Answer, Center, Process, eventually},
};

mod cleaning;
mod collectors;
mod connection;
mod consent;
mod destination;
mod farewell;
mod fields;
mod order;
mod problems;
mod race;
mod removal;
mod status;
mod words;

pub const SHOP: &str = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";

/// A ConfigMap in `shop`, labelled app=`app`, with `data` in YAML's short form; `metadata` is added to it.
pub fn config_map(name: &str, app: &str, metadata: &str, data: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {app}}}{metadata}}}\ndata: {{{data}}}\n"
    )
}

/// A Deployment in `shop`, labelled app=`app`; its pods have d=`name`.
pub fn deployment(name: &str, app: &str, replicas: u32) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {app}}}}}\nspec:\n  replicas: {replicas}\n  selector: {{matchLabels: {{d: {name}}}}}\n  template:\n    metadata: {{labels: {{d: {name}}}}}\n    spec: {{containers: [{{name: main, image: nginx}}]}}\n"
    )
}

/// A CRD whose objects may hold anything.
pub fn definition(plural: &str, kind: &str, labels: &str) -> String {
    let singular = kind.to_lowercase();
    format!(
        "---\napiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: {plural}.example.com, labels: {{{labels}}}}}\nspec:\n  group: example.com\n  scope: Namespaced\n  names: {{plural: {plural}, singular: {singular}, kind: {kind}, listKind: {kind}List}}\n  versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}}}]\n"
    )
}

/// A policy of a payload workspace that places what is labelled app=`name` on edges labelled place=here. `clause` and `spec` are lines of YAML.
pub fn policy(name: &str, clause: &str, spec: &str) -> String {
    format!(
        "apiVersion: control.kubestellar.io/v1alpha1\nkind: BindingPolicy\nmetadata: {{name: {name}}}\nspec:\n{spec}  clusterSelectors: [{{matchLabels: {{place: here}}}}]\n  downsync:\n  - objectSelectors: [{{matchLabels: {{app: {name}}}}}]\n{clause}"
    )
}

impl Fleet {
    /// Changes an object at the edge as somebody there would.
    pub fn at_the_edge(&self, what: &[&str], merge: &str) {
        let mut arguments = vec!["patch"];
        arguments.extend_from_slice(what);
        arguments.extend_from_slice(&["--type=merge", "-p", merge]);
        self.edge.kubectl(&arguments).expect();
    }

    /// A condition of the edge's ManagedCluster, or all of them.
    pub fn condition(&self, edge: &str, kind: &str) -> Result<Value, String> {
        let cluster = self
            .center
            .get("root:inventory", &["managedcluster", edge])?;
        let conditions = cluster["status"]["conditions"].as_array();
        conditions
            .into_iter()
            .flatten()
            .find(|c| c["type"] == kind)
            .cloned()
            .ok_or_else(|| cluster["status"].to_string())
    }

    /// Waits until the object at the edge no longer says that it is ours.
    pub fn is_released(&self, what: &[&str]) {
        eventually("the object is released", || {
            let object = self.edge.get(what)?;
            match &object["metadata"]["labels"]["edge.atoll.dev/destination"] {
                Value::Null => Ok(()),
                label => Err(label.to_string()),
            }
        });
    }
}

/// Starts an agent; its log is beside its state directory.
pub fn agent(join: &Path, kubeconfig: &Path, state: &Path) -> Process {
    let mut command = Command::new(ATOLL);
    command.arg("agent").arg("--join").arg(join);
    command.arg("--kubeconfig").arg(kubeconfig);
    command.arg("--state-directory").arg(state);
    Process::start(&mut command, &state.with_extension("log"))
}

/// Runs an agent that is to end by itself, and returns what it says.
pub fn refused_agent(join: &Path, kubeconfig: &Path, state: &Path) -> String {
    let mut command = Command::new("timeout");
    command.args(["30", ATOLL, "agent", "--join"]).arg(join);
    command.arg("--kubeconfig").arg(kubeconfig);
    command.arg("--state-directory").arg(state);
    Answer::of(&mut command).refused()
}

/// Waits until a process has said something.
pub fn says(process: &Process, words: &str) {
    eventually("the process says it", || {
        let output = process.output();
        if output.contains(words) {
            Ok(())
        } else {
            Err(output)
        }
    });
}

/// What a policy's status says, when it contains `words`.
pub fn policy_says(center: &Center, workspace: &str, policy: &str, words: &str) -> Value {
    eventually("the policy says it", || {
        let status = center.get(workspace, &["bindingpolicy", policy])?["status"].clone();
        match status.to_string().contains(words) {
            true => Ok(status),
            false => Err(status),
        }
    })
}
