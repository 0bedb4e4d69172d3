//! A million connections for a NAT to follow: datagrams of a container to as many destinations.
//!
//! From each of 8000 ports the container sends one datagram to each of 125 places that answer
//! nothing: real packets, which take the way of any other, and about as many peers a port as a busy
//! resolver has. The ports are half of those that mappings are made of, and as many in each shard.
//! Nobody answers, so each connection ends a timeout after its last datagram: whoever needs them
//! sends again and counts. The sender keeps a pace: what overruns the container's interface is lost
//! without a word, and what is lost makes no connection.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use testbed::Namespace;

use super::outside::SILENT;

/// All of them.
pub(super) const ALL: usize = SOURCES as usize * OF_EACH_SOURCE;

/// The ports of their destinations, to each of which an equal share goes. No other load uses them.
pub(super) fn destination_ports() -> impl Iterator<Item = u16> {
    FIRST_DESTINATION..FIRST_DESTINATION + DESTINATION_PORTS
}

/// Sends one datagram of each connection from `container`, which makes it or keeps it alive; from
/// `attempt` to attempt, 1 first, more slowly.
///
/// # Errors
/// When a port is taken or the kernel refuses to send.
pub(super) fn send(container: &Namespace, attempt: u32) -> Result<()> {
    container.run(|| {
        let mut pace = Pace::begin(RATE / attempt);
        for port in FIRST_SOURCE..FIRST_SOURCE + SOURCES {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))
                .with_context(|| format!("port {port} of the container is not free"))?;
            for to in destinations() {
                pace.one_more();
                socket
                    .send_to(&[], to)
                    .with_context(|| format!("cannot send from port {port} to {to}"))?;
            }
        }
        Ok(())
    })
}

/// Returns where each port sends to.
fn destinations() -> impl Iterator<Item = SocketAddrV4> {
    let [high, low] = SILENT;
    (1..=DESTINATION_ADDRESSES).flat_map(move |host| {
        destination_ports().map(move |port| SocketAddrV4::new([high, low, 0, host].into(), port))
    })
}

/// So many a second, in bursts that an interface's queue holds.
struct Pace {
    begin: Instant,
    /// Datagrams a second.
    rate: u32,
    sent: u32,
}

impl Pace {
    fn begin(rate: u32) -> Self {
        Self {
            begin: Instant::now(),
            rate,
            sent: 0,
        }
    }

    fn one_more(&mut self) {
        self.sent += 1;
        if self.sent.is_multiple_of(BURST) {
            let due = Duration::from_secs(1) * self.sent / self.rate;
            while self.begin.elapsed() < due {
                std::thread::yield_now();
            }
        }
    }
}

const FIRST_SOURCE: u16 = 49_152;
const SOURCES: u16 = 8000;
const FIRST_DESTINATION: u16 = 7000;
const DESTINATION_PORTS: u16 = 25;
const DESTINATION_ADDRESSES: u8 = 5;
const OF_EACH_SOURCE: usize = DESTINATION_PORTS as usize * DESTINATION_ADDRESSES as usize;
/// Datagrams a second, at first.
const RATE: u32 = 150_000;
const BURST: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_are_a_million_and_each_goes_elsewhere() {
        let each: BTreeSet<SocketAddrV4> = destinations().collect();
        assert_eq!((each.len(), ALL), (OF_EACH_SOURCE, 1_000_000));
        assert!(
            each.iter()
                .all(|to| to.ip().octets()[..2] == SILENT && *to.ip() != Ipv4Addr::UNSPECIFIED)
        );
    }
}
