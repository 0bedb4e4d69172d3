//! VLAN tags (IEEE 802.1Q, 802.1ad).

use std::fmt;
use std::str::FromStr;

/// A VLAN identifier, 1 to 4094.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "schema",
    schema(value_type = u16, minimum = 1, maximum = 4094, example = 10)
)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "u16", into = "u16")
)]
pub struct VlanId(u16);

impl VlanId {
    /// The VLAN of ports that were not told another one (the default PVID of 802.1Q).
    pub const DEFAULT: Self = Self(1);
    /// The lowest identifier.
    pub const MIN: u16 = 1;
    /// The highest identifier: 4095 is reserved.
    pub const MAX: u16 = 4094;

    /// The VLAN `id`; `None` outside 1 to 4094.
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        if id >= Self::MIN && id <= Self::MAX {
            Some(Self(id))
        } else {
            None
        }
    }

    /// The identifier as a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for VlanId {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The number or the text names no VLAN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a VLAN: allowed are 1 to 4094")]
pub struct ParseVlanError(String);

impl TryFrom<u16> for VlanId {
    type Error = ParseVlanError;

    fn try_from(id: u16) -> Result<Self, Self::Error> {
        Self::new(id).ok_or_else(|| ParseVlanError(id.to_string()))
    }
}

impl From<VlanId> for u16 {
    fn from(vlan: VlanId) -> Self {
        vlan.0
    }
}

impl FromStr for VlanId {
    type Err = ParseVlanError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = text.parse().ok().and_then(Self::new);
        id.ok_or_else(|| ParseVlanError(text.to_owned()))
    }
}

impl fmt::Display for VlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The four bytes between source MAC and EtherType.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VlanTag {
    /// Tag protocol identifier: [`VlanTag::CTAG`] or [`VlanTag::STAG`].
    pub tpid: u16,
    /// Priority (3 bits), drop eligible (1 bit), VLAN identifier (12 bits).
    pub tci: u16,
}

impl VlanTag {
    /// A customer tag, 802.1Q.
    pub const CTAG: u16 = 0x8100;
    /// A service tag, 802.1ad.
    pub const STAG: u16 = 0x88a8;

    /// Returns whether `ethertype` introduces a VLAN tag.
    #[must_use]
    pub const fn is_tpid(ethertype: u16) -> bool {
        ethertype == Self::CTAG || ethertype == Self::STAG
    }

    /// The 12 bits of the identifier: 0 is a priority tag, which names no VLAN.
    #[must_use]
    pub const fn vid(self) -> u16 {
        self.tci & 0x0fff
    }

    /// The same priority with another VLAN.
    #[must_use]
    pub const fn with_vid(self, vid: VlanId) -> Self {
        Self {
            tpid: self.tpid,
            tci: (self.tci & 0xf000) | vid.get(),
        }
    }

    /// The tag as it stands in a frame.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.tpid.to_be_bytes(), self.tci.to_be_bytes());
        [a, b, c, d]
    }

    /// The tag in these four bytes; `None` when they do not begin with a tag protocol identifier.
    #[must_use]
    pub const fn from_bytes([a, b, c, d]: [u8; 4]) -> Option<Self> {
        let tag = Self {
            tpid: u16::from_be_bytes([a, b]),
            tci: u16::from_be_bytes([c, d]),
        };
        if Self::is_tpid(tag.tpid) {
            Some(tag)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_1_to_4094() {
        assert_eq!([0, 4095, u16::MAX].map(VlanId::new), [None; 3]);
        assert_eq!("4094".parse(), Ok(VlanId(4094)));
        assert_eq!(
            "4095".parse::<VlanId>().unwrap_err().to_string(),
            "`4095` is not a VLAN: allowed are 1 to 4094"
        );
        assert_eq!(
            [1, 4094].map(|id| VlanId::new(id).unwrap().get()),
            [1, 4094]
        );
    }

    #[test]
    fn another_vlan_keeps_priority_and_drop_eligible() {
        let tag = VlanTag {
            tpid: VlanTag::STAG,
            tci: 0xf005,
        };
        let moved = tag.with_vid(VlanId::new(4094).unwrap());
        assert_eq!(
            (moved.tpid, moved.tci, moved.vid()),
            (VlanTag::STAG, 0xfffe, 4094)
        );
    }

    #[test]
    fn bytes_round_trip() {
        let tag = VlanTag {
            tpid: VlanTag::CTAG,
            tci: 0x6123,
        };
        assert_eq!(tag.to_bytes(), [0x81, 0x00, 0x61, 0x23]);
        assert_eq!(VlanTag::from_bytes(tag.to_bytes()), Some(tag));
        assert_eq!(VlanTag::from_bytes([0x08, 0x00, 0x61, 0x23]), None);
    }
}
