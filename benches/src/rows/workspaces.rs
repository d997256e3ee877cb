//! Many workspaces: made Ready, deleted, and a million of them.

use std::{
    cell::Cell,
    future::Future,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use tokio::task::LocalSet;

use crate::{
    client::{Connection, Target},
    load,
    process::disk,
    system::{Bench, Center, WORKSPACES},
    table::{Figure, Goal},
};

/// What a watch tells of a workspace.
#[derive(Deserialize)]
pub(super) struct Seen<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    #[serde(borrow)]
    object: Workspace<'a>,
}

#[derive(Deserialize)]
struct Workspace<'a> {
    #[serde(borrow, default)]
    status: Status<'a>,
}

#[derive(Deserialize, Default)]
struct Status<'a> {
    #[serde(borrow, default)]
    phase: &'a str,
}

/// Follows the workspaces below a parent from now on, and counts those for which `counts` holds until there are `wanted`.
pub(super) async fn follow(
    connection: Connection,
    parent: &str,
    wanted: usize,
    counts: fn(&Seen<'_>) -> bool,
) -> anyhow::Result<impl Future<Output = anyhow::Result<Instant>>> {
    let path = format!("/clusters/{parent}{WORKSPACES}");
    let revision = connection.revision(&path).await?;
    let mut watch = connection
        .watch(&format!("{path}?watch=1&resourceVersion={revision}"))
        .await?;
    Ok(async move {
        let mut found = 0;
        while found < wanted {
            let line = watch.next().await?;
            let seen: Seen<'_> = serde_json::from_slice(line)
                .with_context(|| String::from_utf8_lossy(line).into_owned())?;
            if seen.kind == "ERROR" {
                bail!("{}", String::from_utf8_lossy(line));
            }
            found += usize::from(counts(&seen));
        }
        Ok(Instant::now())
    })
}

pub(super) async fn ten_thousand(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.sizes.workspaces;
    let scratch = bench.scratch()?;
    let center = Center::start(bench, &scratch.path().join("center"), &[]).await?;
    let before = center.settled_memory(bench).await?;
    let disk_before = disk(&center.directory);

    let local = LocalSet::new();
    let ready = follow(center.admin.connect().await?, "root", count, |seen| {
        seen.kind == "ADDED" && seen.object.status.phase == "Ready"
    })
    .await?;
    let (began, cpu) = (Instant::now(), center.process.cpu()?);
    let ready = local.spawn_local(ready);
    let made = local
        .run_until(center.workspaces("root", "ws", 0, count))
        .await?;
    let created = local.run_until(ready).await.context("the watch failed")?? - began;
    let created_cpu = center.process.cpu()? - cpu;
    let memory = center.settled_memory(bench).await? - before;
    let disk_used = disk(&center.directory) - disk_before;

    let gone = follow(center.admin.connect().await?, "root", count, |seen| {
        seen.kind == "DELETED"
    })
    .await?;
    let (began, cpu) = (Instant::now(), center.process.cpu()?);
    let gone = local.spawn_local(gone);
    let deleted = local.run_until(delete(&center.admin, count)).await?;
    let emptied = local.run_until(gone).await.context("the watch failed")?? - began;
    let deleted_cpu = center.process.cpu()? - cpu;

    // The goal is for 10,000: smaller runs are held to the same rate.
    let goal = Goal::AtMost(5.0 * count as f64 / 10_000.0);
    let each = |cpu: f64| format!("{:.0} µs CPU each", cpu / count as f64 * 1e6);
    Ok(vec![
        Figure::new(
            format!("{count} workspaces created and Ready"),
            goal,
            created.as_secs_f64(),
            "s",
        )
        .others("kcp 4.2/s")
        .note(format!(
            "64 in flight, seen Ready by watch; {}; {}",
            made.latencies(),
            each(created_cpu)
        )),
        Figure::new(
            "memory of each",
            Goal::AtMost(2048.0),
            memory / count as f64,
            "B",
        )
        .others("kcp 4.4 MB")
        .note("growth of RSS"),
        Figure::new("disk of each", Goal::None, disk_used / count as f64, "B")
            .others("kcp 151 KB")
            .note("with the log's history"),
        Figure::new(
            format!("{count} workspaces deleted"),
            goal,
            emptied.as_secs_f64(),
            "s",
        )
        .others("kcp 3.9/s")
        .note(format!(
            "to the last DELETED event; {}; {}",
            deleted.latencies(),
            each(deleted_cpu)
        )),
    ])
}

async fn delete(admin: &Target, count: usize) -> anyhow::Result<load::Run> {
    let connections = admin.connections(2).await?;
    load::drive(count, 64, move |worker, i| {
        let connection = connections[worker % connections.len()].clone();
        async move {
            let path = format!("/clusters/root{WORKSPACES}/ws-{i}");
            connection
                .send(
                    hyper::Method::DELETE,
                    &path,
                    "application/json",
                    bytes::Bytes::new(),
                )
                .await
        }
    })
    .await
}

/// Workspaces that are asked after the crash.
const ASKED: usize = 1_000;

pub(super) async fn million(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (count, part) = (bench.sizes.million, 10_000.min(bench.sizes.million / 2));
    let scratch = bench.scratch()?;
    let directory = scratch.path().join("center");
    let center = Center::start(bench, &directory, &[]).await?;
    let before = center.settled_memory(bench).await?;
    let disk_before = disk(&directory);
    let began = Instant::now();
    let cpu = center.process.cpu()?;
    let first = center.workspaces("root", "ws", 0, part).await?;
    let first_cpu = center.process.cpu()? - cpu;
    center
        .workspaces("root", "ws", part, count - 2 * part)
        .await?;
    let cpu = center.process.cpu()?;
    let last = center.workspaces("root", "ws", count - part, part).await?;
    let took = began.elapsed();
    let last_cpu = center.process.cpu()? - cpu;
    let memory = center.settled_memory(bench).await? - before;
    let disk_used = disk(&directory) - disk_before;

    // Killed under load: a quarter of a second into further creations.
    let local = LocalSet::new();
    let acknowledged = Rc::new(Cell::new(0));
    let writers = local
        .run_until(keep_creating(&center.admin, acknowledged.clone()))
        .await?;
    local
        .run_until(tokio::time::sleep(Duration::from_millis(250)))
        .await;
    center.process.kill();
    drop((writers, local));
    let began = Instant::now();
    let center = Center::start(bench, &directory, &[]).await?;
    right_answers(&center.admin, count).await?;
    let recovered = began.elapsed();
    let after = center.settled_memory(bench).await?;

    let each = |total: f64| total / count as f64;
    Ok(vec![
        Figure::new(
            format!("{count} workspaces: memory of each"),
            Goal::AtMost(512.0),
            each(memory),
            "B",
        )
        .note(format!(
            "growth of RSS; made in {:.0} s; RSS after the restart {:.0} MB",
            took.as_secs_f64(),
            after / 1e6
        )),
        Figure::new(
            format!("{count} workspaces: disk of each"),
            Goal::AtMost(6.0 * 1024.0),
            each(disk_used),
            "B",
        )
        .note("with the log's history"),
        Figure::new(
            format!("rate of the last {part} by that of the first"),
            Goal::AtLeast(80.0),
            100.0 * last.rate() / first.rate(),
            "%",
        )
        .note(format!(
            "{:.0}/s, then {:.0}/s; {:.0} µs CPU each, then {:.0}",
            first.rate(),
            last.rate(),
            first_cpu / part as f64 * 1e6,
            last_cpu / part as f64 * 1e6
        )),
        Figure::new(
            format!("kill -9 under load to right answers from {ASKED} of {count}"),
            Goal::AtMost(2.0),
            recovered.as_secs_f64(),
            "s",
        )
        .note(format!(
            "from exec; ready after {:.3} s; {} further creates were acknowledged before the kill",
            center.ready_after.as_secs_f64(),
            acknowledged.get()
        )),
    ])
}

/// Goes on creating, 64 at a time, until the server is gone; runs on the caller's `LocalSet`.
async fn keep_creating(
    admin: &Target,
    acknowledged: Rc<Cell<usize>>,
) -> anyhow::Result<Vec<tokio::task::JoinHandle<()>>> {
    let connection = admin.connect().await?;
    Ok((0..64)
        .map(|worker| {
            let (connection, acknowledged) = (connection.clone(), acknowledged.clone());
            tokio::task::spawn_local(async move {
                for i in 0.. {
                    let body = format!(
                        r#"{{"apiVersion":"tenancy.kcp.io/v1alpha1","kind":"Workspace","metadata":{{"name":"late-{worker}-{i}"}},"spec":{{"type":{{"name":"universal","path":"root"}}}}}}"#
                    );
                    if connection.post(&format!("/clusters/root{WORKSPACES}"), body).await.is_err() {
                        return;
                    }
                    acknowledged.set(acknowledged.get() + 1);
                }
            })
        })
        .collect())
}

/// Asks scattered workspaces for their namespace `default`, and checks that each answers as itself.
async fn right_answers(admin: &Target, count: usize) -> anyhow::Result<()> {
    let connection = admin.connect().await?;
    load::drive(ASKED, 32, move |_, i| {
        let connection = connection.clone();
        async move {
            // Multiplying by a large prime scatters them over the whole.
            let name = format!("ws-{}", (i * 7_368_787) % count);
            let workspace = connection
                .json(&format!("/clusters/root{WORKSPACES}/{name}"))
                .await?;
            let namespace = connection
                .json(&format!("/clusters/root:{name}/api/v1/namespaces/default"))
                .await?;
            let (cluster, answered) = (
                &workspace["spec"]["cluster"],
                &namespace["metadata"]["annotations"]["kcp.io/cluster"],
            );
            if !cluster.is_string() || cluster != answered {
                bail!("{name} is {cluster}, but {answered} answered");
            }
            Ok(())
        }
    })
    .await?;
    Ok(())
}
