//! Which packets that arrive at a NIC are ours, as filters the kernel runs before its own stack.
//!
//! The host keeps using its NIC, and we use it too: packets to ports that belong to containers are
//! *stolen* (we get them, the host's stack never does, so it answers no RST), packets that both
//! need are *copied*, and everything else is not touched:
//!
//! | to one of the host's addresses | |
//! |---|---|
//! | TCP, UDP, SCTP to one of the ports; unfragmented or first fragment | stolen |
//! | ICMP(v6) error about a packet from one of the ports | stolen |
//! | ICMP(v6) echo reply with one of the identifiers; error about such a request | copied |
//! | later fragments, which carry no ports | copied |
//! | ARP that answers, announces or asks for us; neighbour solicitation, advertisement | copied |
//! | VLAN-tagged frames, anything else | left alone |
//!
//! What is sent to a network of containers that the world reaches by its own addresses is stolen
//! whole, fragments and all; an address of the host's that lies in it stays the host's.
//!
//! The attack that shaped it: a packet that hides its ports (IP options, extension headers,
//! fragments, an ICMP error that quotes such a packet) to reach the wrong one of two stacks. Header
//! lengths are therefore read, not assumed, and what cannot be read is left to the host.
//!
//! Two programs of classic BPF say this: one for what is stolen, one for what is copied. Ten
//! thousand ports in a row cost as much as one: ports are found by bisection.

mod assembler;
#[cfg(test)]
mod interpreter;
mod program;
#[cfg(test)]
mod tests;

use crate::Error;
pub(crate) use assembler::Instruction;
use ipnet::IpNet;
use program::Purpose;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// What arrives for us at a NIC, by the host's address that it is sent to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captures {
    /// One entry an address; of two for the same address the first counts.
    pub addresses: Vec<(IpAddr, Ports)>,
    /// Where containers have addresses that the world knows.
    pub networks: Vec<IpNet>,
}

/// Ports and identifiers of one address that belong to containers. Ranges may overlap and need no
/// order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ports {
    /// TCP ports.
    pub tcp: Vec<RangeInclusive<u16>>,
    /// UDP ports.
    pub udp: Vec<RangeInclusive<u16>>,
    /// SCTP ports.
    pub sctp: Vec<RangeInclusive<u16>>,
    /// Identifiers of echo requests that leave for containers.
    pub echo: Vec<RangeInclusive<u16>>,
}

impl Captures {
    /// The same ports at every one of `addresses`.
    #[must_use]
    pub fn at(addresses: impl IntoIterator<Item = IpAddr>, ports: &Ports) -> Self {
        let each = addresses.into_iter().map(|ip| (ip, ports.clone()));
        Self {
            addresses: each.collect(),
            networks: Vec::new(),
        }
    }

    /// The same less `ports`, at every address.
    pub(crate) fn without(&self, ports: &Ports) -> Self {
        let each = self.addresses.iter();
        Self {
            addresses: each.map(|(ip, all)| (*ip, all.without(ports))).collect(),
            networks: self.networks.clone(),
        }
    }

    /// The program that matches what is stolen, and the one that matches what is copied.
    ///
    /// # Errors
    /// [`Error::TooManyPorts`] when a program would be longer than the kernel takes: beyond some
    /// 900 ranges with gaps between them.
    pub(crate) fn programs(&self) -> Result<Programs, Error> {
        Ok(Programs {
            steal: program::write(self, Purpose::Steal)?,
            copy: program::write(self, Purpose::Copy)?,
        })
    }
}

/// What the kernel runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Programs {
    pub(crate) steal: Vec<Instruction>,
    pub(crate) copy: Vec<Instruction>,
}

/// A program that matches every frame.
pub(crate) fn everything() -> Vec<Instruction> {
    constant(program::MATCH)
}

/// A program that matches no frame.
pub(crate) fn nothing() -> Vec<Instruction> {
    constant(program::PASS)
}

/// A program that has every frame dropped, where its answer is what becomes of the frame.
pub(crate) fn drop_everything() -> Vec<Instruction> {
    /// `linux/pkt_cls.h`: TC_ACT_SHOT.
    const SHOT: u32 = 2;
    constant(SHOT)
}

fn constant(answer: u32) -> Vec<Instruction> {
    let mut it = assembler::Assembler::default();
    it.op(assembler::code::RETURN, answer);
    it.finish()
}
