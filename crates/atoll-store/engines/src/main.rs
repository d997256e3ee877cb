//! Which engine should hold the replica? One workload, three engines, no fsync (the log has it).
//!
//!     cd crates/atoll-store/engines && cargo run --release [lsm-tree|fjall|redb] [rows]
//!
//! A put is what an append costs the replica: a row of 1 KiB with its history, an index entry and a counter. Batches of 64.
//! Keys are those of ConfigMaps spread over 10,000 logical clusters. The history of a key is kept in the engine's own
//! version numbers (lsm-tree) or behind the key (fjall, redb), as each engine allows.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use lsm_tree::{AbstractTree, Guard};

type Failure = Box<dyn Error>;
const BATCH: u64 = 64;

trait Engine {
    /// Writes a batch: (key, value), all under the revision.
    fn write(&mut self, revision: u64, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Failure>;
    /// The newest version of a key.
    fn get(&self, key: &[u8]) -> Result<bool, Failure>;
    /// The number of rows under a prefix.
    fn scan(&self, prefix: &[u8]) -> Result<usize, Failure>;
    /// Background work that the caller owes.
    fn settle(&mut self) -> Result<(), Failure> {
        Ok(())
    }
}

/// A key with its version behind it, newest first.
fn versioned(key: &[u8], revision: u64) -> Vec<u8> {
    [key, &(!revision).to_be_bytes()].concat()
}

struct Lsm {
    tree: lsm_tree::AnyTree,
    revision: u64,
}

impl Lsm {
    const BASE: u64 = 1 << 48;

    fn open(path: &Path) -> Result<Lsm, Failure> {
        use lsm_tree::{CompressionType, config::*};
        let config = lsm_tree::Config::new(path, Default::default(), Default::default())
            .use_cache(std::sync::Arc::new(lsm_tree::Cache::with_capacity_bytes(8 << 20)))
            .data_block_size_policy(BlockSizePolicy::all(8 << 10))
            .data_block_compression_policy(CompressionPolicy::new([CompressionType::None, CompressionType::Lz4]));
        Ok(Lsm { tree: config.open()?, revision: 0 })
    }
}

impl Engine for Lsm {
    fn write(&mut self, revision: u64, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Failure> {
        let mut size = 0;
        for (key, value) in rows {
            size = self.tree.insert(key.as_slice(), value.as_slice(), Lsm::BASE + revision).1;
        }
        self.revision = revision;
        if size > 4 << 20 {
            self.tree.flush_active_memtable(1 << 47)?;
            let strategy = lsm_tree::compaction::Leveled::default().with_table_target_size(16 << 20);
            self.tree.compact(std::sync::Arc::new(strategy), 1 << 47)?;
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<bool, Failure> {
        Ok(self.tree.get(key, Lsm::BASE + self.revision + 1)?.is_some())
    }

    fn scan(&self, prefix: &[u8]) -> Result<usize, Failure> {
        let rows = self.tree.prefix(prefix, Lsm::BASE + self.revision + 1, None);
        rows.map(|row| row.into_inner().map(|_| 1)).sum::<Result<usize, _>>().map_err(Into::into)
    }
}

struct Fjall {
    database: fjall::Database,
    keyspace: fjall::Keyspace,
}

impl Fjall {
    fn open(path: &Path) -> Result<Fjall, Failure> {
        let database = fjall::Database::builder(path).cache_size(8 << 20).worker_threads(1).open()?;
        let options = || fjall::KeyspaceCreateOptions::default().max_memtable_size(4 << 20);
        let keyspace = database.keyspace("replica", options)?;
        Ok(Fjall { database, keyspace })
    }
}

impl Engine for Fjall {
    fn write(&mut self, revision: u64, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Failure> {
        let mut batch = self.database.batch();
        for (key, value) in rows {
            batch.insert(&self.keyspace, versioned(key, revision), value.as_slice());
        }
        Ok(batch.commit()?)
    }

    fn get(&self, key: &[u8]) -> Result<bool, Failure> {
        match self.keyspace.range(versioned(key, u64::MAX)..).next() {
            Some(row) => Ok(row.into_inner()?.0.starts_with(key)),
            None => Ok(false),
        }
    }

    fn scan(&self, prefix: &[u8]) -> Result<usize, Failure> {
        self.keyspace.prefix(prefix).map(|row| row.into_inner().map(|_| 1)).sum::<Result<usize, _>>().map_err(Into::into)
    }
}

const TABLE: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new("replica");

struct Redb(redb::Database, u64);

impl Redb {
    fn open(path: &Path) -> Result<Redb, Failure> {
        std::fs::create_dir_all(path)?;
        Ok(Redb(redb::Builder::new().set_cache_size(8 << 20).create(path.join("redb"))?, 0))
    }

    fn commit(&self, rows: &[(Vec<u8>, Vec<u8>)], revision: u64, durability: redb::Durability) -> Result<(), Failure> {
        let mut transaction = self.0.begin_write()?;
        transaction.set_durability(durability)?;
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in rows {
                table.insert(versioned(key, revision).as_slice(), value.as_slice())?;
            }
        }
        Ok(transaction.commit()?)
    }
}

impl Engine for Redb {
    fn write(&mut self, revision: u64, rows: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Failure> {
        self.1 += 1;
        // Pages are only reused behind a durable commit, so there has to be one now and then.
        let durability = if self.1.is_multiple_of(100) { redb::Durability::Immediate } else { redb::Durability::None };
        self.commit(rows, revision, durability)
    }

    fn get(&self, key: &[u8]) -> Result<bool, Failure> {
        use redb::ReadableDatabase;
        let table = self.0.begin_read()?.open_table(TABLE)?;
        match table.range(versioned(key, u64::MAX).as_slice()..)?.next() {
            Some(row) => Ok(row?.0.value().starts_with(key)),
            None => Ok(false),
        }
    }

    fn scan(&self, prefix: &[u8]) -> Result<usize, Failure> {
        use redb::ReadableDatabase;
        let table = self.0.begin_read()?.open_table(TABLE)?;
        let mut count = 0;
        for row in table.range(prefix..)? {
            if !row?.0.value().starts_with(prefix) {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    fn settle(&mut self) -> Result<(), Failure> {
        self.commit(&[], 0, redb::Durability::Immediate)
    }
}

fn cluster(n: u64) -> String {
    format!("dconfigmaps\0{:016x}\0", (n % 10_000).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn key(n: u64) -> Vec<u8> {
    format!("{}default\0load-{n:08}\0", cluster(n)).into_bytes()
}

fn row(n: u64) -> Vec<u8> {
    let mut text = format!(r#"{{"metadata":{{"name":"load-{n:08}"}},"data":{{"key":""#);
    let mut state = n.wrapping_mul(0x2545_f491_4f6c_dd1d) | 1;
    while text.len() < 1020 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push_str(&format!("{:08x} some text, ", state as u32));
    }
    text.truncate(1024);
    text.into_bytes()
}

/// A whole number after `field` in /proc/self/status.
fn status(field: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}

/// Processor time of all threads, in seconds.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = text.rsplit(')').next().unwrap_or_default();
    after.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn disk(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| if entry.path().is_dir() { disk(&entry.path()) } else { entry.metadata().map_or(0, |m| m.len()) }).sum()
}

fn main() -> Result<(), Failure> {
    let which = std::env::args().nth(1).unwrap_or_else(|| "lsm-tree".to_owned());
    let rows: u64 = std::env::args().nth(2).and_then(|n| n.parse().ok()).unwrap_or(200_000);
    let path = std::env::temp_dir().join(format!("engines-{}", std::process::id()));
    let mut engine: Box<dyn Engine> = match which.as_str() {
        "lsm-tree" => Box::new(Lsm::open(&path)?),
        "fjall" => Box::new(Fjall::open(&path)?),
        "redb" => Box::new(Redb::open(&path)?),
        other => return Err(format!("no engine {other}").into()),
    };
    let (mut worst, mut spent) = (0.0f64, 0.0);
    let used = cpu();
    let mut making = 0.0;
    for batch in 0..rows / BATCH {
        let start = Instant::now();
        let mut puts = Vec::new();
        for n in batch * BATCH..(batch + 1) * BATCH {
            puts.push((key(n), row(n)));
            puts.push(([b"i", &key(n)[..]].concat(), Vec::new()));
            puts.push(([b"c", cluster(n).as_bytes()].concat(), n.to_be_bytes().to_vec()));
        }
        making += start.elapsed().as_secs_f64();
        let start = Instant::now();
        engine.write(batch + 1, &puts)?;
        let took = start.elapsed().as_secs_f64();
        (worst, spent) = (worst.max(took), spent + took);
    }
    let used = cpu() - used - making;
    engine.settle()?;
    println!("{which}: {:.0} puts/s, {:.1} µs CPU each, worst batch {:.0} ms", rows as f64 / spent, used * 1e6 / rows as f64, worst * 1e3);
    let start = Instant::now();
    for i in 0..50_000u64 {
        assert!(engine.get(&key(i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (rows / BATCH * BATCH)))?);
    }
    println!("{which}: random get {:.1} µs", start.elapsed().as_secs_f64() * 1e6 / 50_000.0);
    let start = Instant::now();
    let found: usize = (0..2000).map(|n| engine.scan(cluster(n * 5).as_bytes())).sum::<Result<usize, _>>()?;
    println!("{which}: prefix scan {:.0} µs of {} rows", start.elapsed().as_secs_f64() * 1e6 / 2000.0, found / 2000);
    println!("{which}: memory {} KiB, at most {} KiB; disk {} KiB", status("VmRSS"), status("VmHWM"), disk(&path) >> 10);
    drop(engine);
    Ok(std::fs::remove_dir_all(&path)?)
}
