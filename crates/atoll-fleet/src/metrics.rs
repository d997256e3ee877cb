//! Figures for `/metrics`. A closed list of series: none is added by a workspace, policy or edge.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::shared::Shared;

pub(crate) fn write(shared: &Shared, out: &mut String) {
    let (destinations, connected, policies, objects, tombstones, values) = {
        let world = shared.world.read();
        (
            world.destinations.len() as u64,
            world.connected.len(),
            world.policies.len() as u64,
            world.objects.len() as u64,
            world
                .tombstones
                .values()
                .map(|t| t.remove.len() + t.orphan.len())
                .sum::<u64>(),
            world.values.len() as u64,
        )
    };
    let mut gauge = |name: &str, help: &str, value: u64| {
        // Writing into a String does not fail.
        let _ = writeln!(
            out,
            "# HELP atoll_fleet_{name} {help}\n# TYPE atoll_fleet_{name} gauge\natoll_fleet_{name} {value}"
        );
    };
    gauge("destinations", "ManagedClusters.", destinations);
    gauge(
        "destinations_connected",
        "ManagedClusters with a session.",
        connected,
    );
    gauge("sessions", "Open sessions.", shared.sessions.len() as u64);
    gauge("policies", "BindingPolicies.", policies);
    gauge("objects", "Payload objects that are placed.", objects);
    gauge(
        "removals_unconfirmed",
        "Copies whose removal is not confirmed.",
        tombstones,
    );
    gauge("reported_values", "Distinct reported values.", values);
    gauge(
        "statuses_pending",
        "Statuses about to be looked at.",
        (shared.policy_status.len() + shared.returned.len() + shared.lifecycle.len()) as u64,
    );
    let f = &shared.figures;
    let mut counter = |name: &str, help: &str, value: &AtomicU64| {
        let value = value.load(Ordering::Relaxed);
        let _ = writeln!(
            out,
            "# HELP atoll_fleet_{name}_total {help}\n# TYPE atoll_fleet_{name}_total counter\natoll_fleet_{name}_total {value}"
        );
    };
    counter("decisions", "Policies decided.", &f.decisions);
    counter(
        "destinations_decided",
        "Destinations that decisions looked at.",
        &f.looked_at,
    );
    counter("items_sent", "Copies sent to agents.", &f.items_sent);
    counter("bodies_sent", "Bodies sent to agents.", &f.bodies_sent);
    counter(
        "tombstones_sent",
        "Tombstones sent to agents.",
        &f.tombstones_sent,
    );
    counter("reports", "Copies reported by agents.", &f.reports);
    counter("report_appends", "Appends of reports.", &f.report_appends);
    counter("enrolments", "Agents enrolled.", &f.enrolments);
}
