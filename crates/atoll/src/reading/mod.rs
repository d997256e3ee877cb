//! `atoll explain`, `get`, `plan`, `apply`, `diff` and `history`: questions to a center about a payload workspace, and its answers as text or as JSON.
//!
//! The center answers (`/services/fleet/<workspace>/…`); here answers are only laid out.

mod change;
pub(crate) mod show;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use atoll_client::{Client, Kubeconfig};
use serde_json::Value;

use crate::edges::CenterAccess;

pub(crate) use change::{ApplyArgs, PlanArgs, apply, plan};

/// Where to ask.
#[derive(Debug, clap::Args)]
pub(crate) struct Where {
    /// The kubeconfig of the center [default: as kubectl finds it].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context to use [default: the current one].
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The payload workspace [default: the current workspace].
    #[arg(long, value_name = "PATH")]
    workspace: Option<String>,
    /// How to show the answer.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

impl Where {
    /// JSON was asked for.
    pub(crate) fn json(&self) -> bool {
        self.output == Output::Json
    }
}

/// How an answer is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// As the center answered.
    Json,
}

/// Arguments of `atoll explain`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    place: Where,
    /// The object: `deployment/web`.
    object: String,
    /// Its namespace [default: default].
    #[arg(short, long)]
    namespace: Option<String>,
    /// Explain it for this edge.
    #[arg(short, long, value_name = "EDGE")]
    destination: Option<String>,
}

/// Arguments of `atoll get`.
#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    #[command(subcommand)]
    what: Get,
}

#[derive(Debug, clap::Subcommand)]
enum Get {
    /// Which copies there are, and how they are.
    Copies(CopiesArgs),
    /// What an edge should have, now or at a kept revision.
    Desired(DesiredArgs),
}

#[derive(Debug, clap::Args)]
struct CopiesArgs {
    #[command(flatten)]
    place: Where,
    /// Only of this resource, or this object: `deployments`, `deployment/web`.
    object: Option<String>,
    /// Only of objects in this namespace.
    #[arg(short, long)]
    namespace: Option<String>,
    /// Only of objects whose labels match.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Only at edges whose labels match.
    #[arg(long, value_name = "SELECTOR")]
    destinations: Option<String>,
    /// Only at this edge.
    #[arg(short, long, value_name = "EDGE")]
    destination: Option<String>,
    /// Only what this policy places.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Only in this state: Current, Outdated, Failed, Unreported, Healthy, Progressing, Degraded.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
}

#[derive(Debug, clap::Args)]
struct DesiredArgs {
    #[command(flatten)]
    place: Where,
    /// The edge.
    #[arg(short, long, value_name = "EDGE")]
    destination: String,
    /// Only what this policy places there.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// As it would be at this revision of the policy.
    #[arg(long, value_name = "N", requires = "policy")]
    revision: Option<String>,
}

/// Arguments of `atoll history`.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    place: Where,
    /// The BindingPolicy.
    policy: String,
}

/// Arguments of `atoll diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    place: Where,
    /// The BindingPolicy.
    policy: String,
    /// From one revision to another: `3..5`; `3` alone: from there to the newest [default: the newest against the one before].
    #[arg(long, value_name = "R1..R2")]
    revision: Option<String>,
}

/// A way to ask.
pub(crate) struct Desk {
    pub(crate) client: Client,
    pub(crate) workspace: String,
}

impl Desk {
    pub(crate) fn open(place: &Where) -> anyhow::Result<Desk> {
        let kubeconfig = match &place.kubeconfig {
            Some(path) => Kubeconfig::load(&[path])?,
            None => Kubeconfig::load_default()?,
        };
        let center = CenterAccess::open(&kubeconfig, place.context.as_deref()).context(
            "no center to talk to; set KUBECONFIG to the admin.kubeconfig that `atoll start` wrote, or name it with --kubeconfig",
        )?;
        let Some(workspace) = place.workspace.clone().or(center.workspace) else {
            bail!(
                "which workspace? Name it with --workspace root:demo, or enter it with `atoll ws`"
            );
        };
        Ok(Desk {
            client: center.client,
            workspace: workspace.trim_start_matches(':').to_owned(),
        })
    }

    fn path(&self, question: &str, parameters: &[(&str, Option<&str>)]) -> String {
        let given = parameters.iter().filter_map(|(name, value)| {
            let value = value.filter(|v| !v.is_empty())?;
            Some(format!("{name}={}", encode(value)))
        });
        let given: Vec<String> = given.collect();
        format!(
            "/services/fleet/{}/{question}?{}",
            self.workspace,
            given.join("&")
        )
    }

    /// The answer to a question.
    pub(crate) async fn ask(
        &self,
        question: &str,
        parameters: &[(&str, Option<&str>)],
    ) -> anyhow::Result<Value> {
        Ok(self.client.get(&self.path(question, parameters)).await?)
    }

    /// All pages of an answer, up to a number of items.
    async fn pages(
        &self,
        question: &str,
        parameters: &[(&str, Option<&str>)],
        most: usize,
    ) -> anyhow::Result<Value> {
        let mut whole = self.ask(question, parameters).await?;
        loop {
            let have = whole["items"].as_array().map_or(0, Vec::len);
            let Some(rest) = whole["continue"].as_str().map(str::to_owned) else {
                return Ok(whole);
            };
            if have >= most {
                if let Some(items) = whole["items"].as_array_mut() {
                    items.truncate(most);
                }
                return Ok(whole);
            }
            let mut further = parameters.to_vec();
            further.push(("continue", Some(&rest)));
            let mut page = self.ask(question, &further).await?;
            if let (Some(items), Some(more)) =
                (whole["items"].as_array_mut(), page["items"].as_array_mut())
            {
                items.append(more);
            }
            whole["continue"] = page["continue"].take();
        }
    }
}

/// Percent-encodes a query value.
fn encode(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.bytes()
        .map(|b| match plain(b) {
            true => char::from(b).to_string(),
            false => format!("%{b:02X}"),
        })
        .collect()
}

/// `deployment/web` in two.
fn object(text: &str) -> (&str, Option<&str>) {
    match text.split_once('/') {
        Some((resource, name)) => (resource, Some(name)),
        None => (text, None),
    }
}

pub(crate) fn wait<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(work)
}

/// Shows an answer as it was asked for.
pub(crate) fn tell(
    place: &Where,
    answer: &Value,
    text: impl FnOnce(&Value) -> String,
) -> anyhow::Result<()> {
    let shown = match place.output {
        Output::Json => serde_json::to_string_pretty(answer)? + "\n",
        Output::Text => text(answer),
    };
    print!("{shown}");
    Ok(())
}

/// `atoll explain`.
pub(crate) fn explain(args: ExplainArgs) -> anyhow::Result<()> {
    let (resource, Some(name)) = object(&args.object) else {
        bail!("name the object as resource/name, for example deployment/web");
    };
    let desk = Desk::open(&args.place)?;
    let parameters = [
        ("resource", Some(resource)),
        ("name", Some(name)),
        ("namespace", args.namespace.as_deref()),
        ("destination", args.destination.as_deref()),
    ];
    let answer = wait(desk.ask("explain", &parameters))?;
    tell(&args.place, &answer, show::explanation)
}

/// `atoll get`.
pub(crate) fn get(args: GetArgs) -> anyhow::Result<()> {
    match args.what {
        Get::Copies(args) => copies(args),
        Get::Desired(args) => desired(args),
    }
}

fn copies(args: CopiesArgs) -> anyhow::Result<()> {
    let desk = Desk::open(&args.place)?;
    let (resource, name) = args.object.as_deref().map_or((None, None), |o| {
        let (resource, name) = object(o);
        (Some(resource), name)
    });
    let most = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let limit = args.limit.min(500).to_string();
    let parameters = [
        ("resource", resource),
        ("name", name),
        ("namespace", args.namespace.as_deref()),
        ("labelSelector", args.selector.as_deref()),
        ("destinationSelector", args.destinations.as_deref()),
        ("destination", args.destination.as_deref()),
        ("policy", args.policy.as_deref()),
        ("state", args.state.as_deref()),
        ("limit", Some(limit.as_str())),
    ];
    let answer = wait(desk.pages("copies", &parameters, most))?;
    tell(&args.place, &answer, show::copies)
}

fn desired(args: DesiredArgs) -> anyhow::Result<()> {
    let desk = Desk::open(&args.place)?;
    let parameters = [
        ("destination", Some(args.destination.as_str())),
        ("policy", args.policy.as_deref()),
        ("revision", args.revision.as_deref()),
    ];
    let answer = wait(desk.pages("desired", &parameters, usize::MAX))?;
    tell(&args.place, &answer, show::desired)
}

/// `atoll history`.
pub(crate) fn history(args: HistoryArgs) -> anyhow::Result<()> {
    let desk = Desk::open(&args.place)?;
    let answer = wait(desk.ask("history", &[("policy", Some(args.policy.as_str()))]))?;
    tell(&args.place, &answer, show::history)
}

/// `atoll diff`.
pub(crate) fn diff(args: DiffArgs) -> anyhow::Result<()> {
    let desk = Desk::open(&args.place)?;
    let (from, to) = match args.revision.as_deref() {
        None => (None, None),
        Some(text) => match text.split_once("..") {
            Some((from, to)) => (Some(from), Some(to)),
            None => (Some(text), None),
        },
    };
    let parameters = [
        ("policy", Some(args.policy.as_str())),
        ("from", from),
        ("to", to),
    ];
    let answer = wait(desk.ask("diff", &parameters))?;
    tell(&args.place, &answer, show::diff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_the_url() {
        assert_eq!(encode("a=b,c in (d)"), "a%3Db%2Cc%20in%20%28d%29");
        assert_eq!(object("deployment/web"), ("deployment", Some("web")));
        assert_eq!(object("pods"), ("pods", None));
    }
}
