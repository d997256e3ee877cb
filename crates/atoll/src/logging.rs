//! Logs go to stderr, so that what a command prints can be piped.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// How much is logged.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to log: a level, or directives such as `warn,atoll_server=debug` [default: info; quickstart: warn].
    #[arg(long, global = true, env = "ATOLL_LOG", value_name = "FILTER")]
    pub(crate) log: Option<String>,
}

/// Sets up logging for the process, at `default` unless something was asked for that can be read.
pub(crate) fn init(args: &Args, default: &str) {
    let asked = args.log.as_deref().unwrap_or(default);
    let filter = EnvFilter::try_new(asked).unwrap_or_else(|error| {
        eprintln!("warning: --log {asked:?} cannot be read ({error}); logging at {default}");
        EnvFilter::new(default)
    });
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}
