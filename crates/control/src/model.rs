//! The nouns of one host, as they stand in the state file; what hosts share is in `desired.rs`.
//!
//! Every field is public: these are plain records. What makes a set of them sound is checked where
//! a request enters (`network.rs`, `attach.rs`, `port.rs`) and where a file is loaded (`check.rs`).

use crate::stored::{self, Record, Stored};
use ipnet::IpNet;
use model::{
    Datapath, DatapathKind, Direction, Lock, Name, Netns, Policy, Rate, StormLimits, Via, VlanMode,
};
use pipeline::{NetworkId, PortId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use wire::MacAddr;

/// An endpoint's identity: never used again in the life of a state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointId(pub u32);

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ep-{}", self.0)
    }
}

/// A sandbox's membership in a network: one interface with its addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its identity.
    pub id: EndpointId,
    /// The network it is in.
    #[serde(with = "stored::form")]
    pub network: NetworkId,
    /// Its port of the switch.
    #[serde(with = "stored::form")]
    pub port: PortId,
    /// Where its interface is; `None` while it waits to be joined.
    #[serde(default)]
    pub sandbox: Option<Sandbox>,
    /// How the interface gets there; of a veth, our end is known.
    #[serde(default)]
    pub via: Via,
    /// The datapath that was asked for; `auto` is as its network says.
    #[serde(default)]
    pub asked: Datapath,
    /// The datapath that its interface was made for. Nothing changes it before the endpoint is left.
    #[serde(default)]
    pub datapath: DatapathKind,
    /// What others in the network find it by, unique there: a container's name.
    #[serde(default)]
    pub name: Option<Name>,
    /// Further names; several endpoints may share one.
    #[serde(default)]
    pub aliases: Vec<Name>,
    /// The interface's name there; of one that is moved there, its name before that.
    pub ifname: String,
    /// The interface's MAC address.
    pub mac: MacAddr,
    /// Its addresses, each with its subnet's prefix length.
    pub addresses: Vec<IpNet>,
    /// Its default routers, one a family at most.
    pub gateways: Vec<IpAddr>,
    /// Its interface's MTU.
    pub mtu: u16,
    /// Its TAP's queues.
    pub queues: u8,
    /// What it may send and receive.
    #[serde(default, with = "stored::form")]
    pub policy: Policy,
    /// Free words of whoever attached it.
    pub labels: BTreeMap<String, String>,
}

/// A network namespace: how to find it, and which one it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// How to find it.
    pub namespace: Netns,
    /// Which one it was when it was named; `None` while it is not there yet. Docker makes a
    /// container's namespace when its endpoints have been joined.
    pub identity: Option<NamespaceId>,
}

/// The kernel's identity of a namespace: two names of one namespace have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamespaceId {
    /// The device of the namespace's file.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// A port of the switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its identity: a small number, used again after the port is gone.
    #[serde(with = "stored::form")]
    pub id: PortId,
    /// Its name, unique among ports.
    pub name: String,
    /// What is behind it.
    pub kind: PortKind,
    /// The network it is in.
    #[serde(with = "stored::form")]
    pub network: Option<NetworkId>,
    /// What may be changed while it lives.
    pub settings: PortSettings,
}

/// What is behind a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PortKind {
    /// An endpoint's interface.
    Endpoint(EndpointId),
    /// A port that a user asked for.
    Own {
        /// As it was asked for.
        kind: model::PortKind,
        /// The namespace that the kind names, as it was when it was asked for.
        identity: Option<NamespaceId>,
    },
}

/// The settings that may be changed while a port lives. Other ports have their ids here, not their names, which change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSettings {
    /// Whether it is administratively up.
    pub up: bool,
    /// Its VLANs; access to the network's default one if none.
    #[serde(with = "stored::form")]
    pub vlan: Option<VlanMode>,
    /// Whether it is protected: protected ports exchange nothing with each other.
    #[serde(with = "stored::form")]
    pub isolated: Isolation,
    /// The addresses it may speak for; `None` trusts it with any.
    #[serde(default, with = "stored::form")]
    pub lock: Option<Lock>,
    /// Addresses remembered at it at most; as its network says if none.
    pub max_macs: Option<u32>,
    /// How many flooded frames a second it may send; as its network says if none.
    #[serde(default, with = "stored::form")]
    pub storm: Option<StormLimits>,
    /// How much it may send, and as much receive; `None` is no limit.
    #[serde(default)]
    pub rate: Option<Rate>,
    /// Makes it a mirror's destination: it gets copies and sends nothing.
    #[serde(default, with = "stored::form")]
    pub mirror: Option<Mirror>,
}

impl Default for PortSettings {
    fn default() -> Self {
        Self {
            up: true,
            vlan: None,
            isolated: Isolation::default(),
            lock: None,
            max_macs: None,
            storm: None,
            rate: None,
            mirror: None,
        }
    }
}

/// Whether a port is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// An endpoint's is where its network keeps endpoints apart, any other is not.
    #[default]
    AsNetwork,
    /// It is.
    On,
    /// It is not.
    Off,
}

/// Which ports' frames a mirror's destination gets copies of (SPAN).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The watched ports.
    pub of: Vec<PortId>,
    /// Which of their frames.
    pub direction: Direction,
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

#[derive(Serialize, Deserialize)]
pub(crate) struct MirrorForm {
    of: Vec<u16>,
    ingress: bool,
    egress: bool,
}

impl Stored for Mirror {
    type Form = MirrorForm;

    fn to_form(&self) -> MirrorForm {
        MirrorForm {
            of: self.of.to_form(),
            ingress: self.direction.has_rx(),
            egress: self.direction.has_tx(),
        }
    }

    fn of_form(form: MirrorForm) -> Result<Self, String> {
        Ok(Self {
            of: Stored::of_form(form.of)?,
            direction: match (form.ingress, form.egress) {
                (true, true) => Direction::Both,
                (true, false) => Direction::Rx,
                (false, true) => Direction::Tx,
                (false, false) => return Err("a mirror copies nothing".to_owned()),
            },
        })
    }
}

/// `true` and `false` as files had them before networks could keep endpoints apart, and `"off"`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum IsolationForm {
    Said(bool),
    Word(String),
}

impl Stored for Isolation {
    type Form = IsolationForm;

    fn to_form(&self) -> IsolationForm {
        match self {
            Self::AsNetwork => IsolationForm::Said(false),
            Self::On => IsolationForm::Said(true),
            Self::Off => IsolationForm::Word("off".to_owned()),
        }
    }

    fn of_form(form: IsolationForm) -> Result<Self, String> {
        match form {
            IsolationForm::Said(false) => Ok(Self::AsNetwork),
            IsolationForm::Said(true) => Ok(Self::On),
            IsolationForm::Word(word) if word == "off" => Ok(Self::Off),
            IsolationForm::Word(word) => {
                Err(format!("`{word}` is none of true, false and \"off\""))
            }
        }
    }
}
