//! How a port relates to VLANs (IEEE 802.1Q, 802.1ad).
//!
//! Inside the switch every frame is in exactly one VLAN, whatever it carries on the wire:
//!
//! ```text
//!             ingress                          egress
//!  access v   untagged, priority-tagged -> v   v -> untagged
//!  trunk      tag v -> v, untagged -> native   v -> tag v, native -> untagged (or tagged)
//!  tunnel v   anything, own tags kept   -> v   v -> without the service tag
//! ```
//! A tunnel port is 802.1ad's customer port (dot1q-tunnel): the tags its frames carry are cargo,
//! and on a trunk they travel behind a service tag.

use pipeline::DropReason;
use std::fmt;
use wire::{Headers, VlanId, VlanTag};

/// A port's VLAN mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VlanMode {
    /// One VLAN, untagged on the wire.
    Access(VlanId),
    /// Several VLANs, tagged on the wire.
    Trunk {
        /// The VLANs carried.
        allowed: VlanSet,
        /// The VLAN of untagged frames, if they are admitted.
        native: Option<Native>,
    },
    /// One VLAN around whatever tags the frames carry themselves.
    Tunnel(VlanId),
}

/// The VLAN of a trunk's untagged frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Native {
    /// The VLAN.
    pub vid: VlanId,
    /// Whether the VLAN's frames leave with a tag all the same (OVS: native-tagged).
    pub tagged: bool,
}

/// The VLAN a frame is in, and the tag it carries for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// The VLAN.
    pub vlan: VlanId,
    /// The outermost tag, where it is the switch's and not the customer's cargo. Its VLAN
    /// identifier may be 0: a priority tag.
    pub tag: Option<VlanTag>,
    /// The tag protocol of a tag that has to be added: a service tag around a tunnel's cargo.
    pub tpid: u16,
}

impl VlanMode {
    /// The form of a frame that arrives here: a tunnel's customer tags are not the switch's.
    #[must_use]
    pub fn arrived(&self, headers: &Headers) -> Form {
        match self {
            Self::Tunnel(_) => Form::Untagged,
            Self::Access(_) | Self::Trunk { .. } => {
                headers.outer.map_or(Form::Untagged, Form::Tagged)
            }
        }
    }

    /// Which VLAN a frame arriving here is in.
    ///
    /// # Errors
    /// [`DropReason::VlanTaggedRefused`], [`DropReason::VlanUntaggedRefused`],
    /// [`DropReason::VlanNotAllowed`].
    pub fn admit(&self, headers: &Headers) -> Result<Admitted, DropReason> {
        let tag = headers.outer;
        let named = tag.and_then(|t| VlanId::new(t.vid()));
        let customer = |vlan| Admitted {
            vlan,
            tag,
            tpid: VlanTag::CTAG,
        };
        match self {
            Self::Access(vlan) => match tag {
                Some(t) if t.vid() != 0 => Err(DropReason::VlanTaggedRefused),
                _ => Ok(customer(*vlan)),
            },
            Self::Tunnel(vlan) => Ok(Admitted {
                vlan: *vlan,
                tag: None,
                tpid: VlanTag::STAG,
            }),
            Self::Trunk { allowed, native } => match (tag, named, native) {
                (Some(t), None, _) if t.vid() != 0 => Err(DropReason::VlanNotAllowed),
                (_, Some(vlan), native) => {
                    let carried = allowed.contains(vlan) || native.is_some_and(|n| n.vid == vlan);
                    carried
                        .then(|| customer(vlan))
                        .ok_or(DropReason::VlanNotAllowed)
                }
                (_, None, Some(native)) => Ok(customer(native.vid)),
                (_, None, None) => Err(DropReason::VlanUntaggedRefused),
            },
        }
    }

    /// The form in which `frame` leaves here: `None` when the port does not carry its VLAN, else
    /// the tag it leaves with.
    #[must_use]
    pub fn form(&self, frame: &Admitted) -> Option<Form> {
        match self {
            Self::Access(vlan) | Self::Tunnel(vlan) => {
                (*vlan == frame.vlan).then_some(Form::Untagged)
            }
            Self::Trunk { allowed, native } => match native {
                Some(native) if native.vid == frame.vlan && !native.tagged => Some(Form::Untagged),
                Some(native) if native.vid == frame.vlan => Some(frame.tagged()),
                _ => allowed.contains(frame.vlan).then(|| frame.tagged()),
            },
        }
    }
}

impl Admitted {
    fn tagged(&self) -> Form {
        let template = self.tag.unwrap_or(VlanTag {
            tpid: self.tpid,
            tci: 0,
        });
        Form::Tagged(template.with_vid(self.vlan))
    }
}

/// With which tag of the switch's a frame leaves a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Without one.
    Untagged,
    /// With this one.
    Tagged(VlanTag),
}

/// A set of VLANs.
#[derive(Clone, PartialEq, Eq)]
pub struct VlanSet(Box<[u64; 64]>);

impl VlanSet {
    /// No VLAN.
    #[must_use]
    pub fn none() -> Self {
        Self(Box::new([0; 64]))
    }

    /// Every VLAN, 1 to 4094.
    #[must_use]
    pub fn all() -> Self {
        (VlanId::MIN..=VlanId::MAX)
            .filter_map(VlanId::new)
            .collect()
    }

    /// Whether `vlan` is in the set.
    #[must_use]
    pub fn contains(&self, vlan: VlanId) -> bool {
        let vid = vlan.get();
        self.0[usize::from(vid / 64)] & (1 << (vid % 64)) != 0
    }

    /// Puts `vlan` into the set.
    pub fn insert(&mut self, vlan: VlanId) {
        let vid = vlan.get();
        self.0[usize::from(vid / 64)] |= 1 << (vid % 64);
    }

    /// The VLANs in the set, rising.
    pub fn iter(&self) -> impl Iterator<Item = VlanId> + '_ {
        (VlanId::MIN..=VlanId::MAX)
            .filter_map(VlanId::new)
            .filter(|&v| self.contains(v))
    }
}

impl FromIterator<VlanId> for VlanSet {
    fn from_iter<I: IntoIterator<Item = VlanId>>(vlans: I) -> Self {
        let mut set = Self::none();
        vlans.into_iter().for_each(|v| set.insert(v));
        set
    }
}

impl fmt::Debug for VlanSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(VlanId::get)).finish()
    }
}
