//! Stage 7, egress: may the frame leave there, and in which form?

use crate::forward::{Flood, Forward};
use crate::topology::{Ingress, Membership, Mirror, Network, Port, Topology};
use crate::vlan::{self, Admitted, Form};
use pipeline::{Context, Decision, Destination, DropReason, Frame, Peers, PortId, Trace};
use wire::Headers;

/// One copy of a frame, to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit {
    /// Through which port.
    pub port: PortId,
    /// In which form.
    pub form: Form,
    /// Where to beyond it.
    pub to: Destination,
}

/// The copies of one frame that are to be sent. A worker owns one and uses it again for every frame.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// The form the frame arrived in.
    pub arrived: Form,
    /// The copies, in the order in which they are sent.
    pub transmits: Vec<Transmit>,
    /// How many of them, from the first on, show the frame as it arrived.
    pub as_arrived: usize,
    /// The frame's sender was somewhere else before.
    pub sender_moved: bool,
}

impl Default for Outputs {
    fn default() -> Self {
        Self {
            arrived: Form::Untagged,
            transmits: Vec::new(),
            as_arrived: 0,
            sender_moved: false,
        }
    }
}

impl Outputs {
    /// Forgets the frame before.
    pub fn clear(&mut self) {
        self.arrived = Form::Untagged;
        self.transmits.clear();
        self.as_arrived = 0;
        self.sender_moved = false;
    }
}

/// Notes the form in which a frame arrived and copies it at a mirrored port to the port's mirror, before anything is
/// decided about it.
pub fn arrive<T: Trace>(
    context: &mut Context<T>,
    topology: &Topology,
    ingress: Ingress<'_>,
    headers: &Headers,
    out: &mut Outputs,
) {
    let Ingress { port, network, .. } = ingress;
    if let Membership::Tunnel(_) = port.membership {
        context.tell(Decision::FromTunnel {
            from: ingress.location(),
            key: network.key.unwrap_or_default().0,
        });
    }
    out.arrived = vlan::arrived(&port.vlan, headers);
    if let Some(mirror) = port.mirror.filter(|m| m.ingress) {
        let copied = copy(topology, network, mirror, out.arrived, out);
        let mirror = mirror.to;
        context.tell(if copied {
            Decision::IngressMirrored { mirror }
        } else {
            Decision::IngressMirrorDown { mirror }
        });
        out.as_arrived = out.transmits.len();
    }
}

/// Decides through which ports, and in which form, a frame leaves; adds them to `out`.
///
/// # Errors
/// Why it leaves nowhere.
pub fn egress<T: Trace>(
    context: &mut Context<T>,
    topology: &Topology,
    ingress: Ingress<'_>,
    admitted: &Admitted,
    forward: Forward,
    packet_len: usize,
    out: &mut Outputs,
) -> Result<(), DropReason> {
    let Ingress {
        port: from,
        network,
        ..
    } = ingress;
    if packet_len > usize::from(network.mtu) {
        context.tell(Decision::AboveMtu {
            len: u32::try_from(packet_len).unwrap_or(u32::MAX),
            mtu: network.mtu,
        });
        return Err(DropReason::MtuExceeded);
    }
    match forward {
        Forward::Unicast(to) => {
            // A port that left since its address was learned, or became a mirror's destination,
            // takes its entries with it at once.
            let peers = Peers::One(to.peer);
            let to = topology
                .member(network, to.port)
                .ok_or(DropReason::TxGone)?;
            let form = leave(from, to, admitted)?;
            push(context, topology, network, (to, peers), form, out);
            Ok(())
        }
        // Nothing is left of it on layer 2.
        Forward::Gateway => Ok(()),
        Forward::Flood(flood) => {
            let before = out.transmits.len();
            let (now, fdb) = (context.now, &network.fdb);
            // Not every member takes part in every flood: that is no drop.
            let mut copy = |to: &Port| {
                if let Some(peers) = ingress.flooded(to.id)
                    && let Ok(form) = leave(from, to, admitted)
                {
                    push(context, topology, network, (to, peers), form, out);
                }
            };
            let members = topology.members(network.id).iter();
            let members = members.filter_map(|&id| topology.port(id));
            match flood {
                Flood::Broadcast | Flood::Multicast | Flood::Unknown => members.for_each(copy),
                Flood::Solicitation => members.filter(|to| to.may_advertise()).for_each(copy),
                Flood::Report => fdb.each_router(now, |id| {
                    if let Some(to) = topology.member(network, id) {
                        copy(to);
                    }
                }),
            }
            if out.transmits.len() > before {
                Ok(())
            } else {
                Err(DropReason::NoReceiver)
            }
        }
    }
}

/// The form in which a frame of `from` leaves through `to`.
fn leave(from: &Port, to: &Port, admitted: &Admitted) -> Result<Form, DropReason> {
    if !to.up {
        return Err(DropReason::EgressDown);
    }
    if from.isolated && to.isolated {
        return Err(DropReason::Isolated);
    }
    vlan::form(&to.vlan, admitted).ok_or(DropReason::EgressVlan)
}

/// Adds the copy for these far ends of a port, and the one for the port's mirror.
fn push<T: Trace>(
    context: &mut Context<T>,
    topology: &Topology,
    network: &Network,
    (to, peers): (&Port, Peers),
    form: Form,
    out: &mut Outputs,
) {
    let (port, key) = (to.id, network.key.unwrap_or_default());
    context.tell(match form {
        Form::Untagged => Decision::Leaves { port },
        Form::Tagged(tag) => Decision::LeavesTagged {
            port,
            vid: tag.vid(),
        },
    });
    if let Membership::Tunnel(_) = to.membership {
        let key = key.0;
        context.tell(match peers {
            Peers::One(peer) => Decision::ToPeer { peer: peer.0, key },
            Peers::All => Decision::ToAllPeers { key },
            Peers::AllBut(peer) => Decision::ToOtherPeers { peer: peer.0, key },
        });
    }
    let mirror = to.mirror;
    let to = Destination { peers, key };
    out.transmits.push(Transmit { port, form, to });
    if let Some(mirror) = mirror.filter(|m| m.egress) {
        let copied = copy(topology, network, mirror, form, out);
        let mirror = mirror.to;
        context.tell(if copied {
            Decision::EgressMirrored { mirror }
        } else {
            Decision::EgressMirrorDown { mirror }
        });
    }
}

/// Adds a copy for a mirror, all its far ends. Returns false where its destination is down.
fn copy(
    topology: &Topology,
    network: &Network,
    mirror: Mirror,
    form: Form,
    out: &mut Outputs,
) -> bool {
    let port = mirror.to;
    let up = topology.port(port).is_some_and(|p| p.up);
    if up {
        let to = Destination {
            peers: Peers::All,
            key: network.key.unwrap_or_default(),
        };
        out.transmits.push(Transmit { port, form, to });
    }
    up
}

/// Rewrites `frame`, which is in the form `now`, into the form `wanted`.
///
/// Always possible: the headroom holds more tags than the switch ever pushes.
pub fn reform(frame: &mut Frame<'_>, now: &mut Form, wanted: Form) {
    if *now == wanted {
        return;
    }
    if let Form::Tagged(_) = now {
        frame.pop_vlan();
    }
    if let Form::Tagged(tag) = wanted {
        let pushed = frame.push_vlan(tag);
        debug_assert!(pushed, "headroom for one tag");
    }
    *now = wanted;
}
