//! `atoll ws`: workspaces at the terminal, for people without kcp's kubectl plugins.
//!
//! The kubeconfig is the state: the current workspace is what the current context's server URL says after `/clusters/`.
//! Going elsewhere writes the contexts that the plugins write, so both can be used by turns.

mod contexts;
mod create;
mod enter;
mod path;
mod tree;

use std::path::PathBuf;

use anyhow::Context as _;
use atoll_client::{Client, Config, Kubeconfig};

use self::contexts::Contexts;
use self::path::{Location, Step};

/// Arguments of `atoll ws`.
#[derive(Debug, clap::Args)]
#[group(skip)] // flattened beside other arguments, whose group would have the same name
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The kubeconfig to read and change [default: as kubectl finds it].
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Start from this context instead of the current one.
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    #[command(subcommand)]
    command: Option<Command>,
    /// Where to go: `a:b` below here, `:root:a` from the top, `..` up, `-` back, `~` home, `.` stay.
    #[arg(
        value_name = "WORKSPACE",
        default_value = "~",
        allow_hyphen_values = true
    )]
    target: String,
    /// Print the workspace's path alone.
    #[arg(long)]
    short: bool,
}

const EXAMPLES: &str = "Examples:
  atoll ws :root:demo        go to root:demo
  atoll ws ..                go up
  atoll ws -                 go back
  atoll ws .                 where am I
  atoll ws tree              what is below here
  atoll ws create team-a --enter";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Go to a workspace (the same as naming it alone).
    #[command(alias = "cd")]
    Use {
        /// Where to go.
        #[arg(
            value_name = "WORKSPACE",
            default_value = "~",
            allow_hyphen_values = true
        )]
        target: String,
    },
    /// Print the current workspace.
    Current {
        /// Print its path alone.
        #[arg(long)]
        short: bool,
    },
    /// Create a workspace below the current one.
    Create(create::Args),
    /// Show the workspaces below the current one.
    Tree(tree::Args),
    /// Make a context of its own for the current workspace and switch to it.
    CreateContext {
        /// Its name [default: the workspace's path].
        name: Option<String>,
        /// Replace a context of that name.
        #[arg(long)]
        overwrite: bool,
    },
}

/// Runs it.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let kubeconfig = match &args.kubeconfig {
        Some(file) => Kubeconfig::load(&[file])?,
        None => Kubeconfig::load_default()?,
    };
    let contexts = Contexts::new(kubeconfig, args.context.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let session = Session { contexts };
    runtime.block_on(async {
        match args.command {
            None => session.go(&args.target, args.short).await,
            Some(Command::Use { target }) => session.go(&target, false).await,
            Some(Command::Current { short }) => session.show(short),
            Some(Command::Create(create)) => create::run(session, create).await,
            Some(Command::Tree(tree)) => tree::run(&session, &tree).await,
            Some(Command::CreateContext { name, overwrite }) => {
                session.create_context(name, overwrite)
            }
        }
    })
}

/// A kubeconfig and the means to ask its server.
pub(crate) struct Session {
    contexts: Contexts,
}

impl Session {
    /// A client for the server of the current context, at its base path.
    fn client(&self) -> anyhow::Result<Client> {
        let mut config =
            Config::from_kubeconfig(self.contexts.kubeconfig(), Some(self.contexts.name()))?;
        config.user_agent = concat!("atoll-ws/", env!("CARGO_PKG_VERSION")).to_owned();
        Ok(Client::new(&config)?)
    }

    /// A client for a workspace of that server.
    fn client_at(&self, path: &str) -> anyhow::Result<Client> {
        let location = self.contexts.location()?;
        Ok(self
            .client()?
            .at(&format!("{}/clusters/{path}", location.prefix)))
    }

    async fn go(mut self, target: &str, short: bool) -> anyhow::Result<()> {
        let location = self.contexts.location()?;
        match Step::parse(target, std::env::var("HOME").ok().as_deref()) {
            Step::Stay => self.show(short),
            Step::Back => {
                let path = self.contexts.swap()?;
                self.contexts.save()?;
                println!("{}", enter::arrival(&path, None));
                Ok(())
            }
            Step::Home => {
                let path = enter::home(&self).await?;
                self.enter(&path).await
            }
            Step::To(step) => {
                if step.is_bare_root() {
                    eprintln!(
                        "note: taking {target:?} for :root; an absolute path begins with a colon"
                    );
                }
                let path = step.from(&location)?;
                self.enter(&path).await
            }
        }
    }

    /// Goes to a workspace that has to exist and let the user in.
    async fn enter(&mut self, path: &str) -> anyhow::Result<()> {
        let of_type = enter::check(self, path).await?;
        self.contexts.switch(path)?;
        self.contexts.save()?;
        println!("{}", enter::arrival(path, of_type.as_deref()));
        Ok(())
    }

    fn show(&self, short: bool) -> anyhow::Result<()> {
        let location: Location = self.contexts.location()?;
        let path = location.workspace()?;
        if short {
            println!("{path}");
        } else {
            println!("{}", enter::arrival(path, None));
        }
        Ok(())
    }

    fn create_context(mut self, name: Option<String>, overwrite: bool) -> anyhow::Result<()> {
        let location = self.contexts.location()?;
        let name = name.map_or_else(|| location.workspace().map(str::to_owned), Ok)?;
        let path = location.workspace()?.to_owned();
        let replaced = self.contexts.create(&name, &path, overwrite)?;
        self.contexts.save()?;
        println!(
            "{} context \"{name}\" and switched to it.",
            if replaced { "Updated" } else { "Created" }
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::{Args, Command};

    /// As under the name `kubectl-ws`: beside the arguments for logging.
    #[derive(Debug, Parser)]
    struct Plugin {
        #[command(flatten)]
        _logging: crate::logging::Args,
        #[command(flatten)]
        ws: Args,
    }

    #[test]
    fn words_are_targets_unless_they_are_commands() {
        let parse = |words: &[&str]| {
            Plugin::try_parse_from([&["kubectl-ws"], words].concat()).map(|plugin| plugin.ws)
        };
        for (words, target) in [
            (&[][..], "~"),
            (&["-"], "-"),
            (&[".."], ".."),
            (&[":root:a"], ":root:a"),
            (&["team-a"], "team-a"),
        ] {
            let args = parse(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
            assert!(args.command.is_none());
            assert_eq!(args.target, target, "{words:?}");
        }
        let create =
            parse(&["create", "a", "--type", "payload", "--enter"]).map(|args| args.command);
        assert!(matches!(create, Ok(Some(Command::Create(_)))));
        let tree = parse(&["tree", "--full"]).map(|args| args.command);
        assert!(matches!(tree, Ok(Some(Command::Tree(_)))));
        assert!(parse(&["a", "b"]).is_err());
    }
}
