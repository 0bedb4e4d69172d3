//! Echo requests to one host after another.

use super::App;
use crate::host::Stack;
use pipeline::Instant;
use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::icmp;
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress};
use std::net::IpAddr;
use std::time::Duration;

/// The outcome that a ping expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Everybody answers.
    All,
    /// Nobody does.
    None,
}

/// Asks each target in turn until it answers or [`TRIES`] questions went unanswered.
#[derive(Debug)]
pub struct Ping {
    from: [IpAddr; 2],
    targets: Vec<IpAddr>,
    expected: Reach,
    current: usize,
    tries: u16,
    next: Instant,
    answered: usize,
    socket: Option<SocketHandle>,
}

/// Questions to a target before it counts as silent.
pub const TRIES: u16 = 4;
const PATIENCE: Duration = Duration::from_millis(1500);
const IDENT: u16 = 0x1d;

impl Ping {
    /// Pings `targets` from a host with the addresses `from`.
    #[must_use]
    pub fn new(from: [IpAddr; 2], targets: Vec<IpAddr>, expected: Reach) -> Self {
        Self {
            from,
            targets,
            expected,
            current: 0,
            tries: 0,
            next: Instant::ZERO,
            answered: 0,
            socket: None,
        }
    }

    fn ask(&mut self, socket: &mut icmp::Socket<'_>, target: IpAddr) {
        let seq_no = u16::try_from(self.current).unwrap_or(u16::MAX);
        let data = b"clearway";
        let checksums = ChecksumCapabilities::default();
        // Refused when the last question still waits for a neighbour: it was a question too.
        let _ = match target {
            IpAddr::V4(_) => {
                let echo = Icmpv4Repr::EchoRequest {
                    ident: IDENT,
                    seq_no,
                    data,
                };
                socket
                    .send(echo.buffer_len(), target.into())
                    .map(|room| echo.emit(&mut Icmpv4Packet::new_unchecked(room), &checksums))
            }
            IpAddr::V6(to) => {
                let IpAddr::V6(from) = self.from[1] else {
                    return;
                };
                let echo = Icmpv6Repr::EchoRequest {
                    ident: IDENT,
                    seq_no,
                    data,
                };
                socket.send(echo.buffer_len(), target.into()).map(|room| {
                    let packet = &mut Icmpv6Packet::new_unchecked(room);
                    echo.emit(&from, &to, packet, &checksums);
                })
            }
        };
        self.tries += 1;
    }

    fn advance(&mut self, now: Instant) {
        (self.current, self.tries, self.next) = (self.current + 1, 0, now);
    }
}

impl App for Ping {
    fn poll(&mut self, stack: &mut Stack<'_>) -> Option<Instant> {
        let handle = *self
            .socket
            .get_or_insert_with(|| stack.sockets.add(socket()));
        let now = stack.now;
        let socket = stack.sockets.get_mut::<icmp::Socket<'_>>(handle);
        while let Ok((message, from)) = socket.recv() {
            let asked = self
                .targets
                .get(self.current)
                .is_some_and(|&t| IpAddress::from(t) == from);
            if asked && is_echo_reply(message, from) && self.tries > 0 {
                self.answered += 1;
                self.advance(now);
            }
        }
        if self.tries == TRIES && now >= self.next {
            self.advance(now);
        }
        let &target = self.targets.get(self.current)?;
        if now >= self.next {
            self.ask(socket, target);
            self.next = now + PATIENCE;
        }
        Some(self.next)
    }

    fn done(&self) -> bool {
        self.current >= self.targets.len()
    }

    fn succeeded(&self) -> bool {
        let expected = match self.expected {
            Reach::All => self.targets.len(),
            Reach::None => 0,
        };
        self.done() && self.answered == expected
    }

    fn tell(&self) -> String {
        format!("ping: {} of {} answered", self.answered, self.targets.len())
    }
}

fn is_echo_reply(message: &[u8], from: IpAddress) -> bool {
    match from {
        IpAddress::Ipv4(_) => message.first() == Some(&0),
        IpAddress::Ipv6(_) => message.first() == Some(&129),
    }
}

fn socket() -> icmp::Socket<'static> {
    let buffer = || icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 8], vec![0; 1024]);
    let mut socket = icmp::Socket::new(buffer(), buffer());
    socket
        .bind(icmp::Endpoint::Ident(IDENT))
        .expect("a fresh socket binds");
    socket
}
