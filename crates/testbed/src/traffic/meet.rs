//! One TCP connection, and whom each end takes the other for: what a NAT does to it.

use super::{PATIENCE, Way};
use crate::{Namespace, bind_when_free};
use anyhow::{Context, Result, ensure};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A connection that stands for as long as this value does.
#[derive(Debug)]
pub struct Meeting {
    /// The client's address, as it knows it itself.
    pub client: SocketAddr,
    /// The client's address, as the server sees it.
    pub seen: SocketAddr,
    _ends: [TcpStream; 2],
}

/// Connects `client` to `server` and carries a word there and another back.
///
/// # Errors
/// When the connection cannot be made, breaks, or stalls for [`PATIENCE`].
pub fn tcp_meet(server: &Namespace, client: &Namespace, way: Way) -> Result<Meeting> {
    let listener = server
        .run(|| bind_when_free(|| TcpListener::bind(way.listen)))
        .with_context(|| format!("cannot listen at {}", way.listen))?;
    SockRef::from(&listener).set_read_timeout(Some(PATIENCE))?;
    let to = way.to_port(listener.local_addr()?.port());
    let mut asking = client
        .run(|| TcpStream::connect_timeout(&to, PATIENCE))
        .with_context(|| format!("cannot connect to {to}"))?;
    let (mut answering, seen) = listener.accept().context("nobody connected")?;
    for end in [&asking, &answering] {
        end.set_read_timeout(Some(PATIENCE))?;
    }
    carry(&mut asking, &mut answering, b"question")?;
    carry(&mut answering, &mut asking, b"answer")?;
    Ok(Meeting {
        client: asking.local_addr()?,
        seen,
        _ends: [asking, answering],
    })
}

fn carry(from: &mut TcpStream, to: &mut TcpStream, word: &[u8]) -> Result<()> {
    let mut heard = vec![0; word.len()];
    from.write_all(word).context("a word cannot be sent")?;
    to.read_exact(&mut heard).context("a word did not arrive")?;
    ensure!(heard == word, "another word arrived");
    Ok(())
}

#[cfg(test)]
mod kernel_tests {
    use super::*;
    use crate::link;

    #[test]
    fn both_ends_are_told_and_a_refusal_names_the_address() {
        let (server, client) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        link::veth(&server, "eth0", &client, "eth0").unwrap();
        link::address(&server, "eth0", "10.5.0.1/24").unwrap();
        link::address(&client, "eth0", "10.5.0.2/24").unwrap();
        let way = |listen: &str, to: &str| Way {
            listen: listen.parse().unwrap(),
            to: to.parse().unwrap(),
        };
        let meeting = tcp_meet(&server, &client, way("0.0.0.0:7000", "10.5.0.1:7000")).unwrap();
        assert_eq!(meeting.seen, meeting.client);
        assert_eq!(meeting.seen.ip().to_string(), "10.5.0.2");
        tcp_meet(&server, &client, way("10.5.0.1:0", "10.5.0.1:0")).unwrap();
        let refused = tcp_meet(&server, &client, way("10.5.0.1:0", "10.5.0.1:9")).unwrap_err();
        assert!(refused.to_string().contains("10.5.0.1:9"), "{refused}");
    }
}
