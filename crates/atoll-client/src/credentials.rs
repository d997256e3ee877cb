//! The `Authorization` header: fixed, read from a file that is renewed, or printed by a program.
//!
//! Files are read again after a minute, programs are run again when what they printed expires.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine as _;
use http::HeaderValue;
use serde_json::{Value, json};

use crate::config::Auth;
use crate::error::ClientError;

/// How long a token file's content is used before it is read again.
const FILE_LIFE: Duration = Duration::from_secs(60);

/// The kubeconfig's `exec` section: a program that prints an `ExecCredential`.
#[derive(Clone, Debug)]
pub struct ExecPlugin {
    api_version: String,
    command: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl ExecPlugin {
    pub(crate) fn from_value(value: &Value) -> Result<Self, ClientError> {
        let text = |field: &str| {
            value
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let list = |field: &str| {
            value
                .get(field)
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default()
        };
        let plugin = ExecPlugin {
            api_version: text("apiVersion"),
            command: text("command"),
            args: list("args")
                .iter()
                .filter_map(|arg| arg.as_str().map(str::to_owned))
                .collect(),
            env: list("env")
                .iter()
                .filter_map(|pair| {
                    Some((
                        pair.get("name")?.as_str()?.to_owned(),
                        pair.get("value")?.as_str()?.to_owned(),
                    ))
                })
                .collect(),
        };
        if plugin.command.is_empty() {
            return Err(ClientError::Config(
                "the kubeconfig's exec section names no command".into(),
            ));
        }
        Ok(plugin)
    }

    async fn run(&self) -> Result<(String, Option<Instant>), ClientError> {
        let info = json!({
            "apiVersion": self.api_version, "kind": "ExecCredential", "spec": {"interactive": false}
        });
        let failed = |why: String| {
            ClientError::Config(format!("credential program {:?}: {why}", self.command))
        };
        let output = tokio::process::Command::new(&self.command)
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("KUBERNETES_EXEC_INFO", info.to_string())
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(format!(
                "{}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        let answer: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
        let status = answer.get("status").unwrap_or(&Value::Null);
        let token = status.get("token").and_then(Value::as_str).ok_or_else(|| {
            failed(
                "printed no status.token; client certificates from a program are not supported"
                    .into(),
            )
        })?;
        let life = status
            .get("expirationTimestamp")
            .and_then(Value::as_str)
            .and_then(|text| text.parse::<jiff::Timestamp>().ok())
            .map(|at| {
                Duration::from_secs(
                    at.duration_since(jiff::Timestamp::now())
                        .as_secs()
                        .max(0)
                        .unsigned_abs(),
                )
            });
        Ok((token.to_owned(), life.map(|life| Instant::now() + life)))
    }
}

/// The header's source with what was last read from it.
pub(crate) struct Credentials {
    auth: Auth,
    cached: Mutex<Option<(HeaderValue, Option<Instant>)>>,
}

impl Credentials {
    pub(crate) fn new(auth: Auth) -> Self {
        Credentials {
            auth,
            cached: Mutex::new(None),
        }
    }

    /// The header to send now.
    pub(crate) async fn header(&self) -> Result<Option<HeaderValue>, ClientError> {
        if matches!(self.auth, Auth::None) {
            return Ok(None);
        }
        if let Ok(cached) = self.cached.lock()
            && let Some((header, until)) = cached.as_ref()
            && until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(Some(header.clone()));
        }
        let (text, until) = match &self.auth {
            Auth::None => return Ok(None),
            Auth::Token(token) => (format!("Bearer {token}"), None),
            Auth::Basic(name, password) => {
                let pair =
                    base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
                (format!("Basic {pair}"), None)
            }
            Auth::TokenFile(path) => {
                let token = tokio::fs::read_to_string(path).await.map_err(|error| {
                    ClientError::Config(format!("cannot read {}: {error}", path.display()))
                })?;
                (
                    format!("Bearer {}", token.trim()),
                    Some(Instant::now() + FILE_LIFE),
                )
            }
            Auth::Exec(plugin) => {
                let (token, until) = plugin.run().await?;
                (format!("Bearer {token}"), until)
            }
        };
        let mut header = HeaderValue::from_str(&text).map_err(|_| {
            ClientError::Config(
                "the credential contains characters that a header may not have".into(),
            )
        })?;
        header.set_sensitive(true);
        if let Ok(mut cached) = self.cached.lock() {
            *cached = Some((header.clone(), until));
        }
        Ok(Some(header))
    }

    /// Forgets what was read, because the server refused it.
    pub(crate) fn forget(&self) {
        if let Ok(mut cached) = self.cached.lock() {
            *cached = None;
        }
    }
}
