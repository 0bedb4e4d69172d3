//! UDP: so many datagrams at such an interval, and who counts them.

use super::App;
use crate::host::Stack;
use pipeline::Instant;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::udp;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Sends numbered datagrams.
#[derive(Debug)]
pub struct UdpSend {
    to: SocketAddr,
    count: u32,
    size: usize,
    interval: Duration,
    sent: u32,
    next: Instant,
    socket: Option<SocketHandle>,
}

/// Counts numbered datagrams.
#[derive(Debug)]
pub struct UdpReceive {
    port: u16,
    at_least: usize,
    seen: BTreeSet<u32>,
    twice: u64,
    socket: Option<SocketHandle>,
}

impl UdpSend {
    /// Sends `count` datagrams of `size` bytes (4 at least) to `to`, one each `interval`.
    #[must_use]
    pub fn new(to: SocketAddr, count: u32, size: usize, interval: Duration) -> Self {
        Self {
            to,
            count,
            size: size.max(4),
            interval,
            sent: 0,
            next: Instant::ZERO,
            socket: None,
        }
    }
}

impl App for UdpSend {
    fn poll(&mut self, stack: &mut Stack<'_>) -> Option<Instant> {
        let handle = *self
            .socket
            .get_or_insert_with(|| stack.sockets.add(socket(40_000)));
        if self.sent == self.count {
            return None;
        }
        if stack.now >= self.next {
            let mut payload = vec![0xa5; self.size];
            payload[..4].copy_from_slice(&self.sent.to_be_bytes());
            // A datagram that does not fit is lost, as on any host.
            let _ = stack
                .sockets
                .get_mut::<udp::Socket<'_>>(handle)
                .send_slice(&payload, self.to);
            self.sent += 1;
            self.next = stack.now + self.interval;
        }
        Some(self.next)
    }

    fn done(&self) -> bool {
        self.sent == self.count
    }

    fn succeeded(&self) -> bool {
        self.done()
    }

    fn tell(&self) -> String {
        format!("udp send to {}: {} of {}", self.to, self.sent, self.count)
    }
}

impl UdpReceive {
    /// Listens on `port` and is content with `at_least` different datagrams.
    #[must_use]
    pub fn new(port: u16, at_least: usize) -> Self {
        Self {
            port,
            at_least,
            seen: BTreeSet::new(),
            twice: 0,
            socket: None,
        }
    }
}

impl App for UdpReceive {
    fn poll(&mut self, stack: &mut Stack<'_>) -> Option<Instant> {
        let handle = *self
            .socket
            .get_or_insert_with(|| stack.sockets.add(socket(self.port)));
        let socket = stack.sockets.get_mut::<udp::Socket<'_>>(handle);
        while let Ok((payload, _)) = socket.recv() {
            let Some(number) = payload.first_chunk() else {
                continue;
            };
            if !self.seen.insert(u32::from_be_bytes(*number)) {
                self.twice += 1;
            }
        }
        None
    }

    fn done(&self) -> bool {
        self.seen.len() >= self.at_least
    }

    fn succeeded(&self) -> bool {
        self.done()
    }

    fn tell(&self) -> String {
        format!(
            "udp receive on {}: {} different, {} twice",
            self.port,
            self.seen.len(),
            self.twice
        )
    }
}

fn socket(port: u16) -> udp::Socket<'static> {
    let buffer =
        || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 256], vec![0; 256 * 1024]);
    let mut socket = udp::Socket::new(buffer(), buffer());
    socket.bind(port).expect("a fresh socket binds");
    socket
}
