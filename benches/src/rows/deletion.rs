//! What others feel while very many workspaces are deleted.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use hyper::Method;
use tokio::task::LocalSet;

use super::workspaces::follow;
use crate::{
    client::Connection,
    load::quantile,
    system::{Bench, Center, WORKSPACES, config_map},
    table::{Figure, Goal},
};

/// A request of the bystander begins this often, whether or not the one before is answered.
const EVERY: Duration = Duration::from_millis(2);
/// As many objects take turns, so that no two requests in flight are about the same one.
const OBJECTS: usize = 100;
/// How long the bystander is alone, to know what is usual.
const ALONE: Duration = Duration::from_secs(5);

/// Who goes on reading and writing in a workspace that is not deleted.
struct Bystander {
    latencies: Rc<RefCell<Vec<Duration>>>,
    stop: Rc<Cell<bool>>,
    task: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Bystander {
    /// Begins; runs on the caller's `LocalSet`. Reads and writes take turns.
    fn start(connection: Connection, collection: &'static str) -> Bystander {
        let latencies = Rc::new(RefCell::new(Vec::new()));
        let stop = Rc::new(Cell::new(false));
        let task = tokio::task::spawn_local({
            let (latencies, stop) = (latencies.clone(), stop.clone());
            async move {
                let mut requests = tokio::task::JoinSet::new();
                let mut due = Instant::now();
                for n in 0.. {
                    if stop.get() {
                        break;
                    }
                    tokio::time::sleep_until(due.into()).await;
                    let (connection, latencies) = (connection.clone(), latencies.clone());
                    let object = format!("{collection}/mine-{}", n % OBJECTS);
                    requests.spawn_local(async move {
                        if n % 2 == 0 {
                            connection.get(&object).await?;
                        } else {
                            let body =
                                format!(r#"{{"metadata":{{"annotations":{{"bench":"{n}"}}}}}}"#);
                            let kind = "application/merge-patch+json";
                            connection
                                .send(Method::PATCH, &object, kind, body.into())
                                .await?;
                        }
                        // From when it was due: what waits on this side has waited as well.
                        latencies.borrow_mut().push(due.elapsed());
                        anyhow::Ok(())
                    });
                    due += EVERY;
                }
                while let Some(done) = requests.join_next().await {
                    done.context("a request failed")??;
                }
                Ok(())
            }
        });
        Bystander {
            latencies,
            stop,
            task,
        }
    }

    /// Stops, and returns the latencies in order.
    async fn stop(self) -> anyhow::Result<Vec<Duration>> {
        self.stop.set(true);
        self.task.await.context("the bystander failed")??;
        let mut sorted = self.latencies.take();
        sorted.sort_unstable();
        Ok(sorted)
    }
}

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let count = bench.sizes.workspaces;
    let scratch = bench.scratch()?;
    let center = Center::start(bench, &scratch.path().join("center"), &[]).await?;
    center.workspace("parent", "organization").await?;
    center.workspaces("root:parent", "ws", 0, count).await?;
    center.workspace("bystander", "universal").await?;
    center.admit_user("/clusters/root:bystander").await?;
    let connection = center.user()?.connect().await?;
    let collection = "/clusters/root:bystander/api/v1/namespaces/default/configmaps";
    for n in 0..OBJECTS {
        let object = config_map(&format!("mine-{n}"), 1024);
        connection.post(collection, object).await?;
    }

    let local = LocalSet::new();
    let (alone, during, took) = local
        .run_until(async {
            let bystander = Bystander::start(connection.clone(), collection);
            tokio::time::sleep(ALONE).await;
            let alone = bystander.stop().await?;

            let all = format!("/clusters/root:parent{WORKSPACES}");
            let gone = follow(
                center.admin.connect().await?,
                "root:parent",
                count,
                |seen| seen.kind == "DELETED",
            )
            .await?;
            let gone = tokio::task::spawn_local(gone);
            let admin = center.admin.connect().await?;
            let bystander = Bystander::start(connection, collection);
            let began = Instant::now();
            admin
                .send(Method::DELETE, &all, "application/json", Bytes::new())
                .await?;
            let took = gone.await.context("the watch failed")?? - began;
            anyhow::Ok((alone, bystander.stop().await?, took))
        })
        .await?;
    let milliseconds = |sorted: &[Duration]| {
        let [p50, p99] = [0.5, 0.99].map(|at| quantile(sorted, at));
        format!("p50 {p50:.2} p99 {p99:.2} ms")
    };
    Ok(vec![
        Figure::new(
            format!("p99 of another workspace's requests while {count} are deleted"),
            Goal::AtMost(2.0),
            quantile(&during, 0.99) / quantile(&alone, 0.99),
            "times the p99 before",
        )
        .note(format!(
            "500 gets and patches a second in turn: {} alone, {} during the {:.1} s from one `delete --all` to the last DELETED event",
            milliseconds(&alone),
            milliseconds(&during),
            took.as_secs_f64()
        )),
    ])
}
