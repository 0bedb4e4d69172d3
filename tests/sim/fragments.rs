//! Fragments without ports are packets of their own in all else: a hop each, and no larger than
//! the next link takes (RFC 791, 3.2; RFC 1812, 5.3.1).

use crate::rig::{Left, Rig};
use crate::site::{A, HOP, OURS, Site, UP, WORLD, packet};
use pipeline::{DropReason, Instant};
use wire::checksum::{Verified, verify_ipv4};
use wire::{Fragment, Headers, IpProtocol, Net, VnetHeader, craft};

/// A piece of a datagram of A's, `len` bytes long and with so many hops to go.
fn piece(offset: u16, len: usize, hops: u8) -> Vec<u8> {
    let fragment = Fragment {
        id: 7,
        offset,
        more: offset == 0,
    };
    let mut bytes = vec![0; len];
    if offset == 0 {
        bytes[..8].copy_from_slice(&[0xc3, 0x50, 0, 53, 0xff, 0, 0, 0]);
    }
    packet(A, A.v4.into(), WORLD.into())
        .hops(hops)
        .fragment(fragment)
        .raw(IpProtocol::UDP, &bytes)
}

fn carry(rig: &mut Rig, frame: &[u8]) -> Vec<Left> {
    rig.carry(A.port, frame, VnetHeader::default(), Instant::ZERO)
}

fn hops(left: &Left) -> u8 {
    match Headers::parse(&left.bytes).unwrap().net {
        Net::Ipv4(ip) => ip.ttl,
        Net::Arp(_) | Net::Ipv6(_) | Net::Malformed(_) | Net::Other => {
            panic!("{left:?} is not IPv4")
        }
    }
}

#[test]
fn every_piece_loses_a_hop_and_its_last_one_is_its_own() {
    let (first, later) = (piece(0, 16, 64), |hops| piece(16, 8, hops));
    for in_order in [true, false] {
        let mut rig = Site::new().rig();
        let frames = [first.clone(), later(64)];
        let order = if in_order { [0, 1] } else { [1, 0] };
        let left: Vec<_> = order
            .into_iter()
            .flat_map(|at| carry(&mut rig, &frames[at]))
            .collect();
        assert_eq!(
            left.iter().map(|one| one.port).collect::<Vec<_>>(),
            [HOP.port; 2]
        );
        assert!(left.iter().all(|one| hops(one) == 63));
    }
    for last in [0, 1] {
        let mut rig = Site::new().rig();
        assert_eq!(carry(&mut rig, &first).len(), 1);
        // No error is sent about a later fragment (RFC 1122, 3.2.2).
        assert_eq!(carry(&mut rig, &later(last)), []);
        assert_eq!(rig.dropped(DropReason::TtlExceeded), 1);
    }
}

/// The offset and the bytes of what left, and whether there is more of it.
fn part(left: &Left) -> (u16, bool, Vec<u8>) {
    let headers = Headers::parse(&left.bytes).unwrap();
    let Net::Ipv4(ip) = headers.net else {
        panic!("{left:?} is not IPv4")
    };
    assert_eq!(verify_ipv4(&left.bytes, &headers), Verified::Right);
    assert_eq!(ip.src, OURS);
    assert!(ip.total_len <= NARROW);
    let (offset, more) = ip.fragment.map_or((0, false), |f| (f.offset, f.more));
    let payload = usize::from(headers.l3) + usize::from(ip.header_len);
    (offset, more, left.bytes[payload..].to_vec())
}

const NARROW: u16 = 1000;

fn narrow() -> Rig {
    Site::new().interface(UP, |up| up.mtu = NARROW).rig()
}

#[test]
fn rfc_1812_4_2_2_7_what_may_be_cut_for_the_next_link_is_cut_after_it_was_translated() {
    let bytes: Vec<u8> = (0..=250).cycle().take(2500).collect();
    let datagram = packet(A, A.v4.into(), WORLD.into()).dont_fragment(false);
    let mut frame = datagram.udp(50_000, 53, &bytes);
    let vnet = craft::unfinish(&mut frame).unwrap();
    let left = narrow().carry(A.port, &frame, vnet, Instant::ZERO);
    assert_eq!(left.len(), 3);
    let mut whole = Vec::new();
    for (index, one) in left.iter().enumerate() {
        let (offset, more, bytes) = part(one);
        assert_eq!((usize::from(offset), more), (whole.len(), index < 2));
        whole.extend(bytes);
    }
    assert_eq!(whole[8..], bytes);
    // It is as if it had been one packet of the uplink's own.
    let port = u16::from_be_bytes([whole[0], whole[1]]);
    let own = packet(HOP, OURS.into(), WORLD.into()).udp(port, 53, &bytes);
    assert_eq!(own[34..], whole);
}

#[test]
fn a_piece_that_does_not_fit_the_next_link_is_cut_and_keeps_its_place() {
    let mut rig = narrow();
    assert_eq!(carry(&mut rig, &piece(0, 16, 64)).len(), 1);
    let left = carry(&mut rig, &piece(16, 1000, 64));
    let places: Vec<_> = left
        .iter()
        .map(part)
        .map(|(at, more, _)| (at, more))
        .collect();
    assert_eq!(places, [(16, true), (16 + 976, false)]);
}

#[test]
fn what_cannot_go_on_is_remembered_by_nobody() {
    let site = || Site::new().interface(UP, |up| up.mtu = 1000);
    let out = || packet(A, A.v4.into(), WORLD.into());
    for (frame, reason) in [
        (out().hops(1).udp(50_000, 53, b""), DropReason::TtlExceeded),
        (
            out().udp(50_000, 53, &[0; 1000]),
            DropReason::FragmentationNeeded,
        ),
    ] {
        let mut rig = site().rig();
        carry(&mut rig, &frame);
        assert_eq!(rig.dropped(reason), 1);
        assert_eq!(rig.router().connections(Instant::ZERO, |_| true), []);
    }
}
