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
