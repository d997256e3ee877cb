//! `atoll ws create`: makes a workspace and waits until it is Ready.

use std::time::Duration;

use anyhow::{Context as _, bail};
use atoll_client::{Client, ClientError};
use serde_json::{Value, json};

use super::Session;
use super::enter::{WORKSPACES, type_of};

const TYPES: &str = "/apis/tenancy.kcp.io/v1alpha1/workspacetypes";

/// How often an unready workspace is looked at.
const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The workspace's name.
    name: String,
    /// Its type, by name or `<path>:<name>` [default: what the parent's type says].
    #[arg(long = "type", value_name = "TYPE")]
    of_type: Option<String>,
    /// Go there.
    #[arg(long)]
    enter: bool,
    /// Make a context of this name for it and switch to that.
    #[arg(long, value_name = "NAME", conflicts_with = "enter")]
    create_context: Option<String>,
    /// It is no error when it exists.
    #[arg(long)]
    ignore_existing: bool,
    /// Create it below this workspace instead of the current one.
    #[arg(long, short, value_name = "PATH")]
    workspace: Option<String>,
    /// Labels that the shard must have, as `key=value`.
    #[arg(long, value_name = "LABELS")]
    location_selector: Option<String>,
    /// How long to wait until it is ready.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
}

pub(super) async fn run(mut session: Session, args: Args) -> anyhow::Result<()> {
    let location = session.contexts.location()?;
    let parent = match &args.workspace {
        Some(path) => path.trim_start_matches(':').to_owned(),
        None => location.workspace()?.to_owned(),
    };
    let client = session.client_at(&parent)?;
    let name = args.name.as_str();
    let (workspace, created) = match client.post(WORKSPACES, &manifest(&args)?).await {
        Ok(workspace) => (workspace, true),
        Err(error) if args.ignore_existing && error.is_conflict() => {
            (client.get(&format!("{WORKSPACES}/{name}")).await?, false)
        }
        Err(error) => {
            let types = match &args.of_type {
                Some(_) if is_about_the_type(&error) => types(&session, &parent).await,
                _ => Vec::new(),
            };
            return match types.as_slice() {
                [] => Err(error.into()),
                types => Err(anyhow::Error::from(error)
                    .context(format!("these types are known here: {}", types.join(", ")))),
            };
        }
    };
    let shown = describe(&workspace, name);
    if created {
        println!("{shown} created. Waiting for it to be ready...");
    } else {
        println!("{shown} already exists.");
    }
    let limit = Duration::from_secs(args.timeout);
    let workspace = tokio::time::timeout(limit, ready(&client, name, workspace))
        .await
        .with_context(|| format!("workspace {name:?} is not ready after {} s", args.timeout))??;
    println!("{} is ready to use.", describe(&workspace, name));
    let path = format!("{parent}:{name}");
    if args.enter {
        return session.enter(&path).await;
    }
    if let Some(context) = args.create_context {
        session.contexts.create(&context, &path, false)?;
        session.contexts.save()?;
        println!("Created context \"{context}\" and switched to it.");
    }
    Ok(())
}

/// Whether a Workspace was refused because of its type.
fn is_about_the_type(error: &ClientError) -> bool {
    let text = error.to_string();
    text.contains("workspacetype") || text.contains("workspace type")
}

/// The types that can be seen in the parent, in its ancestors and in root; those that cannot be read are left out.
async fn types(session: &Session, parent: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut path = parent;
    loop {
        if let Ok(client) = session.client_at(path)
            && let Ok(list) = client.get(TYPES).await
        {
            let items = list["items"].as_array();
            let name = |item: &Value| item["metadata"]["name"].as_str().map(str::to_owned);
            names.extend(items.into_iter().flatten().filter_map(name));
        }
        match path.rsplit_once(':') {
            Some((above, _)) => path = above,
            None if path == "root" => break,
            None => path = "root",
        }
    }
    names.sort();
    names.dedup();
    names
}

async fn ready(client: &Client, name: &str, mut workspace: Value) -> anyhow::Result<Value> {
    while workspace.pointer("/status/phase").and_then(Value::as_str) != Some("Ready") {
        tokio::time::sleep(POLL).await;
        workspace = client.get(&format!("{WORKSPACES}/{name}")).await?;
    }
    Ok(workspace)
}

fn describe(workspace: &Value, name: &str) -> String {
    match type_of(workspace) {
        Some(of_type) => format!("Workspace \"{name}\" (type {of_type})"),
        None => format!("Workspace \"{name}\""),
    }
}

fn manifest(args: &Args) -> anyhow::Result<Value> {
    let mut spec = json!({});
    if let Some(of_type) = &args.of_type {
        spec["type"] = match of_type.trim_start_matches(':').rsplit_once(':') {
            Some((path, name)) => json!({"path": path, "name": name}),
            None => json!({"name": of_type}),
        };
    }
    if let Some(selector) = &args.location_selector {
        let mut labels = serde_json::Map::new();
        for pair in selector.split(',') {
            let Some((key, value)) = pair.split_once('=') else {
                bail!("--location-selector: {pair:?} is not key=value");
            };
            labels.insert(key.trim().to_owned(), json!(value.trim()));
        }
        spec["location"] = json!({"selector": {"matchLabels": labels}});
    }
    Ok(json!({
        "apiVersion": "tenancy.kcp.io/v1alpha1", "kind": "Workspace",
        "metadata": {"name": args.name}, "spec": spec,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(of_type: Option<&str>, selector: Option<&str>) -> Args {
        Args {
            name: "a".into(),
            of_type: of_type.map(str::to_owned),
            enter: false,
            create_context: None,
            ignore_existing: false,
            workspace: None,
            location_selector: selector.map(str::to_owned),
            timeout: 60,
        }
    }

    #[test]
    fn the_manifest_says_what_was_asked_and_no_more() {
        let rows = [
            (args(None, None), json!({})),
            (
                args(Some("payload"), None),
                json!({"type": {"name": "payload"}}),
            ),
            (
                args(Some("root:org:mine"), None),
                json!({"type": {"path": "root:org", "name": "mine"}}),
            ),
            (
                args(None, Some("name=root, x=y")),
                json!({"location": {"selector": {"matchLabels": {"name": "root", "x": "y"}}}}),
            ),
        ];
        for (args, spec) in rows {
            assert_eq!(manifest(&args).unwrap()["spec"], spec);
        }
        assert!(manifest(&args(None, Some("name"))).is_err());
    }
}
