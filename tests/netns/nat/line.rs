//! A TCP connection that stands, and whether it still carries.

use super::talk::connect;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;
use testbed::{Namespace, bind_when_free};

/// Both ends of a connection.
pub(crate) struct Line {
    client: TcpStream,
    server: TcpStream,
    /// The client, as the server sees it.
    pub(crate) seen: SocketAddr,
}

/// How long a word may take where it is to arrive.
const ARRIVES: Duration = Duration::from_secs(5);
/// How long is waited for one that must not: TCP has sent it twice again by then.
const LOST: Duration = Duration::from_millis(700);

impl Line {
    /// From `client` to `port` of `server`, which it knows as `to`.
    pub(crate) fn open(server: (&Namespace, u16), client: &Namespace, to: SocketAddr) -> Self {
        let (ns, port) = server;
        let any: IpAddr = Ipv6Addr::UNSPECIFIED.into();
        let listener = ns.run(|| bind_when_free(|| TcpListener::bind((any, port))).unwrap());
        let client = connect(client, to).unwrap_or_else(|why| panic!("to {to}: {why}"));
        let (server, seen) = listener.accept().unwrap();
        let line = Self {
            client,
            server,
            seen: SocketAddr::new(seen.ip().to_canonical(), seen.port()),
        };
        line.carries();
        line
    }

    /// The client's own address.
    pub(crate) fn caller(&self) -> SocketAddr {
        self.client.local_addr().unwrap()
    }

    /// Fails unless a word arrives in either direction.
    pub(crate) fn carries(&self) {
        for word in self.heard(ARRIVES) {
            assert!(word.is_ok(), "{:?}: {word:?}", self.client);
        }
    }

    /// Returns what arrives in either direction.
    fn heard(&self, patience: Duration) -> [io::Result<()>; 2] {
        let (client, server) = (&self.client, &self.server);
        [(client, server, b'>'), (server, client, b'<')]
            .map(|(from, to, word)| say(from, to, word, patience))
    }
}

/// Fails if a word arrives in either direction of any of them.
pub(crate) fn are_dead(lines: &[Line]) {
    std::thread::scope(|scope| {
        let heard: Vec<_> = lines
            .iter()
            .map(|line| scope.spawn(|| line.heard(LOST)))
            .collect();
        for (line, heard) in lines.iter().zip(heard) {
            let heard = heard.join().unwrap();
            let silent = heard.iter().all(Result::is_err);
            assert!(silent, "{:?} still carries: {heard:?}", line.client);
        }
    });
}

fn say(mut from: &TcpStream, mut to: &TcpStream, word: u8, patience: Duration) -> io::Result<()> {
    let mut heard = [0];
    to.set_read_timeout(Some(patience))?;
    from.write_all(&[word])?;
    to.read_exact(&mut heard)?;
    assert_eq!(heard, [word]);
    Ok(())
}
