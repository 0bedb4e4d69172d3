//! Decisions of the workers that the kernel repeats.

use super::datapath::kernel_blue;
use super::*;
use observe::{FlowMatch, Watch};
use std::net::IpAddr;
use testbed::traffic::{Ping, ping};

/// A daemon and two containers that have the kernel's datapath, of which each knows the other.
struct Pair {
    core: Writer,
    containers: [Namespace; 2],
}

const ADDRESSES: [&str; 2] = ["10.1.0.2", "10.1.0.3"];

impl Pair {
    fn new(dir: &Path) -> Self {
        let mut core = kernel_blue(dir);
        let containers = [(); 2].map(|()| Namespace::new().unwrap());
        for namespace in &containers {
            core.attach(&attach_to(namespace)).unwrap();
        }
        Self { core, containers }
    }

    /// How many of so many requests the first container gets answered by the second.
    fn answered(&self, count: u16) -> u16 {
        let to: IpAddr = ADDRESSES[1].parse().unwrap();
        let asked = Ping {
            count,
            timeout: Duration::from_millis(200),
            ..Ping::new(to)
        };
        ping(&self.containers[0], &asked).unwrap().received
    }

    /// The leases for IPv4, both ways.
    fn leases(&self) -> Vec<api::Lease> {
        let mut leases = self.core.show().leases();
        leases.retain(|lease| lease.ethertype == 0x0800);
        leases
    }

    /// Sends requests until the kernel repeats both ways.
    fn await_leases(&self) {
        wait_until("both ways are lent", PATIENCE, || {
            self.answered(1);
            self.leases().len() == 2
        })
        .unwrap();
    }

    /// Frames that the kernel carried, as the explanation of one from the first container to the second says.
    fn explained(&self) -> Option<u64> {
        let [src_ip, dst_ip] = ADDRESSES.map(|ip| ip.parse().unwrap());
        let fields = IcmpFields {
            link: LinkFields::default(),
            src_ip,
            dst_ip,
            reply: false,
            id: 1,
            payload: 0,
        };
        let request = ExplainRequest {
            port: "ep-1".parse().unwrap(),
            frame: FrameSpec::Icmp(fields),
        };
        let told = self.core.show().explain(&request).unwrap();
        told.leased.map(|leased| leased.frames)
    }

    /// The leases that rest on each station, as the table of MAC addresses says.
    fn resting(&self) -> Vec<u64> {
        let entries = self.core.show().fdb(&Filter::default()).unwrap();
        entries.iter().map(|entry| entry.leases).collect()
    }

    /// Frames that workers carried, that the leases that are out carried, and all that the ports counted; at
    /// one moment, since nothing came between two looks.
    fn carried(&self) -> [u64; 3] {
        let look = || {
            let workers = self.core.dataplane.workers();
            let leases = self.core.show().leases();
            let ports = self.core.show().ports();
            [
                workers.iter().map(|worker| worker.frames).sum(),
                leases.iter().map(|lease| lease.frames).sum(),
                ports.iter().map(|port| port.counters.rx_frames).sum(),
            ]
        };
        let mut seen = look();
        wait_until("nothing is on its way", PATIENCE, || {
            let last = std::mem::replace(&mut seen, look());
            last == seen
        })
        .unwrap();
        seen
    }
}

#[test]
fn the_kernel_carries_what_was_decided_and_every_frame_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let it = Pair::new(dir.path());
    it.await_leases();
    let before = it.carried();
    assert_eq!(it.answered(500), 500);
    let after = it.carried();
    let [workers, repeated, ports] = [0, 1, 2].map(|which| after[which] - before[which]);
    // The kernels of containers and host say other things, too, now and then, and workers carry them.
    assert!((repeated..=repeated + workers).contains(&ports), "{ports}");
    assert!(repeated >= 1000 && workers < 20, "{repeated}, {workers}");
    for lease in it.leases() {
        assert!(
            lease
                .source
                .is_some_and(|ip| ADDRESSES.contains(&&*ip.to_string()))
        );
    }

    // It is said where somebody looks.
    let mut there = it.leases();
    there.retain(|lease| lease.from.as_str() == "ep-1");
    assert_eq!(it.explained(), Some(there[0].frames));
    let resting = it.resting();
    assert!(resting.iter().all(|&count| count >= 2), "{resting:?}");

    // Taken back, read, and lent again: nothing is counted twice or lost.
    it.core.dataplane.recall();
    assert_eq!(it.leases(), []);
    assert_eq!((it.explained(), it.resting()), (None, vec![0, 0]));
    it.core.dataplane.sweep_leases();
    let last = it.carried();
    let [others, ports] = [last[0] - after[0], last[2] - after[2]];
    assert!(ports <= others, "{ports}, {others}");
    it.await_leases();
}

#[test]
fn whoever_looks_sees_every_frame_and_what_is_removed_from_the_table_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut it = Pair::new(dir.path());
    it.await_leases();
    let watch = Watch::new(FlowMatch::all(), it.core.dataplane.sources(), 1024);
    let watch = std::sync::Arc::new(watch);
    it.core.dataplane.watch(&watch);
    assert_eq!(it.leases(), []);
    let [before, ..] = it.carried();
    assert_eq!(it.answered(50), 50);
    // A worker counts a round's frames at its end.
    wait_until("a worker has carried each", PATIENCE, || {
        it.carried()[0] - before >= 100
    })
    .unwrap();
    assert_eq!(it.leases(), [], "nothing is lent while somebody looks");
    it.core.dataplane.unwatch(&watch);
    it.await_leases();

    let flush = FdbFlush {
        network: None,
        port: None,
        vlan: None,
        include_static: false,
    };
    it.core.fdb_flush(&flush).unwrap();
    assert_eq!(it.leases(), []);
    it.await_leases();
}

/// The stream is as fast as answers come; a change that was answered holds for every later frame.
#[test]
fn a_change_that_was_answered_holds_for_what_the_kernel_repeats() {
    let dir = tempfile::tempdir().unwrap();
    let mut it = Pair::new(dir.path());
    let icc = |core: &mut Writer, icc| {
        let set = NetworkSet {
            icc: Some(icc),
            ..NetworkSet::default()
        };
        core.network_set(&"blue".parse().unwrap(), &set).unwrap();
    };
    for round in 0..50 {
        it.await_leases();
        icc(&mut it.core, false);
        assert_eq!(it.answered(1), 0, "round {round}");
        icc(&mut it.core, true);
        assert_eq!(it.answered(1), 1, "round {round}");
    }
}

#[test]
fn containers_go_on_talking_for_a_while_when_the_daemon_is_gone_and_the_next_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let it = Pair::new(dir.path());
    it.await_leases();
    let Pair {
        mut core,
        containers,
    } = it;
    core.stop();
    drop(core);
    let asked = Ping {
        count: 20,
        timeout: Duration::from_millis(200),
        ..Ping::new(ADDRESSES[1].parse().unwrap())
    };
    assert_eq!(ping(&containers[0], &asked).unwrap().received, 20);
    let it = Pair {
        core: start(dir.path()),
        containers,
    };
    assert!(it.answered(20) >= 19);
    it.await_leases();
}
