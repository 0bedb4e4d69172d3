//! The one closed list of decisions that the stages take about a frame.
//!
//! A decision is a value: a code that never changes its meaning, the stage that took it, and typed
//! fields. The sentence for a person is made where a person reads it, by [`Decision::sentence`],
//! which writes ports and networks by the names that a [`Names`] knows. So a live trace, `explain`
//! and a test look at the same values, and nobody reads a sentence to find out what happened.
//!
//! A new decision goes at the end of its stage's part of the list below, with a code that was never
//! used before. Each stage has a hundred codes of its own. The macro makes the variant, code, stage,
//! label, fields and sentence from one entry, so they cannot disagree; a field that its sentence
//! does not mention does not compile.

use crate::{DropReason, Location, NetworkId, PeerId, PortId, Stage};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use wire::{EtherType, IpProtocol, MacAddr, TransportAddr, VlanId};

macro_rules! decisions {
    ($($code:literal $name:ident $stage:ident $label:literal $({ $($field:ident: $type:ty),+ })? $sentence:literal)+) => {
        /// A decision of a stage about one frame. Each variant's sentence says what its fields are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "the sentence of a variant, its documentation, names each of its fields")]
        pub enum Decision {
            $(#[doc = $sentence] $name $({ $($field: $type),+ })?,)+
        }

        impl Decision {
            /// Code, stage and label of every decision, in the order of the codes.
            pub const ALL: &'static [(u16, Stage, &'static str)] = &[$(($code, Stage::$stage, $label)),+];

            /// The number that stands for the decision in traces and files.
            #[must_use]
            pub const fn code(&self) -> u16 {
                match self { $(Self::$name { .. } => $code),+ }
            }

            /// The short name used in JSON.
            #[must_use]
            pub const fn label(&self) -> &'static str {
                match self { $(Self::$name { .. } => $label),+ }
            }

            /// The stage that takes it: a drop's is its reason's.
            #[must_use]
            pub const fn stage(&self) -> Stage {
                if let Self::Dropped { reason } = self {
                    return reason.stage();
                }
                match self { $(Self::$name { .. } => Stage::$stage),+ }
            }

            /// Calls `each` with the name and the value of every field, in the order of the list.
            pub fn fields(&self, mut each: impl FnMut(&'static str, Field)) {
                match *self {
                    $(Self::$name $({ $($field),+ })? => { $($(each(stringify!($field), Field::from($field));)+)? })+
                }
            }

            fn write(&self, f: &mut fmt::Formatter<'_>, names: &dyn Names) -> fmt::Result {
                match *self {
                    $(Self::$name $({ $($field),+ })? => write!(f, $sentence $($(, $field = Field::from($field).named(names))+)?),)+
                }
            }
        }
    };
}

decisions! {
    100 Parsed               Parse     "parsed"                { src: MacAddr, dst: MacAddr, ethertype: EtherType, len: u32 } "{src} -> {dst}, {ethertype}, {len} bytes"
    101 Tagged               Parse     "tagged"                { vid: u16 }                              "its outer tag is VLAN {vid}"
    102 Superframe           Parse     "superframe"            { segment: u16 }                          "a superframe, to be cut into segments of {segment} bytes"

    200 IngressMirrored      Admit     "ingress_mirrored"      { mirror: PortId }                        "a copy goes to the mirror {mirror}"
    201 IngressMirrorDown    Admit     "ingress_mirror_down"   { mirror: PortId }                        "the mirror {mirror} is down: no copy"
    202 LockedMac            Admit     "locked_mac"            { mac: MacAddr, port: PortId }            "{mac} is the MAC address that {port} is locked to"
    203 LockedAddress        Admit     "locked_address"        { ip: IpAddr, port: PortId }              "{ip} is an address that {port} is locked to"
    204 InVlan               Admit     "in_vlan"               { vlan: VlanId }                          "in VLAN {vlan}"
    205 SenderLimited        Admit     "sender_limited"        { port: PortId }                          "the send limit of {port} is used up"
    206 FromTunnel           Admit     "from_tunnel"           { from: Location, key: u32 }              "from {from}, with the tunnel key {key}"

    300 SourceKnown          Learn     "source_known"          { mac: MacAddr, port: Location }            "{mac} is known on {port}"
    301 SourceRefreshed      Learn     "source_refreshed"      { mac: MacAddr, port: Location }            "{mac} is known on {port}, its age starts anew"
    302 SourceLearned        Learn     "source_learned"        { mac: MacAddr, port: Location }            "{mac} is new, learned on {port}"
    303 SourceMoved          Learn     "source_moved"          { mac: MacAddr, from: Location, to: Location } "{mac} moved from {from} to {to}"
    304 SourceStatic         Learn     "source_static"         { mac: MacAddr, port: Location }            "{mac} is static on {port}"
    305 SourceNotLearned     Learn     "source_not_learned"    { mac: MacAddr }                          "{mac} is not learned: the table has no room"

    400 ToGateway            Forward   "to_gateway"            { mac: MacAddr }                          "{mac} is the gateway"
    401 ToPort               Forward   "to_port"               { mac: MacAddr, port: Location }            "{mac} is on {port}"
    402 FloodBroadcast       Forward   "flood_broadcast"                                                 "flooded: broadcast"
    403 FloodMulticast       Forward   "flood_multicast"       { group: MacAddr }                        "flooded: to the group {group}"
    404 FloodUnknown         Forward   "flood_unknown"         { mac: MacAddr }                          "flooded: the port of {mac} is not known"
    405 GroupReport          Forward   "group_report"                                                    "it tells who listens to a group: for ports with a multicast router alone"
    406 RouterWanted         Forward   "router_wanted"                                                   "it looks for routers: for ports that may advertise one alone"
    407 RouterHeard          Forward   "router_heard"          { port: PortId }                          "a router is heard on {port}: who listens to a group is told there"

    500 RuleAllows           Route     "rule_allows"           { rule: u32, ip: IpAddr }                 "rule {rule} of {ip} allows it"
    501 RuleDenies           Route     "rule_denies"           { rule: u32, ip: IpAddr }                 "rule {rule} of {ip} denies it"
    502 DefaultAllows        Route     "default_allows"        { ip: IpAddr }                            "no rule of {ip} matches: its default allows it"
    503 DefaultDenies        Route     "default_denies"        { ip: IpAddr }                            "no rule of {ip} matches: its default denies it"
    504 SourceNotInside      Route     "source_not_inside"     { ip: IpAddr }                            "the source {ip} is no address of this network"
    505 SourceNotOutside     Route     "source_not_outside"    { ip: IpAddr }                            "the source {ip} is not an address beyond the uplink"
    506 SameNetwork          Route     "same_network"                                                    "the destination is in the same network"
    507 Peered               Route     "peered"                { from: NetworkId, to: NetworkId }        "{from} and {to} are peers"
    508 NotPeered            Route     "not_peered"            { from: NetworkId, to: NetworkId }        "{from} and {to} are not peers of each other"
    509 ToUplink             Route     "to_uplink"             { network: NetworkId }                    "to the world through the uplink {network}"
    510 NoUplink             Route     "no_uplink"             { ip: IpAddr }                            "no uplink leads to {ip}"
    511 Hairpinned           Route     "hairpinned"            { to: TransportAddr }                     "{to} is one of our own: turned back inside"
    512 ToHost               Route     "to_host"               { ip: IpAddr }                            "{ip} is an address of the host"
    513 NoHostAccess         Route     "no_host_access"        { network: NetworkId }                    "{network} has no access to the host, nor the host to it"
    514 ToNameServer         Route     "to_name_server"                                                  "for the name server"
    515 HopsEnded            Route     "hops_ended"            { hops: u8 }                              "hops left: {hops}, and this is one"
    516 CutToFit             Route     "cut_to_fit"            { len: u32, mtu: u16 }                    "a packet of {len} bytes, sent in fragments of at most {mtu}"
    517 TooLarge             Route     "too_large"             { len: u32, mtu: u16 }                    "a packet of {len} bytes, the next link takes {mtu}"
    518 NextHopKnown         Route     "next_hop_known"        { ip: IpAddr, mac: MacAddr }              "the next hop {ip} is at {mac}"
    519 NextHopAsked         Route     "next_hop_asked"        { ip: IpAddr }                            "the MAC address of {ip} is not known: asked for"
    520 NextHopAwaited       Route     "next_hop_awaited"      { ip: IpAddr }                            "{ip} was asked for and has not answered yet"
    521 NextHopSilent        Route     "next_hop_silent"       { ip: IpAddr }                            "{ip} was asked for and did not answer"
    522 FirstFragmentFollowed Route    "first_fragment_followed"                                         "it goes as its packet's first fragment went"
    523 FirstFragmentAwaited Route     "first_fragment_awaited"                                          "it waits for its packet's first fragment"
    524 AddressAnswered      Route     "address_answered"      { ip: IpAddr, mac: MacAddr }              "{ip} is asked for: it is at {mac}"
    525 AddressNotOurs       Route     "address_not_ours"      { ip: IpAddr }                            "{ip} is asked for: it is not ours"
    526 NeighbourHeard       Route     "neighbour_heard"       { ip: IpAddr, mac: MacAddr }              "{ip} is at {mac}"
    527 NeighbourInvalid     Route     "neighbour_invalid"     { mac: MacAddr }                          "an ARP message from {mac}, which is no host's address"
    528 NeighbourUnverified  Route     "neighbour_unverified"                                            "a neighbour message that crossed a router, came in fragments or is damaged: ignored"
    529 ConflictDefended     Route     "conflict_defended"     { mac: MacAddr, ip: IpAddr }              "{mac} claims our address {ip}: announced again"
    530 ConflictIgnored      Route     "conflict_ignored"      { mac: MacAddr, ip: IpAddr }              "{mac} claims our address {ip}: announced a moment ago"
    531 RouterAdvertised     Route     "router_advertised"     { ip: IpAddr }                            "{ip} is told of the router"
    532 RouterAdvertDue      Route     "router_advert_due"                                               "a host without an address looks for routers: an advertisement to all follows"
    533 RouterAdvertLimited  Route     "router_advert_limited"                                           "too many hosts look for routers: not answered"
    534 EchoAnswered         Route     "echo_answered"                                                   "an echo request: answered"
    535 EchoRefused          Route     "echo_refused"                                                    "an echo request in fragments, damaged, or sent to many: not answered"
    536 DhcpInvalid          Route     "dhcp_invalid"                                                    "an invalid DHCP message"
    537 DhcpUnknown          Route     "dhcp_unknown"          { client: MacAddr }                       "DHCP for {client}, which has no address here"
    538 DhcpDecided          Route     "dhcp_decided"          { client: MacAddr, ip: Ipv4Addr, answer: &'static str } "DHCP for {client}, which has {ip}: {answer}"
    539 Dhcp6Answered        Route     "dhcp6_answered"        { message: u8, client: MacAddr }          "DHCPv6 message {message} of {client}: answered"
    540 Dhcp6Ignored         Route     "dhcp6_ignored"         { message: u8, client: MacAddr }          "DHCPv6 message {message} of {client}: ignored"
    541 ResetSent            Route     "reset_sent"            { port: u16 }                             "TCP port {port} is closed: its sender gets a reset"
    542 ErrorSent            Route     "error_sent"            { error: &'static str }                   "its sender gets the ICMP error: {error}"
    543 TooBigSent           Route     "too_big_sent"          { mtu: u16 }                              "its sender gets the ICMP error: packet too big, {mtu} bytes may pass"
    544 ErrorNotDue          Route     "error_not_due"                                                   "its sender gets no ICMP error: none is sent about such a packet"
    545 ErrorLimited         Route     "error_limited"                                                   "its sender gets no ICMP error: the limit of errors is reached"

    600 SourceTranslated     Translate "source_translated"     { from: TransportAddr, to: TransportAddr } "the source {from} becomes {to}"
    601 DestinationTranslated Translate "destination_translated" { from: TransportAddr, to: TransportAddr } "the destination {from} becomes {to}"
    602 ErrorRelated         Translate "error_related"         { flow: TransportAddr, ip: IpAddr }       "an ICMP error about a packet of {flow}, which is for {ip}"
    603 PrefixTranslated     Translate "prefix_translated"     { ip: IpAddr, inside: IpAddr }            "{ip} is {inside} inside (RFC 6296)"
    604 BackendChosen        Translate "backend_chosen"        { external: TransportAddr, of: u32, backend: TransportAddr } "{external} leads to {of} backends: the client's address and port choose {backend}"
    605 SessionFound         Translate "session_found"                                                   "it belongs to a connection that is known"
    606 SessionOpened        Translate "session_opened"                                                  "it begins a connection"

    700 Leaves               Egress    "leaves"                { port: PortId }                          "leaves through {port}, untagged"
    701 LeavesTagged         Egress    "leaves_tagged"         { port: PortId, vid: u16 }                "leaves through {port}, tagged {vid}"
    702 EgressMirrored       Egress    "egress_mirrored"       { mirror: PortId }                        "a copy goes to the mirror {mirror}"
    703 EgressMirrorDown     Egress    "egress_mirror_down"    { mirror: PortId }                        "the mirror {mirror} is down: no copy"
    704 AboveMtu             Egress    "above_mtu"             { len: u32, mtu: u16 }                    "a packet of {len} bytes, the network's MTU is {mtu}"
    705 ReceiverLimited      Egress    "receiver_limited"      { port: PortId }                          "the receive limit of {port} is used up"
    706 PortClosed           Egress    "port_closed"           { port: PortId }                          "{port} is not open: the copy is lost"
    707 PortRefused          Egress    "port_refused"          { port: PortId, reason: DropReason }      "{port} does not take the copy, {reason}"
    708 Dropped              Egress    "dropped"               { reason: DropReason }                    "dropped, {reason}"
    709 ToPeer               Egress    "to_peer"               { peer: u16, key: u32 }                   "there to peer {peer}, with the tunnel key {key}"
    710 ToAllPeers           Egress    "to_all_peers"          { key: u32 }                              "there to all peers, with the tunnel key {key}"
    711 ToOtherPeers         Egress    "to_other_peers"        { peer: u16, key: u32 }                   "there to all peers but {peer}, with the tunnel key {key}"
}

impl Decision {
    /// Returns the decision as a sentence in which ports and networks have the names that `names` knows.
    #[must_use]
    pub const fn sentence<'n>(self, names: &'n dyn Names) -> Sentence<'n> {
        Sentence {
            decision: self,
            names,
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &Ids)
    }
}

/// A decision to be written for a person.
#[derive(Clone, Copy)]
pub struct Sentence<'n> {
    decision: Decision,
    names: &'n dyn Names,
}

impl fmt::Debug for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.decision, f)
    }
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.decision.write(f, self.names)
    }
}

/// The names that people gave to ports and networks.
pub trait Names {
    /// The name of a port; `None` leaves it its number.
    fn port(&self, id: PortId) -> Option<&str>;

    /// The name of a network; `None` leaves it its number.
    fn network(&self, id: NetworkId) -> Option<&str>;
}

/// No names: ports and networks are written by their numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ids;

impl Names for Ids {
    fn port(&self, _: PortId) -> Option<&str> {
        None
    }

    fn network(&self, _: NetworkId) -> Option<&str> {
        None
    }
}

/// The value of a decision's field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// A port of the switch.
    Port(PortId),
    /// A port, or one of its far ends.
    Location(Location),
    /// A network.
    Network(NetworkId),
    /// A MAC address.
    Mac(MacAddr),
    /// An IP address.
    Ip(IpAddr),
    /// An IP address with a port.
    Transport(TransportAddr),
    /// A transport protocol.
    Protocol(IpProtocol),
    /// An EtherType.
    EtherType(EtherType),
    /// A count, a size, or a number of a protocol.
    Number(u32),
    /// A drop reason.
    Reason(DropReason),
    /// One of a few words.
    Word(&'static str),
}

macro_rules! fields {
    ($($type:ty: $value:ident => $field:expr;)+) => {$(
        impl From<$type> for Field {
            fn from($value: $type) -> Self {
                $field
            }
        }
    )+};
}

fields! {
    PortId: id => Self::Port(id);
    Location: at => Self::Location(at);
    NetworkId: id => Self::Network(id);
    MacAddr: mac => Self::Mac(mac);
    IpAddr: ip => Self::Ip(ip);
    Ipv4Addr: ip => Self::Ip(ip.into());
    Ipv6Addr: ip => Self::Ip(ip.into());
    TransportAddr: addr => Self::Transport(addr);
    IpProtocol: protocol => Self::Protocol(protocol);
    EtherType: ethertype => Self::EtherType(ethertype);
    VlanId: vlan => Self::Number(vlan.get().into());
    u8: number => Self::Number(number.into());
    u16: number => Self::Number(number.into());
    u32: number => Self::Number(number);
    DropReason: reason => Self::Reason(reason);
    &'static str: word => Self::Word(word);
}

impl Field {
    /// Returns the field as it stands in a sentence, ports and networks by the names that `names`
    /// knows.
    pub fn named(self, names: &dyn Names) -> impl fmt::Display {
        Named(self, names)
    }
}

/// A field inside a sentence.
struct Named<'n>(Field, &'n dyn Names);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(field, names) = self;
        match field {
            Field::Port(id) => match names.port(*id) {
                Some(name) => f.write_str(name),
                None => id.fmt(f),
            },
            Field::Location(at) if at.peer == PeerId::NONE => {
                Named(Field::Port(at.port), *names).fmt(f)
            }
            Field::Location(at) => {
                write!(f, "{} of {}", at.peer, Named(Field::Port(at.port), *names))
            }
            Field::Network(id) => match names.network(*id) {
                Some(name) => f.write_str(name),
                None => id.fmt(f),
            },
            Field::Mac(mac) => mac.fmt(f),
            Field::Ip(ip) => ip.fmt(f),
            Field::Transport(addr) => addr.fmt(f),
            Field::Protocol(protocol) => protocol.title().fmt(f),
            Field::EtherType(ethertype) => ethertype.fmt(f),
            Field::Number(number) => number.fmt(f),
            Field::Reason(reason) => write!(f, "{reason}: {}", reason.describe()),
            Field::Word(word) => f.write_str(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_rise_labels_are_unique_and_each_stage_keeps_to_its_hundred() {
        let labels: BTreeSet<_> = Decision::ALL.iter().map(|(_, _, label)| label).collect();
        assert_eq!(labels.len(), Decision::ALL.len());
        assert!(Decision::ALL.windows(2).all(|w| w[0].0 < w[1].0));
        for (code, stage, label) in Decision::ALL {
            assert_eq!(code / 100 - 1, *stage as u16, "{label}");
        }
    }

    #[test]
    fn a_decision_is_small_enough_to_be_kept_by_the_dozen() {
        // Records of the observe plane hold a number of them.
        assert!(size_of::<Decision>() <= 48, "{}", size_of::<Decision>());
    }

    #[test]
    fn a_sentence_has_names_where_there_are_any_and_numbers_else() {
        struct Web;
        impl Names for Web {
            fn port(&self, id: PortId) -> Option<&str> {
                (id == PortId(3)).then_some("web-1")
            }
            fn network(&self, _: NetworkId) -> Option<&str> {
                None
            }
        }
        let mac = MacAddr([2, 0, 0, 0, 0, 1]);
        let moved = Decision::SourceMoved {
            mac,
            from: PortId(3).into(),
            to: Location {
                port: PortId(4),
                peer: PeerId(2),
            },
        };
        let sentence = moved.sentence(&Web).to_string();
        assert_eq!(
            sentence,
            "02:00:00:00:00:01 moved from web-1 to peer2 of port4"
        );
        let peers = Decision::Peered {
            from: NetworkId(1),
            to: NetworkId(2),
        };
        assert_eq!(peers.to_string(), "network1 and network2 are peers");
    }

    #[test]
    fn a_drop_belongs_to_the_stage_of_its_reason_and_says_it() {
        let dropped = Decision::Dropped {
            reason: DropReason::SpoofedMac,
        };
        assert_eq!((dropped.stage(), dropped.code()), (Stage::Admit, 708));
        assert_eq!(
            dropped.to_string(),
            "dropped, spoofed_mac: The source MAC is not the one the port is locked to."
        );
    }

    #[test]
    fn fields_come_with_their_names_and_types() {
        let mut fields = Vec::new();
        Decision::PortRefused {
            port: PortId(1),
            reason: DropReason::TxFull,
        }
        .fields(|name, value| fields.push((name, value)));
        assert_eq!(
            fields,
            [
                ("port", Field::Port(PortId(1))),
                ("reason", Field::Reason(DropReason::TxFull))
            ]
        );
    }
}
