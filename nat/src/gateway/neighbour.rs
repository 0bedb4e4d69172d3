//! Where the neighbours on each link are: IP address to MAC (RFC 1122, 2.3.2; RFC 4861, 7.3).
//!
//! Containers are not in here: who attaches them knows their MACs, and those of an interface's
//! configuration come first. What is left are a NIC's next hops and hosts that nobody configured.
//!
//! ```text
//!             resolve: ask              learn: an answer
//!   (none) ----------------> Incomplete ----------------> Reachable <--------------+
//!      ^                      |  poll: 3 questions,         |  30 s                | learn:
//!      |  3 s                 v  1 s apart, no answer       v                      | an answer
//!      +------------------- Failed                        Stale --------------> Probe
//!                              ^       learn: a claim ----> |   poll: in use       |
//!                              |                            |  5 min unused        |
//!                              +--------------------------- | ------ 3 questions --+
//!                                                           v
//!                                                        (none)
//! ```
//! As in Linux a neighbour that was not heard of for a while goes on being used while it is asked
//! again; no packet waits for that. The first two of those questions go to itself alone, the last
//! one to everybody, in case its address moved.
//!
//! # The attack
//! A container sends to every address of a large subnet. Each is asked for, and each question is a
//! place in a table and a broadcast. So a network has [`MAX_OPEN`](super::table::MAX_OPEN) open questions, one port no more
//! than [`MAX_OPEN_OF_A_PORT`](super::table::MAX_OPEN_OF_A_PORT) of them, and a port that asks when all are taken gets the place of
//! one that holds more, or none. A neighbour that answered is never forgotten for a question. An
//! entry is only made for who was asked for, or asked us, from an address of the link's own subnet;
//! beyond [`MAX_KNOWN`](super::table::MAX_KNOWN) the latter is not remembered.
//!
//! # Threads
//! Tables are spread by network over locks that are mostly read: a packet to a known neighbour
//! takes a read lock for two lookups, and the mark that it is in use is a store once a second.

use super::held::{Held, PendingPacket};
use super::link::Link;
use super::table::{Age, Entry, Heard, Phase, Resolution, Room, Table};
use crate::outbox::Outbox;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use model::NeighbourState;
use pipeline::{Effects, Instant, NetworkId, PortId};
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;
use wire::MacAddr;

/// The neighbours of every link.
#[derive(Debug, Default)]
pub struct Neighbours {
    shards: [RwLock<Tables>; SHARDS],
    pub(super) held: Held,
}

/// One neighbour, for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// On which link.
    pub network: NetworkId,
    /// Its address.
    pub ip: IpAddr,
    /// Where it is, as far as is known.
    pub mac: Option<MacAddr>,
    /// How sure that is.
    pub state: NeighbourState,
    /// How long it has been in this state.
    pub age: Duration,
}

/// The result of learning where a neighbour is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    /// It was no news, or none that is believed.
    Known,
    /// An entry was made or changed.
    Changed,
    /// It is of nobody that matters.
    Ignored,
}

type Tables = HashMap<NetworkId, Table, RandomState>;

/// Locks.
const SHARDS: usize = 16;
impl Neighbours {
    /// Returns where `ip` is, that a packet from the port `from` goes to. [`Resolution::Ask`] opens a
    /// question: the caller sends the first one, [`Neighbours::poll`] the others.
    pub(crate) fn resolve(
        &self,
        link: Link<'_>,
        ip: IpAddr,
        from: PortId,
        outbox: &mut Outbox,
    ) -> Resolution {
        let Link {
            interface,
            now,
            effects,
            ..
        } = link;
        if let Some(mac) = interface.neighbours.get(&ip).copied().or(interface.peer) {
            return Resolution::Known(mac);
        }
        let room = {
            let shard = self.read(interface.network);
            let table = shard.get(&interface.network);
            let entry = table.and_then(|table| table.get(ip));
            if let Some(known) = entry.and_then(|entry| entry.resolve(now)) {
                if link.is_live() && entry.is_some_and(|entry| entry.mark_used(now)) {
                    outbox.due(now);
                }
                return known;
            }
            table.map_or(Room::Free, |table| table.room_for(from))
        };
        match (room, effects) {
            // A scan is turned away before it takes the lock that others need.
            (Room::None, _) => Resolution::Wait,
            (Room::Free | Room::Of(_), Effects::None) => Resolution::Ask,
            (Room::Free | Room::Of(_), Effects::Live) => {
                let mut shard = self.write(interface.network);
                let table = shard.entry(interface.network).or_default();
                table.ask(ip, from, now, outbox)
            }
        }
    }

    /// Returns where `ip` is, as far as is known; this does not count as a use.
    pub(crate) fn known(&self, network: NetworkId, ip: IpAddr) -> Option<MacAddr> {
        self.read(network).get(&network)?.get(ip)?.phase.mac()
    }

    /// Returns where `ip` is, and notes that packets go there that nobody saw here.
    pub(crate) fn use_of(
        &self,
        network: NetworkId,
        ip: IpAddr,
        now: Instant,
        outbox: &mut Outbox,
    ) -> Option<MacAddr> {
        let shard = self.read(network);
        let entry = shard.get(&network)?.get(ip)?;
        if entry.mark_used(now) {
            outbox.due(now);
        }
        entry.phase.mac()
    }

    /// Hears that `ip` is at `mac`. Packets that waited for it go to the outbox.
    pub(crate) fn learn(
        &self,
        link: Link<'_>,
        ip: IpAddr,
        mac: MacAddr,
        heard: Heard,
        outbox: &mut Outbox,
    ) -> Learned {
        let Link { interface, now, .. } = link;
        let sound = mac.is_valid_source() && mac != interface.mac && !ip.is_unspecified();
        // What is configured is not for anybody on the link to change.
        if !sound || interface.peer.is_some() || interface.neighbours.contains_key(&ip) {
            return Learned::Ignored;
        }
        let makes = heard == Heard::Question && interface.is_on_link(ip);
        let next = {
            let shard = self.read(interface.network);
            let table = shard.get(&interface.network);
            match table.and_then(|t| t.get(ip)) {
                Some(entry) => entry.phase.heard(mac, heard, now),
                None if makes && table.is_none_or(Table::may_remember) => {
                    Some(Phase::Stale { mac, since: now })
                }
                None => return Learned::Ignored,
            }
        };
        let Some(next) = next else {
            return Learned::Known;
        };
        if link.is_live() {
            let mut shard = self.write(interface.network);
            let table = shard.entry(interface.network).or_default();
            table.set(ip, next, outbox);
            drop(shard);
            self.held.release(interface.network, ip, outbox);
        }
        Learned::Changed
    }

    /// Keeps a packet until its next hop, which `resolution` says is not known, answers. Whether
    /// it waits.
    pub(crate) fn hold(
        &self,
        link: Link<'_>,
        ip: IpAddr,
        pending: PendingPacket<'_>,
        resolution: Resolution,
    ) -> bool {
        let Link { interface, now, .. } = link;
        // Asked while the packets are locked: an answer on another worker comes either before,
        // and is seen here, or after, and finds the packet.
        let waits = || {
            let shard = self.read(interface.network);
            let entry = shard.get(&interface.network).and_then(|t| t.get(ip));
            entry.is_some_and(|e| e.phase.mac().is_none())
        };
        match link.effects {
            Effects::Live => self.held.keep(interface.network, ip, pending, now, waits),
            Effects::None => pending.may_wait() && (resolution == Resolution::Ask || waits()),
        }
    }

    /// Asks again what was not answered, and forgets what is over, on one link, and notes when more
    /// is due. Whose packets waited in vain is added to `unreachable`.
    pub(crate) fn poll(&self, link: Link<'_>, outbox: &mut Outbox, unreachable: &mut Vec<IpAddr>) {
        let Link { interface, now, .. } = link;
        if self
            .read(interface.network)
            .get(&interface.network)
            .is_none()
        {
            return;
        }
        let mut shard = self.write(interface.network);
        let Some(table) = shard.get_mut(&interface.network) else {
            return;
        };
        table.poll(now, outbox, |ip, age, outbox| match age {
            Age::Ask(at) => super::question(interface, ip, at, outbox),
            Age::Failed => {
                unreachable.push(ip);
                true
            }
        });
    }

    /// Forgets the neighbours of a network.
    pub fn flush(&self, network: NetworkId) {
        self.write(network).remove(&network);
    }

    /// Forgets networks that are no longer there.
    pub(super) fn retain(&self, lives: impl Fn(NetworkId) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|network, _| lives(*network));
        }
    }

    /// The neighbours of a network, in the order of their addresses; configured ones are not
    /// among them.
    #[must_use]
    pub fn list(&self, network: NetworkId, now: Instant) -> Vec<Neighbour> {
        let shard = self.read(network);
        let entries = shard.get(&network).into_iter().flat_map(Table::iter);
        let mut list: Vec<_> = entries
            .map(|(ip, entry)| entry.show(network, *ip, now))
            .collect();
        list.sort_unstable_by_key(|n| n.ip);
        list
    }

    fn read(&self, network: NetworkId) -> RwLockReadGuard<'_, Tables> {
        let shard = &self.shards[network.index() % SHARDS];
        shard.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, network: NetworkId) -> RwLockWriteGuard<'_, Tables> {
        let shard = &self.shards[network.index() % SHARDS];
        shard.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn show(&self, network: NetworkId, ip: IpAddr, now: Instant) -> Neighbour {
        Neighbour {
            network,
            ip,
            mac: self.phase.mac(),
            state: self.phase.state(now),
            age: now.since(self.phase.since()),
        }
    }
}
