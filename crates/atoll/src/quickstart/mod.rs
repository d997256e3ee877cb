//! `atoll quickstart`: everything at once, to see it work: a center, sandbox edges (or real clusters), a small application placed on them by label.
//!
//! All state is in the root directory, so a second run goes on where the first stopped. Nothing here is special: the same API calls that a person would make
//! with kubectl, the same agent that `atoll agent` runs.

mod table;

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use atoll_client::{Client, Kubeconfig, Patch};
use atoll_sandbox::Sandbox;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    agent::edge_client,
    center::{Center, CenterOptions},
    edges::{self, CenterAccess},
    signals::stop_signal,
};
use table::{EdgeRow, Summary};

const APPLICATION: &str = include_str!("../../../../examples/quickstart/application.yaml");
const MENU: &str = include_str!("../../../../examples/quickstart/menu.yaml");
const POLICY: &str = include_str!("../../../../examples/quickstart/policy.yaml");
const INVENTORY: &str = "root:inventory";
const PAYLOAD: &str = "root:demo";

/// Arguments of `atoll quickstart`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many sandbox edges to start.
    #[arg(long, default_value_t = 3, value_name = "N", conflicts_with = "edge_context", value_parser = clap::value_parser!(u16).range(1..=100))]
    edges: u16,
    /// Use this cluster of your kubeconfig as an edge instead of sandboxes; may be given several times.
    #[arg(long, value_name = "CONTEXT")]
    edge_context: Vec<String>,
    /// Where everything is kept; a second run there goes on where the first stopped.
    #[arg(long, default_value = ".atoll", value_name = "DIR")]
    root_directory: PathBuf,
    /// The center's port on 127.0.0.1; 0 takes the one of the last run, or a free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    secure_port: u16,
    /// End as soon as all is healthy, successfully.
    #[arg(long)]
    once: bool,
    /// With --once: give up after this many seconds, with the reasons.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    timeout: u64,
}

/// Runs the quickstart.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut running = Running::default();
        let outcome = tokio::select! {
            outcome = running.run(&args) => outcome,
            stopped = stop_signal() => stopped,
        };
        running.stop().await;
        outcome
    })
}

/// What has been started.
#[derive(Default)]
struct Running {
    center: Option<Center>,
    sandboxes: Vec<Sandbox>,
    agents: JoinSet<(String, Result<(), atoll_agent::AgentError>)>,
}

impl Running {
    async fn run(&mut self, args: &Args) -> anyhow::Result<()> {
        // A context that is not there is told before anything is started.
        for context in &args.edge_context {
            edge_client(None, Some(context))?;
        }
        let directory = &args.root_directory;
        let center =
            Center::start(CenterOptions::new(directory.clone(), center_address(args)?)).await?;
        let (base_url, kubeconfig) = (center.base_url().to_owned(), center.kubeconfig().to_owned());
        self.center = Some(center);
        println!("The center is ready at {base_url}.");

        let access = CenterAccess::open(&Kubeconfig::load(&[&kubeconfig])?, Some("base"))?;
        let client = access.client.clone();
        workspace(&client, "inventory", "inventory").await?;
        workspace(&client, "demo", "payload").await?;
        println!("Workspaces {INVENTORY} (the edges) and {PAYLOAD} (what runs on them) are there.");

        for (name, context) in edge_names(args) {
            self.edge(&access, directory, &name, context.as_deref())
                .await?;
        }
        deploy(&client).await?;
        println!(
            "Applied examples/quickstart in {PAYLOAD}: BindingPolicy shop places it on every edge labelled demo=quickstart.\n"
        );

        self.show(&client, args).await?;
        if args.once {
            println!(
                "All is healthy. Run again without --once to go on from here and try things with kubectl."
            );
            return Ok(());
        }
        let kubeconfig = kubeconfig.display();
        println!(
            "All is healthy. Try, in another terminal:\n\
             \n  export KUBECONFIG={kubeconfig}\n  kubectl --server {base_url}/clusters/{INVENTORY} get managedclusters --show-labels\n\
             \n  kubectl --server {base_url}/clusters/{PAYLOAD} get bindingpolicies,deployments -A\n\
             \n  kubectl --server {base_url}/clusters/{PAYLOAD} -n shop scale deployment web --replicas 5\n\
             \n  kubectl --server {base_url}/clusters/{INVENTORY} label managedcluster {} demo-\n",
            edge_names(args).first().map_or("edge-1", |(name, _)| name),
        );
        println!("Ctrl-C stops everything; the next run goes on from here.");
        self.wait().await
    }

    /// Registers an edge, starts its sandbox (unless it is a real cluster) and its agent.
    async fn edge(
        &mut self,
        center: &CenterAccess,
        directory: &Path,
        name: &str,
        context: Option<&str>,
    ) -> anyhow::Result<()> {
        let folder = directory.join("edges").join(name);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let labels = BTreeMap::from([("demo".to_owned(), "quickstart".to_owned())]);
        let day = Duration::from_secs(24 * 3600);
        let join = edges::add(center, INVENTORY, name, &labels, day).await?;
        let edge = match context {
            Some(context) => edge_client(None, Some(context))?,
            None => {
                let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let sandbox = Sandbox::start(&folder.join("sandbox"), address)
                    .await
                    .with_context(|| format!("sandbox edge {name}"))?;
                let kubeconfig = sandbox.kubeconfig().to_owned();
                println!(
                    "Edge {name} is a sandbox, it only pretends to run things: KUBECONFIG={}",
                    kubeconfig.display()
                );
                self.sandboxes.push(sandbox);
                edge_client(Some(&kubeconfig), None)?
            }
        };
        let options = atoll_agent::Options {
            join,
            edge,
            state_directory: folder.join("agent"),
        };
        let name = name.to_owned();
        self.agents
            .spawn(async move { (name, atoll_agent::run(options).await) });
        Ok(())
    }

    /// Shows the table until all is healthy.
    async fn show(&mut self, client: &Client, args: &Args) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(args.timeout);
        let terminal = std::io::stdout().is_terminal();
        let mut shown = String::new();
        loop {
            let (rows, summary) = look(client).await?;
            let text = table::render(&rows, &summary);
            if text != shown {
                if terminal && !shown.is_empty() {
                    // Back to the table's first line.
                    print!("\x1b[{}A\x1b[J", shown.lines().count());
                }
                print!("{text}");
                if !terminal {
                    println!();
                }
                std::io::stdout()
                    .flush()
                    .context("cannot write to the terminal")?;
                shown = text;
            }
            let reasons = table::reasons(&rows, &summary);
            if reasons.is_empty() {
                return Ok(());
            }
            if args.once && Instant::now() > deadline {
                bail!(
                    "not healthy after {} s:\n  {}",
                    args.timeout,
                    reasons.join("\n  ")
                );
            }
            tokio::select! {
                Some(ended) = self.agents.join_next() => agent_ended(ended)?,
                () = tokio::time::sleep(Duration::from_millis(250)) => {}
            }
        }
    }

    /// Until an agent cannot go on; the caller listens for signals.
    async fn wait(&mut self) -> anyhow::Result<()> {
        match self.agents.join_next().await {
            Some(ended) => agent_ended(ended),
            None => std::future::pending().await,
        }
    }

    async fn stop(mut self) {
        self.agents.shutdown().await;
        for sandbox in self.sandboxes {
            sandbox.stop().await;
        }
        if let Some(center) = self.center {
            center.stop().await;
        }
    }
}

fn agent_ended(
    ended: Result<(String, Result<(), atoll_agent::AgentError>), tokio::task::JoinError>,
) -> anyhow::Result<()> {
    let (name, result) = ended.context("an agent failed")?;
    result.with_context(|| format!("the agent of edge {name}"))?;
    bail!("the agent of edge {name} ended")
}

/// The edges' names, with the context of those that are real clusters.
fn edge_names(args: &Args) -> Vec<(String, Option<String>)> {
    if args.edge_context.is_empty() {
        return (1..=args.edges)
            .map(|n| (format!("edge-{n}"), None))
            .collect();
    }
    // A context may be called anything, an object may not.
    let name = |context: &String| {
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        context
            .chars()
            .map(plain)
            .collect::<String>()
            .trim_matches('-')
            .to_owned()
    };
    args.edge_context
        .iter()
        .map(|context| (name(context), Some(context.clone())))
        .collect()
}

/// Agents find the center again only where it was: the first free port is kept for later runs.
fn center_address(args: &Args) -> anyhow::Result<SocketAddr> {
    let path = args.root_directory.join("quickstart.port");
    let kept = || std::fs::read_to_string(&path).ok()?.trim().parse().ok();
    let port = match args.secure_port {
        0 => kept().map_or_else(free_port, Ok)?,
        port => port,
    };
    std::fs::create_dir_all(&args.root_directory)
        .and_then(|()| std::fs::write(&path, port.to_string()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
}

fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?.port())
}

fn at(client: &Client, path: &str) -> Client {
    client.at(&format!("/clusters/{path}"))
}

/// Makes a workspace below root, unless it is there.
async fn workspace(client: &Client, name: &str, kind: &str) -> anyhow::Result<()> {
    let root = at(client, "root");
    let object = json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace", "metadata": {"name": name},
        "spec": {"type": {"name": kind, "path": "root"}},
    });
    let workspaces = "/apis/tenancy.kcp.io/v1alpha1/workspaces";
    match root.post(workspaces, &object).await {
        Err(error) if error.is_conflict() => {}
        made => drop(made.with_context(|| format!("cannot make workspace root:{name}"))?),
    }
    loop {
        let found = root.get(&format!("{workspaces}/{name}")).await?;
        if found
            .pointer("/status/phase")
            .is_some_and(|phase| phase == "Ready")
        {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Applies the application and its policy.
async fn deploy(client: &Client) -> anyhow::Result<()> {
    let payload = at(client, PAYLOAD);
    for text in [APPLICATION, MENU, POLICY] {
        for object in atoll_kube::yaml::documents(text.as_bytes())? {
            let path = path_of(&object);
            let change = format!("{path}?fieldManager=quickstart&force=true");
            payload
                .patch(&change, Patch::Apply, &object)
                .await
                .with_context(|| format!("cannot apply {path} in {PAYLOAD}"))?;
        }
    }
    Ok(())
}

/// Where an object of the examples lives; their plurals are regular.
fn path_of(object: &Value) -> String {
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (version, kind) = (text("/apiVersion"), text("/kind").to_lowercase());
    let root = if version.contains('/') { "apis" } else { "api" };
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    };
    match text("/metadata/namespace") {
        "" => format!("/{root}/{version}/{plural}/{}", text("/metadata/name")),
        namespace => format!(
            "/{root}/{version}/namespaces/{namespace}/{plural}/{}",
            text("/metadata/name")
        ),
    }
}

/// Asks the center how it stands.
async fn look(client: &Client) -> anyhow::Result<(Vec<EdgeRow>, Summary)> {
    let inventory = at(client, INVENTORY);
    let clusters = inventory
        .get("/apis/cluster.open-cluster-management.io/v1/managedclusters?labelSelector=demo%3Dquickstart")
        .await?;
    let mut rows = Vec::new();
    for cluster in clusters["items"].as_array().into_iter().flatten() {
        let name = cluster
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let path = format!("/apis/control.kubestellar.io/v1alpha1/namespaces/{name}/workstatuses");
        let copies = inventory.get(&path).await?;
        rows.push(EdgeRow::new(
            cluster,
            copies["items"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default(),
        ));
    }
    let policy = at(client, PAYLOAD)
        .get("/apis/control.kubestellar.io/v1alpha1/bindingpolicies/shop")
        .await?;
    Ok((rows, Summary::new(&policy)))
}
