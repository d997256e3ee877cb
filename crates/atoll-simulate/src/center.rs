//! The center under test: a process of its own, started, killed and started again as an operator's would be.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use atoll_client::{Client, Config, Kubeconfig};
use atoll_wire::join::JoinFile;
use tokio::time::Instant;

/// How long a start may take before the run gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running center. Killed (SIGKILL) when dropped.
pub(crate) struct Center {
    program: PathBuf,
    directory: PathBuf,
    address: SocketAddr,
    child: Child,
    /// At the bare host, as its administrator.
    pub(crate) client: Client,
    /// The authority of its certificate, PEM.
    pub(crate) authority: Vec<u8>,
}

impl Center {
    /// Starts a center in a directory and waits until it is ready.
    pub(crate) async fn start(program: &Path, directory: &Path) -> anyhow::Result<Self> {
        // The port is free now and nobody else takes ports of this machine's loopback at random meanwhile.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
        let address = listener.local_addr()?;
        drop(listener);
        let child = spawn(program, directory, address)?;
        let (client, authority) = ready(directory, address).await?;
        Ok(Center {
            program: program.to_owned(),
            directory: directory.to_owned(),
            address,
            child,
            client,
            authority,
        })
    }

    /// kill -9, and a new start on the same data. Returns how long it took until it was ready.
    pub(crate) async fn kill_and_start(&mut self) -> anyhow::Result<Duration> {
        self.end();
        let began = Instant::now();
        self.child = spawn(&self.program, &self.directory, self.address)?;
        (self.client, self.authority) = ready(&self.directory, self.address).await?;
        Ok(began.elapsed())
    }

    fn end(&mut self) {
        // Neither fails but when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Registers a hub with the command that registers any edge, and reads its join file.
    pub(crate) fn register(&self, inventory: &str, name: &str) -> anyhow::Result<JoinFile> {
        let file = self.directory.join(format!("{name}.join.yaml"));
        let output = Command::new(&self.program)
            .args([
                "edges",
                "add",
                name,
                "--inventory",
                inventory,
                "--kubeconfig",
            ])
            .arg(self.directory.join("admin.kubeconfig"))
            .args(["--context", "base", "-o"])
            .arg(&file)
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        if !output.status.success() {
            bail!(
                "cannot register {name}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let text = std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        atoll_agent::read_join_file(&text).map_err(anyhow::Error::msg)
    }

    /// A client in a workspace.
    pub(crate) fn at(&self, path: &str) -> Client {
        self.client.at(&format!("/clusters/{path}"))
    }

    /// What the kernel says of the process: resident bytes now and at most, and seconds of CPU.
    pub(crate) fn usage(&self) -> Usage {
        usage(self.child.id())
    }

    /// What its directory takes on disk, in bytes.
    pub(crate) fn disk(&self) -> u64 {
        disk(&self.directory)
    }
}

impl Drop for Center {
    fn drop(&mut self) {
        self.end();
    }
}

/// What the kernel says of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
    pub(crate) cpu: f64,
}

/// What the kernel says of a process; zeros when it is gone.
pub(crate) fn usage(process: u32) -> Usage {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let bytes = |key: &str| {
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix(':'));
        let kilobytes = line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) * 1024
    };
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name may hold anything: count after its closing parenthesis. The kernel counts in hundredths of a second.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or(0.0)
    };
    Usage {
        resident: bytes("VmRSS"),
        peak: bytes("VmHWM"),
        cpu: (ticks(11) + ticks(12)) / 100.0,
    }
}

fn disk(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => disk(&entry.path()),
            Ok(found) => found.blocks() * 512,
            // Gone since it was listed.
            Err(_) => 0,
        })
        .sum()
}

fn spawn(program: &Path, directory: &Path, address: SocketAddr) -> anyhow::Result<Child> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let path = directory.join("center.log");
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path);
    let log = log.with_context(|| format!("cannot write {}", path.display()))?;
    Command::new(program)
        .arg("start")
        .arg("--root-directory")
        .arg(directory)
        .args([
            "--bind-address",
            "127.0.0.1",
            "--secure-port",
            &address.port().to_string(),
        ])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", program.display()))
}

async fn ready(directory: &Path, address: SocketAddr) -> anyhow::Result<(Client, Vec<u8>)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(found) = ask(directory).await {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!(
                "the center at {address} is not ready; see {}",
                directory.join("center.log").display()
            );
        }
        // Until it listens there is nobody to ask for anything better than trying again.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn ask(directory: &Path) -> anyhow::Result<(Client, Vec<u8>)> {
    let kubeconfig = Kubeconfig::load(&[directory.join("admin.kubeconfig")])?;
    let config = Config::from_kubeconfig(&kubeconfig, Some("base"))?;
    let client = Client::new(&config)?.at("");
    client
        .request(atoll_client::Request::new(http::Method::GET, "/readyz"))
        .await?;
    // The administrator's token may be new with this start.
    let kubeconfig = Kubeconfig::load(&[directory.join("admin.kubeconfig")])?;
    let config = Config::from_kubeconfig(&kubeconfig, Some("base"))?;
    let client = Client::new(&config)?.at("");
    client.get("/clusters/root/api/v1/namespaces").await?;
    Ok((client, config.tls.ca.clone().unwrap_or_default()))
}
