//! Watches: one event to a thousand, and very many that are open.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use hyper::Method;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    client::{Connection, Target},
    load::quantile,
    system::{Bench, Center, config_map},
    table::{Figure, Goal},
};

/// Watches that share a connection, as an aggregating client's would.
const PER_CONNECTION: usize = 50;
const MANY_PER_CONNECTION: usize = 500;

/// Opens `count` watches; each tells its number whenever an event arrives.
async fn open(
    target: &Target,
    count: usize,
    per_connection: usize,
    path: impl Fn(usize) -> String,
) -> anyhow::Result<(JoinSet<()>, mpsc::UnboundedReceiver<(usize, Instant)>)> {
    let (tell, told) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    let mut connection: Option<Connection> = None;
    for i in 0..count {
        if i % per_connection == 0 {
            connection = Some(target.connect().await?);
        }
        let connection = connection.as_ref().context("a connection")?;
        let mut watch = connection.watch(&path(i)).await?;
        let tell = tell.clone();
        tasks.spawn(async move {
            while watch.next().await.is_ok() {
                if tell.send((i, Instant::now())).is_err() {
                    return;
                }
            }
        });
    }
    Ok((tasks, told))
}

async fn touch(connection: &Connection, path: &str, n: usize) -> anyhow::Result<()> {
    let body = format!(r#"{{"metadata":{{"annotations":{{"bench":"{n}"}}}}}}"#);
    connection
        .send(
            Method::PATCH,
            path,
            "application/merge-patch+json",
            body.into(),
        )
        .await
}

pub(super) async fn one_event(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (watchers, events) = (bench.sizes.watchers, bench.sizes.events);
    let scratch = bench.scratch()?;
    let center = Center::start(bench, &scratch.path().join("center"), &[]).await?;
    let workspace = center.one_of_many(bench).await?;
    let collection = format!("{workspace}/api/v1/namespaces/default/configmaps");
    let user = center.user()?;
    let writer = user.connect().await?;
    writer
        .post(&collection, config_map("watched", 1024))
        .await?;
    let revision = writer.revision(&collection).await?;
    let (_tasks, mut told) = open(&user, watchers, PER_CONNECTION, |_| {
        format!("{collection}?watch=1&resourceVersion={revision}")
    })
    .await?;
    let mut slowest = Vec::with_capacity(events);
    let cpu = center.process.cpu()?;
    for n in 0..events {
        let began = Instant::now();
        touch(&writer, &format!("{collection}/watched"), n).await?;
        let mut last = began;
        for _ in 0..watchers {
            let arrived = tokio::time::timeout(Duration::from_secs(10), told.recv())
                .await
                .context("an event is missing")?;
            last = last.max(arrived.context("the watches ended")?.1);
        }
        slowest.push(last - began);
    }
    let cpu = (center.process.cpu()? - cpu) / (events * watchers) as f64;
    slowest.sort_unstable();
    Ok(vec![
        Figure::new(format!("one event to {watchers} watchers"), Goal::AtMost(10.0), quantile(&slowest, 0.5), "ms")
            .others("apiserver+etcd p50 42 ms")
            .note(format!(
                "from the PATCH's start to the last watcher, median of {events}; p99 {:.1} ms; {:.1} µs server CPU for each",
                quantile(&slowest, 0.99),
                cpu * 1e6
            )),
    ])
}

/// Events measured with few and with many watches open.
const EVENTS: usize = 2_000;

pub(super) async fn many(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.sizes.watches;
    let scratch = bench.scratch()?;
    let center = Center::start(bench, &scratch.path().join("center"), &[]).await?;
    let workspace = center.one_of_many(bench).await?;
    let collection = format!("{workspace}/api/v1/namespaces/default/configmaps");
    let user = center.user()?;
    let writer = user.connect().await?;
    for i in 0..10 {
        writer
            .post(&collection, config_map(&format!("w-{i}"), 1024))
            .await?;
    }
    // Each time from now on: what happened before is none of their business.
    let now = async || {
        let revision = writer.revision(&collection).await?;
        let collection = collection.clone();
        anyhow::Ok(move |i: usize| {
            format!(
                "{collection}?watch=1&resourceVersion={revision}&fieldSelector=metadata.name%3Dw-{i}"
            )
        })
    };

    let (few, mut told) = open(&user, 10, 10, now().await?).await?;
    let (few_latency, few_cpu) = cost(&center, &writer, &collection, &mut told).await?;
    drop((few, told));
    let before = center.settled_memory(bench).await?;
    let began = Instant::now();
    let (_tasks, mut told) = open(&user, count, MANY_PER_CONNECTION, now().await?).await?;
    let opened = began.elapsed();
    let memory = center.settled_memory(bench).await? - before;
    let (many_latency, many_cpu) = cost(&center, &writer, &collection, &mut told).await?;
    Ok(vec![
        Figure::new(format!("{count} open watches: memory of each"), Goal::AtMost(8192.0), memory / count as f64, "B").note(format!(
            "growth of RSS, {MANY_PER_CONNECTION} on a connection, opened in {:.1} s",
            opened.as_secs_f64()
        )),
        Figure::new(format!("an event for one of {count} watches, by one with 10 open"), Goal::AtMost(1.1), many_cpu / few_cpu, "times the CPU").note(
            format!(
                "{EVENTS} writes and events, one after another: {:.0} and {:.0} µs server CPU each, {many_latency:.2} and {few_latency:.2} ms (median)",
                many_cpu * 1e6,
                few_cpu * 1e6
            ),
        ),
    ])
}

/// Median latency in milliseconds and CPU seconds of a write and its one event.
async fn cost(
    center: &Center,
    writer: &Connection,
    collection: &str,
    told: &mut mpsc::UnboundedReceiver<(usize, Instant)>,
) -> anyhow::Result<(f64, f64)> {
    let cpu = center.process.cpu()?;
    let mut latencies = Vec::with_capacity(EVENTS);
    for n in 0..EVENTS {
        let wanted = n % 10;
        let began = Instant::now();
        touch(writer, &format!("{collection}/w-{wanted}"), n).await?;
        let arrived = tokio::time::timeout(Duration::from_secs(10), told.recv())
            .await
            .context("an event is missing")?;
        let (watch, at) = arrived.context("the watches ended")?;
        anyhow::ensure!(watch == wanted, "watch {watch} got an event of w-{wanted}");
        latencies.push(at - began);
    }
    latencies.sort_unstable();
    Ok((
        quantile(&latencies, 0.5),
        (center.process.cpu()? - cpu) / EVENTS as f64,
    ))
}
