//! The programs of leases at the interfaces of two containers, with a book of leases.

use super::pair::{MACS, Pair};
use lease::{Basis, Lease, Leases, PortTerms, Station, Way};
use loader::{Side, clsact};
use nat::Tables;
use offload::{Interfaces, Offload, Room};
use pipeline::{Instant, NetworkId, PortId};
use std::time::Duration;
use wire::{MacAddr, VlanId};

const PORTS: [PortId; 2] = [PortId(0), PortId(1)];
const ROOM: Room = Room {
    leases: 64,
    flows: 64,
    grants: 16,
    ports: 16,
};

/// Two containers whose ports have the programs, and a book of leases.
struct Host {
    pair: Pair,
    offload: Offload,
    leases: Leases,
}

impl Host {
    fn new() -> Self {
        let pair = Pair::new();
        let offload = pair.host.run(|| Offload::open(ROOM)).unwrap();
        let leases = Leases::new(offload.kernel(), ROOM);
        let it = Self {
            pair,
            offload,
            leases,
        };
        for at in it.pair.at {
            it.run(|offload| offload.attach(at)).unwrap();
        }
        it.offload.extend(Duration::from_secs(60));
        it
    }

    fn run<T: Send>(&self, act: impl FnOnce(&Offload) -> T + Send) -> T {
        self.pair.host.run(|| act(&self.offload))
    }

    fn lend(&self, generation: u32) {
        for (from, to) in [(0, 1), (1, 0)] {
            let key = self.pair.key(from, generation);
            let lease = Lease::new(key, self.pair.at[to].host, Way::Peer, 1500);
            let station = |port: usize| Station {
                network: NetworkId(0),
                vlan: VlanId::DEFAULT,
                mac: MACS[port],
                port: PORTS[port],
            };
            let basis = Basis {
                sender: station(from),
                receiver: station(to),
            };
            assert!(self.leases.lend(&lease, basis, || true));
        }
    }

    fn answers(&self) -> u16 {
        self.pair.answers(|_| {})
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
    it.leases.revoke_station(MACS[1]);
    assert_eq!(it.answers(), 0, "taken back");
    it.leases.settle(&Tables::new(1, 1), Instant::ZERO);
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
    let [at, _] = it.pair.at;
    let attached = |offload: &Offload| offload.is_attached(at).unwrap();
    assert!(it.run(attached));
    let interface = at.host;
    let removed = it.run(|_| offload::remove_leftover(interface).unwrap());
    assert!(removed && !it.run(attached));
    it.run(|offload| offload.attach(at)).unwrap();
    assert!(it.run(attached));
    // The next daemon's take their place.
    let next = it.pair.host.run(|| Offload::open(ROOM)).unwrap();
    it.pair.host.run(|| next.attach(at)).unwrap();
    assert!(!it.run(attached));
    let filters = || clsact::list(interface, Side::Ingress).unwrap();
    assert_eq!(it.pair.host.run(filters).len(), 1);
    it.pair.host.run(|| next.detach(at)).unwrap();
    assert_eq!(it.pair.host.run(filters), []);
    let shown = it.pair.host.ip("-d link show p0").unwrap();
    assert!(!shown.contains("clsact"), "{shown}");
    // Interfaces that are gone took their programs along.
    it.pair.host.ip("link del p1").unwrap();
    let [_, gone] = it.pair.at;
    it.run(|offload| offload.detach(gone)).unwrap();
    assert!(it.run(|offload| offload.attach(gone)).is_err());
}

#[test]
fn a_port_whose_programs_are_put_back_is_as_it_was_known() {
    let it = Host::new();
    let _shares = PORTS.map(|port| it.leases.open_port(port));
    it.lend(0);
    assert_eq!(it.answers(), 3);
    let [at, _] = it.pair.at;
    let open = PortTerms {
        locked: false,
        gateway: MacAddr::ZERO,
        flows: false,
    };
    it.offload.kernel().set_port(at.host, open);
    assert_eq!(it.answers(), 0, "the lease is one of a locked port");
    it.run(|offload| offload.attach(at)).unwrap();
    assert_eq!(it.answers(), 0);
    it.run(|offload| offload.detach(at)).unwrap();
    it.run(|offload| offload.attach(at)).unwrap();
    assert_eq!(it.answers(), 3, "another port, which is locked at first");
}

/// A qdisc of somebody else's stands for the uplink's.
#[test]
fn at_a_nic_the_program_comes_and_goes_in_a_qdisc_that_is_not_its_own() {
    let pair = Pair::new();
    let nic = Interfaces::nic(pair.at[0].host);
    let [offload, next] = [(); 2].map(|()| pair.host.run(|| Offload::open(ROOM)).unwrap());
    let attach = |offload: &Offload| pair.host.run(|| offload.attach(nic));
    let is_attached = |offload: &Offload| pair.host.run(|| offload.is_attached(nic)).unwrap();
    let places = || -> Vec<_> {
        let filters = pair.host.run(|| clsact::list(nic.host, Side::Ingress));
        let filters = filters.unwrap().into_iter();
        filters
            .map(|it| (it.slot.priority, it.name.unwrap()))
            .collect()
    };
    assert!(attach(&offload).is_err(), "there is no qdisc yet");
    assert!(pair.host.run(|| clsact::add_qdisc(nic.host)).unwrap());
    attach(&offload).unwrap();
    assert!(is_attached(&offload));
    attach(&next).unwrap();
    assert!(is_attached(&next) && !is_attached(&offload));
    assert_eq!(places(), [(6, "lease".to_owned())]);
    let remove_leftover = || pair.host.run(|| offload::remove_leftover(nic.host));
    assert!(remove_leftover().unwrap());
    assert!(!remove_leftover().unwrap() && !is_attached(&next));
    attach(&next).unwrap();
    pair.host.run(|| next.detach(nic)).unwrap();
    assert_eq!(places(), []);
    assert!(
        !pair.host.run(|| clsact::add_qdisc(nic.host)).unwrap(),
        "the qdisc stays"
    );
    // A NIC that is gone took its program along.
    attach(&next).unwrap();
    pair.host.ip("link del p0").unwrap();
    assert!(!is_attached(&next));
    pair.host.run(|| next.detach(nic)).unwrap();
}
