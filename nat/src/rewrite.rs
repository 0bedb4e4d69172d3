//! The change that makes a routed frame of a received one, as a value.
//!
//! The stages decide and change nothing: a [`Rewrite`] is what they decided, and
//! [`Rewrite::apply`] carries it out once the copies for mirrors, which show the frame as it
//! arrived, have been sent.
//!
//! Every checksum is moved by what changed (RFC 1624) and never computed anew: the payload is not
//! read, and a packet that was damaged on its way stays damaged, where a new checksum would vouch
//! for it. Which changes move a checksum depends on what it covers and on its state:
//!
//! | checksum | addresses | ports, ICMP identifier, MSS, quoted packet |
//! |---|---|---|
//! | IPv4 header | yes, and the TTL | no |
//! | TCP, UDP, ICMPv6, finished | yes | yes |
//! | the same, unfinished: the bare pseudo header | yes, with the opposite sign | no |
//! | ICMP | no | yes |
//! | UDP zero ("none") | no | no |
//! | SCTP's CRC | no | yes |
//!
//! A later fragment has addresses only, and its packet's checksum, in the first one, moves there.
//! The CRC of an SCTP packet in fragments cannot be moved, because it depends on how much follows:
//! such a packet must not have its ports translated.
//!
//! The plain functions here neither allocate nor panic, and share nothing.

use crate::TransportAddr;
use pipeline::Frame;
use std::net::IpAddr;
use wire::checksum::Change;
use wire::{
    Headers, Icmp, Icmpv6, IpProtocol, MacAddr, Net, Quoted, QuotedTransport, Sctp, Tcp, TcpFlags,
    TcpOptions, Transport, crc32c,
};

/// The addresses a packet leaves with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// Its source.
    pub src: TransportAddr,
    /// Its destination.
    pub dst: TransportAddr,
}

/// How a frame is changed on its way through the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewrite {
    /// The next hop's MAC.
    pub dst_mac: MacAddr,
    /// The router's MAC in the network it leaves into.
    pub src_mac: MacAddr,
    /// The packet's own addresses, of its own family; `None` leaves them. Where it has no ports,
    /// those are not looked at.
    pub outer: Option<Translation>,
    /// The addresses of the packet that an ICMP error quotes; `None` leaves them.
    pub quoted: Option<Translation>,
    /// The largest TCP MSS that a SYN may offer (RFC 4459, 3.2); `None` leaves it.
    pub mss: Option<u16>,
    /// The packet is then to be cut into fragments of so many bytes, which [`Rewrite::apply`] leaves
    /// to whoever sends it.
    pub fragment: Option<u16>,
}

impl Rewrite {
    /// Carries it out: MACs, addresses, ports, checksums in whichever state they are, and one hop
    /// less. `headers` are those of the frame as it is now.
    #[inline]
    pub fn apply(&self, frame: &mut Frame<'_>, headers: &Headers) {
        // What is unfinished elsewhere belongs to a packet inside this one, which is finished.
        let unfinished = frame.vnet.needs_csum()
            && headers.transport_offset() == Some(usize::from(frame.vnet.csum_start));
        let mut bytes = Patch(frame.bytes_mut());
        bytes.put(0, self.dst_mac.0);
        bytes.put(6, self.src_mac.0);
        let l3 = usize::from(headers.l3);
        let pseudo = match headers.net {
            Net::Ipv4(ip) => bytes.ipv4(l3, self.outer, ip.ttl.saturating_sub(1)),
            Net::Ipv6(ip) => bytes.ipv6(l3, self.outer, ip.hop_limit.saturating_sub(1)),
            Net::Arp(_) | Net::Malformed(_) | Net::Other => return,
        };
        if self.outer.is_none() && self.quoted.is_none() && self.mss.is_none() {
            return;
        }
        let state = match (unfinished, headers.transport) {
            (true, _) => State::Unfinished,
            (false, Transport::Udp(_)) => State::FinishedUdp,
            (false, _) => State::Finished,
        };
        self.transport(&mut bytes, headers, pseudo, state);
    }

    /// Ports, options, the quoted packet, and the checksum over them and the `pseudo` header.
    #[inline]
    fn transport(&self, bytes: &mut Patch<'_>, headers: &Headers, pseudo: Change, state: State) {
        match headers.transport {
            Transport::Tcp(tcp) => {
                let at = usize::from(tcp.offset);
                let mut own = bytes.ports(at, self.outer);
                if let (Some(most), true) = (self.mss, tcp.flags.contains(TcpFlags::SYN)) {
                    own = own.and(bytes.clamp_mss(&tcp, most));
                }
                bytes.settle(at + 16, pseudo, own, state);
            }
            Transport::Udp(udp) => {
                let at = usize::from(udp.offset);
                let own = bytes.ports(at, self.outer);
                bytes.settle(at + 6, pseudo, own, state);
            }
            Transport::Sctp(sctp) => {
                let end = headers.packet_end().unwrap_or_default();
                bytes.sctp(usize::from(sctp.offset), end, self.outer, state);
            }
            Transport::Icmp(icmp) => {
                let at = usize::from(icmp.offset);
                let own = match icmp.id {
                    Some(_) => bytes.id(at, self.outer, Icmp::is_request(icmp.kind)),
                    None => bytes.quote(headers, self.quoted),
                };
                bytes.settle(at + 2, Change::default(), own, state);
            }
            Transport::Icmpv6(icmp) => {
                let at = usize::from(icmp.offset);
                let own = match icmp.id {
                    Some(_) => bytes.id(at, self.outer, icmp.kind == Icmpv6::ECHO_REQUEST),
                    None => bytes.quote(headers, self.quoted),
                };
                bytes.settle(at + 2, pseudo, own, state);
            }
            Transport::Malformed(_) | Transport::None => {}
        }
    }
}

/// The state of a checksum field; see [`wire::checksum`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Finished,
    /// Zero says "none", and stays.
    FinishedUdp,
    Unfinished,
}

/// A frame's bytes. Each function answers what its changes add to a sum over them, and leaves
/// alone what lies outside the frame, which nothing does that was parsed.
struct Patch<'b>(&'b mut [u8]);

impl Patch<'_> {
    /// Bytes at an even offset from the beginning of whatever is summed.
    #[inline]
    fn put<const N: usize>(&mut self, at: usize, new: [u8; N]) -> Change {
        let Some(field) = self.0.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) else {
            return Change::default();
        };
        let old = std::mem::replace(field, new);
        Change::default().bytes(&old, &new)
    }

    #[inline]
    fn word(&self, at: usize) -> u16 {
        let field = self.0.get(at..).and_then(|rest| rest.first_chunk());
        field.copied().map_or(0, u16::from_be_bytes)
    }

    /// The addresses and hops of an IPv4 header, and its checksum (RFC 791, 3.1). Answers the
    /// change of the addresses, which is that of the pseudo header.
    #[inline]
    fn ipv4(&mut self, l3: usize, to: Option<Translation>, hops: u8) -> Change {
        let mut pseudo = Change::default();
        if let Some((IpAddr::V4(src), IpAddr::V4(dst))) = to.map(|to| (to.src.ip, to.dst.ip)) {
            pseudo = self.put(l3 + 12, src.octets());
            pseudo = pseudo.and(self.put(l3 + 16, dst.octets()));
        }
        let [_, protocol] = self.word(l3 + 8).to_be_bytes();
        let header = pseudo.and(self.put(l3 + 8, [hops, protocol]));
        self.put(l3 + 10, header.finished(self.word(l3 + 10)).to_be_bytes());
        pseudo
    }

    /// The addresses and hops of an IPv6 header. Answers the change of the addresses.
    #[inline]
    fn ipv6(&mut self, l3: usize, to: Option<Translation>, hops: u8) -> Change {
        let mut pseudo = Change::default();
        if let Some((IpAddr::V6(src), IpAddr::V6(dst))) = to.map(|to| (to.src.ip, to.dst.ip)) {
            pseudo = self.put(l3 + 8, src.octets());
            pseudo = pseudo.and(self.put(l3 + 24, dst.octets()));
        }
        if let Some(field) = self.0.get_mut(l3 + 7) {
            *field = hops;
        }
        pseudo
    }

    #[inline]
    fn ports(&mut self, at: usize, to: Option<Translation>) -> Change {
        to.map_or_else(Change::default, |to| self.put(at, both_ports(&to)))
    }

    /// The identifier of an ICMP query or its answer, which is a port of the side that asked.
    fn id(&mut self, at: usize, to: Option<Translation>, asked: bool) -> Change {
        to.map_or_else(Change::default, |to| {
            let end = if asked { to.src } else { to.dst };
            self.put(at + 4, end.port.to_be_bytes())
        })
    }

    /// A checksum field after a change of the `pseudo` header and of what follows it.
    #[inline]
    fn settle(&mut self, at: usize, pseudo: Change, own: Change, state: State) -> Change {
        let field = self.word(at);
        let field = match state {
            State::Finished => pseudo.and(own).finished(field),
            State::FinishedUdp => pseudo.and(own).finished_udp(field),
            State::Unfinished => pseudo.unfinished(field),
        };
        self.put(at, field.to_be_bytes())
    }

    #[cold]
    fn clamp_mss(&mut self, tcp: &Tcp, most: u16) -> Change {
        match TcpOptions::parse(self.0, tcp).mss {
            Some(mss) if mss.value > most => {
                self.put(usize::from(mss.at), most.to_be_bytes());
                // At an odd offset its bytes belong to two words, as the other half of each.
                if (mss.at - tcp.offset).is_multiple_of(2) {
                    Change::default().word(mss.value, most)
                } else {
                    Change::default().word(mss.value.swap_bytes(), most.swap_bytes())
                }
            }
            Some(_) | None => Change::default(),
        }
    }

    /// The ports of an SCTP packet that ends at `end`, and its checksum (RFC 9260, 3.1).
    #[cold]
    fn sctp(&mut self, at: usize, end: usize, to: Option<Translation>, state: State) {
        let header = self.0.get_mut(at..end).and_then(|packet| {
            let len = packet.len();
            packet
                .first_chunk_mut::<{ Sctp::LEN }>()
                .map(|header| (header, len))
        });
        let (Some(to), Some((header, len))) = (to, header) else {
            return;
        };
        let [a, b, c, d, tag0, tag1, tag2, tag3, sum @ ..] = *header;
        let (old, new) = ([a, b, c, d], both_ports(&to));
        let mut sum = u32::from_le_bytes(sum);
        if state != State::Unfinished {
            sum = crc32c::update(sum, old, new, len - 4);
        }
        let ([a, b, c, d], [s0, s1, s2, s3]) = (new, sum.to_le_bytes());
        *header = [a, b, c, d, tag0, tag1, tag2, tag3, s0, s1, s2, s3];
    }

    /// The packet that an ICMP error quotes (RFC 5508, 4.2), its own checksums included.
    #[cold]
    fn quote(&mut self, headers: &Headers, to: Option<Translation>) -> Change {
        let (Some(to), Some(quoted)) = (to, Quoted::parse(self.0, headers)) else {
            return Change::default();
        };
        let (l3, transport) = (usize::from(quoted.l3), usize::from(quoted.transport));
        let (pseudo, header) = match headers.net {
            Net::Ipv4(_) => {
                let before = self.word(l3 + 10);
                let [hops, _] = self.word(l3 + 8).to_be_bytes();
                let pseudo = self.ipv4(l3, Some(to), hops);
                (pseudo, Change::default().word(before, self.word(l3 + 10)))
            }
            Net::Ipv6(_) => {
                let hops = self.0.get(l3 + 7).copied().unwrap_or_default();
                (self.ipv6(l3, Some(to), hops), Change::default())
            }
            Net::Arp(_) | Net::Malformed(_) | Net::Other => return Change::default(),
        };
        let own = match quoted.what {
            QuotedTransport::Ports { .. } => self.ports(transport, Some(to)),
            QuotedTransport::Query { asked, .. } => self.id(transport, Some(to), asked),
            QuotedTransport::Error | QuotedTransport::Portless | QuotedTransport::LaterFragment => {
                Change::default()
            }
        };
        let checksum = quoted.checksum.map_or_else(Change::default, |at| {
            let at = usize::from(at);
            let (pseudo, state) = match quoted.protocol {
                IpProtocol::UDP => (pseudo, State::FinishedUdp),
                IpProtocol::ICMP => (Change::default(), State::Finished),
                _ => (pseudo, State::Finished),
            };
            self.settle(at, pseudo, own, state)
        });
        pseudo.and(header).and(own).and(checksum)
    }
}

const fn both_ports(to: &Translation) -> [u8; 4] {
    let ([a, b], [c, d]) = (to.src.port.to_be_bytes(), to.dst.port.to_be_bytes());
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::HEADROOM;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};
    use wire::checksum::{Sum, Verified, verify_ipv4, verify_transport};
    use wire::craft::{Link, Packet, TcpSegment, superframe, unfinish};
    use wire::{Fragment, VlanId, VnetHeader};

    const MACS: [MacAddr; 4] = [
        MacAddr([2, 0, 0, 0, 0, 1]),
        MacAddr([2, 0, 0, 0, 0, 2]),
        MacAddr([2, 0, 0, 0, 0, 3]),
        MacAddr([2, 0, 0, 0, 0, 4]),
    ];

    /// A packet, to be built with any addresses, hops and MACs.
    #[derive(Debug, Clone)]
    struct Spec {
        addresses: Translation,
        hops: u8,
        macs: (MacAddr, MacAddr),
        tags: Vec<VlanId>,
        options: Vec<u8>,
        what: What,
        payload: Vec<u8>,
    }

    #[derive(Debug, Clone)]
    enum What {
        Tcp { flags: u8, options: Vec<u8> },
        Udp { checksum: bool },
        Sctp,
        Echo { asked: bool },
        Gre,
    }

    impl Spec {
        /// As it is after `to` was applied to it, made from scratch.
        fn translated(&self, to: &Rewrite) -> Self {
            Self {
                addresses: to.outer.unwrap_or(self.addresses),
                hops: self.hops.saturating_sub(1),
                macs: (to.src_mac, to.dst_mac),
                ..self.clone()
            }
        }

        fn packet(&self) -> Packet {
            let link = Link::new(self.macs.0, self.macs.1);
            let link = self.tags.iter().fold(link, |link, vlan| link.vlan(*vlan));
            let packet = match (self.addresses.src.ip, self.addresses.dst.ip) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => link.ipv4(src, dst).options(&self.options),
                (IpAddr::V6(src), IpAddr::V6(dst)) => link.ipv6(src, dst),
                _ => panic!("two families"),
            };
            packet.hops(self.hops)
        }

        fn build(&self) -> Vec<u8> {
            let (src_port, dst_port) = (self.addresses.src.port, self.addresses.dst.port);
            let payload = &self.payload[..];
            match &self.what {
                What::Tcp { flags, options } => self.packet().tcp(TcpSegment {
                    src_port,
                    dst_port,
                    flags: TcpFlags(*flags),
                    options,
                    payload,
                    ..TcpSegment::default()
                }),
                What::Udp { checksum } => {
                    let mut frame = self.packet().udp(src_port, dst_port, payload);
                    if !checksum {
                        let at = Headers::parse(&frame).unwrap().transport_offset().unwrap() + 6;
                        frame[at..at + 2].fill(0);
                    }
                    frame
                }
                What::Sctp => {
                    let ports = both_ports(&self.addresses);
                    let mut packet = [&ports, &[7; 4], &[0; 4], payload].concat();
                    let sum = crc32c::of(&packet).to_le_bytes();
                    packet[8..12].copy_from_slice(&sum);
                    self.packet().raw(IpProtocol::SCTP, &packet)
                }
                What::Echo { asked: true } => self.packet().echo_request(src_port, 7, payload),
                What::Echo { asked: false } => self.packet().echo_reply(dst_port, 7, payload),
                What::Gre => self.packet().raw(IpProtocol(47), payload),
            }
        }

        fn l3(&self) -> usize {
            14 + 4 * self.tags.len()
        }
    }

    fn apply(rewrite: &Rewrite, frame: &[u8], vnet: VnetHeader) -> Vec<u8> {
        let mut room = [&[0; HEADROOM], frame].concat();
        let end = room.len();
        let headers = Headers::parse(frame).unwrap();
        let mut frame = Frame::new(&mut room, HEADROOM, end, vnet);
        rewrite.apply(&mut frame, &headers);
        assert_eq!(frame.vnet, vnet);
        frame.bytes().to_vec()
    }

    fn to(outer: Option<Translation>) -> Rewrite {
        Rewrite {
            src_mac: MACS[2],
            dst_mac: MACS[3],
            outer,
            quoted: None,
            mss: None,
            fragment: None,
        }
    }

    fn translations(v4: bool) -> BoxedStrategy<Translation> {
        let ip = move || {
            if v4 {
                any::<[u8; 4]>().prop_map(IpAddr::from).boxed()
            } else {
                any::<[u8; 16]>().prop_map(IpAddr::from).boxed()
            }
        };
        let port = || any::<u16>().boxed();
        (ip(), ip(), port(), port())
            .prop_map(|(src, dst, from, to)| Translation {
                src: TransportAddr::new(src, from),
                dst: TransportAddr::new(dst, to),
            })
            .boxed()
    }

    /// A packet of one family and the addresses it is to get.
    fn specs(payload: std::ops::Range<usize>) -> impl Strategy<Value = (Spec, Translation)> {
        let options = (0..=3_usize).prop_flat_map(|words| vec(any::<u8>(), words * 4));
        let what = prop_oneof![
            3 => (any::<u8>(), options.clone()).prop_map(|(flags, options)| What::Tcp { flags, options }),
            3 => any::<bool>().prop_map(|checksum| What::Udp { checksum }),
            1 => Just(What::Sctp),
            2 => any::<bool>().prop_map(|asked| What::Echo { asked }),
            1 => Just(What::Gre),
        ];
        let tags = vec((1..4095_u16).prop_map(|id| VlanId::new(id).unwrap()), 0..=2);
        let payload = vec(any::<u8>(), payload);
        any::<bool>()
            .prop_flat_map(move |v4| {
                (
                    translations(v4),
                    translations(v4),
                    any::<u8>(),
                    tags.clone(),
                    options.clone(),
                    what.clone(),
                    payload.clone(),
                )
            })
            .prop_map(|(addresses, to, hops, tags, options, what, payload)| {
                let macs = (MACS[0], MACS[1]);
                (
                    Spec {
                        addresses,
                        hops,
                        macs,
                        tags,
                        options,
                        what,
                        payload,
                    },
                    to,
                )
            })
    }

    /// An error that quotes the first `keep` bytes of `packet`, as `outer` says.
    fn error(outer: &Spec, packet: &[u8], keep: usize) -> Vec<u8> {
        let quote = &packet[..keep.min(packet.len())];
        let (src, dst) = (outer.addresses.src.ip, outer.addresses.dst.ip);
        let (protocol, mut message) = match src {
            IpAddr::V4(_) => (
                IpProtocol::ICMP,
                [&[3, 1, 0, 0, 0, 0, 0, 0], quote].concat(),
            ),
            IpAddr::V6(_) => (
                IpProtocol::ICMPV6,
                [&[1, 3, 0, 0, 0, 0, 0, 0], quote].concat(),
            ),
        };
        let pseudo = match (src, dst) {
            (IpAddr::V6(src), IpAddr::V6(dst)) => Sum::pseudo_v6(src, dst, protocol, message.len()),
            _ => Sum::default(),
        };
        let sum = pseudo.plus(Sum::of(&message)).finished();
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        outer.packet().raw(protocol, &message)
    }

    #[test]
    fn a_packet_that_is_only_routed_loses_a_hop() {
        let addresses = Translation {
            src: TransportAddr::new(Ipv4Addr::new(10, 1, 0, 5).into(), 1000),
            dst: TransportAddr::new(Ipv4Addr::new(10, 2, 0, 9).into(), 80),
        };
        let spec = Spec {
            addresses,
            hops: 64,
            macs: (MACS[0], MACS[1]),
            tags: vec![],
            options: vec![],
            what: What::Udp { checksum: true },
            payload: vec![1; 9],
        };
        let rewrite = to(None);
        let frame = apply(&rewrite, &spec.build(), VnetHeader::default());
        assert_eq!(frame, spec.translated(&rewrite).build());
        assert_eq!(frame[22], 63);
    }

    #[test]
    fn an_mss_is_lowered_in_a_syn_and_never_raised() {
        let link = Link::new(MACS[0], MACS[1]);
        let packet = link.ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let rewrite = Rewrite {
            mss: Some(1360),
            ..to(None)
        };
        let ack = TcpFlags::ACK;
        for (flags, options, becomes) in [
            (TcpFlags::SYN, &[2, 4, 5, 180, 0, 0, 0, 0][..], 1360),
            (TcpFlags::SYN, &[1, 2, 4, 5, 180, 0, 0, 0], 1360), // at an odd offset
            (TcpFlags::SYN.union(ack), &[1, 2, 4, 255, 1, 0, 0, 0], 1360),
            (TcpFlags::SYN, &[2, 4, 2, 24], 536),
            (ack, &[2, 4, 5, 180], 1460),
        ] {
            let frame = packet.tcp(TcpSegment {
                flags,
                options,
                payload: &[9; 5],
                ..TcpSegment::default()
            });
            let after = apply(&rewrite, &frame, VnetHeader::default());
            let headers = Headers::parse(&after).unwrap();
            let Transport::Tcp(tcp) = headers.transport else {
                panic!()
            };
            assert_eq!(TcpOptions::parse(&after, &tcp).mss.unwrap().value, becomes);
            assert_eq!(
                verify_transport(&after, &headers),
                Verified::Right,
                "{options:?}"
            );
        }
    }

    #[test]
    fn an_unfinished_checksum_does_not_move_with_the_mss() {
        let link = Link::new(MACS[0], MACS[1]);
        let mut frame = link
            .ipv6(Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED)
            .tcp(TcpSegment {
                flags: TcpFlags::SYN,
                options: &[1, 2, 4, 5, 180, 0, 0, 0],
                ..TcpSegment::default()
            });
        let mut vnet = unfinish(&mut frame).unwrap();
        let rewrite = Rewrite {
            mss: Some(1220),
            ..to(None)
        };
        let mut after = apply(&rewrite, &frame, vnet);
        wire::checksum::complete(&mut after, &mut vnet).unwrap();
        let headers = Headers::parse(&after).unwrap();
        assert_eq!(verify_transport(&after, &headers), Verified::Right);
    }

    #[test]
    fn a_tunnel_s_own_checksum_is_finished_while_its_inner_one_is_not() {
        let link = || Link::new(MACS[0], MACS[1]);
        let mut inner = link()
            .ipv4([1, 1, 1, 1].into(), [2, 2, 2, 2].into())
            .udp(1, 2, b"in");
        let vnet = unfinish(&mut inner).unwrap();
        let packet = link().ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let frame = packet.udp(5, 4789, &[&[8; 8], &inner[..]].concat());
        let vnet = VnetHeader {
            csum_start: vnet.csum_start + 50,
            ..vnet
        };
        let translation = Translation {
            src: TransportAddr::new([198, 51, 100, 7].into(), 50_000),
            dst: TransportAddr::new([10, 0, 0, 2].into(), 4789),
        };
        let after = apply(&to(Some(translation)), &frame, vnet);
        let headers = Headers::parse(&after).unwrap();
        assert_eq!(verify_transport(&after, &headers), Verified::Right);
    }

    #[test]
    fn what_is_not_ip_gets_its_macs_and_nothing_else() {
        let frame =
            Link::new(MACS[0], MACS[1]).arp_request([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let after = apply(&to(None), &frame, VnetHeader::default());
        assert_eq!(
            (&after[..6], &after[6..12]),
            (&MACS[3].0[..], &MACS[2].0[..])
        );
        assert_eq!(after[12..], frame[12..]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// The result is the packet as it would have been with its new addresses from the
        /// start, to the last bit, whatever state its checksum is in.
        #[test]
        fn it_is_as_if_made_anew((spec, translation) in specs(0..300)) {
            let rewrite = to(Some(translation));
            let (mut old, mut new) = (spec.build(), spec.translated(&rewrite).build());
            let after = apply(&rewrite, &old, VnetHeader::default());
            prop_assert_eq!(&after, &new);
            let headers = Headers::parse(&after).unwrap();
            prop_assert_ne!(verify_ipv4(&after, &headers), Verified::Wrong);
            if !matches!(spec.what, What::Udp { checksum: false }) {
                prop_assert_ne!(verify_transport(&after, &headers), Verified::Wrong);
            }
            if let Some(vnet) = unfinish(&mut old) {
                unfinish(&mut new).unwrap();
                prop_assert_eq!(apply(&rewrite, &old, vnet), new);
            }
        }

        #[test]
        fn a_superframe_stays_whole((spec, translation) in specs(3000..60_000)) {
            let rewrite = to(Some(translation));
            let (mut old, mut new) = (spec.build(), spec.translated(&rewrite).build());
            if let Some(vnet) = superframe(&mut old, 1400) {
                superframe(&mut new, 1400).unwrap();
                prop_assert_eq!(apply(&rewrite, &old, vnet), new);
            }
        }

        #[test]
        fn there_and_back_again((spec, translation) in specs(0..300)) {
            let there = apply(&to(Some(translation)), &spec.build(), VnetHeader::default());
            let back = Rewrite { src_mac: MACS[0], dst_mac: MACS[1], ..to(Some(spec.addresses)) };
            let hops = spec.hops.saturating_sub(2);
            prop_assert_eq!(
                apply(&back, &there, VnetHeader::default()),
                Spec { hops, ..spec }.build()
            );
        }

        /// A datagram in two pieces: the first has the ports and the checksum, both the addresses.
        #[test]
        fn fragments_are_translated_as_their_packet((spec, translation) in specs(24..300), cut in 1..3_usize) {
            if matches!(spec.what, What::Sctp) {
                return Ok(());
            }
            let rewrite = to(Some(translation));
            // The same checksum was made for the whole of each.
            let pieces = |spec: &Spec| {
                let whole = spec.build();
                let headers = Headers::parse(&whole).unwrap();
                let (_, _, protocol) = crate::addresses(&headers).unwrap();
                let payload = whole[headers.transport_offset().unwrap()..].to_vec();
                let at = (headers.header_len() - headers.transport_offset().unwrap()).next_multiple_of(8) + 8 * (cut - 1);
                let at = at.min(payload.len());
                let piece = |offset: usize, bytes: &[u8]| {
                    let fragment = Fragment { id: 5, offset: u16::try_from(offset).unwrap(), more: offset == 0 };
                    spec.packet().fragment(fragment).raw(protocol, bytes)
                };
                [piece(0, &payload[..at]), piece(at, &payload[at..])]
            };
            let after = pieces(&spec).map(|piece| apply(&rewrite, &piece, VnetHeader::default()));
            prop_assert_eq!(after, pieces(&spec.translated(&rewrite)));
        }

        /// RFC 5508, 4.2: the error, the packet it quotes as far as it does, and all their
        /// checksums.
        #[test]
        fn an_error_is_translated_with_what_it_quotes(
            (outer, to_outer) in specs(0..1),
            (inner, to_inner) in specs(0..100),
            // Half a TCP checksum is nobody's.
            keep in (14..100_usize).prop_map(|words| words * 2),
        ) {
            let family = |spec: &Spec| spec.addresses.src.ip.is_ipv4();
            if family(&outer) != family(&inner) {
                return Ok(());
            }
            let rewrite = Rewrite { quoted: Some(to_inner), ..to(Some(to_outer)) };
            let before = inner.build();
            let after = Spec { addresses: to_inner, ..inner.clone() }.build();
            let packet = |frame: &[u8]| frame[inner.l3()..].to_vec();
            let frame = error(&outer, &packet(&before), keep);
            let headers = Headers::parse(&frame).unwrap();
            if Quoted::parse(&frame, &headers).is_none() {
                return Ok(());
            }
            let mut expected = packet(&after);
            if let What::Sctp = inner.what {
                // Its CRC covers what was not quoted, and no receiver of an error looks at it.
                let at = Headers::parse(&before).unwrap().transport_offset().unwrap() + 8;
                expected[at - inner.l3()..][..4].copy_from_slice(&before[at..at + 4]);
            }
            let expected = error(&outer.translated(&rewrite), &expected, keep);
            prop_assert_eq!(apply(&rewrite, &frame, VnetHeader::default()), expected);
        }

        #[test]
        fn damage_does_no_harm((spec, translation) in specs(0..100), changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8), keep in any::<prop::sample::Index>()) {
            let mut frame = spec.build();
            for (at, byte) in changes {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
            frame.truncate(keep.index(frame.len() + 1));
            if Headers::parse(&frame).is_ok() {
                let rewrite = Rewrite { quoted: Some(translation), mss: Some(500), ..to(Some(translation)) };
                let after = apply(&rewrite, &frame, VnetHeader::default());
                prop_assert_eq!(after.len(), frame.len());
            }
        }
    }
}
