//! Who was seen behind which external port, by what passed: independent of the router's tables.

use super::site::{self, INSIDE, UPLINK};
use nat::{Inside, Kind, TransportAddr, Tuple, classify};
use pipeline::NetworkId;
use std::collections::BTreeMap;
use std::net::IpAddr;
use wire::{Headers, IpProtocol, Quoted, QuotedTransport};

/// Who is behind an external port, to each of its peers.
#[derive(Default)]
pub(super) struct Ledger {
    owners: BTreeMap<(IpProtocol, TransportAddr, TransportAddr), Inside>,
    /// A packet was held, or refused by the far end: it may have an external port that nobody saw.
    pub(super) held: bool,
}

impl Ledger {
    /// A packet passed from one network into another, and became another one.
    ///
    /// # Panics
    /// When it goes to somebody else than whose the external port is.
    pub(super) fn note(
        &mut self,
        (before, after): (&[u8], &[u8]),
        (from, to): (NetworkId, NetworkId),
    ) {
        let (Some(old), Some(new)) = (tuple(before), tuple(after)) else {
            self.check_error((before, after), to);
            return;
        };
        let is_ours = site::is_ours(old.dst.ip);
        let turned = is_ours && INSIDE.contains(&to);
        if INSIDE.contains(&from) && (to == UPLINK || turned) {
            let owner = Inside {
                network: from,
                addr: old.src,
            };
            assert!(site::is_ours(new.src.ip), "{old} became {new}");
            let peer = old.dst;
            self.owners.insert((old.protocol, new.src, peer), owner);
        }
        if turned {
            let peer = new.src;
            self.assert_owns((old.protocol, old.dst, peer), to, new.dst);
        }
    }

    /// An ICMP error goes to whoever sent what it quotes.
    fn check_error(&self, (before, after): (&[u8], &[u8]), to: NetworkId) {
        let (Some(old), Some(new)) = (quoted(before), quoted(after)) else {
            return;
        };
        if INSIDE.contains(&to) && site::is_ours(old.src.ip) {
            self.assert_owns((old.protocol, old.src, old.dst), to, new.src);
        }
    }

    fn assert_owns(
        &self,
        key: (IpProtocol, TransportAddr, TransportAddr),
        network: NetworkId,
        addr: TransportAddr,
    ) {
        let to = Inside { network, addr };
        let published = site::published(key.0, key.1);
        let owner = self.owners.get(&key);
        let owns = owner.map_or(self.held, |owner| *owner == to);
        assert!(
            published == Some(to) || owns,
            "what is for {} of {} went to {to:?}, it is {owner:?}'s",
            key.1,
            key.2
        );
    }
}

fn tuple(frame: &[u8]) -> Option<Tuple> {
    match classify(&Headers::parse(frame).ok()?)? {
        Kind::Flow(tuple) => Some(tuple),
        Kind::Portless(_) | Kind::IcmpError | Kind::LaterFragment | Kind::Damaged => None,
    }
}

fn quoted(frame: &[u8]) -> Option<Tuple> {
    let quoted = Quoted::parse(frame, &Headers::parse(frame).ok()?)?;
    let (src, dst) = match quoted.what {
        QuotedTransport::Ports { src, dst } => (src, dst),
        QuotedTransport::Query { id, asked: true } => (id, 0),
        QuotedTransport::Query { id, asked: false } => (0, id),
        QuotedTransport::Portless | QuotedTransport::Error | QuotedTransport::LaterFragment => {
            return None;
        }
    };
    let end = |ip: IpAddr, port| TransportAddr::new(ip, port);
    Some(Tuple {
        protocol: quoted.protocol,
        src: end(quoted.src, src),
        dst: end(quoted.dst, dst),
    })
}
