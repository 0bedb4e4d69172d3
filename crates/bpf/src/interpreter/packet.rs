//! A packet on its way through a program.

use crate::SkBuff;

/// A packet with its context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The frame, from its MAC addresses on. A tag may be here or in the context.
    pub bytes: Vec<u8>,
    /// How many bytes can be read by address; the others by helpers, or once they are pulled.
    pub linear: usize,
    /// Whether the transport checksum is unfinished (`CHECKSUM_PARTIAL`).
    pub unfinished: bool,
    /// Its context. `len` and the pointers follow the bytes.
    pub context: SkBuff,
}

/// Where a helper was told to send a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Redirect {
    /// The interface.
    pub ifindex: u32,
    /// How.
    pub way: Way,
}

/// How a packet goes to an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Out by it.
    Egress,
    /// As if it had come in by it.
    Ingress,
    /// In by its peer, in the peer's namespace.
    Peer,
}

const LEAST_ETHERTYPE: u16 = 0x0600;
const ETH_P_802_3: u16 = 0x0001;
const ETH_P_802_2: u16 = 0x0004;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;
/// Two MAC addresses.
const ADDRESSES: usize = 12;
const TAG: usize = 4;

impl Packet {
    /// A frame that came in on an interface, all of it readable by address, without a tag in its context.
    #[must_use]
    pub fn new(bytes: Vec<u8>, ifindex: u32) -> Self {
        let linear = bytes.len();
        let mut packet = Self {
            bytes,
            linear,
            unfinished: false,
            context: SkBuff {
                ifindex,
                ingress_ifindex: ifindex,
                ..SkBuff::default()
            },
        };
        packet.context.protocol = big_endian(packet.protocol());
        packet
    }

    /// Returns the protocol as the kernel reads it (`eth_type_trans`): the number behind the addresses, or
    /// that it is a length.
    fn protocol(&self) -> u16 {
        let number = |at: usize| {
            let bytes = self.bytes.get(at..at + 2)?;
            Some(u16::from_be_bytes(bytes.try_into().ok()?))
        };
        match number(ADDRESSES) {
            Some(ethertype) if ethertype >= LEAST_ETHERTYPE => ethertype,
            Some(_) if number(ADDRESSES + 2) == Some(u16::MAX) => ETH_P_802_3,
            Some(_) | None => ETH_P_802_2,
        }
    }

    /// Makes the first `bytes` readable by address; says whether there are so many.
    pub(super) fn pull(&mut self, bytes: usize) -> bool {
        let enough = bytes <= self.bytes.len();
        if enough {
            self.linear = self.linear.max(bytes);
        }
        enough
    }

    /// Puts a tag into the context; one that is there goes into the bytes.
    pub(super) fn push_tag(&mut self, protocol: u16, tci: u16) {
        if self.context.vlan_present != 0 && self.pull(ADDRESSES) {
            let [a, b] = low_half(self.context.vlan_proto).to_ne_bytes();
            let [c, d] = low_half(self.context.vlan_tci).to_be_bytes();
            self.bytes.splice(ADDRESSES..ADDRESSES, [a, b, c, d]);
            self.linear += TAG;
            self.context.protocol = self.context.vlan_proto;
        }
        let protocol = match protocol {
            ETH_P_8021AD => ETH_P_8021AD,
            _ => ETH_P_8021Q,
        };
        self.context.vlan_present = 1;
        self.context.vlan_proto = big_endian(protocol);
        self.context.vlan_tci = u32::from(tci);
    }

    /// Takes the outer tag off; the next one, if there is, goes from the bytes into the context.
    pub(super) fn pop_tag(&mut self) {
        if self.context.vlan_present == 0 && self.take_tag().is_none() {
            return;
        }
        (self.context.vlan_present, self.context.vlan_tci) = (0, 0);
        self.context.vlan_proto = 0;
        if let Some((protocol, tci)) = self.take_tag() {
            self.push_tag(protocol, tci);
        }
    }

    /// Takes the first tag out of the bytes. Whether there is one says the context, as in the kernel: a program
    /// may have written other bytes there.
    fn take_tag(&mut self) -> Option<(u16, u16)> {
        let protocol = u16::from_be(low_half(self.context.protocol));
        if ![ETH_P_8021Q, ETH_P_8021AD].contains(&protocol) || !self.pull(ADDRESSES + TAG) {
            return None;
        }
        let tag: Vec<u8> = self.bytes.splice(ADDRESSES..ADDRESSES + TAG, []).collect();
        self.linear -= TAG;
        self.context.protocol = big_endian(self.protocol());
        Some((protocol, u16::from_be_bytes([tag[2], tag[3]])))
    }
}

/// The number that has the bytes of `value` in the network's order.
fn big_endian(value: u16) -> u32 {
    u32::from(value.to_be())
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a tag is two numbers of 16 bits"
)]
const fn low_half(value: u32) -> u16 {
    value as u16
}
