//! One question to one of the host's resolvers: UDP, and TCP when the answer does not fit.
//!
//! Whoever can guess the id and the port of a question can answer it. So each question has a socket
//! of its own, at a port that the kernel draws at random, connected so that the kernel drops what
//! does not come from the server; and an id drawn at random. A message that answers something else
//! is ignored and counted, and the wait goes on: a wrong guess ends nothing (RFC 5452 section 9).
//!
//! Sockets are made in the namespace of whichever thread polls, the daemon's own: there a resolver
//! on the loopback interface is reached.

use crate::counters::Counters;
use crate::message::{QUERY_MAX, Question, decode};
use crate::relay::{Style, answers, outgoing};
use hickory_proto::op::Message;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Asks `server`, and waits no longer than `limit` in all.
///
/// # Errors
/// `TimedOut`, or what the sockets say.
pub(crate) async fn ask(
    server: SocketAddr,
    question: &Question,
    style: Style,
    limit: Duration,
    counters: &Counters,
) -> io::Result<Message> {
    let sent = outgoing(question, style);
    let bytes = sent.to_vec().map_err(io::Error::other)?;
    let asked = async {
        let answer = by_udp(server, &sent, &bytes, counters).await?;
        if answer.metadata.truncation {
            by_tcp(server, &sent, &bytes, counters).await
        } else {
            Ok(answer)
        }
    };
    timeout(limit, asked).await?
}

async fn by_udp(
    server: SocketAddr,
    sent: &Message,
    bytes: &[u8],
    counters: &Counters,
) -> io::Result<Message> {
    let any: SocketAddr = if server.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; QUERY_MAX];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await?;
        // What came before the socket was connected came from anybody.
        let is_server = (from.ip(), from.port()) == (server.ip(), server.port());
        let received = decode(&buffer[..length]).filter(|_| is_server);
        match received.filter(|received| answers(sent, received)) {
            Some(answer) => return Ok(answer),
            None => counters.count_mismatched(),
        }
    }
}

/// A message over TCP has its length before it (RFC 1035 section 4.2.2).
async fn by_tcp(
    server: SocketAddr,
    sent: &Message,
    bytes: &[u8],
    counters: &Counters,
) -> io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&framed(bytes)?).await?;
    let length = stream.read_u16().await?;
    let mut buffer = vec![0; length.into()];
    stream.read_exact(&mut buffer).await?;
    let received = decode(&buffer);
    received
        .filter(|received| answers(sent, received))
        .ok_or_else(|| {
            counters.count_mismatched();
            io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer is to another question",
            )
        })
}

/// The message with its length before it, in one piece (RFC 7766 section 8).
pub(crate) fn framed(message: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    Ok([&length.to_be_bytes(), message].concat())
}
