//! DHCP for IPv4 (RFC 2131, RFC 2132): an endpoint is told the address it was given.
//!
//! ```text
//!   DISCOVER              -> OFFER
//!   REQUEST               -> ACK of the address it has, NAK of any other
//!   INFORM                -> ACK without an address
//!   RELEASE, DECLINE      nothing: the address stays its own
//! ```
//! There is no state: whose address is which was decided when the endpoint was attached, and is
//! looked up by its MAC. So no client can take another's address, use the pool up, or be told a
//! different one after a restart. A client that nobody attached gets no answer, nor does one that
//! asks in another MAC's name, or through a relay, of which there are none here.
//!
//! An option that ends beyond the message makes it one that is not answered; options in the fields
//! for names (RFC 2132, 9.3) are not looked for, because none of those that matter is put there.

use super::link::{HOPS, Link};
use super::{datagram, sound};
use crate::Routing;
use crate::arrival::Arrival;
use crate::config::{InsideRole, Lease, Role};
use crate::interface::Interface;
use crate::outbox::Outbox;
use ipnet::{IpNet, Ipv4Net};
use pipeline::{Decision, DropReason, Trace};
use std::net::Ipv4Addr;
use wire::emit::Ends;
use wire::{Headers, IpProtocol, MacAddr, Net, Transport};

const SERVER: u16 = 67;
const CLIENT: u16 = 68;
/// How long an address is leased, in seconds: so often a client asks whether anything changed.
pub(super) const LEASE_TIME: u32 = 3600;
/// RFC 1542, 2.1: the shortest message.
const MIN_LEN: usize = 300;
/// Bytes before the options, the cookie included.
const FIXED: usize = 240;
/// RFC 2132, 2: options follow.
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// Message types (RFC 2132, 9.6).
mod kind {
    pub(super) const DISCOVER: u8 = 1;
    pub(super) const OFFER: u8 = 2;
    pub(super) const REQUEST: u8 = 3;
    pub(super) const DECLINE: u8 = 4;
    pub(super) const ACK: u8 = 5;
    pub(super) const NAK: u8 = 6;
    pub(super) const RELEASE: u8 = 7;
    pub(super) const INFORM: u8 = 8;
}

/// Returns whether this is a message to a DHCP server, on a link that has one.
pub(super) fn is_request(interface: &Interface, headers: &Headers) -> bool {
    let (Net::Ipv4(ip), Transport::Udp(udp)) = (headers.net, headers.transport) else {
        return false;
    };
    let to_server = ip.dst.is_broadcast() || interface.owns(ip.dst.into());
    udp.dst_port == SERVER && to_server && leases(interface).is_some()
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
    let (Some(role), Some(request), true) = (
        leases(link.interface),
        request,
        sound(headers, arrival.frame),
    ) else {
        trace.tell(Decision::DhcpInvalid);
        return Err(DropReason::GatewayIgnored);
    };
    let known = Known::of(link.interface, role, request.client);
    let (Some(known), true, false) = (known, request.client == headers.src, request.relayed) else {
        trace.tell(Decision::DhcpUnknown {
            client: request.client,
        });
        return Err(DropReason::GatewayIgnored);
    };
    let verdict = verdict(&request, &known);
    trace.tell(Decision::DhcpDecided {
        client: request.client,
        ip: known.net.addr(),
        answer: verdict.label(),
    });
    match verdict {
        Verdict::Ignore => Err(DropReason::GatewayIgnored),
        Verdict::Note => Ok(()),
        Verdict::Offer | Verdict::Ack | Verdict::Inform | Verdict::Nak => {
            link.may_lease()?;
            send(link, &request, &known, verdict, outbox);
            Ok(())
        }
    }
}

/// A client's message.
#[derive(Clone, Copy)]
struct Request<'a> {
    kind: u8,
    transaction: [u8; 4],
    flags: [u8; 2],
    /// The address it uses (ciaddr).
    uses: Ipv4Addr,
    relayed: bool,
    client: MacAddr,
    /// The address it asks for.
    wants: Option<Ipv4Addr>,
    /// The server whose offer it takes.
    server: Option<Ipv4Addr>,
    id: Option<&'a [u8]>,
}

/// The lease of a known client, and the server that it has it from.
struct Known<'a> {
    interface: &'a Interface,
    lease: &'a Lease,
    net: Ipv4Net,
    server: Ipv4Addr,
    settings: &'a Routing,
}

/// The answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Offer,
    Ack,
    Inform,
    Nak,
    Note,
    Ignore,
}

impl Verdict {
    /// The message that answers (RFC 2131, 3.1), or that none does.
    const fn label(self) -> &'static str {
        match self {
            Self::Offer => "DHCPOFFER",
            Self::Ack | Self::Inform => "DHCPACK",
            Self::Nak => "DHCPNAK",
            Self::Note => "noted, no answer is due",
            Self::Ignore => "ignored",
        }
    }
}

/// RFC 2131, 4.3.
fn verdict(request: &Request<'_>, known: &Known<'_>) -> Verdict {
    match request.kind {
        kind::DISCOVER => Verdict::Offer,
        kind::INFORM => Verdict::Inform,
        kind::RELEASE | kind::DECLINE => Verdict::Note,
        kind::REQUEST => {
            if request.server.is_some_and(|server| server != known.server) {
                return Verdict::Ignore;
            }
            // 4.3.2: one that selects or reboots names the address, one that renews uses it.
            let asked = request.wants.unwrap_or(request.uses);
            if asked.is_unspecified() {
                Verdict::Ignore
            } else if asked == known.net.addr() {
                Verdict::Ack
            } else {
                Verdict::Nak
            }
        }
        _ => Verdict::Ignore,
    }
}

impl<'a> Request<'a> {
    fn parse(message: &'a [u8]) -> Option<Self> {
        let (fixed, options) = message.split_first_chunk::<FIXED>()?;
        // A request (op 1) of an Ethernet client (htype 1, hlen 6).
        if fixed[..3] != [1, 1, 6] || fixed[236..] != COOKIE {
            return None;
        }
        let ip = |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]);
        let mut request = Self {
            kind: 0,
            transaction: [fixed[4], fixed[5], fixed[6], fixed[7]],
            flags: [fixed[10], fixed[11]],
            uses: ip(12),
            relayed: !ip(24).is_unspecified(),
            client: MacAddr([
                fixed[28], fixed[29], fixed[30], fixed[31], fixed[32], fixed[33],
            ]),
            wants: None,
            server: None,
            id: None,
        };
        request.read(options)?;
        request.client.is_valid_source().then_some(request)
    }

    /// Reads the options; the first of a kind counts.
    fn read(&mut self, options: &'a [u8]) -> Option<()> {
        let mut rest = options;
        while let [code, after @ ..] = rest {
            match code {
                0 => {
                    rest = after;
                    continue;
                }
                255 => return Some(()),
                _ => {}
            }
            let (len, after) = after.split_first()?;
            let (value, after) = after.split_at_checked(usize::from(*len))?;
            rest = after;
            let ip = || <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from);
            match code {
                50 => self.wants = self.wants.or_else(ip),
                53 if self.kind == 0 => self.kind = *value.first()?,
                54 => self.server = self.server.or_else(ip),
                61 => self.id = self.id.or(Some(value)),
                _ => {}
            }
        }
        Some(())
    }
}

impl<'a> Known<'a> {
    fn of(interface: &'a Interface, role: &'a InsideRole, client: MacAddr) -> Option<Self> {
        let lease = role.leases.get(&client)?;
        let net = lease.addresses.iter().find_map(|net| match net {
            IpNet::V4(net) => Some(*net),
            IpNet::V6(_) => None,
        })?;
        Some(Self {
            interface,
            lease,
            net,
            server: interface.ipv4_towards(net.addr())?,
            settings: &role.settings,
        })
    }
}

fn send(
    link: Link<'_>,
    request: &Request<'_>,
    known: &Known<'_>,
    verdict: Verdict,
    outbox: &mut Outbox,
) {
    // RFC 2131, 4.1: to whom.
    let (mac, ip) = if verdict != Verdict::Nak && !request.uses.is_unspecified() {
        (request.client, request.uses)
    } else if verdict == Verdict::Nak || request.flags[0] & 0x80 != 0 {
        (MacAddr::BROADCAST, Ipv4Addr::BROADCAST)
    } else {
        (request.client, known.net.addr())
    };
    let envelope = link.envelope(mac, Ends::V4(known.server, ip), HOPS);
    link.post(outbox, |out| {
        envelope.emit(out, IpProtocol::UDP, |out| {
            out.extend_from_slice(&SERVER.to_be_bytes());
            out.extend_from_slice(&CLIENT.to_be_bytes());
            out.extend_from_slice(&[0; 4]);
            let start = out.len();
            emit(out, request, known, verdict);
            let end = out.len().max(start + MIN_LEN);
            out.resize(end, 0);
        });
    });
}

/// RFC 2131, 4.3.1, table 3.
fn emit(out: &mut Vec<u8>, request: &Request<'_>, known: &Known<'_>, verdict: Verdict) {
    let none = Ipv4Addr::UNSPECIFIED;
    let (number, uses, yours) = match verdict {
        Verdict::Offer => (kind::OFFER, none, known.net.addr()),
        Verdict::Ack => (kind::ACK, request.uses, known.net.addr()),
        Verdict::Inform => (kind::ACK, request.uses, none),
        Verdict::Nak | Verdict::Note | Verdict::Ignore => (kind::NAK, none, none),
    };
    out.extend_from_slice(&[2, 1, 6, 0]);
    out.extend_from_slice(&request.transaction);
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&request.flags);
    out.extend_from_slice(&uses.octets());
    out.extend_from_slice(&yours.octets());
    // No next server, no relay; then names, empty.
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&request.client.0);
    out.extend_from_slice(&[0; 10 + 64 + 128]);
    out.extend_from_slice(&COOKIE);
    option(out, 53, &[number]);
    option(out, 54, &known.server.octets());
    if number != kind::NAK {
        settings(out, known);
    }
    if !yours.is_unspecified() {
        option(out, 51, &LEASE_TIME.to_be_bytes());
    }
    // RFC 6842: the client finds its identifier again.
    if let Some(id) = request.id {
        option(out, 61, id);
    }
    out.push(255);
}

fn settings(out: &mut Vec<u8>, known: &Known<'_>) {
    option(out, 1, &known.net.netmask().octets());
    if !known.settings.internal {
        option(out, 3, &known.server.octets());
    }
    option(out, 6, &known.server.octets());
    option(out, 26, &known.interface.mtu.to_be_bytes());
    // RFC 2132, 3.17 and RFC 3397.
    let search = &known.settings.search_domain;
    if let (Some(domain), Some(encoded)) = (search.get(), search.encoded()) {
        option(out, 15, domain.as_bytes());
        option(out, 119, &encoded);
    }
    if let Some(name) = known.lease.hostname.as_deref().filter(|n| !n.is_empty()) {
        option(out, 12, name.as_bytes());
    }
}

/// An option; one that its length cannot express is left out.
fn option(out: &mut Vec<u8>, code: u8, value: &[u8]) {
    if let Ok(len) = u8::try_from(value.len()) {
        out.extend_from_slice(&[code, len]);
        out.extend_from_slice(value);
    }
}

/// The leases of a link, where there are some.
pub(super) fn leases(interface: &Interface) -> Option<&InsideRole> {
    match &interface.role {
        Role::Inside(role) if role.settings.dhcp => Some(role),
        Role::Inside(_) | Role::Uplink(_) | Role::Host(_) | Role::Services => None,
    }
}
