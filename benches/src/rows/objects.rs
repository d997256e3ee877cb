//! Durable creates and gets, by an ordinary user in one workspace of many.

use crate::{
    load,
    system::{Bench, Center, config_map},
    table::{Figure, Goal},
};

/// Requests in flight, and the connections they share.
const FLIGHT: usize = 128;
const CONNECTIONS: usize = 4;

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let scratch = bench.scratch()?;
    let center = Center::start(bench, &scratch.path().join("center"), &[]).await?;
    let workspace = center.one_of_many(bench).await?;
    let (count, gets) = (bench.sizes.creates, bench.sizes.gets);
    let cpu = center.process.cpu()?;
    let created = create(&center, &workspace, count).await?;
    let create_cpu = center.process.cpu()? - cpu;

    let connections = center.user()?.connections(CONNECTIONS).await?;
    let cpu = center.process.cpu()?;
    let got = load::drive(gets, FLIGHT, move |worker, i| {
        let connection = connections[worker % CONNECTIONS].clone();
        let path = format!(
            "{workspace}/api/v1/namespaces/default/configmaps/cm-{}",
            i * 7_919 % count
        );
        async move { connection.get(&path).await.map(drop) }
    })
    .await?;
    let get_cpu = center.process.cpu()? - cpu;

    let (connections, parked) = (
        center.user()?.connections(CONNECTIONS).await?,
        center.process.memory()?,
    );
    drop(connections);
    Ok(vec![
        Figure::new(
            "durable creates of a 1 KiB ConfigMap, 128 in flight",
            Goal::AtLeast(15_000.0),
            created.rate(),
            "/s",
        )
        .others("apiserver+etcd 3,800/s, kcp 1,839/s")
        .note(format!(
            "{count} of them; {}; {:.0} µs CPU each",
            created.latencies(),
            create_cpu / count as f64 * 1e6
        )),
        Figure::new(
            "gets of it, 128 in flight",
            Goal::AtLeast(40_000.0),
            got.rate(),
            "/s",
        )
        .others("apiserver+etcd 6,900/s, kcp 4,632/s")
        .note(format!(
            "{gets} of them; {}; {:.0} µs CPU each",
            got.latencies(),
            get_cpu / gets as f64 * 1e6
        )),
        Figure::new(
            format!("RSS with {count} ConfigMaps"),
            Goal::None,
            parked / 1e6,
            "MB",
        )
        .others("apiserver+etcd 1,600 MB with 100,000"),
    ])
}

/// The same creates on a disk whose fsync takes longer.
pub(super) async fn slow_disk(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for delay in ["1", "5"] {
        let scratch = bench.scratch()?;
        let center = Center::start(
            bench,
            &scratch.path().join("center"),
            &["--test-sync-delay-ms", delay],
        )
        .await?;
        let workspace = center.one_of_many(bench).await?;
        let created = create(&center, &workspace, bench.sizes.creates / 5).await?;
        figures.push(
            Figure::new(
                format!("the creates with {delay} ms added to each fsync"),
                Goal::None,
                created.rate(),
                "/s",
            )
            .note(format!("{FLIGHT} in flight; {}", created.latencies())),
        );
    }
    Ok(figures)
}

async fn create(center: &Center, workspace: &str, count: usize) -> anyhow::Result<load::Run> {
    let connections = center.user()?.connections(CONNECTIONS).await?;
    let path = format!("{workspace}/api/v1/namespaces/default/configmaps");
    let template = config_map("NAME", 1024);
    load::drive(count, FLIGHT, move |worker, i| {
        let connection = connections[worker % CONNECTIONS].clone();
        let (path, body) = (
            path.clone(),
            template.replacen("NAME", &format!("cm-{i}"), 1),
        );
        async move { connection.post(&path, body).await }
    })
    .await
}
