//! Queries in streams (RFC 7766).
//!
//! A connection is answered one query after the other, and closed when its client takes longer
//! than it may for a whole query or a whole answer: a byte a second keeps no place taken.

use super::serve::{Shared, Step};
use super::udp::rest;
use crate::NetworkKey;
use crate::counters::Outcome;
use crate::exchange::framed;
use crate::limits::{Client, Limited};
use crate::message::{QUERY_MAX, Transport};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Serves `listener` until `stop`'s sender is gone.
pub(super) async fn serve(
    shared: Arc<Shared>,
    network: NetworkKey,
    listener: TcpListener,
    mut stop: watch::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => accept(&shared, network, stream, from, &mut connections),
                Err(error) => rest(network, &error).await,
            }
        }
    }
    connections.shutdown().await;
}

/// One connection, if its client may have another.
fn accept(
    shared: &Arc<Shared>,
    network: NetworkKey,
    stream: TcpStream,
    from: SocketAddr,
    connections: &mut JoinSet<()>,
) {
    let address = from.ip().to_canonical();
    let client = Client { network, address };
    match shared
        .limits
        .take(client, Limited::Connection, Instant::now())
    {
        Ok(permit) => {
            let shared = Arc::clone(shared);
            connections.spawn(async move {
                let _permit = permit;
                if let Err(error) = converse(&shared, client, stream).await {
                    tracing::debug!(%error, %from, "a connection ends");
                }
            });
        }
        Err(refusal) => {
            shared.counters.count_query();
            shared.counters.count(Outcome::Refused(refusal));
        }
    }
}

/// Queries and answers, until the client has enough.
async fn converse(shared: &Shared, client: Client, mut stream: TcpStream) -> io::Result<()> {
    let limit = shared.settings.tcp_idle;
    loop {
        let query = timeout(limit, read(&mut stream)).await??;
        let reply = match shared.begin(client, &query, Transport::Tcp) {
            Step::Reply(reply) => reply,
            Step::Silence => return Ok(()),
            Step::Wait(query) => shared.finish(query).await,
        };
        timeout(limit, stream.write_all(&framed(&reply)?)).await??;
    }
}

/// One message, its length before it (RFC 1035 section 4.2.2).
async fn read(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > QUERY_MAX {
        let what = format!("a query of {length} bytes: at most {QUERY_MAX} are read");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    let mut query = vec![0; length];
    stream.read_exact(&mut query).await?;
    Ok(query)
}
