//! The contexts that say where we are and where we were, as kcp's plugins write them.
//!
//! `workspace.kcp.io/current` is the workspace gone to last, `workspace.kcp.io/previous` the context before it. The host and
//! the credentials always stay those of the context started from.

use anyhow::{Context as _, bail};
use atoll_client::Kubeconfig;
use serde_json::{Value, json};

use super::path::Location;

const CURRENT: &str = "workspace.kcp.io/current";
const PREVIOUS: &str = "workspace.kcp.io/previous";

/// A kubeconfig and the context we start from.
pub(super) struct Contexts {
    kubeconfig: Kubeconfig,
    name: String,
}

impl Contexts {
    /// Starts from a context, by default the current one.
    pub(super) fn new(kubeconfig: Kubeconfig, context: Option<&str>) -> anyhow::Result<Self> {
        let name = match context {
            Some(name) => name.to_owned(),
            None => kubeconfig.current_context().context(
                "the kubeconfig has no current context; set KUBECONFIG to the admin.kubeconfig that `atoll start` wrote",
            )?,
        };
        if kubeconfig.context(&name).is_none() {
            bail!("the kubeconfig has no context {name:?}");
        }
        Ok(Contexts { kubeconfig, name })
    }

    pub(super) fn kubeconfig(&self) -> &Kubeconfig {
        &self.kubeconfig
    }

    /// The context's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Where the context's server URL says we are.
    pub(super) fn location(&self) -> anyhow::Result<Location> {
        let (_, cluster) = self.pair(&self.name)?;
        let server = cluster.get("server").and_then(Value::as_str);
        Location::parse(
            server
                .with_context(|| format!("the cluster of context {:?} has no server", self.name))?,
        )
    }

    /// Makes a workspace the current one and remembers the context before.
    pub(super) fn switch(&mut self, workspace: &str) -> anyhow::Result<()> {
        let location = self.location()?;
        let (context, cluster) = self.pair(&self.name)?;
        self.remember(&context, &cluster);
        self.write(CURRENT, &context, &cluster, &location.url(workspace));
        self.make_current(CURRENT);
        Ok(())
    }

    /// Goes back; returns the workspace that is current then.
    pub(super) fn swap(&mut self) -> anyhow::Result<String> {
        if self.kubeconfig.context(PREVIOUS).is_none() {
            bail!("there is no previous workspace in this kubeconfig");
        }
        let (context, cluster) = self.pair(&self.name)?;
        let (back, back_cluster) = self.pair(PREVIOUS)?;
        let server = back_cluster
            .get("server")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned();
        let location = Location::parse(&server)?;
        let workspace = location.workspace()?.to_owned();
        self.write(CURRENT, &back, &back_cluster, &server);
        self.remember(&context, &cluster);
        self.make_current(CURRENT);
        Ok(workspace)
    }

    /// Gives a workspace a context of its own and makes that the current one. True when there was one of that name.
    pub(super) fn create(
        &mut self,
        name: &str,
        workspace: &str,
        overwrite: bool,
    ) -> anyhow::Result<bool> {
        let exists = self.kubeconfig.context(name).is_some();
        if exists && !overwrite {
            bail!(
                "context {name:?} already exists in the kubeconfig, use --overwrite to update it"
            );
        }
        let location = self.location()?;
        let (context, cluster) = self.pair(&self.name)?;
        self.write(name, &context, &cluster, &location.url(workspace));
        self.make_current(name);
        Ok(exists)
    }

    /// Writes the files that changed.
    pub(super) fn save(&mut self) -> anyhow::Result<()> {
        Ok(self.kubeconfig.save()?)
    }

    /// A context and its cluster.
    fn pair(&self, name: &str) -> anyhow::Result<(Value, Value)> {
        let context = self
            .kubeconfig
            .context(name)
            .with_context(|| format!("no context {name:?}"))?;
        let cluster_name = context.get("cluster").and_then(Value::as_str).unwrap_or("");
        let cluster = self.kubeconfig.cluster(cluster_name);
        Ok((
            context.clone(),
            cluster.with_context(|| format!("no cluster {cluster_name:?} in the kubeconfig"))?,
        ))
    }

    fn remember(&mut self, context: &Value, cluster: &Value) {
        let server = cluster
            .get("server")
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned();
        self.write(PREVIOUS, context, cluster, &server);
    }

    /// Writes a context and a cluster of the same name: the user of `context`, the trust of `cluster`, this server.
    fn write(&mut self, name: &str, context: &Value, cluster: &Value, server: &str) {
        let mut cluster = cluster.clone();
        cluster["server"] = json!(server);
        let mut fresh = json!({"cluster": name});
        if let Some(user) = context.get("user") {
            fresh["user"] = user.clone();
        }
        self.kubeconfig.set_cluster(name, cluster);
        self.kubeconfig.set_context(name, fresh);
    }

    fn make_current(&mut self, name: &str) {
        self.kubeconfig.set_current_context(name);
        name.clone_into(&mut self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
current-context: root
clusters: [{name: root, cluster: {server: 'https://h:6443/clusters/root', certificate-authority-data: QQ==}}]
contexts: [{name: root, context: {cluster: root, user: kcp-admin, namespace: x}}]
users: [{name: kcp-admin, user: {token: t}}]
";

    fn contexts() -> Contexts {
        Contexts::new(Kubeconfig::from_text(TEXT).unwrap(), None).unwrap()
    }

    fn server(contexts: &Contexts, name: &str) -> String {
        contexts.kubeconfig.cluster(name).unwrap()["server"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn going_somewhere_keeps_host_trust_and_user() {
        let mut contexts = contexts();
        contexts.switch("root:a").unwrap();
        assert_eq!(
            contexts.kubeconfig.current_context().as_deref(),
            Some(CURRENT)
        );
        assert_eq!(server(&contexts, CURRENT), "https://h:6443/clusters/root:a");
        assert_eq!(
            contexts.kubeconfig.cluster(CURRENT).unwrap()["certificate-authority-data"],
            "QQ=="
        );
        assert_eq!(
            contexts.kubeconfig.context(CURRENT).unwrap(),
            json!({"cluster": CURRENT, "user": "kcp-admin"})
        );
        assert_eq!(server(&contexts, PREVIOUS), "https://h:6443/clusters/root");
        assert_eq!(
            server(&contexts, "root"),
            "https://h:6443/clusters/root",
            "the context we came from is as it was"
        );
    }

    #[test]
    fn going_back_twice_is_going_nowhere() {
        let mut contexts = contexts();
        assert!(contexts.swap().is_err());
        contexts.switch("root:a").unwrap();
        contexts.switch("root:b").unwrap();
        assert_eq!(contexts.swap().unwrap(), "root:a");
        assert_eq!(contexts.location().unwrap().workspace().unwrap(), "root:a");
        assert_eq!(contexts.swap().unwrap(), "root:b");
        assert_eq!(
            server(&contexts, PREVIOUS),
            "https://h:6443/clusters/root:a"
        );
    }

    #[test]
    fn a_context_is_not_replaced_unasked() {
        let mut contexts = contexts();
        assert!(contexts.create("root", "root", false).is_err());
        assert!(!contexts.create("mine", "root:a", false).unwrap());
        assert!(contexts.create("mine", "root:b", true).unwrap());
        assert_eq!(server(&contexts, "mine"), "https://h:6443/clusters/root:b");
        assert_eq!(contexts.name(), "mine");
    }
}
