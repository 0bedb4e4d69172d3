//! The virtio network header (virtio 1.3, 5.1.6; Linux `virtio_net_hdr`), which travels with a
//! frame and says what its sender left undone.

/// How a superframe is to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams of equal size (USO), over IPv4 or IPv6.
    Udp,
}

/// The ten bytes before a frame on a TAP or packet socket, in the host's byte order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct VnetHeader {
    /// [`VnetHeader::NEEDS_CSUM`], [`VnetHeader::DATA_VALID`].
    pub flags: u8,
    /// One of the `GSO_` constants, perhaps with [`VnetHeader::GSO_ECN`].
    pub gso_type: u8,
    /// Bytes of headers to copy before each segment: a hint.
    pub hdr_len: u16,
    /// Payload bytes of each segment.
    pub gso_size: u16,
    /// Where the checksummed part begins, counted from the destination MAC.
    pub csum_start: u16,
    /// Where in that part the checksum is to be stored.
    pub csum_offset: u16,
}

impl VnetHeader {
    /// Bytes of the header.
    pub const LEN: usize = 10;
    /// The checksum is unfinished: its field holds the uncomplemented pseudo-header sum.
    pub const NEEDS_CSUM: u8 = 1;
    /// The checksum was verified.
    pub const DATA_VALID: u8 = 2;
    /// Not a superframe.
    pub const GSO_NONE: u8 = 0;
    /// TCP over IPv4.
    pub const GSO_TCPV4: u8 = 1;
    /// UDP fragmentation, no longer made by Linux.
    pub const GSO_UDP: u8 = 3;
    /// TCP over IPv6.
    pub const GSO_TCPV6: u8 = 4;
    /// UDP segmentation.
    pub const GSO_UDP_L4: u8 = 5;
    /// The TCP segments carry ECN's CWR in the first only.
    pub const GSO_ECN: u8 = 0x80;

    /// Returns whether the checksum is unfinished.
    #[must_use]
    pub const fn needs_csum(&self) -> bool {
        self.flags & Self::NEEDS_CSUM != 0
    }

    /// Returns whether the frame is a superframe, of whatever kind.
    #[must_use]
    pub const fn is_gso(&self) -> bool {
        self.gso_type & !Self::GSO_ECN != Self::GSO_NONE
    }

    /// The kind of superframe; `None` when it is none, or one that cannot be cut here.
    #[must_use]
    pub const fn gso_kind(&self) -> Option<GsoKind> {
        match self.gso_type & !Self::GSO_ECN {
            Self::GSO_TCPV4 => Some(GsoKind::Tcp4),
            Self::GSO_TCPV6 => Some(GsoKind::Tcp6),
            Self::GSO_UDP_L4 => Some(GsoKind::Udp),
            _ => None,
        }
    }

    /// Moves the offsets by `by` bytes, as pushing or popping a tag does.
    pub fn shift(&mut self, by: i16) {
        if self.needs_csum() {
            self.csum_start = self.csum_start.saturating_add_signed(by);
        }
        if self.hdr_len != 0 {
            self.hdr_len = self.hdr_len.saturating_add_signed(by);
        }
    }

    /// The header as it stands before a frame.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b] = self.hdr_len.to_ne_bytes();
        let [c, d] = self.gso_size.to_ne_bytes();
        let [e, f] = self.csum_start.to_ne_bytes();
        let [g, h] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, a, b, c, d, e, f, g, h]
    }

    /// The header in these ten bytes. Any bytes are a header; whether it fits its frame is for
    /// the parser to say.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let [flags, gso_type, a, b, c, d, e, f, g, h] = bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([a, b]),
            gso_size: u16::from_ne_bytes([c, d]),
            csum_start: u16::from_ne_bytes([e, f]),
            csum_offset: u16::from_ne_bytes([g, h]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip_in_the_kernel_s_layout() {
        let bytes = [1, 0x81, 1, 2, 3, 4, 5, 6, 7, 8];
        let header = VnetHeader::from_bytes(bytes);
        assert_eq!(
            (header.hdr_len, header.csum_offset),
            (u16::from_ne_bytes([1, 2]), u16::from_ne_bytes([7, 8]))
        );
        assert_eq!(header.to_bytes(), bytes);
        assert_eq!(header.gso_kind(), Some(GsoKind::Tcp4), "with ECN");
    }

    #[test]
    fn kinds_of_superframe() {
        let kind = |gso_type| VnetHeader {
            gso_type,
            ..VnetHeader::default()
        };
        assert!(!kind(VnetHeader::GSO_NONE).is_gso() && !kind(VnetHeader::GSO_ECN).is_gso());
        assert_eq!(kind(VnetHeader::GSO_TCPV6).gso_kind(), Some(GsoKind::Tcp6));
        assert_eq!(kind(VnetHeader::GSO_UDP_L4).gso_kind(), Some(GsoKind::Udp));
        assert!(
            kind(VnetHeader::GSO_UDP).is_gso() && kind(VnetHeader::GSO_UDP).gso_kind().is_none()
        );
    }

    #[test]
    fn only_offsets_that_mean_something_move() {
        let mut finished = VnetHeader::default();
        finished.shift(4);
        assert_eq!(finished, VnetHeader::default());
        let mut header = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            hdr_len: 54,
            csum_start: 34,
            csum_offset: 16,
            ..finished
        };
        let before = header;
        header.shift(4);
        assert_eq!(
            (header.hdr_len, header.csum_start, header.csum_offset),
            (58, 38, 16)
        );
        header.shift(-4);
        assert_eq!(header, before);
    }
}
