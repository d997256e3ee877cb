//! `/metrics`, and what is counted.
//!
//! Labels take their values from closed sets: verbs, codes, and the names of built-in resources; everything else is
//! `custom`. So the number of series never grows with workspaces, edges or definitions.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Adds lines in the OpenMetrics text format to those of the server.
pub type MetricsSource = Arc<dyn Fn(&mut String) + Send + Sync>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
}

/// The server's metrics.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<VerbLabels, Histogram, fn() -> Histogram>,
    in_flight: Gauge,
    watches: Gauge,
    connections: Gauge,
    resident: Gauge,
    builtin: HashMap<&'static str, HashMap<&'static str, ()>>,
    sources: Vec<MetricsSource>,
}

/// Something that runs for a while; counted as long as it lives.
#[derive(Debug)]
pub(crate) struct Running(Gauge);

impl Running {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn durations() -> Histogram {
    Histogram::new([
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    ])
}

impl Metrics {
    pub(crate) fn new(sources: Vec<MetricsSource>) -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register(
            "apiserver_request",
            "Requests by verb, resource and code",
            requests.clone(),
        );
        let make: fn() -> Histogram = durations;
        let seconds: Family<VerbLabels, Histogram, _> = Family::new_with_constructor(make);
        registry.register(
            "apiserver_request_duration_seconds",
            "Time to answer, by verb; of a watch until it begins",
            seconds.clone(),
        );
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::<i64, std::sync::atomic::AtomicI64>::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let in_flight = gauge(
            "apiserver_current_inflight_requests",
            "Requests being answered",
        );
        let watches = gauge("apiserver_longrunning_requests", "Open watches");
        let connections = gauge("atoll_server_connections", "Open connections");
        let resident = gauge("process_resident_memory_bytes", "Resident memory");
        let started: Gauge<f64, AtomicU64> = Gauge::default();
        registry.register(
            "process_start_time_seconds",
            "Start of the process, since the epoch",
            started.clone(),
        );
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        started.set(now.as_secs_f64());

        let mut builtin: HashMap<_, HashMap<_, ()>> = HashMap::new();
        for definition in atoll_kube::builtin::definitions() {
            builtin
                .entry(definition.group.as_str())
                .or_default()
                .insert(definition.names.plural.as_str(), ());
        }
        Self {
            registry,
            requests,
            durations: seconds,
            in_flight,
            watches,
            connections,
            resident,
            builtin,
            sources,
        }
    }

    /// Counts a finished request. `resource` is its group and plural, when it named one.
    pub(crate) fn answered(
        &self,
        verb: &'static str,
        resource: Option<(&str, &str)>,
        code: u16,
        took: Duration,
    ) {
        let (group, resource) =
            resource.map_or(("", ""), |(group, plural)| self.label(group, plural));
        self.requests
            .get_or_create(&RequestLabels {
                verb,
                group,
                resource,
                code,
            })
            .inc();
        self.durations
            .get_or_create(&VerbLabels { verb })
            .observe(took.as_secs_f64());
    }

    fn label(&self, group: &str, plural: &str) -> (&'static str, &'static str) {
        let known = self
            .builtin
            .get_key_value(group)
            .and_then(|(group, plurals)| {
                plurals
                    .get_key_value(plural)
                    .map(|(plural, ())| (*group, *plural))
            });
        known.unwrap_or(("custom", "custom"))
    }

    pub(crate) fn request(&self) -> Running {
        Running::new(&self.in_flight)
    }

    pub(crate) fn watch(&self) -> Running {
        Running::new(&self.watches)
    }

    pub(crate) fn connection(&self) -> Running {
        Running::new(&self.connections)
    }

    /// Everything, as OpenMetrics text.
    pub(crate) fn render(&self) -> String {
        self.resident.set(resident_bytes().unwrap_or(0));
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        if let Some(end) = text.rfind("# EOF") {
            text.truncate(end);
        }
        for source in &self.sources {
            source(&mut text);
        }
        text.push_str("# EOF\n");
        text
    }
}

/// Resident memory as Linux tells it; `None` elsewhere.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace()
        .next()?
        .parse::<i64>()
        .ok()
        .map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_built_in_share_one_series() {
        let metrics = Metrics::new(Vec::new());
        for n in 0..100 {
            let group = format!("group-{n}.example");
            metrics.answered(
                "list",
                Some((&group, "widgets")),
                200,
                Duration::from_millis(1),
            );
        }
        let text = metrics.render();
        assert_eq!(
            text.matches("apiserver_request_total{").count(),
            1,
            "{text}"
        );
        assert!(text.contains("apiserver_request_total{verb=\"list\",group=\"custom\",resource=\"custom\",code=\"200\"} 100"));
        assert!(text.ends_with("# EOF\n"));
    }
}
