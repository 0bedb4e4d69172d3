//! Many bytes through TCP, compared by a hash at the far end.

use super::App;
use crate::host::Stack;
use crate::rng::Rng;
use pipeline::Instant;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use std::net::{IpAddr, SocketAddr};

/// The bytes that are carried: `len` of them, determined by `seed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bulk {
    /// How many.
    pub len: usize,
    /// Which.
    pub seed: u64,
}

impl Bulk {
    /// The hash that the far end must come to.
    #[must_use]
    pub fn hash(self) -> u64 {
        let (mut stream, mut hash, mut left) = (Stream::new(self.seed), Hash::default(), self.len);
        let mut chunk = [0; 4096];
        while left > 0 {
            let part = &mut chunk[..left.min(4096)];
            stream.fill(part);
            hash.add(part);
            left -= part.len();
        }
        hash.0
    }
}

/// Connects, sends a [`Bulk`] and closes.
#[derive(Debug)]
pub struct TcpSend {
    to: SocketAddr,
    bulk: Bulk,
    stream: Stream,
    sent: usize,
    socket: Option<SocketHandle>,
    state: tcp::State,
}

/// Listens, receives a [`Bulk`] and closes.
#[derive(Debug)]
pub struct TcpReceive {
    port: u16,
    expected: Bulk,
    /// Who must have sent it, where that matters.
    caller: Option<IpAddr>,
    /// Who did.
    called_by: Option<IpAddr>,
    received: usize,
    hash: Hash,
    socket: Option<SocketHandle>,
    state: tcp::State,
}

/// Room of a socket in each direction.
const WINDOW: usize = 256 * 1024;

impl TcpSend {
    /// A sender of `bulk` to `to`.
    #[must_use]
    pub fn new(to: SocketAddr, bulk: Bulk) -> Self {
        Self {
            to,
            bulk,
            stream: Stream::new(bulk.seed),
            sent: 0,
            socket: None,
            state: tcp::State::Closed,
        }
    }

    fn connect(&self, stack: &mut Stack<'_>) -> SocketHandle {
        let handle = stack.sockets.add(socket());
        let local = 49_152 + u16::try_from(stack.rng.below(16_384)).expect("below 16384");
        let socket = stack.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket
            .connect(stack.interface.context(), self.to, local)
            .expect("a fresh socket connects");
        handle
    }
}

impl App for TcpSend {
    fn poll(&mut self, stack: &mut Stack<'_>) -> Option<Instant> {
        let handle = match self.socket {
            Some(handle) => handle,
            None => *self.socket.insert(self.connect(stack)),
        };
        let socket = stack.sockets.get_mut::<tcp::Socket<'_>>(handle);
        while self.sent < self.bulk.len && socket.can_send() {
            let left = self.bulk.len - self.sent;
            let stream = &mut self.stream;
            let put = socket.send(|room| {
                let count = room.len().min(left);
                stream.fill(&mut room[..count]);
                (count, count)
            });
            self.sent += put.expect("can_send said so");
        }
        if self.sent == self.bulk.len && socket.may_send() {
            socket.close();
        }
        self.state = socket.state();
        None
    }

    fn done(&self) -> bool {
        self.sent == self.bulk.len
            && matches!(self.state, tcp::State::Closed | tcp::State::TimeWait)
    }

    fn succeeded(&self) -> bool {
        self.done()
    }

    fn tell(&self) -> String {
        format!(
            "tcp send to {}: {} of {} bytes, {}",
            self.to, self.sent, self.bulk.len, self.state
        )
    }
}

impl TcpReceive {
    /// A receiver of `expected` on `port`.
    #[must_use]
    pub fn new(port: u16, expected: Bulk) -> Self {
        Self {
            port,
            expected,
            caller: None,
            called_by: None,
            received: 0,
            hash: Hash::default(),
            socket: None,
            state: tcp::State::Closed,
        }
    }

    /// Content only with a sender of this address.
    #[must_use]
    pub fn sent_by(self, caller: IpAddr) -> Self {
        Self {
            caller: Some(caller),
            ..self
        }
    }

    fn listen(&self, stack: &mut Stack<'_>) -> SocketHandle {
        let handle = stack.sockets.add(socket());
        let socket = stack.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket.listen(self.port).expect("a fresh socket listens");
        handle
    }
}

impl App for TcpReceive {
    fn poll(&mut self, stack: &mut Stack<'_>) -> Option<Instant> {
        let handle = match self.socket {
            Some(handle) => handle,
            None => *self.socket.insert(self.listen(stack)),
        };
        let socket = stack.sockets.get_mut::<tcp::Socket<'_>>(handle);
        while socket.can_recv() {
            let hash = &mut self.hash;
            let got = socket.recv(|bytes| {
                hash.add(bytes);
                (bytes.len(), bytes.len())
            });
            self.received += got.expect("can_recv said so");
        }
        if let Some(remote) = socket.remote_endpoint() {
            self.called_by = Some(remote.addr.into());
        }
        // Closed by the sender, and nothing is left to read.
        if socket.state() == tcp::State::CloseWait {
            socket.close();
        }
        self.state = socket.state();
        None
    }

    fn done(&self) -> bool {
        self.received > 0 && matches!(self.state, tcp::State::Closed | tcp::State::TimeWait)
    }

    fn succeeded(&self) -> bool {
        self.done()
            && self.received == self.expected.len
            && self.hash.0 == self.expected.hash()
            && (self.caller.is_none() || self.caller == self.called_by)
    }

    fn tell(&self) -> String {
        let verdict = if self.succeeded() {
            "intact"
        } else {
            "not intact"
        };
        let from = match (self.caller, self.called_by) {
            (Some(_), Some(by)) => format!(" from {by}"),
            (Some(_), None) | (None, _) => String::new(),
        };
        format!(
            "tcp receive on {}{from}: {} of {} bytes, hash {:016x}, {verdict}",
            self.port, self.received, self.expected.len, self.hash.0
        )
    }
}

fn socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; WINDOW]);
    let mut socket = tcp::Socket::new(buffer(), buffer());
    socket.set_congestion_control(tcp::CongestionControl::Reno);
    socket
}

/// Bytes that a seed determines, however they are cut.
#[derive(Debug)]
struct Stream {
    rng: Rng,
    word: [u8; 8],
    used: usize,
}

impl Stream {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            word: [0; 8],
            used: 8,
        }
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.used == 8 {
                (self.word, self.used) = (self.rng.next_u64().to_le_bytes(), 0);
            }
            *byte = self.word[self.used];
            self.used += 1;
        }
    }
}

/// FNV-1a, 64 bits.
#[derive(Debug)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
