//! Queries in datagrams.
//!
//! Nothing in this loop waits but for the next datagram: an answer that the socket does not take
//! is lost, as datagrams are, so a client whose interface takes nothing keeps nobody waiting.

use super::serve::{Shared, Step};
use crate::NetworkKey;
use crate::limits::Client;
use crate::message::{QUERY_MAX, Transport};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a socket that failed is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `socket` until `stop`'s sender is gone.
pub(super) async fn serve(
    shared: Arc<Shared>,
    network: NetworkKey,
    socket: UdpSocket,
    mut stop: watch::Receiver<()>,
) {
    let socket = Arc::new(socket);
    let mut waiting = JoinSet::new();
    let mut buffer = vec![0; QUERY_MAX];
    loop {
        tokio::select! {
            _ = stop.changed() => break,
            Some(_) = waiting.join_next() => {}
            received = socket.recv_from(&mut buffer) => match received {
                Ok((length, from)) => {
                    one(&shared, network, &socket, &buffer[..length], from, &mut waiting);
                }
                Err(error) => rest(network, &error).await,
            }
        }
    }
    waiting.shutdown().await;
}

/// One datagram.
fn one(
    shared: &Arc<Shared>,
    network: NetworkKey,
    socket: &Arc<UdpSocket>,
    bytes: &[u8],
    from: SocketAddr,
    waiting: &mut JoinSet<()>,
) {
    let address = from.ip().to_canonical();
    match shared.begin(Client { network, address }, bytes, Transport::Udp) {
        Step::Reply(reply) => send(socket, &reply, from),
        Step::Silence => {}
        Step::Wait(query) => {
            let (shared, socket) = (Arc::clone(shared), Arc::clone(socket));
            waiting.spawn(async move { send(&socket, &shared.finish(query).await, from) });
        }
    }
}

fn send(socket: &UdpSocket, reply: &[u8], to: SocketAddr) {
    if let Err(error) = socket.try_send_to(reply, to) {
        tracing::debug!(%error, %to, "an answer is lost");
    }
}

/// Says that a socket failed, and keeps it from failing a thousand times a second.
pub(super) async fn rest(network: NetworkKey, error: &io::Error) {
    tracing::warn!(network = network.0, %error, "a socket that serves names failed");
    tokio::time::sleep(PAUSE).await;
}
