//! The one closed list of reasons for which a frame is dropped.
//!
//! A new reason goes at the end of the list below, with a number that was never used before:
//! codes travel in traces, state files and dashboards, so none is ever used again. The macro
//! makes code, stage, label, sentence and table length from the one line, so they cannot disagree.
//! Every reason is shown reachable by a test; there is no `Other`.

use crate::Stage;
use std::fmt;

macro_rules! drop_reasons {
    ($($code:literal $name:ident $stage:ident $label:literal $doc:literal)+) => {
        /// Why a frame was dropped.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum DropReason {
            $(#[doc = $doc] $name = $code,)+
        }

        impl DropReason {
            /// Every reason, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// One more than the highest code: the length of a table indexed by code.
            pub const COUNT: usize = { let mut max = 0; $(if $code > max { max = $code; })+ max + 1 };

            /// The short name used in tables, JSON and metrics.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label),+ }
            }

            /// The stage that decides it; what a port refuses to send is counted to egress.
            #[must_use]
            pub const fn stage(self) -> Stage {
                match self { $(Self::$name => Stage::$stage),+ }
            }

            /// One sentence for a person who has never read this code.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self { $(Self::$name => $doc),+ }
            }
        }
    };
}

drop_reasons! {
    1  FrameTooShort       Parse   "frame_too_short"       "The frame ends inside its Ethernet header or VLAN tags."
    2  FrameTooLong        Parse   "frame_too_long"        "The frame is longer than any frame the switch carries."
    3  VnetInvalid         Parse   "vnet_invalid"          "The virtio header contradicts the frame: its checksum or segment offsets lie outside."
    4  SourceInvalid       Admit   "source_invalid"        "The source MAC is a group address or all zeros."
    5  IngressDown         Admit   "ingress_down"          "The port the frame came from is administratively down."
    6  NoNetwork           Admit   "no_network"            "The port the frame came from belongs to no network."
    7  MirrorIngress       Admit   "mirror_ingress"        "The port is a mirror's destination and only sends."
    8  VlanTaggedRefused   Admit   "vlan_tagged_refused"   "An access port admits only untagged and priority-tagged frames (802.1Q 6.9)."
    9  VlanUntaggedRefused Admit   "vlan_untagged_refused" "A trunk without a native VLAN admits only tagged frames."
    10 VlanNotAllowed      Admit   "vlan_not_allowed"      "The frame's VLAN is not among those the ingress port carries."
    11 SpoofedMac          Admit   "spoofed_mac"           "The source MAC is not the one the port is locked to."
    12 SpoofedIp           Admit   "spoofed_ip"            "The source IP address is not one the port is locked to."
    13 SpoofedArp          Admit   "spoofed_arp"           "An ARP or neighbour message claims an address the port is not locked to."
    14 SpoofedRouter       Admit   "spoofed_router"        "A router advertisement or redirect from a port that is locked to its addresses (RFC 6105)."
    15 Unverifiable        Admit   "unverifiable"          "The port is locked to its addresses and the frame's headers are too damaged to check."
    16 ReservedAddress     Forward "reserved_address"      "A link-local protocol address 01:80:C2:00:00:0x, which a bridge does not forward (802.1D 7.12.6)."
    17 StormBroadcast      Forward "storm_broadcast"       "The port's rate limit for broadcast frames is used up."
    18 StormMulticast      Forward "storm_multicast"       "The port's rate limit for multicast frames is used up."
    19 StormUnknown        Forward "storm_unknown"         "The port's rate limit for unknown unicast frames is used up."
    20 StaticElsewhere     Learn   "static_elsewhere"      "The source MAC has a static entry on another port."
    21 SamePort            Forward "same_port"             "The destination is on the port the frame came from (split horizon)."
    22 Isolated            Egress  "isolated"              "Both ports are protected: protected ports do not talk to each other."
    23 EgressDown          Egress  "egress_down"           "The destination port is administratively down."
    24 EgressVlan          Egress  "egress_vlan"           "The destination port does not carry the frame's VLAN."
    25 MtuExceeded         Egress  "mtu_exceeded"          "The packet is larger than the network's MTU."
    26 NoReceiver          Egress  "no_receiver"           "A flood found no other port to go to."
    27 TxFull              Egress  "tx_full"               "The destination's transmit queue is full."
    28 TxDown              Egress  "tx_down"               "The destination's interface is down in its namespace."
    29 TxGone              Egress  "tx_gone"               "The destination's interface no longer exists."
    30 TxRefused           Egress  "tx_refused"            "The kernel refused the frame on the destination's interface."
    31 CannotSegment       Egress  "cannot_segment"        "The destination takes no superframes and this one cannot be cut in software."
    32 SpoofedGateway      Admit     "spoofed_gateway"       "The source MAC is that of the network's own gateway."
    33 RateLimited         Admit     "rate_limited"          "The sending port's rate limit in bits or packets is used up."
    34 IpInvalid           Route     "ip_invalid"            "A packet to be routed has a damaged IP header or a wrong header checksum."
    35 Martian             Route     "martian"               "A packet to be routed has an address that belongs on no wire: loopback, unspecified, multicast or broadcast as a source, link-local, reserved."
    36 LandAttack          Route     "land_attack"           "Source and destination of the packet are the same address and port."
    37 SourceRouted        Route     "source_routed"         "The packet carries a source route (RFC 7126, RFC 5095)."
    38 NoRoute             Route     "no_route"              "No network and no uplink leads to the destination."
    39 NetworkInternal     Route     "network_internal"      "The network is internal: nothing is routed into it or out of it."
    40 NetworkIsolated     Route     "network_isolated"      "The two networks are not allowed to reach each other."
    41 HostDenied          Route     "host_denied"           "The network has no access to the host, nor the host to it."
    42 GatewayClosed       Route     "gateway_closed"        "The packet is for the gateway itself, which offers nothing there."
    43 GatewayIgnored      Route     "gateway_ignored"       "An ARP or neighbour message to the gateway that asks for nothing the gateway has."
    44 TtlExceeded         Route     "ttl_exceeded"          "The packet's TTL or hop limit ends at the gateway."
    45 FragmentationNeeded Route     "fragmentation_needed"  "The packet is larger than the next link's MTU and may not be fragmented."
    46 NextHopUnknown      Route     "next_hop_unknown"      "The next hop's MAC is not known; it is being asked for."
    47 PolicyDenied        Route     "policy_denied"         "A rule of an endpoint denies the packet."
    48 NoMapping           Translate "no_mapping"            "The packet from outside belongs to no mapping and no published port."
    49 Filtered            Translate "filtered"              "The mapping exists and its filtering behaviour refuses the sender (RFC 4787, 5)."
    50 PortsExhausted      Translate "ports_exhausted"       "Every external port that the mapping could have is taken."
    51 NatTableFull        Translate "nat_table_full"        "The table of connections is full and nothing in it may be evicted."
    52 QuotaExceeded       Translate "quota_exceeded"        "The endpoint holds as many connections as its quota allows."
    53 TcpNotSyn           Translate "tcp_not_syn"           "A TCP segment that opens no connection and belongs to none."
    54 TcpOutOfWindow      Translate "tcp_out_of_window"     "A TCP segment lies outside its connection's window."
    55 TcpInvalid          Translate "tcp_invalid"           "A TCP segment has flags that contradict each other or its connection's state."
    56 IcmpUnrelated       Translate "icmp_unrelated"        "An ICMP error quotes a packet of no known connection, or lies about it."
    57 Untranslatable      Translate "untranslatable"        "The protocol has no ports and cannot be translated."
    58 FragmentInvalid     Translate "fragment_invalid"      "A fragment is too small, overlaps another or contradicts it."
    59 FragmentLimit       Translate "fragment_limit"        "Too many fragments wait for their first one."
    60 FragmentTimeout     Translate "fragment_timeout"      "The fragment waited too long for its packet's first one."
    61 HairpinLoop         Translate "hairpin_loop"          "The packet would be turned back to the very endpoint and port it came from."
    62 ReceiverLimited     Egress    "receiver_limited"      "The receiving port's rate limit in bits or packets is used up."
    63 UnknownTunnelKey    Admit     "unknown_tunnel_key"    "No network has the tunnel key with which the frame came."
}

impl DropReason {
    /// The number that stands for the reason in traces.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The reason as an index into a table of [`DropReason::COUNT`] counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn labels_and_codes_are_unique_and_codes_rise() {
        let labels: BTreeSet<_> = DropReason::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), DropReason::ALL.len());
        assert!(
            DropReason::ALL
                .windows(2)
                .all(|w| w[0].code() < w[1].code())
        );
        assert!(
            DropReason::ALL
                .iter()
                .all(|r| r.index() < DropReason::COUNT)
        );
    }

    #[test]
    fn every_reason_has_a_sentence() {
        for reason in DropReason::ALL {
            assert!(
                reason.describe().ends_with('.'),
                "{reason}: {}",
                reason.describe()
            );
        }
    }
}
