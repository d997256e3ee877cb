//! The system under measurement: centers, edges and agents as processes, and the preparation that rows share.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use atoll_client::{Config, Kubeconfig};
use hyper::Method;
use serde_json::{Value, json};

use crate::{
    client::{Connection, Target},
    load,
    process::Process,
    rows::Sizes,
};

/// The collection of workspaces, below a cluster's path.
pub(crate) const WORKSPACES: &str = "/apis/tenancy.kcp.io/v1alpha1/workspaces";
/// The ordinary user's name and token.
const USER: &str = "bench-user";
const USER_TOKEN: &str = "bench-user-token";
/// Longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(120);

/// What all rows need to know.
#[derive(Debug, Clone)]
pub(crate) struct Bench {
    pub(crate) binary: PathBuf,
    pub(crate) directory: PathBuf,
    pub(crate) sizes: Sizes,
}

impl Bench {
    /// A directory that goes away with the row.
    pub(crate) fn scratch(&self) -> anyhow::Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix("atoll-bench-")
            .tempdir_in(&self.directory)
            .with_context(|| format!("cannot make a directory in {}", self.directory.display()))
    }

    pub(crate) fn atoll(&self) -> Command {
        let mut command = Command::new(&self.binary);
        // The machine's settings are not part of what is measured.
        command.env_remove("KUBECONFIG").env("RUST_LOG", "warn");
        command
    }
}

/// A center, started by `atoll start`.
pub(crate) struct Center {
    pub(crate) process: Process,
    pub(crate) directory: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) admin: Target,
    /// From exec to the first answer of /readyz.
    pub(crate) ready_after: Duration,
}

impl Center {
    /// Starts a center in `directory` (where one may have been before) and waits until it is ready.
    pub(crate) async fn start(
        bench: &Bench,
        directory: &Path,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(directory)?;
        let tokens = directory.with_extension("tokens");
        fs::write(&tokens, format!("{USER_TOKEN},{USER},{USER}-uid\n"))?;
        let address = free_address()?;
        let mut command = bench.atoll();
        command
            .arg("start")
            .arg("--root-directory")
            .arg(directory)
            .args([
                "--bind-address",
                "127.0.0.1",
                "--secure-port",
                &address.port().to_string(),
            ])
            .arg("--token-auth-file")
            .arg(&tokens)
            .args(arguments);
        let kubeconfig = directory.join("admin.kubeconfig");
        let began = Instant::now();
        let mut process = Process::start(&mut command, &directory.with_extension("log"))?;
        let admin = loop {
            process
                .runs()
                .with_context(|| format!("see {}", directory.with_extension("log").display()))?;
            // Until it listens there is nobody, and in a new directory nothing, to ask.
            if let Ok(early) = target(&kubeconfig, Some("base"), Some(address))
                && let Ok(connection) = early.connect().await
                && connection.get("/readyz").await.is_ok()
            {
                // The admin's token may be new with this start; the one of a start before was enough to ask for readiness.
                break target(&kubeconfig, Some("base"), Some(address))?;
            }
            if began.elapsed() > PATIENCE {
                bail!("the center is not ready after {PATIENCE:?}");
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let ready_after = began.elapsed();
        Ok(Center {
            process,
            directory: directory.to_owned(),
            address,
            admin,
            ready_after,
        })
    }

    /// The ordinary user's view.
    pub(crate) fn user(&self) -> anyhow::Result<Target> {
        self.admin.as_user(USER_TOKEN)
    }

    /// Resident memory once it has calmed down.
    pub(crate) async fn settled_memory(&self, bench: &Bench) -> anyhow::Result<f64> {
        tokio::time::sleep(bench.sizes.settle).await;
        self.process.memory()
    }

    /// Makes a workspace below root.
    pub(crate) async fn workspace(&self, name: &str, kind: &str) -> anyhow::Result<()> {
        let connection = self.admin.connect().await?;
        connection
            .post(
                &format!("/clusters/root{WORKSPACES}"),
                workspace(name, kind),
            )
            .await
    }

    /// Makes `count` workspaces `PREFIX-i` below a parent, 64 at a time.
    pub(crate) async fn workspaces(
        &self,
        parent: &str,
        prefix: &'static str,
        from: usize,
        count: usize,
    ) -> anyhow::Result<load::Run> {
        let connections = self.admin.connections(2).await?;
        let path = format!("/clusters/{parent}{WORKSPACES}");
        load::drive(count, 64, move |worker, i| {
            let connection = connections[worker % connections.len()].clone();
            let path = path.clone();
            async move {
                connection
                    .post(
                        &path,
                        workspace(&format!("{prefix}-{}", from + i), "universal"),
                    )
                    .await
            }
        })
        .await
    }

    /// Fills root with workspaces and admits the ordinary user to one in the middle. Returns that workspace's path.
    pub(crate) async fn one_of_many(&self, bench: &Bench) -> anyhow::Result<String> {
        let count = bench.sizes.workspaces;
        self.workspaces("root", "ws", 0, count).await?;
        let path = format!("/clusters/root:ws-{}", count / 2);
        self.admit_user(&path).await?;
        Ok(path)
    }

    /// Lets the ordinary user work with ConfigMaps in namespace `default` of a workspace, by RoleBinding.
    pub(crate) async fn admit_user(&self, path: &str) -> anyhow::Result<()> {
        let connection = self.admin.connect().await?;
        let rbac = format!("{path}/apis/rbac.authorization.k8s.io/v1");
        let subjects =
            json!([{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}]);
        let reference = |kind: &str, name: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name});
        for (collection, object) in [
            (
                "clusterrolebindings".to_owned(),
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "enter"},
                       "subjects": subjects, "roleRef": reference("ClusterRole", "system:kcp:workspace:access")}),
            ),
            (
                "namespaces/default/roles".to_owned(),
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "writer"},
                       "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]}),
            ),
            (
                "namespaces/default/rolebindings".to_owned(),
                json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "writers"},
                       "subjects": subjects, "roleRef": reference("Role", "writer")}),
            ),
        ] {
            connection
                .post(&format!("{rbac}/{collection}"), object.to_string())
                .await?;
        }
        Ok(())
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.directory.join("admin.kubeconfig")
    }
}

/// A Workspace to be made.
fn workspace(name: &str, kind: &str) -> String {
    format!(
        r#"{{"apiVersion":"tenancy.kcp.io/v1alpha1","kind":"Workspace","metadata":{{"name":"{name}"}},"spec":{{"type":{{"name":"{kind}","path":"root"}}}}}}"#
    )
}

/// A ConfigMap whose data does not compress.
pub(crate) fn config_map(name: &str, bytes: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let payload: String = (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(
                b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                    [(state >> 58) as usize],
            )
        })
        .collect();
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {"payload": payload}}).to_string()
}

/// A center with one sandbox edge, connected by an agent through a counting proxy.
pub(crate) struct Fleet {
    pub(crate) center: Center,
    pub(crate) edge: Target,
    pub(crate) agent: Process,
    pub(crate) proxy: crate::proxy::Proxy,
    _sandbox: Process,
}

impl Fleet {
    /// Starts them; objects of workspace `root:payload` that are labelled app=bench go to the edge.
    pub(crate) async fn start(bench: &Bench, directory: &Path) -> anyhow::Result<Self> {
        let center = Center::start(bench, &directory.join("center"), &[]).await?;
        center.workspace("inventory", "inventory").await?;
        center.workspace("payload", "payload").await?;
        let sandbox_directory = directory.join("sandbox");
        fs::create_dir_all(&sandbox_directory)?;
        let sandbox_address = free_address()?;
        let sandbox = Process::start(
            bench
                .atoll()
                .arg("sandbox")
                .arg("--root-directory")
                .arg(&sandbox_directory)
                .args(["--secure-port", &sandbox_address.port().to_string()]),
            &directory.join("sandbox.log"),
        )?;
        let edge_kubeconfig = sandbox_directory.join("admin.kubeconfig");
        let edge = eventually("the sandbox edge is ready", async || {
            let target = target(&edge_kubeconfig, None, None)?;
            target.connect().await?.get("/readyz").await?;
            Ok(target)
        })
        .await?;

        let join = directory.join("edge.join.yaml");
        let added = bench
            .atoll()
            .args([
                "edges",
                "add",
                "edge",
                "--label",
                "bench=yes",
                "--inventory",
                "root:inventory",
                "--output",
            ])
            .arg(&join)
            .arg("--kubeconfig")
            .arg(center.kubeconfig())
            .output()?;
        if !added.status.success() {
            bail!(
                "atoll edges add: {}",
                String::from_utf8_lossy(&added.stderr)
            );
        }
        let proxy = crate::proxy::Proxy::start(center.address).await?;
        let text = fs::read_to_string(&join)?;
        let through = text.replace(&center.address.to_string(), &proxy.address.to_string());
        if through == text {
            bail!("the join file does not name {}", center.address);
        }
        fs::write(&join, through)?;
        let agent = Process::start(
            bench
                .atoll()
                .arg("agent")
                .arg("--join")
                .arg(&join)
                .arg("--kubeconfig")
                .arg(&edge_kubeconfig)
                .arg("--state-directory")
                .arg(directory.join("agent")),
            &directory.join("agent.log"),
        )?;
        let fleet = Fleet {
            center,
            edge,
            agent,
            proxy,
            _sandbox: sandbox,
        };
        fleet.prepare().await?;
        Ok(fleet)
    }

    async fn prepare(&self) -> anyhow::Result<()> {
        let connection = self.center.admin.connect().await?;
        let policy = json!({
            "apiVersion": "control.kubestellar.io/v1alpha1", "kind": "BindingPolicy", "metadata": {"name": "bench"},
            "spec": {"clusterSelectors": [{"matchLabels": {"bench": "yes"}}], "downsync": [{"objectSelectors": [{"matchLabels": {"app": "bench"}}]}]},
        });
        let policies =
            "/clusters/root:payload/apis/control.kubestellar.io/v1alpha1/bindingpolicies";
        connection.post(policies, policy.to_string()).await?;
        let clusters = "/clusters/root:inventory/apis/cluster.open-cluster-management.io/v1/managedclusters/edge";
        eventually("the edge is available", async || {
            let cluster = connection.json(clusters).await?;
            let conditions = cluster
                .pointer("/status/conditions")
                .and_then(Value::as_array);
            let available = |c: &Value| {
                c["type"] == "ManagedClusterConditionAvailable" && c["status"] == "True"
            };
            if conditions.is_some_and(|all| all.iter().any(available)) {
                Ok(())
            } else {
                bail!("{}", cluster["status"])
            }
        })
        .await
    }

    /// Server-side apply of a placed ConfigMap, as `kubectl apply --server-side` sends it.
    pub(crate) async fn apply(
        connection: &Connection,
        name: &str,
        value: &str,
    ) -> anyhow::Result<()> {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default", "labels": {"app": "bench"}},
            "data": {"value": value},
        });
        let path = format!(
            "/clusters/root:payload/api/v1/namespaces/default/configmaps/{name}?fieldManager=kubectl"
        );
        connection
            .send(
                Method::PATCH,
                &path,
                "application/apply-patch+yaml",
                body.to_string().into(),
            )
            .await
    }
}

/// Asks again and again until it is so.
pub(crate) async fn eventually<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(found) => return Ok(found),
            Err(error) if began.elapsed() > PATIENCE => {
                return Err(error.context(format!("{what}: not so after {PATIENCE:?}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// The server of a kubeconfig; `at` replaces its address, since a restarted center listens elsewhere.
fn target(
    kubeconfig: &Path,
    context: Option<&str>,
    at: Option<SocketAddr>,
) -> anyhow::Result<Target> {
    let mut config = Config::from_kubeconfig(&Kubeconfig::load(&[kubeconfig])?, context)?;
    if let Some(address) = at {
        config.server = format!("https://{address}");
    }
    Target::new(&config)
}

fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("no free port")?;
    Ok(listener.local_addr()?)
}

/// What this was measured on, in one line.
pub(crate) fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split(':').nth(1))
            .map_or("unknown", str::trim)
            .to_owned()
    };
    let processor = field(&read("/proc/cpuinfo"), "model name");
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg")
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned();
    let date = Command::new("date")
        .args(["-u", "+%Y-%m-%d %H:%M UTC"])
        .output();
    let date = date
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{date}; {cores} cores of {processor}, {memory} memory, Linux {}; load at the end {load}",
        kernel.trim()
    )
}
