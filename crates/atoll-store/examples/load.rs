//! What the embedded engine costs: appends with many in flight, gets, ranges, restart, memory, disk.
//!
//!     cargo run --release -p atoll-store --example load -- [appends] [in flight] [row bytes] [clusters]
//!
//! The environment can set the budgets MEMTABLE, CACHE and WINDOW (MiB) and ATOLL_LOAD_DIRECTORY, which then stays; with 0
//! appends it is only opened, to see what a start costs. The rows are like ConfigMaps of many logical clusters, so they
//! compress as such rows do.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use atoll_store::embedded::{self, EmbeddedStore, Options};
use atoll_store::{Append, At, Check, IndexSpec, Keep, Key, Prefix, Store, Write};
use bytes::Bytes;

type Failure = Box<dyn Error + Send + Sync>;

fn owner(_: &Key, row: &[u8], emit: &mut dyn FnMut(&[u8])) {
    // As the registry's index of owners does: most rows have none.
    if row.starts_with(b"owned") {
        emit(&row[..21]);
    }
}

fn options(directory: &std::path::Path) -> Options {
    let mut options = Options::new(directory);
    let budget = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|mib| mib.parse::<u64>().ok())
            .map(|mib| mib << 20)
    };
    options.memtable_bytes = budget("MEMTABLE").unwrap_or(options.memtable_bytes);
    options.cache_bytes = budget("CACHE").unwrap_or(options.cache_bytes);
    options.window_bytes = budget("WINDOW").map_or(options.window_bytes, |bytes| bytes as usize);
    options.indexes = vec![IndexSpec {
        name: "owner",
        version: 1,
        keep: Keep::Keys,
        extract: owner,
    }];
    options
}

/// How many logical clusters the rows are spread over.
static CLUSTERS: AtomicU64 = AtomicU64::new(10_000);

fn key(n: u64) -> Key {
    let cluster = n % CLUSTERS.load(Ordering::Relaxed);
    let cluster = format!("{:016x}", cluster.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    Key::new([
        "",
        "configmaps",
        "",
        &cluster,
        "default",
        &format!("load-{n:08}"),
    ])
}

fn row(n: u64, bytes: usize) -> Bytes {
    let mut row = format!(
        r#"{{"metadata":{{"name":"load-{n:08}","uid":"{}"}},"data":{{"key":""#,
        uuid::Uuid::new_v4()
    );
    let mut state = n.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    while row.len() + 3 < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        row.push_str(&format!("{:08x} some text, ", state as u32));
    }
    row.truncate(bytes.saturating_sub(3));
    row.push_str("\"}}");
    Bytes::from(row)
}

fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text
        .lines()
        .find(|line| line.starts_with(field))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0)
}

/// Processor time of the whole process.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|n| n.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Processor time of each thread by name.
fn cpu_of_threads() -> std::collections::BTreeMap<String, Duration> {
    let mut found = std::collections::BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let text = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        let Some((name, after)) = text
            .split_once('(')
            .and_then(|(_, rest)| rest.rsplit_once(')'))
        else {
            continue;
        };
        let ticks: u64 = after
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|n| n.parse::<u64>().ok())
            .sum();
        *found.entry(name.to_owned()).or_default() += Duration::from_millis(ticks * 10);
    }
    found
}

async fn write(
    store: &Arc<EmbeddedStore>,
    appends: u64,
    in_flight: u64,
    bytes: usize,
) -> Result<(), Failure> {
    let next = Arc::new(AtomicU64::new(0));
    let (start, used) = (Instant::now(), cpu());
    let mut workers = Vec::new();
    for _ in 0..in_flight {
        let (store, next) = (Arc::clone(store), Arc::clone(&next));
        workers.push(tokio::spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= appends {
                    return Ok::<(), Failure>(());
                }
                let key = key(n);
                store
                    .append(Append {
                        checks: vec![Check::Absent(key.clone())],
                        writes: vec![Write::Put(key, row(n, bytes))],
                    })
                    .await?;
            }
        }));
    }
    for worker in workers {
        worker.await??;
    }
    let (took, used) = (start.elapsed(), cpu() - used);
    let stats = store.stats();
    println!(
        "appends        {:>10.0} /s   {:.1} µs CPU each (all threads, with {} µs to make a row)   {:.1} per fsync",
        appends as f64 / took.as_secs_f64(),
        used.as_secs_f64() * 1e6 / appends as f64,
        cost_of_rows(bytes),
        stats.appends as f64 / stats.commits as f64
    );
    for (name, used) in cpu_of_threads() {
        println!(
            "  {name:<15}{:>8.1} µs CPU each",
            used.as_secs_f64() * 1e6 / appends as f64
        );
    }
    println!(
        "memory         {:>10} KiB   at most {} KiB",
        status("VmRSS"),
        status("VmHWM")
    );
    println!(
        "log, replica   {:>10} KiB, {} KiB",
        stats.log_bytes >> 10,
        stats.replica_bytes >> 10
    );
    Ok(())
}

fn cost_of_rows(bytes: usize) -> f64 {
    let start = Instant::now();
    for n in 0..1000 {
        std::hint::black_box(row(n, bytes));
    }
    (start.elapsed().as_secs_f64() * 1e4).round() / 10.0
}

fn read(store: &EmbeddedStore, appends: u64) -> Result<(), Failure> {
    const GETS: u64 = 100_000;
    let start = Instant::now();
    for i in 0..GETS {
        let n = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % appends;
        let snapshot = store.snapshot(At::Latest)?;
        assert!(snapshot.get(&key(n))?.is_some());
    }
    println!(
        "random get     {:>10.2} µs",
        start.elapsed().as_secs_f64() * 1e6 / GETS as f64
    );
    let start = Instant::now();
    for i in 0..GETS / 10 {
        let snapshot = store.snapshot(At::Latest)?;
        assert!(snapshot.get(&key(appends + i))?.is_none());
    }
    println!(
        "get of nothing {:>10.2} µs",
        start.elapsed().as_secs_f64() * 1e6 / (GETS / 10) as f64
    );
    let snapshot = store.snapshot(At::Latest)?;
    let start = Instant::now();
    let mut rows = 0;
    for i in 0..1000u64 {
        let cluster = key(i * 7).prefix(4).ok_or("a key has four components")?;
        rows += snapshot.range(&cluster, None).count();
    }
    println!(
        "prefix scan    {:>10.2} µs   {} rows each",
        start.elapsed().as_secs_f64() * 1e3,
        rows / 1000
    );
    let start = Instant::now();
    for i in 0..1000u64 {
        let cluster = key(i * 7).prefix(4).ok_or("a key has four components")?;
        std::hint::black_box(snapshot.count(&cluster)?);
    }
    println!(
        "count          {:>10.2} µs",
        start.elapsed().as_secs_f64() * 1e3
    );
    let start = Instant::now();
    let rows = snapshot.range(&Prefix::all(), None).count();
    println!(
        "full scan      {:>10.0} rows/s",
        rows as f64 / start.elapsed().as_secs_f64()
    );
    Ok(())
}

/// How long one event takes to reach all of its watchers, alone and among many watches that it does not concern.
async fn watch(store: &Arc<EmbeddedStore>, watchers: usize, idle: u64) -> Result<(), Failure> {
    let prefix = Prefix::new(["", "events", "", "root"]);
    let told = Arc::new(AtomicU64::new(0));
    let all = Arc::new(tokio::sync::Notify::new());
    let others: Vec<_> = (0..idle)
        .map(|n| {
            store.watch(
                Prefix::new(["", "events", "", &format!("idle{n}")]),
                store.head(),
            )
        })
        .collect::<Result<_, _>>()?;
    let mut tasks = Vec::new();
    for _ in 0..watchers {
        let mut watch = store.watch(prefix.clone(), store.head())?;
        let (told, all) = (Arc::clone(&told), Arc::clone(&all));
        tasks.push(tokio::spawn(async move {
            while let atoll_store::WatchItem::Event(_) = watch.next().await {
                if (told.fetch_add(1, Ordering::AcqRel) + 1).is_multiple_of(watchers as u64) {
                    all.notify_one();
                }
            }
        }));
    }
    let mut took = Vec::new();
    for n in 0..50 {
        let start = Instant::now();
        let key = Key::new(["", "events", "", "root", "default", "a"]);
        store
            .append(Append {
                checks: vec![],
                writes: vec![Write::Put(key, row(n, 1024))],
            })
            .await?;
        all.notified().await;
        took.push(start.elapsed());
    }
    took.sort();
    println!(
        "watch          {:>10.2} ms   median from append to the last of {watchers} watchers, {idle} others open",
        took[25].as_secs_f64() * 1e3
    );
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    drop(others);
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let [appends, in_flight, bytes, clusters] = [(0, 200_000), (1, 128), (2, 1024), (3, 10_000)]
        .map(|(at, default)| arguments.get(at).copied().unwrap_or(default));
    CLUSTERS.store(clusters.max(1), Ordering::Relaxed);
    let directory = match std::env::var_os("ATOLL_LOAD_DIRECTORY") {
        Some(directory) => directory.into(),
        None => std::env::temp_dir().join(format!("atoll-load-{}", std::process::id())),
    };
    let start = Instant::now();
    let store = embedded::open(options(&directory))?;
    println!(
        "first start    {:>10.2} ms   {} KiB",
        start.elapsed().as_secs_f64() * 1e3,
        status("VmRSS")
    );
    if appends == 0 {
        return Ok(());
    }
    write(&store, appends, in_flight, bytes as usize).await?;
    read(&store, appends)?;
    for (watchers, idle) in [(1, 10), (1, 100_000), (1000, 10)] {
        watch(&store, watchers, idle).await?;
    }
    drop(store);
    let start = Instant::now();
    let store = embedded::open(options(&directory))?;
    println!(
        "restart        {:>10.2} ms   {} KiB",
        start.elapsed().as_secs_f64() * 1e3,
        status("VmRSS")
    );
    drop(store);
    if std::env::var_os("ATOLL_LOAD_DIRECTORY").is_none() {
        std::fs::remove_dir_all(&directory)?;
    }
    Ok(())
}
