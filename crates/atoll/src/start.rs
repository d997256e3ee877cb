//! `atoll start`: the center, until it is told to stop.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ArgAction;

use crate::center::{Center, CenterOptions};
use crate::ignored::Ignored;
use crate::signals::stop_signal;

/// Arguments of `atoll start`. The names are those of `kcp start`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where everything is kept: certificates, tokens, the admin kubeconfig and the store.
    #[arg(long, default_value = ".atoll", value_name = "DIR")]
    root_directory: PathBuf,
    /// The address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), value_name = "IP")]
    bind_address: IpAddr,
    /// The port to listen on, HTTPS only; 0 takes a free one.
    #[arg(long, default_value_t = 6443, value_name = "PORT")]
    secure_port: u16,
    /// Where to write the admin kubeconfig [default: admin.kubeconfig in the root directory].
    #[arg(long, value_name = "FILE")]
    kubeconfig_path: Option<PathBuf>,
    /// Where to keep the hash of the shard admin's token [default: .admin-token-store in the root directory].
    #[arg(long, value_name = "FILE")]
    authentication_admin_token_path: Option<PathBuf>,
    /// A CSV file of bearer tokens: token,user,uid,"group1,group2".
    #[arg(long, value_name = "FILE")]
    token_auth_file: Option<PathBuf>,
    /// Certificates under these authorities authenticate: common name = user, organizations = groups.
    #[arg(long, value_name = "FILE")]
    client_ca_file: Option<PathBuf>,
    /// The URL under which clients reach this center [default: the address].
    #[arg(long, value_name = "URL")]
    shard_external_url: Option<String>,
    /// The same; --shard-external-url wins.
    #[arg(long, value_name = "URL")]
    shard_base_url: Option<String>,
    /// A further name for the serving certificate.
    #[arg(long, value_name = "NAME")]
    external_hostname: Option<String>,
    /// How long an agent's certificate is valid, as 90s, 30m or 24h; it is renewed when a third of that is left.
    #[arg(long, default_value = "24h", value_name = "TIME", value_parser = certificate_ttl)]
    agent_certificate_ttl: Duration,
    /// Give every user a home workspace at first use.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    enable_home_workspaces: bool,
    /// Who may have a home workspace.
    #[arg(
        long,
        default_value = "system:authenticated",
        value_delimiter = ',',
        value_name = "GROUPS"
    )]
    home_workspaces_home_creator_groups: Vec<String>,
    /// The log's engine; only `embedded` is built.
    #[arg(long, default_value = "embedded", hide = true)]
    etcd_servers: String,
    /// The name of this shard; only `root` is built.
    #[arg(long, default_value = "root", hide = true)]
    shard_name: String,
    /// Behave like a slower disk: added to each fsync of the log. For measurements.
    #[arg(long, value_name = "MS", hide = true)]
    test_sync_delay_ms: Option<u64>,
    #[command(flatten)]
    ignored: Ignored,
}

/// Reads `90s`, `30m`, `24h` or `2d`.
fn certificate_ttl(text: &str) -> Result<Duration, String> {
    const LEAST: u64 = 10;
    const MOST: u64 = 365 * 86_400;
    let usage = || "write a number with s, m, h or d behind it, such as 24h".to_owned();
    let unit = text.chars().last().ok_or_else(usage)?;
    let number = &text[..text.len() - unit.len_utf8()];
    let number: u64 = number.parse().map_err(|_| usage())?;
    let each = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(usage()),
    };
    match number.checked_mul(each) {
        Some(seconds @ LEAST..=MOST) => Ok(Duration::from_secs(seconds)),
        _ => Err("it must be between 10s and 365d".to_owned()),
    }
}

/// Runs the center until SIGINT or SIGTERM.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if args.etcd_servers != "embedded" {
        bail!(
            "--etcd-servers {}: only the embedded log is built so far; leave the flag out",
            args.etcd_servers
        );
    }
    if args.shard_name != "root" {
        bail!(
            "--shard-name {}: several shards are not built yet; leave the flag out",
            args.shard_name
        );
    }
    if let Some(notice) = args.ignored.notice() {
        eprintln!("{notice}");
    }
    let began = std::time::Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let options = CenterOptions {
            kubeconfig: args.kubeconfig_path,
            token_store: args.authentication_admin_token_path,
            token_auth_file: args.token_auth_file,
            client_ca_file: args.client_ca_file,
            external_url: args.shard_external_url.or(args.shard_base_url),
            names: args.external_hostname.into_iter().collect(),
            home_workspaces: args.enable_home_workspaces,
            home_creator_groups: args.home_workspaces_home_creator_groups,
            agent_certificate_ttl: args.agent_certificate_ttl,
            sync_delay: args.test_sync_delay_ms.map(Duration::from_millis),
            ..CenterOptions::new(
                args.root_directory,
                SocketAddr::new(args.bind_address, args.secure_port),
            )
        };
        let center = Center::start(options).await?;
        println!(
            "Atoll is ready at {} after {} ms. Try: KUBECONFIG={} kubectl get workspaces",
            center.base_url(),
            began.elapsed().as_millis(),
            center.kubeconfig().display(),
        );
        stop_signal().await?;
        eprintln!("stopping");
        tokio::select! {
            () = center.stop() => Ok(()),
            again = stop_signal() => again.and_then(|()| bail!("stopped at once, as asked")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in [
            ("10s", Some(10)),
            ("30m", Some(1800)),
            ("24h", Some(86_400)),
            ("2d", Some(172_800)),
            ("9s", None),
            ("366d", None),
            ("24", None),
            ("h", None),
            ("", None),
            ("-1h", None),
            ("1ü", None),
            ("99999999999999999999h", None),
        ] {
            let read = certificate_ttl(text).ok();
            assert_eq!(read, seconds.map(Duration::from_secs), "{text}");
        }
    }
}
