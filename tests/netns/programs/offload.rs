//! The programs of leases at the interfaces of two containers, with a book of leases.

use lease::{Basis, Key, Lease, Leases, Way, source};
use loader::{Side, clsact};
use offload::{Interfaces, Offload, Room};
use pipeline::{NetworkId, PortId};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use testbed::traffic::{Ping, ping};
use testbed::{Namespace, link};
use wire::{MacAddr, VlanId};

const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2)];
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 9, 1], [2, 0, 0, 0, 9, 2]];
const PORTS: [PortId; 2] = [PortId(0), PortId(1)];
const ROOM: Room = Room {
    leases: 64,
    flows: 64,
    ports: 16,
};

fn index(namespace: &Namespace, interface: &str) -> u32 {
    let line = namespace.ip(&format!("-o link show {interface}")).unwrap();
    line.split(':').next().unwrap().parse().unwrap()
}

/// Two containers on veths, a TAP beside each host end, and nobody who reads the TAPs.
struct Host {
    namespace: Namespace,
    containers: [Namespace; 2],
    at: [Interfaces; 2],
    offload: Offload,
    leases: Leases,
}

impl Host {
    fn new() -> Self {
        let namespace = Namespace::new().unwrap();
        let containers = [(); 2].map(|()| Namespace::new().unwrap());
        let offload = namespace.run(|| Offload::open(ROOM)).unwrap();
        let at = [0, 1].map(|it| {
            let container = &containers[it];
            link::veth(&namespace, &format!("p{it}"), container, "eth0").unwrap();
            let mac = MacAddr(MACS[it]);
            container
                .ip(&format!("link set eth0 address {mac}"))
                .unwrap();
            link::address(container, "eth0", &format!("{}/24", ADDRESSES[it])).unwrap();
            let (neighbour, mac) = (ADDRESSES[1 - it], MacAddr(MACS[1 - it]));
            container
                .ip(&format!("neigh add {neighbour} lladdr {mac} dev eth0"))
                .unwrap();
            namespace.ip(&format!("tuntap add t{it} mode tap")).unwrap();
            namespace.ip(&format!("link set t{it} up")).unwrap();
            Interfaces {
                host: index(&namespace, &format!("p{it}")),
                tap: index(&namespace, &format!("t{it}")),
            }
        });
        let leases = Leases::new(offload.kernel(), ROOM.leases);
        let it = Self {
            namespace,
            containers,
            at,
            offload,
            leases,
        };
        for at in it.at {
            it.run(|offload| offload.attach(at)).unwrap();
        }
        it.offload.extend(Duration::from_secs(60));
        it
    }

    fn run<T: Send>(&self, act: impl FnOnce(&Offload) -> T + Send) -> T {
        self.namespace.run(|| act(&self.offload))
    }

    fn lend(&self, generation: u32) {
        for (from, to) in [(0, 1), (1, 0)] {
            let key = Key {
                generation,
                port: self.at[from].host,
                to: MACS[to],
                from: MACS[from],
                ethertype: [0x08, 0x00],
                vlan: 0,
                source: source(IpAddr::V4(ADDRESSES[from])),
            };
            let lease = Lease::new(key, self.at[to].host, Way::Peer, 1500);
            let basis = Basis {
                network: NetworkId(0),
                vlan: VlanId::DEFAULT,
                from: PORTS[from],
                to: PORTS[to],
            };
            assert!(self.leases.lend(&lease, basis, || true));
        }
    }

    fn answers(&self) -> u16 {
        let asked = Ping {
            count: 3,
            timeout: Duration::from_millis(300),
            ..Ping::new(IpAddr::V4(ADDRESSES[1]))
        };
        ping(&self.containers[0], &asked).unwrap().received
    }
}

#[test]
fn leases_carry_are_taken_back_and_stay_counted() {
    let it = Host::new();
    let shares = PORTS.map(|port| it.leases.open_port(port));
    let frames = |port: usize| {
        let all = it.leases.repeated(&shares[port]);
        (all.rx_frames, all.tx_frames)
    };
    assert_eq!(it.answers(), 0);
    it.lend(0);
    assert_eq!(it.answers(), 3);
    assert_eq!([frames(0), frames(1)], [(3, 3), (3, 3)]);
    it.leases.revoke_station(MacAddr(MACS[1]));
    assert_eq!(it.answers(), 0, "taken back");
    it.leases.settle();
    assert_eq!([frames(0), frames(1)], [(3, 3), (3, 3)]);
    it.lend(0);
    it.leases.begin(7);
    assert_eq!(it.answers(), 0, "of another generation");
    it.lend(7);
    assert_eq!(it.answers(), 3);
    assert_eq!([frames(0), frames(1)], [(6, 6), (6, 6)]);
    it.offload.extend(Duration::ZERO);
    assert_eq!(it.answers(), 0, "their time is over");
    it.offload.extend(Duration::from_secs(60));
    assert_eq!(it.answers(), 3);
    it.leases.close_port(PORTS[1]);
    assert_eq!(it.answers(), 0, "to a port that is closed");
    assert_eq!([frames(0), frames(1)], [(9, 9), (9, 9)]);
}

#[test]
fn programs_are_put_back_replaced_and_removed_without_a_trace() {
    let it = Host::new();
    let [at, _] = it.at;
    let attached = |offload: &Offload| offload.is_attached(at).unwrap();
    assert!(it.run(attached));
    let interface = at.host;
    let removed = it.run(|_| offload::remove_leftover(interface).unwrap());
    assert!(removed && !it.run(attached));
    it.run(|offload| offload.attach(at)).unwrap();
    assert!(it.run(attached));
    // The next daemon's take their place.
    let next = it.namespace.run(|| Offload::open(ROOM)).unwrap();
    it.namespace.run(|| next.attach(at)).unwrap();
    assert!(!it.run(attached));
    let filters = || clsact::list(interface, Side::Ingress).unwrap();
    assert_eq!(it.namespace.run(filters).len(), 1);
    it.namespace.run(|| next.detach(at)).unwrap();
    assert_eq!(it.namespace.run(filters), []);
    let shown = it.namespace.ip("-d link show p0").unwrap();
    assert!(!shown.contains("clsact"), "{shown}");
    // Interfaces that are gone took their programs along.
    it.namespace.ip("link del p1").unwrap();
    let [_, gone] = it.at;
    it.run(|offload| offload.detach(gone)).unwrap();
    assert!(it.run(|offload| offload.attach(gone)).is_err());
}
