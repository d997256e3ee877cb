//! `atoll sandbox`: a pretend edge.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use anyhow::Context as _;
use atoll_sandbox::Sandbox;

use crate::signals::stop_signal;

/// Arguments of `atoll sandbox`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where everything is kept: certificates, the kubeconfig and the objects.
    #[arg(long, default_value = ".atoll-sandbox", value_name = "DIR")]
    root_directory: PathBuf,
    /// The address to listen on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "IP")]
    bind_address: IpAddr,
    /// The port to listen on, HTTPS only; 0 takes a free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    secure_port: u16,
}

/// Runs the sandbox until SIGINT or SIGTERM.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let address = SocketAddr::new(args.bind_address, args.secure_port);
        let sandbox = Sandbox::start(&args.root_directory, address).await?;
        println!(
            "This sandbox only pretends to be a cluster: it stores objects and gives workloads the status they would have, but runs nothing. \
             An image whose name says `fail` fails.\nIt is ready at {}. Try: kubectl --kubeconfig {} get namespaces",
            sandbox.base_url(),
            sandbox.kubeconfig().display(),
        );
        stop_signal().await?;
        sandbox.stop().await;
        Ok(())
    })
}
