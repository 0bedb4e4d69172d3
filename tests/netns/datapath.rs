//! The kernel's datapath: what containers notice of it, which is nothing.

use crate::fixture::{Clearway, Container, SOON};
use api::{Datapath, DatapathKind, Name};
use nix::sys::signal::Signal;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use testbed::traffic::{Ping, ping, tcp_exact};
use testbed::wait_until;

fn kernel_network(clearway: &Clearway) -> Name {
    clearway.network_with("blue", 10, |network| {
        network.mtu = 1500;
        network.routing.datapath = Datapath::Kernel;
    })
}

fn pair(clearway: &Clearway, net: &Name) -> (Container, Container) {
    let pair = (clearway.container(net), clearway.container(net));
    for it in [&pair.0, &pair.1] {
        assert_eq!(it.endpoint.datapath, Some(DatapathKind::Kernel));
    }
    pair
}

/// Interfaces of endpoints in the daemon's namespace.
fn host_sides(clearway: &Clearway) -> usize {
    let all = clearway.host.ip("-o link").unwrap();
    all.lines()
        .filter(|line| line.contains("alias clearway endpoint"))
        .count()
}

#[test]
fn superframes_pass_whole_and_every_byte_arrives() {
    let clearway = Clearway::start();
    let net = kernel_network(&clearway);
    let (a, b) = pair(&clearway, &net);
    for version in [0, 1] {
        a.reaches(b.ip(version));
        tcp_exact(&b.ns, &a.ns, b.ip(version), 32 << 20).unwrap();
        tcp_exact(&a.ns, &b.ns, a.ip(version), 32 << 20).unwrap();
    }
    for it in [&a, &b] {
        let counters = clearway.client().port(&it.endpoint.port).unwrap().counters;
        assert!(counters.rx_bytes > 64 << 20, "{counters:?}");
        // Acknowledgements count as well.
        let mean = counters.rx_bytes / counters.rx_frames;
        assert!(mean > 1500, "{mean} bytes a frame");
    }
}

#[test]
fn a_killed_daemon_leaves_veths_that_the_next_one_takes_up() {
    let mut clearway = Clearway::start();
    let net = kernel_network(&clearway);
    let (a, b) = pair(&clearway, &net);
    a.reaches(b.ip(0));
    crate::nat::settled(&a.ns);
    let eth0 = a.ns.ip("-o addr show eth0").unwrap();
    clearway.daemon.signal(Signal::SIGKILL).unwrap();
    clearway.daemon.wait_within(SOON).unwrap();
    wait_until("the end of its TAPs", SOON, || host_sides(&clearway) == 2).unwrap();
    // What was decided may be repeated for a while; nobody decides anything new.
    let unheard = Ping {
        count: 2,
        timeout: Duration::from_millis(300),
        ..Ping::new(b.ip(1))
    };
    assert_eq!(ping(&a.ns, &unheard).unwrap().received, 0, "nobody decides");
    clearway.restart();
    a.reaches(b.ip(0));
    b.reaches(a.ip(1));
    assert_eq!(a.ns.ip("-o addr show eth0").unwrap(), eth0);
    assert_eq!(
        clearway.client().status().unwrap().warnings,
        Vec::<String>::new()
    );
    assert_eq!(host_sides(&clearway), 4);
}

/// A daemon renews leases in time, however short they are; without one they hold for as long as the setting says.
#[test]
fn what_is_repeated_holds_for_as_long_as_is_set_without_a_daemon() {
    for (seconds, holds) in [(1, false), (30, true)] {
        let mut clearway = Clearway::start_with(&format!("lease_seconds = {seconds}"));
        let net = kernel_network(&clearway);
        let (a, b) = pair(&clearway, &net);
        let answered = |count| {
            let asked = Ping {
                count,
                timeout: Duration::from_millis(300),
                ..Ping::new(b.ip(0))
            };
            ping(&a.ns, &asked).unwrap().received
        };
        // For longer than the shorter lease; how many were asked.
        let all_answered = || {
            let (began, mut asked) = (Instant::now(), 0);
            while began.elapsed() < Duration::from_secs(3) {
                assert_eq!(answered(100), 100, "{seconds} s");
                asked += 100;
            }
            asked
        };
        wait_until("both ways are lent", SOON, || {
            answered(1);
            let leases = clearway.client().leases().unwrap();
            leases.iter().filter(|it| it.ethertype == 0x0800).count() == 2
        })
        .unwrap();
        let carried = || -> u64 {
            let status = clearway.client().status().unwrap();
            status.workers.iter().map(|worker| worker.frames).sum()
        };
        let before = carried();
        let asked = all_answered();
        let by_workers = carried() - before;
        assert!(
            by_workers < asked / 10,
            "{by_workers} of {asked}, {seconds} s"
        );

        clearway.daemon.signal(Signal::SIGKILL).unwrap();
        clearway.daemon.wait_within(SOON).unwrap();
        if holds {
            all_answered();
        } else {
            wait_until("the end of leases", SOON, || answered(1) == 0).unwrap();
        }
    }
}

/// The host has addresses of its own, and answers for none of them past the router.
#[test]
fn the_hosts_stack_hears_no_container_whether_a_daemon_is_there_or_not() {
    let mut clearway = Clearway::start();
    let net = kernel_network(&clearway);
    let (a, b) = pair(&clearway, &net);
    a.reaches(b.ip(0));
    clearway.host.ip("link set lo up").unwrap();
    clearway.host.ip("addr add 10.10.77.7/32 dev lo").unwrap();
    let host: IpAddr = "10.10.77.7".parse().unwrap();
    let asked = Ping {
        count: 2,
        timeout: Duration::from_millis(300),
        ..Ping::new(host)
    };
    assert_eq!(ping(&a.ns, &asked).unwrap().received, 0);
    clearway.daemon.signal(Signal::SIGKILL).unwrap();
    clearway.daemon.wait_within(SOON).unwrap();
    assert_eq!(ping(&a.ns, &asked).unwrap().received, 0);
    assert!(
        !a.ns
            .ip("neigh")
            .unwrap()
            .contains("10.10.77.7 dev eth0 lladdr")
    );
}

#[test]
fn a_container_that_raises_its_mtu_is_told_by_a_reason() {
    let clearway = Clearway::start();
    let net = kernel_network(&clearway);
    let (a, b) = pair(&clearway, &net);
    a.reaches(b.ip(0));
    a.ns.ip("link set eth0 mtu 9000").unwrap();
    let long = Ping {
        count: 3,
        size: 4000,
        timeout: Duration::from_millis(300),
        ..Ping::new(b.ip(0))
    };
    let before = clearway.client().drops().unwrap();
    assert_eq!(ping(&a.ns, &long).unwrap().received, 0);
    let total = |drops: &api::Drops| drops.reasons.iter().map(|row| row.count).sum::<u64>();
    let after = clearway.client().drops().unwrap();
    assert!(total(&after) >= total(&before) + 3, "each has a reason");
    a.reaches(b.ip(0));
}
