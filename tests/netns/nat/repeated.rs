//! Connections through NAT that the kernel repeats: out by the NIC, and in by a published port.

use super::{HOST, Outside, WORLD, at};
use crate::fixture::{Clearway, SOON};
use api::{Filter, Lease, NatTuple};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use testbed::{Namespace, wait_until};

const ROUNDS: u64 = 500;

impl Outside {
    fn by_the_kernel() -> Self {
        let outside = Self::around(Clearway::start_with("datapath = \"kernel\""));
        outside.uplink();
        outside
    }

    /// The directions of connections that the kernel repeats.
    fn flows(&self) -> Vec<Lease> {
        let mut leases = self.clearway.client().leases().unwrap();
        leases.retain(|lease| lease.flow.is_some());
        leases
    }

    /// Frames that workers carried.
    fn carried(&self) -> u64 {
        let status = self.clearway.client().status().unwrap();
        status.workers.iter().map(|worker| worker.frames).sum()
    }

    /// Talks over a connection until both directions are lent; then `ROUNDS` times more, which is the kernel's
    /// work. Returns how the directions are changed, what the caller sends first.
    fn talk(&self, both: &mut [TcpStream; 2]) -> [[NatTuple; 2]; 2] {
        wait_until("both directions are lent", SOON, || {
            converse(both, 10);
            self.flows().len() == 2
        })
        .unwrap();
        let before = self.carried();
        converse(both, ROUNDS);
        let by_workers = self.carried() - before;
        assert!(by_workers < ROUNDS / 5, "{by_workers} of {ROUNDS} rounds");
        let flows = self.flows();
        assert!(
            flows.iter().all(|lease| lease.frames >= ROUNDS),
            "{flows:?}"
        );
        let connections = self.clearway.client().nat(&Filter::default()).unwrap();
        assert!(connections.iter().any(|it| it.leased), "{connections:?}");
        let caller = both[0].local_addr().unwrap();
        let mut changes: Vec<_> = flows
            .into_iter()
            .map(|lease| lease.flow.unwrap())
            .map(|flow| [flow.arrives, flow.leaves])
            .collect();
        changes.sort_by_key(|[arrives, _]| arrives.src != caller);
        changes.try_into().unwrap()
    }

    /// Ends a connection, and waits until its leases are over.
    fn hang_up(&self, both: [TcpStream; 2]) {
        drop(both);
        wait_until("its leases are taken back", SOON, || {
            self.flows().is_empty()
        })
        .unwrap();
        let connections = self.clearway.client().nat(&Filter::default()).unwrap();
        assert!(connections.iter().all(|it| !it.leased), "{connections:?}");
    }
}

/// A connection from `client` to `to`, where `server` listens at `listen`.
fn connect(
    client: &Namespace,
    to: SocketAddr,
    server: &Namespace,
    listen: SocketAddr,
) -> [TcpStream; 2] {
    let listener = server.run(|| TcpListener::bind(listen)).unwrap();
    let calling = client.run(|| TcpStream::connect(to)).unwrap();
    let both = [calling, listener.accept().unwrap().0];
    for end in &both {
        end.set_nodelay(true).unwrap();
        end.set_read_timeout(Some(SOON)).unwrap();
    }
    both
}

/// Sends numbered bytes there and back.
fn converse([client, server]: &mut [TcpStream; 2], rounds: u64) {
    for round in 0..rounds {
        let sent = round.to_be_bytes();
        let mut seen = [0; 8];
        client.write_all(&sent).unwrap();
        server.read_exact(&mut seen).unwrap();
        server.write_all(&seen).unwrap();
        client.read_exact(&mut seen).unwrap();
        assert_eq!(seen, sent);
    }
}

fn any(of: IpAddr) -> IpAddr {
    match of {
        IpAddr::V4(_) => [0; 4].into(),
        IpAddr::V6(_) => [0; 16].into(),
    }
}

#[test]
fn a_connection_to_the_world_is_repeated_with_its_translation() {
    let outside = Outside::by_the_kernel();
    let (_, container) = outside.web();
    for (host, world) in HOST.into_iter().zip(WORLD) {
        let server = at(world, 7000);
        let mut both = connect(&container.ns, server, &outside.world, server);
        let caller = both[0].local_addr().unwrap();
        let [[sent, leaves], [answered, arrives]] = outside.talk(&mut both);
        assert_eq!((sent.src, sent.dst), (caller, server));
        assert_eq!((leaves.src.ip(), leaves.dst), (host, server));
        assert_eq!((answered.src, answered.dst), (server, leaves.src));
        assert_eq!((arrives.src, arrives.dst), (server, caller));
        outside.hang_up(both);
    }
}

#[test]
fn a_connection_to_a_published_port_is_repeated_with_its_translation() {
    let outside = Outside::by_the_kernel();
    let web = outside.clearway.network("web", 1);
    let shop = outside.container(&web, "shop");
    outside.publish("8080:shop:80/tcp");
    for (host, index) in HOST.into_iter().zip([0, 1]) {
        let inside = at(shop.ip(index), 80);
        let mut both = connect(&outside.world, at(host, 8080), &shop.ns, at(any(host), 80));
        let caller = both[0].local_addr().unwrap();
        let [[sent, arrives], [answered, leaves]] = outside.talk(&mut both);
        assert_eq!((sent.src, sent.dst), (caller, at(host, 8080)));
        assert_eq!((arrives.src, arrives.dst), (caller, inside));
        assert_eq!((answered.src, answered.dst), (inside, caller));
        assert_eq!((leaves.src, leaves.dst), (at(host, 8080), caller));
        outside.hang_up(both);
    }
}
