//! Stage 2, admit: may this port send this frame, and in which VLAN is it?
//!
//! The attack: a container is root in its own namespace and puts any bytes on its wire. A port
//! that was given its addresses is locked to them, so a neighbour's MAC, IP, ARP answers, router
//! advertisements or DHCP leases cannot be claimed from it. What a lock cannot check it refuses
//! ([`DropReason::Unverifiable`]): a damaged header is no way around it.

use crate::topology::{Ingress, Lock};
use crate::vlan::{self, Admitted};
use pipeline::{Context, Decision, DropReason, PortId, Trace};
use std::net::{Ipv4Addr, Ipv6Addr};
use wire::{Headers, Nd, Net, Transport, VlanTag};

/// Decides whether the ingress port may send a frame with these headers.
///
/// # Errors
/// Why it may not.
pub fn admit<T: Trace>(
    context: &mut Context<T>,
    ingress: Ingress<'_>,
    headers: &Headers,
) -> Result<Admitted, DropReason> {
    let Ingress { port, network, .. } = ingress;
    if !headers.src.is_valid_source() {
        return Err(DropReason::SourceInvalid);
    }
    if network.gateway.is_some_and(|g| g.mac == headers.src) {
        return Err(DropReason::SpoofedGateway);
    }
    if let Some(lock) = &port.lock {
        lock.check(headers)?;
        lock.tell(port.id, headers, &mut context.trace);
    }
    let admitted = vlan::classify(&port.vlan, headers)?;
    context.tell(Decision::InVlan {
        vlan: admitted.vlan,
    });
    Ok(admitted)
}

impl Lock {
    /// Tells which of its addresses a frame that passed it has.
    fn tell<T: Trace>(&self, port: PortId, headers: &Headers, trace: &mut T) {
        trace.tell(Decision::LockedMac {
            mac: self.mac,
            port,
        });
        let (ip, listed) = match headers.net {
            Net::Arp(arp) => (arp.sender_ip.into(), self.ipv4.contains(&arp.sender_ip)),
            Net::Ipv4(ip) => (ip.src.into(), self.ipv4.contains(&ip.src)),
            Net::Ipv6(ip) => (ip.src.into(), self.ipv6.contains(&ip.src)),
            Net::Malformed(_) | Net::Other => return,
        };
        if listed {
            trace.tell(Decision::LockedAddress { ip, port });
        }
    }

    /// Returns whether a frame with these headers speaks only for the lock's addresses.
    fn check(&self, headers: &Headers) -> Result<(), DropReason> {
        if headers.src != self.mac {
            return Err(DropReason::SpoofedMac);
        }
        match &headers.net {
            Net::Arp(arp) => {
                // A probe (RFC 5227) asks on behalf of 0.0.0.0.
                let own_ip = arp.sender_ip == Ipv4Addr::UNSPECIFIED || self.owns_v4(arp.sender_ip);
                allow(arp.sender_mac == self.mac && own_ip, DropReason::SpoofedArp)
            }
            Net::Ipv4(ip) => {
                let own = self.owns_v4(ip.src) || asks_dhcp(ip.src, &headers.transport);
                allow(own, DropReason::SpoofedIp)
            }
            Net::Ipv6(ip) => {
                let unspecified = ip.src == Ipv6Addr::UNSPECIFIED
                    && matches!(headers.transport, Transport::Icmpv6(_));
                allow(unspecified || self.may_use(ip.src), DropReason::SpoofedIp)?;
                self.check_neighbour(&headers.transport)
            }
            Net::Malformed(_) => Err(DropReason::Unverifiable),
            // More tags than are parsed would hide what they wrap.
            Net::Other => allow(
                !VlanTag::is_tpid(headers.ethertype.0),
                DropReason::Unverifiable,
            ),
        }
    }

    /// Neighbour discovery (RFC 4861) must not speak for others, nor play router (RFC 6105).
    fn check_neighbour(&self, transport: &Transport) -> Result<(), DropReason> {
        let Transport::Icmpv6(icmp) = transport else {
            return allow(
                !matches!(transport, Transport::Malformed(_)),
                DropReason::Unverifiable,
            );
        };
        match icmp.nd {
            Some(Nd::NeighbourAdvert { target, .. }) => {
                allow(self.may_use(target), DropReason::SpoofedArp)
            }
            Some(Nd::RouterAdvert | Nd::Redirect) => Err(DropReason::SpoofedRouter),
            Some(Nd::NeighbourSolicit { .. } | Nd::RouterSolicit) | None => Ok(()),
        }
    }

    fn owns_v4(&self, ip: Ipv4Addr) -> bool {
        self.binds_mac_alone() || self.ipv4.contains(&ip)
    }

    /// A host makes link-local addresses of its own (RFC 4862); they reach no further than the
    /// network.
    fn may_use(&self, ip: Ipv6Addr) -> bool {
        self.binds_mac_alone() || ip.is_unicast_link_local() || self.ipv6.contains(&ip)
    }

    /// A lock without IP addresses leaves those to the host, which still may not put another MAC
    /// into its ARP messages nor play router.
    fn binds_mac_alone(&self) -> bool {
        self.ipv4.is_empty() && self.ipv6.is_empty()
    }
}

/// A host without an address asks for one (RFC 2131): from 0.0.0.0 port 68 to port 67.
fn asks_dhcp(src: Ipv4Addr, transport: &Transport) -> bool {
    let Transport::Udp(udp) = transport else {
        return false;
    };
    src == Ipv4Addr::UNSPECIFIED && udp.src_port == 68 && udp.dst_port == 67
}

fn allow(allowed: bool, otherwise: DropReason) -> Result<(), DropReason> {
    if allowed { Ok(()) } else { Err(otherwise) }
}
