//! Flags of `kcp start` that have no meaning here: accepted, so that scripts go on working, and named once at start.

use clap::builder::Command;
use clap::{Arg, ArgAction, ArgMatches, Args, Error, FromArgMatches};

/// The flags, with their values if any.
const FLAGS: &[&str] = &[
    "audit-log-batch-buffer-size",
    "audit-log-batch-max-size",
    "audit-log-batch-max-wait",
    "audit-log-batch-throttle-burst",
    "audit-log-batch-throttle-enable",
    "audit-log-batch-throttle-qps",
    "audit-log-format",
    "audit-log-maxage",
    "audit-log-maxbackup",
    "audit-log-maxsize",
    "audit-log-mode",
    "audit-log-path",
    "audit-policy-file",
    "authentication-token-webhook-cache-ttl",
    "authentication-token-webhook-config-file",
    "authentication-token-webhook-version",
    "authorization-always-allow-paths",
    "authorization-order",
    "authorization-webhook-cache-authorized-ttl",
    "authorization-webhook-cache-unauthorized-ttl",
    "authorization-webhook-config-file",
    "authorization-webhook-version",
    "batteries-included",
    "cache-kubeconfig",
    "conversion-cel-transformation-timeout",
    "embedded-etcd-client-port",
    "embedded-etcd-directory",
    "embedded-etcd-force-new-cluster",
    "embedded-etcd-listen-metrics-urls",
    "embedded-etcd-peer-port",
    "embedded-etcd-wal-size-bytes",
    "enable-leader-election",
    "etcd-cafile",
    "etcd-certfile",
    "etcd-keyfile",
    "etcd-prefix",
    "experimental-bind-free-port",
    "external-logical-cluster-admin-kubeconfig",
    "feature-gates",
    "leader-election-name",
    "leader-election-namespace",
    "logging-format",
    "logical-cluster-admin-kubeconfig",
    "logical-cluster-object-count-scan-interval",
    "logical-cluster-total-object-limit",
    "miniproxy-mapping-file",
    "mount-proxy-client-cert-file",
    "mount-proxy-client-key-file",
    "oidc-ca-file",
    "oidc-client-id",
    "oidc-groups-claim",
    "oidc-groups-prefix",
    "oidc-issuer-url",
    "oidc-required-claim",
    "oidc-signing-algs",
    "oidc-username-claim",
    "oidc-username-prefix",
    "profiler-address",
    "profiling",
    "requestheader-allowed-names",
    "requestheader-client-ca-file",
    "requestheader-extra-headers-prefix",
    "requestheader-group-headers",
    "requestheader-uid-headers",
    "requestheader-username-headers",
    "root-identities-file",
    "root-shard-kubeconfig-file",
    "run-controllers",
    "run-virtual-workspaces",
    "service-account-key-file",
    "service-account-lookup",
    "shard-client-cert-file",
    "shard-client-key-file",
    "shard-kubeconfig-file",
    "shard-virtual-workspace-ca-file",
    "shard-virtual-workspace-url",
    "unsupported-run-individual-controllers",
];

/// The ignored flags that were given.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ignored(Vec<String>);

impl Ignored {
    /// One line that names them; `None` when there are none.
    pub(crate) fn notice(&self) -> Option<String> {
        (!self.0.is_empty())
            .then(|| format!("ignored, they have no meaning here: {}", self.0.join(", ")))
    }
}

impl Args for Ignored {
    fn augment_args(command: Command) -> Command {
        let command = command.arg(
            Arg::new("v")
                .short('v')
                .long("v")
                .hide(true)
                .num_args(0..=1)
                .action(ArgAction::Append),
        );
        FLAGS.iter().fold(command, |command, flag| {
            // Go's flags: `--flag`, `--flag=value` and `--flag value` all occur.
            let arg = Arg::new(*flag)
                .long(*flag)
                .hide(true)
                .num_args(0..=1)
                .action(ArgAction::Append);
            command.arg(arg.allow_hyphen_values(false))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Ignored {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = |flag: &&&str| {
            matches.value_source(flag) == Some(clap::parser::ValueSource::CommandLine)
        };
        let mut found: Vec<String> = FLAGS
            .iter()
            .filter(given)
            .map(|flag| format!("--{flag}"))
            .collect();
        if matches.value_source("v").is_some() {
            found.push("--v (see --log)".to_owned());
        }
        Ok(Self(found))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
