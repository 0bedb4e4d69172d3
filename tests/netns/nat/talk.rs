//! Servers that tell every client which address it has, and clients that ask.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use testbed::traffic::{Ping, ping};
use testbed::{Namespace, bind_when_free};

/// How long a client waits before it holds that nobody answers.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How often a server looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

/// A server that tells its clients who they are to it, over TCP and UDP, IPv4 and IPv6. It ends
/// when it is dropped.
pub(crate) struct Teller {
    port: u16,
    wanted: Arc<AtomicBool>,
    /// Streams that were accepted.
    served: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Teller {
    /// At `port` of every address in `ns`.
    pub(crate) fn start(ns: &Namespace, port: u16) -> Self {
        Self::start_at(ns, SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port))
    }

    /// At one address: it answers datagrams from there, whatever way they came.
    pub(crate) fn start_at(ns: &Namespace, at: SocketAddr) -> Self {
        let (tcp, udp) = ns.run(|| {
            let udp = bind_when_free(|| UdpSocket::bind(at)).unwrap();
            (bind_when_free(|| TcpListener::bind(at)).unwrap(), udp)
        });
        let port = at.port();
        tcp.set_nonblocking(true).unwrap();
        udp.set_read_timeout(Some(LOOK)).unwrap();
        let wanted = Arc::new(AtomicBool::new(true));
        let flags = [Arc::clone(&wanted), Arc::clone(&wanted)];
        let [for_tcp, for_udp] = flags;
        let served = Arc::default();
        let count = Arc::clone(&served);
        let threads = vec![
            std::thread::spawn(move || tell_streams(&tcp, &for_tcp, &count)),
            std::thread::spawn(move || tell_datagrams(&udp, &for_udp)),
        ];
        Self {
            port,
            wanted,
            served,
            threads,
        }
    }

    /// Returns how many streams it has told.
    pub(crate) fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Bytes of a page.
    pub(crate) const PAGE: usize = 1_000_000;

    /// One that answers HTTP with a page, instead.
    pub(crate) fn pages(ns: &Namespace, port: u16) -> Self {
        let at = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
        let tcp = ns.run(|| bind_when_free(|| TcpListener::bind(at))).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let wanted = Arc::new(AtomicBool::new(true));
        let flag = Arc::clone(&wanted);
        let serve = move || each_stream(&tcp, &flag, |stream, _| page(stream));
        Self {
            port,
            wanted,
            served: Arc::default(),
            threads: vec![std::thread::spawn(serve)],
        }
    }

    pub(crate) fn at(&self, ip: IpAddr) -> SocketAddr {
        SocketAddr::new(ip, self.port)
    }
}

fn page(stream: &mut TcpStream) -> io::Result<()> {
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        asked.extend(byte);
    }
    let length = Teller::PAGE;
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&vec![b'x'; length])
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A server that panicked has failed its client's test already.
            let _ = thread.join();
        }
    }
}

fn tell_streams(tcp: &TcpListener, wanted: &AtomicBool, served: &AtomicUsize) {
    each_stream(tcp, wanted, |stream, from| {
        served.fetch_add(1, Ordering::Relaxed);
        stream.write_all(canonical(from).to_string().as_bytes())
    });
}

/// What breaks a connection is its client's to tell.
fn each_stream(
    tcp: &TcpListener,
    wanted: &AtomicBool,
    serve: impl Fn(&mut TcpStream, SocketAddr) -> io::Result<()>,
) {
    while wanted.load(Ordering::Relaxed) {
        let Ok((mut stream, from)) = tcp.accept() else {
            std::thread::park_timeout(Duration::from_millis(2));
            continue;
        };
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_read_timeout(Some(PATIENCE));
        let _ = serve(&mut stream, from);
    }
}

fn tell_datagrams(udp: &UdpSocket, wanted: &AtomicBool) {
    while wanted.load(Ordering::Relaxed) {
        if let Ok((_, from)) = udp.recv_from(&mut [0; 64]) {
            let _ = udp.send_to(canonical(from).to_string().as_bytes(), from);
        }
    }
}

fn canonical(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}

/// Returns what the [`Teller`] at `to` says over TCP.
pub(crate) fn ask_tcp(from: &Namespace, to: SocketAddr) -> io::Result<SocketAddr> {
    let mut stream = connect(from, to)?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    said.parse()
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, format!("`{said}`")))
}

/// A TCP connection that waits for what is read.
pub(crate) fn connect(from: &Namespace, to: SocketAddr) -> io::Result<TcpStream> {
    let stream = from.run(|| TcpStream::connect_timeout(&to, PATIENCE))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Returns what the [`Teller`] at `to` says over UDP.
pub(crate) fn ask_udp(from: &Namespace, to: SocketAddr) -> io::Result<SocketAddr> {
    let socket = udp(from, to.ip(), 0);
    socket.connect(to)?;
    ask_from(&socket)
}

/// Returns what is said to a socket that is connected.
pub(crate) fn ask_from(socket: &UdpSocket) -> io::Result<SocketAddr> {
    let mut said = [0; 64];
    socket.send(b"?")?;
    let len = socket.recv(&mut said)?;
    let said = String::from_utf8_lossy(&said[..len]);
    said.parse()
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, format!("`{said}`")))
}

/// A UDP socket of the family of `like`.
pub(crate) fn udp(ns: &Namespace, like: IpAddr, port: u16) -> UdpSocket {
    let any: IpAddr = match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = ns
        .run(|| bind_when_free(|| UdpSocket::bind((any, port))))
        .unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// How long a client waits for what must not come.
const SILENCE: Duration = Duration::from_millis(400);

/// Fails unless nothing at all answers a SYN to `to`: neither a SYN nor a RST nor ICMP.
pub(crate) fn is_silent(from: &Namespace, to: SocketAddr) {
    let tried = from.run(|| TcpStream::connect_timeout(&to, SILENCE));
    let why = tried.map(|_| ()).unwrap_err();
    assert_eq!(why.kind(), ErrorKind::TimedOut, "{to}: {why}");
}

/// Fails unless nothing at all answers a datagram to `to`: neither a datagram nor ICMP.
pub(crate) fn is_mute(from: &Namespace, to: SocketAddr) {
    let socket = udp(from, to.ip(), 0);
    socket.connect(to).unwrap();
    hears_nothing(&socket);
}

/// Fails unless nothing answers what is said to a socket that is connected.
pub(crate) fn hears_nothing(socket: &UdpSocket) {
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let why = ask_from(socket).unwrap_err();
    assert_eq!(why.kind(), ErrorKind::WouldBlock, "{socket:?}: {why}");
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
}

/// Fails if a ping of `ip` is answered.
pub(crate) fn is_deaf(from: &Namespace, ip: IpAddr) {
    let once = Ping {
        count: 1,
        timeout: SILENCE,
        ..Ping::new(ip)
    };
    assert_eq!(ping(from, &once).unwrap().received, 0, "{ip}");
}

/// Fails unless a connection to `to` is refused.
pub(crate) fn is_refused(from: &Namespace, to: SocketAddr) {
    let why = connect(from, to).map(|_| ()).unwrap_err();
    assert_eq!(why.kind(), ErrorKind::ConnectionRefused, "{to}: {why}");
}
