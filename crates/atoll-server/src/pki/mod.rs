//! The root directory: certificates, keys, tokens and the administrator's kubeconfig.
//!
//! [`RootDirectory::open`] makes whatever is missing and keeps whatever still holds, so starting twice changes as little
//! as possible: authorities, the service account key and the shard administrator's token stay, the serving certificate is
//! made anew only when it is about to expire or does not cover the address, and only the `kcp-admin` token is new at each start.
//!
//! File names and contents that kcp has too are kcp's; `serving-ca.*` and `fleet-ca.*` are ours. Files are replaced
//! atomically; those with a secret are readable by their owner only.

mod certificates;
mod files;
mod kubeconfig;
mod tokens;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};

pub use certificates::{Authority, Serving};
use files::Secrecy;
pub use tokens::AdminTokens;

/// What can go wrong while preparing the root directory.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was tried: "read", "write", "create".
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// A file is there, but is not what it should be.
    #[error("{} is damaged: {why}; move it away to have a new one made", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A file that the user gave is not what it should be.
    #[error("{} cannot be used: {why}; name a PEM file of certificates", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
}

/// What the root directory is asked for.
#[derive(Debug, Clone)]
pub struct RootOptions {
    /// The directory; created when missing.
    pub directory: PathBuf,
    /// Where the kubeconfig goes; `admin.kubeconfig` in the directory when `None`.
    pub kubeconfig: Option<PathBuf>,
    /// Where the hash of the shard administrator's token goes; `.admin-token-store` in the directory when `None`.
    pub token_store: Option<PathBuf>,
    /// The address that the server is bound to; an unspecified one (0.0.0.0) is replaced by the host's own.
    pub address: SocketAddr,
    /// The URL under which clients reach the server, when it differs from the address.
    pub external_url: Option<String>,
    /// Further names or addresses for the serving certificate.
    pub names: Vec<String>,
    /// What the kubeconfig offers.
    pub contexts: Contexts,
}

/// What the administrator's kubeconfig offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contexts {
    /// kcp's four contexts, for a server of many workspaces.
    Workspaces,
    /// One context for one cluster at the bare host, as a sandbox is.
    Single,
}

impl RootOptions {
    /// For one cluster at the bare host.
    pub fn single(directory: &Path, address: SocketAddr) -> Self {
        RootOptions {
            directory: directory.to_owned(),
            kubeconfig: None,
            token_store: None,
            address,
            external_url: None,
            names: Vec::new(),
            contexts: Contexts::Single,
        }
    }
}

/// Everything the server needs out of the root directory.
#[derive(Debug)]
pub struct RootDirectory {
    /// The directory itself.
    pub path: PathBuf,
    /// The serving certificate chain and its key.
    pub serving: Serving,
    /// The key that signs service account tokens.
    pub service_account_key: String,
    /// The two administrators' tokens.
    pub tokens: AdminTokens,
    /// `https://host:port`, as clients should use it.
    pub base_url: String,
    /// The kubeconfig that was written.
    pub kubeconfig: PathBuf,
}

impl RootDirectory {
    /// Reads the directory, making or renewing what is needed, and writes the kubeconfig.
    pub fn open(options: &RootOptions) -> Result<Self, PkiError> {
        let directory = &options.directory;
        files::create_private_directory(directory)?;
        let host = advertised_host(options);
        let base_url = options
            .external_url
            .clone()
            .map(|url| url.trim_end_matches('/').to_owned())
            .unwrap_or_else(|| format!("https://{}", host_port(&host, options.address.port())));

        let names = certificate_names(options, &host);
        let serving_ca = Authority::open(directory, "serving-ca", "atoll serving")?;
        let serving = Serving::open(directory, &serving_ca, &names)?;
        let service_account_key = certificates::open_key(&directory.join("sa.key"))?;

        let kubeconfig = options
            .kubeconfig
            .clone()
            .unwrap_or_else(|| directory.join("admin.kubeconfig"));
        let token_store = options
            .token_store
            .clone()
            .unwrap_or_else(|| directory.join(".admin-token-store"));
        let kept = kubeconfig::read_token(&kubeconfig, "shard-admin");
        let tokens = AdminTokens::open(&token_store, kept)?;
        kubeconfig::write(
            &kubeconfig,
            options.contexts,
            &base_url,
            &serving.chain_pem,
            &tokens,
        )?;

        Ok(Self {
            path: directory.clone(),
            serving,
            service_account_key,
            tokens,
            base_url,
            kubeconfig,
        })
    }

    /// An authority that is kept in `NAME.crt` and `NAME.key`; made when it is not there.
    pub fn authority(&self, name: &str, common_name: &str) -> Result<Authority, PkiError> {
        Authority::open(&self.path, name, common_name)
    }
}

/// The host that goes into URLs: the bound address, or the host's outbound one when bound to all.
fn advertised_host(options: &RootOptions) -> String {
    if let Some(host) = options.external_url.as_deref().and_then(url_host) {
        return host;
    }
    let ip = options.address.ip();
    if ip.is_unspecified() {
        outbound_address(ip).to_string()
    } else {
        ip.to_string()
    }
}

/// The address the host uses to reach others; loopback when it has none. No packet is sent.
fn outbound_address(family: IpAddr) -> IpAddr {
    let (bind, target, fallback) = match family {
        IpAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9", IpAddr::from([127, 0, 0, 1])),
        IpAddr::V6(_) => (
            "[::]:0",
            "[2001:db8::1]:9",
            IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1u16]),
        ),
    };
    UdpSocket::bind(bind)
        .and_then(|socket| socket.connect(target).and_then(|()| socket.local_addr()))
        .map(|address| address.ip())
        .unwrap_or(fallback)
}

fn certificate_names(options: &RootOptions, host: &str) -> Vec<String> {
    let mut names = vec![
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
        "kubernetes.default.svc".to_owned(),
        host.to_owned(),
    ];
    if !options.address.ip().is_unspecified() {
        names.push(options.address.ip().to_string());
    }
    if let Ok(own) = std::fs::read_to_string("/proc/sys/kernel/hostname") {
        names.push(own.trim().to_owned());
    }
    names.extend(options.names.iter().cloned());
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

fn url_host(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    uri.host()
        .map(|host| host.trim_matches(['[', ']']).to_owned())
}

fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// The files of a root directory that outlive a start, and whether they are secret.
const KEPT: [(&str, Secrecy); 9] = [
    ("serving-ca.crt", Secrecy::Public),
    ("serving-ca.key", Secrecy::Secret),
    ("fleet-ca.crt", Secrecy::Public),
    ("fleet-ca.key", Secrecy::Secret),
    ("apiserver.crt", Secrecy::Public),
    ("apiserver.key", Secrecy::Secret),
    ("sa.key", Secrecy::Secret),
    (".admin-token-store", Secrecy::Secret),
    ("admin.kubeconfig", Secrecy::Secret),
];

/// Copies the certificates, keys and tokens of one root directory to another, which is made. What is not there is left out.
pub fn copy(from: &Path, to: &Path) -> Result<(), PkiError> {
    files::create_private_directory(to)?;
    for (name, secrecy) in KEPT {
        let path = from.join(name);
        if path.exists() {
            files::replace(&to.join(name), &files::read_bytes(&path)?, secrecy)?;
        }
    }
    Ok(())
}

/// Makes a directory that only its owner may enter, unless it is there.
pub fn create_directory(directory: &Path) -> Result<(), PkiError> {
    files::create_private_directory(directory)
}

/// Reads a PEM file of certificates, as `--client-ca-file` names one.
pub fn read_certificates(
    path: &Path,
) -> Result<Vec<rustls_pki_types::CertificateDer<'static>>, PkiError> {
    let pem = files::read(path)?;
    certificates::parse_chain(&pem).map_err(|why| PkiError::Unusable {
        path: path.to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(directory: &Path) -> RootOptions {
        RootOptions {
            directory: directory.join("root"),
            kubeconfig: None,
            token_store: None,
            address: SocketAddr::from(([127, 0, 0, 1], 6443)),
            external_url: None,
            names: Vec::new(),
            contexts: Contexts::Workspaces,
        }
    }

    #[test]
    fn a_second_start_keeps_all_but_the_admin_token() {
        let directory = tempfile::tempdir().unwrap();
        let first = RootDirectory::open(&options(directory.path())).unwrap();
        let second = RootDirectory::open(&options(directory.path())).unwrap();
        assert_eq!(first.serving.chain_pem, second.serving.chain_pem);
        assert_eq!(
            first
                .authority("fleet-ca", "fleet")
                .unwrap()
                .certificate_pem,
            second
                .authority("fleet-ca", "fleet")
                .unwrap()
                .certificate_pem
        );
        assert_eq!(first.service_account_key, second.service_account_key);
        assert_eq!(first.tokens.shard_admin, second.tokens.shard_admin);
        assert_ne!(first.tokens.kcp_admin, second.tokens.kcp_admin);
        assert_eq!(first.base_url, "https://127.0.0.1:6443");
    }

    #[test]
    fn the_token_store_holds_thirty_two_raw_bytes() {
        use sha2::Digest;
        let directory = tempfile::tempdir().unwrap();
        let root = RootDirectory::open(&options(directory.path())).unwrap();
        let stored = std::fs::read(root.path.join(".admin-token-store")).unwrap();
        assert_eq!(
            stored,
            sha2::Sha256::digest(root.tokens.shard_admin.as_bytes()).to_vec()
        );
    }

    #[test]
    fn a_new_name_renews_the_serving_certificate_under_the_same_authority() {
        let directory = tempfile::tempdir().unwrap();
        let first = RootDirectory::open(&options(directory.path())).unwrap();
        let mut moved = options(directory.path());
        moved.names.push("center.example".to_owned());
        let second = RootDirectory::open(&moved).unwrap();
        assert_ne!(first.serving.chain_pem, second.serving.chain_pem);
        assert_eq!(first.serving.authority_pem, second.serving.authority_pem);
    }

    #[test]
    fn a_copy_starts_as_the_original_would() {
        let directory = tempfile::tempdir().unwrap();
        let first = RootDirectory::open(&options(directory.path())).unwrap();
        let copied = directory.path().join("copy");
        copy(&first.path, &copied).unwrap();
        let moved = RootOptions {
            directory: copied,
            ..options(directory.path())
        };
        let second = RootDirectory::open(&moved).unwrap();
        assert_eq!(first.serving.chain_pem, second.serving.chain_pem);
        assert_eq!(first.tokens.shard_admin, second.tokens.shard_admin);
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let root = RootDirectory::open(&options(directory.path())).unwrap();
        root.authority("fleet-ca", "fleet").unwrap();
        for name in [
            "apiserver.key",
            "sa.key",
            ".admin-token-store",
            "admin.kubeconfig",
            "fleet-ca.key",
        ] {
            let mode = std::fs::metadata(root.path.join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_damaged_key_is_refused_with_a_remedy() {
        let directory = tempfile::tempdir().unwrap();
        let root = RootDirectory::open(&options(directory.path())).unwrap();
        root.authority("fleet-ca", "fleet").unwrap();
        std::fs::write(root.path.join("fleet-ca.key"), "no key").unwrap();
        let error = root.authority("fleet-ca", "fleet").unwrap_err().to_string();
        assert!(
            error.contains("fleet-ca.key is damaged") && error.contains("move it away"),
            "{error}"
        );
    }
}
