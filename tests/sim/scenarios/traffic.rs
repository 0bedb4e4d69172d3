//! What honest hosts do.

use super::{hosts, finish, lan, world};
use pipeline::PortId;
use sim::{Bulk, HostConfig, Ping, Reach, TcpReceive, TcpSend, Wire};
use std::net::SocketAddr;
use std::time::Duration;

#[test]
fn everybody_pings_everybody() {
    let mut world = world();
    let all = hosts(&mut world, 6, lan());
    for (id, me) in (1..).zip(&all) {
        let others = all.iter().filter(|other| other.mac != me.mac).flat_map(HostConfig::addresses).collect();
        world.start(PortId(id), Ping::new(me.addresses(), others, Reach::All));
    }
    finish(&mut world, &[]);
}

#[test]
fn bulk_tcp_through_loss_reordering_and_duplicates_arrives_intact() {
    let mut world = world();
    let wire = Wire { loss: 10, duplication: 10, jitter: Duration::from_micros(300), ..lan() };
    let all = hosts(&mut world, 2, wire);
    let bulk = Bulk { len: 2_000_000, seed: 99 };
    for (port, address) in (5000..).zip(all[1].addresses()) {
        world.start(PortId(2), TcpReceive::new(port, bulk));
        world.start(PortId(1), TcpSend::new(SocketAddr::new(address, port), bulk));
    }
    let report = finish(&mut world, &[]);
    assert!(report.lines.iter().all(|line| line.upward.lost > 0 && line.upward.duplicated > 0));
}

#[test]
fn superframes_reach_a_host_that_takes_none_cut_and_summed() {
    let mut world = world();
    let sender = HostConfig { superframes: true, ..HostConfig::numbered(1) };
    let receivers = [HostConfig { superframes: true, ..HostConfig::numbered(2) }, HostConfig::numbered(3)];
    for (id, config) in (1..).zip([&sender].into_iter().chain(&receivers)) {
        world.host(super::port(id), config, lan());
    }
    let bulk = Bulk { len: 3_000_000, seed: 5 };
    for (id, receiver) in (2..).zip(&receivers) {
        for (port, address) in (5000 + id as u16 * 10..).zip(receiver.addresses()) {
            world.start(PortId(id), TcpReceive::new(port, bulk));
            world.start(PortId(1), TcpSend::new(SocketAddr::new(address, port), bulk));
        }
    }
    let report = finish(&mut world, &[]);
    let (whole, cut) = (report.line(PortId(2)).unwrap(), report.line(PortId(3)).unwrap());
    assert!(whole.downward.entered * 4 < cut.downward.entered, "superframes were not passed whole");
}
