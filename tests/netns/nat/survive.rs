//! Connections outlive the daemon, whether it was killed or asked to stop.

use super::line::Line;
use super::talk::connect;
use super::{HOST, Outside, WORLD, at};
use crate::fixture::SOON;
use api::{Filter, NatState};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use testbed::{Namespace, bind_when_free, wait_until};

const MIB: u64 = 1 << 20;

/// A TCP connection whose client sends without a pause, and whose server looks at every byte.
struct Stream {
    wanted: Arc<AtomicBool>,
    /// Bytes that arrived.
    arrived: Arc<AtomicU64>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<u64>,
}

impl Stream {
    /// From `client` to `port` of `server`, which it knows as `to`.
    fn open(server: (&Namespace, u16), client: &Namespace, to: SocketAddr) -> Self {
        let (ns, port) = server;
        let any: IpAddr = Ipv6Addr::UNSPECIFIED.into();
        let listener = ns.run(|| bind_when_free(|| TcpListener::bind((any, port))).unwrap());
        let client = connect(client, to).unwrap();
        let (server, _) = listener.accept().unwrap();
        let (wanted, arrived) = (Arc::new(AtomicBool::new(true)), Arc::default());
        let (flag, count) = (Arc::clone(&wanted), Arc::clone(&arrived));
        Self {
            wanted,
            arrived,
            sender: std::thread::spawn(move || send(client, &flag)),
            receiver: std::thread::spawn(move || receive(server, &count)),
        }
    }

    /// Waits until so much more has arrived.
    fn goes_on(&self, bytes: u64) {
        let goal = self.arrived.load(Relaxed) + bytes;
        wait_until("bytes that arrive", SOON, || {
            self.arrived.load(Relaxed) >= goal
        })
        .unwrap();
    }

    /// Ends it, and fails unless all that was sent has arrived.
    fn end(self) {
        self.wanted.store(false, Relaxed);
        assert_eq!(self.sender.join().unwrap(), self.receiver.join().unwrap());
    }
}

/// The byte at a place of a stream; the numbers around it tell that none is missing.
fn byte(place: u64) -> u8 {
    u8::try_from(place % 251).unwrap()
}

fn send(mut stream: TcpStream, wanted: &AtomicBool) -> u64 {
    let mut sent = 0;
    while wanted.load(Relaxed) {
        let chunk: Vec<u8> = (sent..sent + 8192).map(byte).collect();
        stream.write_all(&chunk).unwrap();
        sent += 8192;
    }
    sent
}

fn receive(mut stream: TcpStream, arrived: &AtomicU64) -> u64 {
    let mut chunk = [0; 65536];
    loop {
        let from = arrived.load(Relaxed);
        let len = stream.read(&mut chunk).unwrap();
        if len == 0 {
            return from;
        }
        let sound = (from..)
            .zip(&chunk[..len])
            .all(|(place, got)| *got == byte(place));
        assert!(sound, "another byte than was sent, behind {from}");
        arrived.store(from + len as u64, Relaxed);
    }
}

impl Outside {
    /// Waits until the daemon has written down what there is now.
    fn remembered(&self) {
        let file = self.clearway.dir.path().join("state/connections");
        let modified = || std::fs::metadata(&file).and_then(|of| of.modified()).ok();
        let before = modified();
        wait_until("connections written down", SOON, || modified() > before).unwrap();
    }

    fn end(&mut self, signal: Signal) {
        self.clearway.daemon.signal(signal).unwrap();
        self.clearway.daemon.wait_within(SOON).unwrap();
    }

    /// Fails unless the connections to `port` are listed, one of each IP version.
    fn lists(&self, port: u16) {
        let all = self.clearway.client().nat(&Filter::default()).unwrap();
        let listed = all.iter().filter(|entry| {
            entry.original.dst.port() == port && entry.state == NatState::Established
        });
        assert_eq!(listed.count(), 2, "port {port}: {all:?}");
    }
}

#[test]
fn streams_go_on_when_the_daemon_was_killed() {
    let mut outside = Outside::with_uplink();
    let (web, container) = outside.web();
    let shop = outside.container(&web, "shop");
    outside.publish("8080:shop:80");
    let out = WORLD.map(|world| {
        let server = (&outside.world, 7000);
        Stream::open(server, &container.ns, at(world, 7000))
    });
    let back = HOST.map(|host| Stream::open((&shop.ns, 80), &outside.world, at(host, 8080)));
    let streams: Vec<_> = out.into_iter().chain(back).collect();
    for stream in &streams {
        stream.goes_on(4 * MIB);
    }
    outside.remembered();
    // More than a window, so that nothing of what was written down is where they are.
    for stream in &streams {
        stream.goes_on(16 * MIB);
    }
    for _ in 0..2 {
        outside.end(Signal::SIGKILL);
        outside.clearway.restart();
        for stream in &streams {
            stream.goes_on(16 * MIB);
        }
    }
    for port in [7000, 8080] {
        outside.lists(port);
    }
    for stream in streams {
        stream.end();
    }
}

#[test]
fn a_connection_that_is_silent_meanwhile_outlives_a_clean_stop() {
    let mut outside = Outside::with_uplink();
    let (web, container) = outside.web();
    let shop = outside.container(&web, "shop");
    outside.publish("8080:shop:80");
    let out = WORLD.map(|world| {
        let server = (&outside.world, 7000);
        Line::open(server, &container.ns, at(world, 7000))
    });
    let back = HOST.map(|host| Line::open((&shop.ns, 80), &outside.world, at(host, 8080)));
    for _ in 0..2 {
        outside.end(Signal::SIGTERM);
        outside.clearway.restart();
        for port in [7000, 8080] {
            outside.lists(port);
        }
        for line in out.iter().chain(&back) {
            line.carries();
        }
    }
}
