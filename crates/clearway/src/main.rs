//! The one binary: the daemon, the lab, and the command line that asks the daemon.

mod documents;
mod plugin;

use clap::{CommandFactory, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// Large tables stand on huge pages.
#[global_allocator]
static MEMORY: dataplane::HugePages = dataplane::HugePages;

/// A userspace switch for containers, fast and explainable
#[derive(Debug, Parser)]
#[command(name = "clearway", version, max_term_width = 100)]
struct Line {
    /// The daemon's unix socket
    #[arg(
        long,
        global = true,
        env = "CLEARWAY_SOCKET",
        value_name = "PATH",
        help_heading = "Global options"
    )]
    socket: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
#[command(defer = true)]
enum Command {
    /// Run the switch
    Daemon(daemon::Args),
    /// See it work: containers in namespaces of their own, and what they can do
    Lab(lab::Args),
    #[command(flatten)]
    Ask(cli::Command),
    /// Run the switch as the managed plugin of a Docker engine
    #[command(hide = true)]
    Plugin(daemon::Args),
    /// Print what completes this command line in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages, one a command
    #[command(hide = true)]
    Man {
        /// Where to
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    let Line { socket, command } = Line::parse();
    match command {
        Command::Daemon(args) => daemon::run(&daemon::Args { socket, ..args }),
        Command::Plugin(args) => {
            plugin::open_settings();
            daemon::run(&daemon::Args { socket, ..args })
        }
        Command::Lab(args) => lab::run(&args),
        Command::Ask(command) => cli::run(
            &command,
            &socket.unwrap_or_else(|| api::DEFAULT_SOCKET.into()),
            &cli::Alone {
                inspect: daemon::leftovers::inspect,
                clean: daemon::leftovers::clean,
                release: daemon::leftovers::release,
            },
        ),
        Command::Completions { shell } => documents::told(documents::completions(
            Line::command(),
            shell,
            &mut std::io::stdout(),
        )),
        Command::Man { directory } => documents::told(documents::man(Line::command(), &directory)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn the_socket_may_stand_anywhere() {
        for words in [
            "--socket S status",
            "status --socket S",
            "network ls --socket S",
            "daemon --socket S",
        ] {
            let line =
                Line::try_parse_from(["clearway"].into_iter().chain(words.split(' '))).unwrap();
            assert_eq!(line.socket, Some("S".into()), "{words}");
        }
    }

    #[test]
    fn help_names_every_command() {
        let help = Line::command().render_help().to_string();
        for command in [
            "daemon",
            "lab",
            "network",
            "attach",
            "detach",
            "endpoint",
            "port",
            "fdb",
            "drops",
            "status",
            "explain",
            "docker",
            "completions",
        ] {
            assert!(
                help.contains(&format!("\n  {command} ")),
                "{command} is missing:\n{help}"
            );
        }
    }
}
