//! `atoll ws tree`: the workspaces below one, drawn.

use std::future::Future;
use std::pin::Pin;

use atoll_client::ClientError;
use serde_json::Value;

use super::Session;
use super::enter::{WORKSPACES, type_of};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show whole paths.
    #[arg(long)]
    full: bool,
    /// Show type and phase.
    #[arg(long)]
    wide: bool,
    /// Start at this workspace instead of the current one.
    #[arg(long, short, value_name = "PATH")]
    workspace: Option<String>,
}

/// A workspace with those below it.
#[derive(Debug, PartialEq, Eq)]
struct Node {
    label: String,
    children: Vec<Node>,
}

pub(super) async fn run(session: &Session, args: &Args) -> anyhow::Result<()> {
    let location = session.contexts.location()?;
    let path = match &args.workspace {
        Some(path) => path.trim_start_matches(':').to_owned(),
        None => location.workspace()?.to_owned(),
    };
    let name = path.rsplit(':').next().unwrap_or(&path);
    let label = if args.full {
        path.clone()
    } else {
        name.to_owned()
    };
    let root = Node {
        label,
        children: below(session, args, path.clone()).await?,
    };
    print!(".\n{}", draw(&[root]));
    Ok(())
}

/// The workspaces below one. Where the user may not look, nothing is shown.
fn below<'a>(
    session: &'a Session,
    args: &'a Args,
    path: String,
) -> Pin<Box<dyn Future<Output = anyhow::Result<Vec<Node>>> + 'a>> {
    Box::pin(async move {
        let list = match session.client_at(&path)?.get(WORKSPACES).await {
            Ok(list) => list,
            Err(ClientError::Status(status)) if matches!(status.code, 403 | 404) => {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error.into()),
        };
        let mut nodes = Vec::new();
        for workspace in list
            .get("items")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let name = workspace
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or("");
            let below_path = format!("{path}:{name}");
            let mut label = if args.full {
                below_path.clone()
            } else {
                name.to_owned()
            };
            if args.wide {
                let phase = workspace
                    .pointer("/status/phase")
                    .and_then(Value::as_str)
                    .unwrap_or("-");
                label = format!(
                    "{label} ({}, {phase})",
                    type_of(workspace).unwrap_or_default()
                );
            }
            nodes.push(Node {
                label,
                children: below(session, args, below_path).await?,
            });
        }
        Ok(nodes)
    })
}

/// Draws nodes with the lines that join them.
fn draw(nodes: &[Node]) -> String {
    let mut out = String::new();
    draw_below(nodes, "", &mut out);
    out
}

fn draw_below(nodes: &[Node], indent: &str, out: &mut String) {
    for (at, node) in nodes.iter().enumerate() {
        let last = at + 1 == nodes.len();
        let (branch, line) = if last {
            ("└── ", "    ")
        } else {
            ("├── ", "│   ")
        };
        out.push_str(&format!("{indent}{branch}{}\n", node.label));
        draw_below(&node.children, &format!("{indent}{line}"), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_drawn_with_its_lines() {
        let node = |label: &str, children| Node {
            label: label.to_owned(),
            children,
        };
        let tree = node(
            "root",
            vec![node("a", vec![node("b", vec![])]), node("c", vec![])],
        );
        assert_eq!(
            draw(&[tree]),
            "└── root\n    ├── a\n    │   └── b\n    └── c\n"
        );
    }
}
