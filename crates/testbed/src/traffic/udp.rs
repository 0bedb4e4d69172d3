//! UDP datagrams, numbered and counted.

use super::PATIENCE;
use crate::Namespace;
use anyhow::{Context, Result, anyhow, ensure};
use socket2::SockRef;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The datagrams to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpLoad {
    /// Bytes of each datagram: at least [`UdpLoad::MIN_SIZE`], for its number.
    pub size: usize,
    /// How many.
    pub packets: u32,
    /// How many a second, in bursts of a millisecond's worth; as fast as they go if not said.
    pub per_second: Option<u32>,
}

impl UdpLoad {
    /// The fewest bytes of a datagram.
    pub const MIN_SIZE: usize = 4;
}

/// Counts of the datagrams by their fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpReport {
    /// Datagrams that the sender's kernel took.
    pub sent: u32,
    /// Different ones that arrived.
    pub received: u32,
    /// Arrivals of one that had arrived before.
    pub duplicates: u32,
    /// How long sending took.
    pub elapsed: Duration,
}

/// Sends datagrams from `client` to `server`, which has the address `to`, and counts arrivals.
///
/// # Errors
/// When a socket cannot be made or the load is impossible. A lost datagram is not an error.
pub fn udp_count(
    server: &Namespace,
    client: &Namespace,
    to: IpAddr,
    load: &UdpLoad,
) -> Result<UdpReport> {
    ensure!(
        load.size >= UdpLoad::MIN_SIZE,
        "datagrams of {} bytes: at least {}",
        load.size,
        UdpLoad::MIN_SIZE
    );
    ensure!(
        load.per_second != Some(0),
        "0 datagrams a second: at least 1"
    );
    let receiving = server
        .run(|| UdpSocket::bind((to, 0)))
        .with_context(|| format!("cannot bind {to}"))?;
    SockRef::from(&receiving).set_recv_buffer_size(8 << 20)?;
    receiving.set_read_timeout(Some(QUIET))?;
    let any: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let sending = client
        .run(|| UdpSocket::bind((any, 0)))
        .context("cannot make the sender's socket")?;
    sending.set_write_timeout(Some(PATIENCE))?;
    sending
        .connect(receiving.local_addr()?)
        .with_context(|| format!("no way to {to}"))?;

    let sent_all = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&receiving, load, &sent_all));
        let start = Instant::now();
        let sent = send(&sending, load, start);
        let elapsed = start.elapsed();
        sent_all.store(true, Ordering::Release);
        let (received, duplicates) = receiver
            .join()
            .map_err(|_| anyhow!("the receiving thread panicked"))??;
        Ok(UdpReport {
            sent: sent?,
            received,
            duplicates,
            elapsed,
        })
    })
}

fn send(socket: &UdpSocket, load: &UdpLoad, start: Instant) -> Result<u32> {
    let mut datagram = vec![0; load.size];
    let mut sent = 0;
    for number in 0..load.packets {
        if let Some(rate) = load.per_second {
            await_turn(number, rate, start);
        }
        datagram[..4].copy_from_slice(&number.to_be_bytes());
        match socket.send(&datagram) {
            Ok(_) => sent += 1,
            // The interface's queue is full, or an ICMP error came for an earlier one: a loss.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
            Err(error) => return Err(error).context("cannot send a datagram"),
        }
    }
    Ok(sent)
}

/// Holds datagram `number` back until a rate of `rate` a second allows it.
#[expect(
    clippy::disallowed_methods,
    reason = "pacing: to pause between bursts is the point"
)]
fn await_turn(number: u32, rate: u32, start: Instant) {
    let due = Duration::from_secs_f64(f64::from(number) / f64::from(rate));
    let early = due.saturating_sub(start.elapsed());
    if early >= Duration::from_millis(1) {
        std::thread::sleep(early);
    }
}

fn receive(socket: &UdpSocket, load: &UdpLoad, sent_all: &AtomicBool) -> Result<(u32, u32)> {
    let mut seen = vec![false; load.packets as usize];
    let mut buffer = vec![0; load.size];
    let (mut received, mut duplicates) = (0, 0);
    loop {
        // Read before receiving: silence after it means that nothing more is on its way.
        let last_look = sent_all.load(Ordering::Acquire);
        match socket.recv(&mut buffer) {
            Ok(len) if len >= UdpLoad::MIN_SIZE => {
                let number =
                    u32::from_be_bytes(*buffer.first_chunk().expect("a datagram has its number"));
                match seen.get_mut(number as usize) {
                    Some(seen) if !*seen => (*seen, received) = (true, received + 1),
                    Some(_) => duplicates += 1,
                    None => {} // not one of ours
                }
            }
            Ok(_) => {}
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                if last_look {
                    return Ok((received, duplicates));
                }
            }
            Err(error) => return Err(error).context("cannot receive a datagram"),
        }
    }
}

/// Silence that ends the count once everything was sent.
const QUIET: Duration = Duration::from_millis(150);

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use crate::link;

    #[test]
    fn what_is_sent_slowly_arrives_once() {
        let (server, client) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        link::veth(&server, "eth0", &client, "eth0").unwrap();
        link::address(&server, "eth0", "10.4.0.1/24").unwrap();
        link::address(&client, "eth0", "10.4.0.2/24").unwrap();
        let load = UdpLoad {
            size: 64,
            packets: 500,
            per_second: Some(10_000),
        };
        let report = udp_count(&server, &client, "10.4.0.1".parse().unwrap(), &load).unwrap();
        assert_eq!(
            (report.sent, report.received, report.duplicates),
            (500, 500, 0)
        );
        assert!(report.elapsed >= Duration::from_millis(45), "{report:?}");
    }

    #[test]
    fn what_nobody_carries_is_lost_not_an_error() {
        let (server, client) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        link::veth(&server, "eth0", &client, "eth0").unwrap();
        link::address(&server, "eth0", "10.4.0.1/24").unwrap();
        link::address(&client, "eth0", "10.4.0.2/24").unwrap();
        client
            .ip("neighbour add 10.4.0.1 lladdr 02:00:00:00:00:01 dev eth0")
            .unwrap();
        let load = UdpLoad {
            size: 64,
            packets: 20,
            per_second: None,
        };
        let report = udp_count(&server, &client, "10.4.0.1".parse().unwrap(), &load).unwrap();
        assert_eq!((report.sent, report.received), (20, 0));
    }
}
