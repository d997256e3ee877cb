//! Where a server is and who calls it: plain data, parsed once.

use std::path::PathBuf;

use base64::Engine as _;
use serde_json::Value;

use crate::credentials::ExecPlugin;
use crate::error::ClientError;
use crate::kubeconfig::Kubeconfig;

/// Everything needed to talk to one API server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Base URL; its path (for example `/clusters/root`) is put before every request's path.
    pub server: String,
    /// Whom to believe.
    pub tls: Tls,
    /// Who calls.
    pub auth: Auth,
    /// The namespace that the kubeconfig's context names, if any.
    pub namespace: Option<String>,
    /// Sent as `User-Agent`.
    pub user_agent: String,
}

/// How the server's certificate is judged, and the client's own certificate.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// PEM bundle of authorities; `None` means those of the machine.
    pub ca: Option<Vec<u8>>,
    /// Accept any certificate.
    pub insecure: bool,
    /// Name to expect in the certificate instead of the URL's host.
    pub server_name: Option<String>,
    /// PEM certificate chain and key presented to the server.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// What is sent with each request to say who calls (client certificates are in [`Tls`]).
#[derive(Clone, Debug, Default)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// A fixed bearer token.
    Token(String),
    /// A bearer token in a file that something else renews.
    TokenFile(PathBuf),
    /// User name and password.
    Basic(String, String),
    /// A program that prints credentials.
    Exec(Box<ExecPlugin>),
}

impl Config {
    /// A configuration with nothing but the address.
    pub fn new(server: impl Into<String>) -> Self {
        Config {
            server: server.into(),
            tls: Tls::default(),
            auth: Auth::None,
            namespace: None,
            user_agent: concat!("atoll/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// What a context of a kubeconfig says; `None` takes the current one.
    pub fn from_kubeconfig(
        kubeconfig: &Kubeconfig,
        context: Option<&str>,
    ) -> Result<Self, ClientError> {
        let name = match context {
            Some(name) => name.to_owned(),
            None => kubeconfig.current_context().ok_or_else(|| {
                let has = contexts(kubeconfig);
                ClientError::Config(format!("the kubeconfig has no current context; {has}"))
            })?,
        };
        let missing = |what: &str, name: &str| {
            ClientError::Config(format!("the kubeconfig has no {what} {name:?}"))
        };
        let context = kubeconfig.context(&name).ok_or_else(|| {
            let has = contexts(kubeconfig);
            ClientError::Config(format!("the kubeconfig has no context {name:?}; {has}"))
        })?;
        let cluster_name = text(&context, "cluster").unwrap_or_default();
        let cluster = kubeconfig
            .cluster(cluster_name)
            .ok_or_else(|| missing("cluster", cluster_name))?;
        let server = text(&cluster, "server").ok_or_else(|| {
            ClientError::Config(format!(
                "cluster {cluster_name:?} of the kubeconfig has no server"
            ))
        })?;
        let mut config = Config::new(server);
        config.namespace = text(&context, "namespace").map(str::to_owned);
        config.tls = Tls {
            ca: material(&cluster, "certificate-authority", kubeconfig)?,
            insecure: cluster
                .get("insecure-skip-tls-verify")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            server_name: text(&cluster, "tls-server-name").map(str::to_owned),
            identity: None,
        };
        let user_name = text(&context, "user").unwrap_or_default();
        if !user_name.is_empty() {
            let user = kubeconfig
                .user(user_name)
                .ok_or_else(|| missing("user", user_name))?;
            let certificate = material(&user, "client-certificate", kubeconfig)?;
            let key = material(&user, "client-key", kubeconfig)?;
            config.tls.identity = match (certificate, key) {
                (Some(certificate), Some(key)) => Some((certificate, key)),
                (None, None) => None,
                _ => {
                    return Err(ClientError::Config(format!(
                        "user {user_name:?} of the kubeconfig needs both a client certificate and its key"
                    )));
                }
            };
            config.auth = auth(&user, kubeconfig)?;
        }
        Ok(config)
    }

    /// From the two files' worth of text that a pod or a join file carries: server, CA and token.
    pub fn with_token(
        server: impl Into<String>,
        ca: Option<Vec<u8>>,
        token: impl Into<String>,
    ) -> Self {
        let mut config = Config::new(server);
        config.tls.ca = ca;
        config.auth = Auth::Token(token.into());
        config
    }
}

/// Which contexts there are, for people.
fn contexts(kubeconfig: &Kubeconfig) -> String {
    match kubeconfig.contexts().as_slice() {
        [] => "it has none at all".to_owned(),
        names => format!("it has {}", names.join(", ")),
    }
}

fn auth(user: &Value, kubeconfig: &Kubeconfig) -> Result<Auth, ClientError> {
    if let Some(token) = text(user, "token") {
        return Ok(Auth::Token(token.to_owned()));
    }
    if let Some(file) = text(user, "tokenFile") {
        return Ok(Auth::TokenFile(kubeconfig.resolve(file)));
    }
    if let Some(name) = text(user, "username") {
        return Ok(Auth::Basic(
            name.to_owned(),
            text(user, "password").unwrap_or_default().to_owned(),
        ));
    }
    match user.get("exec") {
        Some(exec) => Ok(Auth::Exec(Box::new(ExecPlugin::from_value(exec)?))),
        None => Ok(Auth::None),
    }
}

/// A non-empty string field.
fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value
        .get(field)
        .and_then(Value::as_str)
        .filter(|s| !s.is_empty())
}

/// The bytes of `<field>-data` (base64), else of the file named by `<field>`.
fn material(
    value: &Value,
    field: &str,
    kubeconfig: &Kubeconfig,
) -> Result<Option<Vec<u8>>, ClientError> {
    if let Some(data) = text(value, &format!("{field}-data")) {
        return base64::engine::general_purpose::STANDARD
            .decode(data.trim())
            .map(Some)
            .map_err(|error| {
                ClientError::Config(format!(
                    "{field}-data of the kubeconfig is not base64: {error}"
                ))
            });
    }
    match text(value, field) {
        None => Ok(None),
        Some(file) => {
            let path = kubeconfig.resolve(file);
            std::fs::read(&path).map(Some).map_err(|error| {
                ClientError::Config(format!("cannot read {}: {error}", path.display()))
            })
        }
    }
}
