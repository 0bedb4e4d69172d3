//! Ports of the switch: what one is made with, and what may be changed while it lives.

mod setting;
mod vlan;

use crate::{Invalid, Name, StormLimits};

pub use setting::{
    AdminState, Direction, Lock, Mirror, PcapSpeed, PortKind, Rate, check_host_mac, check_limits,
};
pub use vlan::{VlanMode, VlanSet};

use setting::check_mirror;

/// A port to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct PortAdd {
    /// Its name, free until now.
    pub name: Name,
    /// Its kind, and with it the interface or files behind it.
    pub kind: PortKind,
    /// The network it belongs to. `null`: none, and its frames are dropped (`no_network`).
    #[cfg_attr(feature = "serde", serde(default))]
    pub network: Option<Name>,
    /// Whether it carries frames.
    #[cfg_attr(feature = "serde", serde(default))]
    pub admin: AdminState,
    /// How it treats VLAN tags. `null`: access, in the network's default VLAN.
    #[cfg_attr(feature = "serde", serde(default))]
    pub vlan: Option<VlanMode>,
    /// Whether it is protected: protected ports do not talk to each other. `null`: an endpoint's is
    /// where its network's `icc` is off, any other is not.
    #[cfg_attr(feature = "serde", serde(default))]
    pub isolated: Option<bool>,
    /// The only addresses it may send from. `null`: any.
    #[cfg_attr(feature = "serde", serde(default))]
    pub lock: Option<Lock>,
    /// MAC addresses remembered at it at most, 1 to 16777216. `null`: the network's number.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 16_777_216))]
    pub max_macs: Option<u32>,
    /// The limits of its floods. `null`: the network's limits.
    #[cfg_attr(feature = "serde", serde(default))]
    pub storm: Option<StormLimits>,
    /// How much it may send, and as much receive. `null`: any.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rate: Option<Rate>,
    /// Makes it a mirror's destination: it gets copies and may not send. `null`: an ordinary port.
    #[cfg_attr(feature = "serde", serde(default))]
    pub mirror: Option<Mirror>,
}

impl PortAdd {
    /// A port without a network, with every default.
    #[must_use]
    pub fn new(name: Name, kind: PortKind) -> Self {
        Self {
            name,
            kind,
            network: None,
            admin: AdminState::Up,
            vlan: None,
            isolated: None,
            lock: None,
            max_macs: None,
            storm: None,
            rate: None,
            mirror: None,
        }
    }

    /// Compares every value with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        self.kind.check()?;
        check_limits(
            self.lock.as_ref(),
            self.max_macs,
            self.storm.as_ref(),
            self.rate,
        )?;
        check_mirror(&self.name, self.mirror.as_ref())
    }
}

/// Changes to a port: an absent field stays, `null` takes the setting away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct PortSet {
    /// Moves it to another network, or to none.
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            deserialize_with = "present",
            skip_serializing_if = "Option::is_none"
        )
    )]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Name>))]
    pub network: Option<Option<Name>>,
    /// Whether it carries frames.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub admin: Option<AdminState>,
    /// How it treats VLAN tags.
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            deserialize_with = "present",
            skip_serializing_if = "Option::is_none"
        )
    )]
    #[cfg_attr(feature = "schema", schema(value_type = Option<VlanMode>))]
    pub vlan: Option<Option<VlanMode>>,
    /// Whether it is protected.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub isolated: Option<bool>,
    /// The only addresses it may send from.
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            deserialize_with = "present",
            skip_serializing_if = "Option::is_none"
        )
    )]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Lock>))]
    pub lock: Option<Option<Lock>>,
    /// MAC addresses remembered at it at most, 1 to 16777216.
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            deserialize_with = "present",
            skip_serializing_if = "Option::is_none"
        )
    )]
    #[cfg_attr(feature = "schema", schema(value_type = Option<u32>, minimum = 1, maximum = 16_777_216))]
    pub max_macs: Option<Option<u32>>,
    /// The limits of its floods.
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            deserialize_with = "present",
            skip_serializing_if = "Option::is_none"
        )
    )]
    #[cfg_attr(feature = "schema", schema(value_type = Option<StormLimits>))]
    pub storm: Option<Option<StormLimits>>,
    /// How much it may send, and as much receive.
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            deserialize_with = "present",
            skip_serializing_if = "Option::is_none"
        )
    )]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Rate>))]
    pub rate: Option<Option<Rate>>,
    /// Makes it a mirror's destination, or an ordinary port again.
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            deserialize_with = "present",
            skip_serializing_if = "Option::is_none"
        )
    )]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Mirror>))]
    pub mirror: Option<Option<Mirror>>,
}

impl PortSet {
    /// The port's settings with the changes made.
    #[must_use]
    pub fn applied_to(&self, port: &PortAdd) -> PortAdd {
        fn pick<T: Clone>(change: Option<&T>, old: &T) -> T {
            change.unwrap_or(old).clone()
        }
        PortAdd {
            name: port.name.clone(),
            kind: port.kind.clone(),
            network: pick(self.network.as_ref(), &port.network),
            admin: pick(self.admin.as_ref(), &port.admin),
            vlan: pick(self.vlan.as_ref(), &port.vlan),
            isolated: self.isolated.or(port.isolated),
            lock: pick(self.lock.as_ref(), &port.lock),
            max_macs: pick(self.max_macs.as_ref(), &port.max_macs),
            storm: pick(self.storm.as_ref(), &port.storm),
            rate: pick(self.rate.as_ref(), &port.rate),
            mirror: pick(self.mirror.as_ref(), &port.mirror),
        }
    }

    /// Returns whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Compares every value with its range.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        check_limits(
            self.lock.as_ref().and_then(Option::as_ref),
            self.max_macs.flatten(),
            self.storm.as_ref().and_then(Option::as_ref),
            self.rate.flatten(),
        )
    }
}

/// Tells a field that is `null` from one that is absent (the latter never gets here).
#[cfg(feature = "serde")]
fn present<'de, T: serde::Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{VlanId, check_ifname};

    fn tap() -> PortAdd {
        PortAdd::new(
            "p1".parse().unwrap(),
            PortKind::Tap {
                netns: None,
                ifname: "tap0".into(),
                queues: 1,
            },
        )
    }

    #[test]
    fn absent_stays_and_null_clears() {
        let old = PortAdd {
            max_macs: Some(5),
            isolated: Some(true),
            network: Some("blue".parse().unwrap()),
            ..tap()
        };
        let set: PortSet = serde_json::from_str(r#"{"max_macs":null,"admin":"down"}"#).unwrap();
        assert_eq!(
            set.applied_to(&old),
            PortAdd {
                max_macs: None,
                admin: AdminState::Down,
                ..old.clone()
            }
        );
        assert_eq!(
            serde_json::to_string(&set).unwrap(),
            r#"{"admin":"down","max_macs":null}"#
        );
        assert!(serde_json::from_str::<PortSet>("{}").unwrap().is_empty());
    }

    #[test]
    fn kinds_and_modes_are_closed() {
        let port: PortAdd = serde_json::from_str(
            r#"{"name":"p1","kind":{"type":"tap","ifname":"tap0"},"vlan":{"mode":"trunk","allowed":[10,20],"native":10}}"#,
        )
        .unwrap();
        let [ten, twenty] = [10, 20].map(|id: u16| VlanId::try_from(id).unwrap());
        let trunk = VlanMode::Trunk {
            allowed: VlanSet::listed(&[ten, twenty]),
            native: Some(ten),
            native_tagged: false,
        };
        assert_eq!(
            port,
            PortAdd {
                vlan: Some(trunk),
                ..tap()
            }
        );
        assert!(serde_json::from_str::<PortKind>(r#"{"type":"veth"}"#).is_err());
        assert!(
            serde_json::from_str::<PortKind>(r#"{"type":"tap","ifname":"a","queue":2}"#).is_err()
        );
    }

    #[test]
    fn refusals_name_field_value_and_range() {
        let mirror = |of: &[&str]| {
            Some(Mirror {
                of: of.iter().map(|n| n.parse().unwrap()).collect(),
                direction: Direction::Both,
            })
        };
        for (port, wrong) in [
            (
                PortAdd {
                    kind: PortKind::Pcap {
                        read: None,
                        write: None,
                        speed: PcapSpeed::Full,
                    },
                    ..tap()
                },
                "a pcap port needs kind.read, kind.write or both",
            ),
            (
                PortAdd {
                    mirror: mirror(&[]),
                    ..tap()
                },
                "mirror.of is empty; at least one port is needed",
            ),
            (
                PortAdd {
                    mirror: mirror(&["p1"]),
                    ..tap()
                },
                "port p1 cannot mirror itself",
            ),
            (
                PortAdd {
                    max_macs: Some(0),
                    ..tap()
                },
                "max_macs is 0; allowed are 1 to 16777216",
            ),
        ] {
            assert_eq!(port.check().unwrap_err().to_string(), wrong);
        }
        for wrong in ["", "a/b", "0123456789abcdef", "a b", ".."] {
            assert!(check_ifname("ifname", wrong).is_err(), "{wrong}");
        }
        assert_eq!(tap().check(), Ok(()));
    }
}
