//! Reads JSON from a cluster through `kubectl proxy`, which does the TLS and the credentials for us.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A cluster reachable over a local `kubectl proxy`, which ends when this value is dropped.
pub(crate) struct Cluster {
    proxy: Child,
    address: String,
}

impl Cluster {
    /// Starts the proxy on a free port and waits until it names its address.
    pub(crate) fn through_proxy(kubeconfig: &Path) -> Result<Cluster> {
        let mut proxy = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["proxy", "--port=0"])
            .stdout(Stdio::piped())
            .spawn()
            .context("starting kubectl proxy (is kubectl on the PATH?)")?;
        let stdout = proxy.stdout.take().context("kubectl proxy has no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let Some((_, address)) = line.trim().rsplit_once(' ') else {
            bail!("kubectl proxy did not say where it listens: {line:?}");
        };
        Ok(Cluster {
            address: address.to_owned(),
            proxy,
        })
    }

    /// One GET, answered as JSON of the asked media type.
    pub(crate) fn get(&self, path: &str, accept: &str) -> Result<Value> {
        Ok(self.get_dated(path, accept)?.1)
    }

    /// The same, with the answer's `Date` header.
    pub(crate) fn get_dated(&self, path: &str, accept: &str) -> Result<(String, Value)> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .context("answer without headers")?;
        let head = String::from_utf8_lossy(&answer[..end]);
        let status = head.lines().next().unwrap_or_default();
        if !status.contains(" 200 ") {
            bail!("GET {path}: {status}");
        }
        let date = head.lines().find_map(|l| l.strip_prefix("Date: "));
        let date = date.unwrap_or_default().to_owned();
        let body = serde_json::from_slice(&answer[end + 4..])
            .with_context(|| format!("GET {path}: not JSON"))?;
        Ok((date, body))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Best effort: the proxy may have ended by itself.
        let _ = self.proxy.kill();
        let _ = self.proxy.wait();
    }
}
