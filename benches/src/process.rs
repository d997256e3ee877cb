//! Child processes, and what the kernel says of them.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, bail};

/// A child process that is killed (SIGKILL) when dropped.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts it with both outputs appended to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("cannot share the log file")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        Ok(Process(child))
    }

    /// An error when it has ended by itself.
    pub(crate) fn runs(&mut self) -> anyhow::Result<()> {
        match self.0.try_wait().context("cannot ask for the child")? {
            None => Ok(()),
            Some(status) => bail!("the process ended: {status}"),
        }
    }

    /// kill -9, and waits for the end.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        // Neither fails but when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Resident memory in bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<f64> {
        self.status("VmRSS")
    }

    fn status(&self, key: &str) -> anyhow::Result<f64> {
        let path = format!("/proc/{}/status", self.0.id());
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let kilobytes = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
            .with_context(|| format!("{path} has no {key}"))?;
        Ok(kilobytes * 1024.0)
    }

    /// User and system time in seconds, all threads.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let path = format!("/proc/{}/stat", self.0.id());
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        // The name may hold anything: count after its closing parenthesis. The kernel counts in hundredths of a second.
        let fields: Vec<&str> = text
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        match (ticks(11), ticks(12)) {
            (Some(user), Some(system)) => Ok((user + system) / 100.0),
            _ => bail!("{path} cannot be read"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a directory takes on disk, in bytes.
pub(crate) fn disk(directory: &Path) -> f64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(found) if found.is_dir() => disk(&entry.path()),
            Ok(found) => found.blocks() as f64 * 512.0,
            // Gone since it was listed.
            Err(_) => 0.0,
        })
        .sum()
}
