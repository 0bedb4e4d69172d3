//! The way to an address, router by router: what `traceroute` shows.
//!
//! UDP datagrams with a rising TTL go to ports that nobody listens at. A router that the TTL ends
//! at says so (time exceeded), the destination says that nobody listens (port unreachable). The
//! kernel hands an error to the socket only if the datagram it quotes is that socket's, so an
//! answer that comes through a NAT proves that the NAT translated the quotation back (RFC 5508, 4).

use super::PATIENCE;
use crate::Namespace;
use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc::{sock_extended_err, sockaddr_in6};
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt};
use socket2::SockRef;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

/// One step of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hop {
    /// A router that the TTL ended at.
    Router(IpAddr),
    /// Somebody who says that it goes no further: the destination, if it has this address.
    End(IpAddr),
    /// Nobody said anything.
    Silent,
}

/// Traces the way from `namespace` to `to`, over `limit` routers at most.
///
/// # Errors
/// When no socket can be had, or the kernel refuses to send: no route. Silence is not an error.
pub fn trace(namespace: &Namespace, to: IpAddr, limit: u8) -> Result<Vec<Hop>> {
    let mut hops = Vec::new();
    for ttl in 1..=limit {
        let at = SocketAddr::new(to, FIRST_PORT + u16::from(ttl));
        let socket = namespace
            .run(|| probe(at, ttl))
            .with_context(|| format!("cannot trace {to}"))?;
        let hop = answer(&socket)?;
        hops.push(hop);
        if matches!(hop, Hop::End(_)) {
            break;
        }
    }
    Ok(hops)
}

/// Sends one datagram to `at`.
fn probe(at: SocketAddr, ttl: u8) -> Result<UdpSocket> {
    let any: IpAddr = match at.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    match at {
        SocketAddr::V4(_) => {
            setsockopt(&socket, Ipv4RecvErr, &true)?;
            SockRef::from(&socket).set_ttl_v4(ttl.into())?;
        }
        SocketAddr::V6(_) => {
            setsockopt(&socket, Ipv6RecvErr, &true)?;
            SockRef::from(&socket).set_unicast_hops_v6(ttl.into())?;
        }
    }
    socket.set_read_timeout(Some(SILENCE.min(PATIENCE)))?;
    socket.connect(at)?;
    socket.send(b"clearway")?;
    Ok(socket)
}

/// Waits for an error about the datagram: it wakes the reader, and lies in the error queue.
fn answer(socket: &UdpSocket) -> Result<Hop> {
    if socket.recv(&mut [0; 64]).is_ok() {
        return Ok(Hop::End(socket.peer_addr()?.ip()));
    }
    // Room for the larger of the two families' messages.
    let mut space = nix::cmsg_space!(sock_extended_err, sockaddr_in6);
    let flags = MsgFlags::MSG_ERRQUEUE;
    let received = recvmsg::<()>(socket.as_raw_fd(), &mut [], Some(&mut space), flags);
    let message = match received {
        Ok(message) => message,
        Err(Errno::EAGAIN) => return Ok(Hop::Silent),
        Err(error) => return Err(error).context("cannot read the errors of a socket"),
    };
    let hop = message
        .cmsgs()
        .context("an error came cut off")?
        .find_map(|message| hop(&message));
    Ok(hop.unwrap_or(Hop::Silent))
}

fn hop(message: &ControlMessageOwned) -> Option<Hop> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "of many kinds of control messages two are errors"
    )]
    let (error, from) = match message {
        ControlMessageOwned::Ipv4RecvErr(error, Some(from)) => {
            let ip = Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr));
            (error, IpAddr::V4(ip))
        }
        ControlMessageOwned::Ipv6RecvErr(error, Some(from)) => {
            (error, IpAddr::V6(from.sin6_addr.s6_addr.into()))
        }
        _ => return None,
    };
    Some(match (from, error.ee_type) {
        // Time exceeded: RFC 792, and RFC 4443 section 3.3.
        (IpAddr::V4(_), 11) | (IpAddr::V6(_), 3) => Hop::Router(from),
        (IpAddr::V4(_) | IpAddr::V6(_), _) => Hop::End(from),
    })
}

/// Ports from here on are what traceroute has always used.
const FIRST_PORT: u16 = 33_434;
/// After so long nobody is going to answer.
const SILENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use crate::{link, wait_until};

    /// near 10.6.0.2 - 10.6.0.1 router 10.6.1.1 - 10.6.1.2 far
    #[test]
    fn a_router_and_then_the_end_in_both_versions() {
        let [near, router, far] = [(); 3].map(|()| Namespace::new().unwrap());
        link::veth(&near, "eth0", &router, "near").unwrap();
        link::veth(&far, "eth0", &router, "far").unwrap();
        for (namespace, interface, address) in [
            (&near, "eth0", "10.6.0.2/24"),
            (&near, "eth0", "2001:db8:6::2/64"),
            (&router, "near", "10.6.0.1/24"),
            (&router, "near", "2001:db8:6::1/64"),
            (&router, "far", "10.6.1.1/24"),
            (&router, "far", "2001:db8:61::1/64"),
            (&far, "eth0", "10.6.1.2/24"),
            (&far, "eth0", "2001:db8:61::2/64"),
        ] {
            link::address(namespace, interface, address).unwrap();
        }
        for switch in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
            router.output("sysctl", &["-qw", switch]).unwrap();
        }
        for (namespace, net) in [(&near, ""), (&far, "1")] {
            let last = if net.is_empty() { "0" } else { net };
            namespace
                .ip(&format!("route add default via 10.6.{last}.1"))
                .unwrap();
            namespace
                .ip(&format!("-6 route add default via 2001:db8:6{net}::1"))
                .unwrap();
        }
        for (gateway, end) in [
            ("10.6.0.1", "10.6.1.2"),
            ("2001:db8:6::1", "2001:db8:61::2"),
        ] {
            let [gateway, end]: [IpAddr; 2] = [gateway, end].map(|ip| ip.parse().unwrap());
            let expected = [Hop::Router(gateway), Hop::End(end)];
            wait_until("the way", PATIENCE, || {
                trace(&near, end, 5).is_ok_and(|hops| hops == expected)
            })
            .unwrap();
        }
        near.ip("neighbour replace 10.6.0.1 lladdr 02:00:00:00:00:01 dev eth0")
            .unwrap();
        let silent = trace(&near, "10.6.1.2".parse().unwrap(), 1).unwrap();
        assert_eq!(silent, [Hop::Silent]);
    }

    #[test]
    fn without_a_route_there_is_nothing_to_trace() {
        let namespace = Namespace::new().unwrap();
        let error = trace(&namespace, "198.51.100.1".parse().unwrap(), 3).unwrap_err();
        assert!(format!("{error:#}").contains("198.51.100.1"), "{error:#}");
    }
}
