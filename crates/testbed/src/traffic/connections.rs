//! Short TCP connections, one after another: what a service sees that is asked once a connection.
//!
//! Each connects, asks, is answered and is closed, by the server first, as HTTP/1.0 has it: then
//! the server keeps the closed connections (TIME-WAIT, RFC 9293 3.6.1), and a client can go through
//! its ports again and again. What stands between the two meets every port more than once.

use super::PATIENCE;
use crate::{Namespace, bind_when_free};
use anyhow::{Context, Result, anyhow, ensure};
use socket2::SockRef;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// Who connects where, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// The port that the server listens at, at every address it has; 0 for any.
    pub listen: u16,
    /// The address that the client connects to: whatever leads to the server. Port 0 is the server's own.
    pub to: SocketAddr,
    /// For how long new ones are begun.
    pub time: Duration,
    /// How many at once, 1 at least.
    pub at_once: usize,
}

/// Counts of the connections by their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionsReport {
    /// Connections made, asked, answered and closed.
    pub count: usize,
    /// Connections that were refused, broke, or stalled for [`PATIENCE`].
    pub failed: usize,
    /// Why one of these failed.
    pub why: Option<String>,
    /// From the first's begin to the last's end.
    pub elapsed: Duration,
    /// The address of the server's first client, as the server saw it.
    pub peer: Option<IpAddr>,
}

impl ConnectionsReport {
    /// Connections a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        #[expect(
            clippy::cast_precision_loss,
            reason = "a rate is shown with three digits"
        )]
        let count = self.count as f64;
        count / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }
}

/// Makes short connections from `client` to `server`.
///
/// # Errors
/// When the server cannot listen or accept. A connection that fails is counted.
pub fn tcp_connections(
    server: &Namespace,
    client: &Namespace,
    load: &Connections,
) -> Result<ConnectionsReport> {
    ensure!(
        load.at_once > 0,
        "no connection at once: at least 1 is needed"
    );
    let unspecified = match load.to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let listener = server
        .run(|| bind_when_free(|| TcpListener::bind((unspecified, load.listen))))
        .with_context(|| format!("cannot listen at port {}", load.listen))?;
    // A thread that accepts looks at `done` whenever nobody came for a while.
    SockRef::from(&listener).set_read_timeout(Some(LOOK))?;
    let mut to = load.to;
    if to.port() == 0 {
        to.set_port(listener.local_addr()?.port());
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let servers: Vec<_> = (0..load.at_once)
            .map(|_| scope.spawn(|| serve(&listener, &done)))
            .collect();
        let begin = Instant::now();
        let clients: Vec<_> = (0..load.at_once)
            .map(|_| scope.spawn(|| ask_for(client, to, load.time)))
            .collect();
        let asked: Result<Vec<ClientReport>> = clients.into_iter().map(joined).collect();
        let elapsed = begin.elapsed();
        done.store(true, Ordering::Release);
        let served: Result<Vec<Option<IpAddr>>> = servers.into_iter().map(joined).collect();
        let (asked, served) = (asked?, served?);
        Ok(ConnectionsReport {
            count: asked.iter().map(|asked| asked.count).sum(),
            failed: asked.iter().map(|asked| asked.failed).sum(),
            why: asked.into_iter().find_map(|asked| asked.why),
            elapsed,
            peer: served.into_iter().flatten().next(),
        })
    })
}

/// Answers until there is nobody left, and says who came first.
fn serve(listener: &TcpListener, done: &AtomicBool) -> Result<Option<IpAddr>> {
    let mut first = None;
    let mut message = [0; MESSAGE];
    while !done.load(Ordering::Acquire) {
        let (mut stream, peer) = match listener.accept() {
            Ok(accepted) => accepted,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                continue;
            }
            Err(error) => return Err(error).context("nobody can be accepted"),
        };
        first.get_or_insert_with(|| peer.ip().to_canonical());
        prepare(&stream)?;
        // A client that fails says so itself.
        let _ = stream
            .read_exact(&mut message)
            .and_then(|()| stream.write_all(&message));
    }
    Ok(first)
}

/// The result of one client.
#[derive(Debug, Default)]
struct ClientReport {
    count: usize,
    failed: usize,
    why: Option<String>,
}

fn ask_for(client: &Namespace, to: SocketAddr, time: Duration) -> Result<ClientReport> {
    client.enter()?;
    let begin = Instant::now();
    let mut asked = ClientReport::default();
    while begin.elapsed() < time {
        match ask(to) {
            Ok(()) => asked.count += 1,
            Err(error) => {
                asked.failed += 1;
                asked.why.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
    Ok(asked)
}

fn ask(to: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).context("cannot connect")?;
    prepare(&stream)?;
    stream
        .write_all(&[0x5a; MESSAGE])
        .context("cannot send the request")?;
    let mut answer = [0; MESSAGE];
    stream.read_exact(&mut answer).context("no answer came")?;
    ensure!(answer == [0x5a; MESSAGE], "the answer is another's");
    let more = stream.read(&mut answer).context("no end came")?;
    ensure!(more == 0, "the answer goes on");
    Ok(())
}

fn prepare(stream: &TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(())
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .unwrap_or_else(|_| Err(anyhow!("a traffic thread panicked")))
}

/// Bytes of a request and of its answer.
const MESSAGE: usize = 64;
/// How long a server waits for somebody before it looks whether it is done.
const LOOK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use crate::link;

    fn load(to: &str, time: u64) -> Connections {
        Connections {
            listen: 0,
            to: to.parse().unwrap(),
            time: Duration::from_millis(time),
            at_once: 3,
        }
    }

    #[test]
    fn connections_are_counted_and_the_server_knows_its_client() {
        let (server, client) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        link::veth(&server, "eth0", &client, "eth0").unwrap();
        link::address(&server, "eth0", "10.3.0.1/24").unwrap();
        link::address(&client, "eth0", "10.3.0.2/24").unwrap();
        let report = tcp_connections(&server, &client, &load("10.3.0.1:0", 100)).unwrap();
        assert!(report.count >= 3 && report.per_second() > 0.0, "{report:?}");
        assert_eq!((report.failed, report.why), (0, None));
        assert_eq!(report.peer, Some("10.3.0.2".parse().unwrap()));
        // The same port again, at once: its closed connections do not keep it.
        let again = Connections {
            listen: 4000,
            ..load("10.3.0.1:4000", 1)
        };
        for _ in 0..2 {
            assert!(tcp_connections(&server, &client, &again).unwrap().count >= 3);
        }
    }

    #[test]
    fn a_connection_that_is_refused_is_counted_as_such() {
        let alone = Namespace::new().unwrap();
        let report = tcp_connections(&alone, &alone, &load("127.0.0.1:1", 1)).unwrap();
        assert!(report.count == 0 && report.failed >= 3, "{report:?}");
        assert!(report.why.unwrap().contains("refused"));
    }
}
