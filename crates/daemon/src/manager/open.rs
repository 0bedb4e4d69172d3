//! Ports that are open, and what of theirs is in the kernel: handing them to the workers, closing them.
//!
//! The last descriptor of a TAP is closed here, never in a worker: the kernel waits for a grace
//! period (some 16 ms) when a queue is closed, and every port's frames would wait with it. So a
//! [`Persistence`], which holds a descriptor, is kept until the workers have let go of theirs.

use super::refuse::KernelError;
use super::writer::Writer;
use super::{tally, translate};
use api::{ApiError, Counters, Via};
use control::reconcile::PortHeld;
use control::{Endpoint, HostSide, NamespaceId, Port, PortKind, Sandbox, State};
use dataplane::{Counted, Hook};
use host::{Identity, Netns};
use offload::Interfaces;
use pipeline::PortId;
use port::Gone;
use port::tap::{Persistence, Tap};
use std::sync::Arc;
use switch::fdb::FlushFilter;
use wire::MacAddr;

/// What the daemon holds of a port.
#[derive(Debug)]
pub(super) struct OpenPort {
    /// How it is, shared with readers.
    pub(super) status: Arc<PortStatus>,
    /// Of a TAP's interface; it holds a descriptor.
    persistence: Option<Persistence>,
    interface: Interface,
    /// Where its programs are in the kernel, if it has any.
    pub(super) programs: Option<Interfaces>,
    /// The namespace it ends with; none ends only with the daemon.
    pub(super) netns: Option<Netns>,
}

/// What of a port may be in the kernel although no descriptor of it is open.
#[derive(Debug)]
pub(super) enum Interface {
    /// It has none yet.
    None,
    /// A TAP that we made in a sandbox.
    Tap {
        netns: Netns,
        ifname: String,
        mac: MacAddr,
    },
    /// A veth that was there, by its end in our own namespace.
    Veth { host: String },
    /// A veth with programs at its end in our own namespace, and a TAP beside it.
    Programmed {
        side: HostSide,
        /// Whether the veth was there.
        borrowed: bool,
    },
    /// What goes with its descriptors, or stays with whoever has it.
    Other,
}

/// How a port is.
#[derive(Debug, Clone)]
pub(super) struct PortStatus {
    pub(super) condition: Condition,
    /// What it counted before it was last opened.
    earlier: Counters,
    /// The counters since it was opened.
    counted: Option<Counted>,
}

impl PortStatus {
    fn new(condition: Condition) -> Arc<Self> {
        Arc::new(Self {
            condition,
            earlier: Counters::default(),
            counted: None,
        })
    }

    /// Returns all that was ever counted at it.
    pub(super) fn counters(&self) -> Counters {
        let mut counters = self.earlier.clone();
        if let Some(counted) = &self.counted {
            tally::add_totals(&mut counters, &counted.totals());
        }
        counters
    }
}

/// Whether a port can carry frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// It can.
    Open,
    /// It can send, and nothing will come from it any more.
    Ended(String),
    /// It cannot until its interface is set up, or its file is read anew.
    Down(String),
    /// Its interface or its namespace is gone.
    Dead(String),
}

/// A port just opened.
pub(super) struct Opened {
    pub(super) port: port::Port,
    pub(super) persistence: Option<Persistence>,
    pub(super) interface: Interface,
    /// Where its programs are to be.
    pub(super) programs: Option<Interfaces>,
}

impl From<port::Port> for Opened {
    fn from(port: port::Port) -> Self {
        Self {
            port,
            persistence: None,
            interface: Interface::Other,
            programs: None,
        }
    }
}

impl From<Tap> for Opened {
    fn from(tap: Tap) -> Self {
        let persistence = Some(tap.persistence());
        Self {
            port: tap.into_port(),
            persistence,
            interface: Interface::Other,
            programs: None,
        }
    }
}

impl OpenPort {
    /// Whether, and how, it can carry frames.
    pub(super) fn condition(&self) -> &Condition {
        &self.status.condition
    }

    /// Returns what is behind it, as a plan sees it.
    pub(super) fn held(&self) -> PortHeld {
        match self.interface {
            Interface::None => PortHeld::Nothing,
            Interface::Veth { .. } | Interface::Programmed { borrowed: true, .. } => {
                PortHeld::Borrowed
            }
            Interface::Tap { .. } | Interface::Programmed { .. } | Interface::Other => {
                PortHeld::Own
            }
        }
    }

    /// Whether it will never carry a frame again, be that noticed or not: nothing tells at once of a
    /// veth that went with its namespace.
    pub(super) fn is_dead(&self) -> bool {
        matches!(self.condition(), Condition::Dead(_)) || self.is_parted()
    }

    /// Whether a veth that was open is there no more. One that cannot be looked for is taken to be there.
    fn is_parted(&self) -> bool {
        let (Interface::Programmed { side, .. }, Some(at)) = (&self.interface, self.programs)
        else {
            return false;
        };
        let there: Result<_, host::Error> = Netns::with_own_links(|links| links.state(&side.end));
        there.is_ok_and(|there| there.is_none_or(|end| end.index != at.host))
    }

    /// A port that could not be opened.
    pub(super) fn dead(netns: Option<Netns>, interface: Interface, why: String) -> Self {
        Self {
            status: PortStatus::new(Condition::Dead(why)),
            persistence: None,
            interface,
            programs: None,
            netns,
        }
    }

    /// A port that waits to be set up.
    pub(super) fn down(why: &str) -> Self {
        Self {
            status: PortStatus::new(Condition::Down(why.to_owned())),
            persistence: None,
            interface: Interface::None,
            programs: None,
            netns: None,
        }
    }
}

impl Interface {
    /// An endpoint's, as far as it is not held by a descriptor alone.
    pub(super) fn of(state: &State, endpoint: &Endpoint) -> Self {
        if let Some(side) = state.host_side(endpoint) {
            return Self::Programmed {
                side,
                borrowed: matches!(endpoint.via, Via::Veth { .. }),
            };
        }
        match (&endpoint.sandbox, &endpoint.via) {
            (None, _) => Self::None,
            (Some(sandbox), Via::Tap) => Self::Tap {
                netns: netns_of(sandbox),
                ifname: endpoint.ifname.clone(),
                mac: endpoint.mac,
            },
            (Some(_), Via::Veth { host: Some(host) }) => Self::Veth { host: host.clone() },
            (Some(_), Via::MovedTap | Via::Veth { host: None }) => Self::Other,
        }
    }

    /// Gives a veth back.
    pub(super) fn give_back(&self) {
        if let Self::Veth { .. } | Self::Programmed { borrowed: true, .. } = self {
            self.let_go();
        }
    }

    /// Whether the kernel takes its time to remove it.
    pub(super) const fn is_slow_to_go(&self) -> bool {
        matches!(
            self,
            Self::Programmed {
                borrowed: false,
                ..
            }
        )
    }

    /// Removes a TAP whose descriptors are closed, and a veth that we made; gives others back.
    pub(super) fn let_go(&self) {
        let done = match self {
            Self::None | Self::Other => Ok(()),
            Self::Tap { netns, ifname, mac } => netns.run(|inside| {
                let links = inside.links()?;
                match links.state(ifname)? {
                    Some(state) if state.mac == mac.0 => links.remove(ifname),
                    Some(_) | None => Ok(()),
                }
            }),
            Self::Veth { host } => Netns::with_own_links(|links| links.give_back(host)),
            Self::Programmed { side, borrowed } => Netns::with_own_links(|links| {
                if *borrowed {
                    links.give_back(&side.end)
                } else {
                    links.remove(&side.end)
                }
            }),
        };
        if let Err(error) = done
            && !error.is_namespace_gone()
        {
            tracing::warn!(%error, "an interface was left behind");
        }
    }
}

impl Writer {
    /// Hands an opened port to the workers, with what it counted before.
    pub(super) fn take_in(
        &mut self,
        id: PortId,
        netns: Option<Netns>,
        opened: Opened,
    ) -> Result<(), ApiError> {
        let Opened {
            port,
            persistence,
            interface,
            programs,
        } = opened;
        let endpoint = self
            .state
            .port(id)
            .and_then(|it| self.state.endpoint_of(it));
        let mac = endpoint.map(|endpoint| endpoint.mac);
        let hook = programs.map(|at| Hook::new(at.host, mac));
        let added = self.dataplane.add_port(id, port, hook);
        let counted = added.map_err(|error| ApiError::internal(error.to_string()))?;
        let earlier = self.open.remove(&id);
        let status = PortStatus {
            condition: Condition::Open,
            earlier: earlier.map_or_else(Counters::default, |old| old.status.counters()),
            counted: Some(counted),
        };
        self.open.insert(
            id,
            OpenPort {
                status: Arc::new(status),
                persistence,
                interface,
                programs,
                netns,
            },
        );
        Ok(())
    }

    /// Closes a port for good and keeps what it counted; an interface that was made for it goes with it,
    /// a veth that was there is given back.
    pub(super) fn close_for_good(&mut self, id: PortId) {
        self.take_programs(id);
        let Some(open) = self.open.remove(&id) else {
            return;
        };
        if let Some(persistence) = &open.persistence
            && let Err(error) = persistence.set(false)
        {
            // It was removed before us.
            tracing::debug!(%error, "an interface was gone already");
        }
        self.dataplane.remove_port(id);
        tally::add(&mut self.past, &open.status.counters());
        let of_container = matches!(open.interface, Interface::Tap { .. });
        // The last descriptor of a TAP takes it along.
        if open.persistence.is_none() || !of_container {
            self.removals.begin(open.interface);
        }
    }

    /// Closes a port that carries nothing any more, and says why.
    pub(super) fn close_as(&mut self, id: PortId, condition: Condition) {
        self.take_programs(id);
        self.dataplane.remove_port(id);
        let Some(open) = self.open.get_mut(&id) else {
            return;
        };
        let status = PortStatus {
            condition,
            earlier: open.status.counters(),
            counted: None,
        };
        open.status = Arc::new(status);
        open.persistence = None;
        // Whoever was behind it may turn up elsewhere: that is found out by flooding.
        for fdb in self.state.networks().filter_map(|n| self.live.fdb(n.id)) {
            fdb.flush(FlushFilter {
                port: Some(id),
                ..FlushFilter::default()
            });
        }
    }

    /// A worker says that a queue of a port will never receive again.
    pub(super) fn port_died(&mut self, id: PortId, why: &Gone) {
        let (Some(port), Some(open)) = (self.state.port(id), self.open.get_mut(&id)) else {
            return;
        };
        if *open.condition() != Condition::Open {
            return;
        }
        tracing::warn!(port = %port.name, "{why}");
        match why {
            Gone::EndOfFile if writes(port) => {
                Arc::make_mut(&mut open.status).condition = Condition::Ended(why.to_string());
            }
            Gone::EndOfFile | Gone::Down => self.close_as(id, Condition::Down(why.to_string())),
            Gone::Removed | Gone::Io(_) => self.close_as(id, Condition::Dead(why.to_string())),
        }
    }
}

/// Returns whether frames go to a file there.
const fn writes(port: &Port) -> bool {
    matches!(
        &port.kind,
        PortKind::Own {
            kind: api::PortKind::Pcap { write: Some(_), .. },
            ..
        }
    )
}

/// The namespace of an endpoint's sandbox, whose end is the endpoint's; none before it is there.
pub(super) fn watched(endpoint: &Endpoint) -> Option<Netns> {
    let sandbox = endpoint.sandbox.as_ref()?;
    sandbox.identity.map(|_| netns_of(sandbox))
}

/// The namespace of a sandbox, whether or not it is still there.
pub(super) fn netns_of(sandbox: &Sandbox) -> Netns {
    known(&sandbox.namespace, sandbox.identity)
}

pub(super) fn known(netns: &api::Netns, identity: Option<NamespaceId>) -> Netns {
    // Nothing has inode 0: what is not there yet cannot be entered, nor be found alive.
    let (device, inode) = identity.map_or((0, 0), |id| (id.device, id.inode));
    Netns::known(translate::place(netns), Identity { device, inode })
}

impl Opened {
    /// Makes a TAP in a container outlive the daemon. One beside a veth is made anew by the next.
    pub(super) fn persist(&self) -> Result<(), KernelError> {
        match (&self.persistence, &self.interface) {
            (None, _) | (_, Interface::Programmed { .. }) => Ok(()),
            (Some(persistence), _) => Ok(persistence.set(true)?),
        }
    }
}
