//! Stage 4, forward: where does the frame go?
//!
//! A group address and an address nobody was seen with are flooded; a flood is what a loop or a
//! hostile container multiplies, so each kind has its own limit a port.

use crate::fdb::Lookup;
use crate::topology::{Ingress, Port};
use pipeline::{Context, Decision, DropReason, Effects, Location, Trace};
use wire::{MacAddr, VlanId};

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// To the place where its destination is.
    Unicast(Location),
    /// To every other port of the network that carries its VLAN.
    Flood(Flood),
    /// To the network's gateway: it leaves layer 2.
    Gateway,
}

/// Why a frame is flooded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// It is for everybody.
    Broadcast,
    /// It is for a group.
    Multicast,
    /// Nobody knows where its destination is.
    Unknown,
    /// It is for a group, and tells multicast routers who listens to what: it is for them alone.
    Report,
    /// It is for a group, and looks for routers: it is for ports that may be one's.
    Solicitation,
}

/// Decides where a frame from `src` to `dst` goes. A source is behind the port its frame came from,
/// whatever the table says by now.
///
/// # Errors
/// [`DropReason::ReservedAddress`], [`DropReason::SamePort`], or the limit that is used up.
pub fn forward<T: Trace>(
    context: &mut Context<T>,
    ingress: Ingress<'_>,
    vlan: VlanId,
    src: MacAddr,
    dst: MacAddr,
) -> Result<Forward, DropReason> {
    let Ingress { port, network, .. } = ingress;
    let flood = if dst.is_group() {
        if dst.is_reserved() && !network.forward_reserved {
            return Err(DropReason::ReservedAddress);
        }
        if dst.is_broadcast() {
            Flood::Broadcast
        } else {
            Flood::Multicast
        }
    } else if dst == src {
        return Err(DropReason::SamePort);
    } else if network
        .gateway
        .is_some_and(|g| g.mac == dst && g.vlan == vlan)
    {
        context.tell(Decision::ToGateway { mac: dst });
        return Ok(Forward::Gateway);
    } else {
        match network.fdb.lookup(vlan, dst, context.now) {
            Lookup::Found { at, .. } if !ingress.may_reach(at) => return Err(DropReason::SamePort),
            Lookup::Found { at, .. } => {
                context.tell(Decision::ToPort { mac: dst, port: at });
                return Ok(Forward::Unicast(at));
            }
            Lookup::Unknown => Flood::Unknown,
        }
    };
    context.tell(match flood {
        Flood::Broadcast => Decision::FloodBroadcast,
        Flood::Multicast | Flood::Report | Flood::Solicitation => {
            Decision::FloodMulticast { group: dst }
        }
        Flood::Unknown => Decision::FloodUnknown { mac: dst },
    });
    within_limit(context, port, flood)?;
    Ok(Forward::Flood(flood))
}

fn within_limit<T>(context: &Context<T>, port: &Port, flood: Flood) -> Result<(), DropReason> {
    let (meter, reason) = match flood {
        Flood::Broadcast => (&port.storm.broadcast, DropReason::StormBroadcast),
        Flood::Multicast | Flood::Report | Flood::Solicitation => {
            (&port.storm.multicast, DropReason::StormMulticast)
        }
        Flood::Unknown => (&port.storm.unknown, DropReason::StormUnknown),
    };
    let Some(meter) = meter else { return Ok(()) };
    let allowed = match context.effects {
        Effects::Live => meter.take(context.now),
        Effects::None => meter.would_take(context.now),
    };
    if allowed { Ok(()) } else { Err(reason) }
}
