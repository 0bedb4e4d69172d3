//! Explanations of a frame's way, stage by stage, without sending it.

use crate::{ApiError, Invalid, Leased, Mac, Name, VlanId};
use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize};
use std::net::IpAddr;
use utoipa::ToSchema;

/// A frame to be led through the live tables without side effects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The port it would come from.
    pub port: Name,
    /// The frame.
    pub frame: FrameSpec,
}

/// A frame, byte by byte or by its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FrameSpec {
    /// Hexadecimal digits from the destination MAC on, without the frame check sequence; spaces
    /// and colons are skipped.
    Hex(String),
    /// A TCP segment.
    #[serde(deserialize_with = "strictly")]
    Tcp(TcpFields),
    /// A UDP datagram.
    #[serde(deserialize_with = "strictly")]
    Udp(UdpFields),
    /// An echo message, ICMP or ICMPv6 by the family of its addresses.
    #[serde(deserialize_with = "strictly")]
    Icmp(IcmpFields),
    /// An ARP message.
    #[serde(deserialize_with = "strictly")]
    Arp(ArpFields),
}

impl FrameSpec {
    /// Compares lengths with their ranges and families with each other.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Invalid`] names the field, its value and what is allowed.
    pub fn check(&self) -> Result<(), ApiError> {
        match self {
            Self::Hex(text) => parse_hex(text).map(drop),
            Self::Tcp(tcp) => check_ip(tcp.src_ip, tcp.dst_ip, tcp.payload),
            Self::Udp(udp) => check_ip(udp.src_ip, udp.dst_ip, udp.payload),
            Self::Icmp(icmp) => check_ip(icmp.src_ip, icmp.dst_ip, icmp.payload),
            Self::Arp(arp) if arp.sender_ip.is_ipv6() || arp.target_ip.is_ipv6() => {
                Err(ApiError::invalid(
                    "ARP carries IPv4 addresses; for IPv6 ask with the neighbour message in hex",
                ))
            }
            Self::Arp(_) => Ok(()),
        }
    }
}

/// Reads fields and refuses those that are not there: `deny_unknown_fields` cannot, beside fields
/// that are flattened. What is written out again is what was understood, for none is left out.
fn strictly<'de, D, T>(from: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Serialize,
{
    let given = serde_json::Map::deserialize(from)?;
    let fields: T = serde_json::from_value(given.clone().into()).map_err(Error::custom)?;
    let known = serde_json::to_value(&fields).map_err(Error::custom)?;
    match given.keys().find(|&field| known.get(field).is_none()) {
        None => Ok(fields),
        Some(unknown) => {
            let known = known
                .as_object()
                .into_iter()
                .flat_map(|fields| fields.keys());
            let allowed = known.map(String::as_str).collect::<Vec<_>>().join(", ");
            Err(Error::custom(format!(
                "unknown field `{unknown}`; allowed are {allowed}"
            )))
        }
    }
}

/// The Ethernet fields of a frame.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct LinkFields {
    /// `null`: the MAC of the port's endpoint or lock, else 02:00:00:00:00:01.
    #[serde(default)]
    pub src_mac: Option<Mac>,
    /// `null`: the MAC of the endpoint that has the destination address, the gateway's if it is not
    /// near, else broadcast.
    #[serde(default)]
    pub dst_mac: Option<Mac>,
    /// A customer tag. `null`: untagged.
    #[serde(default)]
    pub vlan: Option<VlanId>,
}

/// A TCP segment's fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TcpFields {
    /// The Ethernet fields.
    #[serde(flatten)]
    pub link: LinkFields,
    /// The source address.
    #[schema(value_type = String)]
    pub src_ip: IpAddr,
    /// The destination address, of the same family.
    #[schema(value_type = String)]
    pub dst_ip: IpAddr,
    /// The source port.
    #[serde(default = "ephemeral")]
    #[schema(default = 49152)]
    pub src_port: u16,
    /// The destination port.
    pub dst_port: u16,
    /// Flags that are set.
    #[serde(default = "syn")]
    pub flags: Vec<TcpFlag>,
    /// Bytes of payload (zeros), 0 to 65000.
    #[serde(default)]
    #[schema(maximum = 65000)]
    pub payload: u16,
}

/// A TCP flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TcpFlag {
    /// No more data.
    Fin,
    /// Synchronise.
    Syn,
    /// Reset.
    Rst,
    /// Push.
    Psh,
    /// Acknowledge.
    Ack,
}

/// A UDP datagram's fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UdpFields {
    /// The Ethernet fields.
    #[serde(flatten)]
    pub link: LinkFields,
    /// The source address.
    #[schema(value_type = String)]
    pub src_ip: IpAddr,
    /// The destination address, of the same family.
    #[schema(value_type = String)]
    pub dst_ip: IpAddr,
    /// The source port.
    #[serde(default = "ephemeral")]
    #[schema(default = 49152)]
    pub src_port: u16,
    /// The destination port.
    pub dst_port: u16,
    /// Bytes of payload (zeros), 0 to 65000.
    #[serde(default)]
    #[schema(maximum = 65000)]
    pub payload: u16,
}

/// An echo message's fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IcmpFields {
    /// The Ethernet fields.
    #[serde(flatten)]
    pub link: LinkFields,
    /// The source address.
    #[schema(value_type = String)]
    pub src_ip: IpAddr,
    /// The destination address, of the same family.
    #[schema(value_type = String)]
    pub dst_ip: IpAddr,
    /// Whether it is the reply rather than the request.
    #[serde(default)]
    pub reply: bool,
    /// The identifier.
    #[serde(default)]
    pub id: u16,
    /// Bytes of payload (zeros), 0 to 65000.
    #[serde(default)]
    #[schema(maximum = 65000)]
    pub payload: u16,
}

/// An ARP message's fields (RFC 826).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ArpFields {
    /// The Ethernet fields.
    #[serde(flatten)]
    pub link: LinkFields,
    /// Request or reply.
    #[serde(default)]
    pub operation: ArpOperation,
    /// The sender's MAC address. `null`: the frame's source.
    #[serde(default)]
    pub sender_mac: Option<Mac>,
    /// The sender's IPv4 address.
    #[schema(value_type = String)]
    pub sender_ip: IpAddr,
    /// The target's MAC address. `null`: zeros in a request, the frame's destination in a reply.
    #[serde(default)]
    pub target_mac: Option<Mac>,
    /// The target's IPv4 address.
    #[schema(value_type = String)]
    pub target_ip: IpAddr,
}

/// The operation of an ARP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArpOperation {
    /// Who has this address?
    #[default]
    Request,
    /// I have it.
    Reply,
}

/// The way that the frame would take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// In one word.
    pub verdict: Verdict,
    /// Why it would be dropped, when it would be.
    pub drop: Option<DropInfo>,
    /// Each stage's decisions, in order.
    pub steps: Vec<Step>,
    /// Where it would leave, or not: one line a port that forwarding chose.
    pub outputs: Vec<Output>,
    /// The frame as it would leave, hexadecimal, where the router changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves_as: Option<String>,
    /// The frame as it was understood, hexadecimal.
    pub frame: String,
    /// Frames like it that the kernel carried by the lease that is out for them; `null` where none is.
    /// A segment that opens or resets a connection goes to the workers all the same.
    pub leased: Option<Leased>,
    /// The way of the answer, as if the frame had passed and its receiver answered: SYN
    /// with SYN and ACK, other segments with ACK, an echo request with its reply, a datagram with an
    /// empty one. Absent where the frame reaches nobody or many, or is not answered so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<Box<Reply>>,
}

/// An answer, and the way that it would take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reply {
    /// The port it would come from.
    pub port: Name,
    /// Its way.
    #[schema(no_recursion)]
    pub explanation: Explanation,
}

/// The end of a frame's way, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It would leave at the one port its destination is behind.
    Forwarded,
    /// It would leave at several ports.
    Flooded,
    /// It would go on into another network.
    Routed,
    /// It would end at the gateway, which answers it, learns from it or holds it.
    Answered,
    /// It would leave nowhere.
    Dropped,
}

/// A reason for which a frame is dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropInfo {
    /// Its number in traces.
    pub code: u8,
    /// Its short name.
    pub label: String,
    /// Its meaning, as a sentence.
    pub sentence: String,
}

/// One decision of one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Step {
    /// The decision's number, which never changes its meaning.
    pub code: u16,
    /// The stage that took it: `parse`, `admit`, `learn`, `forward`, `route`, `translate` or
    /// `egress`.
    pub stage: String,
    /// The decision's short name.
    pub label: String,
    /// Its values: addresses, ports and networks by name, numbers, drop reasons by label.
    #[schema(value_type = Object)]
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// The decision as a sentence.
    pub sentence: String,
}

/// One port that forwarding chose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Output {
    /// The port.
    pub port: Name,
    /// The tags the frame would leave with, outermost first; empty is untagged.
    pub tags: Vec<VlanTag>,
    /// Whether this is a mirror's copy.
    pub mirror: bool,
    /// Why it would not leave here after all.
    pub drop: Option<DropInfo>,
}

/// A VLAN tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VlanTag {
    /// Customer or service.
    pub r#type: TagType,
    /// The VLAN, 0 (a priority tag) to 4095.
    #[schema(maximum = 4095)]
    pub vid: u16,
    /// The priority, 0 to 7.
    #[schema(maximum = 7)]
    pub priority: u8,
}

/// Who a VLAN tag belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum TagType {
    /// The customer's: 802.1Q, 0x8100.
    #[serde(rename = "802.1q")]
    Customer,
    /// The service provider's: 802.1ad, 0x88a8.
    #[serde(rename = "802.1ad")]
    Service,
}

/// The bytes that hexadecimal digits stand for; white space and colons are skipped.
///
/// # Errors
/// [`crate::ErrorCode::Invalid`] for another letter, half a byte, or a length outside 1 to 65535.
pub fn parse_hex(text: &str) -> Result<Vec<u8>, ApiError> {
    let skipped = |letter: &char| letter.is_whitespace() || *letter == ':';
    let digits: String = text.chars().filter(|letter| !skipped(letter)).collect();
    if let Some(letter) = digits.chars().find(|letter| !letter.is_ascii_hexdigit()) {
        let letter = letter.escape_debug();
        return Err(ApiError::invalid(format!(
            "`{letter}` is not a hexadecimal digit"
        )));
    }
    let bytes = hex::decode(&digits).map_err(|_| {
        ApiError::invalid(format!(
            "{} hexadecimal digits end in half a byte",
            digits.len()
        ))
    })?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    Invalid::unless_in("the frame's length", length, &(1..=65_535))?;
    Ok(bytes)
}

fn check_ip(src: IpAddr, dst: IpAddr, payload: u16) -> Result<(), ApiError> {
    if src.is_ipv4() != dst.is_ipv4() {
        return Err(ApiError::invalid(format!(
            "{src} and {dst} are of different families"
        )));
    }
    Ok(Invalid::unless_in("payload", payload, &(0..=65_000))?)
}

const fn ephemeral() -> u16 {
    49152
}

fn syn() -> Vec<TcpFlag> {
    vec![TcpFlag::Syn]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_bytes_or_a_clear_refusal() {
        assert_eq!(parse_hex("ff:FF 0a\n00").unwrap(), [0xff, 0xff, 0x0a, 0]);
        for (text, wrong) in [
            ("", "the frame's length is 0; allowed are 1 to 65535"),
            ("abc", "3 hexadecimal digits end in half a byte"),
            ("zz", "`z` is not a hexadecimal digit"),
        ] {
            assert_eq!(parse_hex(text).unwrap_err().message, wrong);
        }
    }

    #[test]
    fn a_field_that_a_frame_does_not_have_is_refused_by_name() {
        let ips = r#""src_ip":"10.1.0.2","dst_ip":"10.1.0.3""#;
        let arp = r#""sender_ip":"10.1.0.2","target_ip":"10.1.0.3""#;
        for (frame, says) in [
            (
                format!(r#"{{"tcp":{{{ips},"dst_port":80,"flag":["syn"]}}}}"#),
                "unknown field `flag`; allowed are dst_ip, dst_mac, dst_port, flags, payload, \
                 src_ip, src_mac, src_port, vlan",
            ),
            (
                format!(r#"{{"udp":{{{ips},"dst_port":80,"flags":[]}}}}"#),
                "unknown field `flags`",
            ),
            (
                format!(r#"{{"icmp":{{{ips},"dst_port":80}}}}"#),
                "unknown field `dst_port`",
            ),
            (
                format!(r#"{{"arp":{{{arp},"vlan":7,"link":{{}}}}}}"#),
                "unknown field `link`",
            ),
            (
                format!(r#"{{"udp":{{{ips}}}}}"#),
                "missing field `dst_port`",
            ),
            (
                format!(r#"{{"icmp":{{{ips},"vlan":0}}}}"#),
                "allowed are 1 to 4094",
            ),
        ] {
            let error = serde_json::from_str::<FrameSpec>(&frame).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn a_frame_spec_that_is_written_is_read() {
        let link = LinkFields {
            src_mac: Some("02:00:00:00:00:0a".parse().unwrap()),
            dst_mac: None,
            vlan: Some(7.try_into().unwrap()),
        };
        let [src_ip, dst_ip] = ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse().unwrap());
        for frame in [
            FrameSpec::Hex("ff".into()),
            FrameSpec::Udp(UdpFields {
                link: link.clone(),
                src_ip,
                dst_ip,
                src_port: 1,
                dst_port: 2,
                payload: 3,
            }),
            FrameSpec::Icmp(IcmpFields {
                link: link.clone(),
                src_ip,
                dst_ip,
                reply: true,
                id: 4,
                payload: 5,
            }),
            FrameSpec::Arp(ArpFields {
                link,
                operation: ArpOperation::Reply,
                sender_mac: None,
                sender_ip: src_ip,
                target_mac: None,
                target_ip: dst_ip,
            }),
        ] {
            let written = serde_json::to_string(&frame).unwrap();
            assert_eq!(serde_json::from_str::<FrameSpec>(&written).unwrap(), frame);
        }
    }

    #[test]
    fn a_tcp_segment_needs_addresses_and_a_port() {
        let request: ExplainRequest =
            serde_json::from_str(r#"{"port":"p1","frame":{"tcp":{"src_ip":"10.1.0.2","dst_ip":"10.1.0.3","dst_port":80,"vlan":7}}}"#).unwrap();
        let FrameSpec::Tcp(tcp) = &request.frame else {
            panic!("{request:?}")
        };
        assert_eq!(
            (tcp.src_port, &tcp.flags[..], tcp.link.vlan.map(VlanId::get)),
            (49152, &[TcpFlag::Syn][..], Some(7))
        );
        assert_eq!(request.frame.check(), Ok(()));
        let mixed = FrameSpec::Tcp(TcpFields {
            dst_ip: "2001:db8::1".parse().unwrap(),
            ..tcp.clone()
        });
        assert_eq!(
            mixed.check().unwrap_err().message,
            "10.1.0.2 and 2001:db8::1 are of different families"
        );
    }
}
