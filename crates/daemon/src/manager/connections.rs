//! Calls about connections: which there are, forgetting them, following what happens to them.
//!
//! Workers note events only while somebody watches. Ten times a second they are taken, named and
//! handed to each watcher; what a watcher has no room for, or the workers had none, it is told as a
//! number with the next event, so that no loss is silent.

use super::leases::Direction;
use super::snapshot::Snapshot;
use super::translate::name;
use super::{Manager, filter};
use api::{
    ApiError, Filter, Flushed, Name, NatCalls, NatChange, NatCount, NatEntry, NatEvent, NatState,
    NatTuple,
};
use arc_swap::ArcSwap;
use control::Endpoint;
use nat::{Change, Entry, Event, Neighbour, Party, Phase, TransportAddr};
use observe::{Flow, FlowMatch, Subject};
use pipeline::NetworkId;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};

/// Those who follow connections.
#[derive(Debug)]
pub(super) struct Watchers {
    all: Mutex<Vec<Watcher>>,
    /// Told when the first one comes.
    some: Notify,
    nat: Arc<nat::Live>,
}

#[derive(Debug)]
struct Watcher {
    wanted: FlowMatch,
    events: mpsc::Sender<NatEvent>,
    /// Events it was not given since the last one it was.
    lost: u64,
}

/// How often events are taken.
const PERIOD: Duration = Duration::from_millis(100);
/// Events that wait for being taken, and for a watcher.
const ROOM: usize = 65_536;

/// The names of endpoints, by network and address.
type Endpoints = HashMap<(NetworkId, IpAddr), Name>;

/// Facts about connections that the table of connections does not have.
#[derive(Debug)]
struct Known {
    endpoints: Endpoints,
    /// Directions that the kernel repeats.
    leased: HashSet<Direction>,
}

impl NatCalls for Manager {
    fn nat(&self, filter: &Filter) -> Result<Vec<NatEntry>, ApiError> {
        self.now().nat(filter)
    }

    fn nat_flush(&self, filter: &Filter) -> Result<Flushed, ApiError> {
        self.now().nat_flush(filter)
    }

    fn nat_watch(&self, filter: &Filter) -> Result<mpsc::Receiver<NatEvent>, ApiError> {
        Ok(self.watchers.add(self.now().wanted(filter)?))
    }

    fn neighbours(&self) -> Result<Vec<api::Neighbour>, ApiError> {
        Ok(self.now().neighbours())
    }
}

impl Watchers {
    /// Makes an empty list; the connections to follow stand in `nat`.
    pub(super) fn new(nat: Arc<nat::Live>) -> Self {
        Self {
            all: Mutex::default(),
            some: Notify::new(),
            nat,
        }
    }

    /// Follows the connections that are `wanted`, from now on.
    pub(super) fn add(&self, wanted: FlowMatch) -> mpsc::Receiver<NatEvent> {
        let (events, receiver) = mpsc::channel(ROOM);
        let mut all = self.all();
        if all.is_empty() {
            self.nat.tables.watch(ROOM);
        }
        all.push(Watcher {
            wanted,
            events,
            lost: 0,
        });
        self.some.notify_one();
        receiver
    }

    /// Hands events on while somebody watches; never ends. Names are those of the newest snapshot.
    pub(super) async fn relay(self: Arc<Self>, shown: Arc<ArcSwap<Snapshot>>) {
        loop {
            self.some.notified().await;
            let mut is_watched = true;
            while is_watched {
                tokio::time::sleep(PERIOD).await;
                let (watchers, now) = (Arc::clone(&self), shown.load_full());
                let handed = tokio::task::spawn_blocking(move || watchers.hand_on(&now)).await;
                is_watched = handed.unwrap_or(false);
            }
        }
    }

    /// Hands what happened to each watcher. False when there is none any more.
    fn hand_on(&self, now: &Snapshot) -> bool {
        let mut all = self.all();
        all.retain(|w| !w.events.is_closed());
        if all.is_empty() {
            self.nat.tables.watch(0);
            return false;
        }
        let mut events = Vec::new();
        let lost = self.nat.tables.events(&mut events);
        let named = now.events(&events);
        all.iter_mut()
            .for_each(|watcher| watcher.take(lost, &named));
        true
    }

    fn all(&self) -> MutexGuard<'_, Vec<Watcher>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watcher {
    /// Takes what passes its filter of `named`, before which `lost` events were not noted.
    fn take(&mut self, lost: u64, named: &[(&Entry, NatEvent)]) {
        self.lost += lost;
        let wanted = named
            .iter()
            .filter(|(entry, _)| matches(&self.wanted, entry));
        for (_, event) in wanted {
            let event = NatEvent {
                lost: self.lost,
                ..event.clone()
            };
            match self.events.try_send(event) {
                Ok(()) => self.lost = 0,
                Err(_) => self.lost += 1,
            }
        }
    }
}

impl Snapshot {
    /// The connections that pass a filter.
    pub(super) fn nat(&self, filter: &Filter) -> Result<Vec<NatEntry>, ApiError> {
        let wanted = self.wanted(filter)?;
        let (known, now) = (self.known(), self.dataplane.now());
        let found = self.dataplane.router();
        let found = found.connections(now, |entry| matches(&wanted, entry));
        let shown = |entry| self.shown_connection(entry, &known);
        Ok(found.iter().filter_map(shown).collect())
    }

    /// Forgets the connections that pass a filter. They are no part of the state: no change has to
    /// be waited for. Those of the daemon's own servers, which are not listed, stay.
    pub(super) fn nat_flush(&self, filter: &Filter) -> Result<Flushed, ApiError> {
        let wanted = self.wanted(filter)?;
        let now = self.dataplane.now();
        let removed = self.dataplane.router().retain_connections(now, |entry| {
            let is_listed = self.state.network(entry.inside().network).is_some();
            !(is_listed && matches(&wanted, entry))
        });
        self.dataplane.take_back();
        Ok(Flushed {
            removed: removed as u64,
        })
    }

    /// A filter of connections, with its names looked up.
    fn wanted(&self, filter: &Filter) -> Result<FlowMatch, ApiError> {
        filter::compile(&filter.filter, Subject::Connections, &self.state)
    }

    /// The router's neighbours on networks and uplinks.
    pub(super) fn neighbours(&self) -> Vec<api::Neighbour> {
        let networks = self.state.networks().map(|n| (n.id, &n.network.name));
        let uplinks = self.state.uplinks().map(|u| (u.place.network, &u.name));
        let (now, view) = (self.dataplane.now(), self.dataplane.view());
        let neighbours = &view.router.live.gateway.neighbours;
        let on_link = |(id, link): (NetworkId, &String)| {
            let (link, found) = (name(link), neighbours.list(id, now));
            let found = found.into_iter();
            found.map(move |neighbour| shown_neighbour(link.clone(), &neighbour))
        };
        networks.chain(uplinks).flat_map(on_link).collect()
    }

    fn events<'e>(&self, events: &'e [Event]) -> Vec<(&'e Entry, NatEvent)> {
        if events.is_empty() {
            return Vec::new();
        }
        let known = self.known();
        let named = |event: &'e Event| Some((&event.entry, self.shown_event(event, &known)?));
        events.iter().filter_map(named).collect()
    }

    /// An endpoint is known to the outside by its port's name.
    fn shown_endpoint(&self, endpoint: &Endpoint) -> Option<Name> {
        self.state.port(endpoint.port).map(|port| name(&port.name))
    }

    fn known(&self) -> Known {
        Known {
            endpoints: self.endpoints_by_address(),
            leased: self.leased_directions(),
        }
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
    fn shown_connection(&self, entry: &Entry, known: &Known) -> Option<NatEntry> {
        let Entry {
            initiator,
            responder,
            ..
        } = entry;
        let holder = entry.inside();
        let network = self.state.network(holder.network)?;
        let endpoint = known.endpoints.get(&(holder.network, holder.addr.ip));
        let count = |traffic: nat::Traffic| NatCount {
            packets: traffic.packets,
            bytes: traffic.bytes,
        };
        Some(NatEntry {
            network: name(&network.name),
            endpoint: endpoint.cloned(),
            protocol: entry.protocol,
            state: state(entry.phase),
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
            leased: directions(entry).iter().any(|it| known.leased.contains(it)),
        })
    }

    fn shown_event(&self, event: &Event, known: &Known) -> Option<NatEvent> {
        Some(NatEvent {
            event: match event.change {
                Change::Opened => NatChange::New,
                Change::Established | Change::Closed => NatChange::Update,
                Change::Ended(_) => NatChange::Destroy,
            },
            entry: self.shown_connection(&event.entry, known)?,
            lost: 0,
        })
    }
}

fn shown_neighbour(link: Name, neighbour: &Neighbour) -> api::Neighbour {
    api::Neighbour {
        network: link,
        address: neighbour.ip,
        mac: neighbour.mac,
        state: neighbour.state,
        age_seconds: neighbour.age.as_secs(),
    }
}

/// Returns whether a connection is one of those that are `wanted`.
fn matches(wanted: &FlowMatch, entry: &Entry) -> bool {
    let ends = [entry.initiator, entry.responder].map(|party| observe::Party {
        network: party.network,
        addr: party.addr,
        seen_as: party.seen_as,
    });
    let flow = Flow::connection(entry.protocol, state(entry.phase), ends);
    wanted.matches(&flow)
}

const fn state(phase: Phase) -> NatState {
    match phase {
        Phase::Opening => NatState::Opening,
        Phase::Established => NatState::Established,
        Phase::Closing => NatState::Closing,
    }
}

/// Both directions of a connection, by their packets as they come.
fn directions(entry: &Entry) -> [Direction; 2] {
    let ends = [&entry.initiator, &entry.responder];
    [ends, [ends[1], ends[0]]].map(|[from, to]| Direction {
        network: from.network,
        protocol: entry.protocol,
        ends: [from.addr, seen(to)],
    })
}

/// The address that the other end knows it by.
fn seen(party: &Party) -> TransportAddr {
    party.seen_as.unwrap_or(party.addr)
}

fn socket(addr: TransportAddr) -> SocketAddr {
    SocketAddr::new(addr.ip, addr.port)
}
