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

use model::VlanMode;
use pipeline::DropReason;
use wire::{Headers, VlanId, VlanTag};

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

/// The form of a frame that arrives at a port: a tunnel's customer tags are not the switch's.
#[must_use]
pub fn arrived(port: &VlanMode, headers: &Headers) -> Form {
    match port {
        VlanMode::Dot1qTunnel { .. } => Form::Untagged,
        VlanMode::Access { .. } | VlanMode::Trunk { .. } => {
            headers.outer.map_or(Form::Untagged, Form::Tagged)
        }
    }
}

/// The VLAN of a frame that arrives at a port.
///
/// # Errors
/// [`DropReason::VlanTaggedRefused`], [`DropReason::VlanUntaggedRefused`],
/// [`DropReason::VlanNotAllowed`].
pub fn classify(port: &VlanMode, headers: &Headers) -> Result<Admitted, DropReason> {
    let tag = headers.outer;
    let named = tag.and_then(|t| VlanId::new(t.vid()));
    let customer = |vlan| Admitted {
        vlan,
        tag,
        tpid: VlanTag::CTAG,
    };
    match port {
        VlanMode::Access { vid } => match tag {
            Some(t) if t.vid() != 0 => Err(DropReason::VlanTaggedRefused),
            _ => Ok(customer(*vid)),
        },
        VlanMode::Dot1qTunnel { vid } => Ok(Admitted {
            vlan: *vid,
            tag: None,
            tpid: VlanTag::STAG,
        }),
        VlanMode::Trunk {
            allowed, native, ..
        } => match (tag, named, native) {
            (Some(t), None, _) if t.vid() != 0 => Err(DropReason::VlanNotAllowed),
            (_, Some(vlan), native) => (allowed.contains(vlan) || *native == Some(vlan))
                .then(|| customer(vlan))
                .ok_or(DropReason::VlanNotAllowed),
            (_, None, Some(native)) => Ok(customer(*native)),
            (_, None, None) => Err(DropReason::VlanUntaggedRefused),
        },
    }
}

/// The form in which `frame` leaves through a port: `None` when the port does not carry its VLAN,
/// else the tag it leaves with.
#[must_use]
pub fn form(port: &VlanMode, frame: &Admitted) -> Option<Form> {
    match port {
        VlanMode::Access { vid } | VlanMode::Dot1qTunnel { vid } => {
            (*vid == frame.vlan).then_some(Form::Untagged)
        }
        VlanMode::Trunk {
            allowed,
            native,
            native_tagged,
        } => match native {
            Some(native) if *native == frame.vlan && !native_tagged => Some(Form::Untagged),
            Some(native) if *native == frame.vlan => Some(frame.tagged()),
            _ => allowed.contains(frame.vlan).then(|| frame.tagged()),
        },
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

/// The tag of the switch's with which a frame leaves a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Without one.
    Untagged,
    /// With this one.
    Tagged(VlanTag),
}
