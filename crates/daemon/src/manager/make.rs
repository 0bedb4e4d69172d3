//! Interfaces and files behind ports: making them, and taking them up again.
//!
//! A TAP in a container is not persistent until it is remembered: a daemon that dies before that leaves
//! nothing there. Once it is remembered it is persistent: a daemon that dies after that leaves the
//! interface, and the next one takes it up. A veth stays whoever dies; one that no state remembers is
//! removed by the next daemon's first round, and the TAP beside it goes with whoever opened it.

use super::open::{Interface, Opened, known, netns_of, watched};
use super::refuse::KernelError;
use api::Via;
use control::{
    Endpoint, InterfacePlan, InterfaceStep, NamespaceId, Port, PortKind, Sandbox, State,
    TAP_MTU_MAX,
};
use host::{Inside, Links, NamespaceRef, Netns};
use offload::Interfaces;
use port::pcap::{Recording, Speed};
use port::tap::{Tap, TapConfig};
use port::{InterfaceName, pcap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wire::MacAddr;

/// Makes an endpoint's interface, or opens the one that is there. A TAP is not persistent yet:
/// dropping it takes it back, and [`unmake`] the rest.
pub(super) fn make_endpoint(state: &State, endpoint: &Endpoint) -> Result<Opened, KernelError> {
    let sandbox = endpoint.sandbox.as_ref().ok_or(KernelError::NotJoined)?;
    if let Some(host) = endpoint.veth() {
        Netns::with_own_links(|links| links.take_over(host))?;
    }
    let (netns, plan) = (netns_of(sandbox), state.plan(endpoint));
    let here = match &plan.here[..] {
        [] => None,
        steps => Netns::with_own_links(|links| carry_out(links, steps, endpoint, &netns))?,
    };
    let there = match &plan.there[..] {
        [] => Ok(None),
        steps => netns.run(|inside| carry_out(&inside.links()?, steps, endpoint, &netns)),
    };
    match there {
        Ok(there) => opened(state, endpoint, here.or(there)),
        Err(error) => {
            drop(here);
            Err(left_behind(error, &unmake(&plan)))
        }
    }
}

/// Takes up an endpoint's interface that an earlier daemon left, or makes it anew.
pub(super) fn take_up_endpoint(state: &State, endpoint: &Endpoint) -> Result<Opened, KernelError> {
    let sandbox = endpoint.sandbox.as_ref().ok_or(KernelError::NotJoined)?;
    if let Some(side) = state.host_side(endpoint) {
        let there = Netns::with_own_links(|links| links.state(&side.end))?;
        return match (there, &endpoint.via) {
            (Some(_), _) => take_up_host_side(state, endpoint),
            (None, Via::Tap) => make_endpoint(state, endpoint),
            (None, Via::MovedTap | Via::Veth { .. }) => Err(lost(sandbox, endpoint)),
        };
    }
    let tap = match &endpoint.via {
        Via::Veth { .. } => return make_endpoint(state, endpoint),
        Via::Tap => {
            let left = netns_of(sandbox).run(|inside| {
                let there = inside.links()?.state(&endpoint.ifname)?;
                let open = |_| reopen_tap(&endpoint.ifname, endpoint.queues);
                there.map(open).transpose()
            });
            match left? {
                Some(tap) => tap,
                None => return make_endpoint(state, endpoint),
            }
        }
        // It has a name there that we were not told.
        Via::MovedTap => {
            let arrived = watched(endpoint).map(|sandbox| moved(&sandbox, endpoint));
            match arrived.transpose()?.flatten() {
                Some(tap) => tap,
                None => Netns::with_own_links(|links| match links.state(&endpoint.ifname)? {
                    Some(_) => reopen_tap(&endpoint.ifname, endpoint.queues),
                    None => Err(lost(sandbox, endpoint)),
                })?,
            }
        }
    };
    opened(state, endpoint, Some(tap))
}

/// Takes up a veth by our end of it: what is missing beside it is made.
fn take_up_host_side(state: &State, endpoint: &Endpoint) -> Result<Opened, KernelError> {
    if let Some(host) = endpoint.veth() {
        Netns::with_own_links(|links| links.take_over(host))?;
    }
    let sandbox = endpoint.sandbox.as_ref().ok_or(KernelError::NotJoined)?;
    let mut steps = state.plan(endpoint).here;
    steps.retain(|step| match step {
        InterfaceStep::MakeTap { .. } | InterfaceStep::Hide { .. } => true,
        InterfaceStep::MakeVeth { .. }
        | InterfaceStep::RemoveVeth { .. }
        | InterfaceStep::RemoveTap { .. }
        | InterfaceStep::Configure { .. }
        | InterfaceStep::Prepare { .. }
        | InterfaceStep::AddAddress { .. }
        | InterfaceStep::DefaultRoute { .. } => false,
    });
    let netns = netns_of(sandbox);
    let tap = Netns::with_own_links(|links| carry_out(links, &steps, endpoint, &netns))?;
    opened(state, endpoint, tap)
}

/// The port of an endpoint whose interface was made, or is there.
fn opened(state: &State, endpoint: &Endpoint, tap: Option<Tap>) -> Result<Opened, KernelError> {
    let interface = Interface::of(state, endpoint);
    let mut programs = None;
    if let (Interface::Programmed { side, .. }, Some(tap)) = (&interface, &tap) {
        let end = Netns::with_own_links(|links| links.state(&side.end))?;
        let sandbox = endpoint.sandbox.as_ref().ok_or(KernelError::NotJoined)?;
        programs = Some(Interfaces {
            host: end.ok_or_else(|| lost(sandbox, endpoint))?.index,
            tap: Some(tap.index()),
        });
    }
    let opened = match (tap, endpoint.veth()) {
        (Some(tap), _) => Opened::from(tap),
        (None, Some(host)) => open_packet(&Netns::find(NamespaceRef::Own)?, host)?,
        (None, None) => unreachable!("every plan without a veth makes a TAP"),
    };
    Ok(Opened {
        interface,
        programs,
        ..opened
    })
}

/// Takes back what a plan made here, but for a TAP, which its descriptors take along.
pub(super) fn unmake(plan: &InterfacePlan) -> Vec<KernelError> {
    let undo = plan.undo().here;
    let undone = Netns::with_own_links(|links| {
        let remove = |step: &InterfaceStep| {
            if let InterfaceStep::RemoveVeth { host } = step {
                links.remove(host)
            } else {
                Ok(())
            }
        };
        Ok::<_, KernelError>(host::teardown(&undo, remove))
    });
    match undone {
        Ok(left) => left.into_iter().map(KernelError::from).collect(),
        Err(error) => vec![error],
    }
}

fn left_behind(error: KernelError, left: &[KernelError]) -> KernelError {
    if left.is_empty() {
        return error;
    }
    let left: Vec<_> = left.iter().map(ToString::to_string).collect();
    KernelError::LeftBehind {
        error: Box::new(error),
        left_behind: left.join("; "),
    }
}

fn lost(sandbox: &Sandbox, endpoint: &Endpoint) -> KernelError {
    KernelError::Lost {
        netns: sandbox.namespace.to_string(),
        mac: endpoint.mac,
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

/// Carries steps out in the namespace of `links`, or takes back those that were done.
fn carry_out(
    links: &Links,
    steps: &[InterfaceStep],
    endpoint: &Endpoint,
    sandbox: &Netns,
) -> Result<Option<Tap>, KernelError> {
    let tap = std::cell::Cell::new(None);
    let exists = |netns: &Netns, ifname: &str| KernelError::Exists {
        netns: netns.place().to_string(),
        ifname: ifname.to_owned(),
    };
    let act = |step: &InterfaceStep| -> Result<(), KernelError> {
        match step {
            InterfaceStep::MakeTap { ifname, queues } if *ifname == endpoint.ifname => {
                if links.state(ifname)?.is_some() {
                    return Err(exists(&holder_of(endpoint, sandbox)?, ifname));
                }
                tap.set(Some(open_tap(ifname, *queues, false)?));
            }
            // Beside a veth; an earlier daemon's is about to go.
            InterfaceStep::MakeTap { ifname, queues } => {
                tap.set(Some(await_tap(ifname, *queues, false)?));
            }
            // The last descriptor of a TAP that is not persistent takes it along.
            InterfaceStep::RemoveTap { .. } => drop(tap.take()),
            InterfaceStep::MakeVeth {
                host,
                ifname,
                there,
            } => match links.make_veth(host, ifname, there.then_some(sandbox)) {
                Err(host::Error::Link { source, .. })
                    if source.kind() == ErrorKind::AlreadyExists =>
                {
                    return Err(exists(&holder_of(endpoint, sandbox)?, ifname));
                }
                made => made?,
            },
            InterfaceStep::RemoveVeth { host } => links.remove(host)?,
            InterfaceStep::Hide { ifname, endpoint } => {
                links.hide(ifname, endpoint, TAP_MTU_MAX)?;
            }
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
    match host::execute(steps, act, undo) {
        Ok(()) => Ok(tap.take()),
        Err(failed) => Err(left_behind(failed.error, &failed.left_behind)),
    }
}

/// The namespace in which an endpoint's interface is made.
fn holder_of(endpoint: &Endpoint, sandbox: &Netns) -> Result<Netns, KernelError> {
    match endpoint.via {
        Via::Tap => Ok(sandbox.clone()),
        Via::MovedTap | Via::Veth { .. } => Ok(Netns::find(NamespaceRef::Own)?),
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
    await_tap(ifname, queues, true)
}

fn await_tap(ifname: &str, queues: u8, persistent: bool) -> Result<Tap, KernelError> {
    let begun = Instant::now();
    loop {
        match open_tap(ifname, queues, persistent) {
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
