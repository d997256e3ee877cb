//! The way to an edge, and what an agent costs there.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{
    load::quantile,
    system::{Bench, Fleet, eventually},
    table::{Figure, Goal},
};

const AT_EDGE: &str = "/api/v1/namespaces/default/configmaps";

/// From the answer to an apply at the center until the edge's own watch shows it.
pub(super) async fn latency(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let scratch = bench.scratch()?;
    let fleet = Fleet::start(bench, scratch.path()).await?;
    let center = fleet.center.admin.connect().await?;
    let edge = fleet.edge.connect().await?;
    Fleet::apply(&center, "moving", "first").await?;
    eventually("the copy is there", async || {
        edge.get(&format!("{AT_EDGE}/moving")).await.map(drop)
    })
    .await?;
    let revision = edge.revision(AT_EDGE).await?;
    let mut watch = edge
        .watch(&format!("{AT_EDGE}?watch=1&resourceVersion={revision}"))
        .await?;
    let (mut answered, mut whole) = (Vec::new(), Vec::new());
    for n in 0..bench.sizes.applies {
        let value = format!("value-{n}");
        let sent = Instant::now();
        // Both at once: the edge may well have it before the answer is read.
        let (answer, shown) = tokio::join!(
            async {
                Fleet::apply(&center, "moving", &value)
                    .await
                    .map(|()| Instant::now())
            },
            tokio::time::timeout(Duration::from_secs(30), async {
                loop {
                    let event: Value = serde_json::from_slice(watch.next().await?)?;
                    if event["object"]["data"]["value"] == value.as_str() {
                        return anyhow::Ok(Instant::now());
                    }
                }
            }),
        );
        let shown = shown.context("the edge never showed it")??;
        answered.push(shown.saturating_duration_since(answer?));
        whole.push(shown - sent);
    }
    answered.sort_unstable();
    whole.sort_unstable();
    Ok(vec![
        Figure::new("apply answered to applied at a connected edge, p99", Goal::AtMost(100.0), quantile(&answered, 0.99), "ms")
            .others("Karmada 989 ms")
            .note(format!(
                "{} server-side applies one after another, sandbox edge; p50 {:.2} ms; from sending the apply p50 {:.2}, p99 {:.2} ms",
                bench.sizes.applies,
                quantile(&answered, 0.5),
                quantile(&whole, 0.5),
                quantile(&whole, 0.99)
            )),
    ])
}

const OBJECTS: usize = 100;

/// An agent with a hundred objects, left alone.
pub(super) async fn agent(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let scratch = bench.scratch()?;
    let fleet = Fleet::start(bench, scratch.path()).await?;
    let center = fleet.center.admin.connect().await?;
    for i in 0..OBJECTS {
        Fleet::apply(&center, &format!("object-{i}"), "x").await?;
    }
    let edge = fleet.edge.connect().await?;
    eventually("all copies are there", async || {
        let list = edge
            .json(&format!("{AT_EDGE}?labelSelector=app%3Dbench"))
            .await?;
        let found = list["items"].as_array().map_or(0, Vec::len);
        if found == OBJECTS {
            Ok(())
        } else {
            bail!("{found} copies")
        }
    })
    .await?;
    tokio::time::sleep(bench.sizes.settle).await;
    let before = fleet.proxy.bytes();
    tokio::time::sleep(bench.sizes.idle).await;
    let after = fleet.proxy.bytes();
    let (up, down) = (after.0 - before.0, after.1 - before.1);
    let seconds = bench.sizes.idle.as_secs_f64();
    Ok(vec![
        Figure::new(
            format!("agent with {OBJECTS} objects: RSS"),
            Goal::AtMost(10.0),
            fleet.agent.memory()? / 1e6,
            "MB",
        ),
        Figure::new(
            "idle traffic of that agent, both ways",
            Goal::AtMost(5.0),
            (up + down) as f64 / seconds,
            "B/s",
        )
        .others("KubeEdge 30 B/s")
        .note(format!(
            "TCP payload over {seconds:.0} s: {up} bytes to the center, {down} back"
        )),
    ])
}
