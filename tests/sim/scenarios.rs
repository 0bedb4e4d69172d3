//! Hosts with real TCP/IP stacks on the simulated switch.
//!
//! The seed is printed; `CLEARWAY_SIM_SEED=n` runs all of them with another one. A drop that the
//! scenario does not name, a program that fails or a damaged frame fails it.

use pipeline::{DropReason, NetworkId, PortId};
use sim::{HostConfig, Report, Wire, World};
use std::sync::Arc;
use std::time::Duration;
use switch::fdb::{Fdb, FdbConfig};
use switch::{Network, Port};

mod attacks;
mod routed;
mod traffic;

pub(crate) const NET: NetworkId = NetworkId(0);

/// The seed, printed.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("CLEARWAY_SIM_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    println!("CLEARWAY_SIM_SEED={seed}");
    seed
}

/// A world with one network.
pub(crate) fn world() -> World {
    let mut world = World::new(seed());
    world.network(network(NET));
    world
}

pub(crate) fn network(id: NetworkId) -> Network {
    let fdb = Arc::new(Fdb::new(FdbConfig::default(), 0x5eed));
    Network {
        id,
        mtu: 1500,
        forward_reserved: false,
        fdb,
        key: None,
        gateway: None,
    }
}

pub(crate) fn port(id: u16) -> Port {
    Port::plain(PortId(id), NET)
}

/// A decent local wire: 1 Gbit/s and 20 microseconds.
pub(crate) fn lan() -> Wire {
    Wire {
        bandwidth: Some(1_000_000_000),
        ..Wire::of(Duration::from_micros(20))
    }
}

/// Hosts 1 to `count` on the ports 1 to `count`.
pub(crate) fn hosts(world: &mut World, count: u16, wire: Wire) -> Vec<HostConfig> {
    let configs: Vec<_> = (1..=count).map(HostConfig::numbered).collect();
    for (id, config) in (1..).zip(&configs) {
        world.host(port(id), config, wire);
    }
    configs
}

/// Runs the world until everybody is done, for ten virtual minutes at most. Prints how it went and
/// fails when it went wrong.
pub(crate) fn finish(world: &mut World, expected: &[DropReason]) -> Report {
    let ended = world.run_to_end(Duration::from_secs(600));
    // What is still on the wires arrives.
    world.run_for(Duration::from_millis(100));
    let report = world.report();
    println!("{report}");
    assert!(ended, "somebody is not done");
    assert_eq!(report.faults(expected), Vec::<String>::new());
    report
}
