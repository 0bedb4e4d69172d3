//! A DNS server in the world: it knows one zone, counts what it is asked, and can fall silent.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use testbed::{Namespace, bind_when_free};

/// A server that answers for every name below `example.com` with one address. It ends when it is
/// dropped.
pub(super) struct Resolver {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    asked: AtomicU64,
    silent: AtomicBool,
    unwanted: AtomicBool,
}

impl Resolver {
    /// The TTL of its answers, in seconds.
    pub(super) const TTL: u32 = 300;

    /// At port 53 of `at`, answering with `address`.
    pub(super) fn start(ns: &Namespace, at: IpAddr, address: Ipv4Addr) -> Self {
        let socket = ns
            .run(|| bind_when_free(|| UdpSocket::bind((at, 53))))
            .unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(&socket, &of_thread, address));
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Questions so far, answered or not.
    pub(super) fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::Relaxed)
    }

    /// From now on nothing is answered.
    pub(super) fn fall_silent(&self) {
        self.shared.silent.store(true, Ordering::Relaxed);
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.shared.unwanted.store(true, Ordering::Relaxed);
        // A server that panicked has failed its client's test already.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn serve(socket: &UdpSocket, shared: &Shared, address: Ipv4Addr) {
    let mut question = [0; 512];
    while !shared.unwanted.load(Ordering::Relaxed) {
        let Ok((len, from)) = socket.recv_from(&mut question) else {
            continue;
        };
        shared.asked.fetch_add(1, Ordering::Relaxed);
        if !shared.silent.load(Ordering::Relaxed) {
            let answer = answer(&question[..len], address);
            socket.send_to(&answer, from).unwrap();
        }
    }
}

/// The header and the question come back; what follows the question (EDNS) does not.
fn answer(message: &[u8], address: Ipv4Addr) -> Vec<u8> {
    const HEADER: usize = 12;
    let (mut end, mut labels) = (HEADER, Vec::new());
    while message[end] != 0 {
        let next = end + 1 + usize::from(message[end]);
        let label = String::from_utf8_lossy(&message[end + 1..next]);
        labels.push(label.to_ascii_lowercase());
        end = next;
    }
    end += 1;
    let kind = u16::from_be_bytes([message[end], message[end + 1]]);
    end += 4;
    let known = labels.ends_with(&["example".to_owned(), "com".to_owned()]);
    let records = u16::from(known && kind == 1); // A (RFC 1035, 3.2.2)
    // RFC 1035, 4.1.1: a response, recursion desired and available; NXDOMAIN is code 3.
    let flags = if known { [0x81, 0x80] } else { [0x81, 0x83] };
    let mut answer = [
        &message[..2],
        &flags,
        &[0, 1],
        &records.to_be_bytes(),
        &[0; 4],
    ]
    .concat();
    answer.extend_from_slice(&message[HEADER..end]);
    if records == 1 {
        // RFC 1035, 4.1.3 and 4.1.4: the name that was asked for, A, IN.
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
        answer.extend_from_slice(&Resolver::TTL.to_be_bytes());
        answer.extend_from_slice(&[0, 4]);
        answer.extend_from_slice(&address.octets());
    }
    answer
}
