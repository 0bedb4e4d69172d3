//! Datagrams with few hops left, and what the routers on their way say about them (traceroute).

use super::App;
use crate::host::Stack;
use pipeline::Instant;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::{icmp, udp};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Sends datagrams to one peer until an ICMP error comes back.
#[derive(Debug)]
pub struct Probe {
    from: u16,
    to: SocketAddr,
    hops: u8,
    size: usize,
    expected: Complaint,
    heard: Option<Complaint>,
    sent: u32,
    next: Instant,
    sockets: Option<(SocketHandle, SocketHandle)>,
}

/// An ICMP error, as the sender of the packet it is about gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complaint {
    /// Who says it.
    pub by: IpAddr,
    /// ICMP's type and code.
    pub what: (u8, u8),
}

/// Datagrams sent at most, one a second.
const TRIES: u32 = 5;

impl Probe {
    /// Datagrams of `size` bytes from the port `from` to `to`, with so many `hops`: content when it
    /// hears `expected`.
    #[must_use]
    pub fn new(from: u16, to: SocketAddr, hops: u8, size: usize, expected: Complaint) -> Self {
        Self {
            from,
            to,
            hops,
            size,
            expected,
            heard: None,
            sent: 0,
            next: Instant::ZERO,
            sockets: None,
        }
    }

    fn open(&self, stack: &mut Stack<'_>) -> (SocketHandle, SocketHandle) {
        let buffer =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 16 * 1024]);
        let mut sender = udp::Socket::new(buffer(), buffer());
        sender.bind(self.from).expect("a fresh socket binds");
        sender.set_hop_limit(Some(self.hops));
        let buffer =
            || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 8], vec![0; 16 * 1024]);
        let mut listener = icmp::Socket::new(buffer(), buffer());
        listener
            .bind(icmp::Endpoint::Udp(self.from.into()))
            .expect("a fresh socket binds");
        (stack.sockets.add(sender), stack.sockets.add(listener))
    }
}

impl App for Probe {
    fn poll(&mut self, stack: &mut Stack<'_>) -> Option<Instant> {
        let (sender, listener) = match self.sockets {
            Some(sockets) => sockets,
            None => *self.sockets.insert(self.open(stack)),
        };
        let listener = stack.sockets.get_mut::<icmp::Socket<'_>>(listener);
        while let Ok((message, by)) = listener.recv() {
            if let &[kind, code, ..] = message {
                let by = by.into();
                self.heard = Some(Complaint {
                    by,
                    what: (kind, code),
                });
            }
        }
        if self.done() {
            return None;
        }
        if stack.now >= self.next {
            let sender = stack.sockets.get_mut::<udp::Socket<'_>>(sender);
            let _ = sender.send_slice(&vec![0; self.size], self.to);
            self.sent += 1;
            self.next = stack.now + Duration::from_secs(1);
        }
        Some(self.next)
    }

    fn done(&self) -> bool {
        self.heard.is_some() || self.sent > TRIES
    }

    fn succeeded(&self) -> bool {
        self.heard == Some(self.expected)
    }

    fn tell(&self) -> String {
        match self.heard {
            Some(Complaint { by, what }) => {
                format!("probe of {}: {by} says {what:?}", self.to)
            }
            None => format!("probe of {}: {} sent, nothing heard", self.to, self.sent),
        }
    }
}
