//! ICMP and ICMPv6 echo (RFC 792, RFC 4443 section 4) on a raw socket.

use super::Spread;
use crate::Namespace;
use anyhow::{Context, Result, ensure};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Echo requests to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    /// The address to ask.
    pub to: IpAddr,
    /// From which of the namespace's addresses; the kernel's choice if none is named.
    pub from: Option<IpAddr>,
    /// How many requests, one after the other's reply.
    pub count: u16,
    /// Bytes of payload: at most [`Ping::MAX_SIZE`].
    pub size: usize,
    /// How long to wait for each reply.
    pub timeout: Duration,
}

impl Ping {
    /// Bytes that fit an IPv4 packet beside its header and ICMP's.
    pub const MAX_SIZE: usize = 65_507;

    /// Five requests of 56 bytes, a second's patience each.
    #[must_use]
    pub const fn new(to: IpAddr) -> Self {
        Self {
            to,
            from: None,
            count: 5,
            size: 56,
            timeout: Duration::from_secs(1),
        }
    }
}

/// The answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PingReport {
    /// Requests sent.
    pub sent: u16,
    /// Replies that came in time and held what the request held.
    pub received: u16,
    /// Time from request to reply; `None` when there was none.
    pub rtt: Option<Spread>,
}

impl PingReport {
    /// Returns whether every request was answered.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.sent == self.received
    }
}

/// Pings from `namespace`.
///
/// # Errors
/// When no raw socket can be had (CAP_NET_RAW), or the kernel refuses to send: no route, a
/// payload that is too large. A missing reply is not an error.
pub fn ping(namespace: &Namespace, ping: &Ping) -> Result<PingReport> {
    ensure!(
        ping.size <= Ping::MAX_SIZE,
        "a ping of {} bytes: at most {} fit",
        ping.size,
        Ping::MAX_SIZE
    );
    let echo = Echo::of(ping.to);
    let mut socket = namespace
        .run(|| open(ping, &echo))
        .with_context(|| format!("cannot ping {}", ping.to))?;
    let to = SockAddr::from(SocketAddr::new(ping.to, 0));
    let id = fresh_id();
    let mut times = Vec::with_capacity(ping.count.into());
    for sequence in 0..ping.count {
        let request = echo.request(id, sequence, ping.size);
        let start = Instant::now();
        socket
            .send_to(&request, &to)
            .with_context(|| format!("cannot send {} bytes to {}", request.len(), ping.to))?;
        if echo.await_reply(&mut socket, &request, start + ping.timeout)? {
            times.push(start.elapsed());
        }
    }
    let received = u16::try_from(times.len()).expect("no more replies than requests");
    Ok(PingReport {
        sent: ping.count,
        received,
        rtt: Spread::of(&times),
    })
}

fn open(ping: &Ping, echo: &Echo) -> Result<Socket> {
    let socket =
        Socket::new(echo.domain, Type::RAW, Some(echo.protocol)).context("no raw socket")?;
    socket.set_recv_buffer_size(1 << 20)?;
    socket.set_send_buffer_size(1 << 20)?;
    if let Some(from) = ping.from {
        socket
            .bind(&SockAddr::from(SocketAddr::new(from, 0)))
            .with_context(|| format!("{from} is not ours"))?;
    }
    Ok(socket)
}

/// Every pinger hears every reply in its namespace: an identifier of its own tells its from others'.
fn fresh_id() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// How the two versions differ.
struct Echo {
    domain: Domain,
    protocol: Protocol,
    request: u8,
    reply: u8,
    /// An IPv4 raw socket delivers the IP header too; an IPv6 one does not, and does the checksum.
    v4: bool,
}

impl Echo {
    const fn of(to: IpAddr) -> Self {
        match to {
            IpAddr::V4(_) => Self {
                domain: Domain::IPV4,
                protocol: Protocol::ICMPV4,
                request: 8,
                reply: 0,
                v4: true,
            },
            IpAddr::V6(_) => Self {
                domain: Domain::IPV6,
                protocol: Protocol::ICMPV6,
                request: 128,
                reply: 129,
                v4: false,
            },
        }
    }

    fn request(&self, id: u16, sequence: u16, size: usize) -> Vec<u8> {
        let mut packet = vec![self.request, 0, 0, 0];
        packet.extend(id.to_be_bytes());
        packet.extend(sequence.to_be_bytes());
        packet.extend((0..=u8::MAX).cycle().take(size));
        if self.v4 {
            let sum = checksum(&packet);
            packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        packet
    }

    fn await_reply(&self, socket: &mut Socket, request: &[u8], end: Instant) -> Result<bool> {
        let mut buffer = vec![0; 60 + request.len() + 1];
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            socket.set_read_timeout(Some(left))?;
            match socket.read(&mut buffer) {
                Ok(len) if self.is_reply(&buffer[..len], request) => return Ok(true),
                Ok(_) => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error).context("cannot receive a reply"),
            }
        }
    }

    fn is_reply(&self, packet: &[u8], request: &[u8]) -> bool {
        let header = if self.v4 {
            packet
                .first()
                .map_or(0, |first| usize::from(first & 0x0f) * 4)
        } else {
            0
        };
        let Some(reply) = packet.get(header..) else {
            return false;
        };
        reply.first() == Some(&self.reply) && reply.get(4..) == request.get(4..)
    }
}

/// The ones' complement sum of 16-bit words, complemented (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    let mut sum = bytes.chunks(2).map(word).fold(0u32, |sum, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    sum = (sum & 0xffff) + (sum >> 16);
    !u16::try_from(sum).expect("a folded sum fits sixteen bits")
}

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use crate::link;

    #[test]
    fn both_versions_over_a_veth() {
        let (a, b) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        link::veth(&a, "eth0", &b, "eth0").unwrap();
        for (namespace, host) in [(&a, 1), (&b, 2)] {
            link::address(namespace, "eth0", &format!("10.2.0.{host}/24")).unwrap();
            link::address(namespace, "eth0", &format!("2001:db8:2::{host}/64")).unwrap();
        }
        for (to, from) in [("10.2.0.2", "10.2.0.1"), ("2001:db8:2::2", "2001:db8:2::1")] {
            for size in [0, 56, 1_472, 9_000] {
                let request = Ping {
                    size,
                    from: Some(from.parse().unwrap()),
                    ..Ping::new(to.parse().unwrap())
                };
                let report = ping(&a, &request).unwrap();
                assert!(report.is_complete(), "{to} {size}: {report:?}");
                let rtt = report.rtt.unwrap();
                assert!(rtt.min <= rtt.median && rtt.median <= rtt.max);
            }
        }
    }

    #[test]
    fn nobody_answers_and_no_route() {
        let namespace = Namespace::new().unwrap();
        namespace
            .ip("link add eth0 type veth peer name other")
            .unwrap();
        namespace.ip("link set other up").unwrap();
        link::address(&namespace, "eth0", "10.2.0.1/24").unwrap();
        let request = Ping {
            count: 1,
            timeout: Duration::from_millis(50),
            ..Ping::new("10.2.0.9".parse().unwrap())
        };
        let report = ping(&namespace, &request).unwrap();
        assert_eq!((report.sent, report.received, report.rtt), (1, 0, None));

        let error = ping(&namespace, &Ping::new("198.51.100.1".parse().unwrap())).unwrap_err();
        assert!(format!("{error:#}").contains("198.51.100.1"), "{error:#}");
    }
}
