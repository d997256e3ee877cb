//! The closed loop: a fixed number of requests in flight, each worker sends its next when the last is answered.

use std::{
    cell::Cell,
    future::Future,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::task::LocalSet;

/// What a run of the loop took.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) took: Duration,
    sorted: Vec<Duration>,
}

impl Run {
    /// Answers per second.
    pub(crate) fn rate(&self) -> f64 {
        self.sorted.len() as f64 / self.took.as_secs_f64()
    }

    /// A quantile of the latency, in milliseconds.
    pub(crate) fn latency(&self, quantile: f64) -> f64 {
        self::quantile(&self.sorted, quantile)
    }

    /// `p50 1.2 p99 3.4 ms`.
    pub(crate) fn latencies(&self) -> String {
        format!(
            "p50 {:.1} p99 {:.1} ms",
            self.latency(0.5),
            self.latency(0.99)
        )
    }
}

/// A quantile of sorted durations, in milliseconds.
pub(crate) fn quantile(sorted: &[Duration], quantile: f64) -> f64 {
    let at = ((sorted.len() as f64 * quantile).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted
        .get(at)
        .map_or(f64::NAN, |found| found.as_secs_f64() * 1e3)
}

/// Runs `work(i)` for each `i` below `count` with `flight` of them at a time. The first failure ends it: a figure with errors
/// in it is no figure.
pub(crate) async fn drive<W, F>(count: usize, flight: usize, work: W) -> anyhow::Result<Run>
where
    W: Fn(usize, usize) -> F + 'static,
    F: Future<Output = anyhow::Result<()>> + 'static,
{
    let local = LocalSet::new();
    let (next, work) = (Rc::new(Cell::new(0)), Rc::new(work));
    let began = Instant::now();
    let workers: Vec<_> = (0..flight.min(count).max(1))
        .map(|worker| {
            let (next, work) = (next.clone(), work.clone());
            local.spawn_local(async move {
                let mut latencies = Vec::with_capacity(count / flight + 16);
                while next.get() < count {
                    let i = next.replace(next.get() + 1);
                    let sent = Instant::now();
                    work(worker, i)
                        .await
                        .with_context(|| format!("request {i}"))?;
                    latencies.push(sent.elapsed());
                }
                anyhow::Ok(latencies)
            })
        })
        .collect();
    let mut sorted = Vec::with_capacity(count);
    local
        .run_until(async {
            for worker in workers {
                sorted.append(&mut worker.await.context("a worker failed")??);
            }
            anyhow::Ok(())
        })
        .await?;
    let took = began.elapsed();
    sorted.sort_unstable();
    Ok(Run { took, sorted })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sample() {
        let sample: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        for (at, expected) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0), (0.0, 1.0)] {
            assert_eq!(quantile(&sample, at), expected);
        }
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn everything_is_done_once_and_a_failure_ends_the_run() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let done = Rc::new(Cell::new(0));
        let count = done.clone();
        let run = runtime.block_on(drive(1000, 7, move |_, i| {
            count.set(count.get() + i);
            async { Ok(()) }
        }));
        assert_eq!((run.unwrap().sorted.len(), done.get()), (1000, 499_500));
        let failed = runtime.block_on(drive(10, 2, |_, i| async move {
            if i == 5 { anyhow::bail!("no") } else { Ok(()) }
        }));
        assert!(failed.is_err());
    }
}
