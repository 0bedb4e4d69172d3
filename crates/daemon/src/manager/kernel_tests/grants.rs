//! Connections that the kernel begins by itself, between networks.

use super::flows::Pair;
use super::*;
use api::{NatState, NetworkSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

impl Pair {
    /// A server that sends back one byte of each connection, and closes it.
    fn serve(&self) -> SocketAddr {
        let ([_, server], [_, ip]) = (&self.containers, self.addresses);
        let listener = server.run(|| TcpListener::bind((ip, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(mut client) = client else { return };
                let mut byte = [0];
                // A client that went away is none of the test.
                let _ = client
                    .read_exact(&mut byte)
                    .and_then(|()| client.write_all(&byte));
            }
        });
        address
    }

    /// Asks once, in a connection of its own.
    fn ask(&self, server: SocketAddr) {
        let client = self.containers[0].run(|| TcpStream::connect(server));
        let mut client = client.unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.write_all(&[7]).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [7]);
    }

    /// Flows that the kernel has begun, by each grant.
    fn begun(&self) -> Vec<u64> {
        let leases = self.core.show().leases();
        leases.iter().filter_map(|lease| lease.begun).collect()
    }
}

const CONNECTIONS: usize = 50;

#[test]
fn the_kernel_begins_connections_that_are_like_earlier_ones_and_all_are_known() {
    let dir = tempfile::tempdir().unwrap();
    let it = Pair::of_peers(dir.path());
    let server = it.serve();
    wait_until("connections are granted", PATIENCE, || {
        it.ask(server);
        it.begun() == [1]
    })
    .unwrap();
    let before = it.carried();
    for _ in 0..CONNECTIONS {
        it.ask(server);
    }
    it.core.dataplane.take_begun();
    let after = it.carried();
    let [workers, ports] = [0, 1].map(|which| after[which] - before[which]);
    // Neighbours are asked now and then, and the last word of a connection may come when its lease is over.
    assert!(
        workers < CONNECTIONS as u64 && ports >= 8 * CONNECTIONS as u64,
        "{workers}, {ports}"
    );
    let entries = it.core.show().nat(&Filter::default()).unwrap();
    let over = entries
        .iter()
        .filter(|entry| entry.state == NatState::Closing);
    assert!(over.clone().count() >= CONNECTIONS, "{entries:?}");
    let whole = |entry: &&api::NatEntry| entry.sent.packets >= 4 && entry.received.packets >= 3;
    assert!(over.clone().all(|entry| whole(&entry)), "{entries:?}");
    assert_eq!(it.core.dataplane.leases().unwrap().vetoed(), 0);
}

#[test]
fn what_a_network_does_not_allow_any_more_is_begun_in_userspace_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut it = Pair::of_peers(dir.path());
    let server = it.serve();
    let granted = |it: &Pair| {
        it.ask(server);
        !it.begun().is_empty()
    };
    wait_until("connections are granted", PATIENCE, || granted(&it)).unwrap();
    let allow = |it: &mut Pair, grants| {
        let set = NetworkSet {
            grants: Some(grants),
            ..NetworkSet::default()
        };
        it.core.network_set(&"blue".parse().unwrap(), &set).unwrap();
    };
    allow(&mut it, false);
    for _ in 0..5 {
        assert!(!granted(&it));
    }
    allow(&mut it, true);
    wait_until("connections are granted once more", PATIENCE, || {
        granted(&it)
    })
    .unwrap();
}

#[test]
fn datagrams_to_a_server_begin_flows_in_the_kernel() {
    let dir = tempfile::tempdir().unwrap();
    let it = Pair::of_peers(dir.path());
    let [client, server] = &it.containers;
    let bind = |namespace: &Namespace, ip: &str| {
        let socket = namespace.run(|| UdpSocket::bind((ip, 0))).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    };
    let server = bind(server, it.addresses[1]);
    let ask = || {
        let client = bind(client, it.addresses[0]);
        client.send_to(&[1], server.local_addr().unwrap()).unwrap();
        let (_, from) = server.recv_from(&mut [0]).unwrap();
        server.send_to(&[2], from).unwrap();
        client.recv_from(&mut [0]).unwrap();
    };
    wait_until("flows are granted", PATIENCE, || {
        ask();
        it.begun().iter().any(|begun| *begun > 0)
    })
    .unwrap();
    it.core.dataplane.take_begun();
    let entries = it.core.show().nat(&Filter::default()).unwrap();
    let two_way = |entry: &&api::NatEntry| entry.state == NatState::Established;
    assert!(entries.iter().all(|entry| two_way(&entry)), "{entries:?}");
}
