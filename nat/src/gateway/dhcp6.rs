//! DHCP for IPv6 (RFC 8415): an endpoint is told the addresses it was given, and its DNS server.
//!
//! ```text
//!   SOLICIT                    -> ADVERTISE, or REPLY when both want it short (rapid commit)
//!   REQUEST, RENEW, REBIND     -> REPLY with its addresses; any other is no longer valid
//!   CONFIRM                    -> REPLY whether the addresses fit the link
//!   RELEASE, DECLINE           -> REPLY; the addresses stay its own
//!   INFORMATION-REQUEST        -> REPLY with the DNS server, to anybody
//! ```
//! As with IPv4 there is no state: the endpoint's MAC says what is its own. The router to use is
//! not told here but in router advertisements, which say "managed" (advert.rs).
//!
//! A client may name as many associations as it likes; [`MAX_ASSOCIATIONS`] are answered, and the
//! first one gets the addresses, since an address is in one association only.

use super::dhcp4::{LEASE_TIME, leases};
use super::link::{HOPS, Link};
use super::{datagram, sound};
use crate::arrival::Arrival;
use crate::interface::Interface;
use crate::outbox::Outbox;
use ipnet::IpNet;
use pipeline::{Decision, DropReason, Trace};
use std::net::{IpAddr, Ipv6Addr};
use wire::emit::Ends;
use wire::{Headers, IpProtocol, Net, Transport};

const SERVER: u16 = 547;
const CLIENT: u16 = 546;
/// All_DHCP_Relay_Agents_and_Servers (RFC 8415, 7.1).
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
/// The longest identifier (RFC 8415, 11.1).
const MAX_DUID: usize = 130;
/// Associations of one message that are answered, and addresses of one.
const MAX_ASSOCIATIONS: usize = 8;

/// Message types (RFC 8415, 7.3).
mod kind {
    pub(super) const SOLICIT: u8 = 1;
    pub(super) const ADVERTISE: u8 = 2;
    pub(super) const REQUEST: u8 = 3;
    pub(super) const CONFIRM: u8 = 4;
    pub(super) const RENEW: u8 = 5;
    pub(super) const REBIND: u8 = 6;
    pub(super) const REPLY: u8 = 7;
    pub(super) const RELEASE: u8 = 8;
    pub(super) const DECLINE: u8 = 9;
    pub(super) const INFORMATION_REQUEST: u8 = 11;
}

/// Options (RFC 8415, 21; RFC 3646, 3).
mod code {
    pub(super) const CLIENT_ID: u16 = 1;
    pub(super) const SERVER_ID: u16 = 2;
    pub(super) const IA_NA: u16 = 3;
    pub(super) const IA_TA: u16 = 4;
    pub(super) const IA_ADDR: u16 = 5;
    pub(super) const PREFERENCE: u16 = 7;
    pub(super) const STATUS: u16 = 13;
    pub(super) const RAPID_COMMIT: u16 = 14;
    pub(super) const DNS: u16 = 23;
    pub(super) const DOMAIN_LIST: u16 = 24;
    pub(super) const IA_PD: u16 = 25;
}

/// Status codes (RFC 8415, 21.13).
mod status {
    pub(super) const SUCCESS: u16 = 0;
    pub(super) const NO_ADDRS_AVAIL: u16 = 2;
    pub(super) const NOT_ON_LINK: u16 = 4;
    pub(super) const NO_PREFIX_AVAIL: u16 = 6;
}

/// Returns whether this is a message to DHCP servers, on a link that has one.
pub(super) fn is_request(interface: &Interface, headers: &Headers) -> bool {
    let (Net::Ipv6(ip), Transport::Udp(udp)) = (headers.net, headers.transport) else {
        return false;
    };
    udp.dst_port == SERVER && ip.dst == SERVERS && leases(interface).is_some()
}

/// Hears a message and answers it.
///
/// # Errors
/// [`DropReason::GatewayIgnored`] when it is unsound, for another server, or from nobody who was
/// given an address.
pub(super) fn handle<T: Trace>(
    link: Link<'_>,
    arrival: &Arrival<'_>,
    outbox: &mut Outbox,
    trace: &mut T,
) -> Result<(), DropReason> {
    let headers = arrival.headers;
    let request = datagram(arrival).and_then(Request::parse);
    let (Net::Ipv6(ip), Some(request), true) =
        (headers.net, request, sound(headers, arrival.frame))
    else {
        trace.tell(Decision::DhcpInvalid);
        return Err(DropReason::GatewayIgnored);
    };
    let server = Server::new(link.interface, headers);
    let answered = !ip.src.is_unspecified() && !ip.src.is_multicast() && server.answers(&request);
    let (message, client) = (request.kind, headers.src);
    trace.tell(if answered {
        Decision::Dhcp6Answered { message, client }
    } else {
        Decision::Dhcp6Ignored { message, client }
    });
    if !answered {
        return Err(DropReason::GatewayIgnored);
    }
    link.may_lease()?;
    let ends = Ends::V6(link.interface.link_local, ip.src);
    let envelope = link.envelope(headers.src, ends, HOPS);
    link.post(outbox, |out| {
        envelope.emit(out, IpProtocol::UDP, |out| {
            out.extend_from_slice(&SERVER.to_be_bytes());
            out.extend_from_slice(&CLIENT.to_be_bytes());
            out.extend_from_slice(&[0; 4]);
            server.emit(out, &request);
        });
    });
    Ok(())
}

/// A client's message.
#[derive(Clone, Copy)]
struct Request<'a> {
    kind: u8,
    transaction: [u8; 3],
    client: Option<&'a [u8]>,
    server: Option<&'a [u8]>,
    rapid: bool,
    /// All options, each of which ends inside the message.
    options: &'a [u8],
}

/// The server, as one client sees it.
struct Server<'a> {
    interface: &'a Interface,
    /// The client's own addresses.
    leased: &'a [IpNet],
    /// A DUID of type 3: our MAC (RFC 8415, 11.4).
    duid: [u8; 10],
}

impl<'a> Request<'a> {
    fn parse(message: &'a [u8]) -> Option<Self> {
        let (&[kind, a, b, c], options) = message.split_first_chunk::<4>()?;
        let mut request = Self {
            kind,
            transaction: [a, b, c],
            client: None,
            server: None,
            rapid: false,
            options,
        };
        let mut all = Options(options);
        for (code, value) in &mut all {
            match code {
                code::CLIENT_ID => request.client = request.client.or(Some(value)),
                code::SERVER_ID => request.server = request.server.or(Some(value)),
                code::RAPID_COMMIT => request.rapid = true,
                _ => {}
            }
        }
        let sound = all.0.is_empty() && request.client.is_none_or(|id| id.len() <= MAX_DUID);
        sound.then_some(request)
    }

    fn associations(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        Options(self.options)
            .filter(|(code, _)| matches!(*code, code::IA_NA | code::IA_TA | code::IA_PD))
            .take(MAX_ASSOCIATIONS)
    }

    /// The addresses that the client names.
    fn addresses(&self) -> impl Iterator<Item = Ipv6Addr> + use<'a> {
        self.associations()
            .filter(|(code, _)| *code == code::IA_NA)
            .flat_map(|(_, ia)| addresses(ia))
    }
}

impl<'a> Server<'a> {
    fn new(interface: &'a Interface, headers: &Headers) -> Self {
        let [a, b, c, d, e, f] = interface.mac.0;
        let lease = leases(interface).and_then(|role| role.leases.get(&headers.src));
        Self {
            interface,
            leased: lease.map_or(&[], |lease| &lease.addresses),
            duid: [0, 3, 0, 1, a, b, c, d, e, f],
        }
    }

    /// RFC 8415, 16.2 to 16.12, and whether the client is one of ours.
    fn answers(&self, request: &Request<'_>) -> bool {
        let ours = self.leased().next().is_some();
        let named = request.client.is_some();
        let to_us = request.server == Some(&self.duid[..]);
        let to_all = request.server.is_none();
        match request.kind {
            kind::SOLICIT | kind::REBIND => ours && named && to_all,
            // 18.3.3: without an address there is nothing to confirm.
            kind::CONFIRM => ours && named && to_all && request.addresses().next().is_some(),
            kind::REQUEST | kind::RENEW | kind::RELEASE | kind::DECLINE => ours && named && to_us,
            kind::INFORMATION_REQUEST => {
                (to_us || to_all) && request.associations().next().is_none()
            }
            _ => false,
        }
    }

    fn emit(&self, out: &mut Vec<u8>, request: &Request<'_>) {
        let rapid = request.kind == kind::SOLICIT && request.rapid;
        let advertise = request.kind == kind::SOLICIT && !rapid;
        out.push(if advertise {
            kind::ADVERTISE
        } else {
            kind::REPLY
        });
        out.extend_from_slice(&request.transaction);
        if let Some(client) = request.client {
            option(out, code::CLIENT_ID, |out| out.extend_from_slice(client));
        }
        option(out, code::SERVER_ID, |out| {
            out.extend_from_slice(&self.duid);
        });
        if rapid {
            option(out, code::RAPID_COMMIT, |_| ());
        }
        if advertise {
            // 18.2.1: the client need not wait for other servers.
            option(out, code::PREFERENCE, |out| out.push(255));
        }
        match request.kind {
            kind::CONFIRM => emit_status(out, self.confirms(request)),
            kind::RELEASE | kind::DECLINE => emit_status(out, status::SUCCESS),
            kind::INFORMATION_REQUEST => {}
            _ => self.emit_associations(out, request),
        }
        option(out, code::DNS, |out| {
            out.extend_from_slice(&self.dns().octets());
        });
        let search = leases(self.interface).and_then(|role| role.settings.search_domain.encoded());
        if let Some(domain) = search {
            option(out, code::DOMAIN_LIST, |out| out.extend_from_slice(&domain));
        }
    }

    /// Returns whether all the client's addresses fit the link (18.3.3).
    fn confirms(&self, request: &Request<'_>) -> u16 {
        let fits = |ip: Ipv6Addr| {
            let mut nets = self.interface.addresses.iter();
            nets.any(|net| net.contains(&IpAddr::V6(ip)))
        };
        if request.addresses().all(fits) {
            status::SUCCESS
        } else {
            status::NOT_ON_LINK
        }
    }

    fn emit_associations(&self, out: &mut Vec<u8>, request: &Request<'_>) {
        let mut given = false;
        for (code, value) in request.associations() {
            let Some(id) = value.first_chunk::<4>() else {
                continue;
            };
            let give = code == code::IA_NA && !given;
            given |= give;
            option(out, code, |out| {
                out.extend_from_slice(id);
                match code {
                    code::IA_NA if give => self.emit_addresses(out, request, value),
                    code::IA_NA => {
                        out.extend_from_slice(&[0; 8]);
                        emit_status(out, status::NO_ADDRS_AVAIL);
                    }
                    code::IA_PD => {
                        out.extend_from_slice(&[0; 8]);
                        emit_status(out, status::NO_PREFIX_AVAIL);
                    }
                    // An IA_TA has no times (21.5).
                    _ => emit_status(out, status::NO_ADDRS_AVAIL),
                }
            });
        }
    }

    /// When to ask again, the client's addresses, and those it has no longer (18.3.4).
    fn emit_addresses(&self, out: &mut Vec<u8>, request: &Request<'_>, ia: &[u8]) {
        out.extend_from_slice(&(LEASE_TIME / 2).to_be_bytes());
        out.extend_from_slice(&(LEASE_TIME / 5 * 4).to_be_bytes());
        self.leased()
            .for_each(|ip| emit_address(out, ip, LEASE_TIME));
        if matches!(request.kind, kind::RENEW | kind::REBIND) {
            addresses(ia)
                .filter(|ip| !self.leased().any(|own| own == *ip))
                .for_each(|ip| emit_address(out, ip, 0));
        }
    }

    fn leased(&self) -> impl Iterator<Item = Ipv6Addr> + '_ {
        let v6 = self.leased.iter().filter_map(|net| match net {
            IpNet::V6(net) => Some(net.addr()),
            IpNet::V4(_) => None,
        });
        v6.take(MAX_ASSOCIATIONS)
    }

    /// The gateway answers DNS; at its global address, if it has one.
    fn dns(&self) -> Ipv6Addr {
        self.interface.ipv6_towards(Ipv6Addr::UNSPECIFIED)
    }
}

/// The addresses in an IA_NA: behind its identifier and two times.
fn addresses(ia: &[u8]) -> impl Iterator<Item = Ipv6Addr> + '_ {
    Options(ia.get(12..).unwrap_or_default())
        .filter(|(code, _)| *code == code::IA_ADDR)
        .filter_map(|(_, value)| value.first_chunk::<16>())
        .map(|octets| Ipv6Addr::from(*octets))
        .take(MAX_ASSOCIATIONS)
}

/// Options, up to the first that ends beyond them; what is left stays.
struct Options<'a>(&'a [u8]);

impl<'a> Iterator for Options<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (&[c0, c1, l0, l1], rest) = self.0.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([l0, l1])))?;
        self.0 = rest;
        Some((u16::from_be_bytes([c0, c1]), value))
    }
}

/// An option whose value is what `write` appends: at most a few hundred bytes.
fn option(out: &mut Vec<u8>, code: u16, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&code.to_be_bytes());
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    write(out);
    let len = u16::try_from(out.len() - at - 2).unwrap_or(u16::MAX);
    out[at..at + 2].copy_from_slice(&len.to_be_bytes());
}

fn emit_status(out: &mut Vec<u8>, status: u16) {
    option(out, code::STATUS, |out| {
        out.extend_from_slice(&status.to_be_bytes());
    });
}

/// An address, preferred and valid for so many seconds.
fn emit_address(out: &mut Vec<u8>, ip: Ipv6Addr, seconds: u32) {
    option(out, code::IA_ADDR, |out| {
        out.extend_from_slice(&ip.octets());
        out.extend_from_slice(&seconds.to_be_bytes());
        out.extend_from_slice(&seconds.to_be_bytes());
    });
}
