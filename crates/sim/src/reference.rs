//! A switch so dumb that it can be believed: the oracle beside the real one.
//!
//! It is written from the rules (IEEE 802.1Q for VLANs, the meaning of each mode and limit as the
//! configuration describes it) and shares no code with the real one: ordered maps, linear scans,
//! exact arithmetic. It does not even parse. A [`Spec`] says what a frame *is*; the bytes that the
//! real switch gets are made from it, and the oracle looks at the meaning alone.
//!
//! ```text
//!              Spec --+-- bytes --> process, Forwarder --> frames, counters --+
//!                     |                                                       +-- equal?
//!                     +-----------> Reference ----------> frames, counters ---+
//! ```

mod spec;

pub use spec::{Broken, Ipv4Says, Ipv6Says, Payload, Spec, Undone};

use pipeline::{DropReason, Instant, Location, NetworkId, PeerId, PortId, Tunnel, TunnelKey};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use switch::{Horizon, Lock, Mirror};
use wire::{MacAddr, VlanTag};

/// The switch.
#[derive(Debug, Default, Clone)]
pub struct Reference {
    /// Its networks.
    pub networks: BTreeMap<NetworkId, RefNetwork>,
    /// Its configured ports.
    pub ports: BTreeMap<PortId, RefPort>,
    /// The ports whose interface is there, configured or not.
    pub open: BTreeSet<PortId>,
    /// Counts of each port that was ever open.
    pub counts: BTreeMap<PortId, Counts>,
}

/// A network.
#[derive(Debug, Clone)]
pub struct RefNetwork {
    /// Bytes of the largest packet behind the Ethernet header and at most two tags.
    pub mtu: usize,
    /// Whether 01:80:C2:00:00:0x are ordinary groups.
    pub forward_reserved: bool,
    /// The gateway's address and VLAN.
    pub gateway: Option<(MacAddr, u16)>,
    /// Whole seconds after which an address is forgotten.
    pub ageing: u64,
    /// The key of its frames in tunnels.
    pub key: Option<TunnelKey>,
    /// Who is where.
    pub table: BTreeMap<(u16, MacAddr), Whereabouts>,
}

/// Where an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whereabouts {
    /// There.
    pub at: Location,
    /// The second of its last frame; `None` for a static entry.
    pub seen: Option<u64>,
}

/// A port.
#[derive(Debug, Clone)]
pub struct RefPort {
    /// Its network, if it is no tunnel.
    pub network: Option<NetworkId>,
    /// It is in every network that has a key.
    pub tunnel: Option<Horizon>,
    /// Administratively up.
    pub up: bool,
    /// Its VLANs.
    pub vlans: Vlans,
    /// Protected.
    pub isolated: bool,
    /// The addresses it may speak for.
    pub lock: Option<Lock>,
    /// Limits for broadcast, multicast and unknown unicast.
    pub limits: [Option<Bucket>; 3],
    /// Where copies go.
    pub mirror: Option<Mirror>,
}

/// A port's VLANs, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vlans {
    /// One, untagged.
    Access(u16),
    /// Several, tagged.
    Trunk {
        /// Those carried with a tag.
        allowed: BTreeSet<u16>,
        /// That of untagged frames, and whether it leaves with a tag.
        native: Option<(u16, bool)>,
    },
    /// One, around the customer's own tags.
    Tunnel(u16),
}

/// So many at once and so many a second, in billionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    rate: u32,
    burst: u32,
    held: u128,
    at: u64,
}

/// Counts of a port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Frames and bytes that arrived.
    pub rx: (u64, u64),
    /// Frames and bytes that left.
    pub tx: (u64, u64),
    /// Frames dropped.
    pub drops: BTreeMap<DropReason, u64>,
}

/// A frame that leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Through this port.
    pub port: PortId,
    /// With these tags, outermost first.
    pub tags: Vec<VlanTag>,
    /// To these far ends, where the port has several.
    pub to: Ends,
    /// With this key.
    pub key: TunnelKey,
}

/// Far ends of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// All of them.
    All,
    /// This one.
    Only(PeerId),
    /// The others.
    Not(PeerId),
}

/// The verdict on a frame, with its copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Why it goes nowhere.
    pub dropped: Option<DropReason>,
    /// The copies that leave, in order, those for mirrors included.
    pub copies: Vec<Copy>,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(rate: u32, burst: u32) -> Self {
        Self {
            rate,
            burst,
            held: u128::from(burst) * 1_000_000_000,
            at: 0,
        }
    }

    /// Its rate and burst.
    #[must_use]
    pub fn limits(&self) -> (u32, u32) {
        (self.rate, self.burst)
    }

    fn take(&mut self, now: Instant) -> bool {
        let nanos = u128::from(now.as_nanos() - self.at);
        self.at = now.as_nanos();
        self.held =
            (self.held + nanos * u128::from(self.rate)).min(u128::from(self.burst) * 1_000_000_000);
        let passes = self.held >= 1_000_000_000;
        if passes {
            self.held -= 1_000_000_000;
        }
        passes
    }
}

impl Reference {
    /// Carries one frame that arrived at `from`, counts it and changes what it changes.
    pub fn carry(&mut self, frame: &Spec, from: PortId, through: Tunnel, now: Instant) -> Verdict {
        let mut copies = Vec::new();
        let dropped = self.decide(frame, from, through, now, &mut copies).err();
        let at = self.counts.entry(from).or_default();
        at.rx.0 += 1;
        at.rx.1 += frame.len() as u64;
        if let Some(reason) = dropped {
            *at.drops.entry(reason).or_default() += 1;
        }
        for copy in &copies {
            if self.open.contains(&copy.port) {
                let to = self.counts.entry(copy.port).or_default();
                to.tx.0 += 1;
                to.tx.1 += (frame.len() + 4 * copy.tags.len() - 4 * frame.tags.len()) as u64;
            } else {
                let at = self.counts.entry(from).or_default();
                *at.drops.entry(DropReason::TxGone).or_default() += 1;
            }
        }
        Verdict { dropped, copies }
    }

    /// Returns where an address is known to be, at `now`.
    #[must_use]
    pub fn known(&self, network: NetworkId, now: Instant) -> Vec<(u16, MacAddr, Whereabouts)> {
        let Some(network) = self.networks.get(&network) else {
            return Vec::new();
        };
        let known = network
            .table
            .iter()
            .filter(|(_, place)| !network.forgot(place, now));
        known
            .map(|(&(vlan, mac), &place)| (vlan, mac, place))
            .collect()
    }

    fn decide(
        &mut self,
        frame: &Spec,
        from: PortId,
        through: Tunnel,
        now: Instant,
        copies: &mut Vec<Copy>,
    ) -> Result<(), DropReason> {
        frame.is_a_frame()?;
        if self.is_mirror(from) && self.ports.contains_key(&from) {
            return Err(DropReason::MirrorIngress);
        }
        let port = self.ports.get(&from).ok_or(DropReason::NoNetwork)?.clone();
        let network_id = if port.tunnel.is_some() {
            let mut keyed = self.networks.iter();
            let keyed = keyed.find(|(_, network)| network.key == Some(through.key));
            *keyed.ok_or(DropReason::UnknownTunnelKey)?.0
        } else {
            port.network.ok_or(DropReason::NoNetwork)?
        };
        let key = self.networks[&network_id].key.unwrap_or(TunnelKey(0));
        let place = Location {
            port: from,
            peer: through.peer,
        };
        if !port.up {
            return Err(DropReason::IngressDown);
        }
        if let Some(mirror) = port.mirror.filter(|mirror| mirror.ingress) {
            self.mirror(mirror, frame.tags.clone(), key, copies);
        }
        if frame.src.0[0] % 2 == 1 || frame.src.0 == [0; 6] {
            return Err(DropReason::SourceInvalid);
        }
        if let Some((mac, _)) = self.networks[&network_id].gateway
            && mac == frame.src
        {
            return Err(DropReason::SpoofedGateway);
        }
        if let Some(lock) = &port.lock {
            speaks_for(lock, frame)?;
        }
        let (vlan, outer, cargo) = classify(&port.vlans, &frame.tags)?;
        self.remember(network_id, vlan, frame.src, place, now)?;
        let receivers = self.receivers(frame, place, network_id, vlan, now)?;
        if matches!(receivers, Receivers::Gateway) {
            // Its router is attached to nothing.
            return Err(DropReason::NoRoute);
        }
        if frame.packet_len() > self.networks[&network_id].mtu {
            return Err(DropReason::MtuExceeded);
        }
        self.send(&receivers, place, network_id, (vlan, outer, &cargo), copies)
    }

    fn remember(
        &mut self,
        network: NetworkId,
        vlan: u16,
        mac: MacAddr,
        at: Location,
        now: Instant,
    ) -> Result<(), DropReason> {
        let network = self
            .networks
            .get_mut(&network)
            .expect("ports belong to networks that exist");
        let place = network
            .table
            .entry((vlan, mac))
            .or_insert(Whereabouts { at, seen: Some(0) });
        match place.seen {
            None if place.at == at => Ok(()),
            None => Err(DropReason::StaticElsewhere),
            Some(_) => {
                *place = Whereabouts {
                    at,
                    seen: Some(now.as_secs()),
                };
                Ok(())
            }
        }
    }

    /// To whom the frame goes: the gateway, one port, or all others for a flood.
    fn receivers(
        &mut self,
        frame: &Spec,
        from: Location,
        network_id: NetworkId,
        vlan: u16,
        now: Instant,
    ) -> Result<Receivers, DropReason> {
        let network = &self.networks[&network_id];
        let limit = if frame.dst.0[0] % 2 == 1 {
            let reserved = frame.dst.0[..5] == [0x01, 0x80, 0xc2, 0, 0] && frame.dst.0[5] < 0x10;
            if reserved && !network.forward_reserved {
                return Err(DropReason::ReservedAddress);
            }
            usize::from(frame.dst.0 != [0xff; 6])
        } else if network.gateway == Some((frame.dst, vlan)) {
            return Ok(Receivers::Gateway);
        } else {
            match network
                .table
                .get(&(vlan, frame.dst))
                .filter(|place| !network.forgot(place, now))
            {
                Some(place) if place.at == from => return Err(DropReason::SamePort),
                Some(place) if place.at.port == from.port && !self.reflects(from.port) => {
                    return Err(DropReason::SamePort);
                }
                Some(place) => return Ok(Receivers::One(place.at)),
                None => 2,
            }
        };
        const REASONS: [DropReason; 3] = [
            DropReason::StormBroadcast,
            DropReason::StormMulticast,
            DropReason::StormUnknown,
        ];
        let port = self.ports.get_mut(&from.port).expect("looked at before");
        if port.limits[limit]
            .as_mut()
            .is_some_and(|bucket| !bucket.take(now))
        {
            return Err(REASONS[limit]);
        }
        Ok(Receivers::AllBut(from))
    }

    fn send(
        &self,
        to: &Receivers,
        from: Location,
        network: NetworkId,
        (vlan, outer, cargo): (u16, VlanTag, &[VlanTag]),
        copies: &mut Vec<Copy>,
    ) -> Result<(), DropReason> {
        let sender = &self.ports[&from.port];
        let key = self.networks[&network].key.unwrap_or(TunnelKey(0));
        match *to {
            Receivers::Gateway => Ok(()),
            Receivers::One(Location { port: id, peer }) => {
                let here = |port: &&RefPort| self.is_in(port, network) && !self.is_mirror(id);
                let port = self.ports.get(&id).filter(here).ok_or(DropReason::TxGone)?;
                if !port.up {
                    return Err(DropReason::EgressDown);
                }
                if port.isolated && sender.isolated {
                    return Err(DropReason::Isolated);
                }
                let tags = leave(&port.vlans, vlan, outer, cargo).ok_or(DropReason::EgressVlan)?;
                self.copy(id, tags, (Ends::Only(peer), key), copies);
                Ok(())
            }
            Receivers::AllBut(from) => {
                let mut none = true;
                for (&id, port) in &self.ports {
                    let back = id == from.port;
                    let there = self.is_in(port, network)
                        && !self.is_mirror(id)
                        && (!back || self.reflects(id));
                    let ends = if back {
                        Ends::Not(from.peer)
                    } else {
                        Ends::All
                    };
                    let allowed = port.up && !(port.isolated && sender.isolated);
                    if let (true, Some(tags)) =
                        (there && allowed, leave(&port.vlans, vlan, outer, cargo))
                    {
                        self.copy(id, tags, (ends, key), copies);
                        none = false;
                    }
                }
                if none {
                    Err(DropReason::NoReceiver)
                } else {
                    Ok(())
                }
            }
        }
    }

    fn copy(
        &self,
        port: PortId,
        tags: Vec<VlanTag>,
        (to, key): (Ends, TunnelKey),
        copies: &mut Vec<Copy>,
    ) {
        copies.push(Copy {
            port,
            tags: tags.clone(),
            to,
            key,
        });
        if let Some(mirror) = self.ports[&port].mirror.filter(|mirror| mirror.egress) {
            self.mirror(mirror, tags, key, copies);
        }
    }

    fn mirror(&self, mirror: Mirror, tags: Vec<VlanTag>, key: TunnelKey, copies: &mut Vec<Copy>) {
        if self.ports.get(&mirror.to).is_some_and(|port| port.up) {
            copies.push(Copy {
                port: mirror.to,
                tags,
                to: Ends::All,
                key,
            });
        }
    }

    fn is_in(&self, port: &RefPort, network: NetworkId) -> bool {
        match port.tunnel {
            Some(_) => self.networks[&network].key.is_some(),
            None => port.network == Some(network),
        }
    }

    fn reflects(&self, id: PortId) -> bool {
        self.ports[&id].tunnel == Some(Horizon::Reflect)
    }

    fn is_mirror(&self, id: PortId) -> bool {
        self.ports
            .values()
            .any(|port| port.mirror.is_some_and(|mirror| mirror.to == id))
    }
}

enum Receivers {
    Gateway,
    One(Location),
    AllBut(Location),
}

impl RefNetwork {
    fn forgot(&self, place: &Whereabouts, now: Instant) -> bool {
        place
            .seen
            .is_some_and(|seen| self.ageing != 0 && now.as_secs() - seen > self.ageing)
    }
}

/// The VLAN of a frame with these tags (802.1Q 6.9), the template of its tag, and the tags behind
/// that are none of the switch's business.
fn classify(vlans: &Vlans, tags: &[VlanTag]) -> Result<(u16, VlanTag, Vec<VlanTag>), DropReason> {
    let plain = VlanTag {
        tpid: 0x8100,
        tci: 0,
    };
    let (outer, cargo) = match tags {
        [] => (None, Vec::new()),
        [outer, cargo @ ..] => (Some(*outer), cargo.to_vec()),
    };
    let named = outer.map_or(0, |tag| tag.tci % 4096);
    match vlans {
        Vlans::Tunnel(vlan) => Ok((
            *vlan,
            VlanTag {
                tpid: 0x88a8,
                tci: 0,
            },
            tags.to_vec(),
        )),
        Vlans::Access(_) if named != 0 => Err(DropReason::VlanTaggedRefused),
        Vlans::Access(vlan) => Ok((*vlan, outer.unwrap_or(plain), cargo)),
        Vlans::Trunk { native, .. } if named == 0 => match native {
            Some((vlan, _)) => Ok((*vlan, outer.unwrap_or(plain), cargo)),
            None => Err(DropReason::VlanUntaggedRefused),
        },
        Vlans::Trunk { allowed, native } => {
            let carried = named != 4095
                && (allowed.contains(&named) || native.is_some_and(|(vlan, _)| vlan == named));
            if carried {
                Ok((named, outer.unwrap_or(plain), cargo))
            } else {
                Err(DropReason::VlanNotAllowed)
            }
        }
    }
}

/// The tags with which a frame of `vlan` leaves; `None` where the VLAN is not carried.
fn leave(vlans: &Vlans, vlan: u16, outer: VlanTag, cargo: &[VlanTag]) -> Option<Vec<VlanTag>> {
    let tag = VlanTag {
        tpid: outer.tpid,
        tci: outer.tci / 4096 * 4096 + vlan,
    };
    let tagged = || std::iter::once(tag).chain(cargo.iter().copied()).collect();
    match vlans {
        Vlans::Access(own) | Vlans::Tunnel(own) => (*own == vlan).then(|| cargo.to_vec()),
        Vlans::Trunk {
            native: Some((own, true)),
            ..
        } if *own == vlan => Some(tagged()),
        Vlans::Trunk {
            native: Some((own, false)),
            ..
        } if *own == vlan => Some(cargo.to_vec()),
        Vlans::Trunk { allowed, .. } => allowed.contains(&vlan).then(tagged),
    }
}

/// Returns whether the frame speaks only for the addresses of `lock`.
fn speaks_for(lock: &Lock, frame: &Spec) -> Result<(), DropReason> {
    if frame.src != lock.mac {
        return Err(DropReason::SpoofedMac);
    }
    if frame.tags.len() > 2 {
        return Err(DropReason::Unverifiable);
    }
    let mac_alone = lock.ipv4.is_empty() && lock.ipv6.is_empty();
    let own4 = |ip: Ipv4Addr| mac_alone || lock.ipv4.contains(&ip);
    let own6 =
        |ip: Ipv6Addr| mac_alone || lock.ipv6.contains(&ip) || ip.segments()[0] & 0xffc0 == 0xfe80;
    let unless = |allowed: bool, reason| if allowed { Ok(()) } else { Err(reason) };
    match &frame.payload {
        Payload::Arp {
            sender_mac,
            sender_ip,
        } => {
            let sound = *sender_mac == lock.mac
                && (own4(*sender_ip) || *sender_ip == Ipv4Addr::UNSPECIFIED);
            unless(sound, DropReason::SpoofedArp)
        }
        Payload::Ipv4 { src, says } => {
            let asks_dhcp = *src == Ipv4Addr::UNSPECIFIED && *says == Ipv4Says::DhcpRequest;
            unless(own4(*src) || asks_dhcp, DropReason::SpoofedIp)
        }
        Payload::Ipv6 { src, says } => {
            let unspecified = *src == Ipv6Addr::UNSPECIFIED && says.is_icmp();
            unless(own6(*src) || unspecified, DropReason::SpoofedIp)?;
            match says {
                Ipv6Says::Advert { target } => unless(own6(*target), DropReason::SpoofedArp),
                Ipv6Says::RouterAdvert | Ipv6Says::Redirect => Err(DropReason::SpoofedRouter),
                Ipv6Says::BrokenUdp | Ipv6Says::HiddenBehindExtensions => {
                    Err(DropReason::Unverifiable)
                }
                Ipv6Says::Udp(_) | Ipv6Says::Tcp(_) | Ipv6Says::Echo | Ipv6Says::Solicit { .. } => {
                    Ok(())
                }
            }
        }
        Payload::Broken(_) => Err(DropReason::Unverifiable),
        Payload::Other(_) => Ok(()),
    }
}
