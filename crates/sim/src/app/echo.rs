//! UDP there and back: a service that answers with what it was sent, and its clients.

use super::App;
use crate::host::Stack;
use pipeline::Instant;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Sends every datagram back to where it came from.
#[derive(Debug)]
pub struct UdpEcho {
    port: u16,
    callers: BTreeSet<IpAddr>,
    answered: u64,
    socket: Option<SocketHandle>,
}

/// Sends numbered datagrams and waits for them to come back.
#[derive(Debug)]
pub struct UdpAsk {
    from: u16,
    to: SocketAddr,
    count: u32,
    at_least: usize,
    interval: Duration,
    sent: u32,
    next: Instant,
    answered: BTreeSet<u32>,
    strange: u64,
    socket: Option<SocketHandle>,
}

/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Datagrams a service holds in each direction: thousands of clients may ask at one moment.
const ROOM: usize = 8192;
/// Datagrams a client holds.
const CLIENT_ROOM: usize = 16;

impl UdpEcho {
    /// A service on `port`.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self {
            port,
            callers: BTreeSet::new(),
            answered: 0,
            socket: None,
        }
    }
}

impl App for UdpEcho {
    fn poll(&mut self, stack: &mut Stack<'_>) -> Option<Instant> {
        let handle = *self
            .socket
            .get_or_insert_with(|| stack.sockets.add(socket(self.port, ROOM)));
        let socket = stack.sockets.get_mut::<udp::Socket<'_>>(handle);
        while socket.can_send() {
            let Ok((payload, from)) = socket.recv() else {
                break;
            };
            let payload = payload.to_vec();
            self.callers.insert(from.endpoint.addr.into());
            self.answered += 1;
            // From the address it was sent to: a host that plays many has several.
            let back = udp::UdpMetadata {
                local_address: from.local_address,
                ..udp::UdpMetadata::from(from.endpoint)
            };
            let _ = socket.send_slice(&payload, back);
        }
        None
    }

    fn done(&self) -> bool {
        true
    }

    fn succeeded(&self) -> bool {
        true
    }

    fn tell(&self) -> String {
        let callers: Vec<_> = self.callers.iter().map(ToString::to_string).collect();
        format!(
            "udp echo on {}: {} answered, callers: {}",
            self.port,
            self.answered,
            callers.join(" ")
        )
    }
}

impl UdpAsk {
    /// Sends `count` datagrams from the port `from` to `to`, one each `interval`, and is content
    /// when `at_least` different ones came back.
    #[must_use]
    pub fn new(from: u16, to: SocketAddr, count: u32, at_least: usize, interval: Duration) -> Self {
        Self {
            from,
            to,
            count,
            at_least,
            interval,
            sent: 0,
            next: Instant::ZERO,
            answered: BTreeSet::new(),
            strange: 0,
            socket: None,
        }
    }

    /// A client that is content when nothing comes back.
    #[must_use]
    pub fn in_vain(from: u16, to: SocketAddr, count: u32, interval: Duration) -> Self {
        Self::new(from, to, count, 0, interval)
    }
}

impl App for UdpAsk {
    fn poll(&mut self, stack: &mut Stack<'_>) -> Option<Instant> {
        let handle = *self
            .socket
            .get_or_insert_with(|| stack.sockets.add(socket(self.from, CLIENT_ROOM)));
        let socket = stack.sockets.get_mut::<udp::Socket<'_>>(handle);
        while let Ok((payload, from)) = socket.recv() {
            let number = payload.first_chunk().map(|n| u32::from_be_bytes(*n));
            match number.filter(|_| SocketAddr::from(from.endpoint) == self.to) {
                Some(number) => {
                    self.answered.insert(number);
                }
                None => self.strange += 1,
            }
        }
        if stack.now >= self.next && self.sent <= self.count {
            if self.sent < self.count {
                let _ = socket.send_slice(&self.sent.to_be_bytes(), self.to);
                self.next = stack.now + self.interval;
            }
            self.sent += 1;
            if self.sent == self.count {
                self.next = stack.now + PATIENCE;
            }
        }
        (self.sent <= self.count).then_some(self.next)
    }

    fn done(&self) -> bool {
        self.sent > self.count
    }

    fn succeeded(&self) -> bool {
        let enough = self.answered.len() >= self.at_least;
        let wanted = self.at_least > 0 || self.answered.is_empty();
        self.done() && enough && wanted && self.strange == 0
    }

    fn tell(&self) -> String {
        let Self {
            to,
            count,
            answered,
            strange,
            ..
        } = self;
        format!(
            "udp ask {to}: {} of {count} answered, {strange} strange",
            answered.len()
        )
    }
}

fn socket(port: u16, room: usize) -> udp::Socket<'static> {
    let buffer =
        || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; room], vec![0; room * 64]);
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(port).expect("a fresh socket binds");
    socket
}
