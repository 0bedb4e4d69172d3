//! A host's network card: what smoltcp sends and receives through.
//!
//! With `superframes` it does what a TAP with a virtio header does: TCP leaves in packets of many
//! segments with unfinished checksums, and such packets are taken as they come. Without, every
//! frame must be finished: the card drops, and counts, a frame with a wrong checksum or one that
//! leaves work undone, and so proves what the switch's egress did. With a `tag` it is a VLAN
//! device: it tags what leaves and takes nothing else.

use smoltcp::phy::{
    Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, PacketMeta, RxToken,
    SegmentationCapabilities, TxToken,
};
use smoltcp::time::Instant;
use std::collections::VecDeque;
use std::num::NonZeroUsize;
use wire::checksum::{Sum, Verified, verify_transport};
use wire::{GsoKind, Headers, Net, Transport, VlanTag, VnetHeader};

/// A frame on a simulated wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// From its destination MAC on.
    pub bytes: Vec<u8>,
    /// The work that its sender left undone.
    pub vnet: VnetHeader,
}

impl Packet {
    /// A finished frame.
    #[must_use]
    pub fn finished(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            vnet: VnetHeader::default(),
        }
    }
}

/// Frames a card refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Refused {
    /// A checksum is wrong, or the virtio header is.
    pub damaged: u64,
    /// An unfinished frame reached a card that takes none.
    pub unfinished: u64,
    /// Not in the card's VLAN.
    pub other_vlan: u64,
}

#[derive(Debug)]
pub(crate) struct Nic {
    /// The largest IP packet.
    mtu: usize,
    tag: Option<VlanTag>,
    superframes: bool,
    rx: VecDeque<Vec<u8>>,
    pub(crate) tx: VecDeque<Packet>,
    pub(crate) refused: Refused,
}

/// Bytes of a superframe at most, Ethernet header included.
const SUPERFRAME: NonZeroUsize = NonZeroUsize::new(60_000).expect("60000 is not zero");
const ETHERNET: usize = 14;
const MACS: usize = 12;

impl Nic {
    pub(crate) fn new(mtu: u16, tag: Option<VlanTag>, superframes: bool) -> Self {
        let (rx, tx) = (VecDeque::new(), VecDeque::new());
        Self {
            mtu: usize::from(mtu),
            tag,
            superframes,
            rx,
            tx,
            refused: Refused::default(),
        }
    }

    /// Takes a frame from the wire.
    pub(crate) fn take(&mut self, packet: Packet) {
        let Packet {
            mut bytes,
            mut vnet,
        } = packet;
        if let Some(tag) = self.tag {
            let worn = bytes
                .get(MACS..MACS + 4)
                .and_then(|b| VlanTag::from_bytes(b.try_into().expect("four bytes")));
            if worn.is_none_or(|worn| worn.vid() != tag.vid()) {
                self.refused.other_vlan += 1;
                return;
            }
            bytes.drain(MACS..MACS + 4);
            vnet.shift(-4);
        }
        if !self.superframes && (vnet.needs_csum() || vnet.is_gso()) {
            self.refused.unfinished += 1;
        } else if sound(&bytes, &vnet) {
            self.rx.push_back(bytes);
        } else {
            self.refused.damaged += 1;
        }
    }
}

/// Returns whether the virtio header fits, and the checksum is right or announced as unfinished.
fn sound(bytes: &[u8], vnet: &VnetHeader) -> bool {
    let Ok(headers) = Headers::parse(bytes) else {
        return false;
    };
    if wire::check_vnet(vnet, &headers, bytes.len()).is_err() {
        return false;
    }
    if !vnet.needs_csum() {
        return verify_transport(bytes, &headers) != Verified::Wrong;
    }
    // An unfinished checksum is the sum of the pseudo header, which moves with every rewrite.
    let field = usize::from(vnet.csum_start + vnet.csum_offset);
    pseudo_sum(&headers).is_none_or(|sum| bytes[field..field + 2] == sum.to_be_bytes())
}

/// Returns what the checksum field of an unfinished TCP segment holds.
fn pseudo_sum(headers: &Headers) -> Option<u16> {
    let Transport::Tcp(tcp) = headers.transport else {
        return None;
    };
    let len = headers.packet_end()? - usize::from(tcp.offset);
    match headers.net {
        Net::Ipv4(ip) => Some(Sum::pseudo_v4(ip.src, ip.dst, ip.protocol, len).unfinished()),
        Net::Ipv6(ip) => Some(Sum::pseudo_v6(ip.src, ip.dst, ip.next_header, len).unfinished()),
        Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
    }
}

impl Device for Nic {
    type RxToken<'a> = Taken;
    type TxToken<'a> = Leaving<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Taken, Leaving<'_>)> {
        let bytes = self.rx.pop_front()?;
        Some((Taken(bytes), Leaving::new(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Leaving<'_>> {
        Some(Leaving::new(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut checksum = ChecksumCapabilities::default();
        let mut segmentation = SegmentationCapabilities::default();
        if self.superframes {
            checksum.tcp = Checksum::None;
            // smoltcp 0.14 drops an IPv6 packet above the MTU even when it may leave it to the
            // card, so IPv6 gets unfinished checksums only.
            segmentation.tcpv4 = Some(SUPERFRAME);
        }
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + ETHERNET;
        capabilities.checksum = checksum;
        capabilities.segmentation = segmentation;
        capabilities
    }
}

/// A received frame.
#[derive(Debug)]
pub(crate) struct Taken(Vec<u8>);

impl RxToken for Taken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for a frame that is to leave.
#[derive(Debug)]
pub(crate) struct Leaving<'a> {
    nic: &'a mut Nic,
    segment: u16,
}

impl<'a> Leaving<'a> {
    fn new(nic: &'a mut Nic) -> Self {
        Self { nic, segment: 0 }
    }
}

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut bytes = vec![0; len];
        let result = f(&mut bytes);
        let mut vnet = if self.nic.superframes {
            leave_unfinished(&mut bytes, self.segment)
        } else {
            VnetHeader::default()
        };
        if let Some(tag) = self.nic.tag {
            bytes.splice(MACS..MACS, tag.to_bytes());
            vnet.shift(4);
        }
        self.nic.tx.push_back(Packet { bytes, vnet });
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.segment = meta
            .segmentation_offload_size
            .map_or(0, std::num::NonZeroU16::get);
    }
}

/// The virtio header of a TCP frame whose checksum smoltcp left to the card, and the unfinished
/// checksum itself; the default header of any other frame, which smoltcp finished.
fn leave_unfinished(bytes: &mut [u8], segment: u16) -> VnetHeader {
    let headers = Headers::parse(bytes).expect("smoltcp writes whole headers");
    let (Transport::Tcp(tcp), Some(sum)) = (headers.transport, pseudo_sum(&headers)) else {
        return VnetHeader::default();
    };
    let field = usize::from(tcp.offset) + 16;
    bytes[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    let kind = if matches!(headers.net, Net::Ipv4(_)) {
        GsoKind::Tcp4
    } else {
        GsoKind::Tcp6
    };
    let gso_type = match (segment, kind) {
        (0, _) => VnetHeader::GSO_NONE,
        (_, GsoKind::Tcp4) => VnetHeader::GSO_TCPV4,
        (_, GsoKind::Tcp6 | GsoKind::Udp) => VnetHeader::GSO_TCPV6,
    };
    VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type,
        hdr_len: tcp.offset + u16::from(tcp.header_len),
        gso_size: segment,
        csum_start: tcp.offset,
        csum_offset: 16,
    }
}
