//! The command line, in the habits of `docker network`, `ip` and `bridge`.
//!
//! A file is a group of commands: what may be typed (clap), the calls it makes of the daemon, and
//! pure functions that turn answers into text. Answers go to standard output and trouble to
//! standard error; the exit code is 0, or 1 when the daemon refused or does not answer, or 2 when
//! the command line makes no sense.
//!
//! The options of a command are made only when it is the one typed (`defer`): a program that begins
//! touches each page for the first time, and those of all commands were a third of the pages.

mod adopt;
mod datapath;
mod docker;
mod doctor;
mod drops;
mod endpoint;
mod explain;
mod failure;
mod fdb;
mod filter;
mod nat;
mod network;
mod output;
mod parse;
mod policy;
mod port;
mod publish;
mod routing;
mod status;
mod trace;
mod uplink;

pub use doctor::Alone;

use api::Client;
use failure::Failure;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// The commands.
#[derive(Debug, Clone, clap::Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Networks: make, list, inspect, change, remove
    #[command(subcommand)]
    Network(network::NetworkCommand),
    /// Attach a container to a network
    Attach(endpoint::AttachArgs),
    /// Detach containers from their networks
    Detach(endpoint::DetachArgs),
    /// Endpoints, the containers' interfaces: list, inspect, make, join, leave, rename, remove
    #[command(subcommand)]
    Endpoint(endpoint::EndpointCommand),
    /// Ways to the world: add, list, remove
    #[command(subcommand)]
    Uplink(uplink::UplinkCommand),
    /// Ports of the host that lead to endpoints: add, list, remove
    #[command(subcommand)]
    Publish(publish::PublishCommand),
    /// Published ports, by endpoint
    Ports(publish::PortsArgs),
    /// Let the containers of a bridge of the host's, docker0 say, run on a network of ours; list such
    Adopt(adopt::AdoptArgs),
    /// Give a bridge its containers back
    Release(adopt::ReleaseArgs),
    /// Rules about what endpoints may send and receive: set, show, clear
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Connections of the NAT: list, flush, watch
    #[command(subcommand)]
    Nat(nat::NatCommand),
    /// Ports of the switch: add, list, show, change, remove
    #[command(subcommand)]
    Port(port::PortCommand),
    /// The table of MAC addresses: show, add, delete, flush
    #[command(subcommand)]
    Fdb(fdb::FdbCommand),
    /// Decisions that the kernel repeats: show, flush
    #[command(subcommand)]
    Datapath(datapath::DatapathCommand),
    /// Dropped frames, by reason
    Drops(drops::DropsArgs),
    /// Things of ours in the host's network, and what is not as it should be
    Doctor(doctor::DoctorArgs),
    /// The service for Docker: install, uninstall
    #[command(subcommand)]
    Docker(docker::DockerCommand),
    /// How the daemon is
    Status(status::StatusArgs),
    /// Tell what would happen to a frame, stage by stage, without its happening
    Explain(explain::ExplainArgs),
    /// Show frames as they pass, with the decisions about them
    Trace(trace::TraceCommand),
}

/// Asks the daemon on `socket` and prints its answer. Without one, `doctor` and `release` ask `alone`.
#[must_use]
pub fn run(command: &Command, socket: &Path, alone: &Alone) -> ExitCode {
    let mut out = io::stdout().lock();
    let outcome = ask(command, &Client::new(socket), alone, &mut out)
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

fn ask(
    command: &Command,
    client: &Client,
    alone: &Alone,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    match command {
        Command::Network(command) => command.run(client, out),
        Command::Attach(args) => args.run(client, out),
        Command::Detach(args) => args.run(client, out),
        Command::Endpoint(command) => command.run(client, out),
        Command::Uplink(command) => command.run(client, out),
        Command::Publish(command) => command.run(client, out),
        Command::Ports(args) => args.run(client, out),
        Command::Adopt(args) => args.run(client, out),
        Command::Release(args) => args.run(client, alone, out),
        Command::Policy(command) => command.run(client, out),
        Command::Nat(command) => command.run(client, out),
        Command::Port(command) => command.run(client, out),
        Command::Fdb(command) => command.run(client, out),
        Command::Datapath(command) => command.run(client, out),
        Command::Drops(args) => args.run(client, out),
        Command::Doctor(args) => args.run(client, alone, out),
        Command::Docker(command) => command.run(out),
        Command::Status(args) => args.run(client, out),
        Command::Explain(args) => args.run(client, out),
        Command::Trace(args) => args.run(client, out),
    }
}

#[cfg(test)]
mod tests;
