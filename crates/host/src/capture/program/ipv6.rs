//! What of the programs is about IPv6: its header chain, ICMPv6, neighbour discovery.

use super::{ADDRESS, ICMPV6, L3, PROTOCOL, Purpose, SCRATCH, Writer};
use crate::capture::assembler::{At, If, Label, code};
use ipnet::IpNet;
use std::net::Ipv6Addr;

const IPV6_FRAGMENT: u32 = 44;
/// Hop-by-hop options, routing, destination options (RFC 8200, 4.1).
const EXTENSIONS: [u32; 3] = [0, 43, 60];
/// IPv6 extension headers that are followed; a packet with more is the host's.
const MAX_EXTENSIONS: usize = 4;

const NEIGHBOUR_SOLICITATION: u32 = 135;
const NEIGHBOUR_ADVERTISEMENT: u32 = 136;

impl Writer<'_> {
    /// RFC 8200, 3.
    pub(super) fn ipv6(&mut self) {
        self.it.here(self.ipv6);
        let [ours, transport, icmp, owner] = std::array::from_fn(|_| self.it.label());
        self.load_address6(At::Frame(L3 + 24));
        self.find6(|_| ours);
        match self.purpose {
            Purpose::Steal => self.networks6(),
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

    /// The address in memory, in one of the networks.
    fn networks6(&mut self) {
        for net in self.networks {
            let IpNet::V6(net) = net else {
                continue;
            };
            let other = self.it.label();
            let masks = words(net.netmask());
            for ((at, word), mask) in (ADDRESS..).zip(words(net.network())).zip(masks) {
                self.it.op(code::LOAD_MEMORY, at);
                self.it.op(code::AND, mask);
                self.it.jump_if(If::NotEqual(word), other);
            }
            self.it.jump(self.hit);
            self.it.here(other);
        }
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
}

fn words(ip: Ipv6Addr) -> [u32; 4] {
    let bits = ip.to_bits();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the word is what is wanted"
    )]
    [96, 64, 32, 0].map(|shift| (bits >> shift) as u32)
}
