//! The programs' last question: whose are the address, the protocol and the port in memory?

use super::{ICMP, ICMPV6, PORT, PROTOCOL, Purpose, SCTP, TCP, UDP, Writer};
use crate::capture::assembler::{If, code};
use std::ops::RangeInclusive;

impl Writer<'_> {
    /// Whose the protocol and port in memory are, for each group of addresses.
    pub(super) fn groups(&mut self) {
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
}

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
