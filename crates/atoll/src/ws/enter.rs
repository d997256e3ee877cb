//! Finding out whether a workspace can be entered, and what it is.

use anyhow::{Context as _, bail};
use atoll_client::ClientError;
use serde_json::Value;

use super::Session;
use super::path::{Location, parent};

/// Where Workspaces are.
pub(super) const WORKSPACES: &str = "/apis/tenancy.kcp.io/v1alpha1/workspaces";

/// What is said on arrival.
pub(super) fn arrival(path: &str, of_type: Option<&str>) -> String {
    match of_type {
        Some(of_type) => format!("Current workspace is '{path}' (type {of_type})."),
        None => format!("Current workspace is '{path}'."),
    }
}

/// Checks that a workspace exists and lets the user in; gives its type where its parent may be asked.
pub(super) async fn check(session: &Session, path: &str) -> anyhow::Result<Option<String>> {
    match session.client_at(path)?.get("/apis").await {
        Ok(_) => {}
        Err(error) if error.is_not_found() => bail!("workspace {path:?} not found"),
        Err(ClientError::Status(status)) if status.code == 403 => {
            bail!("access to workspace {path} denied")
        }
        Err(error) => return Err(error.into()),
    }
    let Some((above, name)) = parent(path) else {
        return Ok(None);
    };
    // Whoever may enter need not be allowed to look into the parent.
    let workspace = session
        .client_at(above)?
        .get(&format!("{WORKSPACES}/{name}"))
        .await
        .ok();
    Ok(workspace.as_ref().and_then(type_of))
}

/// The path or name of the user's home workspace, which is made if there is none.
pub(super) async fn home(session: &Session) -> anyhow::Result<String> {
    let workspace = session
        .client_at("root")?
        .get(&format!("{WORKSPACES}/~"))
        .await?;
    let url = workspace
        .pointer("/spec/URL")
        .and_then(Value::as_str)
        .context("the home workspace has no URL yet")?;
    Ok(Location::parse(url)?.workspace()?.to_owned())
}

/// A Workspace's type as `<path>:<name>`.
pub(super) fn type_of(workspace: &Value) -> Option<String> {
    let text = |field: &str| {
        workspace
            .pointer(&format!("/spec/type/{field}"))
            .and_then(Value::as_str)
    };
    Some(format!("{}:{}", text("path")?, text("name")?))
}
