//! Calls about connections: which there are, forgetting them, following what happens to them.
//!
//! Workers note events only while somebody watches. Ten times a second they are taken, named and
//! handed to each watcher; what a watcher has no room for, or the workers had none, it is told as a
//! number with the next event, so that no loss is silent.

use super::Manager;
use super::core::Core;
use super::refuse::refused;
use super::translate::name;
use api::{
    ApiError, Flushed, Name, NatCalls, NatChange, NatCount, NatEntry, NatEvent, NatFilter,
    NatState, NatTuple, Protocol,
};
use control::Endpoint;
use nat::{
    Change, Entry, Event, Filter, Holder, Neighbour, NeighbourState, Party, Phase, TransportAddr,
};
use pipeline::NetworkId;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use wire::IpProtocol;

/// Who watches.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    all: Vec<Watcher>,
    /// Told when the first one comes.
    pub(super) some: Arc<Notify>,
}

#[derive(Debug)]
struct Watcher {
    filter: NatFilter,
    events: mpsc::Sender<NatEvent>,
    /// Events it was not given since the last one it was.
    lost: u64,
}

/// How often events are taken.
pub(super) const PERIOD: Duration = Duration::from_millis(100);
/// Events that wait for being taken, and for a watcher.
const ROOM: usize = 65_536;

/// The names of endpoints, by network and address.
type Endpoints = HashMap<(NetworkId, IpAddr), Name>;

impl NatCalls for Manager {
    fn nat(&self, filter: &NatFilter) -> Result<Vec<NatEntry>, ApiError> {
        self.core()?.nat(filter)
    }

    fn nat_flush(&self, filter: &NatFilter) -> Result<Flushed, ApiError> {
        self.core()?.nat_flush(filter)
    }

    fn nat_watch(&self, filter: &NatFilter) -> Result<mpsc::Receiver<NatEvent>, ApiError> {
        self.core()?.nat_watch(filter)
    }

    fn neighbours(&self) -> Result<Vec<api::Neighbour>, ApiError> {
        Ok(self.core()?.neighbours())
    }
}

impl Core {
    /// The connections that pass a filter.
    pub(super) fn nat(&self, filter: &NatFilter) -> Result<Vec<NatEntry>, ApiError> {
        let (wide, filter) = self.resolve(filter)?;
        let (endpoints, now) = (self.endpoints_by_address(), self.dataplane.now());
        let view = self.dataplane.view();
        let found = view.router.connections(&wide, now);
        let shown = found
            .iter()
            .filter_map(|e| self.shown_connection(e, &endpoints));
        Ok(shown.filter(|entry| filter.matches(entry)).collect())
    }

    /// Forgets the connections that pass a filter.
    pub(super) fn nat_flush(&self, filter: &NatFilter) -> Result<Flushed, ApiError> {
        let (_, filter) = self.resolve(filter)?;
        let (endpoints, now) = (self.endpoints_by_address(), self.dataplane.now());
        let view = self.dataplane.view();
        let removed = view.router.retain_connections(now, |entry| {
            let shown = self.shown_connection(entry, &endpoints);
            !shown.is_some_and(|entry| filter.matches(&entry))
        });
        Ok(Flushed {
            removed: removed as u64,
        })
    }

    /// What happens to the connections that pass a filter, from now on.
    pub(super) fn nat_watch(
        &mut self,
        filter: &NatFilter,
    ) -> Result<mpsc::Receiver<NatEvent>, ApiError> {
        let (_, filter) = self.resolve(filter)?;
        let (events, receiver) = mpsc::channel(ROOM);
        if self.watchers.all.is_empty() {
            self.nat.tables.watch(ROOM);
        }
        self.watchers.all.push(Watcher {
            filter,
            events,
            lost: 0,
        });
        self.watchers.some.notify_one();
        Ok(receiver)
    }

    /// The router's neighbours on networks and uplinks.
    pub(super) fn neighbours(&self) -> Vec<api::Neighbour> {
        let networks = self.state.networks().map(|n| (n.id, &n.name));
        let uplinks = self.state.uplinks().map(|u| (u.place.network, &u.name));
        let now = self.dataplane.now();
        let on_link = |(id, link): (NetworkId, &String)| {
            let (link, found) = (name(link), self.nat.gateway.neighbours.list(id, now));
            let found = found.into_iter();
            found.map(move |neighbour| shown_neighbour(link.clone(), &neighbour))
        };
        networks.chain(uplinks).flat_map(on_link).collect()
    }

    /// Hands what happened to whoever watches. False when nobody does any more.
    pub(super) fn relay_events(&mut self) -> bool {
        self.watchers.all.retain(|w| !w.events.is_closed());
        if self.watchers.all.is_empty() {
            self.nat.tables.watch(0);
            return false;
        }
        let mut events = Vec::new();
        let lost = self.nat.tables.events(&mut events);
        let endpoints = self.endpoints_by_address();
        let named: Vec<NatEvent> = events
            .iter()
            .filter_map(|event| self.shown_event(event, &endpoints))
            .collect();
        for watcher in &mut self.watchers.all {
            watcher.lost += lost;
            for event in named.iter().filter(|e| watcher.filter.matches(&e.entry)) {
                let event = NatEvent {
                    lost: watcher.lost,
                    ..event.clone()
                };
                match watcher.events.try_send(event) {
                    Ok(()) => watcher.lost = 0,
                    Err(_) => watcher.lost += 1,
                }
            }
        }
        true
    }

    /// The part of a filter that the table itself knows, and the filter with its endpoint by the
    /// name it is shown by. A filter that names what does not exist matches nothing for another
    /// reason than the user thinks, and is refused.
    fn resolve(&self, filter: &NatFilter) -> Result<(Filter, NatFilter), ApiError> {
        let network = match &filter.network {
            Some(network) => {
                let found = self.state.network_named(network.as_str());
                Some(found.map_err(|error| refused(&error))?.id)
            }
            None => None,
        };
        let endpoint = match &filter.endpoint {
            Some(endpoint) => {
                let found = self.state.endpoint_named(endpoint.as_str());
                self.shown_endpoint(found.map_err(|error| refused(&error))?)
            }
            None => None,
        };
        let wide = Filter {
            network,
            port: filter.port,
            protocol: filter.protocol.map(|p| IpProtocol(p.0)),
            ip: None,
        };
        let filter = NatFilter {
            endpoint,
            ..filter.clone()
        };
        Ok((wide, filter))
    }

    /// An endpoint is known to the outside by its port's name.
    fn shown_endpoint(&self, endpoint: &Endpoint) -> Option<Name> {
        self.state.port(endpoint.port).map(|port| name(&port.name))
    }

    fn endpoints_by_address(&self) -> Endpoints {
        let each = self.state.endpoints().flat_map(|endpoint| {
            let shown = self.shown_endpoint(endpoint);
            let addresses = endpoint.addresses.iter();
            addresses.filter_map(move |net| Some(((endpoint.network, net.addr()), shown.clone()?)))
        });
        each.collect()
    }

    /// A connection by the names of networks and endpoints; `None` when its network is gone.
    fn shown_connection(&self, entry: &Entry, endpoints: &Endpoints) -> Option<NatEntry> {
        let Entry {
            initiator,
            responder,
            ..
        } = entry;
        let holder = match entry.holder {
            Holder::Initiator => initiator,
            Holder::Responder => responder,
        };
        let network = self.state.network(holder.network)?;
        let endpoint = endpoints.get(&(holder.network, holder.addr.ip)).cloned();
        let count = |traffic: nat::Traffic| NatCount {
            packets: traffic.packets,
            bytes: traffic.bytes,
        };
        Some(NatEntry {
            network: name(&network.name),
            endpoint,
            protocol: Protocol(entry.protocol.0),
            state: match entry.phase {
                Phase::Opening => NatState::Opening,
                Phase::Established => NatState::Established,
                Phase::Closing => NatState::Closing,
            },
            original: NatTuple {
                src: socket(initiator.addr),
                dst: socket(seen(responder)),
            },
            translated: NatTuple {
                src: socket(seen(initiator)),
                dst: socket(responder.addr),
            },
            sent: count(entry.sent),
            received: count(entry.answered),
            expires_seconds: entry.remaining.as_secs(),
        })
    }

    fn shown_event(&self, event: &Event, endpoints: &Endpoints) -> Option<NatEvent> {
        Some(NatEvent {
            event: match event.change {
                Change::Opened => NatChange::New,
                Change::Established | Change::Closed => NatChange::Update,
                Change::Ended(_) => NatChange::Destroy,
            },
            entry: self.shown_connection(&event.entry, endpoints)?,
            lost: 0,
        })
    }
}

fn shown_neighbour(link: Name, neighbour: &Neighbour) -> api::Neighbour {
    api::Neighbour {
        network: link,
        address: neighbour.ip,
        mac: neighbour.mac.map(|mac| api::Mac(mac.0)),
        state: match neighbour.state {
            NeighbourState::Incomplete => api::NeighbourState::Incomplete,
            NeighbourState::Reachable => api::NeighbourState::Reachable,
            NeighbourState::Stale => api::NeighbourState::Stale,
            NeighbourState::Probe => api::NeighbourState::Probe,
            NeighbourState::Failed => api::NeighbourState::Failed,
        },
        age_seconds: neighbour.age.as_secs(),
    }
}

/// The address that the other end knows it by.
fn seen(party: &Party) -> TransportAddr {
    party.seen_as.unwrap_or(party.addr)
}

fn socket(addr: TransportAddr) -> SocketAddr {
    SocketAddr::new(addr.ip, addr.port)
}
