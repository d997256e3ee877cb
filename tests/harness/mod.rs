//! What the end-to-end tests share: the real binary, real clients, a genuine Kubernetes as an edge.
//!
//! Everything here drives processes from outside, as a user would, and only over loopback. A process is killed when its handle is
//! dropped. Waiting is always for a condition that is looked at again and again ([`eventually`]), never for a time.
#![allow(dead_code)] // each test file uses its own part

use std::{
    fmt::Debug,
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

pub mod http;
pub mod proxy;
pub mod real_edge;

/// The binary under test.
pub const ATOLL: &str = env!("CARGO_BIN_EXE_atoll");

/// How long a condition may take to come true before a test fails. Generous: it is never waited for in full when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A directory that goes away with the test.
pub fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A port that was free a moment ago. Below the range from which the system takes ports for outgoing connections, and never twice in one process, so
/// that nobody takes it before it is used.
pub fn free_port() -> u16 {
    const FIRST: u32 = 12_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        // Test processes of one machine begin far from each other.
        let offset = std::process::id()
            .wrapping_mul(7_919)
            .wrapping_add(NEXT.fetch_add(5, Ordering::Relaxed));
        let port = u16::try_from(FIRST + offset % COUNT).expect("below 65536");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Asks again and again until `look` answers `Ok`, and returns what it answered; panics with the last `Err` after `patience`.
pub fn eventually_within<T, E: Debug>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, E>,
) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(last) if start.elapsed() > patience => {
                panic!("{what}: not so after {patience:?}: {last:?}")
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// [`eventually_within`] the usual patience.
pub fn eventually<T, E: Debug>(what: &str, look: impl FnMut() -> Result<T, E>) -> T {
    eventually_within(PATIENCE, what, look)
}

/// A child process that is killed (SIGKILL) when dropped; its output goes to a file, shown when a test fails to start it.
pub struct Process {
    child: Child,
    pub log: PathBuf,
}

impl Process {
    /// Starts `command` with both outputs appended to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file handle"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Process {
            child,
            log: log.to_owned(),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process has not ended yet.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.end();
    }

    /// SIGTERM, then waits; the exit status says whether it ended cleanly.
    pub fn terminate(mut self) -> std::process::ExitStatus {
        let _ = Command::new("kill")
            .args(["-TERM", &self.id().to_string()])
            .status();
        eventually("the process ends after SIGTERM", || {
            match self.child.try_wait() {
                Ok(Some(status)) => Ok(status),
                other => Err(format!("{other:?}")),
            }
        })
    }

    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
        if thread::panicking() {
            let log = self.output();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- end of {} ---", self.log.display());
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

/// A center, started by `atoll start`, that can be killed and started again on the same directory and port.
pub struct Center {
    pub directory: PathBuf,
    pub port: u16,
    arguments: Vec<String>,
    process: Option<Process>,
}

impl Center {
    pub fn start(directory: &Path) -> Self {
        Self::start_with(directory, &[])
    }

    pub fn start_with(directory: &Path, arguments: &[&str]) -> Self {
        let mut center = Center {
            directory: directory.to_owned(),
            port: free_port(),
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
            process: None,
        };
        center.restart();
        center
    }

    /// Starts it (again) and waits until it says that it is ready.
    pub fn restart(&mut self) {
        self.kill();
        let log = self.directory.with_extension("log");
        let mut command = Command::new(ATOLL);
        command
            .arg("start")
            .arg("--root-directory")
            .arg(&self.directory)
            .args([
                "--bind-address",
                "127.0.0.1",
                "--secure-port",
                &self.port.to_string(),
            ])
            .args(&self.arguments);
        let mut process = Process::start(&mut command, &log);
        eventually("the center is ready", || {
            assert!(process.runs(), "the center ended: {}", process.output());
            let answer = kubectl(&self.kubeconfig(), &["get", "--raw", "/readyz"]);
            if answer.ok {
                Ok(())
            } else {
                Err(answer.stderr)
            }
        });
        self.process = Some(process);
    }

    /// kill -9, if it runs.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the center runs")
    }

    /// Ends it with SIGTERM and returns whether it ended cleanly.
    pub fn terminate(&mut self) -> bool {
        self.process
            .take()
            .expect("the center runs")
            .terminate()
            .success()
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.directory.join("admin.kubeconfig")
    }

    /// kubectl in the workspace `path`.
    pub fn kubectl(&self, path: &str, arguments: &[&str]) -> Answer {
        let server = format!("https://127.0.0.1:{}/clusters/{path}", self.port);
        let mut all = vec!["--server", &server];
        all.extend_from_slice(arguments);
        kubectl(&self.kubeconfig(), &all)
    }

    /// kubectl in the workspace `path` with a manifest on its standard input.
    pub fn kubectl_in(&self, path: &str, arguments: &[&str], manifest: &str) -> Answer {
        let server = format!("https://127.0.0.1:{}/clusters/{path}", self.port);
        let mut all = vec!["--server", &server];
        all.extend_from_slice(arguments);
        kubectl_with_input(&self.kubeconfig(), &all, manifest)
    }

    /// Applies `manifest` in the workspace `path`; panics when that fails.
    pub fn apply(&self, path: &str, manifest: &str) {
        self.kubectl_in(path, &["apply", "-f", "-"], manifest)
            .expect();
    }

    /// One object of the workspace `path` as JSON, or the error's text.
    pub fn get(&self, path: &str, what: &[&str]) -> Result<Value, String> {
        let mut arguments = vec!["get", "-o", "json"];
        arguments.extend_from_slice(what);
        self.kubectl(path, &arguments).json()
    }

    /// Makes a workspace below `parent`.
    pub fn workspace(&self, parent: &str, name: &str, kind: &str) {
        let manifest = format!(
            "apiVersion: tenancy.kcp.io/v1alpha1\nkind: Workspace\nmetadata: {{name: {name}}}\nspec: {{type: {{name: {kind}, path: root}}}}\n"
        );
        self.kubectl_in(parent, &["create", "-f", "-"], &manifest)
            .expect();
        eventually("the workspace is Ready", || {
            let workspace = self.get(parent, &["workspace", name])?;
            match workspace["status"]["phase"].as_str() {
                Some("Ready") => Ok(()),
                phase => Err(format!("{phase:?}")),
            }
        });
    }

    /// `atoll` with the admin's kubeconfig.
    pub fn atoll(&self, arguments: &[&str]) -> Answer {
        Answer::of(
            Command::new(ATOLL)
                .args(arguments)
                .env("KUBECONFIG", self.kubeconfig()),
        )
    }
}

/// What a command answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub ok: bool,
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// Runs the command to its end.
    pub fn of(command: &mut Command) -> Self {
        let output = command
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self::from(output)
    }

    /// The standard output, when the command succeeded; panics with its words otherwise.
    #[track_caller]
    pub fn expect(self) -> String {
        assert!(
            self.ok,
            "exit {:?}\n{}{}",
            self.code, self.stdout, self.stderr
        );
        self.stdout
    }

    /// The standard error of a command that was to fail.
    #[track_caller]
    pub fn refused(self) -> String {
        assert!(!self.ok, "was to be refused: {}", self.stdout);
        self.stderr
    }

    pub fn json(self) -> Result<Value, String> {
        if !self.ok {
            return Err(self.stderr);
        }
        serde_json::from_str(&self.stdout).map_err(|e| format!("{e}: {}", self.stdout))
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Answer {
            ok: output.status.success(),
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

fn kubectl_command(kubeconfig: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command
        .arg("60")
        .arg(kubectl_binary())
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments);
    // A cache of its own: discovery of one test's server must not answer for another's on the same port.
    command.env("KUBECACHEDIR", kubeconfig.with_extension("cache"));
    command
}

/// Stock kubectl with this kubeconfig.
pub fn kubectl(kubeconfig: &Path, arguments: &[&str]) -> Answer {
    Answer::of(&mut kubectl_command(kubeconfig, arguments))
}

/// Stock kubectl with this kubeconfig and standard input.
pub fn kubectl_with_input(kubeconfig: &Path, arguments: &[&str], input: &str) -> Answer {
    let mut child = kubectl_command(kubeconfig, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(input.as_bytes())
        .expect("kubectl reads its input");
    Answer::from(child.wait_with_output().expect("kubectl ends"))
}

/// kubectl of the machine, else the one built beside the genuine Kubernetes.
pub fn kubectl_binary() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let on_path = Command::new("kubectl")
            .args(["version", "--client"])
            .output()
            .is_ok_and(|o| o.status.success());
        if on_path {
            return PathBuf::from("kubectl");
        }
        real_edge::tools()
            .expect("these tests need kubectl on the PATH, or Go to build it")
            .join("kubectl")
    })
}

/// Everything that can be read of a file.
pub fn read(path: &Path) -> String {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|mut f| f.read_to_string(&mut text))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text
}
