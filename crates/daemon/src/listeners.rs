//! Published ports on the host itself.
//!
//! What comes from outside to a published port is taken off the NIC and never gets here. What the
//! host sends to itself (127.0.0.1, ::1, its own addresses) crosses no NIC: a listener takes it and
//! relays it to the container through the host's port. The same listener keeps other programs off
//! the port, and finds out at once when one has it already. A host without an uplink is reached
//! through it from outside as well, then with the host's address as the source.
//!
//! A listener is a socket and a task; a range is as many. Of several backends each gets a connection
//! in turn, and one that goes takes no listener with it. Datagrams keep their boundaries: each
//! client has a socket of its own towards the container, forgotten when it is silent. SCTP is not
//! relayed: it is published to the outside alone.
//!
//! An aborted task drops its socket when the runtime comes to it, and until then the port would
//! take connections that nobody serves. So a task only borrows its socket, and whoever drops the
//! [`Listeners`] closes it there and then.

use nat::{Publication, TransportAddr};
use socket2::SockRef;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use wire::IpProtocol;

/// The listeners of one publication. Dropping it closes them before it returns; connections that
/// were relayed end soon after.
#[derive(Debug)]
pub(crate) struct Listeners {
    open: BTreeMap<(u8, SocketAddr), (Bound, AbortHandle)>,
    /// Whether one socket serves both IP versions.
    both: bool,
    /// Where they lead.
    to: Vec<Publication>,
}

/// Why a port is not ours.
#[derive(Debug, thiserror::Error)]
#[error("port {}/{} of this host at {} cannot be listened to: {error}", .at.port(), .protocol.title(), .at.ip())]
pub(crate) struct Taken {
    protocol: IpProtocol,
    at: SocketAddr,
    error: io::Error,
}

/// Datagrams' clients of one port at once.
const MAX_CLIENTS: usize = 1024;
/// After this long without an answer a client's socket is closed (RFC 4787 REQ-5).
const SILENCE: Duration = Duration::from_secs(300);
/// How long a container may take to accept.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest datagram.
const DATAGRAM: usize = 65_535;

impl Listeners {
    /// Listens at every port of `publications`, or at none.
    ///
    /// # Errors
    /// [`Taken`]: the first port that another program has.
    pub(crate) fn open(runtime: &Handle, publications: &[Publication]) -> Result<Self, Taken> {
        // One socket for both IP versions where both are published everywhere.
        let both = [true, false].iter().all(|&v4| {
            let mut everywhere = publications.iter().filter(|p| p.host.is_none());
            everywhere.any(|p| p.to.addr.ip.is_ipv4() == v4)
        });
        let bind = |(at, to): ((u8, SocketAddr), Targets)| {
            let bound = Bound::new(runtime, IpProtocol(at.0), at.1, to)?;
            Ok(bound.map(|bound| (at, bound)))
        };
        let wanted = targets(publications, both).into_iter();
        let bound: Vec<_> = wanted.map(bind).collect::<Result<_, _>>()?;
        let served = bound.into_iter().flatten().map(|(at, bound)| {
            let task = bound.serve(runtime);
            (at, (bound, task))
        });
        Ok(Self {
            open: served.collect(),
            both,
            to: publications.to_vec(),
        })
    }

    /// Lets what comes from now on go to the backends of `publications`, at the same ports.
    pub(crate) fn lead_to(&mut self, publications: &[Publication]) {
        if self.to == publications {
            return;
        }
        publications.clone_into(&mut self.to);
        let mut wanted = targets(publications, self.both);
        for (at, (bound, _)) in &self.open {
            bound.turns().set(wanted.remove(at).unwrap_or_default());
        }
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        for (bound, task) in self.open.values() {
            bound.close();
            task.abort();
        }
    }
}

/// Returns where what comes to each port goes.
fn targets(publications: &[Publication], both: bool) -> BTreeMap<(u8, SocketAddr), Targets> {
    let mut all: BTreeMap<_, Targets> = BTreeMap::new();
    for publication in publications {
        for port in publication.ports.iter() {
            let v4 = publication.to.addr.ip.is_ipv4() && !both;
            let host = publication.host.unwrap_or_else(|| unspecified(v4));
            let at = (publication.protocol.0, SocketAddr::new(host, port));
            all.entry(at).or_default().add(target(publication, port));
        }
    }
    all
}

/// Where what comes to a port goes, by the client's IP version: the next one is the first.
#[derive(Debug, Default)]
struct Targets {
    v4: VecDeque<SocketAddr>,
    v6: VecDeque<SocketAddr>,
}

impl Targets {
    fn add(&mut self, to: SocketAddr) {
        if to.is_ipv4() {
            self.v4.push_back(to);
        } else {
            self.v6.push_back(to);
        }
    }

    /// A client of the other version is served all the same: it is a relay.
    fn next(&mut self, client: SocketAddr) -> Option<SocketAddr> {
        let is_v4 = client.ip().to_canonical().is_ipv4();
        let all = if self.v6.is_empty() || is_v4 && !self.v4.is_empty() {
            &mut self.v4
        } else {
            &mut self.v6
        };
        let next = all.pop_front()?;
        all.push_back(next);
        Some(next)
    }

    fn is_both(&self) -> bool {
        !self.v4.is_empty() && !self.v6.is_empty()
    }
}

/// The targets of a port, which change while its listener runs.
#[derive(Debug, Clone)]
struct Turns(Arc<Mutex<Targets>>);

impl Turns {
    fn next(&self, client: SocketAddr) -> Option<SocketAddr> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next(client)
    }

    fn set(&self, targets: Targets) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = targets;
    }
}

fn unspecified(ipv4: bool) -> IpAddr {
    if ipv4 {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    }
}

fn target(publication: &Publication, port: u16) -> SocketAddr {
    let TransportAddr { ip, port: first } = publication.to.addr;
    SocketAddr::new(ip, first + (port - publication.ports.first()))
}

/// A socket that has its port, and where what comes to it goes.
#[derive(Debug)]
enum Bound {
    Stream(Lent<TcpListener>, Turns),
    Datagrams(Lent<UdpSocket>, Turns),
}

/// A socket that can be closed while tasks wait for it.
#[derive(Debug)]
struct Lent<S>(Arc<Mutex<Option<S>>>);

impl<S> Clone for Lent<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> Lent<S> {
    fn new(socket: S) -> Self {
        Self(Arc::new(Mutex::new(Some(socket))))
    }

    fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Waits for the socket as `poll` does; nothing once it is closed.
    async fn wait<T>(
        &self,
        mut poll: impl FnMut(&S, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Option<io::Result<T>> {
        let poll = |context: &mut Context<'_>| match self.with(|socket| poll(socket, context)) {
            Some(polled) => polled.map(Some),
            None => Poll::Ready(None),
        };
        std::future::poll_fn(poll).await
    }

    fn with<T>(&self, work: impl FnOnce(&S) -> T) -> Option<T> {
        let lent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lent.as_ref().map(work)
    }
}

impl Bound {
    fn new(
        runtime: &Handle,
        protocol: IpProtocol,
        at: SocketAddr,
        to: Targets,
    ) -> Result<Option<Self>, Taken> {
        let _in_runtime = runtime.enter();
        let both = to.is_both();
        let turns = Turns(Arc::new(Mutex::new(to)));
        let bound = match protocol {
            IpProtocol::TCP => {
                bind_stream(at, both).map(|socket| Self::Stream(Lent::new(socket), turns))
            }
            IpProtocol::UDP => {
                bind_datagrams(at, both).map(|socket| Self::Datagrams(Lent::new(socket), turns))
            }
            _ => return Ok(None),
        };
        bound.map(Some).map_err(|error| Taken {
            protocol,
            at,
            error,
        })
    }

    fn serve(&self, runtime: &Handle) -> AbortHandle {
        let task = match self {
            Self::Stream(socket, to) => runtime.spawn(relay_streams(socket.clone(), to.clone())),
            Self::Datagrams(socket, to) => {
                runtime.spawn(relay_datagrams(socket.clone(), to.clone()))
            }
        };
        task.abort_handle()
    }

    const fn turns(&self) -> &Turns {
        match self {
            Self::Stream(_, turns) | Self::Datagrams(_, turns) => turns,
        }
    }

    fn close(&self) {
        match self {
            Self::Stream(socket, _) => {
                // A process that is being forked has a copy until it executes its program.
                let _ = socket.with(|listener| SockRef::from(listener).shutdown(Shutdown::Both));
                socket.close();
            }
            Self::Datagrams(socket, _) => socket.close(),
        }
    }
}

fn bind_stream(at: SocketAddr, both: bool) -> io::Result<TcpListener> {
    let socket = new_socket(at, both, socket2::Type::STREAM)?;
    // A port whose last connections linger is no other program's.
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(128)?;
    TcpListener::from_std(socket.into())
}

fn bind_datagrams(at: SocketAddr, both: bool) -> io::Result<UdpSocket> {
    let socket = new_socket(at, both, socket2::Type::DGRAM)?;
    socket.bind(&at.into())?;
    UdpSocket::from_std(socket.into())
}

fn new_socket(at: SocketAddr, both: bool, kind: socket2::Type) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(at), kind, None)?;
    socket.set_nonblocking(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(!both)?;
    }
    Ok(socket)
}

async fn relay_streams(listener: Lent<TcpListener>, to: Turns) {
    let mut relays = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.wait(TcpListener::poll_accept) => match accepted {
                None => return,
                Some(Ok((client, from))) => {
                    if let Some(to) = to.next(from) {
                        relays.spawn(relay_stream(client, to));
                    }
                }
                // Out of descriptors: whoever waits gets its turn when one is free.
                Some(Err(error)) => {
                    tracing::warn!(?to, %error, "cannot accept");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = relays.join_next() => {}
        }
    }
}

async fn relay_stream(mut client: TcpStream, to: SocketAddr) {
    let Ok(Ok(mut container)) = timeout(PATIENCE, TcpStream::connect(to)).await else {
        // Closed with what was sent unread: the client sees a reset, as from a closed port.
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = container.set_nodelay(true);
    // Either side may end it in its own way.
    let _ = tokio::io::copy_bidirectional(&mut client, &mut container).await;
}

async fn relay_datagrams(listener: Lent<UdpSocket>, to: Turns) {
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut datagram = vec![0; DATAGRAM];
    loop {
        tokio::select! {
            received = listener.wait(|listener, context| {
                let mut room = ReadBuf::new(&mut datagram);
                let from = ready!(listener.poll_recv_from(context, &mut room))?;
                Poll::Ready(Ok((room.filled().len(), from)))
            }) => {
                let Some(received) = received else { return };
                let Ok((len, client)) = received else { continue };
                let socket = match clients.get(&client) {
                    Some(socket) => Arc::clone(socket),
                    None if clients.len() >= MAX_CLIENTS => continue,
                    None => {
                        let Some(to) = to.next(client) else { continue };
                        let Ok(socket) = connect(to).await else { continue };
                        let socket = Arc::new(socket);
                        clients.insert(client, Arc::clone(&socket));
                        answers.spawn(relay_answers(listener.clone(), Arc::clone(&socket), client));
                        socket
                    }
                };
                // A container that does not listen says so by ICMP, which the next call reports.
                let _ = socket.send(&datagram[..len]).await;
            }
            Some(done) = answers.join_next() => {
                if let Ok(client) = done {
                    clients.remove(&client);
                }
            }
        }
    }
}

async fn connect(to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((unspecified(to.is_ipv4()), 0)).await?;
    socket.connect(to).await?;
    Ok(socket)
}

/// Carries a container's answers to `client` until it is silent; answers who that was.
async fn relay_answers(
    listener: Lent<UdpSocket>,
    container: Arc<UdpSocket>,
    client: SocketAddr,
) -> SocketAddr {
    let mut datagram = vec![0; DATAGRAM];
    while let Ok(Ok(len)) = timeout(SILENCE, container.recv(&mut datagram)).await {
        // What the socket has no room for is lost, as in any queue.
        let _ = listener.with(|listener| listener.try_send_to(&datagram[..len], client));
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;
    use nat::{Inside, PortRange};
    use pipeline::NetworkId;
    use std::os::fd::AsFd as _;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    /// A port nobody has at the moment.
    fn free_port() -> u16 {
        let socket = std::net::TcpListener::bind((LOCAL, 0)).unwrap();
        socket.local_addr().unwrap().port()
    }

    fn publication(protocol: IpProtocol, port: u16, to: SocketAddr) -> Publication {
        Publication {
            protocol,
            host: Some(LOCAL),
            ports: PortRange::new(port, port).unwrap(),
            to: Inside {
                network: NetworkId(0),
                addr: TransportAddr::new(to.ip(), to.port()),
            },
        }
    }

    #[tokio::test]
    async fn a_stream_is_relayed_both_ways_to_its_end() {
        let container = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let to = container.local_addr().unwrap();
        let port = free_port();
        let published = publication(IpProtocol::TCP, port, to);
        let _open = Listeners::open(&Handle::current(), &[published]).unwrap();
        let mut client = TcpStream::connect((LOCAL, port)).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut inside, _) = container.accept().await.unwrap();
        let mut heard = String::new();
        inside.read_to_string(&mut heard).await.unwrap();
        inside.write_all(b"and back").await.unwrap();
        drop(inside);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!((heard.as_str(), answer.as_str()), ("hello", "and back"));
    }

    #[tokio::test]
    async fn datagrams_of_two_clients_find_their_way_back() {
        let container = UdpSocket::bind((LOCAL, 0)).await.unwrap();
        let to = container.local_addr().unwrap();
        let port = free_port();
        let published = publication(IpProtocol::UDP, port, to);
        let _open = Listeners::open(&Handle::current(), &[published]).unwrap();
        let clients = [
            UdpSocket::bind((LOCAL, 0)).await.unwrap(),
            UdpSocket::bind((LOCAL, 0)).await.unwrap(),
        ];
        let mut room = [0; 16];
        for (client, word) in clients.iter().zip([b"one", b"two"]) {
            client.send_to(word, (LOCAL, port)).await.unwrap();
            let (len, from) = container.recv_from(&mut room).await.unwrap();
            container.send_to(&room[..len], from).await.unwrap();
            let (len, _) = client.recv_from(&mut room).await.unwrap();
            assert_eq!(&room[..len], word);
        }
    }

    #[tokio::test]
    async fn backends_take_turns_and_the_listener_outlives_one() {
        let backends = [
            TcpListener::bind((LOCAL, 0)).await.unwrap(),
            TcpListener::bind((LOCAL, 0)).await.unwrap(),
        ];
        let port = free_port();
        let published = backends
            .each_ref()
            .map(|backend| publication(IpProtocol::TCP, port, backend.local_addr().unwrap()));
        let mut open = Listeners::open(&Handle::current(), &published).unwrap();
        let mut clients = Vec::new();
        for turn in [0, 1, 0, 1] {
            clients.push(TcpStream::connect((LOCAL, port)).await.unwrap());
            backends[turn].accept().await.unwrap();
        }
        open.lead_to(&published[1..]);
        for _ in 0..2 {
            clients.push(TcpStream::connect((LOCAL, port)).await.unwrap());
            backends[1].accept().await.unwrap();
        }
        open.lead_to(&[]);
        let mut refused = TcpStream::connect((LOCAL, port)).await.unwrap();
        assert_eq!(refused.read(&mut [0]).await.unwrap(), 0, "nobody serves it");
    }

    /// On one thread no task runs between the drop and the question.
    #[tokio::test]
    async fn what_is_dropped_is_closed_at_once() {
        let to = SocketAddr::new(LOCAL, 9);
        let port = free_port();
        let both = [IpProtocol::TCP, IpProtocol::UDP].map(|p| publication(p, port, to));
        let open = Listeners::open(&Handle::current(), &both).unwrap();
        // The tasks wait for their sockets.
        tokio::task::yield_now().await;
        assert!(std::net::UdpSocket::bind((LOCAL, port)).is_err());
        drop(open);
        assert!(std::net::TcpStream::connect((LOCAL, port)).is_err());
        assert!(std::net::TcpListener::bind((LOCAL, port)).is_ok());
        assert!(std::net::UdpSocket::bind((LOCAL, port)).is_ok());
    }

    /// As in the time between `fork` and `exec` of another thread.
    #[tokio::test]
    async fn a_copy_of_its_descriptor_does_not_keep_a_port() {
        let published = publication(IpProtocol::TCP, free_port(), SocketAddr::new(LOCAL, 9));
        let open = Listeners::open(&Handle::current(), &[published]).unwrap();
        let Some((Bound::Stream(listener, _), _)) = open.open.values().next() else {
            panic!("TCP is a stream");
        };
        let copy = listener.with(|listener| listener.as_fd().try_clone_to_owned());
        drop(open);
        assert!(Listeners::open(&Handle::current(), &[published]).is_ok());
        drop(copy);
    }

    #[tokio::test]
    async fn a_taken_port_is_named_and_nothing_is_left_open() {
        let other = std::net::TcpListener::bind((LOCAL, 0)).unwrap();
        let taken = other.local_addr().unwrap().port();
        let to = SocketAddr::new(LOCAL, 9);
        let free = free_port();
        let both = [
            publication(IpProtocol::TCP, free, to),
            publication(IpProtocol::TCP, taken, to),
        ];
        let error = Listeners::open(&Handle::current(), &both).unwrap_err();
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
        assert!(std::net::TcpListener::bind((LOCAL, free)).is_ok());
    }
}
