//! Start to ready, and memory when idle.

use std::time::Duration;

use crate::{
    system::{Bench, Center},
    table::{Figure, Goal},
};

pub(super) async fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let scratch = bench.scratch()?;
    let directory = |n: usize| scratch.path().join(format!("center-{n}"));
    let mut empty = Vec::new();
    for n in 0..5 {
        empty.push(Center::start(bench, &directory(n), &[]).await?.ready_after);
    }
    let mut again = Vec::new();
    for n in 0..5 {
        again.push(Center::start(bench, &directory(n), &[]).await?.ready_after);
    }
    let center = Center::start(bench, &directory(5), &[]).await?;
    let idle = center.settled_memory(bench).await?;
    Ok(vec![
        Figure::new(
            "start to ready, empty directory",
            Goal::AtMost(0.2),
            median(empty).as_secs_f64(),
            "s",
        )
        .others("kcp 24 s")
        .note("exec to the first /readyz over TLS; median of 5"),
        Figure::new(
            "start to ready, after kill -9",
            Goal::AtMost(0.2),
            median(again).as_secs_f64(),
            "s",
        )
        .others("kcp 9 s")
        .note("median of 5"),
        Figure::new("idle RSS", Goal::AtMost(30.0), idle / 1e6, "MB")
            .others("kcp 430-550 MB")
            .note(format!(
                "{} s after it was ready",
                bench.sizes.settle.as_secs()
            )),
    ])
}

fn median(mut of: Vec<Duration>) -> Duration {
    of.sort_unstable();
    of.get(of.len() / 2).copied().unwrap_or_default()
}
