//! Runs controllers: one consumer of the log, a queue for each controller, a bounded number of keys in work.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use atoll_kube::{GroupResource, Status};
use atoll_store::{Prefix, WatchItem};
use futures::FutureExt as _;
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinSet};

use super::{Controller, Next, queue::Queue};
use crate::{ObjectKey, Registry};

/// What a controller has been doing; readable at any time.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// The controller.
    pub name: &'static str,
    /// Keys waiting, running or backing off.
    pub queue: usize,
    /// Reconciles that ended well.
    pub successes: u64,
    /// Reconciles that failed.
    pub failures: u64,
    /// The last failure: key and message.
    pub last_error: Option<(String, String)>,
    /// When the last failure was.
    pub last_error_at: Option<Instant>,
    /// When the last success was.
    pub last_success_at: Option<Instant>,
}

struct Runner {
    controller: Arc<dyn Controller>,
    queue: Mutex<Queue>,
    metrics: Mutex<Metrics>,
    wake: Notify,
}

/// Runs a set of controllers over one registry.
pub struct Driver {
    registry: Registry,
    runners: Vec<Arc<Runner>>,
}

/// Reads the metrics of a driver that is running elsewhere.
#[derive(Clone)]
pub struct MetricsReader(Vec<Arc<Runner>>);

impl MetricsReader {
    /// The state of each controller.
    pub fn read(&self) -> Vec<Metrics> {
        self.0
            .iter()
            .map(|r| Metrics {
                queue: r.queue.lock().len(),
                ..r.metrics.lock().clone()
            })
            .collect()
    }
}

impl Driver {
    /// A driver without controllers.
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            runners: Vec::new(),
        }
    }

    /// Adds a controller.
    #[must_use]
    pub fn with(mut self, controller: Arc<dyn Controller>) -> Self {
        let metrics = Metrics {
            name: controller.name(),
            ..Metrics::default()
        };
        self.runners.push(Arc::new(Runner {
            controller,
            queue: Mutex::default(),
            metrics: Mutex::new(metrics),
            wake: Notify::new(),
        }));
        self
    }

    /// A handle to the controllers' metrics.
    pub fn metrics(&self) -> MetricsReader {
        MetricsReader(self.runners.clone())
    }

    /// Runs until dropped.
    pub async fn run(self) {
        let mut tasks = JoinSet::new();
        for runner in &self.runners {
            tasks.spawn(work(self.registry.clone(), runner.clone()));
            tasks.spawn(resync(self.registry.clone(), runner.clone()));
        }
        consume(&self.registry, &self.runners).await;
    }
}

/// Follows the log and hands events to the controllers that want them. Ends only when the store has stopped.
async fn consume(registry: &Registry, runners: &[Arc<Runner>]) {
    let mut by_resource: HashMap<GroupResource, Vec<Arc<Runner>>> = HashMap::new();
    let mut for_all = Vec::new();
    for runner in runners {
        let resources = runner.controller.resources();
        if resources.is_empty() {
            for_all.push(runner.clone());
        }
        for resource in resources {
            by_resource
                .entry(resource)
                .or_default()
                .push(runner.clone());
        }
    }
    loop {
        // Watch first, then look for pending work: nothing falls between.
        let head = registry.store().head();
        let mut watch = match registry.store().watch(Prefix::all(), head) {
            Ok(watch) => watch,
            Err(error) => {
                tracing::warn!(%error, "controllers cannot follow the log; trying again");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        for runner in runners {
            rescan(registry, runner);
        }
        loop {
            match watch.next().await {
                WatchItem::Event(event) => {
                    let Some(key) = ObjectKey::parse(&event.key) else {
                        continue;
                    };
                    let resource = GroupResource {
                        group: key.group.into(),
                        resource: key.resource.into(),
                    };
                    let wanted = by_resource
                        .get(&resource)
                        .into_iter()
                        .flatten()
                        .chain(&for_all);
                    for runner in wanted {
                        let mut woken = false;
                        runner.controller.wake(&event, &key, &mut |k| {
                            runner.queue.lock().add(k);
                            woken = true;
                        });
                        if woken {
                            runner.wake.notify_one();
                        }
                    }
                }
                WatchItem::Progress(_) => {}
                WatchItem::Lost(error) => {
                    tracing::warn!(%error, "controllers fell behind the log's window; looking for pending work anew");
                    break;
                }
            }
        }
    }
}

fn rescan(registry: &Registry, runner: &Runner) {
    let mut found = Vec::new();
    if let Err(status) = runner
        .controller
        .pending(registry, &mut |key| found.push(key))
    {
        record_failure(runner, "", &status);
    }
    let mut queue = runner.queue.lock();
    for key in found {
        queue.add(key);
    }
    drop(queue);
    runner.wake.notify_one();
}

async fn resync(registry: Registry, runner: Arc<Runner>) {
    let mut timer = tokio::time::interval(runner.controller.resync());
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    timer.tick().await;
    loop {
        timer.tick().await;
        rescan(&registry, &runner);
    }
}

async fn work(registry: Registry, runner: Arc<Runner>) {
    let mut running: JoinSet<(String, Result<Next, Status>)> = JoinSet::new();
    loop {
        while running.len() < runner.controller.parallel() {
            let Some(key) = runner.queue.lock().take(Instant::now()) else {
                break;
            };
            let (registry, controller) = (registry.clone(), runner.controller.clone());
            running.spawn(async move {
                let work = AssertUnwindSafe(controller.reconcile(&registry, &key)).catch_unwind();
                let result = work
                    .await
                    .unwrap_or_else(|_| Err(Status::internal("the controller panicked")));
                (key, result)
            });
        }
        let full = running.len() >= runner.controller.parallel();
        let due = runner.queue.lock().next_due();
        tokio::select! {
            Some(ended) = running.join_next() => finished(&runner, ended),
            () = runner.wake.notified(), if !full => {}
            () = sleep_until(due), if !full => {}
        }
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

fn finished(
    runner: &Runner,
    ended: Result<(String, Result<Next, Status>), tokio::task::JoinError>,
) {
    // Panics are caught inside the task and nothing aborts it, so an error here means the runtime is going down.
    let Ok((key, result)) = ended else { return };
    let now = Instant::now();
    match result {
        Ok(next) => {
            let after = match next {
                Next::Done => None,
                Next::After(delay) => Some(now + delay),
            };
            runner.queue.lock().done(&key, after);
            let mut metrics = runner.metrics.lock();
            metrics.successes += 1;
            metrics.last_success_at = Some(now);
        }
        Err(status) => {
            runner.queue.lock().failed(&key, now);
            record_failure(runner, &key, &status);
        }
    }
}

fn record_failure(runner: &Runner, key: &str, status: &Status) {
    tracing::debug!(controller = runner.controller.name(), key, error = %status, "reconcile failed; it will be tried again");
    let mut metrics = runner.metrics.lock();
    metrics.failures += 1;
    metrics.last_error = Some((key.to_owned(), status.message.to_string()));
    metrics.last_error_at = Some(Instant::now());
}
