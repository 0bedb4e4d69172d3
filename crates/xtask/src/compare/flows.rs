//! A million connections for a NAT to follow: datagrams of a container to as many destinations.
//!
//! From 32 ports beside each other the container sends one datagram to each of 31 250 addresses
//! that answer nothing. A NAT that keeps a port's connections apart by the port so has as many
//! everywhere. The sender keeps a pace: what overruns the container's interface is lost without a
//! word, and what is lost makes no connection.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::Namespace;

use super::outside::SILENT;

/// Connections that [`send`] makes of each port.
pub(super) const OF_EACH_PORT: usize = 31_250;
/// All of them.
pub(super) const ALL: usize = OF_EACH_PORT * 32;

/// The container's ports.
pub(super) fn ports() -> impl Iterator<Item = u16> {
    FIRST_PORT..FIRST_PORT + 32
}

/// Sends one datagram of each connection from `container`, which makes it or keeps it alive.
///
/// # Errors
/// When a port is taken or the kernel refuses to send.
pub(super) fn send(container: &Namespace) -> Result<()> {
    for port in ports() {
        let socket = container
            .run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))
            .with_context(|| format!("port {port} of the container is not free"))?;
        let mut sent = Pace::begin();
        for number in 0..OF_EACH_PORT {
            sent.one_more();
            let to = SocketAddrV4::new(destination(number), DISCARD);
            socket
                .send_to(&[], to)
                .with_context(|| format!("cannot send from port {port} to {to}"))?;
        }
    }
    Ok(())
}

/// The address that the `number`th connection of each port goes to.
fn destination(number: usize) -> Ipv4Addr {
    let host = u16::try_from(number).expect("fewer destinations than a /16 has addresses");
    let ([net, next], [high, low]) = (SILENT, host.to_be_bytes());
    Ipv4Addr::new(net, next, high, low)
}

/// So many a second, in bursts that an interface's queue holds.
struct Pace {
    begin: Instant,
    sent: u32,
}

impl Pace {
    fn begin() -> Self {
        Self {
            begin: Instant::now(),
            sent: 0,
        }
    }

    fn one_more(&mut self) {
        self.sent += 1;
        if self.sent.is_multiple_of(BURST) {
            let due = Duration::from_secs(1) * self.sent / RATE;
            while self.begin.elapsed() < due {
                std::thread::yield_now();
            }
        }
    }
}

const FIRST_PORT: u16 = 49_152;
/// RFC 863.
const DISCARD: u16 = 9;
/// Datagrams a second.
const RATE: u32 = 150_000;
const BURST: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_a_million_and_each_goes_elsewhere() {
        assert_eq!((ALL, ports().count()), (1_000_000, 32));
        assert_eq!(destination(0), Ipv4Addr::new(10, 99, 0, 0));
        assert_eq!(
            destination(OF_EACH_PORT - 1),
            Ipv4Addr::new(10, 99, 122, 17)
        );
    }
}
