//! Real workers, on the real clock, whom nobody calls: what is due is done at its time.

use crate::site::{A, DB, GUESTS, HOST, Site, UP, WEB, bare_network};
use dataplane::{Config, Dataplane};
use port::memory;
use std::sync::Arc;
use std::time::Duration;
use switch::{Port, Topology};
use wire::{Headers, Net};

const PATIENCE: Duration = Duration::from_secs(30);
/// RFC 5227 section 3, of an address that is new on a link.
const ANNOUNCEMENTS: usize = 3;

#[test]
fn a_new_router_announces_itself_and_goes_on_while_its_workers_sleep() {
    let config = Config {
        workers: 2,
        ..Config::default()
    };
    let dataplane = Dataplane::start(config).unwrap();
    let (port, peer) = memory::pair().unwrap();
    dataplane.add_port(A.port, port, None).unwrap();
    let networks = [WEB, DB, UP, HOST].map(bare_network).into();
    let ports = GUESTS.map(|guest| Port::plain(guest.port, guest.network));
    let topology = Topology::new(networks, ports.into()).unwrap();
    dataplane.publish(Arc::new(topology), Arc::new(Site::new().router()));
    for heard in 0..ANNOUNCEMENTS {
        let announced = || {
            let (frame, _) = peer.recv_within(PATIENCE)?;
            Some(matches!(Headers::parse(&frame).unwrap().net, Net::Arp(_)))
        };
        while !announced().unwrap_or_else(|| panic!("only {heard} were heard")) {}
    }
    // The commands, the publication, and a second twice: nobody looks again and again.
    let woken: u64 = dataplane.workers().iter().map(|w| w.wakeups).sum();
    assert!(woken <= 10, "{woken}");
}
