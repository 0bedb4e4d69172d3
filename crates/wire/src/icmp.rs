//! ICMP (RFC 792), ICMPv6 (RFC 4443) and neighbour discovery (RFC 4861).

use crate::MacAddr;
use crate::headers::Malformed;
use std::net::Ipv6Addr;

/// An ICMP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// Where in the frame the header begins.
    pub offset: u16,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The identifier of a query or its answer; `None` for an error.
    pub id: Option<u16>,
}

/// An ICMPv6 header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmpv6 {
    /// Where in the frame the header begins.
    pub offset: u16,
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// The identifier of an echo request or reply.
    pub id: Option<u16>,
    /// The neighbour discovery message, when it is one.
    pub nd: Option<Nd>,
}

/// A neighbour discovery message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nd {
    /// Are there routers?
    RouterSolicit,
    /// I am a router.
    RouterAdvert,
    /// Who has `target`?
    NeighbourSolicit {
        /// The address asked for.
        target: Ipv6Addr,
        /// The sender's MAC, where the message names it (source link-layer address option).
        lladdr: Option<MacAddr>,
    },
    /// `target` is here.
    NeighbourAdvert {
        /// The address claimed.
        target: Ipv6Addr,
        /// The MAC it is at, where the message names it (target link-layer address option).
        lladdr: Option<MacAddr>,
    },
    /// Use another next hop.
    Redirect,
}

impl Icmp {
    /// Bytes of the header.
    pub const LEN: usize = 8;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 0;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 3;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 8;
    /// Use another next hop.
    pub const REDIRECT: u8 = 5;
    /// Time exceeded.
    pub const TIME_EXCEEDED: u8 = 11;

    /// Returns whether messages of this kind quote a packet that something became of: unreachable, source
    /// quench, redirect, time exceeded, parameter problem (RFC 5508, 4).
    #[must_use]
    pub const fn is_error(kind: u8) -> bool {
        matches!(kind, 3 | 4 | 5 | 11 | 12)
    }

    /// Returns whether messages of this kind are queries, to be answered: echo, timestamp, information
    /// and address mask requests (RFC 792, RFC 950).
    #[must_use]
    pub const fn is_request(kind: u8) -> bool {
        matches!(kind, Self::ECHO_REQUEST | 13 | 15 | 17)
    }

    /// Returns whether messages of this kind are the answers to queries.
    #[must_use]
    pub const fn is_reply(kind: u8) -> bool {
        matches!(kind, Self::ECHO_REPLY | 14 | 16 | 18)
    }

    pub(crate) fn parse(message: &[u8], offset: u16) -> Result<Self, Malformed> {
        let Some(&[kind, code, _, _, id0, id1, _, _]) = message.first_chunk::<8>() else {
            return Err(Malformed::Truncated);
        };
        let query = Self::is_request(kind) || Self::is_reply(kind);
        Ok(Self {
            offset,
            kind,
            code,
            id: query.then_some(u16::from_be_bytes([id0, id1])),
        })
    }
}

impl Icmpv6 {
    /// Bytes of the header: the four every message has and the four that all in use have.
    pub const LEN: usize = 8;
    /// Destination unreachable.
    pub const UNREACHABLE: u8 = 1;
    /// Echo request.
    pub const ECHO_REQUEST: u8 = 128;
    /// Echo reply.
    pub const ECHO_REPLY: u8 = 129;
    /// Router solicitation.
    pub const ROUTER_SOLICIT: u8 = 133;
    /// Router advertisement.
    pub const ROUTER_ADVERT: u8 = 134;
    /// Neighbour solicitation.
    pub const NEIGHBOUR_SOLICIT: u8 = 135;
    /// Neighbour advertisement.
    pub const NEIGHBOUR_ADVERT: u8 = 136;
    /// Redirect.
    pub const REDIRECT: u8 = 137;

    /// Returns whether messages of this kind quote a packet that something became of: the high bit tells
    /// errors from the rest (RFC 4443, 2.1).
    #[must_use]
    pub const fn is_error(kind: u8) -> bool {
        kind < 128
    }

    pub(crate) fn parse(message: &[u8], offset: u16) -> Result<Self, Malformed> {
        let Some(&[kind, code, _, _, id0, id1, _, _]) = message.first_chunk::<8>() else {
            return Err(Malformed::Truncated);
        };
        let echo = matches!(kind, Self::ECHO_REQUEST | Self::ECHO_REPLY);
        let nd = if matches!(kind, Self::ROUTER_SOLICIT..=Self::REDIRECT) {
            Some(Nd::parse(kind, message)?)
        } else {
            None
        };
        Ok(Self {
            offset,
            kind,
            code,
            id: echo.then_some(u16::from_be_bytes([id0, id1])),
            nd,
        })
    }
}

impl Nd {
    /// Option: the sender's link-layer address.
    pub(crate) const SOURCE_LLADDR: u8 = 1;
    /// Option: the target's link-layer address.
    pub(crate) const TARGET_LLADDR: u8 = 2;
    /// Bytes of a neighbour message before its options.
    const NEIGHBOUR_LEN: usize = 24;

    fn parse(kind: u8, message: &[u8]) -> Result<Self, Malformed> {
        let neighbour = |option| {
            let Some((fixed, options)) = message.split_first_chunk::<{ Self::NEIGHBOUR_LEN }>()
            else {
                return Err(Malformed::Truncated);
            };
            let mut target = [0; 16];
            target.copy_from_slice(&fixed[8..]);
            Ok((Ipv6Addr::from(target), find_lladdr(options, option)?))
        };
        Ok(match kind {
            Icmpv6::ROUTER_SOLICIT => Self::RouterSolicit,
            Icmpv6::ROUTER_ADVERT => Self::RouterAdvert,
            Icmpv6::NEIGHBOUR_SOLICIT => {
                let (target, lladdr) = neighbour(Self::SOURCE_LLADDR)?;
                Self::NeighbourSolicit { target, lladdr }
            }
            Icmpv6::NEIGHBOUR_ADVERT => {
                let (target, lladdr) = neighbour(Self::TARGET_LLADDR)?;
                Self::NeighbourAdvert { target, lladdr }
            }
            _ => Self::Redirect,
        })
    }
}

/// The first link-layer address of kind `wanted` among neighbour discovery options. An option of
/// length zero makes the message one that every receiver must discard (RFC 4861, 7.1).
fn find_lladdr(options: &[u8], wanted: u8) -> Result<Option<MacAddr>, Malformed> {
    let mut rest = options;
    while let [kind, len, ..] = *rest {
        let len = usize::from(len) * 8;
        if len == 0 {
            return Err(Malformed::HeaderLength);
        }
        let Some((option, after)) = rest.split_at_checked(len) else {
            return Err(Malformed::Truncated);
        };
        if let (true, &[_, _, a, b, c, d, e, f]) = (kind == wanted, option) {
            return Ok(Some(MacAddr([a, b, c, d, e, f])));
        }
        rest = after;
    }
    Ok(None)
}
