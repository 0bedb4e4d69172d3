//! How foreign types stand in the state file: ids as numbers, addresses as text, tables as lists.
//!
//! A table is a list of records that carry their own id, so a file cannot hold a record under one
//! id that claims another; a repeated id is refused.

use ipnet::IpNet;
use nat::PortRange;
use nat::config::{Action, Direction, Rule};
use pipeline::{NetworkId, PortId};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use switch::{Native, VlanMode, VlanSet};
use wire::{IpProtocol, VlanId};

use crate::model::{Endpoint, EndpointId, Isolation, Network, Port};
use crate::publish::{Publication, PublicationId};

/// A dense id of `pipeline`.
pub(crate) trait Id: Copy {
    fn number(self) -> u32;
    fn of(number: u32) -> Self;
}

impl Id for PortId {
    fn number(self) -> u32 {
        self.0
    }
    fn of(number: u32) -> Self {
        Self(number)
    }
}

impl Id for NetworkId {
    fn number(self) -> u32 {
        self.0
    }
    fn of(number: u32) -> Self {
        Self(number)
    }
}

pub(crate) mod id {
    use super::*;

    pub(crate) fn serialize<T: Id, S: Serializer>(id: &T, to: S) -> Result<S::Ok, S::Error> {
        id.number().serialize(to)
    }

    pub(crate) fn deserialize<'de, T: Id, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        u32::deserialize(from).map(T::of)
    }
}

pub(crate) mod id_option {
    use super::*;

    pub(crate) fn serialize<T: Id, S: Serializer>(
        id: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        id.map(Id::number).serialize(to)
    }

    pub(crate) fn deserialize<'de, T: Id, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        Option::deserialize(from).map(|number: Option<u32>| number.map(T::of))
    }
}

pub(crate) mod ids {
    use super::*;

    pub(crate) fn serialize<T: Id, S: Serializer>(ids: &[T], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(ids.iter().map(|id| id.number()))
    }

    pub(crate) fn deserialize<'de, T: Id, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<T>, D::Error> {
        Vec::deserialize(from).map(|numbers: Vec<u32>| numbers.into_iter().map(T::of).collect())
    }
}

pub(crate) mod vlan {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(vlan: &VlanId, to: S) -> Result<S::Ok, S::Error> {
        vlan.get().serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<VlanId, D::Error> {
        of(u16::deserialize(from)?)
    }

    pub(super) fn of<E: serde::de::Error>(id: u16) -> Result<VlanId, E> {
        VlanId::new(id).ok_or_else(|| E::custom(format!("VLAN {id} is not in 1 to 4094")))
    }
}

pub(crate) mod text {
    use super::*;
    use std::fmt::Display;
    use std::str::FromStr;

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T: FromStr<Err: Display>, D: Deserializer<'de>>(
        from: D,
    ) -> Result<T, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A record of a table.
pub(crate) trait Record {
    type Id: Copy + Ord;
    fn id(&self) -> Self::Id;
}

impl Record for Network {
    type Id = NetworkId;
    fn id(&self) -> NetworkId {
        self.id
    }
}

impl Record for Endpoint {
    type Id = EndpointId;
    fn id(&self) -> EndpointId {
        self.id
    }
}

impl Record for Port {
    type Id = PortId;
    fn id(&self) -> PortId {
        self.id
    }
}

impl Record for Publication {
    type Id = PublicationId;
    fn id(&self) -> PublicationId {
        self.id
    }
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

pub(crate) mod vlan_mode {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Stored {
        Access(u16),
        Trunk {
            allowed: Vec<(u16, u16)>,
            native: Option<u16>,
            native_tagged: bool,
        },
        Tunnel(u16),
    }

    pub(crate) fn serialize<S: Serializer>(
        mode: &Option<VlanMode>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let stored = mode.as_ref().map(|mode| match mode {
            VlanMode::Access(vlan) => Stored::Access(vlan.get()),
            VlanMode::Tunnel(vlan) => Stored::Tunnel(vlan.get()),
            VlanMode::Trunk { allowed, native } => Stored::Trunk {
                allowed: ranges(allowed),
                native: native.map(|n| n.vid.get()),
                native_tagged: native.is_some_and(|n| n.tagged),
            },
        });
        stored.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<VlanMode>, D::Error> {
        Option::deserialize(from)?.map(mode_of).transpose()
    }

    fn mode_of<E: serde::de::Error>(stored: Stored) -> Result<VlanMode, E> {
        let vlan = vlan::of::<E>;
        Ok(match stored {
            Stored::Access(id) => VlanMode::Access(vlan(id)?),
            Stored::Tunnel(id) => VlanMode::Tunnel(vlan(id)?),
            Stored::Trunk {
                allowed,
                native,
                native_tagged,
            } => {
                let mut set = VlanSet::none();
                for (first, last) in allowed {
                    (vlan(first)?.get()..=vlan(last)?.get())
                        .filter_map(VlanId::new)
                        .for_each(|v| set.insert(v));
                }
                let native = native.map(vlan).transpose()?.map(|vid| Native {
                    vid,
                    tagged: native_tagged,
                });
                VlanMode::Trunk {
                    allowed: set,
                    native,
                }
            }
        })
    }

    /// The set as runs of neighbours, first and last of each.
    fn ranges(set: &VlanSet) -> Vec<(u16, u16)> {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for vlan in set.iter().map(VlanId::get) {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == vlan => *last = vlan,
                _ => runs.push((vlan, vlan)),
            }
        }
        runs
    }
}

/// A closed list of values, each of which has a word.
pub(crate) trait Word: Copy + PartialEq + 'static {
    const WORDS: &'static [(Self, &'static str)];
}

impl Word for Action {
    const WORDS: &'static [(Self, &'static str)] = &[(Self::Allow, "allow"), (Self::Deny, "deny")];
}

impl Word for Direction {
    const WORDS: &'static [(Self, &'static str)] = &[(Self::In, "in"), (Self::Out, "out")];
}

impl Word for IpProtocol {
    const WORDS: &'static [(Self, &'static str)] = &[
        (Self::TCP, "tcp"),
        (Self::UDP, "udp"),
        (Self::SCTP, "sctp"),
        (Self::ICMP, "icmp"),
        (Self::ICMPV6, "icmpv6"),
    ];
}

/// The word of `value`, if it has one.
pub(crate) fn word_of<T: Word>(value: T) -> Option<&'static str> {
    let named = T::WORDS.iter().find(|(own, _)| *own == value);
    named.map(|(_, word)| *word)
}

pub(crate) mod word {
    use super::*;

    pub(crate) fn serialize<T: Word, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        let nameless = || serde::ser::Error::custom("the value has no word");
        word_of(*value).ok_or_else(nameless)?.serialize(to)
    }

    pub(crate) fn deserialize<'de, T: Word, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
        of(&String::deserialize(from)?)
    }

    pub(super) fn of<T: Word, E: serde::de::Error>(word: &str) -> Result<T, E> {
        let known = T::WORDS.iter().find(|(_, own)| *own == word);
        known.map(|(value, _)| *value).ok_or_else(|| {
            let words: Vec<_> = T::WORDS.iter().map(|(_, word)| *word).collect();
            E::custom(format!("`{word}` is none of {}", words.join(", ")))
        })
    }
}

pub(crate) mod word_option {
    use super::*;

    pub(crate) fn serialize<T: Word, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        value.and_then(word_of).serialize(to)
    }

    pub(crate) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let word: Option<String> = Option::deserialize(from)?;
        word.map(|word| word::of(&word)).transpose()
    }
}

/// Ports as first and last.
pub(crate) mod ports {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(ports: &PortRange, to: S) -> Result<S::Ok, S::Error> {
        (ports.first, ports.last).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PortRange, D::Error> {
        <(u16, u16)>::deserialize(from).map(|(first, last)| PortRange { first, last })
    }
}

pub(crate) mod rules {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Stored {
        #[serde(with = "super::word")]
        action: Action,
        #[serde(with = "super::word")]
        direction: Direction,
        peer: Option<IpNet>,
        #[serde(with = "super::word_option")]
        protocol: Option<IpProtocol>,
        ports: Option<(u16, u16)>,
    }

    pub(crate) fn serialize<S: Serializer>(rules: &[Rule], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(rules.iter().map(|rule| Stored {
            action: rule.action,
            direction: rule.direction,
            peer: rule.peer,
            protocol: rule.protocol,
            ports: rule.ports.map(|ports| (ports.first, ports.last)),
        }))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Rule>, D::Error> {
        let rule = |stored: Stored| Rule {
            action: stored.action,
            direction: stored.direction,
            peer: stored.peer,
            protocol: stored.protocol,
            ports: stored.ports.map(|(first, last)| PortRange { first, last }),
        };
        Vec::deserialize(from).map(|stored: Vec<Stored>| stored.into_iter().map(rule).collect())
    }
}

/// `true` and `false` as files had them before networks could keep endpoints apart, and `"off"`.
pub(crate) mod isolation {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Said(bool),
        Word(String),
    }

    pub(crate) fn serialize<S: Serializer>(
        isolation: &Isolation,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        let stored = match isolation {
            Isolation::AsNetwork => Stored::Said(false),
            Isolation::On => Stored::Said(true),
            Isolation::Off => Stored::Word("off".to_owned()),
        };
        stored.serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Isolation, D::Error> {
        match Stored::deserialize(from)? {
            Stored::Said(false) => Ok(Isolation::AsNetwork),
            Stored::Said(true) => Ok(Isolation::On),
            Stored::Word(word) if word == "off" => Ok(Isolation::Off),
            Stored::Word(word) => Err(D::Error::custom(format!(
                "`{word}` is none of true, false and \"off\""
            ))),
        }
    }
}
