//! Ports of the kernel: making them, taking them up again, closing them.
//!
//! A TAP is not persistent until it is remembered: a daemon that dies before that leaves nothing
//! in the container. Once it is remembered it is persistent: a daemon that dies after that leaves
//! the interface, and the next one takes it up.
//!
//! The last descriptor of a TAP is closed here, never in a worker: the kernel waits for a grace
//! period (some 16 ms) when a queue is closed, and every port's frames would wait with it. So a
//! [`Persistence`], which holds a descriptor, is kept until the workers have let go of theirs.

use super::refuse::KernelError;
use super::writer::Writer;
use super::{tally, translate};
use api::{ApiError, Counters, Via};
use control::reconcile::PortHeld;
use control::{Endpoint, InterfacePlan, InterfaceStep, NamespaceId, Port, PortKind, Sandbox};
use dataplane::Counted;
use host::{Identity, Inside, Links, NamespaceRef, Netns};
use pipeline::PortId;
use port::pcap::{Recording, Speed};
use port::tap::{Persistence, Tap, TapConfig};
use port::{Gone, InterfaceName, pcap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
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
    port: port::Port,
    persistence: Option<Persistence>,
    interface: Interface,
}

impl From<port::Port> for Opened {
    fn from(port: port::Port) -> Self {
        Self {
            port,
            persistence: None,
            interface: Interface::Other,
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
            Interface::Veth { .. } => PortHeld::Borrowed,
            Interface::Tap { .. } | Interface::Other => PortHeld::Own,
        }
    }

    /// A port that could not be opened.
    pub(super) fn dead(netns: Option<Netns>, interface: Interface, why: String) -> Self {
        Self {
            status: PortStatus::new(Condition::Dead(why)),
            persistence: None,
            interface,
            netns,
        }
    }

    /// A port that waits to be set up.
    pub(super) fn down(why: &str) -> Self {
        Self {
            status: PortStatus::new(Condition::Down(why.to_owned())),
            persistence: None,
            interface: Interface::None,
            netns: None,
        }
    }
}

impl Interface {
    /// An endpoint's, as far as it is not held by a descriptor alone.
    pub(super) fn of(endpoint: &Endpoint) -> Self {
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
        if let Self::Veth { .. } = self {
            self.let_go();
        }
    }

    /// Removes a TAP whose descriptors are closed, gives a veth back.
    fn let_go(&self) {
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
        } = opened;
        let added = self.dataplane.add_port(id, port, None);
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
                netns,
            },
        );
        Ok(())
    }

    /// Closes a port for good and keeps what it counted; a TAP's interface goes with it, a veth is
    /// given back.
    pub(super) fn close_for_good(&mut self, id: PortId) {
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
        // The last descriptor of a TAP takes it along.
        if open.persistence.is_none() {
            open.interface.let_go();
        }
    }

    /// Closes a port that carries nothing any more, and says why.
    pub(super) fn close_as(&mut self, id: PortId, condition: Condition) {
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

fn known(netns: &api::Netns, identity: Option<NamespaceId>) -> Netns {
    // Nothing has inode 0: what is not there yet cannot be entered, nor be found alive.
    let (device, inode) = identity.map_or((0, 0), |id| (id.device, id.inode));
    Netns::known(translate::place(netns), Identity { device, inode })
}

/// Makes an endpoint's interface, or opens the one that is there. A TAP is not persistent yet:
/// dropping it takes everything back.
pub(super) fn make_endpoint(endpoint: &Endpoint) -> Result<Opened, KernelError> {
    let netns = holder_of(endpoint)?;
    if let Some(host) = endpoint.veth() {
        return Ok(open_veth(&netns, host)?.of(endpoint));
    }
    let plan = endpoint.plan();
    let tap = netns.run(|inside| {
        let links = inside.links()?;
        refuse_existing(&links, &netns, &plan)?;
        carry_out(&links, &plan)
    })?;
    Ok(Opened::from(tap).of(endpoint))
}

/// Takes up an endpoint's interface that an earlier daemon left, or makes it anew.
pub(super) fn take_up_endpoint(endpoint: &Endpoint) -> Result<Opened, KernelError> {
    let sandbox = endpoint.sandbox.as_ref().ok_or(KernelError::NotJoined)?;
    let held = |netns: &Netns, anew: bool| {
        netns.run(|inside| {
            let links = inside.links()?;
            match links.state(&endpoint.ifname)? {
                Some(_) => reopen_tap(&endpoint.ifname, endpoint.queues),
                None if anew => carry_out(&links, &endpoint.plan()),
                None => Err(KernelError::Lost {
                    netns: sandbox.namespace.to_string(),
                    mac: endpoint.mac,
                }),
            }
        })
    };
    let tap = match &endpoint.via {
        Via::Veth { host } => {
            let host = host.as_ref().ok_or(KernelError::NotJoined)?;
            return Ok(open_veth(&holder_of(endpoint)?, host)?.of(endpoint));
        }
        Via::Tap => held(&netns_of(sandbox), true)?,
        // It has a name there that we were not told.
        Via::MovedTap => {
            let arrived = watched(endpoint).map(|sandbox| moved(&sandbox, endpoint));
            match arrived.transpose()?.flatten() {
                Some(tap) => tap,
                None => held(&holder_of(endpoint)?, false)?,
            }
        }
    };
    Ok(Opened::from(tap).of(endpoint))
}

/// The namespace in which an endpoint's interface is made.
fn holder_of(endpoint: &Endpoint) -> Result<Netns, KernelError> {
    let sandbox = endpoint.sandbox.as_ref().ok_or(KernelError::NotJoined)?;
    match endpoint.via {
        Via::Tap => Ok(netns_of(sandbox)),
        Via::MovedTap | Via::Veth { .. } => Ok(Netns::find(NamespaceRef::Own)?),
    }
}

/// The TAP that was moved into a sandbox, if it has arrived there.
fn moved(sandbox: &Netns, endpoint: &Endpoint) -> Result<Option<Tap>, KernelError> {
    sandbox.run(|inside| {
        let found = inside.links()?.with_mac(endpoint.mac.0)?;
        let open = |ifname: String| reopen_tap(&ifname, endpoint.queues);
        found.map(open).transpose()
    })
}

/// The host's end of a container's veth, for us alone.
fn open_veth(netns: &Netns, host: &str) -> Result<Opened, KernelError> {
    netns.run(|inside| inside.links()?.take_over(host))?;
    open_packet(netns, host)
}

/// A veth pair that connects a sandbox with us.
pub(super) struct Veth {
    /// Its end in the sandbox.
    pub(super) inside: String,
    /// Its end in our own namespace.
    pub(super) host: String,
}

/// Finds the veth in a sandbox that has this MAC address.
pub(super) fn find_veth(
    netns: &api::Netns,
    identity: Option<NamespaceId>,
    mac: MacAddr,
) -> Result<Veth, KernelError> {
    let no_veth = || KernelError::NoVeth {
        netns: netns.to_string(),
        mac,
    };
    let ends = known(netns, identity).run(|inside| inside.links()?.veth_with_mac(mac.0))?;
    let ends = ends.ok_or_else(no_veth)?;
    let host = Netns::with_own_links(|links| links.name_of(ends.outside))?;
    Ok(Veth {
        inside: ends.inside,
        host: host.ok_or_else(no_veth)?,
    })
}

fn open_packet(netns: &Netns, ifname: &str) -> Result<Opened, KernelError> {
    let name: InterfaceName = ifname.parse()?;
    let port = netns.run(|_| Ok::<_, KernelError>(port::packet::open(&name)?))?;
    Ok(port.into())
}

fn refuse_existing(links: &Links, netns: &Netns, plan: &InterfacePlan) -> Result<(), KernelError> {
    for step in &plan.steps {
        if let InterfaceStep::MakeTap { ifname, .. } = step
            && links.state(ifname)?.is_some()
        {
            return Err(KernelError::Exists {
                netns: netns.place().to_string(),
                ifname: ifname.clone(),
            });
        }
    }
    Ok(())
}

fn carry_out(links: &Links, plan: &InterfacePlan) -> Result<Tap, KernelError> {
    let tap = std::cell::Cell::new(None);
    let act = |step: &InterfaceStep| -> Result<(), KernelError> {
        match step {
            InterfaceStep::MakeTap { ifname, queues } => {
                tap.set(Some(open_tap(ifname, *queues, false)?));
            }
            // The last descriptor of a TAP that is not persistent takes it along.
            InterfaceStep::RemoveTap { .. } => drop(tap.take()),
            InterfaceStep::Configure { ifname, mac, mtu } => {
                links.configure(ifname, mac.0, *mtu)?;
            }
            InterfaceStep::Prepare { ifname, mac, mtu } => links.prepare(ifname, mac.0, *mtu)?,
            InterfaceStep::AddAddress { ifname, address } => links.add_address(ifname, *address)?,
            InterfaceStep::DefaultRoute { ifname, gateway } => {
                links.add_default_route(ifname, *gateway)?;
            }
        }
        Ok(())
    };
    let undo = |step: &InterfaceStep| step.undo().map_or(Ok(()), |undo| act(&undo));
    match host::execute(&plan.steps, act, undo) {
        Ok(()) => Ok(tap.take().expect("every plan makes a TAP")),
        Err(failed) if failed.left_behind.is_empty() => Err(failed.error),
        Err(failed) => {
            let left_behind: Vec<_> = failed.left_behind.iter().map(ToString::to_string).collect();
            Err(KernelError::LeftBehind {
                error: Box::new(failed.error),
                left_behind: left_behind.join("; "),
            })
        }
    }
}

/// Opens the port behind `port`, which is not an endpoint's. `fresh` is one that was just asked
/// for: its TAP must not be there yet.
pub(super) fn open_port(
    port: &Port,
    mtu: u16,
    fresh: bool,
) -> Result<(Opened, Option<Netns>), KernelError> {
    let PortKind::Own { kind, identity } = &port.kind else {
        unreachable!("an endpoint's port is made with its endpoint")
    };
    let inside = |netns: &Option<api::Netns>| match netns {
        Some(netns) => Ok(known(netns, *identity)),
        None => Netns::find(NamespaceRef::Own),
    };
    match kind {
        api::PortKind::Tap {
            netns,
            ifname,
            queues,
        } => {
            let netns = inside(netns)?;
            let tap = netns.run(|inside| plain_tap(inside, &netns, ifname, *queues, mtu, fresh))?;
            Ok((tap.into(), Some(netns)))
        }
        api::PortKind::Packet { netns, interface } => {
            let netns = inside(netns)?;
            Ok((open_packet(&netns, interface)?, Some(netns)))
        }
        api::PortKind::Pcap { read, write, speed } => {
            let paced = *speed == api::PcapSpeed::Recorded;
            let port = open_capture(read.as_deref(), write.as_ref(), paced)?;
            Ok((port.into(), None))
        }
        api::PortKind::Null => Ok((port::memory::null()?.into(), None)),
    }
}

fn plain_tap(
    inside: &Inside,
    netns: &Netns,
    ifname: &str,
    queues: u8,
    mtu: u16,
    fresh: bool,
) -> Result<Tap, KernelError> {
    let links = inside.links()?;
    if links.state(ifname)?.is_some() {
        if fresh {
            return Err(KernelError::Exists {
                netns: netns.place().to_string(),
                ifname: ifname.to_owned(),
            });
        }
        return reopen_tap(ifname, queues);
    }
    let tap = open_tap(ifname, queues, false)?;
    links.set_mtu(ifname, mtu)?;
    links.set_up(ifname, true)?;
    Ok(tap)
}

/// Opens a TAP that an earlier daemon left. Its descriptors are gone when that has ended, but for
/// copies that programs have which it was just about to start.
pub(super) fn reopen_tap(ifname: &str, queues: u8) -> Result<Tap, KernelError> {
    let begun = Instant::now();
    loop {
        match open_tap(ifname, queues, true) {
            Err(KernelError::Port(error))
                if error.raw_os_error() == Some(nix::libc::EBUSY) && begun.elapsed() < LET_GO =>
            {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the pause between two looks; nothing tells of a descriptor's end"
                )]
                std::thread::sleep(LOOK);
            }
            opened => return opened,
        }
    }
}

/// How long the last holder of a TAP may take to let go of it, and how often that is looked at.
const LET_GO: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(5);

pub(super) fn open_tap(ifname: &str, queues: u8, persistent: bool) -> Result<Tap, KernelError> {
    let config = TapConfig {
        queues: queues.into(),
        persistent,
        ..TapConfig::new(ifname.parse()?)
    };
    Ok(Tap::open(config)?)
}

impl Opened {
    /// The port of an endpoint.
    fn of(self, endpoint: &Endpoint) -> Self {
        Self {
            interface: Interface::of(endpoint),
            ..self
        }
    }

    /// Makes a TAP's interface outlive the daemon.
    pub(super) fn persist(&self) -> Result<(), KernelError> {
        match &self.persistence {
            Some(persistence) => Ok(persistence.set(true)?),
            None => Ok(()),
        }
    }
}

fn open_capture(
    read: Option<&Path>,
    write: Option<&PathBuf>,
    paced: bool,
) -> Result<port::Port, KernelError> {
    let speed = if paced { Speed::Recorded } else { Speed::Full };
    let recording = write.cloned().map(Recording::new);
    Ok(match (read, &recording) {
        (Some(read), Some(recording)) => pcap::replay_and_record(read, speed, recording)?,
        (Some(read), None) => pcap::replay(read, speed)?,
        (None, Some(recording)) => pcap::record(recording)?,
        (None, None) => {
            unreachable!("a capture port without files is refused when it is asked for")
        }
    })
}
