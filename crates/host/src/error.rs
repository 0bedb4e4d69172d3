//! What the kernel refused: which operation, on which interface, in which namespace.

use ipnet::IpNet;
use std::io;

/// Something that could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The namespace cannot be looked up.
    #[error("network namespace {netns}: {source}")]
    NoNamespace {
        /// The namespace.
        netns: String,
        /// Why.
        source: io::Error,
    },
    /// What was named is no network namespace.
    #[error("{netns} is not a network namespace")]
    NotANamespace {
        /// The name.
        netns: String,
    },
    /// The name stands for another namespace than it did.
    #[error("network namespace {netns} is gone; another one has its name now")]
    Replaced {
        /// The namespace.
        netns: String,
    },
    /// The kernel refused to let the thread in.
    #[error("cannot enter network namespace {netns}: {source}")]
    Enter {
        /// The namespace.
        netns: String,
        /// Why.
        source: io::Error,
    },
    /// A thread or a netlink socket could not be made.
    #[error("cannot {what} for network namespace {netns}: {source}")]
    Resources {
        /// What could not be done.
        what: &'static str,
        /// The namespace.
        netns: String,
        /// Why.
        source: io::Error,
    },
    /// The kernel refused to change or show an interface.
    #[error("cannot {what} interface {ifname} in network namespace {netns}: {source}")]
    Link {
        /// What could not be done.
        what: String,
        /// The interface.
        ifname: String,
        /// The namespace.
        netns: String,
        /// Why.
        source: io::Error,
    },
    /// A NIC that carries something else than Ethernet frames.
    #[error("interface {ifname} carries no Ethernet frames: it cannot be an uplink")]
    NotEthernet {
        /// The interface.
        ifname: String,
    },
    /// Something else than a bridge.
    #[error("interface {ifname} is no bridge")]
    NotABridge {
        /// The interface.
        ifname: String,
    },
    /// An interface on which there is no room for a note of ours.
    #[error("interface {ifname} has an alias already, `{alias}`: it would be lost")]
    Noted {
        /// The interface.
        ifname: String,
        /// What is written on it.
        alias: String,
    },
    /// A setting under /proc/sys cannot be read or written.
    #[error("cannot read or write the setting {name}: {source}")]
    Sysctl {
        /// The setting, by its path under /proc/sys.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// A container network's subnet is in use on the host.
    #[error("the host has a route into {subnet} already: {route}")]
    Overlaps {
        /// The subnet.
        subnet: IpNet,
        /// The route, as `ip route` writes it.
        route: String,
    },
    /// The ports of an uplink have too many gaps.
    #[error(
        "the filter for these ports has {instructions} instructions, the kernel takes {max}: \
         publish ports in ranges"
    )]
    TooManyPorts {
        /// What the filter would need.
        instructions: usize,
        /// What the kernel takes.
        max: usize,
    },
}

impl Error {
    /// Returns whether the namespace itself is no longer there.
    #[must_use]
    pub fn is_namespace_gone(&self) -> bool {
        match self {
            Self::NoNamespace { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::Replaced { .. } => true,
            Self::NotANamespace { .. }
            | Self::Enter { .. }
            | Self::Resources { .. }
            | Self::Link { .. }
            | Self::NotEthernet { .. }
            | Self::NotABridge { .. }
            | Self::Noted { .. }
            | Self::Sysctl { .. }
            | Self::Overlaps { .. }
            | Self::TooManyPorts { .. } => false,
        }
    }
}
