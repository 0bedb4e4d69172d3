//! A fragment's place in its packet, and whether it may have that place at all.
//!
//! The reasons for the checks: a TCP header that is spread over two fragments, or overwritten by the
//! second, passes a filter that looked at the first (RFC 1858, 3 and 4; RFC 3128); fragments that
//! end beyond 64 KiB overran receivers ("ping of death").

use pipeline::{DropReason, NetworkId};
use std::net::IpAddr;
use wire::{Headers, IpProtocol, Net, Tcp, Transport};

/// Which packet a fragment is of: the same in all of them (RFC 791, 2.3; RFC 8200, 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Its identification.
    id: u32,
    src: IpAddr,
    dst: IpAddr,
    /// Of IPv6 always the fragment header itself: there the fragments of a packet need not agree.
    protocol: IpProtocol,
    network: NetworkId,
}

/// A fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    pub(super) key: Key,
    /// Its bytes in the packet's payload. The end is not above 65535.
    pub(super) start: u32,
    pub(super) end: u32,
    /// Whether more fragments follow.
    pub(super) more: bool,
}

/// The largest payload of a packet, in bytes.
const MAX_PAYLOAD: u32 = 0xffff;

impl Piece {
    /// Returns what piece of a packet the frame that arrived in `network` carries; `None` when it is a
    /// whole packet, with a fragment header or without (RFC 6946), or none of IP.
    ///
    /// # Errors
    /// [`DropReason::FragmentInvalid`] when there is no such packet: the fragment is the first and
    /// has not all of its transport header (RFC 7112), or a later one and reaches into it; it is
    /// empty, or not the last and no multiple of 8 bytes long; it ends beyond 65535.
    #[inline]
    pub fn of(network: NetworkId, headers: &Headers) -> Result<Option<Self>, DropReason> {
        let fragment = match headers.net {
            Net::Ipv4(ip) => ip.fragment,
            Net::Ipv6(ip) => ip.fragment,
            Net::Arp(_) | Net::Malformed(_) | Net::Other => None,
        };
        match fragment {
            Some(fragment) if !fragment.is_first() || fragment.more => {
                Self::check(network, headers).map(Some)
            }
            Some(_) | None => Ok(None),
        }
    }

    #[cold]
    fn check(network: NetworkId, headers: &Headers) -> Result<Self, DropReason> {
        let invalid = DropReason::FragmentInvalid;
        let (fragment, src, dst, protocol, payload) = match headers.net {
            Net::Ipv4(ip) => {
                let at = usize::from(headers.l3) + usize::from(ip.header_len);
                (ip.fragment, ip.src.into(), ip.dst.into(), ip.protocol, at)
            }
            Net::Ipv6(ip) => {
                let at = usize::from(ip.fragmentable);
                (
                    ip.fragment,
                    ip.src.into(),
                    ip.dst.into(),
                    ip.next_header,
                    at,
                )
            }
            Net::Arp(_) | Net::Malformed(_) | Net::Other => return Err(invalid),
        };
        let fragment = fragment.ok_or(invalid)?;
        let len = headers
            .packet_end()
            .unwrap_or_default()
            .saturating_sub(payload);
        let start = u32::from(fragment.offset);
        let end = start + u32::try_from(len).map_err(|_| invalid)?;
        let cut = fragment.more && len % 8 != 0;
        let in_header = if fragment.is_first() {
            matches!(headers.transport, Transport::Malformed(_))
        } else {
            protocol == IpProtocol::TCP && usize::from(fragment.offset) < Tcp::MIN_LEN
        };
        if len == 0 || cut || end > MAX_PAYLOAD || in_header {
            return Err(invalid);
        }
        let key = Key {
            id: fragment.id,
            src,
            dst,
            protocol: if src.is_ipv6() {
                IpProtocol::FRAGMENT
            } else {
                protocol
            },
            network,
        };
        Ok(Self {
            key,
            start,
            end,
            more: fragment.more,
        })
    }

    /// Returns whether it begins the packet, and so has its transport header.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.start == 0
    }
}

impl Key {
    pub(super) const fn source(&self) -> (NetworkId, IpAddr) {
        (self.network, self.src)
    }

    pub(super) const fn is_ipv6(&self) -> bool {
        self.src.is_ipv6()
    }
}
