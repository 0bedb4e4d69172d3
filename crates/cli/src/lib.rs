//! The command line, in the habits of `docker network`, `ip` and `bridge`.
//!
//! A file is a group of commands: what may be typed (clap), the calls it makes of the daemon, and
//! pure functions that turn answers into text. Answers go to standard output and trouble to
//! standard error; the exit code is 0, or 1 when the daemon refused or does not answer, or 2 when
//! the command line makes no sense.

mod drops;
mod endpoint;
mod explain;
mod failure;
mod fdb;
mod network;
mod output;
mod parse;
mod port;
mod status;

use api::Client;
use failure::Failure;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// What the daemon can be asked.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Command {
    /// Networks: make, list, inspect, remove
    #[command(subcommand)]
    Network(network::NetworkCommand),
    /// Attach a container to a network
    Attach(endpoint::AttachArgs),
    /// Detach containers from their networks
    Detach(endpoint::DetachArgs),
    /// Endpoints, the containers' interfaces: list
    #[command(subcommand)]
    Endpoint(endpoint::EndpointCommand),
    /// Ports of the switch: add, list, show, change, remove
    #[command(subcommand)]
    Port(port::PortCommand),
    /// The table of MAC addresses: show, add, delete, flush
    #[command(subcommand)]
    Fdb(fdb::FdbCommand),
    /// What was dropped, and why
    Drops(drops::DropsArgs),
    /// How the daemon is
    Status(status::StatusArgs),
    /// Tell what would happen to a frame, stage by stage, without its happening
    Explain(explain::ExplainArgs),
}

/// Asks the daemon on `socket` and prints its answer.
#[must_use]
pub fn run(command: &Command, socket: &Path) -> ExitCode {
    let mut out = io::stdout().lock();
    let outcome = ask(command, &Client::new(socket), &mut out)
        .and_then(|()| out.flush().map_err(Failure::Write));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // The reader, a pager or `head`, has seen enough.
        Err(Failure::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            // Nothing more can be done when standard error is closed, too.
            let _ = writeln!(io::stderr(), "clearway: {failure}");
            failure.exit_code()
        }
    }
}

fn ask(command: &Command, client: &Client, out: &mut dyn Write) -> Result<(), Failure> {
    match command {
        Command::Network(command) => command.run(client, out),
        Command::Attach(args) => args.run(client, out),
        Command::Detach(args) => args.run(client, out),
        Command::Endpoint(command) => command.run(client, out),
        Command::Port(command) => command.run(client, out),
        Command::Fdb(command) => command.run(client, out),
        Command::Drops(args) => args.run(client, out),
        Command::Status(args) => args.run(client, out),
        Command::Explain(args) => args.run(client, out),
    }
}

#[cfg(test)]
mod tests;
