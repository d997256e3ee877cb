//! `admin.kubeconfig`, with kcp's contexts, clusters and users.

use std::path::Path;

use base64::Engine;
use serde_json::Value;

use super::files::{self, Secrecy};
use super::{AdminTokens, Contexts, PkiError};

/// The token of a user in an existing kubeconfig; `None` when there is none that can be read.
pub(super) fn read_token(path: &Path, user: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let config: Value = serde_saphyr::from_str(&text).ok()?;
    let users = config.get("users")?.as_array()?;
    let entry = users
        .iter()
        .find(|entry| entry.get("name").and_then(Value::as_str) == Some(user))?;
    entry.pointer("/user/token")?.as_str().map(str::to_owned)
}

/// Writes the kubeconfig; `authority` is the PEM that clients should trust.
pub(super) fn write(
    path: &Path,
    offered: Contexts,
    base_url: &str,
    authority: &str,
    tokens: &AdminTokens,
) -> Result<(), PkiError> {
    let authority = base64::engine::general_purpose::STANDARD.encode(authority);
    let mut text = String::from("apiVersion: v1\nkind: Config\npreferences: {}\nclusters:\n");
    let below = |path: &str| format!("{base_url}{path}");
    let (clusters, contexts, users) = match offered {
        Contexts::Workspaces => (
            vec![
                ("base", below("")),
                ("root", below("/clusters/root")),
                ("system:admin", below("/clusters/system:admin")),
            ],
            vec![
                ("root", "root", "kcp-admin"),
                ("base", "base", "kcp-admin"),
                ("shard-base", "base", "shard-admin"),
                ("system:admin", "system:admin", "shard-admin"),
            ],
            vec![
                ("kcp-admin", &tokens.kcp_admin),
                ("shard-admin", &tokens.shard_admin),
            ],
        ),
        Contexts::Single => (
            vec![("sandbox", below(""))],
            vec![("sandbox", "sandbox", "shard-admin")],
            vec![("shard-admin", &tokens.shard_admin)],
        ),
    };
    for (name, server) in &clusters {
        text.push_str(&format!(
            "- cluster:\n    certificate-authority-data: {authority}\n    server: {server}\n  name: {name}\n"
        ));
    }
    text.push_str("contexts:\n");
    for (name, cluster, user) in &contexts {
        text.push_str(&format!(
            "- context:\n    cluster: {cluster}\n    user: {user}\n  name: {name}\n"
        ));
    }
    text.push_str(&format!("current-context: {}\nusers:\n", contexts[0].0));
    for (name, token) in &users {
        text.push_str(&format!("- name: {name}\n  user:\n    token: {token}\n"));
    }
    files::replace(path, text.as_bytes(), Secrecy::Secret)
}
