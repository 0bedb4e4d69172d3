//! How foreign types stand in the state file: ids as numbers, addresses as text, tables as lists.
//!
//! A table is a list of records that carry their own id, so a file cannot hold a record under one
//! id that claims another; a repeated id is refused.

use ipnet::IpNet;
use model::{
    Action, AddressRange, Lock, Policy, PortRange, Rule, RuleDirection, StormLimits, VlanMode,
    VlanSet,
};
use pipeline::{NetworkId, PortId};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::net::IpAddr;
use wire::{IpProtocol, MacAddr, VlanId};

/// A value whose form in the file is not that of the HTTP interface.
pub(crate) trait Stored: Sized {
    /// Its form in the file.
    type Form: Serialize + DeserializeOwned;

    fn to_form(&self) -> Self::Form;

    /// Reads the form, or says why it is none.
    fn of_form(form: Self::Form) -> Result<Self, String>;
}

impl<T: Stored> Stored for Option<T> {
    type Form = Option<T::Form>;

    fn to_form(&self) -> Self::Form {
        self.as_ref().map(T::to_form)
    }

    fn of_form(form: Self::Form) -> Result<Self, String> {
        form.map(T::of_form).transpose()
    }
}

impl<T: Stored> Stored for Vec<T> {
    type Form = Vec<T::Form>;

    fn to_form(&self) -> Self::Form {
        self.iter().map(T::to_form).collect()
    }

    fn of_form(form: Self::Form) -> Result<Self, String> {
        form.into_iter().map(T::of_form).collect()
    }
}

/// Reads and writes a [`Stored`] value.
pub(crate) mod form {
    use super::*;

    pub(crate) fn serialize<T: Stored, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        value.to_form().serialize(to)
    }

    pub(crate) fn deserialize<'de, T: Stored, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        T::of_form(T::Form::deserialize(from)?).map_err(D::Error::custom)
    }
}

impl Stored for PortId {
    type Form = u16;

    fn to_form(&self) -> u16 {
        self.0
    }

    fn of_form(id: u16) -> Result<Self, String> {
        Ok(Self(id))
    }
}

impl Stored for NetworkId {
    type Form = u32;

    fn to_form(&self) -> u32 {
        self.0
    }

    fn of_form(id: u32) -> Result<Self, String> {
        Ok(Self(id))
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RangeForm {
    first: IpAddr,
    last: IpAddr,
}

impl Stored for AddressRange {
    type Form = RangeForm;

    fn to_form(&self) -> RangeForm {
        RangeForm {
            first: self.first(),
            last: self.last(),
        }
    }

    fn of_form(RangeForm { first, last }: RangeForm) -> Result<Self, String> {
        Self::new(first, last).ok_or_else(|| format!("{first} to {last} is no range of addresses"))
    }
}

/// Ports as first and last.
impl Stored for PortRange {
    type Form = (u16, u16);

    fn to_form(&self) -> (u16, u16) {
        (self.first(), self.last())
    }

    fn of_form((first, last): (u16, u16)) -> Result<Self, String> {
        Self::new(first, last).ok_or_else(|| format!("{first} to {last} is no range of ports"))
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct LockForm {
    mac: MacAddr,
    addresses: Vec<IpAddr>,
}

impl Stored for Lock {
    type Form = LockForm;

    fn to_form(&self) -> LockForm {
        LockForm {
            mac: self.mac,
            addresses: self.ips.clone(),
        }
    }

    fn of_form(form: LockForm) -> Result<Self, String> {
        Ok(Self {
            mac: form.mac,
            ips: form.addresses,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct StormForm {
    broadcast: Option<u32>,
    multicast: Option<u32>,
    unknown: Option<u32>,
}

impl Stored for StormLimits {
    type Form = StormForm;

    fn to_form(&self) -> StormForm {
        StormForm {
            broadcast: self.broadcast,
            multicast: self.multicast,
            unknown: self.unknown_unicast,
        }
    }

    fn of_form(form: StormForm) -> Result<Self, String> {
        Ok(Self {
            broadcast: form.broadcast,
            multicast: form.multicast,
            unknown_unicast: form.unknown,
        })
    }
}

/// A VLAN mode; the VLANs of a trunk are runs of neighbours, the first and the last of each.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VlanForm {
    Access(VlanId),
    Trunk {
        allowed: Vec<(VlanId, VlanId)>,
        native: Option<VlanId>,
        native_tagged: bool,
    },
    Tunnel(VlanId),
}

impl Stored for VlanMode {
    type Form = VlanForm;

    fn to_form(&self) -> VlanForm {
        match self {
            Self::Access { vid } => VlanForm::Access(*vid),
            Self::Dot1qTunnel { vid } => VlanForm::Tunnel(*vid),
            Self::Trunk {
                allowed,
                native,
                native_tagged,
            } => VlanForm::Trunk {
                allowed: allowed.runs(),
                native: *native,
                native_tagged: *native_tagged,
            },
        }
    }

    fn of_form(form: VlanForm) -> Result<Self, String> {
        Ok(match form {
            VlanForm::Access(vid) => Self::Access { vid },
            VlanForm::Tunnel(vid) => Self::Dot1qTunnel { vid },
            VlanForm::Trunk {
                allowed,
                native,
                native_tagged,
            } => Self::Trunk {
                allowed: VlanSet::of_runs(&allowed).map_err(|error| error.to_string())?,
                native,
                native_tagged,
            },
        })
    }
}

/// A record of a table.
pub(crate) trait Record {
    type Id: Copy + Ord;
    fn id(&self) -> Self::Id;
}

pub(crate) mod table {
    use super::*;
    use std::collections::BTreeMap;

    pub(crate) fn serialize<T, S>(table: &BTreeMap<T::Id, T>, to: S) -> Result<S::Ok, S::Error>
    where
        T: Record + Serialize,
        S: Serializer,
    {
        to.collect_seq(table.values())
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<BTreeMap<T::Id, T>, D::Error>
    where
        T: Record + Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let mut table = BTreeMap::new();
        for record in Vec::<T>::deserialize(from)? {
            if table.insert(record.id(), record).is_some() {
                return Err(D::Error::custom("two records have one id"));
            }
        }
        Ok(table)
    }
}

/// A policy; the default has another name.
#[derive(Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct PolicyForm {
    otherwise: Action,
    rules: Vec<RuleForm>,
}

impl Default for PolicyForm {
    fn default() -> Self {
        Policy::default().to_form()
    }
}

impl Stored for Policy {
    type Form = PolicyForm;

    fn to_form(&self) -> PolicyForm {
        PolicyForm {
            otherwise: self.default,
            rules: self.rules.to_form(),
        }
    }

    fn of_form(form: PolicyForm) -> Result<Self, String> {
        Ok(Self {
            default: form.otherwise,
            rules: Stored::of_form(form.rules)?,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct RuleForm {
    action: Action,
    direction: RuleDirection,
    peer: Option<IpNet>,
    protocol: Option<IpProtocol>,
    #[serde(with = "form")]
    ports: Option<PortRange>,
}

impl Stored for Rule {
    type Form = RuleForm;

    fn to_form(&self) -> RuleForm {
        RuleForm {
            action: self.action,
            direction: self.direction,
            peer: self.peer,
            protocol: self.protocol,
            ports: self.ports,
        }
    }

    fn of_form(form: RuleForm) -> Result<Self, String> {
        Ok(Self {
            action: form.action,
            direction: form.direction,
            peer: form.peer,
            protocol: form.protocol,
            ports: form.ports,
        })
    }
}
