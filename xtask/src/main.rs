//! Chores of this repository that need more than a shell line. Run as `cargo run -p xtask -- <task>`.
//!
//! | task | what it does |
//! |---|---|
//! | `builtin --kubeconfig FILE` | derives the facts about Kubernetes' own kinds from a running cluster |

mod builtin;
mod cluster;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo run -p xtask -- builtin --kubeconfig FILE [--out FILE]";
const DEFAULT_OUT: &str = "crates/atoll-kube/src/builtin/data/kubernetes-1.36.facts";

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        Some("builtin") => {}
        _ => bail!("{USAGE}"),
    }
    let (mut kubeconfig, mut out) = (None, PathBuf::from(DEFAULT_OUT));
    while let Some(flag) = args.next() {
        let value = args
            .next()
            .with_context(|| format!("{flag} needs a value\n{USAGE}"))?;
        match flag.as_str() {
            "--kubeconfig" => kubeconfig = Some(PathBuf::from(value)),
            "--out" => out = PathBuf::from(value),
            _ => bail!("unknown flag {flag}\n{USAGE}"),
        }
    }
    let kubeconfig = kubeconfig.context(USAGE)?;
    let cluster = cluster::Cluster::through_proxy(&kubeconfig)?;
    let facts = builtin::derive(&cluster)?;
    std::fs::write(&out, &facts).with_context(|| format!("writing {}", out.display()))?;
    println!(
        "{}: {} lines, {} bytes",
        out.display(),
        facts.lines().count(),
        facts.len()
    );
    Ok(())
}
