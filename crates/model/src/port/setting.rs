//! The settings of a port: its kind, the frames that it may send.

use crate::name::check_ifname;
use crate::{FdbLimits, Invalid, MacAddr, Name, Netns, StormLimits};
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// The kind of a port, with the interface or files behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "serde",
    serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)
)]
pub enum PortKind {
    /// A TAP that the daemon makes: the fast way into a namespace.
    Tap {
        /// The namespace it is made in. `null`: the daemon's own.
        #[cfg_attr(feature = "serde", serde(default))]
        netns: Option<Netns>,
        /// Its name there, 1 to 15 bytes without `/` and space.
        ifname: String,
        /// Its queues, 1 to 16.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 16, default = 1))]
        queues: u8,
    },
    /// An interface that exists, a veth or a NIC, opened with AF_PACKET.
    Packet {
        /// The namespace it is in. `null`: the daemon's own.
        #[cfg_attr(feature = "serde", serde(default))]
        netns: Option<Netns>,
        /// Its name there, 1 to 15 bytes without `/` and space.
        interface: String,
    },
    /// Capture files: frames come from one and go to the other. At least one is named.
    Pcap {
        /// The pcap or pcapng file frames come from.
        #[cfg_attr(feature = "serde", serde(default))]
        #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
        read: Option<PathBuf>,
        /// The pcapng file frames go to; made anew.
        #[cfg_attr(feature = "serde", serde(default))]
        #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
        write: Option<PathBuf>,
        /// How fast frames come.
        #[cfg_attr(feature = "serde", serde(default))]
        speed: PcapSpeed,
    },
    /// Nothing: no frame comes from it, and each that is sent to it is counted and dropped. For
    /// measurements without a receiver.
    Null,
}

impl PortKind {
    /// Allowed numbers of a TAP's queues.
    pub const QUEUES: RangeInclusive<u8> = 1..=16;

    /// The kind's name.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Tap { .. } => "tap",
            Self::Packet { .. } => "packet",
            Self::Pcap { .. } => "pcap",
            Self::Null => "null",
        }
    }

    /// The name of the interface behind it, where there is one.
    #[must_use]
    pub fn ifname(&self) -> Option<&str> {
        match self {
            Self::Tap { ifname: name, .. }
            | Self::Packet {
                interface: name, ..
            } => Some(name),
            Self::Pcap { .. } | Self::Null => None,
        }
    }

    /// The namespace of that interface, where one is named.
    #[must_use]
    pub const fn netns(&self) -> Option<&Netns> {
        match self {
            Self::Tap { netns, .. } | Self::Packet { netns, .. } => netns.as_ref(),
            Self::Pcap { .. } | Self::Null => None,
        }
    }

    /// Returns whether it is opened again, as it was, when the daemon was restarted. A capture file would be
    /// read again from its beginning, and written anew.
    #[must_use]
    pub const fn outlives_the_daemon(&self) -> bool {
        match self {
            Self::Tap { .. } | Self::Packet { .. } | Self::Null => true,
            Self::Pcap { .. } => false,
        }
    }

    /// Refuses values that no such port has.
    ///
    /// # Errors
    /// The value, and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        match self {
            Self::Tap { ifname, queues, .. } => {
                check_ifname("kind.ifname", ifname)?;
                Invalid::unless_in("kind.queues", *queues, &Self::QUEUES)
            }
            Self::Packet { interface, .. } => check_ifname("kind.interface", interface),
            Self::Pcap {
                read: None,
                write: None,
                ..
            } => Err(Invalid::Conflict(
                "a pcap port needs kind.read, kind.write or both".to_owned(),
            )),
            Self::Pcap { .. } | Self::Null => Ok(()),
        }
    }
}

impl fmt::Display for PortKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())?;
        if let Some(ifname) = self.ifname() {
            write!(f, " {ifname}")?;
        }
        if let Some(netns) = self.netns() {
            write!(f, " in {netns}")?;
        }
        match self {
            Self::Tap { queues, .. } => write!(f, ", {queues} queue(s)"),
            Self::Packet { .. } | Self::Null => Ok(()),
            Self::Pcap { read, write, speed } => {
                if let Some(read) = read {
                    write!(f, " from {} at {} speed", read.display(), speed.label())?;
                }
                match write {
                    Some(write) => write!(f, " to {}", write.display()),
                    None => Ok(()),
                }
            }
        }
    }
}

/// How fast frames come out of a capture file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum PcapSpeed {
    /// With the pauses that were recorded.
    #[default]
    Recorded,
    /// As fast as they can be read.
    Full,
}

impl PcapSpeed {
    /// The speed's name.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Full => "full",
        }
    }
}

/// Whether a port is meant to carry frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum AdminState {
    /// It carries frames.
    #[default]
    Up,
    /// Its frames are dropped in both directions.
    Down,
}

/// The only addresses a port may send from: anti-spoofing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Lock {
    /// The source MAC address.
    pub mac: MacAddr,
    /// Source IP addresses, in IP headers, ARP and neighbour messages. Empty: any.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub ips: Vec<IpAddr>,
}

/// How much passes in one direction: a token bucket for each number that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Rate {
    /// Bits a second, Ethernet headers included, 1200 to 34000000000. `null`: any.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(
        feature = "schema",
        schema(minimum = 1200, maximum = 34_000_000_000_u64)
    )]
    pub bits_per_second: Option<u64>,
    /// Packets a second, 1 to 100000000; a superframe counts as the packets it stands for.
    /// `null`: any.
    #[cfg_attr(feature = "serde", serde(default))]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 100_000_000))]
    pub packets_per_second: Option<u32>,
}

impl Rate {
    /// Allowed rates, in bits a second.
    pub const BITS: RangeInclusive<u64> = 1200..=34_000_000_000;
    /// Allowed rates, in packets a second.
    pub const PACKETS: RangeInclusive<u32> = 1..=100_000_000;

    /// Compares both numbers with their ranges.
    ///
    /// # Errors
    /// [`Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), Invalid> {
        if let Some(bits) = self.bits_per_second {
            Invalid::unless_in("rate.bits_per_second", bits, &Self::BITS)?;
        }
        self.packets_per_second.map_or(Ok(()), |packets| {
            Invalid::unless_in("rate.packets_per_second", packets, &Self::PACKETS)
        })
    }
}

/// The ports whose frames are copied to a mirror's destination.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Mirror {
    /// The watched ports, at least one, not the port itself.
    pub of: Vec<Name>,
    /// Which of their frames.
    #[cfg_attr(feature = "serde", serde(default))]
    pub direction: Direction,
}

/// A direction, seen from the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Direction {
    /// Frames the switch receives from the port.
    Rx,
    /// Frames the switch sends to the port.
    Tx,
    /// Both.
    #[default]
    Both,
}

impl Direction {
    /// Returns whether frames that the switch receives are meant.
    #[must_use]
    pub const fn has_rx(self) -> bool {
        matches!(self, Self::Rx | Self::Both)
    }

    /// Returns whether frames that the switch sends are meant.
    #[must_use]
    pub const fn has_tx(self) -> bool {
        matches!(self, Self::Tx | Self::Both)
    }
}

/// Refuses a group address and all zeros: no host may send from them.
///
/// # Errors
/// [`Invalid`] names the value and what is allowed.
pub fn check_host_mac(key: &str, mac: MacAddr) -> Result<(), Invalid> {
    if !mac.is_valid_source() {
        return Err(Invalid::Conflict(format!(
            "{key} is {mac}; allowed is an individual address that is not all zeros"
        )));
    }
    Ok(())
}

/// Refuses limits of a port that are out of range.
///
/// # Errors
/// [`Invalid`] names the value and what is allowed.
pub fn check_limits(
    lock: Option<&Lock>,
    max_macs: Option<u32>,
    storm: Option<&StormLimits>,
    rate: Option<Rate>,
) -> Result<(), Invalid> {
    lock.map_or(Ok(()), |lock| check_host_mac("lock.mac", lock.mac))?;
    max_macs.map_or(Ok(()), |max| {
        Invalid::unless_in("max_macs", max, &FdbLimits::PER_PORT)
    })?;
    storm.map_or(Ok(()), StormLimits::check)?;
    rate.map_or(Ok(()), |rate| rate.check())
}

pub(super) fn check_mirror(name: &Name, mirror: Option<&Mirror>) -> Result<(), Invalid> {
    let Some(mirror) = mirror else { return Ok(()) };
    if mirror.of.is_empty() {
        return Err(Invalid::Conflict(
            "mirror.of is empty; at least one port is needed".to_owned(),
        ));
    }
    if mirror.of.contains(name) {
        return Err(Invalid::Conflict(format!(
            "port {name} cannot mirror itself"
        )));
    }
    Ok(())
}

#[cfg(feature = "serde")]
const fn one() -> u8 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_says_what_is_behind_the_port() {
        let netns = Some(Netns::Pid(7));
        let tap = PortKind::Tap {
            netns: netns.clone(),
            ifname: "tap0".to_owned(),
            queues: 2,
        };
        let packet = PortKind::Packet {
            netns: None,
            interface: "veth0".to_owned(),
        };
        let pcap = PortKind::Pcap {
            read: Some("a.pcap".into()),
            write: Some("b.pcapng".into()),
            speed: PcapSpeed::Full,
        };
        let said = [&tap, &packet, &pcap, &PortKind::Null].map(ToString::to_string);
        let want = [
            "tap tap0 in pid 7, 2 queue(s)",
            "packet veth0",
            "pcap from a.pcap at full speed to b.pcapng",
            "null",
        ];
        assert_eq!(said, want);
        assert_eq!((tap.netns(), tap.ifname()), (netns.as_ref(), Some("tap0")));
        assert_eq!((pcap.netns(), pcap.ifname()), (None, None));
    }
}
