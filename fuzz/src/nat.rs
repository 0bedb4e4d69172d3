//! Any frames, from containers and from the world, through a router.
//!
//! ```text
//!   data:  [ | port 1 | length 2 | virtio header 10 | frame … | ] …
//!   port:  bit 7 a minute passes, bit 6 its headers are mended, the rest modulo the ports
//!
//!   network 0   0 container 10.1.0.2 2001:db8:1::2      4 container 10.1.0.3 2001:db8:1::3
//!   network 1   1 container 10.2.0.2 2001:db8:2::2
//!   network 2   2 the world
//!   network 3   3 the host's stack
//! ```
//! Mending sends the frame to its gateway and makes the IPv4 header's checksum right: a fuzzer
//! would seldom find either.

mod ledger;
pub(crate) mod site;
mod tables;

use crate::carry::Record;
use dataplane::{Line, Outcome};
use ledger::Ledger;
use nat::{Outbox, Post, Rewrite, Router};
use pipeline::{
    Context, DropReason, Frame, HEADROOM, Instant, MAX_FRAME, NetworkId, NoTrace, PortId, Recorder,
};
use site::{INSIDE, PORTS, UPLINK};
use std::net::IpAddr;
use std::time::Duration;
use switch::{Membership, Outputs, Topology};
use wire::checksum::{Sum, Verified, verify_ipv4, verify_transport};
use wire::{Headers, Net, VnetHeader, check_vnet};

/// Routes the frames in `data`, one after the other.
///
/// # Panics
/// When a frame leaves damaged, with an inside address, or to anybody but those its mapping or
/// its addresses name; when a question about it is answered otherwise than the live frame; when
/// the tables contradict themselves afterwards.
pub fn nat(data: &[u8]) {
    let mut edge = Edge {
        topology: site::topology(),
        router: site::router(),
        now: Instant::ZERO,
        ledger: Ledger::default(),
    };
    let mut rest = data;
    while let Some((record, after)) = Record::take(rest) {
        let how = rest[0];
        rest = after;
        let from = PortId(u16::from((how & 0x3f) % PORTS));
        let seconds = if how & 0x80 == 0 { 1 } else { 60 };
        edge.now = edge.now + Duration::from_secs(seconds);
        edge.poll();
        let mut bytes = record.frame.to_vec();
        if how & 0x40 != 0 {
            mend(&mut bytes, from);
        }
        edge.take(from, &bytes, record.vnet);
    }
    tables::check(&edge.router, edge.now);
}

struct Edge {
    topology: Topology,
    router: Router,
    now: Instant,
    ledger: Ledger,
}

impl Edge {
    fn poll(&mut self) {
        let mut outbox = Outbox::default();
        self.router.poll(self.now, &mut outbox);
        self.router.expire(self.now);
        self.deliver(&mut outbox);
    }

    fn take(&mut self, from: PortId, bytes: &[u8], vnet: VnetHeader) {
        let mut outbox = Outbox::default();
        self.carry(from, bytes, vnet, &mut outbox);
        self.deliver(&mut outbox);
    }

    /// What the router says is sound; what it held goes on.
    fn deliver(&mut self, outbox: &mut Outbox) {
        let mut index = 0;
        while let Some((post, bytes)) = outbox.get(index) {
            let bytes = bytes.to_vec();
            index += 1;
            match post {
                Post::Send(network) => self.say(network, &bytes, outbox),
                Post::Resume(held) => self.carry(held.from, &bytes, held.vnet, outbox),
            }
        }
    }

    fn line<'l, T>(
        &'l self,
        context: Context<T>,
        out: &'l mut Outputs,
        outbox: &'l mut Outbox,
    ) -> Line<'l, T> {
        Line {
            topology: &self.topology,
            router: &self.router,
            context,
            out,
            outbox,
        }
    }

    fn say(&self, network: NetworkId, bytes: &[u8], outbox: &mut Outbox) {
        let headers = Headers::parse(bytes).expect("the router speaks Ethernet");
        assert_eq!(headers.src, site::gateway(network), "{headers:?}");
        assert_ne!(verify_ipv4(bytes, &headers), Verified::Wrong);
        assert_ne!(verify_transport(bytes, &headers), Verified::Wrong);
        assert!(bytes.len() <= 1514, "{} bytes", bytes.len());
        let (mut out, mut room) = (Outputs::default(), room(bytes));
        let frame = frame(&mut room, VnetHeader::default());
        let context = Context::live(self.now, NoTrace);
        let sent = self.line(context, &mut out, outbox).emit(&frame, network);
        assert!(sent.is_ok() || out.transmits.is_empty());
        self.assert_within(network, &out);
    }

    fn carry(&mut self, from: PortId, bytes: &[u8], vnet: VnetHeader, outbox: &mut Outbox) {
        let mut room = room(bytes);
        let mut frame = frame(&mut room, vnet);
        let (answer, asked, trace) = self.ask(from, &frame);
        let mut out = Outputs::default();
        let context = Context::live(self.now, NoTrace);
        let verdict = self.line(context, &mut out, outbox).process(&frame, from);
        // A question teaches nobody where its sender is, to whom the packet may be turned back.
        if comes_back(&verdict) {
            assert_eq!(
                answer.map(decided),
                verdict.map(decided),
                "{:#?}",
                trace.decisions
            );
        } else {
            assert_eq!(
                (answer, &asked.transmits),
                (verdict, &out.transmits),
                "{:#?}",
                trace.decisions
            );
        }
        let own = site::network_of(from);
        match verdict {
            Ok(Outcome::Routed {
                network,
                rewrite,
                headers,
                ..
            }) => {
                self.assert_within(network, &out);
                rewrite.apply(&mut frame, &headers);
                assert_intact(&frame, &rewrite, (bytes, &headers), network);
                let from = own.expect("a frame that is routed came from a network");
                let pair = (bytes, frame.bytes());
                self.ledger.note(pair, (from, network));
            }
            Ok(Outcome::Switched(_)) => {
                self.assert_within(own.expect("a port of no network sends nothing"), &out);
            }
            Ok(Outcome::Taken) => {
                assert!(out.transmits.is_empty());
                self.ledger.held = true;
            }
            Err(reason) => {
                assert!(out.transmits.is_empty());
                // It may have punched a hole: out it went, and not in again.
                self.ledger.held |= reason == DropReason::Filtered;
            }
        }
    }

    /// Returns what would become of the frame.
    fn ask(
        &self,
        from: PortId,
        frame: &Frame<'_>,
    ) -> (Result<Outcome, DropReason>, Outputs, Recorder) {
        let (mut out, mut outbox) = (Outputs::default(), Outbox::default());
        let mut trace = Recorder::default();
        let context = Context::question(self.now, &mut trace);
        let mut line = self.line(context, &mut out, &mut outbox);
        let answer = line.process(frame, from);
        assert!(outbox.is_empty(), "a question says nothing");
        (answer, out, trace)
    }

    fn assert_within(&self, network: NetworkId, out: &Outputs) {
        for copy in &out.transmits {
            let to = self.topology.port(copy.port);
            let membership = to.map(|port| port.membership);
            assert_eq!(membership, Some(Membership::Network(network)));
        }
    }
}

/// Returns whether the frame is turned back to its own sender, under another of its ports.
fn comes_back(verdict: &Result<Outcome, DropReason>) -> bool {
    matches!(verdict, Ok(Outcome::Routed { rewrite, headers, .. }) if rewrite.dst_mac == headers.src)
}

/// Returns what the router decided, whoever the switch then sends it to.
fn decided(outcome: Outcome) -> Option<(NetworkId, Rewrite)> {
    match outcome {
        Outcome::Routed {
            network, rewrite, ..
        } => Some((network, rewrite)),
        Outcome::Switched(_) | Outcome::Taken => None,
    }
}

/// The frame that leaves has the router's address, one hop less and checksums as right or wrong as
/// they were; and what is inside stays inside.
fn assert_intact(
    frame: &Frame<'_>,
    rewrite: &Rewrite,
    (before, headers): (&[u8], &Headers),
    network: NetworkId,
) {
    let after = frame.bytes();
    assert_eq!(after.len(), before.len());
    let now = Headers::parse(after).expect("a frame keeps its headers");
    assert_eq!(
        (now.src, now.dst),
        (site::gateway(network), rewrite.dst_mac)
    );
    assert_ne!(verify_ipv4(after, &now), Verified::Wrong);
    assert_eq!(hops(&now) + 1, hops(headers), "{now:?}");
    assert_eq!(check_vnet(&frame.vnet, &now, after.len()), Ok(()));
    if !frame.vnet.needs_csum() {
        let (old, new) = (
            verify_transport(before, headers),
            verify_transport(after, &now),
        );
        assert_eq!(old, new, "{headers:?} became {now:?}");
    }
    let (src, dst, _) = nat::addresses(&now).expect("what is routed is IP");
    let place = |ip: IpAddr| INSIDE.iter().find(|net| site::holds(**net, ip)).copied();
    if network == UPLINK {
        assert_eq!((place(src), place(dst)), (None, None), "{now:?} leaks");
    } else if INSIDE.contains(&network) {
        assert_eq!(place(dst), Some(network), "{now:?} is in the wrong network");
    }
}

fn hops(headers: &Headers) -> u8 {
    match headers.net {
        Net::Ipv4(ip) => ip.ttl,
        Net::Ipv6(ip) => ip.hop_limit,
        Net::Arp(_) | Net::Malformed(_) | Net::Other => panic!("{headers:?} was routed"),
    }
}

/// Sends the frame to its gateway, with a right header checksum.
fn mend(bytes: &mut [u8], from: PortId) {
    let (Some(network), Some(dst)) = (site::network_of(from), bytes.first_chunk_mut()) else {
        return;
    };
    *dst = site::gateway(network).0;
    let Ok(headers) = Headers::parse(bytes) else {
        return;
    };
    if let Net::Ipv4(ip) = headers.net {
        let start = usize::from(headers.l3);
        let header = &mut bytes[start..start + usize::from(ip.header_len)];
        header[10..12].fill(0);
        let sum = Sum::of(header).finished();
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

fn room(bytes: &[u8]) -> Vec<u8> {
    let len = bytes.len().min(MAX_FRAME);
    let mut room = vec![0; HEADROOM + len];
    room[HEADROOM..].copy_from_slice(&bytes[..len]);
    room
}

fn frame(room: &mut [u8], vnet: VnetHeader) -> Frame<'_> {
    let end = room.len();
    Frame::new(room, HEADROOM, end, vnet)
}
