//! Logs go to stderr, so that what a command prints can be piped.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How much is logged.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to log: a level, or directives such as `warn,atoll_server=debug`.
    #[arg(
        long,
        global = true,
        env = "ATOLL_LOG",
        default_value = "info",
        value_name = "FILTER"
    )]
    pub(crate) log: String,
}

/// Sets up logging for the process. A filter that cannot be read falls back to `info`.
pub(crate) fn init(args: &Args) {
    let filter = EnvFilter::try_new(&args.log).unwrap_or_else(|error| {
        eprintln!(
            "warning: --log {:?} cannot be read ({error}); logging at info",
            args.log
        );
        EnvFilter::new("info")
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
