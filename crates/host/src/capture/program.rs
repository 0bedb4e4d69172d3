//! Writes the programs.
//!
//! ```text
//!   for us? -> IPv4 / IPv6 / ARP -> to one of our addresses? -> header chain -> protocol
//!     -> ports: that address          \
//!     -> ICMP error: the quoted header -> whose is (address, protocol, port)? -> MATCH or PASS
//! ```
//! The packet's own destination and a quoted packet's source are judged by the same tail, which
//! finds address, protocol and port in the program's memory.

mod ipv6;
mod ports;

use super::assembler::{Assembler, At, If, Instruction, Label, code};
use super::{Captures, Ports};
use crate::Error;
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
const ICMPV6: u32 = 58;
const SCTP: u32 = 132;
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
    /// Whose every packet is stolen.
    networks: &'a [IpNet],
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
            networks: match purpose {
                Purpose::Steal => &captures.networks,
                Purpose::Copy => &[],
            },
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
        self.networks4();
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

    /// The address in memory, in one of the networks.
    fn networks4(&mut self) {
        for net in self.networks {
            if let IpNet::V4(net) = net {
                self.it.op(code::LOAD_MEMORY, ADDRESS);
                self.it.op(code::AND, net.netmask().into());
                self.it.jump_if(If::Equal(net.network().into()), self.hit);
            }
        }
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

    fn load_address4(&mut self, at: At) {
        self.it.load_word(at);
        self.it.op(code::STORE, ADDRESS);
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
