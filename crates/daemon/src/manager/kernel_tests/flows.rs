//! Connections that the kernel repeats: between networks, and under rules.

use super::datapath::kernel_blue;
use super::*;
use api::{NatState, Policy, Rule};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// A daemon and two containers that have the kernel's datapath.
pub(super) struct Pair {
    pub(super) core: Writer,
    pub(super) containers: [Namespace; 2],
    pub(super) addresses: [&'static str; 2],
}

/// More than a lease is worth.
const ROUNDS: usize = 200;

impl Pair {
    /// Each in a network of its own, which exchange packets.
    pub(super) fn of_peers(dir: &Path) -> Self {
        let mut core = start(dir);
        let containers = [(); 2].map(|()| Namespace::new().unwrap());
        for (name, subnets, peer) in [
            ("blue", ["10.1.0.0/24", "2001:db8:1::/64"], "red"),
            ("red", ["10.2.0.0/24", "2001:db8:2::/64"], "blue"),
        ] {
            let mut create = network(name, &subnets);
            create.routing.peers = [peer.parse().unwrap()].into();
            create.routing.datapath = Datapath::Kernel;
            core.network_create(&create).unwrap();
        }
        for (namespace, network) in containers.iter().zip(["blue", "red"]) {
            let netns = Netns::Path(namespace.path());
            core.attach(&Attach::new(network.parse().unwrap(), netns))
                .unwrap();
        }
        Self {
            core,
            containers,
            addresses: ["10.1.0.2", "10.2.0.2"],
        }
    }

    /// Both in one network, with a rule for the second.
    fn under_rules(dir: &Path) -> Self {
        let mut core = kernel_blue(dir);
        let containers = [(); 2].map(|()| Namespace::new().unwrap());
        for namespace in &containers {
            core.attach(&attach_to(namespace)).unwrap();
        }
        let mut it = Self {
            core,
            containers,
            addresses: ["10.1.0.2", "10.1.0.3"],
        };
        it.rule("allow in udp");
        it
    }

    fn rule(&mut self, rule: &str) {
        let policy = Policy {
            rules: vec![rule.parse::<Rule>().unwrap()],
            ..Policy::default()
        };
        let second = self.core.show().endpoints()[1].id.clone();
        self.core.policy_set(&second, &policy).unwrap();
    }

    fn connect(&self, address: &str) -> [TcpStream; 2] {
        let [client, server] = &self.containers;
        let listener = server.run(|| TcpListener::bind((address, 0))).unwrap();
        let target = listener.local_addr().unwrap();
        let client = client.run(|| TcpStream::connect(target)).unwrap();
        let server = listener.accept().unwrap().0;
        let both = [client, server];
        for end in &both {
            end.set_nodelay(true).unwrap();
            end.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        both
    }

    /// The directions of connections that the kernel repeats.
    fn flows(&self) -> Vec<api::Lease> {
        let mut leases = self.core.show().leases();
        leases.retain(|lease| lease.flow.is_some());
        leases
    }

    /// Frames that workers carried, and that ports received.
    pub(super) fn carried(&self) -> [u64; 2] {
        let workers = self.core.dataplane.workers();
        let ports = self.core.show().ports();
        [
            workers.iter().map(|worker| worker.frames).sum(),
            ports.iter().map(|port| port.counters.rx_frames).sum(),
        ]
    }
}

/// Sends a byte there and back, so many times.
fn talk([client, server]: &mut [TcpStream; 2], rounds: usize) {
    let mut byte = [7];
    for _ in 0..rounds {
        client.write_all(&byte).unwrap();
        server.read_exact(&mut byte).unwrap();
        server.write_all(&byte).unwrap();
        client.read_exact(&mut byte).unwrap();
    }
}

/// No tick of the watcher is needed for it.
#[test]
fn a_connection_is_repeated_again_at_once_after_a_change_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let mut it = Pair::of_peers(dir.path());
    let mut both = it.connect("10.2.0.2");
    for name in ["green", "yellow"] {
        wait_until("both directions are lent", PATIENCE, || {
            talk(&mut both, 10);
            it.flows().len() == 2
        })
        .unwrap();
        it.core.network_create(&network(name, &[])).unwrap();
        assert_eq!(it.flows().len(), 0);
    }
}

#[test]
fn a_connection_between_networks_is_repeated_and_all_of_it_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let it = Pair::of_peers(dir.path());
    for address in ["10.2.0.2", "2001:db8:2::2"] {
        let mut both = it.connect(address);
        wait_until("both directions are lent", PATIENCE, || {
            talk(&mut both, 10);
            it.flows().len() == 2
        })
        .unwrap();
        let before = it.carried();
        talk(&mut both, ROUNDS);
        let after = it.carried();
        let [workers, ports] = [0, 1].map(|which| after[which] - before[which]);
        assert!(
            workers < 40 && ports >= 2 * ROUNDS as u64,
            "{workers}, {ports}"
        );

        // The table of connections has each packet that the ports have, but neighbours' questions.
        let entries = it.core.show().nat(&Filter::default()).unwrap();
        let entry = entries.iter().find(|it| it.state == NatState::Established);
        let entry = entry.expect("the one that is open");
        let counted = entry.sent.packets + entry.received.packets;
        assert!(
            (2 * ROUNDS as u64..=after[1]).contains(&counted),
            "{entry:?}"
        );
        assert!(entry.leased);
        let flow = it.flows()[0].flow.clone().unwrap();
        assert_eq!(flow.arrives, flow.leaves, "routed, not translated");

        // Both sides finish: the kernel carries that, and the leases end.
        drop(both);
        wait_until("the leases are taken back", PATIENCE, || {
            it.core.dataplane.sweep_leases();
            it.flows().is_empty()
        })
        .unwrap();
        assert!(it.carried()[1] >= after[1] + 2, "nothing is counted less");
        let entries = it.core.show().nat(&Filter::default()).unwrap();
        assert!(entries.iter().all(|entry| !entry.leased), "{entries:?}");
    }
}

#[test]
fn a_connection_that_is_flushed_is_repeated_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let it = Pair::of_peers(dir.path());
    for _ in 0..3 {
        let mut both = it.connect(it.addresses[1]);
        wait_until("both directions are lent", PATIENCE, || {
            talk(&mut both, 10);
            it.flows().len() == 2
        })
        .unwrap();
        it.core.show().nat_flush(&Filter::default()).unwrap();
        assert_eq!(it.flows(), []);
        it.core.dataplane.sweep_leases();
    }
}

/// The stream is as fast as answers come; a rule that was set holds for every later frame.
#[test]
fn a_rule_that_was_set_holds_for_what_the_kernel_repeats() {
    let dir = tempfile::tempdir().unwrap();
    let mut it = Pair::under_rules(dir.path());
    let [client, server] = &it.containers;
    let bind = |namespace: &Namespace, address: &str| {
        let at: SocketAddr = format!("{address}:7000").parse().unwrap();
        let socket = namespace.run(|| UdpSocket::bind(at)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        socket
    };
    let (client, server) = (bind(client, it.addresses[0]), bind(server, it.addresses[1]));
    let to = server.local_addr().unwrap();
    let passes = || {
        client.send_to(&[1], to).unwrap();
        server.recv(&mut [0; 4]).is_ok()
    };
    for round in 0..20 {
        wait_until("it is lent", PATIENCE, || {
            it.core.dataplane.sweep_leases();
            assert!((0..20).all(|_| passes()), "round {round}");
            it.flows().len() == 1
        })
        .unwrap();
        it.rule("deny in udp");
        assert!(!passes(), "round {round}");
        it.rule("allow in udp");
    }
}
