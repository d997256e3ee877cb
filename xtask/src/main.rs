//! Chores of this repository that need more than a shell line. Run as `cargo run -p xtask -- <task>`.
//!
//! | task | what it does |
//! |---|---|
//! | `builtin --kubeconfig FILE` | derives the facts about Kubernetes' own kinds from a running cluster |
//! | `descriptions --source DIR` | reads what Kubernetes says about kinds and fields from `k8s-openapi`'s sources (`…/src/v1_36`) |
//! | `tables --kubeconfig FILE` | records what that cluster prints for the objects in it, for tests of our cells |

mod builtin;
mod cluster;
mod descriptions;
mod tables;
mod wire;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo run -p xtask -- (builtin|tables) --kubeconfig FILE [--out FILE], or descriptions --source DIR";
const BUILTIN: &str = "crates/atoll-kube/src/builtin";

type Task = fn(&cluster::Cluster) -> Result<String>;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some("descriptions") {
        let (Some("--source"), Some(folder)) = (args.next().as_deref(), args.next()) else {
            bail!("{USAGE}");
        };
        let out = PathBuf::from(BUILTIN).join("data/descriptions-1.36.z");
        let packed = descriptions::derive(&PathBuf::from(folder))?;
        println!("{}: {} bytes", out.display(), packed.len());
        return Ok(std::fs::write(out, packed)?);
    }
    let mut args = std::env::args().skip(1);
    let (task, file): (Task, _) = match args.next().as_deref() {
        Some("builtin") => (builtin::derive, "data/kubernetes-1.36.facts"),
        Some("tables") => (tables::record, "testdata/tables.json"),
        _ => bail!("{USAGE}"),
    };
    let (mut kubeconfig, mut out) = (None, PathBuf::from(BUILTIN).join(file));
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
    let facts = task(&cluster)?;
    std::fs::write(&out, &facts).with_context(|| format!("writing {}", out.display()))?;
    println!(
        "{}: {} lines, {} bytes",
        out.display(),
        facts.lines().count(),
        facts.len()
    );
    Ok(())
}
