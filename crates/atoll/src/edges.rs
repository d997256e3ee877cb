//! `atoll edges`: registers edges in an inventory, lists and removes them.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, bail};
use atoll_client::{Client, Config, Kubeconfig, Patch};
use atoll_kube::Timestamp;
use atoll_wire::join::{self, JoinFile};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

const CLUSTERS: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters";

/// Arguments of `atoll edges`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The kubeconfig of the center [default: as kubectl finds it].
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context to use [default: the current one].
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The workspace that holds the edges [default: the current workspace].
    #[arg(long, global = true, value_name = "PATH")]
    inventory: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Register an edge (or renew its join token) and write the join file for its agent.
    Add {
        /// The edge's name.
        name: String,
        /// A label, `key=value`; may be given several times.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = key_value)]
        labels: Vec<(String, String)>,
        /// Where to write the join file; `-` for standard output.
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// How many hours the join token is good for.
        #[arg(long, default_value_t = 24, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..=8760))]
        valid: u64,
    },
    /// List the edges.
    List,
    /// Take an edge out of the fleet; what runs there stays, unless purged.
    Remove {
        /// The edge's name.
        name: String,
        /// Remove everything that was placed there first; waits until the edge has confirmed it.
        #[arg(long)]
        purge: bool,
        /// How many seconds to wait for that.
        #[arg(long, default_value_t = 300, value_name = "SECONDS")]
        timeout: u64,
    },
    /// Go on with an edge that is held since the center was restored from a backup.
    Resume {
        /// The edge's name.
        name: String,
        /// The token that the edge's condition shows.
        token: String,
    },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A center, as its kubeconfig describes it.
pub(crate) struct CenterAccess {
    /// A client at the bare host.
    pub client: Client,
    /// The authority that signed the center's certificate, PEM.
    pub authority: Vec<u8>,
    /// The current workspace's path.
    pub workspace: Option<String>,
}

impl CenterAccess {
    /// From a context of a kubeconfig.
    pub(crate) fn open(kubeconfig: &Kubeconfig, context: Option<&str>) -> anyhow::Result<Self> {
        let config = Config::from_kubeconfig(kubeconfig, context)?;
        let authority = config.tls.ca.clone().unwrap_or_default();
        let workspace = config
            .server
            .split_once("/clusters/")
            .map(|(_, path)| path.trim_end_matches('/').to_owned());
        Ok(CenterAccess {
            client: Client::new(&config)?.at(""),
            authority,
            workspace,
        })
    }
}

/// Runs the subcommand.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let kubeconfig = match &args.kubeconfig {
        Some(path) => Kubeconfig::load(&[path])?,
        None => Kubeconfig::load_default()?,
    };
    let center = CenterAccess::open(&kubeconfig, args.context.as_deref())
        .context("no center to talk to; set KUBECONFIG to the admin.kubeconfig that `atoll start` wrote, or name it with --kubeconfig")?;
    let Some(inventory) = args.inventory.or_else(|| center.workspace.clone()) else {
        bail!("which inventory? Name it with --inventory root:inventory");
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match args.command {
            Command::Add {
                name,
                labels,
                output,
                valid,
            } => {
                let labels = labels.into_iter().collect();
                check_writable(&output)?;
                let join = add(
                    &center,
                    &inventory,
                    &name,
                    &labels,
                    Duration::from_secs(valid * 3600),
                )
                .await?;
                write_join_file(&join, &output)
            }
            Command::List => list(&center, &inventory).await,
            Command::Remove {
                name,
                purge,
                timeout,
            } => {
                if purge {
                    empty(&center, &inventory, &name, Duration::from_secs(timeout)).await?;
                }
                remove(&center, &inventory, &name, purge).await
            }
            Command::Resume { name, token } => resume(&center, &inventory, &name, &token).await,
        }
    })
}

/// Lets a held edge go on; refuses what would have no effect.
async fn resume(
    center: &CenterAccess,
    inventory: &str,
    name: &str,
    token: &str,
) -> anyhow::Result<()> {
    let client = at(center, inventory);
    let path = format!("{CLUSTERS}/{name}");
    let cluster = client.get(&path).await?;
    let conditions = cluster
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let held = conditions
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "edge.atoll.dev/Held" && c["status"] == "True");
    match held.and_then(|c| c["message"].as_str()) {
        None => bail!("edge {name} is not held: there is nothing to resume"),
        Some(message) if !message.contains(token) => {
            bail!("that is not the token of edge {name}; its condition says: {message}")
        }
        Some(_) => {}
    }
    let change = json!({"metadata": {"annotations": {"edge.atoll.dev/resume": token}}});
    client.patch(&path, Patch::Merge, &change).await?;
    println!("Edge {name} goes on from what the center has now.");
    Ok(())
}

fn at(center: &CenterAccess, inventory: &str) -> Client {
    center.client.at(&format!("/clusters/{inventory}"))
}

/// Registers an edge, or gives a registered one a new join token, and returns its join file.
pub(crate) async fn add(
    center: &CenterAccess,
    inventory: &str,
    name: &str,
    labels: &BTreeMap<String, String>,
    valid: Duration,
) -> anyhow::Result<JoinFile> {
    let token = hex::encode(rand::random::<[u8; 32]>());
    let since_epoch = (SystemTime::now() + valid).duration_since(SystemTime::UNIX_EPOCH)?;
    let expires = Timestamp(i64::try_from(since_epoch.as_millis())?).rfc3339();
    let object = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1",
        "kind": "ManagedCluster",
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {
                join::TOKEN_HASH: join::token_hash(&token),
                join::TOKEN_EXPIRES: expires,
            },
        },
        "spec": {"hubAcceptsClient": true},
    });
    let path = format!("{CLUSTERS}/{name}?fieldManager=atoll-edges&force=true");
    let cluster = at(center, inventory)
        .patch(&path, Patch::Apply, &object)
        .await
        .map_err(|error| match error.is_not_found() {
            true => anyhow::anyhow!("{inventory} is no inventory workspace; make one with `atoll ws create NAME --type inventory`"),
            false => error.into(),
        })
        .with_context(|| format!("cannot register edge {name}"))?;
    let text = |pointer: &str| {
        cluster
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    Ok(JoinFile {
        api_version: join::API_VERSION.into(),
        kind: join::KIND.into(),
        server: center.client.origin().to_owned(),
        certificate_authority_data: STANDARD.encode(&center.authority),
        inventory: text("/metadata/annotations/kcp.io~1cluster"),
        name: name.to_owned(),
        destination: text("/metadata/uid"),
        token,
        expires: Some(expires),
    })
}

/// Nothing is registered for a join file that could not be written.
fn check_writable(output: &Path) -> anyhow::Result<()> {
    let folder = match output.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if output != Path::new("-") && !folder.is_dir() {
        bail!(
            "cannot write {}: there is no folder {}",
            output.display(),
            folder.display()
        );
    }
    Ok(())
}

/// Writes a join file that only its owner can read.
fn write_join_file(join: &JoinFile, output: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // JSON is YAML.
    let text = serde_json::to_string_pretty(join)? + "\n";
    if output == Path::new("-") {
        print!("{text}");
        return Ok(());
    }
    let write = || {
        let _ = std::fs::remove_file(output);
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(output)?;
        file.write_all(text.as_bytes())
    };
    write().with_context(|| format!("cannot write {}", output.display()))?;
    println!(
        "Edge {} is registered. Bring {} to it (it is a secret until it was used) and run there:\n  \
         atoll agent --join {1} --kubeconfig EDGE.kubeconfig --state-directory DIR",
        join.name,
        output.display(),
    );
    Ok(())
}

async fn list(center: &CenterAccess, inventory: &str) -> anyhow::Result<()> {
    let clusters = at(center, inventory).get(CLUSTERS).await;
    let clusters = clusters.map_err(|error| match error.is_not_found() {
        true => anyhow::anyhow!(
            "{inventory} is no inventory workspace, where edges are: name one with --inventory, for example --inventory root:inventory"
        ),
        false => error.into(),
    })?;
    let condition = |cluster: &Value, kind: &str| {
        let all = cluster
            .pointer("/status/conditions")
            .and_then(Value::as_array);
        let found = all.into_iter().flatten().find(|c| c["type"] == kind);
        found
            .and_then(|c| c["status"].as_str())
            .unwrap_or("-")
            .to_owned()
    };
    println!(
        "{:24} {:9} {:9} {:20} LAST SEEN",
        "NAME", "JOINED", "AVAILABLE", "VERSION"
    );
    for cluster in clusters["items"].as_array().into_iter().flatten() {
        let text = |pointer: &str| {
            cluster
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or("-")
        };
        println!(
            "{:24} {:9} {:9} {:20} {}",
            text("/metadata/name"),
            condition(cluster, "ManagedClusterJoined"),
            condition(cluster, "ManagedClusterConditionAvailable"),
            text("/status/version/kubernetes"),
            text("/status/lastSeenTime"),
        );
    }
    Ok(())
}

/// Asks for an edge to be emptied and waits until it is.
async fn empty(
    center: &CenterAccess,
    inventory: &str,
    name: &str,
    timeout: Duration,
) -> anyhow::Result<()> {
    let client = at(center, inventory);
    let path = format!("{CLUSTERS}/{name}");
    let ask = json!({"metadata": {"annotations": {"edge.atoll.dev/purge": "true"}}});
    client
        .patch(&path, Patch::Merge, &ask)
        .await
        .with_context(|| format!("cannot empty edge {name}"))?;
    let deadline = tokio::time::Instant::now() + timeout;
    loop {
        let cluster = client.get(&path).await?;
        let conditions = cluster
            .pointer("/status/conditions")
            .and_then(Value::as_array);
        let done = conditions
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "edge.atoll.dev/Purged" && c["status"] == "True");
        if done {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            bail!(
                "edge {name} has not confirmed all removals. It goes on when the edge is connected; \
                 run this again, or without --purge to leave the rest there"
            );
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn remove(
    center: &CenterAccess,
    inventory: &str,
    name: &str,
    purged: bool,
) -> anyhow::Result<()> {
    at(center, inventory)
        .delete(&format!("{CLUSTERS}/{name}"), None)
        .await
        .with_context(|| format!("cannot remove edge {name}"))?;
    let rest = if purged {
        "what was placed there is removed"
    } else {
        "what runs there stays"
    };
    println!("Edge {name} is out of the fleet; {rest}.");
    Ok(())
}
