//! `atoll plan` and `atoll apply`: a change out of files, what it would do, and doing exactly that.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::{Desk, Where, show, tell, wait};

/// What changes.
#[derive(Debug, clap::Args)]
struct Files {
    /// A file with objects; `-` is standard input. May be given several times.
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    filenames: Vec<PathBuf>,
    /// The objects are to be deleted.
    #[arg(long)]
    delete: bool,
    /// Whose fields they become (server-side apply).
    #[arg(long, default_value = "atoll", value_name = "NAME")]
    field_manager: String,
}

/// Arguments of `atoll plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    files: Files,
}

/// Arguments of `atoll apply`.
#[derive(Debug, clap::Args)]
pub(crate) struct ApplyArgs {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    files: Files,
    /// The token of a plan of the same change: nothing is applied unless it would still do what the plan said.
    #[arg(long, value_name = "TOKEN")]
    plan: Option<String>,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Files {
    fn change(&self) -> anyhow::Result<Value> {
        let mut objects = Vec::new();
        for file in &self.filenames {
            let mut bytes = Vec::new();
            if file.as_os_str() == "-" {
                std::io::stdin()
                    .read_to_end(&mut bytes)
                    .context("cannot read standard input")?;
            } else {
                bytes = std::fs::read(file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
            }
            let documents = atoll_kube::yaml::documents(&bytes)
                .with_context(|| format!("{} is no YAML", file.display()))?;
            for document in documents.into_iter().filter(|d| !d.is_null()) {
                match document.get("items").and_then(Value::as_array) {
                    Some(items) if document["kind"] == "List" => objects.extend(items.clone()),
                    _ => objects.push(document),
                }
            }
        }
        if objects.is_empty() {
            bail!("there is no object in what was given");
        }
        let list = if self.delete { "delete" } else { "objects" };
        Ok(json!({list: objects, "fieldManager": self.field_manager}))
    }
}

/// `atoll plan`.
pub(crate) fn plan(args: PlanArgs) -> anyhow::Result<()> {
    let change = args.files.change()?;
    let desk = Desk::open(&args.place)?;
    let answer = wait(async { Ok(desk.client.post(&desk.path("plan", &[]), &change).await?) })?;
    tell(&args.place, &answer, show::plan)
}

/// `atoll apply`.
pub(crate) fn apply(args: ApplyArgs) -> anyhow::Result<()> {
    let mut change = args.files.change()?;
    let desk = Desk::open(&args.place)?;
    let token = match args.plan {
        Some(token) => token,
        None => {
            let asked = async { Ok(desk.client.post(&desk.path("plan", &[]), &change).await?) };
            let plan: Value = wait(asked)?;
            eprint!("{}", show::plan(&plan));
            confirm(args.yes, &plan, &args.files)?;
            plan["token"].as_str().unwrap_or_default().to_owned()
        }
    };
    change["token"] = token.into();
    let answer = wait(async { Ok(desk.client.post(&desk.path("apply", &[]), &change).await?) })?;
    tell(&args.place, &answer, show::applied)
}

/// Asks a person whether to go on, when there is one; else only what removes nothing goes on by itself.
fn confirm(yes: bool, plan: &Value, files: &Files) -> anyhow::Result<()> {
    let stdin = files.filenames.iter().any(|f| f.as_os_str() == "-");
    if yes {
        return Ok(());
    }
    if std::io::stdin().is_terminal() && !stdin {
        eprint!("Apply this? [y/N] ");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line)?;
        if matches!(line.trim(), "y" | "Y" | "yes") {
            return Ok(());
        }
        bail!("nothing was applied");
    }
    if plan["removals"]["copies"].as_u64().unwrap_or(0) > 0 {
        bail!("this removes copies: say --yes, or name the plan with --plan; nothing was applied");
    }
    Ok(())
}
