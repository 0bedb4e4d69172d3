//! Settings under /proc/sys/net: the calling thread's namespace decides whose they are.
//!
//! Only settings of interfaces of our own are changed, and the one list of ports that sockets keep
//! out of, which has no other home.

use crate::Error;
use std::fs;
use std::io;

/// The ports that are not given to sockets which ask for any.
pub(crate) const RESERVED_PORTS: &str = "net/ipv4/ip_local_reserved_ports";

pub(crate) fn read(name: &str) -> Result<String, Error> {
    fs::read_to_string(path(name)).map_err(|source| failed(name, source))
}

pub(crate) fn write(name: &str, value: &str) -> Result<(), Error> {
    fs::write(path(name), format!("{value}\n")).map_err(|source| failed(name, source))
}

/// Returns what an interface of ours that has a use for IPv6 does without: addresses of its own making,
/// other routers' advertisements, asking whether an address is taken.
pub(crate) fn quiet_ipv6(ifname: &str) -> Result<(), Error> {
    ["accept_ra", "autoconf", "accept_dad", "dad_transmits"]
        .into_iter()
        .try_for_each(|setting| ipv6(ifname, setting, "0"))
}

/// No IPv6 at all on an interface of ours.
pub(crate) fn no_ipv6(ifname: &str) -> Result<(), Error> {
    ipv6(ifname, "disable_ipv6", "1")
}

fn ipv6(ifname: &str, setting: &str, value: &str) -> Result<(), Error> {
    match write(&format!("net/ipv6/conf/{ifname}/{setting}"), value) {
        // A kernel without IPv6.
        Err(Error::Sysctl { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn path(name: &str) -> String {
    format!("/proc/sys/{name}")
}

fn failed(name: &str, source: io::Error) -> Error {
    Error::Sysctl {
        name: name.to_owned(),
        source,
    }
}
