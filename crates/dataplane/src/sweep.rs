//! The look after what the kernel repeats. It may wait for the kernel: nothing for a worker.

use lease::{Basis, Leases, Station};
use nat::{NextHop, Outbox, Router};
use pipeline::Instant;
use std::collections::HashMap;
use switch::Topology;
use switch::fdb::Lookup;

/// Looks after what the kernel repeats: its senders and next hops are remembered, connections are told what
/// was carried of theirs, and a lease ends whose stations are not where they were any more. To be called every
/// second. What the router has to say is put into `outbox`.
pub fn sweep(
    leases: &Leases,
    topology: &Topology,
    router: &Router,
    now: Instant,
    outbox: &mut Outbox,
) {
    let tables = &router.live.tables;
    leases.sweep(|held, is_used| holds(topology, &held.basis, is_used, now));
    let mut reached: HashMap<NextHop, bool> = HashMap::new();
    leases.sweep_grants(|basis, decision| {
        // Nobody is asked for what may never be used.
        let reaches = |hop: NextHop| router.knows_hop(&hop);
        holds(topology, basis, false, now) && decision.next_hop.is_none_or(reaches)
    });
    leases.sweep_flows(tables, now, |held, decision, is_used| {
        let mut reaches = |hop: NextHop| {
            let ask = || router.reaches(&hop, now, outbox);
            *reached.entry(hop).or_insert_with(ask)
        };
        // Nobody is asked for what nobody uses.
        holds(topology, &held.basis, is_used, now)
            && (!is_used || decision.next_hop.is_none_or(&mut reaches))
    });
    leases.settle(tables, now);
}

fn holds(topology: &Topology, basis: &Basis, is_used: bool, now: Instant) -> bool {
    let Basis { sender, receiver } = basis;
    let stays = is_at(topology, sender, now);
    if is_used
        && stays
        && let Some(network) = topology.network(sender.network)
    {
        // Nothing but its age changes.
        let _ = network
            .fdb
            .learn(sender.vlan, sender.mac, sender.port.into(), now);
    }
    stays && is_at(topology, receiver, now)
}

/// Returns whether a station is where it was.
pub(crate) fn is_at(topology: &Topology, station: &Station, now: Instant) -> bool {
    topology.network(station.network).is_some_and(|network| {
        let found = network.fdb.lookup(station.vlan, station.mac, now);
        matches!(found, Lookup::Found { at, .. } if at.port == station.port)
    })
}
