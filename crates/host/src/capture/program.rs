//! Writes the programs.
//!
//! ```text
//!   for us? -> IPv4 / IPv6 / ARP -> to one of our addresses? -> header chain -> protocol
//!     -> ports: that address          \
//!     -> ICMP error: the quoted header -> whose is (address, protocol, port)? -> MATCH or PASS
//! ```
//! The packet's own destination and a quoted packet's source are judged by the same tail, which
//! finds address, protocol and port in the program's memory.

use super::assembler::{Assembler, At, If, Instruction, Label, code};
use super::{Captures, Ports};
use crate::Error;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// Which of the two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Steal,
    Copy,
}

pub(super) const MATCH: u32 = u32::MAX;
pub(super) const PASS: u32 = 0;

// What the kernel notes beside a packet (`SKF_AD_OFF` in linux/filter.h). It takes the outermost
// VLAN tag off before the filter runs, so the tag shows here and nowhere in the frame.
pub(super) const PACKET_TYPE: u32 = 0xffff_f000 + 4;
pub(super) const VLAN_PRESENT: u32 = 0xffff_f000 + 48;

const PACKET_HOST: u32 = 0;
const PACKET_OTHERHOST: u32 = 3;

// The program's memory.
const ADDRESS: u32 = 0; // to 3
const PROTOCOL: u32 = 4;
const PORT: u32 = 5;
const SCRATCH: u32 = 6;

const L3: u32 = 14;
const ICMP: u32 = 1;
const TCP: u32 = 6;
const UDP: u32 = 17;
const IPV6_FRAGMENT: u32 = 44;
const ICMPV6: u32 = 58;
const SCTP: u32 = 132;
/// Hop-by-hop options, routing, destination options (RFC 8200, 4.1).
const EXTENSIONS: [u32; 3] = [0, 43, 60];
/// IPv6 extension headers that are followed; a packet with more is the host's.
const MAX_EXTENSIONS: usize = 4;

/// Writes one of the programs.
pub(super) fn write(captures: &Captures, purpose: Purpose) -> Result<Vec<Instruction>, Error> {
    let mut writer = Writer::new(captures, purpose);
    writer.frame();
    writer.ipv4();
    writer.ipv6();
    if purpose == Purpose::Copy {
        writer.arp();
    }
    writer.groups();
    let Writer {
        mut it, pass, hit, ..
    } = writer;
    it.here(hit);
    it.op(code::RETURN, MATCH);
    it.here(pass);
    it.op(code::RETURN, PASS);
    let program = it.finish();
    if program.len() > Instruction::MAX {
        return Err(Error::TooManyPorts {
            instructions: program.len(),
            max: Instruction::MAX,
        });
    }
    Ok(program)
}

struct Writer<'a> {
    it: Assembler,
    purpose: Purpose,
    /// The packet is not for this program.
    pass: Label,
    /// It is.
    hit: Label,
    ipv4: Label,
    ipv6: Label,
    arp: Label,
    v4: Vec<(Ipv4Addr, Label)>,
    v6: Vec<(Ipv6Addr, Label)>,
    /// Addresses with the same ports share the code that looks for them.
    groups: Vec<(&'a Ports, Label)>,
}

impl<'a> Writer<'a> {
    fn new(captures: &'a Captures, purpose: Purpose) -> Self {
        let mut it = Assembler::default();
        let [pass, hit, ipv4, ipv6, arp] = std::array::from_fn(|_| it.label());
        let mut writer = Self {
            it,
            purpose,
            pass,
            hit,
            ipv4,
            ipv6,
            arp,
            v4: Vec::new(),
            v6: Vec::new(),
            groups: Vec::new(),
        };
        for (address, ports) in &captures.addresses {
            let group = writer.group(ports);
            match *address {
                IpAddr::V4(ip) => writer.v4.push((ip, group)),
                IpAddr::V6(ip) => writer.v6.push((ip, group)),
            }
        }
        writer
    }

    fn group(&mut self, ports: &'a Ports) -> Label {
        if let Some((_, label)) = self.groups.iter().find(|(known, _)| *known == ports) {
            return *label;
        }
        let label = self.it.label();
        self.groups.push((ports, label));
        label
    }

    /// Tags, for whom, EtherType.
    fn frame(&mut self) {
        let Self { it, pass, .. } = self;
        it.load_word(At::Frame(VLAN_PRESENT));
        it.jump_if(If::NotEqual(0), *pass);
        it.load_word(At::Frame(PACKET_TYPE));
        match self.purpose {
            Purpose::Steal => it.jump_if(If::NotEqual(PACKET_HOST), *pass),
            Purpose::Copy => it.jump_if(If::Equal(PACKET_OTHERHOST), *pass),
        }
        it.load_half(At::Frame(12));
        it.jump_if(If::Equal(0x0800), self.ipv4);
        it.jump_if(If::Equal(0x86dd), self.ipv6);
        if self.purpose == Purpose::Copy {
            it.jump_if(If::Equal(0x0806), self.arp);
        }
        it.jump(*pass);
    }

    /// RFC 791, 3.1.
    fn ipv4(&mut self) {
        self.it.here(self.ipv4);
        let [ours, transport, icmp, owner] = std::array::from_fn(|_| self.it.label());
        self.load_address4(At::Frame(L3 + 16));
        for (ip, _) in &self.v4 {
            self.it.jump_if(If::Equal((*ip).into()), ours);
        }
        self.it.jump(self.pass);

        self.it.here(ours);
        self.it.load_half(At::Frame(L3 + 6));
        self.it.jump_if(If::AnyBit(0x1fff), self.later_fragment());
        self.it.op(code::INDEX_IPV4_LENGTH, L3);
        self.it.load_byte(At::Frame(L3 + 9));
        self.by_protocol(ICMP, transport, icmp);
        self.it.jump(self.pass);

        // The index register holds the header's length: the next header is at L3 from there.
        self.it.here(transport);
        self.it.op(code::STORE, PROTOCOL);
        self.keep_port(At::Index(L3 + 2));
        self.it.jump(owner);

        self.it.here(icmp);
        self.icmp(At::Index(L3), owner);

        self.it.here(owner);
        self.it.op(code::LOAD_MEMORY, ADDRESS);
        for (ip, group) in &self.v4 {
            self.it.jump_if(If::Equal((*ip).into()), *group);
        }
        self.it.jump(self.pass);
    }

    /// An ICMP message (RFC 792) at `at`.
    fn icmp(&mut self, at: At, owner: Label) {
        const ECHO_REPLY: u32 = 0;
        const ERRORS: [u32; 3] = [3, 11, 12]; // unreachable, time exceeded, parameter problem
        let [error, reply] = std::array::from_fn(|_| self.it.label());
        self.it.load_byte(at);
        for kind in ERRORS {
            self.it.jump_if(If::Equal(kind), error);
        }
        if self.purpose == Purpose::Copy {
            self.it.jump_if(If::Equal(ECHO_REPLY), reply);
        }
        self.it.jump(self.pass);

        self.it.here(reply);
        self.keep_protocol(ICMP);
        self.keep_port(at.plus(4));
        self.it.jump(owner);

        self.it.here(error);
        self.quoted4(at.plus(8), owner);
    }

    /// The IPv4 packet that an error is about, as far as it is quoted, at `at`.
    fn quoted4(&mut self, at: At, owner: Label) {
        const ECHO_REQUEST: u32 = 8;
        let [transport, icmp] = std::array::from_fn(|_| self.it.label());
        self.it.load_byte(at);
        self.it.op(code::AND, 0xf0);
        self.it.jump_if(If::NotEqual(0x40), self.pass);
        self.it.load_half(at.plus(6));
        self.it.jump_if(If::AnyBit(0x1fff), self.pass);
        self.load_address4(at.plus(12));
        self.it.load_byte(at.plus(9));
        self.it.op(code::STORE, PROTOCOL);
        self.it.load_byte(at);
        self.it.op(code::AND, 0xf);
        self.it.op(code::SHIFT_LEFT, 2);
        self.it.op(code::ADD_INDEX, 0);
        self.it.op(code::TO_INDEX, 0);
        self.it.op(code::LOAD_MEMORY, PROTOCOL);
        self.by_protocol(ICMP, transport, icmp);
        self.it.jump(self.pass);

        self.it.here(transport);
        self.keep_port(at);
        self.it.jump(owner);
        self.it.here(icmp);
        self.quoted_echo(at, ECHO_REQUEST);
        self.it.jump(owner);
    }

    /// RFC 8200, 3.
    fn ipv6(&mut self) {
        self.it.here(self.ipv6);
        let [ours, transport, icmp, owner] = std::array::from_fn(|_| self.it.label());
        self.load_address6(At::Frame(L3 + 24));
        self.find6(|_| ours);
        match self.purpose {
            Purpose::Steal => self.it.jump(self.pass),
            Purpose::Copy => self.multicast_neighbour(),
        }

        self.it.here(ours);
        self.it.op(code::INDEX_CONSTANT, L3 + 40);
        self.it.load_byte(At::Frame(L3 + 6));
        let later_fragment = self.later_fragment();
        self.header_chain(0, transport, icmp, later_fragment);

        self.it.here(transport);
        self.it.op(code::STORE, PROTOCOL);
        self.keep_port(At::Index(2));
        self.it.jump(owner);

        self.it.here(icmp);
        self.icmpv6(owner);

        self.it.here(owner);
        self.find6(|group| group);
        self.it.jump(self.pass);
    }

    /// Neighbour messages to a multicast address (RFC 4861, 7.2): a solicitation of one of our
    /// addresses, every advertisement.
    fn multicast_neighbour(&mut self) {
        let target = self.it.label();
        self.it.load_byte(At::Frame(L3 + 24));
        self.it.jump_if(If::NotEqual(0xff), self.pass);
        self.it.load_byte(At::Frame(L3 + 6));
        self.it.jump_if(If::NotEqual(ICMPV6), self.pass);
        self.it.load_byte(At::Frame(L3 + 40));
        self.it
            .jump_if(If::Equal(NEIGHBOUR_ADVERTISEMENT), self.hit);
        self.it.jump_if(If::Equal(NEIGHBOUR_SOLICITATION), target);
        self.it.jump(self.pass);
        self.it.here(target);
        self.load_address6(At::Frame(L3 + 40 + 8));
        let hit = self.hit;
        self.find6(|_| hit);
        self.it.jump(self.pass);
    }

    /// Follows extension headers from the one of the accumulator's kind that the index register
    /// points to; leaves both at the transport header. `base` is added to every offset.
    fn header_chain(&mut self, base: u32, transport: Label, icmp: Label, later: Label) {
        for depth in 0..=MAX_EXTENSIONS {
            let [skip, fragment, next] = std::array::from_fn(|_| self.it.label());
            self.by_protocol(ICMPV6, transport, icmp);
            if depth == MAX_EXTENSIONS {
                self.it.jump(self.pass);
                break;
            }
            self.it.jump_if(If::Equal(IPV6_FRAGMENT), fragment);
            for extension in EXTENSIONS {
                self.it.jump_if(If::Equal(extension), skip);
            }
            self.it.jump(self.pass);

            self.it.here(fragment);
            self.it.load_half(At::Index(base + 2));
            self.it.jump_if(If::AnyBit(0xfff8), later);
            self.it.load_byte(At::Index(base));
            self.it.op(code::STORE, SCRATCH);
            self.it.op(code::LOAD_CONSTANT, 8);
            self.it.jump(next);

            self.it.here(skip);
            self.it.load_byte(At::Index(base));
            self.it.op(code::STORE, SCRATCH);
            self.it.load_byte(At::Index(base + 1));
            self.it.op(code::ADD, 1);
            self.it.op(code::SHIFT_LEFT, 3);

            self.it.here(next);
            self.it.op(code::ADD_INDEX, 0);
            self.it.op(code::TO_INDEX, 0);
            self.it.op(code::LOAD_MEMORY, SCRATCH);
        }
    }

    /// An ICMPv6 message (RFC 4443) where the index register points.
    fn icmpv6(&mut self, owner: Label) {
        const ECHO_REQUEST: u32 = 128;
        const ECHO_REPLY: u32 = 129;
        // Unreachable, too big, time exceeded, parameter problem.
        const ERRORS: [u32; 4] = [1, 2, 3, 4];
        /// From the error to the header quoted by it, and over that one.
        const QUOTED: u32 = 8;
        const BEHIND: u32 = QUOTED + 40;
        let [error, reply, transport, icmp] = std::array::from_fn(|_| self.it.label());
        self.it.load_byte(At::Index(0));
        for kind in ERRORS {
            self.it.jump_if(If::Equal(kind), error);
        }
        if self.purpose == Purpose::Copy {
            self.it
                .jump_if(If::Equal(NEIGHBOUR_ADVERTISEMENT), self.hit);
            self.it.jump_if(If::Equal(NEIGHBOUR_SOLICITATION), self.hit);
            self.it.jump_if(If::Equal(ECHO_REPLY), reply);
        }
        self.it.jump(self.pass);

        self.it.here(reply);
        self.keep_protocol(ICMPV6);
        self.keep_port(At::Index(4));
        self.it.jump(owner);

        self.it.here(error);
        self.it.load_byte(At::Index(QUOTED));
        self.it.op(code::AND, 0xf0);
        self.it.jump_if(If::NotEqual(0x60), self.pass);
        self.load_address6(At::Index(QUOTED + 8));
        self.it.load_byte(At::Index(QUOTED + 6));
        let pass = self.pass;
        self.header_chain(BEHIND, transport, icmp, pass);
        // The accumulator holds the protocol still.
        self.it.here(transport);
        self.it.op(code::STORE, PROTOCOL);
        self.keep_port(At::Index(BEHIND));
        self.it.jump(owner);
        self.it.here(icmp);
        self.it.op(code::STORE, PROTOCOL);
        self.quoted_echo(At::Index(BEHIND), ECHO_REQUEST);
        self.it.jump(owner);
    }

    /// The identifier of the quoted echo request.
    fn quoted_echo(&mut self, at: At, request: u32) {
        self.it.load_byte(at);
        self.it.jump_if(If::NotEqual(request), self.pass);
        self.keep_port(at.plus(4));
    }

    /// Goes where this program's interest in the accumulator's protocol is served: only what is
    /// stolen has ports, only what is copied has identifiers.
    fn by_protocol(&mut self, icmp_protocol: u32, transport: Label, icmp: Label) {
        if self.purpose == Purpose::Steal {
            for protocol in [TCP, UDP, SCTP] {
                self.it.jump_if(If::Equal(protocol), transport);
            }
        }
        self.it.jump_if(If::Equal(icmp_protocol), icmp);
    }

    fn later_fragment(&self) -> Label {
        match self.purpose {
            Purpose::Steal => self.pass,
            Purpose::Copy => self.hit,
        }
    }

    /// RFC 826: what answers somebody, what announces itself (RFC 5227, 3), what asks for us.
    fn arp(&mut self) {
        const OPERATION: At = At::Frame(L3 + 6);
        const SENDER: At = At::Frame(L3 + 14);
        const TARGET: At = At::Frame(L3 + 24);
        const REPLY: u32 = 2;
        self.it.here(self.arp);
        self.it.load_half(OPERATION);
        self.it.jump_if(If::Equal(REPLY), self.hit);
        self.it.load_word(SENDER);
        self.it.op(code::TO_INDEX, 0);
        self.it.load_word(TARGET);
        self.it.jump_if(If::EqualIndex, self.hit);
        for (ip, _) in &self.v4 {
            self.it.jump_if(If::Equal((*ip).into()), self.hit);
        }
        self.it.jump(self.pass);
    }

    /// Whose the protocol and port in memory are, for each group of addresses.
    fn groups(&mut self) {
        for (ports, label) in std::mem::take(&mut self.groups) {
            self.it.here(label);
            self.it.op(code::LOAD_MEMORY, PROTOCOL);
            match self.purpose {
                Purpose::Steal => {
                    self.find_port(&[(TCP, &ports.tcp), (UDP, &ports.udp), (SCTP, &ports.sctp)]);
                }
                Purpose::Copy => self.find_port(&[(ICMP, &ports.echo), (ICMPV6, &ports.echo)]),
            }
        }
    }

    fn find_port(&mut self, of: &[(u32, &Vec<RangeInclusive<u16>>)]) {
        let trees: Vec<_> = of.iter().map(|_| self.it.label()).collect();
        for ((protocol, _), tree) in of.iter().zip(&trees) {
            self.it.jump_if(If::Equal(*protocol), *tree);
        }
        self.it.jump(self.pass);
        for (n, (_, ranges)) in of.iter().enumerate() {
            self.it.here(trees[n]);
            if of.get(n + 1).is_some_and(|(_, next)| next == ranges) {
                continue;
            }
            self.it.op(code::LOAD_MEMORY, PORT);
            self.bisect(&edges(ranges), Side::Outside);
        }
    }

    /// The accumulator is below the first edge on `side`, and each edge leads to the other one.
    fn bisect(&mut self, edges: &[u32], side: Side) {
        if edges.is_empty() {
            self.it.jump(match side {
                Side::Inside => self.hit,
                Side::Outside => self.pass,
            });
            return;
        }
        let middle = edges.len() / 2;
        let (below, above) = (&edges[..middle], &edges[middle + 1..]);
        let beyond = self.it.label();
        self.it.jump_if(If::AtLeast(edges[middle]), beyond);
        self.bisect(below, side);
        self.it.here(beyond);
        self.bisect(above, side.after(middle + 1));
    }

    fn load_address4(&mut self, at: At) {
        self.it.load_word(at);
        self.it.op(code::STORE, ADDRESS);
    }

    fn load_address6(&mut self, at: At) {
        for word in 0..4 {
            self.it.load_word(at.plus(4 * word));
            self.it.op(code::STORE, ADDRESS + word);
        }
    }

    /// Jumps to `to` of an address's group when it is the one in memory; else goes on.
    fn find6(&mut self, to: impl Fn(Label) -> Label) {
        for index in 0..self.v6.len() {
            let (ip, group) = self.v6[index];
            let other = self.it.label();
            for (at, word) in (ADDRESS..).zip(words(ip)) {
                self.it.op(code::LOAD_MEMORY, at);
                self.it.jump_if(If::NotEqual(word), other);
            }
            self.it.jump(to(group));
            self.it.here(other);
        }
    }

    fn keep_port(&mut self, at: At) {
        self.it.load_half(at);
        self.it.op(code::STORE, PORT);
    }

    fn keep_protocol(&mut self, protocol: u32) {
        self.it.op(code::LOAD_CONSTANT, protocol);
        self.it.op(code::STORE, PROTOCOL);
    }
}

const NEIGHBOUR_SOLICITATION: u32 = 135;
const NEIGHBOUR_ADVERTISEMENT: u32 = 136;

/// Whether a port is in one of the ranges.
#[derive(Debug, Clone, Copy)]
enum Side {
    Inside,
    Outside,
}

impl Side {
    /// The side behind so many edges.
    fn after(self, edges: usize) -> Self {
        match (self, edges % 2) {
            (side, 0) => side,
            (Self::Inside, _) => Self::Outside,
            (Self::Outside, _) => Self::Inside,
        }
    }
}

/// Where, going up, one enters and leaves the ranges' union.
fn edges(ranges: &[RangeInclusive<u16>]) -> Vec<u32> {
    let mut sorted: Vec<_> = ranges.iter().filter(|range| !range.is_empty()).collect();
    sorted.sort_by_key(|range| *range.start());
    let mut edges: Vec<u32> = Vec::new();
    for range in sorted {
        let (start, end) = (u32::from(*range.start()), u32::from(*range.end()) + 1);
        match edges.last_mut() {
            Some(last) if start <= *last => *last = end.max(*last),
            Some(_) | None => edges.extend([start, end]),
        }
    }
    edges
}

fn words(ip: Ipv6Addr) -> [u32; 4] {
    let bits = ip.to_bits();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the word is what is wanted"
    )]
    [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
}
