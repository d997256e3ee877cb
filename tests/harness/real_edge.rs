//! A genuine Kubernetes as an edge: kube-apiserver, controller-manager, scheduler, etcd and pretend nodes in one Go program
//! (`tests/real-edge/`), on loopback, without containers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{Answer, Process, eventually, kubectl};

/// The folder with `kube-lite` and `kubectl`, built once per machine; `None` (and a plain message) where Go is missing.
pub fn tools() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(build).as_deref()
}

fn build() -> Option<PathBuf> {
    if !Command::new("go")
        .arg("version")
        .output()
        .is_ok_and(|o| o.status.success())
    {
        eprintln!(
            "SKIPPED: Go is not installed, so there is no genuine Kubernetes to test against (https://go.dev/doc/install)"
        );
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/real-edge");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real-edge");
    fs::create_dir_all(&folder).expect("a folder for the tools");
    // Test binaries run one after another, but a person may run two at once: flock makes the second wait.
    let built = Command::new("flock")
        .arg(folder.join("lock"))
        .arg("sh")
        .arg(source.join("build.sh"))
        .arg(&folder)
        .status();
    assert!(
        built.is_ok_and(|s| s.success()),
        "building tests/real-edge failed"
    );
    Some(folder)
}

/// A running genuine Kubernetes.
pub struct RealEdge {
    pub directory: PathBuf,
    pub port: u16,
    process: Option<Process>,
}

impl RealEdge {
    /// Starts one in `directory`, or says why there is none and returns `None`.
    pub fn start(directory: &Path) -> Option<Self> {
        tools()?;
        let mut edge = RealEdge {
            directory: directory.to_owned(),
            port: free_block(),
            process: None,
        };
        // A port that was free a moment ago may be somebody's by the time it is wanted: then elsewhere.
        for _ in 0..3 {
            match edge.boot() {
                Ok(()) => return Some(edge),
                Err(why) => eprintln!("another try to start a genuine Kubernetes: {why}"),
            }
            edge.kill();
            let _ = fs::remove_dir_all(directory);
            edge.port = free_block();
        }
        panic!("no genuine Kubernetes could be started");
    }

    /// Starts it (again) on the same directory and port, and waits until its node is ready.
    pub fn restart(&mut self) {
        self.kill();
        if let Err(why) = self.boot() {
            panic!("{why}");
        }
    }

    fn boot(&mut self) -> Result<(), String> {
        fs::create_dir_all(&self.directory).expect("the edge's directory");
        let log = self.directory.with_extension("log");
        let tools = tools().expect("the tools were built");
        let mut command = Command::new(tools.join("kube-lite"));
        command.arg("up").arg("--dir").arg(&self.directory).args([
            "--port",
            &self.port.to_string(),
            "--nodes",
            "1",
        ]);
        let before = fs::metadata(&log).map(|m| m.len() as usize).unwrap_or(0);
        let process = self.process.insert(Process::start(&mut command, &log));
        eventually("the genuine Kubernetes is ready, or ended", || {
            let output = process.output();
            match output
                .get(before..)
                .is_some_and(|o| o.contains("NODES-READY"))
            {
                true => Ok(Ok(())),
                false if !process.runs() => Ok(Err(format!("kube-lite ended: {output}"))),
                false => Err(output),
            }
        })
    }

    /// kill -9 of the whole control plane.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
            // Its children follow it, each in its own time.
            eventually("the ports are free again", || match is_free(self.port) {
                true => Ok(()),
                false => Err("still in use"),
            });
        }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("kubeconfig")
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Answer {
        kubectl(&self.kubeconfig(), arguments)
    }

    pub fn get(&self, what: &[&str]) -> Result<serde_json::Value, String> {
        let mut arguments = vec!["get", "-o", "json"];
        arguments.extend_from_slice(what);
        self.kubectl(&arguments).json()
    }
}

/// The first of five neighbouring free ports: kube-lite uses that many. Below the ports that the system hands out to clients, and each block once: tests that
/// run at the same time, and their connections, never take each other's.
fn free_block() -> u16 {
    const FIRST: u32 = 10_000;
    const BLOCKS: u32 = 4_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let turn = std::process::id()
            .wrapping_mul(97)
            .wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let first = (FIRST + turn % BLOCKS * 5) as u16;
        if is_free(first) {
            return first;
        }
    }
}

/// Whether the five ports from `first` on are free.
fn is_free(first: u16) -> bool {
    (first..first + 5).all(|port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok())
}
